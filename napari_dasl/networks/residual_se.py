"""The residual U-Net with squeeze and excitation of the PET curriculum paper, every resampling of it learnt.

Residual blocks of 3×3×3 convolution, batch normalisation and ReLU, each followed by concurrent spatial and channel
squeeze and excitation; strided convolutions on the way down, 3×3×3 transposed convolutions on the way up. The paper
names no widths and no number of levels: the defaults are those of the HECKTOR networks that it builds on (24 features,
five levels; Iantsen et al. 2020).
"""

from __future__ import annotations

import math
from collections.abc import Sequence  # noqa: TC003
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import nn

from napari_dasl.networks.options import check_common, check_counts, level_strides
from napari_dasl.networks.squeeze import JOINS, ConcurrentSE, Join, SENorm
from napari_dasl.networks.unet import start_even

Norm = Literal["batch", "group", "se"]
NORMS: tuple[Norm, ...] = ("batch", "group", "se")

LARGEST_STRIDE = 3
"""Of a 3×3×3 transposed convolution: with a greater one it would leave voxels out."""


@dataclass(frozen=True)
class _Style:
    """What all blocks of one network share."""

    spatial_dims: int
    norm: Norm
    groups: int
    res_units: int
    squeeze: Join | None
    ratio: int

    def normal(self, channels: int) -> nn.Module:
        if self.norm == "se":
            return SENorm(channels, self.ratio)
        if self.norm == "group":
            return nn.GroupNorm(math.gcd(self.groups, channels), channels)
        return nn.BatchNorm3d(channels) if self.spatial_dims == 3 else nn.BatchNorm2d(channels)

    def unit(self, before: int, after: int, kernel: int = 3, stride: Sequence[int] | int = 1) -> nn.Sequential:
        """Convolution, normalisation, ReLU; with SE norm the ReLU goes first, as published."""
        kind = nn.Conv3d if self.spatial_dims == 3 else nn.Conv2d
        # What follows has a shift of its own, except that a ReLU before SE norm needs one.
        convolution = kind(before, after, kernel, stride, padding=kernel // 2, bias=self.norm == "se")
        if self.norm == "se":
            return nn.Sequential(convolution, nn.ReLU(inplace=True), self.normal(after))
        return nn.Sequential(convolution, self.normal(after), nn.ReLU(inplace=True))


class ResidualBlock(nn.Module):  # type: ignore[misc]  # torch has no types here
    """Units around which the image also passes unchanged, or through a 1×1×1 unit where the features change."""

    def __init__(self, before: int, after: int, style: _Style) -> None:
        super().__init__()
        widths = [before] + [after] * style.res_units
        self.units = nn.Sequential(*(style.unit(a, b) for a, b in pairwise(widths)))
        self.around = nn.Identity() if before == after else style.unit(before, after, kernel=1)
        self.squeeze = (
            nn.Identity()
            if style.squeeze is None
            else ConcurrentSE(after, style.spatial_dims, style.ratio, style.squeeze)
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(N, before, …) to (N, after, …)."""
        weighed: torch.Tensor = self.squeeze(self.around(image) + self.units(image))
        return weighed


class ResidualSEUNet(nn.Module):  # type: ignore[misc]
    """See :func:`residual_se_unet`, whose arguments these are, checked."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int],
        steps: Sequence[tuple[int, ...]],
        style: _Style,
        dropout: float,
    ) -> None:
        super().__init__()
        transposed = nn.ConvTranspose3d if style.spatial_dims == 3 else nn.ConvTranspose2d
        before = (in_channels, *channels[:-1])
        self.down = nn.ModuleList(
            nn.Sequential(style.unit(a, b, stride=step), ResidualBlock(b, b, style))
            for a, b, step in zip(before, channels, steps, strict=True)
        )
        self.dropout = nn.Dropout(dropout)
        self.up = nn.ModuleList()
        self.joined = nn.ModuleList()
        for fine, coarse, step in zip(channels[-2::-1], channels[:0:-1], steps[:0:-1], strict=True):
            self.up.append(transposed(coarse, fine, 3, step, padding=1, output_padding=[s - 1 for s in step]))
            self.joined.append(ResidualBlock(2 * fine, fine, style))
        # Voxels of a first stride have filters of their own: full resolution then costs one layer.
        self.head = transposed(channels[0], out_channels, steps[0], stride=steps[0])
        start_even(self.head)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (N, out_channels, …) of *image* (N, in_channels, …), whose sides are multiples of the strides."""
        levels: list[torch.Tensor] = []
        for down in self.down:
            image = down(image)
            levels.append(image)
        image = self.dropout(levels.pop())
        for up, joined in zip(self.up, self.joined, strict=True):
            image = joined(torch.cat((up(image), levels.pop()), dim=1))
        logits: torch.Tensor = self.head(image)
        return logits


def residual_se_unet(
    in_channels: int,
    out_channels: int,
    spatial_dims: int = 3,
    *,
    channels: Sequence[int] = (24, 48, 96, 192, 384),
    strides: Sequence[Sequence[int] | int] = (1, 2, 2, 2, 2),
    res_units: int = 2,
    norm: Norm = "batch",
    groups: int = 2,
    squeeze: Join | Literal["none"] = "max",
    ratio: int = 2,
    dropout: float = 0.0,
) -> nn.Module:
    """Build the residual U-Net with squeeze and excitation.

    Parameters
    ----------
    in_channels, out_channels : int
        Series of a case; classes and background.
    spatial_dims : int
        2 or 3.
    channels : sequence of int
        Features of each level, the finest first.
    strides : sequence
        On the way into each level, the first included, from 1 to :data:`LARGEST_STRIDE`; a first stride of 1 keeps
        full resolution throughout.
    res_units : int
        Convolutions in each residual block.
    norm : {"batch", "group", "se"}
        Batch normalisation as in the paper; in groups, for batches of one patch; or SE norm
        (:class:`~napari_dasl.networks.squeeze.SENorm`), the other reading of the paper's figure. While training, batch
        normalisation needs more than one voxel in all images of a batch together, at the deepest resolution too.
    groups : int
        Of ``norm="group"``.
    squeeze : {"max", "sum", "none"}
        How the two halves of scSE are joined after each block, or no scSE.
    ratio : int
        By how much squeeze and excitation narrow.
    dropout : float
        How often a value of the deepest resolution is set to 0 while training, from 0 to below 1.

    Raises
    ------
    ValueError
        Where channels and strides do not belong together, or an option has a value it cannot have.
    """
    check_common(spatial_dims, dropout)
    check_counts(res_units=res_units, channels=channels, groups=groups, ratio=ratio)
    if norm not in NORMS:
        raise ValueError(f"norm is {norm!r}, and must be one of {', '.join(NORMS)}")
    if squeeze not in (*JOINS, "none"):
        raise ValueError(f"squeeze is {squeeze!r}, and must be one of {', '.join(JOINS)}, none")
    steps = level_strides(channels, strides, spatial_dims, LARGEST_STRIDE)
    style = _Style(spatial_dims, norm, groups, res_units, None if squeeze == "none" else squeeze, ratio)
    return ResidualSEUNet(in_channels, out_channels, list(channels), steps, style, dropout)
