"""What a detector learns from: patches with the boxes and masks of the lesions that they show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from napari_dasl.networks.region.loss import Targets, region_loss
from napari_dasl.training.alternating import draw_beside, turns
from napari_dasl.training.augment import sample_patch, still
from napari_dasl.training.batches import draw_cases
from napari_dasl.training.lesions import NONE, table_of_patch
from napari_dasl.training.normalise import outside
from napari_dasl.training.patches import draw_finding, draw_rejected, generator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import nn

    from napari_dasl.training.cases import Shape
    from napari_dasl.training.device import Precision
    from napari_dasl.training.mixing import Mixing
    from napari_dasl.training.patches import Place
    from napari_dasl.training.plan import TrainingPlan
    from napari_dasl.training.prepare import Prepared


class DetectionBatch(NamedTuple):
    """Images (N, C, z, y, x), or (N, C, y, x) of slices, weights (N,), and the lesions of every image."""

    image: torch.Tensor
    weight: torch.Tensor
    targets: list[Targets]


class DetectionObjective:
    """Lesions one by one: patches with the boxes and masks of what they show, and the loss of the region networks."""

    def make(
        self,
        plan: TrainingPlan,
        cases: Sequence[Prepared],
        step: int,
        mixing: Mixing,
        *,
        human_only: bool,
        alternate: bool = False,
    ) -> DetectionBatch:
        """The patches of a step; boxes are measured after everything that changes the patch."""
        images, weights, targets = [], [], []
        shown = turns(cases, step, plan.batch, mixing, human_only=human_only) if alternate else []
        for sample, source in enumerate(draw_cases(cases, step, plan.batch, mixing, human_only=human_only)):
            rng = generator(plan.seed, step, sample)
            foreground = plan.foreground if not alternate else float(shown[sample])
            beside = _beside(source, plan.patch, rng) if foreground == 0 and alternate else None
            place = beside or draw_finding(source, plan.patch, foreground, rng)
            case = source[place.case]
            image, target = _sample(plan, case, place, rng)
            if alternate and case.label is not None and bool(len(target.ids)) != shown[sample]:
                image, target = _sample(still(plan), case, place, rng)
            images.append(image)
            targets.append(target)
            weights.append(case.weight)
        stacked = torch.from_numpy(np.stack(images))
        weight = torch.tensor(weights, dtype=torch.float32)
        return DetectionBatch(stacked.squeeze(2) if plan.spatial_dims == 2 else stacked, weight, targets)

    def trial(self, plan: TrainingPlan) -> DetectionBatch:
        """One patch with a lesion in its middle."""
        sides = plan.patch[1:] if plan.spatial_dims == 2 else plan.patch
        ids = np.zeros(plan.patch, np.uint16)
        ids[tuple(slice(n // 3, n - n // 3) for n in plan.patch)] = 1
        target = _targets(ids, np.asarray([[1, 1, 1, 0, 0, 0, 0, 0, 0]], np.int32), planar=plan.spatial_dims == 2)
        return DetectionBatch(torch.zeros((1, plan.in_channels, *sides)), torch.ones(1), [target])

    def moved(self, batch: DetectionBatch, device: torch.device) -> DetectionBatch:
        """Images, weights and lesions on *device*."""

        def there(part: torch.Tensor) -> torch.Tensor:
            return part.to(device, non_blocking=True)

        targets = [
            Targets(
                there(one.cubes),
                there(one.classes),
                there(one.ids),
                there(one.id_map),
                None if one.known is None else there(one.known),
            )
            for one in batch.targets
        ]
        return DetectionBatch(there(batch.image), there(batch.weight), targets)

    def loss(self, network: nn.Module, batch: DetectionBatch, precision: Precision) -> torch.Tensor:
        """The sum of the losses of classes, boxes and masks (:func:`napari_dasl.networks.region.loss.region_loss`)."""
        image = batch.image.contiguous(memory_format=precision.layout(batch.image.ndim - 2))
        with precision.autocast(image.device):
            loss, _parts = region_loss(network, network(image), batch.targets, batch.weight)
        return loss


def _beside(source: Sequence[Prepared], patch: Shape, rng: np.random.Generator) -> Place | None:
    """A patch without a lesion: every second one on a rejected finding, where there is one."""
    return draw_rejected(source, patch, rng, clear=True) or draw_beside(source, patch, rng)


def _sample(
    plan: TrainingPlan, case: Prepared, place: Place, rng: np.random.Generator
) -> tuple[NDArray[np.float32], Targets]:
    """One patch, (C, z, y, x), and what it shows."""
    planar = plan.spatial_dims == 2
    unlabelled = case.label is None
    labels = case.label if case.label is not None else _drawn_box(case, place)
    image, ids = sample_patch(
        case,
        place.start,
        plan.patch,
        plan.spacing,
        plan.augmentation,
        rng,
        outside=[outside(rule) for rule in plan.normalisation],
        labels=labels,
    )
    if not unlabelled:
        return image, _targets(ids, case.lesions if case.lesions is not None else NONE, planar=planar)
    first = 1 if planar else 0
    hit = [np.flatnonzero(ids.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(first, 3)]
    seen = all(axis.size for axis in hit)
    known = [axis[0] if seen else 0 for axis in hit] + [axis[-1] + 1 if seen else 0 for axis in hit]
    nothing = _targets(np.zeros_like(ids), NONE, planar=planar)
    return image, Targets(
        nothing.cubes, nothing.classes, nothing.ids, nothing.id_map, known=torch.tensor(known, dtype=torch.float32)
    )


def _drawn_box(case: Prepared, place: Place) -> NDArray[np.uint16]:
    """A map of *case*, empty but for the rejected finding that the patch was drawn for: so it is turned with it."""
    drawn = np.zeros(case.image.shape[1:], np.uint16)
    if place.rejected is not None and case.negatives is not None:
        box = case.negatives[place.rejected]
        drawn[tuple(slice(max(0, int(a)), int(np.ceil(b))) for a, b in zip(box[:3], box[3:], strict=True))] = 1
    return drawn


def _targets(ids: NDArray[Any], table: NDArray[np.int32], *, planar: bool) -> Targets:
    """What a patch shows; a cube has the longest side of a lesion's box for its diameter."""
    shown, found = table_of_patch(ids, table, planar=planar)
    first = 1 if planar else 0
    low, high = found[:, 3 + first : 6].astype(np.float32), found[:, 6 + first : 9].astype(np.float32)
    longest = (high - low).max(axis=1, keepdims=True) if len(found) else np.zeros((0, 1), np.float32)
    return Targets(
        cubes=torch.from_numpy(np.concatenate([(low + high) / 2, longest], axis=1)),
        classes=torch.from_numpy(found[:, 1].astype(np.int64) - 1),
        ids=torch.from_numpy(found[:, 0].astype(np.int64)),
        id_map=torch.from_numpy(shown[0].astype(np.int64) if planar else shown.astype(np.int64)),
    )
