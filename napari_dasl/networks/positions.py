"""Where a token lies in its patch: position embeddings on a grid, carried over to grids of other sizes.

A vision transformer learns one vector for each place of a patch of one size. When the patch grows between the stages of
training (Fischer et al., "Progressive growing of patch size"), or a scan is shorter than a patch, the grid of tokens
is another one, and its vectors are taken from the learnt ones by interpolation along each axis.
"""

from __future__ import annotations

from collections.abc import Sequence  # noqa: TC003

import torch


def axis_weights(source: int, target: int) -> torch.Tensor:
    """What each of *target* equal parts of an axis takes of each of *source* equal parts; rows sum to 1.

    A finer axis is interpolated linearly between the centres of the parts and constant beyond the outer ones. A coarser
    one takes the mean over what each part covers, so that every learnt vector counts, and every one is learnt.

    Parameters
    ----------
    source, target : int
        How many parts, at least 1.

    Returns
    -------
    torch.Tensor
        (target, source) float32.
    """
    if target < source:
        edges = torch.arange(target + 1, dtype=torch.float64) * (source / target)
        cells = torch.arange(source, dtype=torch.float64)
        covered = torch.minimum(edges[1:, None], cells + 1) - torch.maximum(edges[:-1, None], cells)
        covered = covered.clamp(min=0)
        return (covered / covered.sum(1, keepdim=True)).float()
    place = ((torch.arange(target, dtype=torch.float64) + 0.5) * (source / target) - 0.5).clamp(0, source - 1)
    distance = (place[:, None] - torch.arange(source, dtype=torch.float64)).abs()
    return (1 - distance).clamp(min=0).float()


def resample(positions: torch.Tensor, source: Sequence[int], target: Sequence[int]) -> torch.Tensor:
    """Position embeddings of another grid; the same tensor where the grid is the same.

    Matrix products along each axis: unlike torch's interpolation, their gradient is deterministic on a GPU too.

    Parameters
    ----------
    positions : torch.Tensor
        (1, tokens of *source*, F), the last axis of the grid running fastest.
    source, target : sequence of int
        Tokens along each axis.

    Returns
    -------
    torch.Tensor
        (1, tokens of *target*, F).
    """
    if tuple(source) == tuple(target):
        return positions
    # In single precision also under autocast: these are few numbers, and steps of the optimiser are small.
    with torch.autocast(positions.device.type, enabled=False):
        grid = positions.reshape(*source, positions.shape[-1])
        for axis, (have, want) in enumerate(zip(source, target, strict=True)):
            if have != want:
                weights = axis_weights(have, want).to(grid)
                grid = torch.tensordot(weights, grid, dims=([1], [axis])).movedim(0, axis)
        return grid.reshape(1, -1, positions.shape[-1])
