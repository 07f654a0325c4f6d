"""What can be done with a pseudo-label: accept, edit, reject, take the rejection back. Writing never blocks the window.

A pseudo-label whose case has strokes of the annotator's own is left alone: human work is never overwritten.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject

from napari_dasl.widgets.drafts import DraftKeeper
from napari_dasl.widgets.effort import effort_of
from napari_dasl.widgets.hand_watch import HandWatch
from napari_dasl.widgets.jobs import Jobs
from napari_dasl.widgets.new_layers import dashed
from napari_dasl.widgets.prefetch import Shown, to_display
from napari_dasl.widgets.project_reading import account_name
from napari_dasl.widgets.pseudo_rows import PseudoState

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from napari_dasl.errors import DaslError
    from napari_dasl.project import Project, Revision
    from napari_dasl.widgets.prefetch import OpenCase
    from napari_dasl.widgets.pseudo_rows import PseudoRow
    from napari_dasl.widgets.session import Session

DECIDABLE = (PseudoState.IN_USE,)
"""States in which a pseudo-label can be accepted, edited or rejected."""


_OUTLINED = (PseudoState.IN_USE, PseudoState.DRAFT, PseudoState.REJECTED)


class PseudoVerbs(QObject):
    """Acts on the pseudo-labels of the session's project.

    Parameters
    ----------
    session : Session
        Whose project, jobs and label layer are used.
    """

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self._jobs = session.findChild(Jobs)
        self._drafts = session.findChild(DraftKeeper)
        self._hand = session.findChild(HandWatch)
        self._wanted: PseudoRow | None = None
        self._outlined: PseudoRow | None = None
        session.case_opened.connect(self._case_opened)

    # -- verbs ----------------------------------------------------------------------------------------------------

    def accept(self, row: PseudoRow) -> bool:
        """Make the pseudo-label a label of the annotator's; False, and why, where it cannot be."""
        project = self.session.project
        if project is None or not self._free(row):
            return False
        here = self.session.case_id == row.case
        spent = self.session.clock.hand_over() if here else {"seconds": 0.0}

        def work() -> Revision:
            author = account_name()
            revision = project.accept_pseudo(row.case, author=author, seconds=spent["seconds"])
            story = {**spent, "model": row.model, "round": row.round}
            project.add_effort(effort_of(row.case, story, author=author, revision=revision.number, changed=0))
            return revision

        def fail(error: DaslError) -> None:
            if here and self.session.case_id == row.case:
                self.session.clock.take_back(spent)
            self._fail(error)

        def done(revision: Revision) -> None:
            self.session.saved.emit(row.case, revision.number)
            self._say(f"{row.case}: the pseudo-label is your label now (revision {revision.number}).")
            if self.session.case_id == row.case == self.session.selected_id:  # read it anew, with its label
                self.session.close_case()
                self.session.open_case(row.case)

        self._write(work, done, fail)
        return True

    def reject(self, row: PseudoRow) -> bool:
        """Never use the network's drawing of this case again, unless it is taken back."""
        project = self.session.project
        if project is None or row.state is not PseudoState.IN_USE:
            return False
        self._write(
            lambda: project.reject_pseudo(row.case, author=account_name()),
            lambda _: self._say(f"{row.case}: the pseudo-label is never used again. Undo reject takes that back."),
        )
        return True

    def allow(self, row: PseudoRow) -> bool:
        """Take a rejection back."""
        project = self.session.project
        if project is None or row.state is not PseudoState.REJECTED:
            return False
        self._write(
            lambda: project.allow_pseudo(row.case, author=account_name()),
            lambda _: self._say(f"{row.case}: the pseudo-label may be used again."),
        )
        return True

    def edit(self, row: PseudoRow) -> bool:
        """Open the case with the pseudo-label in the label layer; nothing is saved yet."""
        if not self._free(row):
            return False
        self._wanted = row
        if self.session.case_id == row.case:
            self._case_opened(row.case)
        else:
            self.session.open_case(row.case)
        return True

    def _free(self, row: PseudoRow) -> bool:
        """Whether the case holds no work of the annotator's; else say so."""
        if row.state not in DECIDABLE:
            return False
        opened = self.session.opened
        if opened is not None and opened.case.id == row.case and opened.has_draft:
            self._say(f"{row.case} has strokes of yours that are not saved. Save or discard them first.", "warning")
            return False
        return True

    def _case_opened(self, case_id: str | None) -> None:
        self._outlined = None
        row, self._wanted = self._wanted, None
        opened = self.session.opened
        if row is None or opened is None or row.case != case_id or opened.blind:
            return
        if opened.has_draft:  # of an earlier time, and newer than the table
            self._say(f"{row.case} has a draft of yours, which is shown instead of the pseudo-label.")
            return

        def take(mask: Any) -> None:
            now = self.session.opened
            if now is not None and now.case.id == row.case and not now.has_draft:
                self._drafts.accept(Shown(mask, row.model, row.round, datetime.now(UTC)))
                self._hand.settle()
                self.session.prediction_changed.emit()
                self._say("The pseudo-label is now the label. Correct it, then save.")

        self._read(row, opened, lambda mask: mask, take)

    # -- on the scan ----------------------------------------------------------------------------------------------

    def outline(self, row: PseudoRow | None) -> None:
        """Show the dashed outline of *row* on the open case; None, or a case that is not open, takes it away."""
        opened = self.session.opened if self.session.case_id is not None else None
        if opened is None:
            self._outlined = None
            return
        fits = row is not None and row.case == opened.case.id and not opened.blind and row.state in _OUTLINED
        if row is None or not fits or row.loss is None:
            if self._outlined is not None:
                self._outlined = None
                self.session.layers.show_pseudo(None, opened.picture)
            return
        if self._outlined is not None and (self._outlined.case, self._outlined.model) == (row.case, row.model):
            return
        self._outlined = row

        def show(line: Any) -> None:
            now = self.session.opened
            if now is not None and now.case.id == row.case and self._outlined is row:
                self.session.layers.show_pseudo(line, now.picture)

        self._read(row, opened, dashed, show)

    # -- beside the window ----------------------------------------------------------------------------------------

    def _read(
        self, row: PseudoRow, opened: OpenCase, then: Callable[[Any], Any], done: Callable[[Any], object]
    ) -> None:
        project: Project | None = self.session.project
        if project is not None:
            self._jobs.read(
                lambda: then(to_display(project.pseudo_mask(row.case), opened.picture, opened.case)), done, self._fail
            )

    def _write(
        self,
        work: Callable[[], Any],
        done: Callable[[Any], object],
        fail: Callable[[DaslError], object] | None = None,
    ) -> None:
        def then(result: Any) -> None:
            done(result)
            self.session.cases_changed.emit()

        self._jobs.write(work, then, fail or self._fail)

    def _say(self, words: str, severity: str = "info") -> None:
        self.session.message.emit(words, severity)

    def _fail(self, error: DaslError) -> None:
        self.session.message.emit(str(error), "error")
        self.session.cases_changed.emit()
