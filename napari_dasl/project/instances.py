"""Lesions one by one: where each is, how large, how sure, from a map of numbers.

An *id map* is an array (z, y, x) in which every lesion has a number of its own and 0 is background. Boxes and centres
are in mm along the axes of the array, in the frame in which voxel (i, j, k) is centred on (i·sz, j·sy, k·sx); that
voxel reaches half a voxel to each side.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from napari_dasl.errors import LabelError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from numpy.typing import NDArray

    IdMap = NDArray[np.uint16] | NDArray[np.uint32]

Box = tuple[float, float, float, float, float, float]
"""Corners (z0, y0, x0, z1, y1, x1) in mm."""
Point = tuple[float, float, float]

HIGHEST_ID = 65535
MOST_FINDINGS = 1000
"""Components of a prediction that are told apart: far more than anyone looks through, and noise has millions."""
SAME_IOU = 0.3
SAME_VOLUME = 1 / 8
"""Boxes of the same place differ by no more than this in volume, which is a factor of two in every direction."""
_BINARY = (1, 255)
"""Values with which programs write masks that tell no lesions apart."""


@dataclass(frozen=True)
class Instance:
    """One lesion.

    Attributes
    ----------
    id : int
        From 1; its value in the id map.
    label : int
        Value of its class, from 1.
    score : float
        How sure the network is, in [0, 1]; 1 for what a human drew.
    kept : bool
        Whether it is part of the label map, because its score reaches the network's threshold.
    box : Box
        Bounding box of its voxels, (z0, y0, x0, z1, y1, x1) in mm.
    centre : (float, float, float)
        Mean position of its voxels, (z, y, x) in mm.
    diameter : float
        Longest diameter within one axial slice, in mm.
    volume_ml : float
        Of its voxels.
    """

    id: int
    label: int
    score: float
    kept: bool
    box: Box
    centre: Point
    diameter: float
    volume_ml: float

    def as_dict(self) -> dict[str, Any]:
        """Give plain values for JSON."""
        return asdict(self)


def from_dict(values: Mapping[str, Any]) -> Instance:
    """Read what `Instance.as_dict` wrote; ValueError, KeyError or TypeError for anything else."""
    one = Instance(
        id=int(values["id"]),
        label=int(values["label"]),
        score=float(values["score"]),
        kept=bool(values["kept"]),
        box=cast("Box", tuple(float(v) for v in values["box"])),
        centre=cast("Point", tuple(float(v) for v in values["centre"])),
        diameter=float(values["diameter"]),
        volume_ml=float(values["volume_ml"]),
    )
    if one.id < 1 or one.label < 1 or len(one.box) != 6 or len(one.centre) != 3:
        raise ValueError(f"{dict(values)} is no finding")
    return one


def describe(
    ids: NDArray[Any],
    labels: Mapping[int, int],
    scores: Mapping[int, float] | None,
    spacing: tuple[float, float, float],
    kept: Collection[int] | None = None,
) -> tuple[Instance, ...]:
    """Measure every lesion of an id map.

    Parameters
    ----------
    ids : array (z, y, x)
        Id map.
    labels : mapping of int to int
        Class of each id. An id without one is left out.
    scores : mapping of int to float, or None
        Score of each id; None, or an id without one: 1.
    spacing : (float, float, float)
        (sz, sy, sx) in mm.
    kept : collection of int, optional
        Ids that are part of the label map; all when left out.

    Returns
    -------
    tuple of Instance
        By rising id. An id without voxels is left out.
    """
    from scipy import ndimage

    found = []
    for number, region in enumerate(ndimage.find_objects(ids), start=1):
        if region is None or number not in labels:
            continue
        inside = ids[region] == number
        start = np.array([part.start for part in region])
        stop = np.array([part.stop for part in region])
        voxels = np.argwhere(inside)
        low, high = (start - 0.5) * spacing, (stop - 0.5) * spacing
        found.append(
            Instance(
                id=number,
                label=int(labels[number]),
                score=1.0 if scores is None else float(scores.get(number, 1.0)),
                kept=kept is None or number in kept,
                box=cast("Box", (*map(float, low), *map(float, high))),
                centre=cast("Point", tuple(map(float, (voxels.mean(axis=0) + start) * spacing))),
                diameter=axial_diameter(inside, (spacing[1], spacing[2])),
                volume_ml=len(voxels) * float(np.prod(spacing)) / 1000,
            )
        )
    return tuple(found)


def number_lesions(label: NDArray[Any], most: int | None = None) -> tuple[IdMap, dict[int, int]]:
    """Give every connected component of every class a number.

    Parameters
    ----------
    label : array (z, y, x)
        Class of each voxel, 0 for background.
    most : int, optional
        Number only so many, the largest (the earlier one of two equal ones).

    Returns
    -------
    (array (z, y, x), dict)
        Id map, uint16 (uint32 above 65535 components); and the class of each id. Voxels touch across faces, edges and
        corners (26-connected). Ids run from 1 by class, and within a class in reading order.
    """
    from scipy import ndimage

    region = _region_of(label)
    part = label[region]
    numbers = np.zeros(part.shape, dtype=np.uint32)
    classes: dict[int, int] = {}
    touching = np.ones((3,) * label.ndim, dtype=bool)
    for value in np.unique(part[part > 0]).tolist():
        pieces, count = ndimage.label(part == value, structure=touching, output=np.int32)
        first = len(classes)
        np.add(pieces, first, out=numbers, where=pieces > 0, casting="unsafe")
        classes.update(dict.fromkeys(range(first + 1, first + count + 1), int(value)))
    if most is not None and len(classes) > most:
        numbers, classes = _largest(numbers, classes, most)
    result = np.zeros(label.shape, dtype=np.uint16 if len(classes) <= HIGHEST_ID else np.uint32)
    result[region] = numbers
    return cast("IdMap", result), classes


def ids_of(mask: NDArray[Any]) -> NDArray[Any]:
    """Read the mask of a file as an id map.

    A mask whose one value is 1 or 255 tells no lesions apart: its connected components are numbered. Anything else
    is an id map already and is returned as it is.

    Raises
    ------
    LabelError
        It has more components than there are numbers.
    """
    value = int(mask.max(initial=0))
    if value not in _BINARY or not ((mask == 0) | (mask == value)).all():
        return mask
    ids, classes = number_lesions(mask)
    if len(classes) > HIGHEST_ID:
        raise LabelError(
            f"The mask has {len(classes)} separate pieces; a label numbers at most {HIGHEST_ID} lesions.",
            "Check that this file is a mask, or take the noise out of it.",
        )
    return ids


def axial_diameter(inside: NDArray[np.bool_], spacing: tuple[float, float]) -> float:
    """Longest distance between two points of a lesion's outline within one axial slice, in mm.

    Parameters
    ----------
    inside : array (z, y, x)
        Its voxels.
    spacing : (float, float)
        (sy, sx) in mm.

    Notes
    -----
    The outline runs through the middles of the pixels' sides, as the mesh of PyRadiomics' Maximum2DDiameterSlice
    does: one pixel is as long as its longer side, not 0 and not its diagonal.
    """
    extents = []
    for plane in inside:
        rows, columns = np.flatnonzero(plane.any(axis=1)), np.flatnonzero(plane.any(axis=0))
        if rows.size:
            sides = (np.ptp(rows) + 1) * spacing[0], (np.ptp(columns) + 1) * spacing[1]
            extents.append((float(np.hypot(*sides)), plane, rows))
    longest = 0.0
    for bound, plane, rows in sorted(extents, key=lambda one: -one[0]):
        if bound <= longest:
            break  # no slice that is left can hold a longer one
        longest = max(longest, _diameter(plane, rows, spacing))
    return longest


def iou(one: Box, other: Box) -> float:
    """Intersection over union of two boxes, in [0, 1]."""
    a, b = np.asarray(one), np.asarray(other)
    overlap = float(np.prod(np.clip(np.minimum(a[3:], b[3:]) - np.maximum(a[:3], b[:3]), 0, None)))
    union = float(np.prod(a[3:] - a[:3]) + np.prod(b[3:] - b[:3])) - overlap
    return overlap / union if union > 0 else 0.0


def same_place(box: Box, known: Box) -> bool:
    """Whether *box* is where *known* is, and of a like size.

    That is so where their IoU is at least 0.3, or where the centre of *box* lies in *known* and the smaller of the two
    has at least an eighth of the other's volume. The centre alone would make every small lesion within a large box the
    large one.
    """
    if iou(box, known) >= SAME_IOU:
        return True
    centre = [(low + high) / 2 for low, high in zip(box[:3], box[3:], strict=True)]
    within = all(low <= at <= high for low, at, high in zip(known[:3], centre, known[3:], strict=True))
    small, large = sorted((_volume(box), _volume(known)))
    return within and small >= SAME_VOLUME * large * (1 - 1e-9)  # half of every side is enough, rounded or not


def _volume(box: Box) -> float:
    return float(np.prod(np.subtract(box[3:], box[:3])))


def _diameter(plane: NDArray[np.bool_], rows: NDArray[Any], spacing: tuple[float, float]) -> float:
    from scipy.spatial import ConvexHull
    from scipy.spatial.distance import pdist

    first = plane[rows].argmax(axis=1)
    last = plane.shape[1] - 1 - plane[rows, ::-1].argmax(axis=1)
    # The farthest points of a row are its ends, so the other pixels need no look.
    y = np.concatenate([rows, rows, rows - 0.5, rows + 0.5, rows - 0.5, rows + 0.5])
    x = np.concatenate([first - 0.5, last + 0.5, first, first, last, last])
    points = np.column_stack([y, x]) * spacing
    return float(pdist(points[ConvexHull(points).vertices]).max())


def _region_of(label: NDArray[Any]) -> tuple[slice, ...]:
    """Smallest box around what is not background; empty slices where there is nothing."""
    parts = []
    for axis in range(label.ndim):
        others = tuple(k for k in range(label.ndim) if k != axis)
        held = np.flatnonzero(label.any(axis=others))
        parts.append(slice(int(held[0]), int(held[-1]) + 1) if held.size else slice(0, 0))
    return tuple(parts)


def _largest(
    numbers: NDArray[np.uint32], classes: Mapping[int, int], most: int
) -> tuple[NDArray[np.uint32], dict[int, int]]:
    sizes = np.bincount(numbers[numbers > 0], minlength=len(classes) + 1)[1:]
    chosen = np.sort(np.argsort(-sizes, kind="stable")[:most]) + 1
    new = np.zeros(len(classes) + 1, dtype=np.uint32)
    new[chosen] = np.arange(1, len(chosen) + 1)
    return new[numbers], {k: classes[int(old)] for k, old in enumerate(chosen, start=1)}
