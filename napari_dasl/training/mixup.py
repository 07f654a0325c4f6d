"""Mixup of two scans: a patch and the same place of another scan, registered to it, added up by random shares.

Source: Zhang et al., "mixup: beyond empirical risk minimization", ICLR 2018; the affine registration before it is that
of the PET curriculum paper, so that no mixture has two heads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from napari_dasl.training.patches import cut
from napari_dasl.training.registration import between

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_dasl.training.cases import Shape, Spacing
    from napari_dasl.training.prepare import Prepared

ALPHA = 0.4
"""Shares are drawn from Beta(α, α): most mixtures are mainly one of the two."""


@dataclass(frozen=True)
class Partner:
    """The other scan of a mixture: *matrix*, (4, 4), takes voxels of the own scan to its voxels.

    *own* is the share of the own scan, from 0 to 1.
    """

    case: Prepared
    matrix: NDArray[np.float64]
    own: float


def draw_partner(
    cases: Sequence[Prepared], index: int, spacing: Spacing, chance: float, rng: np.random.Generator
) -> Partner | None:
    """With the *chance* another of the *cases* to mix the case *index* with; each has the same chance."""
    if not chance or rng.random() >= chance or len(cases) < 2:
        return None
    other = int(rng.integers(len(cases) - 1))
    other += other >= index
    own = float(rng.beta(ALPHA, ALPHA))
    return Partner(cases[other], between(cases[index], cases[other], spacing), own)


def mixed(
    image: NDArray[np.float32], label: NDArray[Any], first: Shape, partner: Partner
) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Mix a region that begins at voxel *first* of the own scan.

    Returns
    -------
    image : (C, z, y, x) float32
        The sum of both by their shares.
    labels : (2, z, y, x)
        The own label, and the other one at the same places; outside the other scan there is nothing.
    """
    other_image, other_label = _onto(partner, first, (image.shape[1], image.shape[2], image.shape[3]))
    own = np.float32(partner.own)
    return own * image + (1 - own) * other_image, np.stack([label, other_label.astype(label.dtype)])


def shares(labels: NDArray[Any], own: float, classes: int) -> NDArray[np.float32]:
    """The share of each class, (classes, z, y, x), of one or two label maps (n, z, y, x); the first counts *own*."""
    result = np.zeros((classes, *labels.shape[1:]), np.float32)
    for label, share in zip(labels, (own, 1 - own), strict=False):
        for k in range(classes):
            result[k] += np.float32(share) * (label == k)
    return result


def _onto(partner: Partner, first: Shape, size: Shape) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """The other scan and its label at the voxels of a region of the own one; beyond its border the image repeats."""
    linear = partner.matrix[:3, :3]
    begin = linear @ np.asarray(first, float) + partner.matrix[:3, 3]
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in size], indexing="ij")).reshape(3, -1)
    reached = linear @ corners + begin[:, None]
    low = np.floor(reached.min(1)).astype(int)
    extent = np.ceil(reached.max(1)).astype(int) + 1 - low
    start, sides = _triple(low), _triple(extent)
    image = cut(partner.case.image, start, sides).astype(np.float32)
    label = cut(_labels(partner.case), start, sides, (0.0,))
    # Torch counts from -1 to 1 between the outer borders of the outer voxels, and in the order x, y, z.
    have, want = np.asarray(sides, float), np.asarray(size, float)
    theta = np.zeros((3, 4))
    theta[:, :3] = (linear * want / have[:, None])[::-1, ::-1]
    theta[:, 3] = ((2 * (linear @ ((want - 1) / 2) + begin - low) + 1) / have - 1)[::-1]
    grid = functional.affine_grid(torch.from_numpy(theta.astype(np.float32))[None], [1, 1, *size], align_corners=False)
    moved = functional.grid_sample(
        torch.from_numpy(image)[None], grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    drawn = functional.grid_sample(
        torch.from_numpy(label.astype(np.float32))[None, None],
        grid,
        mode="nearest",
        padding_mode="zeros",
        align_corners=False,
    )
    return moved[0].numpy(), drawn[0, 0].numpy()


def _labels(case: Prepared) -> NDArray[Any]:
    return case.label if case.label is not None else np.zeros(case.image.shape[1:], np.uint8)


def _triple(values: NDArray[Any]) -> Shape:
    z, y, x = (int(v) for v in values)
    return (z, y, x)
