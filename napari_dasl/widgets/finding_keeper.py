"""The findings of the open case, read beside the window and shared by every view."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from qtpy.QtCore import QTimer, Signal

from napari_dasl.widgets.finding_rows import FindingRow, Findings, read_findings
from napari_dasl.widgets.project_reader import ProjectReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_dasl.project import Project
    from napari_dasl.project.findings import FindingState
    from napari_dasl.project.records import FindingVerdict
    from napari_dasl.widgets.session import Session

_LOOK_MS = 250


class FindingKeeper(ProjectReader):
    """Keeps the newest :class:`Findings` of the open case; empty ones where it is drawn blind or not predicted.

    Attributes
    ----------
    rows : tuple of FindingRow
        The rows of the table, with what the label on the screen holds.

    Notes
    -----
    Signal: ``rows_changed()``, after ``updated`` too.
    """

    rows_changed = Signal()

    def __init__(self, session: Session) -> None:
        self.rows: tuple[FindingRow, ...] = ()
        self._expected: dict[int, FindingVerdict] = {}
        super().__init__(session, self._reading_of, Findings())
        self._look = QTimer(self)
        self._look.setSingleShot(True)
        self._look.setInterval(_LOOK_MS)
        self._look.timeout.connect(self.look)
        session.case_opened.connect(self._case_opened)
        session.prediction_changed.connect(self.refresh)
        for signal in (session.layers.painted, session.layers.redrawn, session.draft_changed):
            signal.connect(self._look_soon)
        self.updated.connect(self.look)

    def _reading_of(self, project: Project) -> Callable[[], Findings] | None:
        opened, earlier = self.session.opened, self.snapshot
        if opened is None or opened.blind or opened.shown is None:
            return None
        return lambda: read_findings(project, opened, earlier)

    def _case_opened(self, case_id: object) -> None:
        self._expected.clear()
        self.forget()
        if case_id is not None:
            self.refresh()

    def _look_soon(self, *_: object) -> None:
        self._look.start()

    def expect(self, number: int, verdict: FindingVerdict) -> None:
        """Show a verdict at once, while it is being stored."""
        self._expected[number] = verdict
        self.look()

    def settle(self, number: int, *, stored: bool) -> None:
        """Take an expected verdict as the project's, or forget it where it could not be stored."""
        verdict = self._expected.pop(number, None)
        if stored and verdict is not None:
            self._set(replace(self.snapshot, verdicts=_with(self.snapshot.verdicts, number, verdict)))
        self.look()

    def look(self, *_: object) -> None:
        """Compare with the label on the screen: what is drawn there needs no verdict."""
        found, session = self.snapshot, self.session
        drawn = frozenset[int]()
        if found.instances and session.case_id == found.case:
            drawn = found.drawn(session.layers.label.view(), numbered=session.layers.numbered)
        for number, verdict in self._expected.items():
            found = replace(found, verdicts=_with(found.verdicts, number, verdict))
        rows = found.rows(drawn)
        if rows != self.rows:
            self.rows = rows
            self.rows_changed.emit()


def _with(verdicts: dict[int, FindingState], number: int, verdict: FindingVerdict) -> dict[int, FindingState]:
    left = {key: value for key, value in verdicts.items() if key != number}
    return left if verdict == "cleared" else left | {number: verdict}


def finding_keeper_for(session: Session) -> FindingKeeper:
    """Return the one keeper of *session*, made at the first call."""
    found = session.findChild(FindingKeeper)
    return found if found is not None else FindingKeeper(session)
