"""The grid, patch and anchors of a detector, from what the labelled lesions look like. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_dasl.errors import ProjectError
from napari_dasl.networks.region.sizes import cluster_sizes
from napari_dasl.training.topology import network_shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_dasl.training.fingerprint import Fingerprint
    from napari_dasl.training.topology import Spacing, Triple

DIVISOR = 16
"""What every side of a patch must be a multiple of: the networks halve it four times."""

LESION_VOXELS = 8
"""Across the smallest lesions (10th percentile of the diameters), where the scans are fine enough for it."""

LARGEST_PART = 0.85
"""The part of a patch's side that the largest lesions (95th percentile) may take: a box needs something round it."""

SHORTEST_ANCHOR = 4.0
"""Voxels: the stride of the anchors. Smaller ones would leave gaps between them."""

STEP_VOXELS: dict[tuple[int, str], int] = {
    (3, "cpu"): 300_000,
    (3, "cuda"): 2 * 128**3,
    (2, "cpu"): 8 * 192**2,
    (2, "cuda"): 16 * 512**2,
}
"""Voxels of one optimiser step, by axes and machine: on one core a step of either network takes about two seconds."""

SLIM = {"planes": 32, "width": 64}
"""ResNet-50 with its pyramid half as wide, for a processor: 0.55 s a step of 16 patches of 96 x 96 instead of 1.3 s."""

ROI_SCALE = 1.75
"""Side of the region of a mask in diameters of its box, in volumes.

The 24 cells of a mask limit what it can be: masks that fit nodules of LIDC as well as they can have a Dice of 0.952
over 2 diameters (12 cells to each), 0.962 over 1.75, 0.970 over 1.5. The paper's 32 cells over 2 diameters reach
0.969, but a step takes a processor 1.7 times as long. Over 1.5 a box 20 % too small loses the lesion where it lies more
than a tenth of a diameter beside it, as boxes do; over 1.75 that may be a fifth. Plans without the option keep 2.
"""

BYTES_PER_VOXEL = {3: 1000, 2: 4000}
"""What one patch voxel costs in training, in single precision."""


@dataclass(frozen=True)
class DetectorSettings:
    """What a plan needs to know: see :class:`napari_dasl.training.plan.TrainingPlan`."""

    spacing: Spacing
    patch: Triple
    batch: int
    options: dict[str, Any]
    memory_mb: float


def settle(
    fingerprint: Fingerprint, spatial_dims: int, memory_mb: float, compute: Literal["cpu", "cuda"]
) -> DetectorSettings:
    """The numbers of a detector that works in *spatial_dims* axes, within *memory_mb* of memory.

    Raises
    ------
    ProjectError
        Where no lesion is labelled: nothing says how large the boxes are.
    """
    lesions = fingerprint.lesion_diameters if spatial_dims == 3 else fingerprint.slice_diameters
    if not lesions:
        raise ProjectError(
            "No labelled scan shows a lesion, so the size of the boxes cannot be derived.",
            "Label at least one lesion, then train.",
        )
    voxels = int(min(STEP_VOXELS[spatial_dims, compute], max(memory_mb * 1e6 / BYTES_PER_VOXEL[spatial_dims], 32**3)))
    spacing = grid_spacing(fingerprint.spacings, lesions, spatial_dims, (voxels / 2) ** (1 / spatial_dims))
    patch = patch_size(fingerprint, spacing, spatial_dims, voxels // 2)
    batch = int(np.clip(voxels // int(np.prod(patch)), 2, 16))
    longest = max(patch)
    sizes = cluster_sizes([float(np.clip(d / spacing[1], SHORTEST_ANCHOR, longest)) for d in lesions])
    options: dict[str, Any] = {"spatial_dims": spatial_dims, "anchor_sizes": [round(size, 2) for size in sizes]}
    if spatial_dims == 3:
        options["roi_scale"] = ROI_SCALE
    if spatial_dims == 2 and compute == "cpu":
        options |= SLIM
    return DetectorSettings(
        spacing, patch, batch, options, batch * np.prod(patch) * BYTES_PER_VOXEL[spatial_dims] / 1e6
    )


def grid_spacing(spacings: Sequence[Spacing], lesions: Sequence[float], spatial_dims: int, side: float) -> Spacing:
    """The grid to find lesions on, with the same spacing along every axis in which boxes are cubes.

    It is the geometric mean of the scans' median spacing: as many voxels as they have. Where the smallest lesions
    would then be less than :data:`LESION_VOXELS` across it is finer, at most as fine as the finest axis; where the
    largest would not fit in a patch of *side* voxels it is coarser. Across slices, a network of slices keeps the scans'
    own distance.

    Parameters
    ----------
    spacings : sequence of (z, y, x)
        Of the scans, mm.
    lesions : sequence of float
        Diameters, mm.
    spatial_dims : int
    side : float
        Of the largest patch that can be afforded, voxels.
    """
    median = np.median(np.asarray(spacings, float), axis=0)
    axes = median if spatial_dims == 3 else median[1:]
    small, large = np.percentile(lesions, (10, 95))
    mean = float(np.exp(np.log(axes).mean()))
    step = float(np.clip(small / LESION_VOXELS, axes.min(), mean))
    step = round(max(step, large / (LARGEST_PART * side)), 3)
    return (round(float(median[0]), 4) if spatial_dims == 2 else step, step, step)


def patch_size(fingerprint: Fingerprint, spacing: Spacing, spatial_dims: int, voxels: int) -> Triple:
    """The patch, at most *voxels* large: nine of ten scans fit in it along every axis, or it is cut along its longest.

    Every side but that of a single slice is a multiple of :data:`DIVISOR`.
    """
    grids = [
        network_shape(shape, have, spacing)
        for shape, have in zip(fingerprint.shapes, fingerprint.spacings, strict=True)
    ]
    patch = [max(1, -(-int(n) // DIVISOR)) * DIVISOR for n in np.percentile(grids, 90, axis=0)]
    if spatial_dims == 2:
        patch[0] = 1
    while np.prod(patch) > voxels and max(patch) > 2 * DIVISOR:
        patch[int(np.argmax(patch))] -= DIVISOR
    return (patch[0], patch[1], patch[2])
