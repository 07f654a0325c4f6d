"""The optimisers that a training plan can name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import nn

    from napari_dasl.training.plan import TrainingPlan

MOMENTUM = 0.9
"""Of stochastic gradient descent, with Nesterov's look ahead."""


def build_optimiser(plan: TrainingPlan, network: nn.Module) -> torch.optim.Optimizer:
    """The plan's optimiser for the weights of *network*.

    Weight decay belongs to AdamW, where it does not meet the step's scaling (Loshchilov and Hutter, ICLR 2019). In the
    others the same number would be a penalty of quite another strength, so they go without, as in the papers.
    """
    weights = network.parameters()
    if plan.optimiser == "adam":
        return torch.optim.Adam(weights, lr=plan.learning_rate, betas=plan.betas, fused=True)
    if plan.optimiser == "rmsprop":
        return torch.optim.RMSprop(weights, lr=plan.learning_rate)
    if plan.optimiser == "sgd":
        return torch.optim.SGD(weights, lr=plan.learning_rate, momentum=MOMENTUM, nesterov=True)
    return torch.optim.AdamW(
        weights, lr=plan.learning_rate, betas=plan.betas, weight_decay=plan.weight_decay, fused=True
    )
