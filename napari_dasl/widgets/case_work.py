"""What is done with the open case: accept, save, skip, go back to what was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_dasl.errors import DaslError
    from napari_dasl.project import Revision
    from napari_dasl.widgets.drafts import DraftKeeper
    from napari_dasl.widgets.hand_watch import HandWatch
    from napari_dasl.widgets.jobs import Jobs
    from napari_dasl.widgets.session import Session


class CaseWork(QObject):
    """Acts on the open case of a session; every method returns at once.

    Parameters
    ----------
    session : Session
        Whose case is open.
    jobs, drafts, hand : Jobs, DraftKeeper, HandWatch
        The session's own.
    """

    def __init__(self, session: Session, jobs: Jobs, drafts: DraftKeeper, hand: HandWatch) -> None:
        super().__init__(session)
        self._session = session
        self._jobs = jobs
        self._drafts = drafts
        self._hand = hand
        self._empty_warned: str | None = None
        session.case_opened.connect(self._case_opened)

    def _case_opened(self, *_: object) -> None:
        self._empty_warned = None

    # -- accept ---------------------------------------------------------------------------------------------------

    @property
    def can_accept(self) -> bool:
        """Whether a prediction is on the screen that can be copied into the label."""
        opened = self._session.opened
        return opened is not None and opened.shown is not None

    @property
    def can_undo_accept(self) -> bool:
        """Whether the label from before *Accept* can be put back."""
        return self._drafts.before_accept is not None

    def accept(self) -> None:
        """Copy the prediction into the label layer as one step that Ctrl+Z or :meth:`undo_accept` takes back.

        Nothing is saved yet. Guard cases have no prediction on the screen and cannot be accepted.
        """
        opened = self._session.opened
        if opened is None:
            return
        if opened.shown is None:
            words = "This case has no prediction yet."
            if opened.blind:
                what = "Blind checks" if opened.audit else "Guard cases"
                words = f"{what} are labelled without a prediction."
            self._say(words)
            return
        self._drafts.accept(opened.shown)
        self._hand.settle()
        self._session.prediction_changed.emit()
        self._say("The prediction is now the label. Correct it, then save.")

    def undo_accept(self) -> None:
        """Put the label back that was there before :meth:`accept` (again one step of Ctrl+Z)."""
        if self._drafts.undo_accept():
            self._hand.settle()
            self._session.prediction_changed.emit()
            self._say("The label from before Accept is back.")

    # -- save -----------------------------------------------------------------------------------------------------

    @property
    def saving(self) -> bool:
        """Whether a revision of the open case is being written."""
        return self._session.case_id in self._drafts.being_saved

    def save(self) -> bool:
        """Record the label on the screen as a new revision, in a worker; an empty label means "no finding".

        Returns whether there was something to record; the outcome comes by ``saved`` or ``message``.
        """
        session = self._session
        if session.project is None or session.opened is None:
            return False
        if not self._drafts.differs():
            self._say(f"{session.case_id}: nothing changed since it was saved.")
            return False
        self._drafts.record(self._saved, self._failed)
        session.prediction_changed.emit()
        return True

    def save_and_next(self) -> None:
        """Save and open the next case of the queue.

        One stray key does not record a new, empty label as "no finding": the first call says so, the second does it.
        """
        session = self._session
        if session.opened is not None and self._drafts.new_and_empty() and self._empty_warned != session.case_id:
            self._empty_warned = session.case_id
            session.message.emit(
                "Nothing is drawn. Press N again to record that there is no finding, K to accept the prediction, "
                "or skip the case.",
                "warning",
            )
            return
        self.save()
        session.next_case()

    def _saved(self, revision: Revision) -> None:
        self._hand.settle()
        self._session.agenda.done(revision.case)
        self._session.saved.emit(revision.case, revision.number)
        self._session.cases_changed.emit()
        self._say(f"{revision.case} is saved (revision {revision.number}).")

    def _failed(self, error: DaslError) -> None:
        self._session.busy.emit("")
        self._say_error(error)
        self._session.cases_changed.emit()

    # -- set aside ------------------------------------------------------------------------------------------------

    def skip(self, reason: str) -> None:
        """Set the open case aside with a *reason* and open the next one; its draft stays."""
        session = self._session
        project, case_id = session.project, session.case_id
        if project is None or case_id is None:
            return
        session.agenda.done(case_id)
        self._set_aside(lambda: project.skip(case_id, reason), f"{case_id} was skipped: {reason}")
        following = session.peek_next()
        if following is not None:
            session.open_case(following)
        else:
            session.close_case()

    def unskip(self, case_id: str) -> None:
        """Put a skipped case back into the worklist."""
        if (project := self._session.project) is not None:
            self._set_aside(lambda: project.unskip(case_id), f"{case_id} is back in the worklist.")

    def _set_aside(self, change: Callable[[], None], words: str) -> None:
        def done(_: None) -> None:
            self._say(words)
            self._session.cases_changed.emit()

        self._jobs.write(change, done, self._say_error)

    # -- go back --------------------------------------------------------------------------------------------------

    def restore(self, revision: int) -> None:
        """Make an old revision of the open case the newest one again; what is on the screen can be had by Ctrl+Z."""
        if self._session.opened is not None:
            self._drafts.restore(revision, self._saved, self._say_error)

    def discard_draft(self) -> None:
        """Forget the unsaved strokes of the open case and show the saved label (Ctrl+Z brings them back)."""
        self._drafts.discard()
        self._hand.settle()

    def _say(self, words: str) -> None:
        self._session.message.emit(words, "info")

    def _say_error(self, error: DaslError) -> None:
        self._session.message.emit(str(error), "error")
