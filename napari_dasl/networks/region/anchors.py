"""Anchors: the boxes that a region network corrects, of every size around every cell of its detection grid.

MONAI's generator rounds their sides to even numbers of voxels: a nodule of 5 voxels then meets an anchor that overlaps
it by 0.51 at best. These are not rounded.
"""

from __future__ import annotations

from collections.abc import Sequence  # noqa: TC003

import torch

from napari_dasl.networks.region.sizes import cluster_sizes


def anchor_cubes(
    shape: Sequence[int], stride: int, sizes: Sequence[float], device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Anchors of one detection level.

    Parameters
    ----------
    shape : sequence of D int
        Voxels of the patch, each a multiple of *stride*.
    stride : int
        Voxels of the patch for each cell of the level.
    sizes : sequence of float
        Diameters, in voxels.
    device : torch device

    Returns
    -------
    float32 tensor (A, D + 1)
        A = cells × sizes. Cells in the order of ``reshape`` (last axis fastest), the sizes of a cell side by side; each
        anchor is centred on its cell.

    Raises
    ------
    ValueError
        Where the stride does not divide the shape.
    """
    if any(side % stride for side in shape):
        raise ValueError(f"a patch of {tuple(shape)} voxels has no whole number of cells of {stride}")
    axes = [(torch.arange(side // stride, device=device, dtype=torch.float32) + 0.5) * stride for side in shape]
    centres = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(-1, len(axes))
    diameters = torch.tensor(sizes, device=device, dtype=torch.float32)
    return torch.cat((centres.repeat_interleave(len(diameters), 0), diameters.repeat(len(centres))[:, None]), dim=1)


__all__ = ["anchor_cubes", "cluster_sizes"]
