"""At what patch size, batch, sampling and learning rate a curriculum trains, one stage after the other.

Sources: whole volumes, then tumour patches, then whole volumes again is Li et al., "A new three-stage curriculum
learning approach for deep network based liver tumor segmentation", 2020, and the stages ``whole``, ``whole-patch`` and
``patch-whole`` are its comparisons; patch growth is that of :mod:`napari_dasl.curriculum.growth`.

Triples are (z, y, x).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from napari_dasl.curriculum.growth import Growing, Mode, Triple, patch_growth, stage_steps
from napari_dasl.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Sampling = Literal["usual", "whole", "tumour-patches"]
"""As the plan says; whole scans (a patch as large as the scans, centred); every second patch on a tumour and as many of
the same size without any."""
Kind = Literal["constant", "three-stage", "whole-patch", "patch-whole", "whole", "growth", "random-patch"]

_LIVER: dict[str, tuple[Sampling, ...]] = {
    "three-stage": ("whole", "tumour-patches", "whole"),
    "whole-patch": ("whole", "tumour-patches"),
    "patch-whole": ("tumour-patches", "whole"),
    "whole": ("whole",),
}


@dataclass(frozen=True)
class Stage:
    """One part of a run.

    Attributes
    ----------
    patch : (int, int, int)
        In voxels of the network's grid.
    batch : int
        Patches per optimiser step.
    share : float
        Of the run, in [0, 1]; the stages of a run add up to 1. With 0 it is passed over.
    sampling : {"usual", "whole", "tumour-patches"}
    rate : float
        Factor of the learning rate.
    """

    patch: Triple
    batch: int
    share: float
    sampling: Sampling = "usual"
    rate: float = 1.0


@dataclass(frozen=True)
class StageChoice:
    """Which stages a curriculum has.

    Attributes
    ----------
    kind : str
        ``constant``: the plan's patch throughout. ``three-stage``, ``whole-patch``, ``patch-whole`` and ``whole``
        (naïve): of Li et al. ``growth``: the patch grows. ``random-patch``: its control, one of its stages drawn at
        every step.
    mode, order
        Of patch growth.
    bottleneck : int
        Of patch growth: voxels that must be left at the network's bottleneck.
    decay : float
        Factor of the learning rate at each later stage of ``three-stage``, ``whole-patch`` and ``patch-whole``.
    shares : tuple of float
        How long the stages of Li et al. last, in any unit; equally long where it is empty.
    whole_batch, tumour_batch : int
        Patches per step; 0: as many as hold no more voxels than the plan's batch, and at least 1 and 2. The paper has
        1 and, with patches of 26 × 56 × 56 and 64 × 190 × 190, 32 and 2.
    """

    kind: Kind = "constant"
    mode: Mode = "resource"
    order: Growing = "2025"
    bottleneck: int = 1
    decay: float = 0.1
    shares: tuple[float, ...] = ()
    whole_batch: int = 0
    tumour_batch: int = 0

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise InputError(
                f"There are no stages of training named {self.kind!r}.", f"Choose one of {', '.join(get_args(Kind))}."
            )
        if not 0 < self.decay <= 1:
            raise InputError(
                f"The learning rate of a later stage is multiplied by {self.decay:g}.", "Give a factor in (0, 1]."
            )
        if min(self.whole_batch, self.tumour_batch) < 0:
            raise InputError("A batch is negative.", "Give at least 1, or 0 to derive it.")
        if self.shares:
            wanted = len(_LIVER.get(self.kind, ()))
            if len(self.shares) != wanted or not all(math.isfinite(s) and s > 0 for s in self.shares):
                raise InputError(
                    f"The stages of {self.kind} last {list(self.shares)}.",
                    f"Give {wanted} numbers above 0." if wanted else "Leave the lengths out: its stages are equal.",
                )

    @property
    def drawn(self) -> bool:
        """Whether a stage is drawn at every step, rather than one after the other."""
        return self.kind == "random-patch"


def plan_stages(
    choice: StageChoice,
    plan_patch: Sequence[int],
    step: Sequence[int],
    batch: int,
    tumour_patch: Sequence[int] | None = None,
    whole_patch: Sequence[int] | None = None,
    *,
    steps: int = 0,
) -> tuple[Stage, ...]:
    """The stages of a run.

    Parameters
    ----------
    choice : StageChoice
    plan_patch : (int, int, int)
        The patch of the training plan; prediction runs with it, and patch growth ends with it.
    step : (int, int, int)
        What every side of a patch must be a multiple of.
    batch : int
        The batch of the training plan.
    tumour_patch : (int, int, int), optional
        The largest tumour among the training labels, see :func:`largest_lesion`; rounded up to multiples of *step*.
    whole_patch : (int, int, int), optional
        The size that holds every scan; rounded up too.
    steps : int
        Optimiser steps of the run. Where they are known, equal stages have whole steps, the remainder in the last.

    Returns
    -------
    tuple of Stage
        Their shares add up to 1.

    Raises
    ------
    InputError
        When the choice needs a size that is not given, or a size or batch is below 1.
    """
    if choice.kind in _LIVER:
        return _liver(choice, plan_patch, step, batch, {"tumour-patches": tumour_patch, "whole": whole_patch}, steps)
    grown = patch_growth(plan_patch, step, batch, choice.mode, choice.order, bottleneck=choice.bottleneck)
    if choice.kind == "constant":
        grown = [(grown[-1][0], batch)]
    return tuple(
        Stage(patch, each, share) for (patch, each), share in zip(grown, _equal(len(grown), steps), strict=True)
    )


def lesion_mask(label: NDArray[Any], classes: Sequence[int] = ()) -> NDArray[np.bool_]:
    """Where there is lesion: the voxels of *classes*, or, where they are empty, everything above 0.

    Labels may show an organ beside its lesions, such as liver and tumour; the organ is then no lesion.
    """
    found: NDArray[np.bool_] = np.isin(label, classes) if len(classes) else np.asarray(label) > 0
    return found


def largest_lesion(label: NDArray[Any], classes: Sequence[int] = ()) -> Triple | None:
    """The longest side of any lesion along each axis: the size that holds each of them.

    Parameters
    ----------
    label : array (z, y, x)
        0 is background.
    classes : sequence of int
        The values that are lesion, see :func:`lesion_mask`. Lesions are told apart as connected components (26
        neighbours) of all of them.

    Returns
    -------
    (int, int, int) or None
        In voxels; None without a lesion.
    """
    from scipy import ndimage  # loads slowly, and schedules need none of it

    parts, count = ndimage.label(lesion_mask(label, classes), structure=np.ones((3, 3, 3)))
    if not count:
        return None
    sides = np.array([[along.stop - along.start for along in box] for box in ndimage.find_objects(parts)])
    z, y, x = sides.max(axis=0).tolist()
    return (z, y, x)


def _liver(
    choice: StageChoice,
    plan_patch: Sequence[int],
    step: Sequence[int],
    batch: int,
    sizes: dict[Sampling, Sequence[int] | None],
    steps: int,
) -> tuple[Stage, ...]:
    samplings = _LIVER[choice.kind]
    shares = [share / sum(choice.shares) for share in choice.shares] or _equal(len(samplings), steps)
    budget = math.prod(int(n) for n in plan_patch) * batch
    least = {"whole": 1, "tumour-patches": 2}
    wanted = {"whole": choice.whole_batch, "tumour-patches": choice.tumour_batch}
    stages = []
    for later, (sampling, share) in enumerate(zip(samplings, shares, strict=True)):
        size = sizes[sampling]
        if size is None or len(size) != 3 or min(size) < 1:
            what = "the scans" if sampling == "whole" else "the largest tumour"
            raise InputError(
                f"The stages {choice.kind} need the size of {what}, and it is {size}.",
                "Label at least one lesion, or choose other stages.",
            )
        sides = [-(-int(n) // int(m)) * int(m) for n, m in zip(size, step, strict=True)]
        patch = (sides[0], sides[1], sides[2])
        count = wanted[sampling] or max(least[sampling], budget // math.prod(patch))
        stages.append(Stage(patch, count, share, sampling, choice.decay**later))
    return tuple(stages)


def _equal(stages: int, steps: int) -> list[float]:
    return [each / steps for each in stage_steps(steps, stages)] if steps else [1 / stages] * stages
