"""Tells the clock what the hand does at the picture: pressing, scrolling, zooming, strokes, undo.

napari says nothing when somebody undoes: the label layer is only redrawn, as it is for harmless reasons. So the section
on the screen is fingerprinted, and a redraw that changed it without a stroke was undo or redo.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, QTimer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_dasl.widgets.clock import EffortClock
    from napari_dasl.widgets.layers import LayerBoard

_NOT_DRAWING = ("pan_zoom", "transform", "pick")


class HandWatch(QObject):
    """Feeds the clock of one session.

    Parameters
    ----------
    viewer : napari.Viewer or ViewerModel
        Whose mouse, sections and camera are watched.
    layers : LayerBoard
        Tells of strokes and redraws.
    clock : EffortClock
        Is told.
    parent : QObject, optional
        Qt owner.
    """

    def __init__(self, viewer: Any, layers: LayerBoard, clock: EffortClock, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._layers = layers
        self._clock = clock
        self._view: object = None
        self._print = 0
        self._redrawn = QTimer(self)  # a stroke redraws before it says that it is one
        self._redrawn.setSingleShot(True)
        self._redrawn.setInterval(0)
        self._redrawn.timeout.connect(self._after_redraw)
        layers.activity.connect(self._moved)
        layers.painted.connect(self._painted)
        layers.redrawn.connect(self._redrawn.start)
        viewer.mouse_drag_callbacks.append(self._drag)

    def settle(self) -> None:
        """Take the label as it is now: it was changed by the program, not by the hand."""
        self._redrawn.stop()
        self._view = self._look_of()
        self._print = self._fingerprint()

    def release(self) -> None:
        """Leave the viewer alone."""
        self._redrawn.stop()
        if self._drag in self._viewer.mouse_drag_callbacks:
            self._viewer.mouse_drag_callbacks.remove(self._drag)

    def _drag(self, _viewer: Any, event: Any) -> Iterator[None]:
        self._clock.press(drawing=self._draws())
        yield
        while event.type == "mouse_move":
            self._clock.event()
            yield
        self._clock.release()

    def _draws(self) -> bool:
        if "label" not in self._layers:
            return False
        label = self._layers["label"]
        active = self._viewer.layers.selection.active
        return active is not None and active == label and str(label.mode) not in _NOT_DRAWING

    def _moved(self) -> None:
        view = self._look_of()
        if view == self._view:
            self._clock.event()
            return
        self._view = view
        self._clock.look()
        if not self._redrawn.isActive():
            self._print = self._fingerprint()

    def _painted(self) -> None:
        self._redrawn.stop()
        self._print = self._fingerprint()
        self._clock.stroke()

    def _after_redraw(self) -> None:
        before, self._print = self._print, self._fingerprint()
        if before != self._print and not self._clock.pressed:
            self._clock.undo()

    def _look_of(self) -> object:
        dims = self._viewer.dims
        return tuple(dims.point), tuple(dims.order), dims.ndisplay, self._viewer.scene.camera.zoom

    def _fingerprint(self) -> int:
        """Return a number that changes with the label on the screen: of its section, or of all of it in 3D."""
        if "label" not in self._layers:
            return 0
        mask, dims = self._layers.label.view(), self._viewer.dims
        if dims.ndisplay == 2 and mask.ndim == dims.ndim:
            axis = dims.order[0]
            place = int(np.clip(round(self._layers["label"].world_to_data(dims.point)[axis]), 0, mask.shape[axis] - 1))
            mask = np.take(mask, place, axis=axis)
        return zlib.crc32(np.ascontiguousarray(mask))
