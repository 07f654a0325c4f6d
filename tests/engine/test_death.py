"""A dead engine is explained: by which signal it fell, what it said last, and what to do now."""

from __future__ import annotations

import sys

import pytest

from napari_dasl.engine.death import cannot_start, default_command, died, last_words
from napari_dasl.errors import EngineError

SSH = ("ssh", "gpu-box", "napari-dasl", "engine")


@pytest.mark.parametrize(
    ("code", "stderr", "command", "says"),
    [
        (-9, [], (), "was killed (signal 9)"),
        (-9, ["Training on cpu."], (), "memory runs out."),
        (137, [], SSH, "was killed (signal 9)"),
        (-11, ["Fatal Python error: Segmentation fault", "", "Current thread:"], (), "(signal 11, SIGSEGV)"),
        (-50, [], (), "was killed (signal 50)"),
        (3, ["Traceback", "ValueError: odd", "  "], (), "(exit code 3). Its last words: ValueError: odd"),
        (0, [], (), "ended by itself (exit code 0)."),
        (255, ["ssh: connect to host gpu-box port 22: Connection refused"], SSH, "connection to the training machine"),
        (127, ["bash: napari-dasl: command not found"], SSH, "napari-dasl was not found"),
        (1, ["/usr/bin/python: No module named napari_dasl"], (), "napari-dasl was not found"),
        (0xC0000005, [], (), "crashed (Windows status 0xc0000005)"),
        (None, [], (), "stopped talking"),
    ],
)
def test_each_death_has_its_sentence(code, stderr, command, says):
    error = died(code, stderr, command)
    assert isinstance(error, EngineError)
    assert says in error.message
    assert error.hint.endswith(".")


def test_a_killed_engine_leaves_the_labels_safe():
    assert "Your labels are safe; run the round again with --resume" in died(-9).hint


def test_the_last_words_are_the_last_error_rather_than_the_last_line():
    lines = [
        "Training.",
        "Traceback (most recent call last):",
        '  File "x.py", line 3',
        "torch.OutOfMemoryError: CUDA",
        "bye",
    ]
    assert last_words(lines) == "torch.OutOfMemoryError: CUDA"
    assert last_words(["one", "two", ""]) == "two"
    assert last_words([]) == ""
    assert last_words(["Training on cpu."], errors_only=True) == ""
    assert len(last_words(["x" * 1000])) == 300


def test_the_command_of_the_project_is_the_full_command():
    assert default_command(SSH) == list(SSH)
    assert default_command(()) == [sys.executable, "-m", "napari_dasl.engine"]
    assert "'ssh gpu-box napari-dasl engine': No such file" in cannot_start(SSH, "No such file.").message
