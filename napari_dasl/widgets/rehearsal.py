"""An annotator who plays the demo: the window on a virtual screen, its own buttons, the truth as the drawing hand.

``python -m napari_dasl.widgets.rehearsal PROJECT REPORT [ROUNDS CASES]`` opens the demo project, and for every round
labels the first cases of the list and starts it. It clicks the buttons that a person clicks, and draws through
napari's label layer. It leaves pictures, ``summary.json`` and ``summary.md`` in the folder REPORT.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication

from napari_dasl import volumes
from napari_dasl.errors import DaslError, WorkError
from napari_dasl.metrics.overlap import dice
from napari_dasl.widgets.window import open_window

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari
    from qtpy.QtWidgets import QPushButton

    from napari_dasl.widgets.dock import DaslDock

_READ_SECONDS, _ROUND_SECONDS = 60.0, 900.0


@dataclass
class Rehearsal:
    """One session at the window.

    Parameters
    ----------
    viewer : napari.Viewer
    dock : DaslDock
    folder, report : Path
        The demo project, and where pictures and the summary go.
    number_of_rounds, cases_per_round : int
    """

    viewer: napari.Viewer
    dock: DaslDock
    folder: Path
    report: Path
    number_of_rounds: int
    cases_per_round: int
    pictures: list[str] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    rounds: list[dict[str, Any]] = field(default_factory=list)

    def play(self) -> None:
        """Label and train, round by round, and write the summary."""
        session = self.dock.session
        self._until(lambda: session.case_id is not None, _READ_SECONDS, "the first case to open")
        self._rest(1.0)
        self._picture("ranked-list-and-top-case")
        for number in range(1, self.number_of_rounds + 1):
            for turn in range(self.cases_per_round):
                self._label(first=turn == 0, number=number)
            self._round(number)
        self._picture("after-the-rounds")
        self._write()

    # -- what an annotator does ---------------------------------------------------------------------------------------

    def _label(self, *, first: bool, number: int) -> None:
        """Accept the prediction, correct it to the truth, save, and go on to the next case."""
        session, panel = self.dock.session, self.dock.case
        case = session.case_id
        if case is None:
            raise WorkError("There is no case left to label.", "Make the demo anew.")
        self._until(lambda: panel.save_next.isEnabled(), _READ_SECONDS, f"{case} to be ready")
        draft = session.layers.label.copy()
        if panel.accept.isEnabled():
            self._click(panel.accept)
            draft = session.layers.label.copy()
            if first:
                self._picture(f"round-{number}-accepted")
        geometry = session.opened.case.geometry
        truth = volumes.read_mask(self.folder / "truth" / f"{case}.nii.gz", geometry)
        strokes = self._draw(truth)
        if first:
            self._picture(f"round-{number}-corrected")
        self.rows.append({"round": number, "case": case, "draft_dice": _figure(dice(truth, draft)), "strokes": strokes})
        self._say(f"{case}: drafted at Dice {self.rows[-1]['draft_dice']}, corrected with {strokes} strokes")
        self._click(panel.save_next)
        self._until(lambda: session.case_id != case, _READ_SECONDS, f"{case} to be saved")
        self._until(lambda: not session.work.saving, _READ_SECONDS, f"{case} to be saved")
        self._rest(0.3)

    def _draw(self, truth: np.ndarray) -> int:
        """Draw *truth* slice by slice through napari's label layer, one undoable stroke a slice and class."""
        layer = self.dock.session.layers["label"]
        strokes = 0
        for z in np.flatnonzero((np.asarray(layer.data) != truth).any(axis=(1, 2))):
            for value in np.unique(truth[z]):
                rows, columns = np.nonzero((layer.data[z] != truth[z]) & (truth[z] == value))
                if rows.size:
                    layer.data_setitem((np.full(rows.size, z), rows, columns), int(value))
                    strokes += 1
            QApplication.processEvents()
        return strokes

    def _round(self, number: int) -> None:
        runner, learning = self.dock.runner, self.dock.learning
        started = time.monotonic()
        self._until(lambda: learning.start.isEnabled(), _READ_SECONDS, "Start round to be enabled")
        self._click(learning.start)
        self._until(lambda: runner.active, _READ_SECONDS, "the round to start")
        self._until(lambda: "loss" in runner.curves or not runner.active, _ROUND_SECONDS, "training to begin")
        self._rest(5.0)
        self._picture(f"round-{number}-training")
        self._until(lambda: not runner.active, _ROUND_SECONDS, "the round to end")
        self._rest(1.5)
        self._picture(f"round-{number}-finished")
        if runner.result is None:
            raise WorkError(f"Round {number} did not finish: {runner.words}", "See the pictures.")
        guard = runner.result.guard
        self.rounds.append(
            {
                "round": runner.result.round,
                "guard_dice": guard.dice,
                "before": guard.before,
                "promoted": runner.result.promoted,
                "seconds": round(time.monotonic() - started, 1),
                "sentence": runner.words,
            }
        )
        self._say(runner.words)

    # -- hands and eyes -----------------------------------------------------------------------------------------------

    def _click(self, button: QPushButton) -> None:
        button.click()
        self._rest(0.2)

    def _rest(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            QApplication.processEvents()
            time.sleep(0.01)

    def _until(self, done: Callable[[], bool], seconds: float, what: str) -> None:
        end = time.monotonic() + seconds
        while not done():
            if time.monotonic() > end:
                self._picture("stuck")
                raise WorkError(f"Waited {seconds:.0f} s in vain for {what}.", "See the last picture.")
            QApplication.processEvents()
            time.sleep(0.01)

    def _picture(self, name: str) -> None:
        self._rest(0.3)
        path = self.report / f"{len(self.pictures) + 1:02d}-{name}.png"
        self.viewer.screenshot(str(path), canvas_only=False, flash=False)
        self.pictures.append(path.name)

    def _say(self, text: str) -> None:
        sys.stdout.write(f"· {text}\n")
        sys.stdout.flush()

    # -- the summary --------------------------------------------------------------------------------------------------

    def _write(self) -> None:
        figures = " → ".join(f"{one['guard_dice']:.3f}" for one in self.rounds if one["guard_dice"] is not None)
        text = f"Labelled {len(self.rows)} cases in {len(self.rounds)} rounds; guard Dice {figures}."
        document = {"text": text, "rounds": self.rounds, "labelled": self.rows, "pictures": self.pictures}
        (self.report / "summary.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        lines = [
            "# The demo, played by itself",
            "",
            text,
            "",
            "| round | case | Dice of the draft | strokes |",
            "|--:|---|--:|--:|",
        ]
        lines += [f"| {r['round']} | {r['case']} | {r['draft_dice']} | {r['strokes']} |" for r in self.rows]
        lines += ["", *(f"- {one['sentence']} ({one['seconds']} s)" for one in self.rounds), ""]
        lines += [f"![{name}]({name})" for name in self.pictures]
        (self.report / "summary.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _figure(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 3)


def main(folder: Path, report: Path, rounds: int = 2, cases: int = 4) -> int:
    """Play, close the window and return the exit code."""
    viewer, dock = open_window(folder)
    viewer.window.resize(1500, 950)
    code = 0
    try:
        Rehearsal(viewer, dock, folder, report, rounds, cases).play()
    except DaslError as problem:
        sys.stdout.write(f"{problem}\n")
        code = problem.exit_code
    QTimer.singleShot(0, viewer.close)
    application = QApplication.instance()
    if application is not None:
        QTimer.singleShot(3000, application.quit)
        application.exec_() if hasattr(application, "exec_") else application.exec()
    return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:])))
