"""How much memory training will need, by arithmetic, before it starts."""

from __future__ import annotations

import torch
from torch import nn

from napari_dasl.training.plan import BASE_MEMORY_MB, TrainingPlan
from napari_dasl.training.weights import build_network

KEPT_PER_OUTPUT = 1.0
"""Numbers held at the peak of a step per number that a layer puts out. Activations in place give memory back, sums,
concatenations and gradients take it. Against the peak resident memory of training in single precision (patches of
40x56x40 and 64x64x64, batches of 1 and 4) the estimate is 3 to 16 % above."""

WEIGHT_COPIES = 5
"""Of every weight: itself, its gradient, two moments of the optimiser, and its running average."""


def estimate_memory_mb(plan: TrainingPlan, device: torch.device | str = "cpu") -> float:
    """Memory that a training step of *plan* needs on *device*, in MB of 2**20 bytes.

    The network is run without data (on torch's ``meta`` device) to count what its layers put out, so the estimate
    holds for any network, patch and batch. It assumes single precision, which bf16 stays below.
    """
    network = _without_data(plan)
    outputs = 0

    def count(_module: object, _inputs: object, output: torch.Tensor) -> None:
        nonlocal outputs
        outputs += output.numel()

    for module in network.modules():
        if not any(True for _ in module.children()):
            module.register_forward_hook(count)
    with torch.no_grad():
        sides = plan.patch[1:] if plan.spatial_dims == 2 else plan.patch
        network(torch.zeros((1, plan.in_channels, *sides), device="meta"))
    weights = sum(parameter.numel() for parameter in network.parameters())
    values = outputs * plan.batch * KEPT_PER_OUTPUT + weights * WEIGHT_COPIES
    own = BASE_MEMORY_MB if torch.device(device).type == "cpu" else 0
    return float(own + 4 * values / 2**20)


def _without_data(plan: TrainingPlan) -> nn.Module:
    """The plan's network on torch's ``meta`` device."""
    try:
        with torch.device("meta"):
            return build_network(plan)
    except RuntimeError:
        # MONAI's SwinUNETR reads numbers off tensors while it is built, and those of this device have none.
        return build_network(plan).to("meta")
