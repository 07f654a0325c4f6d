"""Our layers in a viewer's list: made once, reused from case to case, kept in order, put back when deleted.

PySide6 never frees a removed layer with napari 0.9, so a layer is made once and given other data (``layer.data = …``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer

from napari_dasl.widgets.new_layers import NOWHERE, OVERLAYS, new_layer, nothing, placed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari.layers import Layer
    from numpy.typing import NDArray


class LayerStack(Mapping[str, Any]):
    """The layers by their roles: ``channel 0`` (the reference), ``channel 1`` …, and those of `OVERLAYS`.

    Parameters
    ----------
    viewer : napari.Viewer or ViewerModel
        Where they are shown.
    made : callable
        Called with role and layer before a new layer is shown, to dress it and to listen to it.
    window_open : callable
        Whether the viewer's window is still there: ``viewer.close()`` deletes our layers too, and a layer put into a
        closed window makes napari fail.
    parent : QObject
        Qt owner of the timer.
    """

    def __init__(
        self, viewer: Any, made: Callable[[str, Any], None], window_open: Callable[[], bool], parent: QObject
    ) -> None:
        self._viewer = viewer
        self._made = made
        self._window_open = window_open
        self._layers: dict[str, Layer] = {}
        self._repair = QTimer(parent)
        self._repair.setSingleShot(True)
        self._repair.timeout.connect(self.put_back)
        viewer.layers.events.removed.connect(self._on_removed)

    def __getitem__(self, role: str) -> Any:
        return self._layers[role]

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)

    def put(self, role: str, data: NDArray[Any] | list[Any], spacing: Sequence[float], origin: Sequence[float]) -> Any:
        """Show *data* at its place in mm in the layer of *role*, which is made the first time.

        Parameters
        ----------
        data : (z, y, x) array, or list of (n, 3) arrays
            Voxels; for the boxes of findings polygons, whose corners are in voxels.
        """
        layer = self._layers.get(role)
        if layer is None:
            layer = new_layer(role, placed(data, spacing, origin))
            self._made(role, layer)
            self._layers[role] = layer
            self._insert(role)
            return layer
        layer.data = data
        layer.scale = tuple(spacing)
        layer.translate = tuple(origin)
        return layer

    def empty(self, role: str) -> Any:
        """Show nothing in the layer of *role*."""
        return self.put(role, [] if role == "findings" else nothing(), *NOWHERE)

    def _insert(self, role: str) -> None:
        """Put the layer of *role* at its height: the reference below, the other channels, then the overlays."""
        order = [*sorted(name for name in self._layers if name not in OVERLAYS), *OVERLAYS]
        present = list(self._viewer.layers)
        at = len(present)
        for later in order[order.index(role) + 1 :]:
            layer = self._layers.get(later)
            if layer is not None and layer in present:
                at = present.index(layer)
                break
        self._viewer.layers.insert(at, self._layers[role])

    def _on_removed(self, event: Any) -> None:
        if any(event.value == layer for layer in self._layers.values()):
            self._repair.start(0)

    def put_back(self) -> None:
        """Show our layers again that somebody deleted: their data was never gone."""
        if not self._window_open():
            return
        for role, layer in self._layers.items():
            if layer not in self._viewer.layers:
                self._insert(role)

    def release(self) -> None:
        """Leave the viewer's list alone from now on."""
        self._repair.stop()
        self._viewer.layers.events.removed.disconnect(self._on_removed)
