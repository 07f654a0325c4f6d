"""The label on the screen as a mask: read, written in steps of undo, and what the brush paints next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from napari_dasl.widgets.layer_stack import LayerStack

UNDO_LIMIT_VOXELS = 4_000_000
"""A replaced label that differs in more voxels is not put into napari's undo history (24 bytes a voxel)."""


class LabelEdits:
    """Reads and writes the label layer.

    Parameters
    ----------
    layers : LayerStack
        Which has it as ``label``.
    viewer : napari.Viewer or ViewerModel
        Where it is taken up.
    swap : callable
        Returns a context in which changes are not taken for strokes.
    """

    def __init__(self, layers: LayerStack, viewer: Any, swap: Callable[[], AbstractContextManager[None]]) -> None:
        self._layers = layers
        self._viewer = viewer
        self._swap = swap

    def view(self) -> NDArray[Any]:
        """Return the label layer's mask itself, for comparing; never keep or change it."""
        return np.asarray(self._layers["label"].data)

    def copy(self) -> NDArray[Any]:
        """Return a copy of the mask on the screen (z, y, x)."""
        return np.array(self._layers["label"].data)

    def replace(self, mask: NDArray[Any]) -> None:
        """Put *mask* into the label layer as one step of undo; beyond :data:`UNDO_LIMIT_VOXELS` undo is cleared."""
        indices = np.nonzero(self._layers["label"].data != mask)
        self.write(indices, mask[indices])

    def write(self, indices: tuple[NDArray[np.intp], ...], values: NDArray[Any] | int) -> None:
        """Put *values* at *indices* (z, y, x) of the label as one step of undo, limited as in :meth:`replace`."""
        layer = self._layers["label"]
        if not indices[0].size:
            return
        with self._swap():
            written = np.broadcast_to(np.asarray(values, dtype=layer.data.dtype), indices[0].shape)
            if indices[0].size <= UNDO_LIMIT_VOXELS:
                layer.data_setitem(indices, np.array(written))
            else:
                layer.data[indices] = written
                layer.refresh()
                self.forget_undo()
            layer.refresh()

    def forget_undo(self) -> None:
        """Clear the undo history, and keep the tool in the hand."""
        layer = self._layers["label"]
        mode = layer.mode
        layer.editable = False
        layer.editable = True
        layer.mode = mode

    def paint_with(self, number: int) -> None:
        """Paint class *number* from now on."""
        if "label" in self._layers:
            self._layers["label"].selected_label = number
            self._viewer.layers.selection.active = self._layers["label"]

    @property
    def paint_class(self) -> int:
        """The class that brush and fill paint."""
        return int(self._layers["label"].selected_label) if "label" in self._layers else 1
