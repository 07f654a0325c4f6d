"""Plain values read from the session's project beside the window, again whenever the session says it changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal

from napari_dasl.widgets.jobs import run_in_background

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_dasl.errors import DaslError
    from napari_dasl.project import Project
    from napari_dasl.widgets.session import Session

_DEBOUNCE_MS = 60


class ProjectReader(QObject):
    """Keeps the newest `snapshot`.

    One reading runs at a time; what changes meanwhile is read right after it. What arrives of a project (or of anything
    else that `forget` was called for) that is no longer there is dropped.

    Parameters
    ----------
    session : Session
        Whose project is read.
    task : callable
        Called with the project in the window's thread; returns what reads the snapshot on another thread, or None
        where there is nothing to read.
    nothing : object
        The snapshot while there is nothing to read.

    Attributes
    ----------
    snapshot : object
        What was read last.

    Notes
    -----
    Signal: ``updated(snapshot)`` when it differs from the one before.
    """

    updated = Signal(object)

    def __init__(
        self, session: Session, task: Callable[[Project], Callable[[], Any] | None], nothing: Any = None
    ) -> None:
        super().__init__(session)
        self.session = session
        self.snapshot = nothing
        self._task = task
        self._nothing = nothing
        self._turn = 0
        self._reading = False
        self._again = False
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

    def forget(self) -> None:
        """Show nothing, and drop what is still on its way."""
        self._turn += 1
        self._reading = self._again = False
        self._timer.stop()
        self._set(self._nothing)

    def _project_changed(self, project: object) -> None:
        self.forget()
        if project is not None:
            self.refresh()

    def _read(self) -> None:
        if self._reading:
            self._again = True
            return
        project, turn = self.session.project, self._turn
        work = self._task(project) if project is not None else None
        if work is None:
            self._set(self._nothing)
            return
        self._reading = True

        def arrived(snapshot: Any) -> None:
            if turn == self._turn:
                self._reading = False
                self._set(snapshot)
                self._read_again()

        def failed(error: DaslError) -> None:
            if turn == self._turn:
                self._reading = False
                self.session.message.emit(str(error), "error")
                self._read_again()

        run_in_background(self, work, arrived, failed)

    def _read_again(self) -> None:
        if self._again:
            self._again = False
            self._timer.start()

    def _set(self, snapshot: Any) -> None:
        if snapshot != self.snapshot:
            self.snapshot = snapshot
            self.updated.emit(snapshot)
