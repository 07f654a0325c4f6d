"""The batch of one optimiser step: a function of the seed, the step and the cases, whoever makes it and when."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_dasl.training.alternating import draw_beside, draw_on_lesion, shows, turns
from napari_dasl.training.augment import sample_patch, still
from napari_dasl.training.mixing import Mixing
from napari_dasl.training.mixup import draw_partner, shares
from napari_dasl.training.patches import draw_place, generator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_dasl.training.augment import Labels
    from napari_dasl.training.mixup import Partner
    from napari_dasl.training.patches import Place
    from napari_dasl.training.plan import TrainingPlan
    from napari_dasl.training.prepare import Prepared

    Target = Labels | NDArray[np.float32]
    Sample = tuple[NDArray[np.float32], Target, float]

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Images (N, C, z, y, x), labels (N, z, y, x) and weights (N,); with a mixture the labels are shares of classes,
(N, K + 1, z, y, x)."""


def draw_cases(
    cases: Sequence[Prepared], step: int, batch: int, mixing: Mixing, *, human_only: bool
) -> list[list[Prepared]]:
    """For each sample of a batch, the cases that it may come from.

    The first samples belong to people's labels and the others to pseudo-labels. Where one of the kinds is missing, or
    with *human_only*, nothing but the other is there to draw from.
    """
    human = [case for case in cases if case.human]
    pseudo = [case for case in cases if not case.human]
    if not pseudo or not human:
        return [list(cases)] * batch
    own = batch if human_only else mixing.human_samples(step, batch)
    return [human] * own + [pseudo] * (batch - own)


def make_batch(
    plan: TrainingPlan,
    cases: Sequence[Prepared],
    step: int,
    mixing: Mixing | None = None,
    *,
    human_only: bool = False,
    alternate: bool = False,
) -> Batch:
    """The patches of a step: images (N, C, z, y, x), labels (N, z, y, x) and weights (N,); a function of the seed.

    Parameters
    ----------
    plan : TrainingPlan
        Its seed, patch, batch and augmentation.
    cases : sequence of Prepared
        Within its kind, a person's label or a pseudo-label, every case has the same chance.
    step : int
        From 0.
    mixing : Mixing, optional
        How the kinds share the batch; the usual shares where not given.
    human_only : bool
        The step lies in the tail that learns from people's labels alone.
    alternate : bool
        Every second patch shows a lesion, and the others none at all (see :mod:`napari_dasl.training.alternating`);
        the plan's ``foreground`` does not count.
    """
    images, labels, weights = [], [], []
    mixing = mixing or Mixing()
    sources = draw_cases(cases, step, plan.batch, mixing, human_only=human_only)
    shown = turns(cases, step, plan.batch, mixing, human_only=human_only) if alternate else []
    for sample, source in enumerate(sources):
        rng = generator(plan.seed, step, sample)
        image, label, weight = (
            _in_turn(plan, source, cases, rng, lesion=shown[sample]) if alternate else _usual(plan, source, rng)
        )
        images.append(image)
        labels.append(label)
        weights.append(weight)
    return (
        torch.from_numpy(np.stack(images)),
        torch.from_numpy(np.stack(_alike(labels, plan.out_channels))),
        torch.tensor(weights, dtype=torch.float32),
    )


def _usual(plan: TrainingPlan, source: Sequence[Prepared], rng: np.random.Generator) -> Sample:
    """A patch as the plan asks for: image (C, z, y, x), label (z, y, x), weight; of a mixture the shares of classes."""
    place = draw_place(source, plan.patch, plan.foreground, rng)
    case = source[place.case]
    partner = draw_partner(source, place.case, plan.spacing, plan.augmentation.mixup, rng)
    image, label = _changed(plan, case, place, rng, partner)
    if partner is None:
        return image, label, case.weight
    weight = partner.own * case.weight + (1 - partner.own) * partner.case.weight
    return image, shares(label, partner.own, plan.out_channels), weight


def _alike(labels: list[Target], classes: int) -> list[Target]:
    """All label maps, or, where one of them is of a mixture, the shares of classes of all."""
    if not any(label.ndim == 4 for label in labels):
        return labels
    return [label if label.ndim == 4 else shares(label[None], 1.0, classes) for label in labels]


def _changed(
    plan: TrainingPlan, case: Prepared, place: Place, rng: np.random.Generator, partner: Partner | None = None
) -> tuple[NDArray[np.float32], Labels]:
    """A patch of *case*, changed at random: image (C, z, y, x) and label (z, y, x)."""
    return sample_patch(
        case,
        place.start,
        plan.patch,
        plan.spacing,
        plan.augmentation,
        rng,
        planar=plan.spatial_dims == 2,
        partner=partner,
    )


def _in_turn(
    plan: TrainingPlan, source: Sequence[Prepared], cases: Sequence[Prepared], rng: np.random.Generator, *, lesion: bool
) -> Sample:
    """A patch that shows a lesion, or one that shows none; never a mixture."""
    draw, lesions = draw_on_lesion if lesion else draw_beside, plan.lesion_values
    place = draw(source, plan.patch, rng, lesions)
    if place is None:
        # The pseudo-labels, or people's labels, leave no room beside lesions: then any case's do.
        source = cases
        place = draw_beside(source, plan.patch, rng, lesions) or draw_place(source, plan.patch, 0.0, rng)
    case = source[place.case]
    image, label = _changed(plan, case, place, rng)
    if shows(label, lesions) != lesion:
        # Turned and scaled, the patch shows what lies beside it; as it was cut, it shows what it was drawn for.
        image, label = _changed(still(plan), case, place, rng)
    return image, label, case.weight
