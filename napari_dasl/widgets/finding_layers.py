"""What findings look like on the scan: thin boxes in every slice they cross, and the outline of the chosen one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject

from napari_dasl.widgets.finding_boxes import Box, View, strips

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_dasl.widgets.layers import LayerBoard


class FindingLayers(QObject):
    """Draws boxes anew whenever another slice, orientation or zoom is on the screen.

    The layer is made when it is first needed and reused, as every layer of ours. napari's Shapes are planar and
    unlock when they get new data; the strips lie in the slice on the screen alone.

    Parameters
    ----------
    board : LayerBoard
        Whose viewer and case they are drawn on.
    """

    def __init__(self, board: LayerBoard, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._board = board
        self._boxes: tuple[Box, ...] = ()
        self._drawn: object = None
        board.activity.connect(self._redraw)

    def show_boxes(self, boxes: Sequence[Box]) -> None:
        """Show *boxes* on the open case; none takes them away."""
        self._boxes = tuple(boxes)
        self._drawn = None
        self._redraw()

    def view(self) -> View | None:
        """Return the slice on the screen; None in 3D, and while the screen is empty."""
        reference, dims = self._board.reference, self._board.viewer.dims
        if reference is None or dims.ndisplay != 2 or dims.ndim != 3:
            return None
        axis = dims.order[0]
        place = round((dims.point[axis] - reference.origin[axis]) / reference.spacing[axis])
        rows, columns = dims.order[1:]
        pixel = 1 / max(float(self._board.viewer.scene.camera.zoom), 1e-9)
        return View(axis, place, (rows, columns), tuple(reference.spacing), pixel)

    def _redraw(self) -> None:
        board, reference, view = self._board, self._board.reference, self.view()
        if reference is None or ("findings" not in board and not self._boxes):
            return
        wanted = (self._boxes, view)
        if wanted == self._drawn:
            return
        self._drawn = wanted
        corners, colours = strips(self._boxes, view) if view is not None else ([], [])
        active = board.viewer.layers.selection.active
        new = "findings" not in board
        with board.swap():
            layer = board.stack.put("findings", [], reference.spacing, reference.origin)
            if corners:
                layer.add(corners, shape_type="polygon", edge_width=0, face_color=colours, edge_color=colours)
            layer.editable = False  # new data unlock a layer
            if new:
                board.viewer.layers.selection.active = active
