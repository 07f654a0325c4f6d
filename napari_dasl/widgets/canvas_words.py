"""Words on the picture: which case, scan, window and slice; and A, P, R, L, S, I at its borders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.components.overlays import TextOverlay

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_dasl.widgets.prefetch import OpenCase

_ENDS = (("S", "I"), ("A", "P"), ("R", "L"))
"""What lies at the first and the last voxel of the axes z, y, x."""
_PLANES = {0: "axial", 1: "coronal", 2: "sagittal"}
_BORDERS = {
    "dasl_top": "top_center",
    "dasl_bottom": "bottom_center",
    "dasl_left": "middle_left",
    "dasl_right": "middle_right",
}


class CanvasWords:
    """Writes on the canvas of *viewer* through napari's public overlays."""

    def __init__(self, viewer: ViewerModel | Any) -> None:
        self._viewer = viewer
        self.title = ""
        self.window = ""
        self.remark = ""
        self._made = False

    def _overlays(self) -> Any:
        overlays = self._viewer.canvas.overlays
        if not self._made:
            self._made = True
            for name, position in _BORDERS.items():
                overlays[name] = TextOverlay(position=position, font_size=11)
            overlays.text.position = "top_left"
            overlays.text.font_size = 10
            overlays.scale_bar.visible = True
        return overlays

    def refresh(self, slices: tuple[int, int, int] | None) -> None:
        """Write everything anew.

        Parameters
        ----------
        slices : (int, int, int) or None
            Number of slices of the reference along z, y, x; None clears the canvas.
        """
        overlays = self._overlays()
        dims = self._viewer.dims
        flat = slices is not None and dims.ndisplay == 2 and dims.ndim == 3
        rows, columns = (dims.order[-2], dims.order[-1]) if flat else (1, 2)
        letters = {
            "dasl_top": _ENDS[rows][0],
            "dasl_bottom": _ENDS[rows][1],
            "dasl_left": _ENDS[columns][0],
            "dasl_right": _ENDS[columns][1],
        }
        for name, letter in letters.items():
            overlays[name].text = letter
            overlays[name].visible = flat
        overlays.text.visible = slices is not None
        if slices is not None:
            overlays.text.text = "\n".join(line for line in self._lines(slices, flat=flat) if line)

    def _lines(self, slices: tuple[int, int, int], *, flat: bool) -> list[str]:
        lines = [self.title, self.window]
        if flat:
            axis = self._viewer.dims.order[0]
            lines.append(f"{_PLANES[axis]} {self.slice_number(axis, slices[axis])}/{slices[axis]}")
        return [*lines, self.remark]

    def slice_number(self, axis: int, count: int) -> int:
        """Return the number, from 1, of the slice of the reference that is on the screen."""
        low, _, step = self._viewer.dims.range[axis]
        position = round((self._viewer.dims.point[axis] - low) / step) if step else 0
        return min(max(int(position) + 1, 1), count)


def title_of(opened: OpenCase) -> str:
    """Return the first line: which case and scan, and what is special about it."""
    reference = opened.picture.channels[0]
    parts = [opened.case.id, reference.modality or reference.name]
    if opened.picture.oblique:
        parts.append("oblique")
    if opened.case.guard:
        parts.append("guard case, no prediction")
    return " · ".join(parts)
