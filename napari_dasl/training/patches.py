"""Patches out of prepared cases: which case, where in it, and the voxels, the same for the same step whoever asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_dasl.training.cases import Shape
    from napari_dasl.training.prepare import Prepared


def generator(seed: int, step: int, sample: int) -> np.random.Generator:
    """The random numbers of one sample of one step.

    They depend on nothing else, so neither the number of workers nor an interruption changes what is drawn.
    """
    return np.random.default_rng((seed, step, sample))


@dataclass(frozen=True)
class Place:
    """A patch to cut: of which case, and its first voxel (z, y, x), which may lie outside the case."""

    case: int
    start: Shape


def draw_place(cases: Sequence[Prepared], patch: Shape, foreground: float, rng: np.random.Generator) -> Place:
    """Draw a case, every one with the same chance, and a place in it.

    With the chance *foreground* the patch is centred on a labelled voxel, every class that the case holds with the same
    chance; else it lies anywhere in the case. A patch larger than the case is centred on it.
    """
    index = int(rng.integers(len(cases)))
    case = cases[index]
    shape = case.image.shape[1:]
    room = [max(0, n - p) for n, p in zip(shape, patch, strict=True)]
    start = [int(rng.integers(r + 1)) for r in room]
    centred = rng.random() < foreground
    classes = np.unique(case.foreground[:, 0])
    if centred and classes.size:
        of_class = np.flatnonzero(case.foreground[:, 0] == rng.choice(classes))
        voxel = case.foreground[rng.choice(of_class), 1:]
        start = [int(np.clip(int(v) - p // 2, 0, r)) for v, p, r in zip(voxel, patch, room, strict=True)]
    for axis in range(3):
        if shape[axis] < patch[axis]:
            start[axis] = -((patch[axis] - shape[axis]) // 2)
    return Place(index, (start[0], start[1], start[2]))


def cut(array: NDArray[np.generic], start: Shape, size: Shape) -> NDArray[np.generic]:
    """Cut *size* voxels from *start* out of the last three axes of *array*; outside, its border voxels are repeated."""
    slices: list[slice] = []
    pads: list[tuple[int, int]] = []
    for n, first, length in zip(array.shape[-3:], start, size, strict=True):
        low, high = max(0, min(first, n)), max(0, min(first + length, n))
        if low == high:  # wholly outside: the nearest voxel stands for it
            low, high = (0, 1) if first < 0 else (n - 1, n)
        slices.append(slice(low, high))
        before = min(max(0, -first), length - 1)
        pads.append((before, length - before - (high - low)))
    result = np.asarray(array[..., slices[0], slices[1], slices[2]])
    if any(p != (0, 0) for p in pads):
        result = np.pad(result, [(0, 0)] * (array.ndim - 3) + pads, mode="edge")
    return result
