"""The layers on the screen: what is shown when, and what their events mean.

What views read and change of a single layer is in the board's parts: :mod:`napari_dasl.widgets.label_edits`,
:mod:`napari_dasl.widgets.overlay_looks` and :mod:`napari_dasl.widgets.channel_windows`. Rules, and why:

- Layers are made once and reused (see :mod:`napari_dasl.widgets.layer_stack`).
- The undo history of the label layer is cleared with every case: it survives ``layer.data =``, and the next Ctrl+Z
  would write the last patient's strokes into this one. ``editable = False; editable = True`` is the public way.
- Every layer gets ``scale``, ``translate``, ``units`` in mm and the axis names z, y, x, never ``affine``: napari draws
  rotated slices unrotated (napari#4205), and one layer without units turns them off for all.
- Undo and redo emit neither ``paint`` nor ``data`` but only ``set_data``, as scrolling does.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QObject, Signal

from napari_dasl.widgets.canvas_words import CanvasWords, title_of
from napari_dasl.widgets.channel_windows import ChannelWindows
from napari_dasl.widgets.class_colors import class_colormap, class_features, dashed_colormap, lesion_colormap
from napari_dasl.widgets.label_edits import LabelEdits
from napari_dasl.widgets.layer_stack import LayerStack
from napari_dasl.widgets.new_layers import GAPS, ON_DEMAND, OVERLAYS, nothing, outline_width
from napari_dasl.widgets.overlay_looks import OverlayLooks
from napari_dasl.widgets.view_state import ViewState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from napari.layers import Layer
    from numpy.typing import NDArray

    from napari_dasl.widgets.display_cache import Channel, Picture
    from napari_dasl.widgets.prefetch import Maps, OpenCase, Shown


class LayerBoard(QObject):
    """The layers of the open case.

    Parameters
    ----------
    viewer : napari.Viewer or ViewerModel
        Where they are shown.
    parent : QObject, optional
        Qt owner.

    Notes
    -----
    Signals: ``painted()`` once per stroke; ``redrawn()`` when the label layer was redrawn though the slice did not
    change (undo, redo, and some harmless reasons); ``activity()`` on every sign of work at the canvas;
    ``overlays_changed()`` when visibility, outline, opacity or the paint class changed, or a map arrived.
    Attributes: ``label``, the mask on the screen; ``looks``, how the overlays look; ``has_map``, whether the
    uncertainty of the open case was read; ``numbered``, whether the values of the label number the lesions of one
    class.
    """

    painted = Signal()
    redrawn = Signal()
    activity = Signal()
    overlays_changed = Signal()

    def __init__(self, viewer: Any, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self._channels: tuple[Channel, ...] = ()
        self._classes: tuple[str, ...] = ("lesion",)
        self.numbered = False
        self._swapping = False
        self._seen: dict[str, bool] = {}
        self.has_map = False
        self._regions: tuple[tuple[int, int, int], ...] = ()
        self._region = -1
        self._found = True
        self._slice_state: object = None
        self._view = ViewState(viewer)
        self._words = CanvasWords(viewer)
        self.window_open: Callable[[], bool] = lambda: True
        self._layers = LayerStack(viewer, self._made, lambda: self.window_open(), self)
        self.label = LabelEdits(self._layers, viewer, self.swap)
        self.looks = OverlayLooks(self._layers)
        self._windows = ChannelWindows(self._layers, self.swap)
        viewer.dims.events.connect(self._on_dims)
        viewer.cursor.events.position.connect(self._on_activity)
        viewer.scene.camera.events.zoom.connect(self._on_activity)

    # -- making layers --------------------------------------------------------------------------------------------

    def __getitem__(self, role: str) -> Layer:
        """Return a layer by its role, such as ``channel 0`` (the reference), ``label`` or ``prediction``."""
        return self._layers[role]

    def __contains__(self, role: str) -> bool:
        return role in self._layers

    @property
    def stack(self) -> LayerStack:
        """The layers by their roles, to show more of them within :meth:`swap`."""
        return self._layers

    def _made(self, role: str, layer: Layer) -> None:
        """Dress and listen to a new layer."""
        if role == "label":
            layer.events.paint.connect(self._on_paint)
            layer.events.set_data.connect(self._on_set_data)
            for name in ("selected_label", "contour", "opacity"):
                layer.events[name].connect(self._on_look)
        elif role not in OVERLAYS:
            layer.events.contrast_limits.connect(self._on_contrast)
        if isinstance(layer, Labels):
            self._dress(role, layer)
        layer.events.visible.connect(self._on_look)

    def _dress(self, role: str, layer: Labels) -> None:
        count, light = len(self._classes), role == "prediction"
        plain = lesion_colormap(light=light) if self.numbered else class_colormap(count, light=light)
        layer.colormap = dashed_colormap(count, GAPS) if role == "pseudo-label" else plain
        layer.features = class_features(() if self.numbered else self._classes)

    # -- a case ---------------------------------------------------------------------------------------------------

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; label k is the k-th."""
        return self._classes

    def set_classes(self, names: Sequence[str], *, numbered: bool = False) -> None:
        """Take the classes of a project, with their colours; *numbered* where labels number the lesions of the one."""
        self._classes, self.numbered = tuple(names), numbered
        for role in ("label", "prediction", "pseudo-label"):
            if role in self._layers:
                self._dress(role, self._layers[role])
        if "label" in self._layers:
            self._layers["label"].selected_label = 1

    def prepare(self, channels: Sequence[str]) -> None:
        """Make the layers of a project before its first case: the first layers of a napari take it two seconds."""
        with self.swap():
            for number, name in enumerate(channels):
                if f"channel {number}" not in self._layers:
                    self._layers.empty(f"channel {number}").name = name
                    self._seen[f"channel {number}"] = number == 0
                    self._layers[f"channel {number}"].visible = False
            for role in OVERLAYS:
                if role not in self._layers and role not in ON_DEMAND:
                    self._layers.empty(role)
            self.viewer.layers.selection.active = self._layers["label"]

    def show(self, opened: OpenCase) -> None:
        """Show a case: its channels, its label and its prediction, at the largest finding."""
        reference = opened.picture.channels[0]
        self.prepare([channel.name for channel in opened.picture.channels])
        with self.swap():
            self._windows.remember(self._channels)
            self._view.keep()
            self._channels = opened.picture.channels
            for number, channel in enumerate(self._channels):
                self._show_channel(number, channel)
            for number in range(len(self._channels), sum(role not in OVERLAYS for role in self._layers)):
                self._layers.put(f"channel {number}", nothing(), reference.spacing, reference.origin).visible = False
            own_width = self._layers["label"].contour != outline_width(self._layers["label"].data)
            label = self._layers.put("label", opened.mask, reference.spacing, reference.origin)
            label.contour = label.contour if own_width else outline_width(label.data)
            self.label.forget_undo()
            self._show_prediction(opened.shown, reference)
            self._show_pseudo(None, reference)
            self._show_maps(None)
            self._layers.put_back()
            self._view.apply(reference.spacing, reference.origin, reference.array.shape)
            self._found = opened.found
            self.go_to(opened.focus)
        self._words.title = title_of(opened)
        self._words.remark = ""
        self._write()
        self.overlays_changed.emit()

    def show_prediction(self, shown: Shown | None, picture: Picture) -> None:
        """Show another prediction of the open case; the label layer stays untouched."""
        with self.swap():
            self._show_prediction(shown, picture.channels[0])
            self._show_maps(None)

    def show_pseudo(self, line: NDArray[np.uint8] | None, picture: Picture) -> None:
        """Show the dashed outline of the open case's pseudo-label (see ``new_layers.dashed``); None takes it away."""
        with self.swap():
            self._show_pseudo(line, picture.channels[0])
        self.overlays_changed.emit()

    @property
    def reference(self) -> Channel | None:
        """The scan of the open case that labels are drawn on; None while the screen is empty."""
        return self._channels[0] if self._channels else None

    def show_maps(self, maps: Maps) -> None:
        """Show uncertainty and probability, which arrive a moment after the case."""
        with self.swap():
            self._show_maps(maps)
        self.overlays_changed.emit()
        if not self._found and maps.regions:
            self._found = True
            self.go_to(maps.regions[0])

    def clear(self) -> None:
        """Empty the screen; the layers stay for the next case."""
        with self.swap():
            self._windows.remember(self._channels)
            self._channels = ()
            for role, layer in self._layers.items():
                if role not in OVERLAYS:
                    self._seen.setdefault(role, layer.visible)
                    layer.visible = False
                self._layers.empty(role)
            if "label" in self._layers:
                self.label.forget_undo()
        self.has_map = False
        self._regions = ()
        self._view.forget()
        self._words.refresh(None)

    def _show_channel(self, number: int, channel: Channel) -> None:
        role = f"channel {number}"
        layer = self._layers.put(role, channel.array, channel.spacing, channel.origin)
        layer.name = channel.modality or channel.name if channel.name == "image" else channel.name
        if role in self._seen:
            layer.visible = self._seen.pop(role)
        self._windows.apply(number, channel)

    def _show_prediction(self, shown: Shown | None, reference: Channel) -> None:
        mask = shown.mask if shown is not None else np.broadcast_to(np.uint8(0), reference.array.shape)
        layer = self._layers.put("prediction", mask, reference.spacing, reference.origin)
        layer.editable = False  # new data unlock a layer

    def _show_pseudo(self, line: NDArray[np.uint8] | None, reference: Channel) -> None:
        if line is None and "pseudo-label" not in self._layers:
            return
        shown = np.broadcast_to(np.uint8(0), reference.array.shape) if line is None else line
        active = self.viewer.layers.selection.active
        layer = self._layers.put("pseudo-label", shown, reference.spacing, reference.origin)
        layer.editable = False
        layer.visible = line is not None
        self.viewer.layers.selection.active = active  # napari takes up a layer that is new; the brush stays in the hand

    def _show_maps(self, maps: Maps | None) -> None:
        reference = self._channels[0]
        zeros = np.broadcast_to(np.float32(0), reference.array.shape)
        self.has_map = maps is not None
        self._regions = maps.regions if maps is not None else ()
        self._region = -1
        for role in ("probability", "uncertainty"):
            data = getattr(maps, role) if maps is not None else zeros
            self._layers.put(role, data, reference.spacing, reference.origin)

    @contextmanager
    def swap(self) -> Iterator[None]:
        """Stand for changes of our own, which are neither strokes nor somebody's wish about windows."""
        before, self._swapping = self._swapping, True
        try:
            yield
        finally:
            self._swapping = before
            self._slice_state = self._slices()

    def next_window(self) -> str:
        """Go on to the next window of the active channel (else the reference); return it in words."""
        if not self._channels:
            return ""
        words = self._windows.next(self._channels, self.viewer.layers.selection.active)
        self._write()
        return words

    # -- where it looks -------------------------------------------------------------------------------------------

    def next_region(self) -> str:
        """Jump to the next uncertain region, the largest first; return which one in words."""
        if not self._regions:
            return ""
        self._region = (self._region + 1) % len(self._regions)
        self.go_to(self._regions[self._region])
        self._words.remark = f"uncertain region {self._region + 1} of {len(self._regions)}"
        self._write()
        return self._words.remark

    def go_to(self, voxel: tuple[int, int, int]) -> None:
        """Go to the slices through *voxel* (z, y, x)."""
        reference = self._channels[0]
        self._view.look_at(
            tuple(
                origin + place * step
                for origin, place, step in zip(reference.origin, voxel, reference.spacing, strict=True)
            )
        )

    # -- events ---------------------------------------------------------------------------------------------------

    def _slices(self) -> object:
        dims = self.viewer.dims
        return tuple(dims.point), tuple(dims.order), dims.ndisplay

    def _on_paint(self, event: Any = None) -> None:
        if not self._swapping:
            self.painted.emit()
            self.activity.emit()

    def _on_set_data(self, event: Any = None) -> None:
        state = self._slices()
        if not self._swapping and state == self._slice_state:
            self.redrawn.emit()
        self._slice_state = state

    def _on_activity(self, event: Any = None) -> None:
        if self._channels and not self._swapping:
            self.activity.emit()

    def _on_dims(self, event: Any = None) -> None:
        if self._channels and not self._swapping:
            self._words.remark = ""
            self.activity.emit()
            self._write()

    def _on_look(self, event: Any = None) -> None:
        if not self._swapping:
            self.overlays_changed.emit()

    def _on_contrast(self, event: Any = None) -> None:
        if not self._swapping and self._channels:
            self._windows.remember(self._channels)
            self._write()

    def _write(self) -> None:
        if self._channels:
            self._words.window = self._windows.words(self._channels[0])
            self._words.refresh(self._channels[0].array.shape)

    def release(self) -> None:
        """Leave the viewer alone from now on: the session is over."""
        self._layers.release()
        self._channels = ()
        self.viewer.dims.events.disconnect(self._on_dims)
        self.viewer.cursor.events.position.disconnect(self._on_activity)
        self.viewer.scene.camera.events.zoom.disconnect(self._on_activity)
