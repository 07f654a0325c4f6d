r"""Progressive growing of patch size: which patches, with how many in a batch, for how many steps.

Source: Fischer et al., "Progressive growing of patch size: resource-efficient curriculum learning for dense prediction
tasks", MICCAI 2024, and "Progressive growing of patch size: curriculum learning for accelerated and improved medical
image segmentation", 2025. The two differ in the first patch, in the axis that grows and in the batches of the
performance mode; here they are called ``2024`` and ``2025``.

A step along axis *k* is :math:`s_k = 2^{n_k}`, with :math:`n_k` poolings along it: what a side must be a multiple of.
All triples are (z, y, x).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, TypeVar, get_args

from napari_dasl.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

Triple = tuple[int, int, int]
Grown = tuple[Triple, int]
Mode = Literal["resource", "performance"]
"""The planned batch at every size, in less time; or batches that fill the memory of the last size."""
Growing = Literal["2024", "2025"]
_T = TypeVar("_T")


def patch_growth(
    patch_max: Sequence[int],
    step: Sequence[int],
    batch: int = 2,
    mode: Mode = "resource",
    order: Growing = "2025",
    *,
    bottleneck: int = 1,
) -> list[Grown]:
    r"""Every patch of the curriculum with its batch, smallest first; the last is *patch_max*.

    One step on one axis per stage, :math:`1 + \sum_k \lceil (P_{max} - P_{min})_k / s_k \rceil` stages in all.

    ``2024``
        From :math:`(2 s_0, s_1, s_2)`; the axes 1, 2, 0 grow in turn, those that are done are skipped. Performance:
        :math:`b_i = \max(\lfloor b_{i+1} |P_{i+1}| / |P_i| \rfloor, B)` from the top, :math:`b_S = B` (the paper says
        2, which is its planned batch B).
    ``2025``
        From :math:`(s_0, s_1, s_2)`; the axis with the smallest :math:`P_k + s_k` grows, the first of equal ones.
        Performance: :math:`b_i = \lfloor B |P_{max}| / |P_i| \rfloor`.

    Parameters
    ----------
    patch_max : (int, int, int)
        The patch of the plan. A side that is no multiple of its step is reached by a shorter last step.
    step : (int, int, int)
        :math:`s_k`.
    batch : int
        B, the batch of the plan.
    mode : {"resource", "performance"}
    order : {"2025", "2024"}
    bottleneck : int
        Leave out the sizes with fewer voxels than this at the network's bottleneck. 1 is the papers' list; 2 spares
        networks with instance normalisation the one voxel that it cannot work on.

    Returns
    -------
    list of ((int, int, int), int)

    Raises
    ------
    InputError
        When a side, a step or the batch is below 1, or there is no such mode or order.
    """
    _check(patch_max, step, batch, mode, order)
    largest, steps = _triple(patch_max), _triple(step)
    sizes = _sizes(largest, steps, order)
    # The last size stays whatever its bottleneck: it is the one that predicts.
    sizes = [s for s in sizes[:-1] if math.prod(-(-n // m) for n, m in zip(s, steps, strict=True)) >= bottleneck]
    sizes.append(largest)
    return list(zip(sizes, _batches(sizes, batch, mode, order), strict=True))


def stage_steps(total: int, stages: int) -> list[int]:
    """How many of *total* optimiser steps each of *stages* stages gets: equally many, the remainder to the last.

    Raises
    ------
    InputError
        When there is no stage, or the steps are negative.
    """
    if stages < 1 or total < 0:
        raise InputError(f"{total} steps cannot be shared among {stages} stages.", "Give at least one stage.")
    each = total // stages
    return [each] * (stages - 1) + [total - each * (stages - 1)]


def mean_voxels(stages: Sequence[Grown]) -> float:
    """Voxels that a step sees on average over the stages, against training at the last stage throughout.

    The paper's resource mode comes to 0.26 to 0.34, its performance mode to 0.94 to 0.98.

    Raises
    ------
    InputError
        When there is no stage.
    """
    if not stages:
        raise InputError("A curriculum without a stage has no voxels.", "Give at least one stage.")
    voxels = [math.prod(patch) * batch for patch, batch in stages]
    return sum(voxels) / len(voxels) / voxels[-1]


def random_patch(stages: Sequence[_T], rng: np.random.Generator) -> _T:
    """One of the stages, each with the same chance: drawn anew at every step, the control of patch growth.

    Raises
    ------
    InputError
        When there is no stage.
    """
    if not stages:
        raise InputError("There is no stage to draw.", "Give at least one stage.")
    return stages[int(rng.integers(len(stages)))]


def _sizes(largest: Triple, steps: Triple, order: Growing) -> list[Triple]:
    first = (2 * steps[0], steps[1], steps[2]) if order == "2024" else steps
    size = [min(a, b) for a, b in zip(first, largest, strict=True)]
    found = [_triple(size)]
    turn = 1  # the axis whose turn it is in the order of 2024
    while found[-1] != largest:
        growing = [k for k in range(3) if size[k] < largest[k]]
        if order == "2024":
            axis = min(growing, key=lambda k: (k - turn) % 3)
            turn = (axis + 1) % 3
        else:
            axis = min(growing, key=lambda k: size[k] + steps[k])
        size[axis] = min(size[axis] + steps[axis], largest[axis])
        found.append(_triple(size))
    return found


def _batches(sizes: Sequence[Triple], batch: int, mode: Mode, order: Growing) -> list[int]:
    if mode == "resource":
        return [batch] * len(sizes)
    voxels = [math.prod(size) for size in sizes]
    if order == "2025":
        return [batch * voxels[-1] // each for each in voxels]
    found = [batch]
    for here, above in zip(reversed(voxels[:-1]), reversed(voxels[1:]), strict=True):
        found.append(max(found[-1] * above // here, batch))
    return found[::-1]


def _triple(values: Sequence[int]) -> Triple:
    return (int(values[0]), int(values[1]), int(values[2]))


def _check(patch_max: Sequence[int], step: Sequence[int], batch: int, mode: str, order: str) -> None:
    for what, values in (("patch", patch_max), ("step", step)):
        if len(values) != 3 or min(values) < 1:
            raise InputError(f"The {what} {list(values)} cannot grow.", "Give three sides (z, y, x) of at least 1.")
    if batch < 1:
        raise InputError(f"A batch of {batch} patches cannot be trained on.", "Give at least 1.")
    for what, value, choices in (("mode", mode, get_args(Mode)), ("order", order, get_args(Growing))):
        if value not in choices:
            raise InputError(f"Patch growth has no {what} {value!r}.", f"Choose one of {', '.join(choices)}.")
