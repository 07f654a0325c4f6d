"""Bringing a case onto the screen: read in a worker, shown once, stale answers ignored, the next one read ahead."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from napari_dasl.widgets.prefetch import CaseReader, Maps, OpenCase, Shown

if TYPE_CHECKING:
    from napari_dasl.errors import DaslError
    from napari_dasl.project import Project
    from napari_dasl.widgets.drafts import DraftKeeper
    from napari_dasl.widgets.jobs import Jobs
    from napari_dasl.widgets.layers import LayerBoard


class CaseOpener(QObject):
    """Opens cases for a session.

    Notes
    -----
    Signals: ``shown(OpenCase)``: it is on the screen; ``failed(DaslError)``; ``prediction_changed()``: another
    prediction of the same case is on the screen.
    """

    shown = Signal(object)
    failed = Signal(object)
    prediction_changed = Signal()

    def __init__(self, jobs: Jobs, layers: LayerBoard, drafts: DraftKeeper, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._reader = CaseReader(jobs)
        self._layers = layers
        self._drafts = drafts
        self._token = 0

    def bind(self, project: Project | None) -> None:
        """Open cases of *project* from now on."""
        self.cancel()
        self._reader.bind(project)

    def cancel(self) -> None:
        """Ignore the answers that are still on their way."""
        self._token += 1

    def open(self, case_id: str, *, audit: bool = False) -> None:
        """Show *case_id*, as a blind check without its prediction; of several calls only the last one shows."""
        self.cancel()
        token = self._token

        def show(opened: OpenCase) -> None:
            if token == self._token:
                self._show(opened)

        def fail(error: DaslError) -> None:
            if token == self._token:
                self.failed.emit(error)

        self._reader.open(case_id, self._drafts.unwritten(case_id), show, fail, audit=audit)

    def _show(self, opened: OpenCase) -> None:
        self._drafts.leave()  # with the strokes on the case before that were made while this one was read
        self._layers.show(opened)
        self._drafts.begin(opened)
        self.shown.emit(opened)
        self._read_maps(opened)

    def _read_maps(self, opened: OpenCase) -> None:
        token = self._token

        def show(maps: Maps | None) -> None:
            if token == self._token and maps is not None:
                self._layers.show_maps(maps)

        if opened.shown is not None:
            self._reader.maps(opened, show, self.failed.emit)

    def reveal(self, case_id: str) -> None:
        """Show the prediction of *case_id* again after its blind check, at once where it is on the screen."""
        opened = self._drafts.opened
        if opened is not None and opened.case.id == case_id and opened.audit:
            self._drafts.refresh(replace(opened, audit=False))
            self.refresh_prediction()

    def refresh_prediction(self) -> None:
        """Show the newest prediction of the open case, after a round; strokes stay."""
        self._reader.forget_predictions()
        opened, token = self._drafts.opened, self._token
        if opened is None or opened.blind:
            return

        def show(shown: Shown | None) -> None:
            now = self._drafts.opened
            if token == self._token and now is not None:
                now = now.with_prediction(shown)
                self._drafts.refresh(now)
                self._layers.show_prediction(shown, now.picture)
                self.prediction_changed.emit()
                self._read_maps(now)

        self._reader.prediction(opened, show, self.failed.emit)

    def ahead(self, case_id: str | None) -> None:
        """Read *case_id* into memory, so that it opens at once."""
        if case_id is not None:
            self._reader.ahead(case_id)
