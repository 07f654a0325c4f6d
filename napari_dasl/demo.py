"""The demo: a phantom project whose first round is trained; and an annotator who plays it where there is no screen."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from napari_dasl import phantoms
from napari_dasl.engine.client import EngineProcess
from napari_dasl.errors import EngineError, InputError, ProjectError, WorkError
from napari_dasl.events import Phase, never, silent
from napari_dasl.project import Project, setup
from napari_dasl.rounds.plan import RoundPlan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from napari_dasl.events import CancelCheck, Report

CASES = 24
LABELLED = 10
STEPS = 350
MODALITIES = {"ct": "CT", "pet": "PET", "mr": "MR"}
SCANS, TRUTH = "scans", "truth"
MARK = "demo.json"


def make(
    folder: Path,
    *,
    kind: str = "ct",
    cases: int = CASES,
    labelled: int = LABELLED,
    steps: int = STEPS,
    report: Report = silent,
    cancelled: CancelCheck = never,
) -> Path:
    """Make the demo project in *folder*, or go on with the one that is there.

    Parameters
    ----------
    folder : Path
        Gets the project, the phantoms in ``scans`` and their true masks in ``truth``.
    kind : {"ct", "pet", "mr"}
    cases, labelled : int
        Phantoms, and how many of them come with their label.
    steps : int
        Optimiser steps of every round of the demo.
    report, cancelled
        As in :mod:`napari_dasl.events`.

    Returns
    -------
    Path
        The project folder, absolute.

    Raises
    ------
    ProjectError
        The folder holds something else.
    EngineError
        The training process died; call again to go on.
    """
    folder = folder.resolve()
    mark = folder / MARK
    if not mark.exists():
        if folder.exists() and any(folder.iterdir()):
            raise ProjectError(f"{folder} is not empty and holds no demo.", "Name a new folder.")
        try:
            _make_project(folder, kind, cases, labelled, steps, report)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    with Project.open(folder) as project:
        trained = project.active_model() is not None
        unfinished = project.last_unfinished_round() is not None
    if not trained:
        with EngineProcess.start() as engine:
            if unfinished:
                engine.resume_round(folder, on_event=_until(report, cancelled, engine))
            else:
                engine.run_round(folder, RoundPlan(), on_event=_until(report, cancelled, engine))
    return folder


def truth_of(folder: Path, case: str) -> Path:
    """Path of the true mask of a case of the demo project in *folder*."""
    return folder / TRUTH / f"{case}.nii.gz"


def _make_project(folder: Path, kind: str, cases: int, labelled: int, steps: int, report: Report) -> None:
    if kind not in MODALITIES:
        raise InputError(f"There is no phantom of kind {kind!r}.", f"Choose one of {', '.join(MODALITIES)}.")
    report(Phase(name="prepare", text=f"Making {cases} {MODALITIES[kind]} phantoms."))
    workshop = folder.with_name(f".{folder.name}-phantoms")
    shutil.rmtree(workshop, ignore_errors=True)

    try:
        phantoms.write_study(workshop, kind, cases, seed=0)
        setup.make(
            folder,
            images=workshop / "images",
            labels=workshop / "labels",
            modality=MODALITIES[kind],
            classes=phantoms.make(kind, 0).classes,
            annotated=labelled,
            guard=0.3,
            copy_scans=True,
        )
        shutil.copytree(workshop / "labels", folder / TRUTH)
        with Project.open(folder) as project:
            # Short rounds: the demo shows the loop; a study of one's own trains as long as its plan says.
            project.update_config(training__steps=steps)
    finally:
        shutil.rmtree(workshop, ignore_errors=True)
    (folder / MARK).write_text(json.dumps({"kind": kind, "cases": cases}) + "\n", encoding="utf-8")


def _until(report: Report, cancelled: CancelCheck, engine: EngineProcess) -> Report:
    """Pass events on and cancel the engine's job once *cancelled* says so."""

    def told(event: Any) -> None:
        report(event)
        if cancelled():
            engine.cancel()

    return told


# The rehearsal -------------------------------------------------------------------------------------------------------

SCREEN = "1600x1000x24"


def rehearse(
    folder: Path, target: Path, note: Callable[[str], None], *, rounds: int = 2, cases: int = 4
) -> dict[str, Any]:
    """Open the window on a virtual screen, label two rounds through its own buttons, and keep pictures of it.

    Parameters
    ----------
    folder : Path
        The demo project.
    target : Path
        Gets the pictures and ``summary.md``.
    note : callable
        Takes every line that the rehearsal says.
    rounds, cases : int
        Rounds to start, and cases to label before each.

    Returns
    -------
    dict
        ``text`` in one sentence, ``pictures``, and the guard Dice of every ``rounds``.

    Raises
    ------
    WorkError
        There is no virtual screen on this machine, or the window failed; the last words are in the message.
    """
    target.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    command = [sys.executable, "-m", "napari_dasl.widgets.rehearsal", *map(str, (folder, target, rounds, cases))]
    with (
        virtual_screen() as display,
        subprocess.Popen(
            command,
            env={**os.environ, "DISPLAY": display, "QT_QPA_PLATFORM": "xcb", "LIBGL_ALWAYS_SOFTWARE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.rstrip())
            if line.startswith("· "):
                note(line.rstrip())
    code = process.returncode
    summary = target / "summary.json"
    if code != 0 or not summary.exists():
        words = " ".join(lines[-5:])[-600:]
        raise WorkError(f"The window stopped with code {code}: {words}", f"Pictures up to then are in {target}.")
    found: dict[str, Any] = json.loads(summary.read_text(encoding="utf-8"))
    return found


@contextmanager
def virtual_screen() -> Iterator[str]:
    """Run a virtual X screen and give its name, such as ``:91``.

    Raises
    ------
    EngineError
        Xvfb is not installed, or does not start.
    """
    program = shutil.which("Xvfb")
    if program is None:
        raise EngineError(
            "There is no screen, and no virtual one: Xvfb is not installed.",
            "Install it with `apt-get install xvfb`, or run this on a machine with a screen.",
        )
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [program, "-displayfd", str(writing), "-screen", "0", SCREEN, "+extension", "GLX", "-nolisten", "tcp"],
        pass_fds=(writing,),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    try:
        with os.fdopen(reading) as pipe:
            number = pipe.readline().strip()
        if not number:
            raise EngineError("Xvfb did not start.", "Run `napari-dasl doctor`.")
        time.sleep(0.2)
        yield f":{number}"
    finally:
        process.terminate()
        process.wait(10)
