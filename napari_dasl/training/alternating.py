"""Patches on a tumour and patches without any, in turn: the sampling ``tumour-patches`` of a curriculum.

Source: Li et al., "A new three-stage curriculum learning approach for deep network based liver tumor segmentation",
2020: its second stage learns from tumour patches and as many negative ones of the same size.

*lesions* are everywhere the values of a label map that count as lesion, all of them where there are none; a negative
patch may show the organ.
"""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dasl.curriculum.stages import lesion_mask
from napari_dasl.training.patches import Place, draw_place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_dasl.training.cases import Shape
    from napari_dasl.training.mixing import Mixing
    from napari_dasl.training.prepare import Prepared

TRIES = 32
"""Places looked at one by one before all places of a case are."""


def turns(cases: Sequence[Prepared], step: int, batch: int, mixing: Mixing, *, human_only: bool) -> list[bool]:
    """Whether each sample of a batch is to show a lesion: every second one is, from step to step.

    Where people's labels and pseudo-labels share the batch, each kind takes turns by itself, so that not one of them
    shows all the lesions. The order of the samples is that of :func:`napari_dasl.training.batches.draw_cases`.
    """
    mixed = len({case.human for case in cases}) == 2 and not human_only
    own = mixing.human_samples(step, batch) if mixed else batch
    before = mixing.human_before(step, batch) if mixed else step * batch
    others = step * batch - before
    return [(before + n) % 2 == 0 for n in range(own)] + [(others + n) % 2 == 0 for n in range(batch - own)]


def draw_on_lesion(
    cases: Sequence[Prepared], patch: Shape, rng: np.random.Generator, lesions: Sequence[int] = ()
) -> Place:
    """Draw a case that has a lesion, each with the same chance, and a patch centred on a voxel of one.

    Where no case has any, the patch lies anywhere.
    """
    if lesions:
        cases = [replace(case, foreground=case.foreground[np.isin(case.foreground[:, 0], lesions)]) for case in cases]
    showing = [index for index, case in enumerate(cases) if len(case.foreground)]
    if not showing:
        return draw_place(cases, patch, 0.0, rng)
    index = int(rng.choice(showing))
    return Place(index, draw_place([cases[index]], patch, 1.0, rng).start)


def draw_beside(
    cases: Sequence[Prepared], patch: Shape, rng: np.random.Generator, lesions: Sequence[int] = ()
) -> Place | None:
    """Draw a case that has room for a patch without a lesion voxel, each with the same chance, and such a place in it.

    None where no case has.
    """
    for index in rng.permutation(len(cases)):
        start = _free(cases[index], patch, rng, lesions)
        if start is not None:
            return Place(int(index), start)
    return None


def has_room(case: Prepared, patch: Shape, lesions: Sequence[int] = ()) -> bool:
    """Whether a *patch* without a lesion voxel fits somewhere in *case*."""
    return _free(case, patch, np.random.default_rng(zlib.crc32(case.id.encode())), lesions) is not None


def shows(label: NDArray[Any], lesions: Sequence[int] = ()) -> bool:
    """Whether a piece of a label map shows a lesion voxel."""
    return bool(np.any(lesion_mask(label, lesions)))


def _free(case: Prepared, patch: Shape, rng: np.random.Generator, lesions: Sequence[int]) -> Shape | None:
    """The first voxel of a patch without a lesion; every such place has the same chance."""
    if case.label is None:
        return None
    shape = case.label.shape
    room = [max(0, n - p) for n, p in zip(shape, patch, strict=True)]
    # Along an axis on which the patch is larger, the case lies in its middle.
    fixed = [-((p - n) // 2) if n < p else 0 for n, p in zip(shape, patch, strict=True)]
    for _ in range(TRIES):
        z, y, x = (int(rng.integers(r + 1)) for r in room)
        if not shows(case.label[z : z + patch[0], y : y + patch[1], x : x + patch[2]], lesions):
            return (z + fixed[0], y + fixed[1], x + fixed[2])
    places = np.argwhere(~_blocked(lesion_mask(case.label, lesions), patch))
    if not len(places):
        return None
    z, y, x = (int(v) for v in places[int(rng.integers(len(places)))])
    return (z + fixed[0], y + fixed[1], x + fixed[2])


def _blocked(lesion: NDArray[np.bool_], patch: Shape) -> NDArray[np.bool_]:
    """Whether the patch that begins at a voxel meets a lesion, for every place that a patch may have."""
    for axis, length in enumerate(patch):
        length = min(length, lesion.shape[axis])
        count = np.cumsum(lesion, axis=axis, dtype=np.int32)
        count = np.concatenate([np.zeros_like(count.take([0], axis)), count], axis=axis)
        last = count.shape[axis]
        ends, begins = (count.take(range(*part), axis) for part in ((length, last), (0, last - length)))
        lesion = ends > begins
    return lesion
