"""The grid, patch, batch and options of a network that draws classes voxel by voxel, by arithmetic. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_dasl.networks.families import Family, patch_divisor
from napari_dasl.training import topology

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_dasl.training.fingerprint import Fingerprint
    from napari_dasl.training.topology import Spacing, Triple

Compute = Literal["cpu", "cuda"]

STEP_BYTES: dict[Compute, float] = {"cpu": 180e6, "cuda": 14e9}
"""What one optimiser step may keep for its backward pass where memory is plenty: that much is done in good time."""

PLANAR_GAIN = 3.0
"""A convolution of slices has 9 weights where one of volumes has 27, so that as many maps are done three times faster.
"""

LARGEST_BATCH = {3: 8, 2: 16}

LEARNING_RATES = {"unetr": 5e-4, "swin-unetr": 8e-4}
"""Attention does not stand the rate of the convolutional networks."""


@dataclass(frozen=True)
class SemanticSettings:
    """What a plan needs to know: see :class:`napari_dasl.training.plan.TrainingPlan`."""

    spacing: Spacing
    patch: Triple
    batch: int
    options: dict[str, Any]
    memory_mb: float


def settle(
    fingerprint: Fingerprint, chosen: Family, memory_mb: float, compute: Compute, dropout: float
) -> SemanticSettings:
    """The numbers of the network *chosen*, within *memory_mb* of memory.

    A family with a ``width`` gets as many levels as the data bear; any other comes with its options complete, and its
    patch is the typical scan, rounded up to what the network divides and cut until it fits.
    """
    spacing = topology.target_spacing(fingerprint.spacings, fingerprint.shapes)
    if chosen.spatial_dims == 2:
        # Slices are never resampled across: the number only tells how far apart they usually lie.
        spacing = (round(float(np.median([each[0] for each in fingerprint.spacings])), 4), *spacing[1:])
    grids = [
        topology.network_shape(shape, have, spacing)
        for shape, have in zip(fingerprint.shapes, fingerprint.spacings, strict=True)
    ]
    typical = [float(n) for n in np.median(grids, axis=0)]
    voxels = _step_voxels(chosen, memory_mb, compute)
    extra = {name: list(value) if isinstance(value, list) else value for name, value in _given(chosen, compute)}
    if chosen.width:
        full = compute == "cuda"
        patch, strides = topology.plan_patch(
            typical, spacing, max(8**3, voxels // 2), levels=4 if full else 3, full_resolution=full
        )
        widths = [min(chosen.width * 2**level, chosen.widest) for level in range(len(strides))]
        options: dict[str, Any] = {
            "channels": widths,
            "strides": [list(s) for s in strides],
            "res_units": 2,
            "dropout": dropout,
            **extra,
        }
    else:
        patch = _patch(typical, spacing, voxels // 2, patch_divisor(chosen.name, extra))
        sized = {"img_size": list(patch)} if chosen.sized else {}
        options = {**extra, **sized, "dropout": dropout}
    batch = int(np.clip(voxels // int(np.prod(patch)), 2, LARGEST_BATCH[chosen.spatial_dims]))
    if chosen.name == "unet":
        memory = topology.activation_values(patch, options["channels"], options["strides"]) * batch * 4 / 1e6
    else:
        memory = chosen.fixed_mb.get(compute, 0) + batch * float(np.prod(patch)) * chosen.voxel_bytes[compute] / 1e6
    return SemanticSettings(spacing, patch, batch, options, memory)


def _given(chosen: Family, compute: Compute) -> list[tuple[str, Any]]:
    return list(chosen.options.get(compute, {}).items())


def _step_voxels(chosen: Family, memory_mb: float, compute: Compute) -> int:
    """How many voxels one optimiser step may hold: what memory allows, and what the machine does in good time."""
    cost = chosen.voxel_bytes[compute]
    affordable = STEP_BYTES[compute] / cost * (PLANAR_GAIN if chosen.spatial_dims == 2 else 1)
    fits = (memory_mb - chosen.fixed_mb.get(compute, 0)) * 1e6 / cost
    return int(min(affordable, max(fits, 8_000)))


def _patch(typical: Sequence[float], spacing: Spacing, voxels: int, multiple: Triple) -> Triple:
    """The patch, at most *voxels* large, or as small as the network takes; one slice thick for one of slices.

    It begins as the *typical* scan, rounded up, and loses one *multiple* along the side that is longest in millimetres
    until it fits.
    """
    size = [max(m, -(-round(n) // m) * m) for n, m in zip(typical, multiple, strict=True)]
    if multiple[0] == 1:
        size[0] = 1
    while np.prod(size) > voxels and any(n > m for n, m in zip(size, multiple, strict=True)):
        longest = max((a for a in range(3) if size[a] > multiple[a]), key=lambda a: size[a] * spacing[a])
        size[longest] -= multiple[longest]
    return (size[0], size[1], size[2])
