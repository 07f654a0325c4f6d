"""The session: one open project, one case on the screen, and what happens to the work in progress.

:class:`Session` is the only owner of the open project and of the open case. Views (worklist, *This case*, *Learning*)
call its methods and listen to its signals; they never touch napari layers and never write labels. What happens to
unsaved strokes:

======================  ==========================================================================================
another case is opened  written as a draft, nothing is asked; the draft comes back with the case, and its time too
saved                   a label revision is written by a worker, then the draft is removed
saving fails            the error is said in plain words and the strokes are kept as a draft
napari closes           the draft is written before the window goes
napari is killed        the draft of at most a few seconds ago comes back with the case
a round ends            only the prediction layers change; strokes and drafts are never touched
======================  ==========================================================================================

Reading and writing run in workers (:mod:`napari_dasl.widgets.jobs`); every method returns at once. Labels never go
through the training process.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QApplication

from napari_dasl.widgets import keys, project_reading
from napari_dasl.widgets.agenda import Agenda
from napari_dasl.widgets.case_work import CaseWork
from napari_dasl.widgets.clock import EffortClock
from napari_dasl.widgets.drafts import DraftKeeper
from napari_dasl.widgets.hand_watch import HandWatch
from napari_dasl.widgets.jobs import Job, Jobs
from napari_dasl.widgets.layers import LayerBoard
from napari_dasl.widgets.opening import CaseOpener
from napari_dasl.widgets.window_link import WindowLink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtWidgets import QWidget

    from napari_dasl.errors import DaslError
    from napari_dasl.project import Project
    from napari_dasl.widgets.prefetch import OpenCase

_sessions: dict[int, Session] = {}


def session_for(viewer: Any) -> Session:
    """Return the one session of *viewer*, made at the first call.

    napari hands a new proxy of the same viewer to every widget, so the session is found by the viewer under the proxy.
    """
    real = getattr(viewer, "__wrapped__", viewer)
    session = _sessions.get(id(real))
    if session is None:
        session = _sessions[id(real)] = Session(viewer)
    return session


class Session(QObject):
    """The open project, the open case and its work in progress.

    Parameters
    ----------
    viewer : napari.Viewer or napari.components.ViewerModel
        The viewer (or napari's proxy of it) whose layers show the case.
    parent : QObject, optional
        Qt owner.

    Attributes
    ----------
    project : Project or None
        The open project.
    case_id, selected_id : str or None
        The case on the screen; the case whose facts are shown, which is the one last selected or opened.
    layers : LayerBoard
        The layers on the screen.
    clock : EffortClock
        Active time on the open case.
    work : CaseWork
        What is done with the open case.
    agenda : Agenda
        Which case comes next.
    """

    project_changed = Signal(object)  # Project, or None
    cases_changed = Signal()  # states, scores or counts changed: read the project again
    case_opened = Signal(object)  # case id, or None
    selection_changed = Signal(object)  # case id, or None
    draft_changed = Signal(str, bool)  # case id, whether it has unsaved work
    saved = Signal(str, int)  # case id, revision
    message = Signal(str, str)  # text, and "info", "warning" or "error"
    busy = Signal(str)  # what is being read; "" when idle
    elapsed = Signal(float)  # active seconds on this case, about once a second
    prediction_changed = Signal()  # another prediction is shown, or whether Accept can be taken back changed

    def __init__(self, viewer: Any, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.project: Project | None = None
        self.case_id: str | None = None
        self.selected_id: str | None = None
        self.layers = LayerBoard(viewer, self)
        self.clock = EffortClock()
        self._jobs = Jobs(self)
        self._drafts = DraftKeeper(self._jobs, self.layers, self.clock, self)
        self._drafts.author = project_reading.account_name()
        self._hand = HandWatch(viewer, self.layers, self.clock, self)
        self._opener = CaseOpener(self._jobs, self.layers, self._drafts, self)
        self.work = CaseWork(self, self._jobs, self._drafts, self._hand)
        self._link = WindowLink(self, self._flush_and_wait)
        self.layers.window_open = self._link.is_open
        self.agenda = Agenda()
        self._over = False
        self._second = QTimer(self)
        self._second.setInterval(1000)
        self._second.timeout.connect(lambda: self.elapsed.emit(self.clock.total))
        self._drafts.changed.connect(self.draft_changed)
        self._drafts.changed.connect(lambda *_: self.cases_changed.emit())
        self._drafts.failed.connect(self._say_error)
        self._opener.shown.connect(self._on_shown)
        self._opener.failed.connect(self._on_failed_read)
        self._opener.prediction_changed.connect(self.prediction_changed)
        self._drafts.accept_changed.connect(self.prediction_changed)
        self.cases_changed.connect(self._read_waiting)
        keys.bind(viewer, self)
        application = QApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self.shutdown)

    @property
    def opened(self) -> OpenCase | None:
        """What was read of the open case, with what is saved of it by now."""
        return self._drafts.opened

    # -- the project ----------------------------------------------------------------------------------------------

    def open_project(self, folder: str | Path) -> Job:
        """Open the project in *folder* in a worker; ``project_changed`` says when it is there, ``message`` why not."""
        self.busy.emit(f"Opening {Path(folder).name}")
        return self._jobs.read(
            lambda: project_reading.open_project(folder), lambda opened: self._take(*opened), self._on_failed_read
        )

    def close_project(self) -> None:
        """Keep the open edit as a draft, clear the layers and close the project."""
        self.close_case()
        self._jobs.wait()
        if self.project is not None:
            self.project.close()
        self.project = None
        self._opener.bind(None)
        self._drafts.bind(None)
        self.agenda = Agenda()
        self.select_case(None)
        self.project_changed.emit(None)

    def _take(self, project: Project, waiting: list[str]) -> None:
        if self._over:
            project.close()
            return
        if self.project is not None:
            self.close_project()
        self.project = project
        self.agenda.waiting = waiting
        self._opener.bind(project)
        self._drafts.bind(project)
        self.layers.set_classes(project.config.classes, numbered=project.config.instances)
        self.busy.emit("")
        self._prefetch()
        self.layers.prepare(project.config.channels)
        self.project_changed.emit(project)

    def _read_waiting(self) -> None:
        """Read again which cases wait, in a worker; ``cases_changed`` calls this."""
        project = self.project
        if project is None:
            return

        def take(waiting: list[str]) -> None:
            if self.project is project:
                self.agenda.waiting = waiting
                self._prefetch()

        self._jobs.read(lambda: project_reading.waiting_cases(project), take, lambda _: None)

    # -- which case is next ---------------------------------------------------------------------------------------

    def queue(self) -> list[str]:
        """Cases still to be labelled, in the order in force: the worklist's where it set one, else by rank."""
        return self.agenda.queue(self._drafts.being_saved)

    def set_queue(self, case_ids: Sequence[str] | None) -> None:
        """Take the worklist's visible order (None: the ranking's own) and read its first case ahead."""
        self.agenda.wish = None if case_ids is None else list(case_ids)
        self._prefetch()

    def peek_next(self) -> str | None:
        """Return the case that :meth:`next_case` would open."""
        return self.agenda.next(self.case_id, self._drafts.being_saved)

    def next_case(self) -> str | None:
        """Open the next case of the queue and return its id; None, and a message, where none is left."""
        case_id = self.peek_next()
        if case_id is None:
            self.message.emit("No case is left to label in this list.", "info")
            return None
        if self.case_id is not None:
            self.agenda.passed(self.case_id)
        self.open_case(case_id)
        return case_id

    def previous_case(self) -> str | None:
        """Open the case that was on the screen before this one and return its id."""
        case_id = self.agenda.back()
        if case_id is None:
            self.message.emit("This is the first case you opened.", "info")
            return None
        self._open(case_id)
        return case_id

    def select_case(self, case_id: str | None) -> None:
        """Show the facts of *case_id* without opening it."""
        if case_id != self.selected_id:
            self.selected_id = case_id
            self.selection_changed.emit(case_id)

    # -- opening --------------------------------------------------------------------------------------------------

    def open_case(self, case_id: str, *, audit: bool = False) -> None:
        """Show *case_id*: its scan, its newest label or draft, and the active model's prediction (never for guard).

        The edit on the screen is kept as a draft first. Of several calls in a row only the last one shows.

        Parameters
        ----------
        audit : bool
            Open it as a blind check: without a prediction, as a guard case.
        """
        if self.case_id is not None and case_id != self.case_id:
            self.agenda.visited(self.case_id)
        self._open(case_id, audit=audit)

    def _open(self, case_id: str, *, audit: bool = False) -> None:
        if self.project is None:
            return
        self.select_case(case_id)
        self._drafts.flush()
        stays = case_id == self.case_id and self.opened is not None and (self.opened.audit or not audit)
        if stays:  # another case was asked for and is not yet there; this one never left
            self._opener.cancel()
            self.busy.emit("")
            return
        self.busy.emit(f"Opening {case_id}")
        self._opener.open(case_id, audit=audit)

    def _on_shown(self, opened: OpenCase) -> None:
        self.case_id = opened.case.id
        self.clock.start(opened.draft_meta)
        self._hand.settle()
        self._second.start()
        self.busy.emit("")
        self.select_case(self.case_id)
        self.case_opened.emit(self.case_id)
        self.draft_changed.emit(self.case_id, opened.has_draft)
        self.elapsed.emit(self.clock.total)
        for text in opened.remarks:
            self.message.emit(text, "warning")
        self._prefetch()

    def _prefetch(self) -> None:
        if self.project is not None:
            self._opener.ahead(self.peek_next())

    def close_case(self) -> None:
        """Keep the open edit as a draft and empty the screen."""
        self._drafts.leave()
        self._drafts.end()
        self._opener.cancel()
        self._second.stop()
        self.clock.stop()
        if self.case_id is not None:
            self.layers.clear()
            self.case_id = None
            self.case_opened.emit(None)

    def next_region(self) -> None:
        """Jump to the next uncertain region of the prediction, the largest first."""
        if not self.layers.next_region():
            self.message.emit("No uncertain region is known for this case.", "info")

    def refresh_predictions(self) -> None:
        """After a round: show the new prediction of the open case, read the next one ahead; strokes stay."""
        self._opener.refresh_prediction()
        self.cases_changed.emit()

    # -- the end --------------------------------------------------------------------------------------------------

    def watch(self, window: QWidget | None) -> None:
        """Take part in the main *window*: its keys, and its end. Docks call this when they are shown."""
        self._link.watch(window)

    def _flush_and_wait(self) -> None:
        self._drafts.flush()
        self._jobs.wait()

    def shutdown(self) -> None:
        """Write the draft, wait for the writers, close the project; safe to call twice."""
        if self._over:
            return
        self._over = True
        self._second.stop()
        self._opener.cancel()
        self._drafts.leave()
        self._jobs.wait()
        self._drafts.end()
        self._hand.release()
        self._link.release()
        self.layers.release()
        keys.unbind(self.viewer)
        if self.project is not None:
            self.project.close()
            self.project = None
        _sessions.pop(id(getattr(self.viewer, "__wrapped__", self.viewer)), None)

    # -- answers from workers -------------------------------------------------------------------------------------

    def _on_failed_read(self, error: DaslError) -> None:
        self.busy.emit("")
        self._say_error(error)
        self.cases_changed.emit()

    def _say_error(self, error: DaslError) -> None:
        self.message.emit(str(error), "error")
