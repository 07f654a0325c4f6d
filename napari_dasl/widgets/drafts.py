"""The work in progress: unsaved strokes, their autosaved drafts, and their way into a label revision.

The mask on the screen is copied in the window's thread (some milliseconds) and compared and written in the writer
thread. Until a write has succeeded the copy stays in memory, so that a case reopened in the meantime shows it and a
full disk loses nothing while napari runs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

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
        Counts the strokes; its seconds go with draft and revision.
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
        self._autosave = QTimer(self)
        self._autosave.setInterval(AUTOSAVE_MS)
        self._autosave.timeout.connect(self._write_all)
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(_SETTLE_MS)
        self._settle.timeout.connect(self._settled)
        layers.painted.connect(self._painted)
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

    def _painted(self) -> None:
        self._clock.stroke()
        self._mark()

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
        if self.before_accept is not None and np.array_equal(self._layers.label_view(), self.before_accept):
            self.before_accept = None
            self._origin = None
            self.accept_changed.emit()

    # -- drafts ---------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Hand the strokes since the last write to the writer, if there are any."""
        if self._settle.isActive():
            self._settle.stop()
            self._settled()
        if self._touched and self.opened is not None:
            self._touched = False
            self._write(self._copy(self.opened))

    def _write_all(self) -> None:
        self.flush()
        for work in list(self._stuck.values()):
            if work.case_id not in self._pending:
                self._write(work)

    def _copy(self, opened: OpenCase) -> Work:
        meta: dict[str, Any] = {"seconds": round(self._clock.seconds, 1), "strokes": self._clock.strokes}
        if self._origin is not None:
            meta["model"], meta["round"] = self._origin
        return Work(opened, self._layers.label_copy(), meta)

    def _write(self, work: Work) -> None:
        project = self._project
        if project is None:
            return
        self._pending[work.case_id] = work

        def write() -> bool:
            if np.array_equal(work.mask, work.opened.base):
                project.discard_draft(work.case_id)
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
        before = self._layers.label_copy()
        self._layers.replace_label(shown.mask)
        self.before_accept = before
        self._origin = (shown.model, shown.round)
        self._clock.event()
        self._mark()

    def undo_accept(self) -> bool:
        """Put back what was there before; False where there is nothing to take back."""
        if self.before_accept is None:
            return False
        self._layers.replace_label(self.before_accept)
        self.before_accept = None
        self._origin = None
        self._clock.event()
        self._mark()
        return True

    def discard(self) -> None:
        """Show the saved label again and remove the draft."""
        if self.opened is None:
            return
        self._layers.replace_label(self.opened.base)
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
        return not np.array_equal(self._layers.label_view(), opened.base if writing is None else writing.mask)

    def new_and_empty(self) -> bool:
        """Whether the case has no revision yet and nothing is drawn."""
        return self.opened is not None and self.opened.revision is None and not self._layers.label_view().any()

    def record(self, author: str, done: Callable[[Revision], object], failed: Callable[[DaslError], object]) -> None:
        """Write the mask on the screen as a revision; where that fails, as a draft."""
        project, opened = self._project, self.opened
        if project is None or opened is None:
            return
        work = self._copy(opened)
        self._touched = False
        self._settle.stop()
        self.before_accept = None
        self._pending[work.case_id] = work
        self.being_saved.add(work.case_id)

        def record() -> tuple[Any, Any, DaslError | None, bool]:
            scan_mask = opened.to_scan_grid(work.mask)
            revision, error = run_safely(
                lambda: project.record_label(
                    work.case_id,
                    scan_mask,
                    author=author,
                    source="corrected" if "model" in work.meta else "human",
                    seconds=work.meta["seconds"],
                    model=work.meta.get("model"),
                    round=work.meta.get("round"),
                )
            )
            if error is None:
                run_safely(lambda: project.discard_draft(work.case_id))
                return revision, scan_mask, None, False
            _, lost = run_safely(lambda: project.save_draft(work.case_id, scan_mask, meta=work.meta))
            return None, None, error, lost is None

        def recorded(outcome: tuple[Any, Any, DaslError | None, bool]) -> None:
            revision, scan_mask, error, kept = outcome
            self._settle_record(work, kept=kept, failed=error is not None)
            if error is None:
                self._take_revision(work, revision, scan_mask, work.mask)
                done(revision)
            else:
                where = "Your work is kept as a draft." if kept else "It stays in this window; do not close napari yet."
                failed(type(error)(f"{work.case_id} could not be saved: {error.message}", f"{where} {error.hint}"))

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

    def restore(
        self, number: int, author: str, done: Callable[[Revision], object], failed: Callable[[DaslError], object]
    ) -> None:
        """Make revision *number* the newest one again and show it."""
        project, opened = self._project, self.opened
        if project is None or opened is None:
            return
        self.flush()
        work = self._copy(opened)

        def restore() -> tuple[Any, Any, Any]:
            revision = project.restore(work.case_id, number, author)
            scan_mask = project.read_label(work.case_id, revision.number)
            project.discard_draft(work.case_id)
            return revision, scan_mask, to_display(scan_mask, opened.picture, opened.case)

        def restored(outcome: tuple[Any, Any, Any]) -> None:
            revision, scan_mask, mask = outcome
            if self._is_open(work):
                self._layers.replace_label(mask)
                self._settle.stop()
                self._touched = False
                self._origin = None
                self.before_accept = None
            self._take_revision(work, revision, scan_mask, mask)
            done(revision)

        self._jobs.write(restore, restored, failed)
