"""Patches out of prepared cases: which case, where in it, and the voxels, the same for the same step whoever asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
    """A patch to cut: of which case, and its first voxel (z, y, x), which may lie outside the case.

    ``rejected`` is the index of the rejected finding that it shows, where it was drawn for one.
    """

    case: int
    start: Shape
    rejected: int | None = None


def draw_place(cases: Sequence[Prepared], patch: Shape, foreground: float, rng: np.random.Generator) -> Place:
    """Draw a case, every one with the same chance, and a place in it.

    With the chance *foreground* the patch is centred on a labelled voxel, every class that the case holds with the same
    chance; else it lies anywhere in the case. A patch larger than the case is centred on it.

    For a network of slices the slice is drawn before the voxel, every one that shows the class with the same chance: by
    voxels, the ends of lesions, which are the hard part of them, would hardly come up. Where all patches are to show
    something (*foreground* 1), cases that have nothing to show are left out.
    """
    planar = patch[0] == 1
    showing = [i for i, case in enumerate(cases) if len(case.foreground)] if planar and foreground == 1 else []
    index = showing[int(rng.integers(len(showing)))] if showing else int(rng.integers(len(cases)))
    case = cases[index]
    shape = case.image.shape[1:]
    room = [max(0, n - p) for n, p in zip(shape, patch, strict=True)]
    start = [int(rng.integers(r + 1)) for r in room]
    centred = rng.random() < foreground
    classes = np.unique(case.foreground[:, 0])
    if centred and classes.size:
        of_class = np.flatnonzero(case.foreground[:, 0] == rng.choice(classes))
        if planar:
            planes = case.foreground[of_class, 1]
            of_class = of_class[planes == rng.choice(np.unique(planes))]
        voxel = case.foreground[rng.choice(of_class), 1:]
        start = [int(np.clip(int(v) - p // 2, 0, r)) for v, p, r in zip(voxel, patch, room, strict=True)]
    for axis in range(3):
        if shape[axis] < patch[axis]:
            start[axis] = -((patch[axis] - shape[axis]) // 2)
    return Place(index, (start[0], start[1], start[2]))


def draw_finding(cases: Sequence[Prepared], patch: Shape, foreground: float, rng: np.random.Generator) -> Place:
    """Draw a place for a detector.

    With the chance *foreground* the patch shows a lesion, wherever there is one to show: a case that has one, a lesion
    of it, each with the same chance, and the patch anywhere round it. Else every second patch shows a rejected finding
    (:func:`draw_rejected`), where there is one, and the others lie anywhere in any case that has a label.
    """
    with_lesion = [i for i, case in enumerate(cases) if case.lesions is not None and len(case.lesions)]
    if rng.random() < foreground and with_lesion:
        index = int(rng.choice(with_lesion))
        return Place(index, _round_lesion(cases[index], patch, rng))
    labelled = [i for i, case in enumerate(cases) if case.label is not None]
    # Of a case without a label nothing but its rejected findings is known.
    place = draw_rejected(cases, patch, rng, always=not labelled)
    if place is not None:
        return place
    labelled = labelled or list(range(len(cases)))
    index = labelled[int(rng.integers(len(labelled)))]
    return Place(index, _anywhere(cases[index].image.shape[1:], patch, rng))


def draw_rejected(
    cases: Sequence[Prepared], patch: Shape, rng: np.random.Generator, *, always: bool = False, clear: bool = False
) -> Place | None:
    """With the chance :data:`REJECTED`, a patch that shows a finding that a person rejected: hard background.

    A case that has any, and a finding of it, each with the same chance: drawn among all cases first, the one or two
    that were reviewed would hardly ever come up. None where no case has any, and then nothing is drawn from *rng*.

    Parameters
    ----------
    cases, patch, rng
        As for :func:`draw_finding`.
    always : bool
        Not by chance.
    clear : bool
        The patch holds no voxel of a lesion; None where none was found that does not.
    """
    having = [i for i, case in enumerate(cases) if case.negatives is not None and len(case.negatives)]
    if not having or (not always and rng.random() >= REJECTED):
        return None
    for _ in range(TRIES):
        index = int(rng.choice(having))
        case = cases[index]
        assert case.negatives is not None
        chosen = int(rng.integers(len(case.negatives)))
        box = case.negatives[chosen]
        middle = [round(float(a + b) / 2) for a, b in zip(box[:3], box[3:], strict=True)]
        low, high = np.floor(box[:3]).astype(int), np.ceil(box[3:]).astype(int)
        start = _round_box(case.image.shape[1:], patch, low, high, middle, rng)
        if not clear or case.label is None or not cut(case.label, start, patch, (0.0,)).any():
            return Place(index, start, chosen)
    return None


REJECTED = 0.5
"""The part of the background patches that show a finding a person rejected, where there is one."""

TRIES = 8
"""Places round rejected findings that are looked at for one without a lesion."""


def _anywhere(shape: Sequence[int], patch: Shape, rng: np.random.Generator) -> Shape:
    """A first voxel anywhere; where the patch is larger than the case, the case lies anywhere in the patch."""
    first = [int(rng.integers(min(0, n - p), max(0, n - p) + 1)) for n, p in zip(shape, patch, strict=True)]
    return (first[0], first[1], first[2])


def _round_lesion(case: Prepared, patch: Shape, rng: np.random.Generator) -> Shape:
    """A first voxel for which the patch holds a lesion of *case*; a part of it where the lesion is larger."""
    assert case.lesions is not None
    row = case.lesions[int(rng.integers(len(case.lesions)))]
    voxels = case.foreground[case.foreground[:, 0] == row[0], 1:]
    # Every slice of the lesion with the same chance, so that a detector of slices sees small sections too.
    plane = rng.choice(np.unique(voxels[:, 0]))
    voxels = voxels[voxels[:, 0] == plane]
    voxel = [int(v) for v in voxels[int(rng.integers(len(voxels)))]]
    return _round_box(case.image.shape[1:], patch, row[3:6], row[6:9], voxel, rng)


def _round_box(
    shape: Sequence[int],
    patch: Shape,
    low: NDArray[np.integer[Any]],
    high: NDArray[np.integer[Any]],
    voxel: Sequence[int],
    rng: np.random.Generator,
) -> Shape:
    """A first voxel such that the patch holds the box from *low* to *high*.

    Along an axis where the box is too long for that, the patch is centred on *voxel*.
    """
    first = []
    for n, p, a, b, v in zip(shape, patch, low, high, voxel, strict=True):
        # The patch stays within the case, or the case within the patch.
        least, most = min(0, n - p), max(0, n - p)
        begin, end = (int(b) - p, int(a)) if b - a <= p else (v - p // 2, v - p // 2)
        begin, end = max(begin, least), min(end, most)
        first.append(int(rng.integers(begin, end + 1)) if begin <= end else int(np.clip(begin, least, most)))
    return (first[0], first[1], first[2])


def cut(
    array: NDArray[np.generic], start: Shape, size: Shape, outside: Sequence[float] | None = None
) -> NDArray[np.generic]:
    """Cut *size* voxels from *start* out of the last three axes of *array*.

    What lies outside repeats the border voxels, or is the value of *outside* that goes with the channel, axis 0 (of an
    array with three axes: the only one).
    """
    slices: list[slice] = []
    pads: list[tuple[int, int]] = []
    for n, first, length in zip(array.shape[-3:], start, size, strict=True):
        low, high = max(0, min(first, n)), max(0, min(first + length, n))
        if low == high and outside is None:  # wholly outside: the nearest voxel stands for it
            low, high = (0, 1) if first < 0 else (n - 1, n)
        slices.append(slice(low, high))
        before = min(max(0, -first), length - (0 if outside is not None else 1))
        pads.append((before, length - before - (high - low)))
    result = np.asarray(array[..., slices[0], slices[1], slices[2]])
    if all(p == (0, 0) for p in pads):
        return result
    if outside is None:
        return np.pad(result, [(0, 0)] * (array.ndim - 3) + pads, mode="edge")
    fill = np.asarray(outside, result.dtype).reshape((-1, 1, 1, 1) if array.ndim == 4 else (1, 1, 1))
    whole = np.broadcast_to(fill, (*result.shape[:-3], *size)).copy()
    z, y, x = (slice(before, length - after) for (before, after), length in zip(pads, size, strict=True))
    whole[..., z, y, x] = result
    return whole
