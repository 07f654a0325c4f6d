"""Lesions one by one, on the network's grid: their numbers, their boxes, and the places a person rejected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from napari_dasl.project.instances import number_lesions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_dasl.training.cases import Box6, Shape, Spacing

COLUMNS = 9
"""Of a lesion table: number, class (1 is the first), voxels, then the corners z0, y0, x0, z1, y1, x1, half-open."""

NONE = np.zeros((0, COLUMNS), np.int32)

MOST_LESIONS = 2**15 - 1
"""More in one scan than any reader would number; the index of voxels keeps the numbers as int16."""


def numbered(label: NDArray[Any], *, instances: bool) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The lesions of a label map, numbered from 1 without gaps.

    Parameters
    ----------
    label : (z, y, x)
        Classes, or with *instances* the lesions' own numbers, which may have gaps.
    instances : bool

    Returns
    -------
    ids : (z, y, x) int32
        0 where there is no lesion. Classes become lesions by 26-connected components, class by class.
    classes : (n,) int64
        The class of lesion ``i + 1``, counted from 1.
    """
    if not instances:
        ids, class_of = number_lesions(label)
        classes = [class_of[number] for number in range(1, len(class_of) + 1)]
        return ids.astype(np.int32), np.asarray(classes, np.int64)
    found, place = np.unique(np.asarray(label), return_inverse=True)
    new = np.zeros(found.size, np.int32)
    new[found > 0] = np.arange(1, int((found > 0).sum()) + 1)
    return new[place].reshape(label.shape), np.ones(int(new.max(initial=0)), np.int64)


def lesion_table(ids: NDArray[Any], classes: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int32]:
    """The lesions of a map numbered from 1, (n, :data:`COLUMNS`); a number that has no voxel is left out."""
    voxels = np.bincount(np.asarray(ids).ravel(), minlength=len(classes) + 1)
    rows = []
    for index, box in enumerate(ndimage.find_objects(np.asarray(ids), len(classes))):
        if box is not None:
            low, high = [s.start for s in box], [s.stop for s in box]
            rows.append([index + 1, int(classes[index]), int(voxels[index + 1]), *low, *high])
    return np.asarray(rows, np.int32).reshape(-1, COLUMNS)


def lesion_index(ids: NDArray[Any], limit: int, seed: int = 0) -> NDArray[np.int16]:
    """Up to *limit* voxels of each lesion of a numbered map, (n, 4) int16: number, z, y, x."""
    rng = np.random.default_rng(seed)
    found = [np.zeros((0, 4), np.int16)]
    for index, box in enumerate(ndimage.find_objects(np.asarray(ids))):
        if box is None:
            continue
        place = np.argwhere(ids[box] == index + 1) + [part.start for part in box]
        if len(place) > limit:
            place = place[np.sort(rng.choice(len(place), limit, replace=False))]
        found.append(np.insert(place, 0, index + 1, axis=1).astype(np.int16))
    return np.concatenate(found)


def _share(mask: NDArray[np.bool_], first: int, axis: int, old: int, new: int, span: tuple[int, int]) -> Any:
    """Resample one axis of a cut-out *mask*, whose voxel 0 is voxel *first* of the scan, onto the voxels *span*."""
    position = np.clip((np.arange(*span) + 0.5) * old / new - 0.5, 0, old - 1) - first
    below = np.floor(position).astype(np.intp)
    weight = (position - below).reshape([-1 if a == axis else 1 for a in range(3)])
    length = mask.shape[axis]

    def at(index: NDArray[np.intp]) -> Any:
        inside = ((index >= 0) & (index < length)).reshape(weight.shape)
        return np.take(mask, np.clip(index, 0, length - 1), axis=axis) * inside

    return at(below) * (1 - weight) + at(below + 1) * weight


def resample_lesions(ids: NDArray[np.int32], shape: Shape) -> NDArray[np.uint16]:
    """Resample a numbered map to *shape*: each lesion linearly, and the lesion with most of a voxel wins it.

    A lesion that would fill no voxel by half keeps the one it fills most, where no other lesion has it: none is lost
    for being small.
    """
    if ids.shape == tuple(shape):
        return ids.astype(np.uint16)
    result = np.zeros(shape, np.uint16)
    best = np.full(shape, 0.5, np.float32)
    for index, box in enumerate(ndimage.find_objects(ids)):
        if box is None:
            continue
        share: Any = (ids[box] == index + 1).astype(np.float32)
        target = []
        for axis, (part, old, new) in enumerate(zip(box, ids.shape, shape, strict=True)):
            span = (
                max(0, int(np.floor((part.start - 0.5) * new / old - 0.5))),
                min(new, int(np.ceil((part.stop + 0.5) * new / old + 0.5))),
            )
            share = _share(share, part.start, axis, old, new, span)
            target.append(slice(*span))
        place = tuple(target)
        won = share >= best[place]
        if not won.any():
            won = (share == share.max()) & (result[place] == 0)
        result[place][won] = index + 1
        best[place][won] = np.maximum(share[won], best[place][won])
    return result


def on_grid(boxes: Sequence[Box6], spacing: Spacing, grid: Spacing) -> NDArray[np.float32]:
    """Boxes in millimetres as (n, 6) corners in voxels of a grid, where voxel i spans [i, i + 1).

    The scan has voxels of *spacing*, the grid voxels of *grid* mm, and both begin at the same corner of the first
    voxel; in millimetres the first voxel of the scan is centred on 0.
    """
    corners = np.asarray(boxes, np.float64).reshape(-1, 2, 3)
    scaled = (corners + 0.5 * np.asarray(spacing)) / np.asarray(grid)
    flat: NDArray[np.float32] = scaled.reshape(-1, 6).astype(np.float32)
    return flat


def table_of_patch(
    ids: NDArray[np.integer[Any]], table: NDArray[np.int32], *, planar: bool
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The lesions of a patch as it was cut and turned: their map, numbered from 1, and their table.

    A lesion of which the patch holds less than :data:`SEEN` of what it could hold is not asked for: nobody could tell
    what it is, and another patch shows more of it. Nor is it background: its voxels become :data:`UNSEEN`. In a slice
    (*planar*) every part of a lesion that touches no other part of it is one.

    Parameters
    ----------
    ids : (z, y, x)
        Numbers of *table*.
    table : (n, COLUMNS)
        Of the whole scan.
    planar : bool
    """
    class_of = np.zeros(int(max(table[:, 0].max(initial=0), ids.max(initial=0))) + 1, np.int64)
    class_of[table[:, 0]] = table[:, 1]
    least = np.zeros(class_of.size)
    least[table[:, 0]] = 0 if planar else SEEN * _most(table, ids.shape)
    result = np.zeros(ids.shape, np.int32)
    unseen: list[int] = []
    classes: list[int] = []
    for number, count in zip(*np.unique(ids, return_counts=True), strict=True):
        if not number:
            continue
        if count < least[number]:
            unseen.append(int(number))
            continue
        mask = ids == number
        parts, found = ndimage.label(mask, np.ones((3, 3, 3))) if planar else (mask, 1)
        for part in range(1, found + 1):
            classes.append(int(class_of[number]))
            result[parts == part] = len(classes)
    made = lesion_table(result, classes)
    if unseen:
        result[np.isin(ids, unseen)] = UNSEEN
    return result, made


SEEN = 0.25
"""The part of what a patch could hold of a lesion that it must hold to be asked for it."""

UNSEEN = -1
"""Voxels of lesions too small a part of which lies in a patch: neither a lesion to find nor background."""


def _most(table: NDArray[np.int32], patch: Sequence[int]) -> NDArray[np.float64]:
    """About how many voxels of each lesion of *table* fit in a *patch*: as much of them as of their boxes.

    A lesion twice as wide as the patch never lies in it by more than an eighth: measured by its whole volume, every
    patch within it would be background.
    """
    sides = np.maximum(table[:, 6:9] - table[:, 3:6], 1)
    fits: NDArray[np.float64] = table[:, 2] * np.minimum(1.0, np.asarray(patch, float) / sides).prod(axis=1)
    return fits


def diameters(table: NDArray[np.int32], spacing: Spacing) -> list[float]:
    """The longest side of the box of every lesion of a table, in mm."""
    sides = (table[:, 6:9] - table[:, 3:6]) * np.asarray(spacing)
    return [float(value) for value in sides.max(axis=1)] if len(table) else []


def slice_diameters(ids: NDArray[np.int32], table: NDArray[np.int32], spacing: Spacing) -> list[float]:
    """The longest side of the box of every lesion in every slice (axis 0) that shows it, in mm."""
    found = []
    for row in table:
        box = tuple(slice(int(a), int(b)) for a, b in zip(row[3:6], row[6:9], strict=True))
        mask = ids[box] == row[0]
        rows, columns = mask.any(axis=2), mask.any(axis=1)
        for z in np.flatnonzero(rows.any(axis=1)):
            y, x = np.flatnonzero(rows[z]), np.flatnonzero(columns[z])
            found.append(float(max((y[-1] - y[0] + 1) * spacing[1], (x[-1] - x[0] + 1) * spacing[2])))
    return found
