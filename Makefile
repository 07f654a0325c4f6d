# The two commands of a fresh machine: `make demo` shows the program, `make test` runs the tests.
# Both make .venv first; calls after the first start at once. Options: make test ARGS="tests/engine -x", make PYTHON=python3.12
# `make bench` compares speeds; make bench ARGS="similarity.py --cases 1000 --subset 500" runs one script of benchmarks/ with its arguments.

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
NOX = $(VENV)/bin/nox --no-venv -s

.PHONY: demo test lint bench wheel install clean

demo: install
	$(VENV)/bin/napari-dasl demo $(ARGS)

test: install
	$(NOX) tests -- $(ARGS)

lint: install
	$(NOX) lint

bench: install
	$(NOX) bench -- $(ARGS)

wheel: install
	$(NOX) wheel

# The packages once, whenever what they are listed in changes; missing system libraries every time, which is quick.
install: $(VENV)/.installed
	@$(VENV)/bin/python tools/system_libraries.py

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "napari-dasl needs Python 3.11 or newer; name one with: make PYTHON=python3.12" >&2; exit 2; }
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	@touch $@

clean:
	rm -rf $(VENV) build dist .nox .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
