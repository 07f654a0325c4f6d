"""What one optimiser step is about: the batch it learns from and the loss of it, for every kind of network.

The loop itself (:mod:`napari_dasl.training.loop`) knows neither label maps nor boxes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import torch

from napari_dasl.losses import LOSSES
from napari_dasl.training.batches import Batch, make_batch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import nn

    from napari_dasl.training.device import Precision
    from napari_dasl.training.mixing import Mixing
    from napari_dasl.training.plan import TrainingPlan
    from napari_dasl.training.prepare import Prepared


class Objective(Protocol):
    """The batches and the loss of one kind of network."""

    def make(
        self,
        plan: TrainingPlan,
        cases: Sequence[Prepared],
        step: int,
        mixing: Mixing,
        *,
        human_only: bool,
        alternate: bool = False,
    ) -> Any:
        """The batch of *step*, on the processor: a function of the plan's seed, the step and the cases.

        With *alternate* every second patch shows a lesion, and the others none.
        """

    def trial(self, plan: TrainingPlan) -> Any:
        """A batch of one patch to measure time with."""

    def moved(self, batch: Any, device: torch.device) -> Any:
        """The batch on *device*."""

    def loss(self, network: nn.Module, batch: Any, precision: Precision) -> torch.Tensor:
        """The loss of a batch, which lies where the network does; a scalar."""


@dataclass(frozen=True)
class SemanticObjective:
    """Classes of voxels: label maps in, one of :data:`napari_dasl.losses.LOSSES` by its name.

    *spacing* is that of the network's grid, (z, y, x) in mm; a loss of slices takes the last two. *options* are the
    loss's own.
    """

    name: str
    spacing: tuple[float, float, float]
    options: Mapping[str, Any] = field(default_factory=dict)

    def make(
        self,
        plan: TrainingPlan,
        cases: Sequence[Prepared],
        step: int,
        mixing: Mixing,
        *,
        human_only: bool,
        alternate: bool = False,
    ) -> Batch:
        """See :func:`napari_dasl.training.batches.make_batch`; of slices the z axis is left out."""
        image, label, weight = make_batch(plan, cases, step, mixing, human_only=human_only, alternate=alternate)
        return (image.squeeze(2), label.squeeze(1), weight) if plan.spatial_dims == 2 else (image, label, weight)

    def trial(self, plan: TrainingPlan) -> Batch:
        """One empty patch."""
        sides = plan.patch[1:] if plan.spatial_dims == 2 else plan.patch
        image = torch.zeros((1, plan.in_channels, *sides))
        return image, torch.zeros((1, *sides), dtype=torch.uint8), torch.ones(1)

    def moved(self, batch: Batch, device: torch.device) -> Batch:
        """Images, labels and weights on *device*."""
        image, label, weight = (part.to(device, non_blocking=True) for part in batch)
        return image, label, weight

    def loss(self, network: nn.Module, batch: Batch, precision: Precision) -> torch.Tensor:
        """The loss of the network's logits."""
        image, label, weight = batch
        with precision.autocast(image.device):
            logits = network(image.contiguous(memory_format=precision.layout(image.ndim - 2)))
        return LOSSES[self.name](logits, label, image, self.spacing, weight, **self.options)


def objective(plan: TrainingPlan) -> Objective:
    """What the plan's network learns."""
    if not plan.detector:
        return SemanticObjective(plan.loss, plan.spacing, plan.loss_options)
    from napari_dasl.training.detection import DetectionObjective

    return DetectionObjective()
