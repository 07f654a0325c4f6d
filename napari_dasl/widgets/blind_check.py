"""Blind checks: cases drawn by lot are labelled without seeing what the network drew, and both are compared.

The lots are drawn by the round, so nobody can pick easy ones. A check may be skipped. A case whose prediction was on
the screen is no blind check any more and is not offered again; both are written into the project's diary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from napari_dasl.widgets.jobs import Jobs
from napari_dasl.widgets.opening import CaseOpener
from napari_dasl.widgets.project_reading import account_name
from napari_dasl.widgets.pseudo_keeper import pseudo_keeper_for
from napari_dasl.widgets.pseudo_rows import BLIND_EVENT, agreement, audit_round

if TYPE_CHECKING:
    from napari_dasl.errors import DaslError
    from napari_dasl.project import Project
    from napari_dasl.widgets.session import Session


class BlindChecks(QObject):
    """Opens cases for a blind check and compares what was drawn with the pseudo-label once it is saved.

    Parameters
    ----------
    session : Session
        Which opens and saves.

    Notes
    -----
    Signal: ``measured(case id, Dice)`` when a check is done and recorded.
    """

    measured = Signal(str, float)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.session = session
        self._jobs = session.findChild(Jobs)
        self._opener = session.findChild(CaseOpener)
        self._keeper = pseudo_keeper_for(session)
        self._running: set[str] = set()
        session.case_opened.connect(self._case_opened)
        session.saved.connect(self._saved)
        session.project_changed.connect(lambda _: self._running.clear())

    def start(self, case_id: str) -> None:
        """Open *case_id* without prediction, map and draft."""
        if case_id in self._keeper.snapshot.audits:
            self.session.open_case(case_id, audit=True)

    def skip(self, case_id: str) -> None:
        """Offer *case_id* no more; what the network drew may be seen again."""
        if case_id in self._keeper.snapshot.audits:
            self._note(case_id, "skipped")

    def _case_opened(self, case_id: str | None) -> None:
        opened = self.session.opened
        if opened is None or case_id is None or opened.case.id != case_id:
            return
        if opened.audit:
            self._running.add(case_id)
        elif case_id in self._keeper.snapshot.audits and opened.shown is not None:
            self._note(case_id, "seen")

    def _note(self, case_id: str, outcome: str) -> None:
        project = self.session.project
        if project is None:
            return

        def note() -> None:
            project.log_event(BLIND_EVENT, {"case": case_id, "round": audit_round(project), "outcome": outcome})

        self._jobs.write(note, lambda _: self._keeper.refresh(), self._fail)

    def _saved(self, case_id: str, revision: int) -> None:
        project = self.session.project
        if case_id not in self._running or project is None:
            return
        self._running.discard(case_id)

        def tell(dice: float) -> None:
            self._opener.reveal(case_id)
            self._keeper.refresh()
            self.measured.emit(case_id, dice)
            self.session.message.emit(
                f"Blind check of {case_id}: the pseudo-label and your label agree with Dice {dice:.2f}.", "info"
            )

        def failed(error: DaslError) -> None:
            self._opener.reveal(case_id)
            self._fail(error)

        self._jobs.write(lambda: _measure(project, case_id, revision), tell, failed)

    def _fail(self, error: DaslError) -> None:
        self.session.message.emit(str(error), "error")


def _measure(project: Project, case_id: str, revision: int) -> float:
    """Compare revision *revision* of a case with its pseudo-label, and record what was found; runs in a worker."""
    label = project.read_label(case_id, revision)
    dice = agreement(label, project.pseudo_mask(case_id), project.config.classes)
    project.record_audit(case_id, revision=revision, dice=dice, author=account_name())
    return dice


def blind_checks_for(session: Session) -> BlindChecks:
    """Return the one of *session*, made at the first call."""
    found = session.findChild(BlindChecks)
    return found if found is not None else BlindChecks(session)
