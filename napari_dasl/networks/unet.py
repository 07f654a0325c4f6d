"""The residual U-Net: MONAI's, with full resolution kept at the top and a normalisation that keeps the fast layout."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from monai.networks.nets import UNet
from torch import nn


class ResidualUNet(nn.Module):  # type: ignore[misc]  # torch is untyped for mypy here
    """MONAI's residual U-Net and a 1x1x1 head.

    MONAI's own last layers have as many channels as there are classes, which is two or three at full resolution, and
    cannot be normalised in groups. Here the body ends with ``channels[0]`` features and the head maps them to classes.

    Parameters
    ----------
    body : nn.Module
        (N, C, …) to (N, features, …) of the same size.
    features : int
        Channels that the body ends with.
    out_channels : int
        Classes and background.
    groups : int
        Groups of the normalisation before the head.
    spatial_dims : int
        2 or 3.
    """

    def __init__(self, body: nn.Module, features: int, out_channels: int, groups: int, spatial_dims: int) -> None:
        super().__init__()
        convolution = nn.Conv3d if spatial_dims == 3 else nn.Conv2d
        self.body = body
        self.head = nn.Sequential(
            nn.GroupNorm(groups, features), nn.LeakyReLU(0.01, inplace=True), convolution(features, out_channels, 1)
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (N, out_channels, …) of *image* (N, in_channels, …)."""
        logits: torch.Tensor = self.head(self.body(image))
        return logits


def unet(
    in_channels: int,
    out_channels: int,
    spatial_dims: int = 3,
    *,
    channels: Sequence[int] = (16, 32, 64, 128),
    strides: Sequence[Sequence[int] | int] = (1, 2, 2, 2),
    res_units: int = 2,
    groups: int = 8,
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
        Of each level, the first included: 1 keeps full resolution, ``(1, 2, 2)`` halves rows and columns alone.
    res_units : int
        Convolutions in each residual block of the encoder.
    groups : int
        Groups of the normalisation. Fewer than the features, because with one group a feature a 1x1x1 bottleneck
        would be normalised to nothing; and groups, because torch's instance normalisation is slow in channels-last.
    """
    if len(channels) != len(strides) or not channels:
        raise ValueError(f"{len(channels)} channels for {len(strides)} strides; give one stride per level")
    if res_units < 1:
        raise ValueError("res_units must be at least 1")
    steps = [tuple(s) if isinstance(s, Sequence) else (s,) * spatial_dims for s in strides]
    if any(len(s) != spatial_dims for s in steps):
        raise ValueError(f"every stride must have {spatial_dims} numbers")
    grouping = math.gcd(groups, *channels)
    # MONAI strides on the way into every level but its last, which works at the resolution of the one above it.
    body = UNet(
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        out_channels=channels[0],
        channels=(*channels, channels[-1]),
        strides=tuple(steps),
        num_res_units=res_units,
        norm=("GROUP", {"num_groups": grouping}),
        act=("LEAKYRELU", {"negative_slope": 0.01, "inplace": True}),
    )
    return ResidualUNet(body, channels[0], out_channels, grouping, spatial_dims)
