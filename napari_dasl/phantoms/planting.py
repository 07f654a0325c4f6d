"""Real nodules planted in other scans: a detection benchmark whose truth is known to the voxel.

The planted tissue is resampled to the scan's own voxels and laid over them: inside its mask it replaces what was there,
and outside it fades into the scan over a few millimetres, so that the nodule keeps its own border (partial volume,
spicules) and the scan its own surroundings. What lies further away in the nodule's crop never reaches the scan.
All arrays are (z, y, x), spacings (z, y, x) in mm, places in voxels of the scan, with voxel (0, 0, 0) centred on the
origin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from napari_dasl.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["BORDER_MM", "Nodule", "aerated_share", "clear", "pick_place", "plant", "room"]

BORDER_MM = 2.0
"""How far outside its mask a nodule's own surroundings fade out."""
_AERATED_HU = -500.0  # half way between air and water


@dataclass(frozen=True)
class Nodule:
    """A lesion in its crop.

    Attributes
    ----------
    image : (z, y, x) array
        HU.
    mask : (z, y, x) array
        Non-zero where the lesion is.
    spacing : 3 floats
        mm.
    """

    image: NDArray[Any]
    mask: NDArray[Any]
    spacing: tuple[float, float, float]

    @property
    def centre(self) -> NDArray[np.float64]:
        """Middle of the mask's bounding box, in voxels of the crop."""
        inside = np.argwhere(self.mask)
        return np.asarray((inside.min(axis=0) + inside.max(axis=0)) / 2.0, np.float64)

    @property
    def reach(self) -> float:
        """Distance in mm from the centre to the far edge of the furthest voxel of the mask."""
        steps = np.asarray(self.spacing)
        away = (np.abs(np.argwhere(self.mask) - self.centre) + 0.5) * steps
        return float(np.sqrt((away**2).sum(axis=1)).max())


def plant(
    scan: NDArray[Any],
    spacing: Sequence[float],
    nodule: Nodule,
    position: Sequence[float],
    *,
    border: float = BORDER_MM,
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Put a nodule into a scan.

    Parameters
    ----------
    scan : (z, y, x) array
        HU; not changed.
    spacing : 3 floats
        Its voxel size in mm.
    nodule : Nodule
        Averaged over the scan's voxels where these are larger than its own, interpolated where they are smaller.
    position : 3 floats
        Where its centre goes, in voxels of the scan.
    border : float
        Millimetres over which the nodule's surroundings fade out.

    Returns
    -------
    scan : (z, y, x) array
        A copy of the same type with the nodule in it.
    mask : (z, y, x) bool array
        Voxels of the scan that are at least half nodule; the one with most of it where none is.

    Raises
    ------
    InputError
        The mask is empty, or part of the nodule would lie outside the scan.
    """
    if not np.any(nodule.mask):
        raise InputError("A nodule with an empty mask cannot be planted.", "Leave it out.")
    steps, own = np.asarray(spacing, np.float64), np.asarray(nodule.spacing, np.float64)
    centre = np.asarray(position, np.float64)
    reach = (nodule.reach + border) / steps
    low = np.maximum(np.floor(centre - reach).astype(int), 0)
    high = np.minimum(np.ceil(centre + reach).astype(int) + 1, scan.shape)
    if (high <= low).any():
        raise InputError(f"{tuple(position)} lies outside the scan.", "Choose a place inside it.")
    window = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    share, tissue = _resampled(nodule, [np.arange(a, b) for a, b in zip(low, high, strict=True)], centre, steps, own)

    inside = share >= min(0.5, share.max())
    if not share.max() or _cut(inside, low, high, scan.shape):
        raise InputError(
            f"At {tuple(position)} the nodule does not fit into the scan.", "Choose a place further inside."
        )
    away = ndimage.distance_transform_edt(~inside, sampling=steps)
    # A half cosine: no edge where the nodule ends, none where the scan begins.
    weight = 0.5 + 0.5 * np.cos(np.pi * np.clip(away / border, 0.0, 1.0)) if border > 0 else inside.astype(float)
    planted, mask = scan.copy(), np.zeros(scan.shape, bool)
    mixed = (1.0 - weight) * scan[window] + weight * tissue
    planted[window] = np.round(mixed) if np.issubdtype(scan.dtype, np.integer) else mixed
    mask[window] = inside
    return planted, mask


def room(allowed: NDArray[Any], spacing: Sequence[float]) -> NDArray[np.float32]:
    """How large a ball fits round each voxel: its distance in mm to the nearest place that is not allowed.

    Beyond the array nothing is allowed.

    Parameters
    ----------
    allowed : (z, y, x) array
        Non-zero where a nodule may lie: the lung without its tumour.
    spacing : 3 floats

    Returns
    -------
    (z, y, x) float32 array
    """
    framed = np.pad(np.asarray(allowed).astype(bool), 1)
    depth = ndimage.distance_transform_edt(framed, sampling=tuple(float(step) for step in spacing))
    return np.ascontiguousarray(depth[1:-1, 1:-1, 1:-1], np.float32)


def pick_place(rng: np.random.Generator, depth: NDArray[np.float32], reach: float) -> tuple[int, int, int] | None:
    """A random voxel with *reach* mm of room round it; None if there is none. `depth` is that of :func:`room`."""
    free = np.flatnonzero(depth >= reach)
    if not free.size:
        return None
    z, y, x = np.unravel_index(int(free[rng.integers(free.size)]), depth.shape)
    return int(z), int(y), int(x)


def clear(depth: NDArray[np.float32], spacing: Sequence[float], position: Sequence[float], reach: float) -> None:
    """Take the ball of *reach* mm round *position* out of the room, in place: what was planted there stays alone."""
    steps = np.asarray(spacing, np.float64)
    axes = [
        (np.arange(length) - middle) * step for length, middle, step in zip(depth.shape, position, steps, strict=True)
    ]
    squared = axes[0][:, None, None] ** 2 + axes[1][None, :, None] ** 2 + axes[2][None, None, :] ** 2
    np.minimum(depth, np.maximum(np.sqrt(squared) - reach, 0.0).astype(np.float32), out=depth)


def aerated_share(nodule: Nodule, border: float = BORDER_MM) -> float:
    """Share of the border round a nodule that is aerated lung (below −500 HU), in [0, 1].

    Near 1 for a nodule that lies free. One on the pleura or on a large vessel would bring a piece of it along.
    """
    inside = np.asarray(nodule.mask).astype(bool)
    away = ndimage.distance_transform_edt(~inside, sampling=nodule.spacing)
    # The first half millimetre is mixed with the nodule itself in any scan.
    shell = (away > 0.5 * max(nodule.spacing[1:])) & (away <= max(border, *nodule.spacing[1:]))
    return float((nodule.image[shell] < _AERATED_HU).mean()) if shell.any() else 0.0


def _resampled(
    nodule: Nodule,
    indices: Sequence[NDArray[np.intp]],
    centre: NDArray[np.float64],
    steps: NDArray[np.float64],
    own: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Share of nodule and HU of the crop at the scan's voxels."""
    # Averaging as wide as the scan's voxel, where that is the larger one, keeps thin parts from falling between two.
    blur = 0.5 * np.sqrt(np.maximum((steps / own) ** 2 - 1.0, 0.0))
    lines = [
        (index - place) * step / size + middle
        for index, place, step, size, middle in zip(indices, centre, steps, own, nodule.centre, strict=True)
    ]
    places = np.meshgrid(*lines, indexing="ij")
    mask = ndimage.gaussian_filter(np.asarray(nodule.mask).astype(float), blur, mode="constant")
    image = ndimage.gaussian_filter(nodule.image.astype(float), blur, mode="nearest")
    share: NDArray[np.float64] = ndimage.map_coordinates(mask, places, order=1, mode="constant")
    tissue: NDArray[np.float64] = ndimage.map_coordinates(image, places, order=1, mode="nearest")
    return share, tissue


def _cut(inside: NDArray[np.bool_], low: NDArray[Any], high: NDArray[Any], shape: Sequence[int]) -> bool:
    """Whether the nodule touches a side of its window where the scan ends."""
    for axis in range(3):
        planes = np.asarray(inside.any(axis=tuple(other for other in range(3) if other != axis)))
        if (low[axis] == 0 and planes[0]) or (high[axis] == shape[axis] and planes[-1]):
            return True
    return False
