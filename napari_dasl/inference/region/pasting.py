"""Masks of regions on the scan's own voxels: one probability of each class and one number of each finding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_dasl.inference.region.candidates import Finding, Grid, Part
    from napari_dasl.inference.region.thresholds import Thresholds

Box = tuple[slice, slice, slice]

EDGE = 0.501
"""What a voxel of a kept finding holds at least, and one that is not at most 1 less it: beyond the rounding of stored
probabilities (1/2048), so that the most probable class stays what was decided."""

LIMIT = 200
"""Findings of a scan: far more than anyone looks through. Kept ones are never left out, however many they are."""


@dataclass(frozen=True)
class Assembled:
    """A scan's findings on its own grid.

    Attributes
    ----------
    probability : array, float32, (K + 1, z, y, x)
        Adds up to 1, the background first; the most probable class of a voxel is k exactly where a kept finding of
        class k has a mask of at least 1/2 (of several, the one with the highest probability).
    ids : array, uint16, (z, y, x)
        Number of the finding that a voxel belongs to, 0 for none; 1 is the one with the highest score. Kept findings
        lie above the others.
    findings : tuple of Finding
        Number n is the n-th; only those that have a voxel.
    kept : frozenset of int
        Numbers of the findings whose score reaches the threshold.
    masks : tuple of array
        Probabilities of each finding within its region, float32.
    """

    probability: NDArray[np.float32]
    ids: NDArray[np.uint16]
    findings: tuple[Finding, ...]
    kept: frozenset[int]
    masks: tuple[NDArray[np.float32], ...]


def sample(part: Part, places: Sequence[NDArray[np.float64]]) -> NDArray[np.float32]:
    """The mask of *part* at the grid that *places* (one array of positions for each axis) span; 0 outside its region.

    Linear between the centres of cells, constant from the outermost centre to the border of the region.
    """
    values = part.mask
    for axis, positions in enumerate(places):
        values = np.moveaxis(np.tensordot(_weights(part, axis, positions), values, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(values, dtype=np.float32)


def _weights(part: Part, axis: int, positions: NDArray[np.float64]) -> NDArray[np.float32]:
    """Matrix (positions, cells) of linear interpolation along one axis; rows outside the region are 0."""
    size = part.mask.shape[axis]
    place = (positions - part.start[axis]) * size / part.side
    inside = (place >= 0) & (place < size)
    place = np.clip(place - 0.5, 0, size - 1)
    below = np.minimum(np.floor(place).astype(np.intp), max(size - 2, 0))
    above = place - below
    matrix = np.zeros((len(positions), size), dtype=np.float32)
    rows = np.arange(len(positions))
    matrix[rows, below] = (1 - above) * inside
    if size > 1:
        matrix[rows, below + 1] = above * inside
    return matrix


def paste(finding: Finding, grid: Grid) -> tuple[Box, NDArray[np.float32]] | None:
    """The mask of a finding on the scan's voxels: the box that it fills, and its probabilities there.

    A voxel has the probability at its centre. None where the finding holds no voxel of the scan.
    """
    parts = [_region(part, grid) for part in finding.parts]
    boxes = [box for box in parts if all(side.start < side.stop for side in box)]
    if not boxes:
        return None
    low = [min(box[axis].start for box in boxes) for axis in range(3)]
    high = [max(box[axis].stop for box in boxes) for axis in range(3)]
    mask = np.zeros([b - a for a, b in zip(low, high, strict=True)], dtype=np.float32)
    for part, box in zip(finding.parts, parts, strict=True):
        if any(side.start >= side.stop for side in box):
            continue
        here = tuple(slice(s.start - first, s.stop - first) for s, first in zip(box, low, strict=True))
        places = [_centres(grid, axis)[side] for axis, side in enumerate(box)]
        values = sample(part, places) if part.slice is None else sample(part, places[1:])[None]
        np.maximum(mask[here], values, out=mask[here])
    if not mask.any():
        return None
    if mask.max() < 0.5:
        # Smaller than the voxels of the scan: it is where it is likeliest, rather than nowhere.
        mask[np.unravel_index(int(mask.argmax()), mask.shape)] = 0.5
    return (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2])), mask


def _centres(grid: Grid, axis: int) -> NDArray[np.float64]:
    """Where the centres of the scan's voxels lie along an axis of the network's grid."""
    return np.asarray((np.arange(grid.scan[axis]) + 0.5) * grid.shape[axis] / grid.scan[axis])


def _region(part: Part, grid: Grid) -> Box:
    """The voxels of the scan whose centres lie in the region of *part*."""
    low, high = part.start, part.start + part.side
    if part.slice is not None:
        low, high = np.append(float(part.slice), low), np.append(part.slice + 1.0, high)
    sides = []
    for axis in range(3):
        centres = _centres(grid, axis)
        first, last = np.searchsorted(centres, (low[axis], high[axis]))
        sides.append(slice(int(first), int(last)))
    return sides[0], sides[1], sides[2]


def assemble(findings: Sequence[Finding], grid: Grid, classes: int, thresholds: Thresholds) -> Assembled:
    """Put findings on the scan's own grid.

    Parameters
    ----------
    findings : sequence of Finding
        By falling score; those that are kept, and others up to :data:`LIMIT` in all.
    grid : Grid
    classes : int
        K, without the background.
    thresholds : Thresholds
        A finding is kept from ``thresholds.score`` on.
    """
    kept = sum(one.score >= thresholds.score for one in findings)
    pasted = [(one, *place) for one in findings[: max(kept, LIMIT)] if (place := paste(one, grid)) is not None]
    probability = np.zeros((classes + 1, *grid.scan), dtype=np.float32)
    for finding, box, mask in pasted:
        here = probability[finding.label][box]
        np.maximum(here, _capped(mask, finding.score, thresholds), out=here)
    _normalise(probability)
    ids = _numbers(pasted, probability, thresholds)
    present = [number for number, (_, box, _) in enumerate(pasted, start=1) if bool((ids[box] == number).any())]
    lookup = np.zeros(len(pasted) + 1, dtype=np.uint16)
    lookup[present] = np.arange(1, len(present) + 1)
    chosen = [pasted[number - 1] for number in present]
    return Assembled(
        probability,
        lookup[ids],
        tuple(finding for finding, _, _ in chosen),
        frozenset(n for n, (finding, _, _) in enumerate(chosen, start=1) if finding.score >= thresholds.score),
        tuple(mask for _, _, mask in chosen),
    )


def _capped(mask: NDArray[np.float32], score: float, thresholds: Thresholds) -> NDArray[np.float32]:
    """min(q(score), mask), kept clear of 1/2 on the side that was decided."""
    values = np.minimum(mask, np.float32(thresholds.confidence(score)))
    drawn = (mask >= 0.5) & (score >= thresholds.score)
    return np.where(drawn, np.maximum(values, np.float32(EDGE)), np.minimum(values, np.float32(1 - EDGE)))


def _normalise(probability: NDArray[np.float32]) -> None:
    """Give the background what the likeliest class leaves, and let every voxel add up to 1."""
    for z in range(probability.shape[1]):
        plane = probability[:, z]
        np.subtract(1, plane[1:].max(axis=0), out=plane[0])
        if len(plane) > 2:
            plane /= plane.sum(axis=0)


def _numbers(
    pasted: Sequence[tuple[Finding, Box, NDArray[np.float32]]],
    probability: NDArray[np.float32],
    thresholds: Thresholds,
) -> NDArray[np.uint16]:
    """Which finding each voxel belongs to: of the kept ones of its class, else of all, the one with the best mask."""
    ids = np.zeros(probability.shape[1:], dtype=np.uint16)
    best = np.zeros(probability.shape[1:], dtype=np.float16)
    for number, (finding, box, mask) in enumerate(pasted, start=1):
        drawn = mask >= 0.5
        value = mask.astype(np.float16)
        if finding.score >= thresholds.score:
            drawn &= probability[(slice(None), *box)].argmax(axis=0) == finding.label
            value += np.float16(1)
        won = drawn & (value > best[box])
        ids[box][won] = number
        best[box][won] = value[won]
    return ids
