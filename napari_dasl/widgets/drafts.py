"""The work in progress: unsaved strokes, their autosaved drafts, and their way into a label revision.

The mask on the screen is copied in the window's thread (some milliseconds) and compared and written in the writer
thread. Until a write has succeeded the copy stays in memory, so that a case reopened in the meantime shows it and a
full disk loses nothing while napari runs.

The time that the annotator took travels with the strokes: in the draft's meta until a label is saved, then as an
:class:`~napari_dasl.project.records.Effort` beside it. A case that was only looked at leaves one without a label.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

from napari_dasl.widgets.effort import add_effort, add_inspection
from napari_dasl.widgets.jobs import Jobs, run_safely
from napari_dasl.widgets.prefetch import OpenCase, to_display

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_dasl.errors import DaslError
    from napari_dasl.project import Project, Revision
    from napari_dasl.widgets.clock import EffortClock
    from napari_dasl.widgets.layers import LayerBoard
    from napari_dasl.widgets.prefetch import Shown

AUTOSAVE_MS = 5000
"""A stroke is on the disk at most so many milliseconds later."""
_SETTLE_MS = 300
_STALE_SECONDS = 15.0
"""A draft whose time is this much behind is written again, though nothing was drawn: a crash costs no more."""


@dataclass(frozen=True, eq=False)
class Work:
    """A copy of the label layer on its way to the disk: the case it belongs to, the mask as shown, and its story."""

    opened: OpenCase
    mask: Any
    meta: dict[str, Any]

    @property
    def case_id(self) -> str:
        """The case."""
        return self.opened.case.id


class DraftKeeper(QObject):
    """Watches the label layer of the open case and keeps its unsaved strokes.

    Parameters
    ----------
    jobs : Jobs
        Where comparing and writing run, one after the other.
    layers : LayerBoard
        Tells of strokes and holds the mask.
    clock : EffortClock
        Active time and strokes; they go with draft and revision.
    parent : QObject, optional
        Qt owner.

    Attributes
    ----------
    opened : OpenCase or None
        The case on the screen, with what is saved of it by now.
    before_accept : array or None
        The mask that *Accept* replaced, while that can be taken back.
    being_saved : set of str
        Cases whose revision is being written.
    author : str
        Who labels; goes with labels and efforts.
    accepted_part : callable
        Gives the part of a prediction's mask that *Accept* copies; all of it unless somebody rejected findings.

    Notes
    -----
    Signals: ``changed(case id, has draft)``; ``failed(DaslError)``; ``accept_changed()``: whether *Accept* can be
    taken back changed.
    """

    changed = Signal(str, bool)
    failed = Signal(object)
    accept_changed = Signal()

    def __init__(self, jobs: Jobs, layers: LayerBoard, clock: EffortClock, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.opened: OpenCase | None = None
        self.before_accept: Any = None
        self.being_saved: set[str] = set()
        self._jobs = jobs
        self._layers = layers
        self._clock = clock
        self._project: Project | None = None
        self._touched = False
        self._origin: tuple[str, int | None] | None = None
        self._pending: dict[str, Work] = {}
        self._stuck: dict[str, Work] = {}
        self._on_disk: dict[str, bool] = {}
        self._told = 0.0
        self.author = ""
        self.accepted_part: Callable[[Any], Any] = lambda mask: mask
        self._autosave = QTimer(self)
        self._autosave.setInterval(AUTOSAVE_MS)
        self._autosave.timeout.connect(self._write_all)
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(_SETTLE_MS)
        self._settle.timeout.connect(self._settled)
        layers.painted.connect(self._mark)
        layers.redrawn.connect(self._settle.start)

    # -- the open case --------------------------------------------------------------------------------------------

    def bind(self, project: Project | None) -> None:
        """Write into *project* from now on."""
        self._project = project
        self._pending.clear()
        self._stuck.clear()
        self._on_disk.clear()
        self.being_saved.clear()

    def begin(self, opened: OpenCase) -> None:
        """Watch *opened*, which is now on the screen."""
        self.opened = opened
        self._touched = False
        self.before_accept = None
        model = opened.draft_meta.get("model")
        self._origin = (model, opened.draft_meta.get("round")) if model else None
        self._told = float(opened.draft_meta.get("seconds", 0.0))
        self._autosave.start()

    def end(self) -> None:
        """Nothing is on the screen any more."""
        self.opened = None
        self.before_accept = None
        self._touched = False
        self._settle.stop()
        if not self._stuck:
            self._autosave.stop()

    def refresh(self, opened: OpenCase) -> None:
        """Take the same case with another prediction."""
        self.opened = opened

    def unwritten(self, case_id: str) -> tuple[Any, dict[str, Any]] | None:
        """Return mask and story of work on *case_id* that is in memory but not yet on the disk."""
        work = self._pending.get(case_id) or self._stuck.get(case_id)
        return (work.mask, work.meta) if work is not None else None

    @property
    def has_draft(self) -> bool:
        """Whether the open case has unsaved strokes, as far as is known."""
        return self.opened is not None and (self._touched or self.opened.has_draft)

    def _mark(self) -> None:
        if self.opened is None:
            return
        self._touched = True
        if not self.opened.has_draft:
            self.opened = replace(self.opened, has_draft=True)
            self.changed.emit(self.opened.case.id, True)

    def _settled(self) -> None:
        """Look at the layer after it was redrawn without a stroke, which may have been undo or redo."""
        if self.opened is None:
            return
        self._touched = True  # the writer compares before it writes
        if self.before_accept is not None and np.array_equal(self._layers.label.view(), self.before_accept):
            self.before_accept = None
            self._origin = None
            self.accept_changed.emit()

    # -- drafts ---------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Hand the strokes since the last write to the writer, if there are any."""
        self._flush(stale=float("inf"))

    def _flush(self, *, stale: float, leaving: bool = False) -> bool:
        """Write where something was drawn, or a draft's time is *stale* seconds behind; return whether it did."""
        if self._settle.isActive():
            self._settle.stop()
            self._settled()
        opened = self.opened
        if opened is None:
            return False
        behind = self._clock.seconds - self._told > stale and opened.has_draft
        if not self._touched and not behind:
            return False
        self._touched = False
        self._told = self._clock.seconds
        self._write(self._copy(opened), leaving=leaving)
        return True

    def leave(self) -> None:
        """Keep the strokes and the time of the open case, which is about to go from the screen."""
        opened, project, author = self.opened, self._project, self.author
        if opened is None or project is None:
            return
        if not self._flush(stale=0.0, leaving=True) and not opened.has_draft:
            meta = self._story(opened, self._clock.kept())
            self._jobs.write(lambda: run_safely(lambda: add_inspection(project, opened.case.id, meta, author)))
        self._clock.stop()
        self.opened = None

    def _write_all(self) -> None:
        self._flush(stale=_STALE_SECONDS)
        for work in list(self._stuck.values()):
            if work.case_id not in self._pending:
                self._write(work)

    def _copy(self, opened: OpenCase) -> Work:
        return Work(opened, self._layers.label.copy(), self._story(opened, self._clock.kept()))

    def _story(self, opened: OpenCase, meta: dict[str, Any]) -> dict[str, Any]:
        """Add to the clock's *meta* where the label began."""
        if self._origin is not None:
            meta["model"], meta["round"] = self._origin
        if opened.blind:
            meta["blind"], meta["audit"] = True, opened.audit
        return meta

    def _write(self, work: Work, *, leaving: bool = False) -> None:
        project, author = self._project, self.author
        if project is None:
            return
        self._pending[work.case_id] = work

        def write() -> bool:
            if np.array_equal(work.mask, work.opened.base):
                project.discard_draft(work.case_id)
                if leaving:  # every stroke was undone: it was looked at
                    run_safely(lambda: add_inspection(project, work.case_id, work.meta, author))
                return False
            project.save_draft(work.case_id, work.opened.to_scan_grid(work.mask), meta=work.meta)
            return True

        self._jobs.write(write, lambda kept: self._written(work, kept), lambda error: self._not_written(work, error))

    def _written(self, work: Work, kept: bool) -> None:
        self._stuck.pop(work.case_id, None)
        if self._pending.get(work.case_id) is work:
            del self._pending[work.case_id]
        if self._is_open(work) and not self._touched and self.opened is not None and self.opened.has_draft != kept:
            self.opened = replace(self.opened, has_draft=kept)
        if self._on_disk.get(work.case_id) != kept:  # the worklist reads states from the disk: tell it now
            self._on_disk[work.case_id] = kept
            self.changed.emit(work.case_id, kept or self._touched_again(work))

    def _not_written(self, work: Work, error: DaslError) -> None:
        if self._pending.get(work.case_id) is work:
            del self._pending[work.case_id]
        first = work.case_id not in self._stuck
        self._stuck[work.case_id] = work
        self._autosave.start()
        if first:  # tried again every few seconds; said once
            self.failed.emit(
                type(error)(
                    f"The draft of {work.case_id} could not be written: {error.message}",
                    f"It is kept in memory and tried again; do not close napari yet. {error.hint}",
                )
            )

    def _touched_again(self, work: Work) -> bool:
        return self._is_open(work) and self._touched

    def _is_open(self, work: Work) -> bool:
        return self.opened is not None and self.opened.case.id == work.case_id

    # -- steps on the label layer ---------------------------------------------------------------------------------

    def accept(self, shown: Shown) -> None:
        """Put the prediction into the label layer as one step."""
        before = self._layers.label.copy()
        self._layers.label.replace(self.accepted_part(shown.mask))
        self.before_accept = before
        self._origin = (shown.model, shown.round)
        self._clock.edit()
        self._mark()

    def drawn(self, origin: tuple[str, int | None] | None = None) -> None:
        """Note that something was drawn at the annotator's wish; *origin* is the model and round it came from."""
        self._origin = origin or self._origin
        self._clock.edit()
        self._mark()

    def undo_accept(self) -> bool:
        """Put back what was there before; False where there is nothing to take back."""
        if self.before_accept is None:
            return False
        self._layers.label.replace(self.before_accept)
        self.before_accept = None
        self._origin = None
        self._clock.edit()
        self._mark()
        return True

    def discard(self) -> None:
        """Show the saved label again and remove the draft."""
        if self.opened is None:
            return
        self._layers.label.replace(self.opened.base)
        self.before_accept = None
        self._origin = None
        self._touched = True
        self.flush()

    # -- revisions ------------------------------------------------------------------------------------------------

    def differs(self) -> bool:
        """Whether the label layer holds something that no revision holds."""
        opened = self.opened
        if opened is None:
            return False
        writing = self._pending.get(opened.case.id) if opened.case.id in self.being_saved else None
        if writing is None and opened.revision is None:
            return True
        return not np.array_equal(self._layers.label.view(), opened.base if writing is None else writing.mask)

    def new_and_empty(self) -> bool:
        """Whether the case has no revision yet and nothing is drawn."""
        return self.opened is not None and self.opened.revision is None and not self._layers.label.view().any()

    def record(self, done: Callable[[Revision], object], failed: Callable[[DaslError], object]) -> None:
        """Write the mask on the screen as a revision, with what it took; where that fails, as a draft."""
        project, opened = self._project, self.opened
        if project is None or opened is None:
            return
        case_id, author = opened.case.id, self.author
        older = self._pending.get(case_id) if case_id in self.being_saved else None
        work = Work(opened, self._layers.label.copy(), self._story(opened, self._clock.hand_over()))
        self._told = 0.0
        self._touched = False
        self._settle.stop()
        self.before_accept = None
        self._pending[case_id] = work
        self.being_saved.add(case_id)

        def record() -> tuple[Any, Any, DaslError | None, bool]:
            scan_mask = opened.to_scan_grid(work.mask)
            revision, error = run_safely(
                lambda: project.record_label(
                    case_id,
                    scan_mask,
                    author=author,
                    source="corrected" if "model" in work.meta else "human",
                    seconds=work.meta["seconds"],
                    model=work.meta.get("model"),
                    round=work.meta.get("round"),
                )
            )
            if error is None:
                run_safely(lambda: project.discard_draft(case_id))
                number, before = revision.number, None if older is None else older.mask
                run_safely(lambda: add_effort(project, opened, work.mask, work.meta, number, author, before))
                return revision, scan_mask, None, False
            _, lost = run_safely(lambda: project.save_draft(case_id, scan_mask, meta=work.meta))
            return None, None, error, lost is None

        def recorded(outcome: tuple[Any, Any, DaslError | None, bool]) -> None:
            revision, scan_mask, error, kept = outcome
            self._settle_record(work, kept=kept, failed=error is not None)
            if error is None:
                self._take_revision(work, revision, scan_mask, work.mask)
                done(revision)
            else:
                where = "Your work is kept as a draft." if kept else "It stays in this window; do not close napari yet."
                failed(type(error)(f"{case_id} could not be saved: {error.message}", f"{where} {error.hint}"))

        def crashed(error: DaslError) -> None:
            self._settle_record(work, kept=False, failed=True)
            failed(error)

        self._jobs.write(record, recorded, crashed)

    def _settle_record(self, work: Work, *, kept: bool, failed: bool) -> None:
        self.being_saved.discard(work.case_id)
        if self._pending.get(work.case_id) is work:
            del self._pending[work.case_id]
        if failed:
            if not kept:
                self._stuck[work.case_id] = work
                self._autosave.start()
            self._on_disk[work.case_id] = kept
            if self._is_open(work) and self.opened is not None:
                self.opened = replace(self.opened, has_draft=True)
                self._clock.take_back(work.meta)
            self.changed.emit(work.case_id, True)
        else:
            self._stuck.pop(work.case_id, None)

    def _take_revision(self, work: Work, revision: Revision, scan_mask: Any, base: Any) -> None:
        """Measure *unsaved* against the new revision from now on."""
        self._on_disk[work.case_id] = False
        if self._is_open(work) and self.opened is not None:
            self._origin = None if not self._touched else self._origin
            self.opened = replace(
                self.opened, saved_mask=scan_mask, base=base, revision=revision.number, has_draft=self._touched
            )
        self.changed.emit(work.case_id, self._touched_again(work))

    def restore(self, number: int, done: Callable[[Revision], object], failed: Callable[[DaslError], object]) -> None:
        """Make revision *number* the newest one again and show it."""
        project, opened = self._project, self.opened
        if project is None or opened is None:
            return
        self.flush()
        work, author = self._copy(opened), self.author

        def restore() -> tuple[Any, Any, Any]:
            revision = project.restore(work.case_id, number, author)
            scan_mask = project.read_label(work.case_id, revision.number)
            project.discard_draft(work.case_id)
            return revision, scan_mask, to_display(scan_mask, opened.picture, opened.case)

        def restored(outcome: tuple[Any, Any, Any]) -> None:
            revision, scan_mask, mask = outcome
            if self._is_open(work):
                self._layers.label.replace(mask)
                self._settle.stop()
                self._touched = False
                self._origin = None
                self.before_accept = None
            self._take_revision(work, revision, scan_mask, mask)
            done(revision)

        self._jobs.write(restore, restored, failed)
