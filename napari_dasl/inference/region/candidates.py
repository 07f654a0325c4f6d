"""What the windows of a detector said about a scan, and the findings that are made of it. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Triple = tuple[int, int, int]

FLOOR = 0.02
"""Scores below are not looked at. It is far under any threshold: FROC curves need what nearly counts."""

NMS = (0.1, 0.2, 0.3, 0.4, 0.5)
"""Overlaps (IoU), above which two boxes are one finding, that tuning tries."""

_SIGMA = 0.125  # of a window's side, as in tiling.gaussian
_FLOOR = 1e-3


@dataclass(frozen=True)
class Grid:
    """The network's grid and the scan's own, which share their extent.

    Attributes
    ----------
    shape : (z, y, x)
        Voxels of the network's grid.
    scan : (z, y, x)
        Voxels of the scan.
    spacing : (float, float, float)
        Voxel size (z, y, x) of the scan in mm.
    """

    shape: Triple
    scan: Triple
    spacing: tuple[float, float, float]

    def to_mm(self, corners: NDArray[np.float64]) -> NDArray[np.float64]:
        """Corners (…, 6) in voxels of the network's grid as mm, where the scan's first voxel is centred on 0."""
        ratio = np.divide(self.scan, self.shape)
        scale, shift = np.tile(ratio * self.spacing, 2), np.tile(np.multiply(self.spacing, 0.5), 2)
        return np.asarray(corners * scale - shift)


@dataclass(frozen=True)
class Candidates:
    """Everything that the windows of a scan found, before any of it is joined.

    D is 3, or 2 for a network of slices.

    Attributes
    ----------
    cubes : array, float64, (n, D + 1)
        Centre (z, y, x) or (y, x), and diameter.
    scores : array, float64, (n,)
    classes : array, intp, (n,)
        From 0.
    masks : array, float16, (m, M, …)
        Probabilities over the region of side ``roi_scale`` d around the cubes of which a mask was drawn.
    drawn : array, intp, (n,)
        The mask of each cube, a row of *masks*; -1 where none was drawn.
    window : array, intp, (n,)
        The window that found it, a row of *windows*.
    windows : array, float64, (w, 2 D)
        Corners of every window that was looked at; half-open.
    slices : array, intp, (w,)
        The slice that a window lies in; 0 for volumes.
    roi_scale : float
    grid : Grid
    """

    cubes: NDArray[np.float64]
    scores: NDArray[np.float64]
    classes: NDArray[np.intp]
    masks: NDArray[np.float16]
    drawn: NDArray[np.intp]
    window: NDArray[np.intp]
    windows: NDArray[np.float64]
    slices: NDArray[np.intp]
    roi_scale: float
    grid: Grid

    @property
    def dims(self) -> int:
        """Axes of a cube: 3, or 2 for slices."""
        return int(self.cubes.shape[1]) - 1


@dataclass(frozen=True)
class Part:
    """A mask and the region that it fills.

    Attributes
    ----------
    start : array (D,)
        First corner of the region.
    side : float
        Its length along each axis.
    mask : array, float32, (M, …)
        Probabilities at the centres of its cells.
    slice : int or None
        The slice that a two-dimensional region lies in.
    """

    start: NDArray[np.float64]
    side: float
    mask: NDArray[np.float32]
    slice: int | None = None

    def corners(self) -> NDArray[np.float64]:
        """Box (6,) around the cells with a probability of at least 1/2, around the likeliest cell where none has."""
        drawn = np.argwhere(self.mask >= max(min(0.5, float(self.mask.max())), 1e-6))
        if not len(drawn):
            drawn = np.argwhere(self.mask >= 0)
        cell = self.side / self.mask.shape[0]
        low, high = self.start + drawn.min(axis=0) * cell, self.start + (drawn.max(axis=0) + 1) * cell
        if self.slice is not None:
            low, high = np.append(float(self.slice), low), np.append(self.slice + 1.0, high)
        return np.concatenate([low, high])


@dataclass(frozen=True)
class Finding:
    """One lesion: its parts are the sections of neighbouring slices, or the views of windows that saw a part each.

    Attributes
    ----------
    label : int
        Value of its class, from 1.
    score : float
        In [0, 1].
    parts : tuple of Part
        At least one; where they overlap the highest probability counts.
    """

    label: int
    score: float
    parts: tuple[Part, ...]

    def corners(self) -> NDArray[np.float64]:
        """The box (6,) around all its parts."""
        boxes = np.stack([part.corners() for part in self.parts])
        return np.concatenate([boxes[:, :3].min(axis=0), boxes[:, 3:].max(axis=0)])


def to_corners(cubes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Corners (n, 2 D) of cubes (n, D + 1)."""
    half = cubes[:, -1:] / 2
    return np.concatenate([cubes[:, :-1] - half, cubes[:, :-1] + half], axis=1)


def overlaps(
    one: NDArray[np.float64], others: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """How a box (2 D,) and *others* (n, 2 D) overlap: intersection over union, over *one*, over the *others*; (n,)."""
    dims = len(one) // 2
    low, high = np.maximum(one[:dims], others[:, :dims]), np.minimum(one[dims:], others[:, dims:])
    inside = np.prod(np.clip(high - low, 0, None), axis=1)
    own = float(np.prod(one[dims:] - one[:dims]))
    theirs = np.prod(others[:, dims:] - others[:, :dims], axis=1)
    tiny = np.finfo(np.float64).tiny
    return inside / np.maximum(own + theirs - inside, tiny), inside / max(own, tiny), inside / np.maximum(theirs, tiny)


def trust(centres: NDArray[np.float64], windows: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much a window counts for what is centred at a place in it: a Gaussian around its middle, at least 0.001.

    Parameters
    ----------
    centres : array (n, D) or (D,)
    windows : array (n, 2 D)

    Returns
    -------
    array (n,)
    """
    dims = windows.shape[1] // 2
    low, high = windows[:, :dims], windows[:, dims:]
    away = (centres - (low + high) / 2) / (_SIGMA * (high - low))
    return np.asarray(np.maximum(np.exp(-0.5 * (away**2).sum(axis=1)), _FLOOR))
