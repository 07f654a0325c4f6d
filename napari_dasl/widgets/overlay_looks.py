"""How the overlays look: which are shown, outlined or filled, and how strong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_dasl.widgets.new_layers import OVERLAYS, outline_width

if TYPE_CHECKING:
    from napari_dasl.widgets.layer_stack import LayerStack


class OverlayLooks:
    """Shows and hides the overlays among *layers*."""

    def __init__(self, layers: LayerStack) -> None:
        self._layers = layers
        self._hidden = ["label", "prediction"]

    def toggle_all(self) -> None:
        """Hide every overlay, to see the scan alone, or show those again that were hidden."""
        if "label" not in self._layers:
            return
        visible = [role for role in OVERLAYS if self.is_visible(role)]
        self._hidden = visible or self._hidden
        for role in self._hidden:
            self._layers[role].visible = not visible

    def toggle(self, role: str) -> None:
        """Show or hide one overlay."""
        if role in self._layers:
            self._layers[role].visible = not self._layers[role].visible

    def is_visible(self, role: str) -> bool:
        """Whether the layer of *role* is shown."""
        return role in self._layers and bool(self._layers[role].visible)

    def set_outline(self, outline: bool) -> None:
        """Draw the label as an outline, so that the anatomy under it stays visible, or filled."""
        if "label" in self._layers:
            layer = self._layers["label"]
            layer.contour = outline_width(layer.data) if outline else 0

    @property
    def outline(self) -> bool:
        """Whether the label is drawn as an outline."""
        return "label" not in self._layers or self._layers["label"].contour > 0

    def set_opacity(self, opacity: float) -> None:
        """Set the opacity of label and prediction, 0 to 1."""
        for role in ("label", "prediction"):
            if role in self._layers:
                self._layers[role].opacity = opacity

    @property
    def opacity(self) -> float:
        """Opacity of the label."""
        return float(self._layers["label"].opacity) if "label" in self._layers else 0.9
