"""Patch size, pooling and batch, by arithmetic: pure functions on integers, with no torch.

All triples are (z, y, x). The rules are nnU-Net's in spirit: an axis is halved while it is long enough and not much
coarser than the finest one, and the patch is the typical scan, shortened along its longest side until it fits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

Triple = tuple[int, int, int]
Spacing = tuple[float, float, float]

SHORTEST_POOLED = 8
"""An axis shorter than this is not halved: the bottleneck keeps at least 4 voxels along every axis that was pooled.

A bottleneck of 1x1x1 would make its normalisation output a constant, and a network with one learns nothing there."""

ANISOTROPIC = 3.0
"""A data set whose coarsest spacing exceeds its finest by this factor keeps its slices (nnU-Net's threshold)."""


def target_spacing(spacings: Sequence[Spacing], shapes: Sequence[Triple]) -> Spacing:
    """The grid to learn on: the median spacing, but thinner slices where the data are anisotropic.

    With thick slices of mixed thickness the median would throw away half of the thin ones' detail, so the 10th
    percentile is taken along the coarse axis (nnU-Net's rule).
    """
    measured = np.asarray(spacings, float)
    target = np.median(measured, axis=0)
    size = np.median(np.asarray(shapes, float), axis=0)
    coarse = int(np.argmax(target))
    others = [axis for axis in range(3) if axis != coarse]
    thick = target[coarse] > ANISOTROPIC * target[others].min()
    short = size[coarse] * ANISOTROPIC < size[others].min()
    if thick and short:
        target[coarse] = max(np.percentile(measured[:, coarse], 10), target[others].max())
    return (round(float(target[0]), 4), round(float(target[1]), 4), round(float(target[2]), 4))


def network_shape(shape: Sequence[int], spacing: Sequence[float], target: Sequence[float]) -> Triple:
    """The shape of a scan on the grid of *target* spacing; the same extent in millimetres, at least one voxel."""
    sizes = [max(1, round(n * have / want)) for n, have, want in zip(shape, spacing, target, strict=True)]
    return (sizes[0], sizes[1], sizes[2])


def plan_strides(
    patch: Sequence[int], spacing: Sequence[float], levels: int = 3, *, full_resolution: bool = False
) -> tuple[Triple, ...]:
    """Strides on the way into each level of the network; with *full_resolution* the first is 1.

    An axis is halved while at least :data:`SHORTEST_POOLED` voxels are left and its spacing is below twice the finest
    of the axes that can still be halved, so that thick slices wait until the other axes have caught up.
    """
    size, step = list(patch), list(spacing)
    strides: list[Triple] = [(1, 1, 1)] if full_resolution else []
    while len(strides) < levels:
        able = [axis for axis in range(3) if size[axis] >= SHORTEST_POOLED]
        if not able:
            break
        finest = min(step[axis] for axis in able)
        halved = [2 if axis in able and step[axis] < 2 * finest else 1 for axis in range(3)]
        strides.append((halved[0], halved[1], halved[2]))
        size = [-(-n // s) for n, s in zip(size, halved, strict=True)]
        step = [d * s for d, s in zip(step, halved, strict=True)]
    return tuple(strides) or ((1, 1, 1),)


def divisor(strides: Sequence[Sequence[int]]) -> Triple:
    """What each side of a patch must be a multiple of: the product of the strides."""
    product = np.prod(np.asarray(strides, int), axis=0)
    return (int(product[0]), int(product[1]), int(product[2]))


def _rounded(size: Sequence[float], multiple: Triple) -> Triple:
    sides = [max(m, int(-(-n // m)) * m) for n, m in zip(size, multiple, strict=True)]
    return (sides[0], sides[1], sides[2])


def plan_patch(
    typical: Sequence[float],
    spacing: Sequence[float],
    voxels: int,
    levels: int = 3,
    *,
    full_resolution: bool = False,
) -> tuple[Triple, tuple[Triple, ...]]:
    """The patch, at most *voxels* large, and the strides that divide it.

    It begins as the *typical* scan, rounded up, and loses one step of the network along the side that is longest in
    millimetres until it fits.
    """
    size = [max(1.0, float(n)) for n in typical]
    while True:
        strides = plan_strides([max(1, round(n)) for n in size], spacing, levels, full_resolution=full_resolution)
        multiple = divisor(strides)
        patch = _rounded([round(n) for n in size], multiple)
        if np.prod(patch) <= voxels or all(p <= SHORTEST_POOLED for p in patch):
            return patch, strides
        longest = max((axis for axis in range(3) if patch[axis] > SHORTEST_POOLED), key=lambda a: patch[a] * spacing[a])
        size = [float(p) for p in patch]
        size[longest] = patch[longest] - multiple[longest]


def activation_values(patch: Sequence[int], channels: Sequence[int], strides: Sequence[Sequence[int]]) -> float:
    """How many numbers the residual U-Net keeps for the backward pass of one patch.

    Counted per level from its layout: convolutions, normalisations, activations and sums of a residual block on the way
    down, and the concatenation, the transposed convolution and one more block on the way up.
    """
    size = np.asarray(patch, float)
    total = 4 * float(size.prod())
    for width, stride in zip(channels, strides, strict=True):
        size = size / np.asarray(stride)
        total += float(size.prod()) * width * MAPS_PER_LEVEL
    return total


MAPS_PER_LEVEL = 20
"""Feature maps of one level: about ten in each direction."""
