"""The newest pseudo-labels of the session's project, read beside the window and shared by every view."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QTimer, Signal

from napari_dasl.widgets.jobs import run_in_background
from napari_dasl.widgets.pseudo_rows import PseudoSnapshot, read_pseudo

if TYPE_CHECKING:
    from napari_dasl.errors import DaslError
    from napari_dasl.widgets.session import Session

_DEBOUNCE_MS = 60


class PseudoKeeper(QObject):
    """Reads the pseudo-labels again when the session says that cases, labels or the project changed.

    Attributes
    ----------
    snapshot : PseudoSnapshot
        Empty while no project is open.

    Notes
    -----
    Signal: ``updated(PseudoSnapshot)`` when something changed.
    """

    updated = Signal(object)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.session = session
        self.snapshot = PseudoSnapshot()
        self._turn = 0
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_DEBOUNCE_MS)
        self._timer.timeout.connect(self._read)
        session.project_changed.connect(self._project_changed)
        session.cases_changed.connect(self.refresh)
        session.saved.connect(self.refresh)
        if session.project is not None:
            self.refresh()

    def refresh(self, *_: object) -> None:
        """Read again soon; many calls become one."""
        self._timer.start()

    def _project_changed(self, project: object) -> None:
        self._turn += 1
        self._set(PseudoSnapshot())
        if project is not None:
            self.refresh()

    def _read(self) -> None:
        project = self.session.project
        if project is None:
            return
        self._turn += 1
        turn = self._turn

        def arrived(snapshot: PseudoSnapshot) -> None:
            if turn == self._turn:  # else a newer reading is on its way
                self._set(snapshot)

        def failed(error: DaslError) -> None:
            if turn == self._turn:
                self.session.message.emit(str(error), "error")

        run_in_background(self, lambda: read_pseudo(project), arrived, failed)

    def _set(self, snapshot: PseudoSnapshot) -> None:
        if snapshot != self.snapshot:
            self.snapshot = snapshot
            self.updated.emit(snapshot)


def pseudo_keeper_for(session: Session) -> PseudoKeeper:
    """Return the one keeper of *session*, made at the first call."""
    found = session.findChild(PseudoKeeper)
    return found if found is not None else PseudoKeeper(session)
