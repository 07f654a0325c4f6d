"""A few voxels of a scan: those of a finding, or of a sphere. No Qt here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Voxel = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Piece:
    """Voxels of one lesion.

    Attributes
    ----------
    start : (int, int, int)
        First voxel (z, y, x) of the box around it, on the display grid.
    mask : (z, y, x) bool array
        Which voxels of that box are inside.
    """

    start: Voxel
    mask: NDArray[np.bool_]

    @property
    def region(self) -> tuple[slice, slice, slice]:
        """Where the box lies."""
        z, y, x = (slice(at, at + size) for at, size in zip(self.start, self.mask.shape, strict=True))
        return z, y, x

    @property
    def middle(self) -> Voxel:
        """The voxel inside that is nearest to the middle of the box, so that a jump never lands beside a curved one."""
        inside = np.argwhere(self.mask)
        centre = (np.asarray(self.mask.shape) - 1) / 2
        z, y, x = (int(value) for value in inside[((inside - centre) ** 2).sum(axis=1).argmin()])
        return self.start[0] + z, self.start[1] + y, self.start[2] + x

    def section(self, z: int) -> int:
        """Return how many of the voxels lie in axial slice *z*."""
        place = z - self.start[0]
        return int(np.count_nonzero(self.mask[place])) if 0 <= place < len(self.mask) else 0

    def indices(self, where: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
        """Return the indices in the scan of the voxels that are inside and in *where*, an array like `mask`."""
        z, y, x = np.nonzero(self.mask & where)
        return z + self.start[0], y + self.start[1], x + self.start[2]


def pieces_of(ids: NDArray[Any]) -> dict[int, Piece]:
    """Return the voxels of every number in an id map (z, y, x), 0 left out; copies, so that the map can go."""
    from scipy import ndimage

    pieces = {}
    for number, box in enumerate(ndimage.find_objects(ids), start=1):
        if box is not None:
            z, y, x = (int(part.start) for part in box)
            pieces[number] = Piece((z, y, x), ids[box] == number)
    return pieces


def sphere(shape: Voxel, spacing: Sequence[float], centre: Sequence[float], diameter: float) -> Piece | None:
    """Return the voxels of a sphere.

    Parameters
    ----------
    shape : (int, int, int)
        Voxels of the scan along z, y, x; what reaches beyond is cut off.
    spacing : (float, float, float)
        (sz, sy, sx) in mm.
    centre : (float, float, float)
        In voxels; the centre of voxel i is at i.
    diameter : float
        In mm.

    Returns
    -------
    Piece or None
        Voxels whose centres are at most half the *diameter* away, and the one that holds the centre, however small the
        sphere; None where that one is outside the scan.
    """
    steps, middle = np.asarray(spacing, dtype=float), np.asarray(centre, dtype=float)
    nearest = np.floor(middle + 0.5).astype(int)
    if (nearest < 0).any() or (nearest >= shape).any():
        return None
    reach = diameter / 2 / steps
    low = np.minimum(np.maximum(np.ceil(middle - reach).astype(int), 0), nearest)
    high = np.maximum(np.minimum(np.floor(middle + reach).astype(int), np.asarray(shape) - 1), nearest)
    axes = [((np.arange(a, b + 1) - at) * step) ** 2 for a, b, at, step in zip(low, high, middle, steps, strict=True)]
    distance = axes[0][:, None, None] + axes[1][None, :, None] + axes[2][None, None, :]
    mask = distance <= (diameter / 2) ** 2 + 1e-9
    mask[tuple(nearest - low)] = True
    return Piece((int(low[0]), int(low[1]), int(low[2])), mask)
