"""The eye's habits that stay from case to case: zoom, the part of the body in the middle, the plane."""

from __future__ import annotations

from typing import Any

import numpy as np

_FITS = (0.5, 2.0)
"""Keep the zoom while the next scan is between half and twice as large on the screen; else show all of it."""
_SEEN = 0.95
"""What lies nearer to the edge of the screen than this part of its half is not seen well."""


class ViewState:
    """Remembers where the camera of *viewer* looks, relative to the scan."""

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        self._before: tuple[np.ndarray, np.ndarray] | None = None
        self._kept: tuple[float, np.ndarray] | None = None

    def keep(self) -> None:
        """Take note before the layers change."""
        if self._before is None:
            return
        low, size = self._before
        camera, shown = self._viewer.scene.camera, list(self._viewer.dims.displayed)
        center = np.asarray(camera.center, dtype=float)[-len(shown) :]
        self._kept = (float(camera.zoom), (center - low[shown]) / size[shown])

    def apply(self, spacing: tuple[float, ...], origin: tuple[float, ...], shape: tuple[int, ...]) -> None:
        """Look at the same place of the next scan, or at all of it where it is the first or of another size.

        Parameters
        ----------
        spacing, origin : (float, float, float)
            Scale and translate of the reference in mm.
        shape : (int, int, int)
            Its voxels.
        """
        size = np.maximum(np.asarray(shape, dtype=float) * spacing, 1e-6)
        low = np.asarray(origin, dtype=float) - np.asarray(spacing, dtype=float) / 2
        before, kept = self._before, self._kept
        self._before = (low, size)
        shown = list(self._viewer.dims.displayed)
        fits = before is not None and all(_FITS[0] <= size[axis] / before[1][axis] <= _FITS[1] for axis in shown)
        if kept is None or not fits or len(kept[1]) != len(shown):
            self._viewer.reset_view()
            return
        camera = self._viewer.scene.camera
        center = low[shown] + kept[1] * size[shown]
        camera.center = (*([0.0] if len(shown) == 2 else []), *(float(value) for value in center))
        camera.zoom = kept[0]

    def forget(self) -> None:
        """The screen is empty: show the next scan whole."""
        self._before = self._kept = None

    def look_at(self, point: tuple[float, float, float]) -> None:
        """Go to the slices through *point* (z, y, x in mm), and move the picture only if it lies outside the screen.

        Then it comes to the middle of the screen, or as near to it as the scan goes: no side shows more emptiness.
        """
        viewer = self._viewer
        viewer.dims.set_point((0, 1, 2), point)
        camera = viewer.scene.camera
        shown = list(viewer.dims.displayed)[-2:]
        half = np.asarray(viewer.canvas.size, dtype=float) / max(float(camera.zoom), 1e-9) / 2
        target = np.asarray(point, dtype=float)[shown]
        center = np.asarray(camera.center, dtype=float)
        if viewer.dims.ndisplay == 2 and (np.abs(target - center[-2:]) > _SEEN * half).any():
            if self._before is not None:
                low, size = (along[shown] for along in self._before)
                room = np.maximum(size / 2 - half, 0.0)
                target = np.clip(target, low + size / 2 - room, low + size / 2 + room)
            camera.center = (float(center[0]), float(target[0]), float(target[1]))
