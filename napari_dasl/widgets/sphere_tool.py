"""One click draws a lesion: a sphere of a chosen size, in mm, into the label."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_dasl.widgets.layers import LayerBoard

_STILL = 3.0  # pixels that a hand moves while it clicks
_QUIET = "pan_zoom"


class SphereTool(QObject):
    """Listens for clicks at the picture while it is on; dragging goes on moving the picture.

    Parameters
    ----------
    board : LayerBoard
        Whose viewer is listened to.

    Notes
    -----
    Signals: ``clicked(tuple)``: where, (z, y, x) in mm; ``switched(bool)``.
    """

    clicked = Signal(object)
    switched = Signal(bool)

    def __init__(self, board: LayerBoard, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._board = board
        self._mode = _QUIET
        self.on = False

    def switch(self, on: bool) -> None:
        """Listen, or stop; the brush is put down meanwhile and comes back."""
        if on == self.on:
            return
        self.on = on
        callbacks, label = self._board.viewer.mouse_drag_callbacks, self._board.stack.get("label")
        if on:
            callbacks.append(self._press)
            if label is not None:
                self._mode, label.mode = str(label.mode), _QUIET
        else:
            if self._press in callbacks:
                callbacks.remove(self._press)
            if label is not None and str(label.mode) == _QUIET:
                label.mode = self._mode
        self.switched.emit(on)

    def _press(self, viewer: Any, event: Any) -> Iterator[None]:
        label = self._board.stack.get("label")
        if label is not None and str(label.mode) != _QUIET:  # somebody took up the brush again
            self.switch(False)
            return
        if event.button != 1 or viewer.dims.ndisplay != 2:
            return
        start, moved = event.pos, 0.0
        place = tuple(float(value) for value in event.position)
        yield
        while event.type == "mouse_move":
            moved = max(moved, max(abs(float(a - b)) for a, b in zip(event.pos, start, strict=True)))
            yield
        if moved <= _STILL and len(place) == 3:
            self.clicked.emit(place)
