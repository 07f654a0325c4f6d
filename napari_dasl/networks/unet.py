"""The residual U-Net: MONAI's, between a strided stem and a head that writes every voxel of a stride by itself."""

from __future__ import annotations

import math
from collections.abc import Sequence  # noqa: TC003

import torch
from monai.networks.nets import UNet
from torch import nn

from napari_dasl.networks.options import check_common, check_counts, level_strides


class ResidualUNet(nn.Module):  # type: ignore[misc]  # torch has no types here
    """Stem, MONAI's residual U-Net, head.

    MONAI's own U-Net strides on the way into its first level and has as many channels as there are classes where it
    comes back, two or three at full resolution: too few to carry a boundary, and not to be normalised in groups. Here
    the U-Net works on the grid of the stem and ends with ``features`` channels; the head's transposed convolution has
    its own filter for each voxel of a stem stride, so that full resolution costs one layer and not half of the step.

    Parameters
    ----------
    stem, body, head : nn.Module
        (N, in, …) to (N, features, … / stride); to the same; to (N, out, …).
    """

    def __init__(self, stem: nn.Module, body: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.stem = stem
        self.body = body
        self.head = head

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (N, out_channels, …) of *image* (N, in_channels, …), whose sides are multiples of the strides."""
        logits: torch.Tensor = self.head(self.body(self.stem(image)))
        return logits


def unet(
    in_channels: int,
    out_channels: int,
    spatial_dims: int = 3,
    *,
    channels: Sequence[int] = (32, 64, 128),
    strides: Sequence[Sequence[int] | int] = (2, 2, 2),
    res_units: int = 2,
    groups: int = 2,
    dropout: float = 0.0,
) -> nn.Module:
    """Build the residual U-Net.

    Parameters
    ----------
    in_channels, out_channels : int
        Series of a case; classes and background.
    spatial_dims : int
        2 or 3.
    channels : sequence of int
        Features of each level, the finest first.
    strides : sequence
        On the way into each level, the first included: ``(1, 2, 2)`` halves rows and columns and keeps the slices. A
        first stride of 1 keeps full resolution throughout, at about four times the cost.
    res_units : int
        Convolutions in each residual block of the encoder.
    groups : int
        Groups of the normalisation. Fewer than the features, because with one group a feature a 1x1x1 bottleneck
        would be normalised to nothing; groups, because torch's instance normalisation is slow in channels-last; and
        two, because the time of its backward pass grows with them there (13 ms with 8 groups, 2.5 ms with 2) and the
        accuracy on the hippocampus does not.
    dropout : float
        How often a value of the deepest resolution is set to 0 while training, from 0 to below 1. It has no parameters,
        so that weights fit a network with any dropout, and at rest it changes nothing.

    Raises
    ------
    ValueError
        Where channels and strides do not belong together, or an option has a value it cannot have.
    """
    check_common(spatial_dims, dropout)
    check_counts(res_units=res_units, channels=channels)
    steps = level_strides(channels, strides, spatial_dims)
    grouping = math.gcd(groups, *channels)
    first = channels[0]
    convolution = nn.Conv3d if spatial_dims == 3 else nn.Conv2d
    transposed = nn.ConvTranspose3d if spatial_dims == 3 else nn.ConvTranspose2d
    # MONAI's last level does not stride: it deepens the level above it, at the same resolution.
    body = UNet(
        spatial_dims=spatial_dims,
        in_channels=first,
        out_channels=first,
        channels=(*channels, channels[-1]),
        strides=((1,) * spatial_dims, *steps[1:]),
        num_res_units=res_units,
        norm=("GROUP", {"num_groups": grouping}),
        act=("LEAKYRELU", {"negative_slope": 0.01, "inplace": True}),
    )
    _drop_deepest(body, dropout)
    stem = convolution(in_channels, first, 3, stride=steps[0], padding=1)
    head = nn.Sequential(
        nn.GroupNorm(grouping, first),
        nn.LeakyReLU(0.01, inplace=True),
        transposed(first, out_channels, steps[0], stride=steps[0]),
    )
    start_even(head[-1])
    return ResidualUNet(stem, body, head)


def _drop_deepest(body: UNet, dropout: float) -> None:
    """Set the dropout of MONAI's last level and of the one above it, which work at the same, deepest resolution.

    MONAI's own setting would drop values at every resolution. Full-resolution maps would then lose what a boundary is
    drawn with, and cost a random number for each voxel.
    """
    level = body.model
    while isinstance(level[1].submodule, nn.Sequential):
        level = level[1].submodule
    for block in (level[0], level[1].submodule):
        for module in block.modules():
            if isinstance(module, nn.Dropout):
                module.p = dropout


def start_even(upsampling: nn.Module) -> None:
    """Give the voxels of one stride the same first filter, so that a network that has learnt little draws no chequers.

    Aitken et al. 2017, "Checkerboard artifact free sub-pixel convolution" (ICNR), for a transposed convolution whose
    kernel is its stride.
    """
    weight: torch.Tensor = upsampling.weight  # type: ignore[assignment]  # (in, out, …stride)
    corner = weight.detach()[(..., *(slice(0, 1) for _ in weight.shape[2:]))].clone()
    with torch.no_grad():
        weight.copy_(corner.expand_as(weight))
