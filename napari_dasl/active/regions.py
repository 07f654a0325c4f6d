"""Where in a scan uncertainty counts: everywhere, in the body, or around what the network found.

A mean over the whole volume is diluted by the field of view: the same uncertain lesion scores about six times lower in
a volume twice as large per axis. The region is the cure, and the formula of the paper is kept as ``"volume"``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from scipy import ndimage

from napari_dasl.active.uncertainty import VOXEL_MAPS, foreground, least_confident_map
from napari_dasl.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

RegionKind = Literal["volume", "body", "lesion"]

_AIR_BELOW_HU = -200.0  # an image that goes lower than this is CT: fat ends near -150 HU
_BODY_ABOVE_HU = -500.0  # half way between air and water
_ROOM_AIR_BELOW_HU = -960.0  # the middle of a lung's values is above, also in emphysema; that of a room's is not
_SPECK_SHARE = 1e-4  # of a scan: smaller dark parts are not looked at
_BODY_ABOVE_SHARE = 0.05  # of the way from the darkest voxel to the 99th percentile
_LESION_ABOVE = 0.1
_MOST_UNCERTAIN_SHARE = 0.01
_MARGIN_MM = 2.0


def region_mask(
    probability: NDArray[np.floating],
    image: NDArray[np.generic] | None,
    kind: RegionKind,
    spacing: Sequence[float],
    *,
    threshold: float = _LESION_ABOVE,
    margin_mm: float | None = None,
) -> NDArray[np.bool_]:
    """The voxels of a scan whose uncertainty counts.

    Parameters
    ----------
    probability : array, (z, y, x) or (K, z, y, x)
        Foreground probability, or one channel per class with the background first.
    image : array, (z, y, x) or (C, z, y, x), or None
        The scan on the same grid; of several channels the first is used. Only read for ``"body"``.
    kind : {"volume", "body", "lesion"}
        ``"volume"``: every voxel, as in the paper. ``"body"``: the largest connected part that is brighter than air,
        with its holes filled slice by slice so that lungs belong to it; brighter means above −500 HU in CT (an image
        that goes below −200), and above 5 % of the way from the darkest voxel to the 99th percentile elsewhere. In CT
        a connected dark part whose median is above −960 HU is lung, not the air of the room, and belongs to the body,
        too: a crop opens lungs at its border, where no hole is left to fill.
        ``"lesion"``: voxels with a foreground probability above *threshold* and those within *margin_mm* of them;
        where there is none, the most uncertain 1 % of the voxels.
    spacing : sequence of 3 floats
        Voxel size (z, y, x) in mm.
    threshold : float
        Foreground probability above which a voxel belongs to a lesion.
    margin_mm : float, optional
        Twice the smallest voxel edge and at least 2 mm when not given. An axis with thicker slices does not grow.

    Returns
    -------
    array, bool, (z, y, x)
        Never empty.

    Raises
    ------
    InputError
        When *kind* is unknown, or ``"body"`` has no image on the grid of the probability.
    """
    front = foreground(probability)
    if front.ndim != 3:
        raise InputError(
            f"A region needs the probability of a whole scan, and this one has shape {tuple(probability.shape)}.",
            "Give (z, y, x) or (classes, z, y, x).",
        )
    if kind == "volume":
        return np.ones(front.shape, dtype=np.bool_)
    if kind == "body":
        return _body(image, front.shape)
    if kind == "lesion":
        certain = front > threshold
        if not certain.any():
            return _most_uncertain(least_confident_map(probability))
        reach = margin_mm if margin_mm is not None else max(_MARGIN_MM, 2 * min(spacing))
        return grow(certain, reach, spacing)
    raise InputError(f"There is no region named {kind!r}.", f"Choose one of {', '.join(get_args(RegionKind))}.")


def regional_uncertainty(
    probability: NDArray[np.floating],
    image: NDArray[np.generic] | None,
    kind: RegionKind,
    spacing: Sequence[float],
    *,
    voxel_map: str = "least_confident",
) -> float:
    """Mean of a voxel map over a region of the scan.

    With ``kind="volume"`` and the map ``"least_confident"`` this is Eq. 2 of DASL (Wang et al., MICCAI 2018).

    Parameters
    ----------
    probability : array, (z, y, x) or (K, z, y, x)
    image : array, (z, y, x) or (C, z, y, x), or None
        See :func:`region_mask`.
    kind : {"volume", "body", "lesion"}
    spacing : sequence of 3 floats
        Voxel size (z, y, x) in mm.
    voxel_map : str
        A key of :data:`~napari_dasl.active.uncertainty.VOXEL_MAPS`.

    Returns
    -------
    float

    Raises
    ------
    InputError
        When the region or the map is unknown, or the arrays do not fit together.
    """
    if voxel_map not in VOXEL_MAPS:
        raise InputError(f"There is no voxel map named {voxel_map!r}.", f"Choose one of {', '.join(VOXEL_MAPS)}.")
    values = VOXEL_MAPS[voxel_map](probability)
    if kind == "volume":
        return float(values.mean(dtype=np.float64))
    mask = region_mask(probability, image, kind, spacing)
    return float(values.mean(dtype=np.float64, where=mask))


def grow(mask: NDArray[np.bool_], reach_mm: float, spacing: Sequence[float]) -> NDArray[np.bool_]:
    """Add the voxels whose centre lies within *reach_mm* of the centre of a voxel of the mask.

    Exact for the Euclidean distance in mm. It takes a few dozen passes of byte operations over the bounding box,
    where a distance transform of a whole CT takes far more time and memory.

    Parameters
    ----------
    mask : array, bool, (z, y, x)
    reach_mm : float
        At least 0.
    spacing : sequence of 3 floats
        Voxel size (z, y, x) in mm.

    Returns
    -------
    array, bool, (z, y, x)
    """
    reach = [math.floor(reach_mm / edge + 1e-9) for edge in spacing]
    box = tuple(
        slice(max(0, part.start - steps), part.stop + steps)
        for part, steps in zip(_bounding_box(mask), reach, strict=True)
    )
    inside = mask[box]
    grown = inside.copy()
    row = inside.copy()
    # Sorted by the half width that is left along x, so that each wider row starts from the one before.
    width = 0
    for half, dz, dy in sorted(_ball_rows(reach_mm, reach, spacing)):
        while width < half:
            width += 1
            row[..., width:] |= inside[..., :-width]
            row[..., :-width] |= inside[..., width:]
        for sz in {dz, -dz}:
            for sy in {dy, -dy}:
                to_z, from_z = _shift(sz, inside.shape[0])
                to_y, from_y = _shift(sy, inside.shape[1])
                grown[to_z, to_y] |= row[from_z, from_y]
    result = np.zeros_like(mask)
    result[box] = grown
    return result


def _ball_rows(reach_mm: float, reach: Sequence[int], spacing: Sequence[float]) -> list[tuple[int, int, int]]:
    """Half width along x of a ball at each offset (dz, dy) ≥ 0, in voxels."""
    rows = []
    for dz in range(reach[0] + 1):
        for dy in range(reach[1] + 1):
            left = reach_mm**2 - (dz * spacing[0]) ** 2 - (dy * spacing[1]) ** 2
            if left >= -1e-9:
                rows.append((math.floor(math.sqrt(max(0.0, left)) / spacing[2] + 1e-9), dz, dy))
    return rows


def _shift(steps: int, length: int) -> tuple[slice, slice]:
    """Slices (to, from) that move an axis by *steps*."""
    if steps >= 0:
        return slice(min(steps, length), None), slice(0, max(0, length - steps))
    return slice(0, max(0, length + steps)), slice(min(-steps, length), None)


def _bounding_box(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    box = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        found = np.flatnonzero(mask.any(axis=others))
        box.append(slice(int(found[0]), int(found[-1]) + 1) if found.size else slice(0, 0))
    return tuple(box)


def body_level(scan: NDArray[np.generic]) -> float:
    """The value above which a voxel of a scan (z, y, x), in stored units, is no air."""
    low = float(scan.min())
    if low < _AIR_BELOW_HU:
        return _BODY_ABOVE_HU
    # Every third voxel per axis is plenty for a percentile, and 27 times cheaper.
    bright = float(np.percentile(scan[::3, ::3, ::3].astype(np.float64), 99))
    return low + _BODY_ABOVE_SHARE * (bright - low)


def _body(image: NDArray[np.generic] | None, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    if image is None:
        raise InputError(
            "The region 'body' needs the scan beside the prediction.", "Give the scan, or choose 'volume'."
        )
    scan = image[0] if image.ndim == 4 else image
    if scan.shape != shape:
        raise InputError(
            f"The scan has shape {tuple(scan.shape)} and its prediction {tuple(shape)}.", "Predict this scan again."
        )
    body: NDArray[np.bool_] = np.greater(scan, body_level(scan))
    if not body.any():
        return np.ones(shape, dtype=np.bool_)
    if float(scan.min()) < _AIR_BELOW_HU:
        body |= _lungs(scan)
    parts, count = ndimage.label(body)
    if count > 1:
        sizes = np.bincount(parts.ravel())
        sizes[0] = 0
        body = parts == sizes.argmax()
    del parts
    for plane in body:
        plane[:] = ndimage.binary_fill_holes(plane)
    return body


def _lungs(scan: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Connected dark parts of a CT that are too dense for the air of a room."""
    hu: NDArray[Any] = scan
    dark = np.less_equal(hu, _BODY_ABOVE_HU)
    found = np.zeros(dark.shape, np.bool_)
    if not (dark & np.greater(hu, _ROOM_AIR_BELOW_HU)).any():
        return found
    parts, _ = ndimage.label(dark)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    boxes = ndimage.find_objects(parts)
    for part in np.flatnonzero(sizes >= max(1.0, _SPECK_SHARE * dark.size)):
        box = boxes[part - 1]
        here = parts[box] == part
        if float(np.median(hu[box][here])) > _ROOM_AIR_BELOW_HU:
            found[box] |= here
    return found


def _most_uncertain(uncertainty: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The most uncertain 1 % of the voxels, at least one; ties are broken in the order of the voxels."""
    wanted = max(1, math.ceil(_MOST_UNCERTAIN_SHARE * uncertainty.size))
    flat = uncertainty.ravel()
    level = np.partition(flat, flat.size - wanted)[flat.size - wanted]
    mask: NDArray[np.bool_] = flat > level
    ties = np.flatnonzero(flat == level)[: wanted - int(mask.sum())]
    mask[ties] = True
    return mask.reshape(uncertainty.shape)
