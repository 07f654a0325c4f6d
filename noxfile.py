"""Every task of a developer: ``nox -s demo``, ``tests``, ``lint``, ``bench``, ``wheel``.

The sessions use the environment that nox runs in, ``.venv`` after ``make install``; *wheel* alone makes its own.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "tests"]
nox.options.default_venv_backend = "none"

BIN = Path(sys.executable).parent
CODE = ["napari_dasl", "tests", "benchmarks", "tools", "noxfile.py"]
SPEED = ("napari_start", "similarity", "sliding_window", "region_network", "region_operations", "whole_scan_instances")
"""Of ``benchmarks/``, what needs no arguments and no data."""


def python(session: nox.Session, *words: str, **options: object) -> None:
    session.run(sys.executable, *words, external=True, **options)


@nox.session
def demo(session: nox.Session) -> None:
    """Make the phantom project and open it in napari; without a screen, rehearse it on a virtual one."""
    session.run(str(BIN / "napari-dasl"), "demo", *session.posargs, external=True)


@nox.session
def tests(session: nox.Session) -> None:
    """Hold the floors of the architecture, then run the tests; words after ``--`` go to pytest."""
    session.run(str(BIN / "lint-imports"), external=True, silent=True)
    # One thread: with two, the tests of the networks took half as much processor time again (20 s instead of 13 s).
    threads = os.environ.get("OMP_NUM_THREADS", "1")
    python(session, "-m", "pytest", *session.posargs, env={"OMP_NUM_THREADS": threads})


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff, mypy and import-linter, as the pre-commit hooks run them."""
    code = [name for name in CODE if Path(name).exists()]
    python(session, "-m", "ruff", "check", *code)
    python(session, "-m", "ruff", "format", "--check", *code)
    python(session, "-m", "mypy")
    session.run(str(BIN / "lint-imports"), external=True)


@nox.session
def bench(session: nox.Session) -> None:
    """Run the ratios of speed, or the script named after ``--`` with its arguments; each prints its own comparison."""
    if session.posargs:
        script, *words = session.posargs
        python(session, script if Path(script).exists() else f"benchmarks/{script}", *words)
        return
    for name in SPEED:
        python(session, f"benchmarks/{name}.py")


@nox.session
def wheel(session: nox.Session) -> None:
    """Build the wheel, install it in a fresh environment (with Qt, without torch) far from the checkout, and look."""
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        python(session, "-m", "build", "--wheel", "--outdir", folder, silent=True)
        (built,) = Path(folder).glob("*.whl")
        session.log(f"built {built.name}, {built.stat().st_size / 1024:.0f} kB")
        python(session, "-m", "venv", f"{folder}/venv")
        scripts = next(path for path in (Path(folder, "venv/bin"), Path(folder, "venv/Scripts")) if path.is_dir())
        fresh = next(str(path) for path in (scripts / "python", scripts / "python.exe") if path.exists())
        install = [fresh, "-m", "pip", "install", "--quiet", "-c", str(here / "constraints.txt"), f"{built}[qt]"]
        session.run(*install, external=True)
        shutil.copy(here / "tools" / "check_wheel.py", folder)
        with session.chdir(folder):
            session.run(fresh, "-P", "check_wheel.py", external=True, env={"QT_QPA_PLATFORM": "offscreen"})
