"""Encoders and decoders of the region networks: an image in, a pyramid for boxes and a full-resolution map for masks.

``dense`` is the encoder of Nodule R-CNN (Wang et al. 2018, "Deep active self-paced learning for accurate pulmonary
nodule segmentation"): three blocks of densely joined convolutions, growth 12, and a decoder with lateral connections
and deconvolutions back to the resolution of the image. ``resnet50`` is that of Mask R-CNN (He et al. 2017): ResNet-50
with a feature pyramid (Lin et al. 2017), both of MONAI's blocks.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence  # noqa: TC003
from typing import NamedTuple

import torch
from monai.networks.blocks.feature_pyramid_network import FeaturePyramidNetwork
from monai.networks.nets.resnet import ResNetBottleneck
from torch import nn

from napari_dasl.networks.unet import start_even

GROUPS = 2
"""Groups of every normalisation; few, because torch's backward pass in channels-last grows with them (see unet.py)."""


class Pyramid(NamedTuple):
    """What a backbone makes of an image.

    Attributes
    ----------
    levels : list of torch.Tensor
        (N, width, … / stride), the finest first; boxes are found on the first, and refined from all of them.
    fine : torch.Tensor
        (N, features, …) at the resolution of the image; masks are drawn from it.
    """

    levels: list[torch.Tensor]
    fine: torch.Tensor


def convolution(
    spatial_dims: int, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, *, groups: int = GROUPS
) -> nn.Sequential:
    """A convolution, its normalisation in groups, and a leaky rectifier."""
    kind = nn.Conv3d if spatial_dims == 3 else nn.Conv2d
    return nn.Sequential(
        kind(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.GroupNorm(groups, outputs),
        nn.LeakyReLU(0.01, inplace=True),
    )


def deconvolution(spatial_dims: int, inputs: int, outputs: int, stride: int = 2) -> nn.Module:
    """A transposed convolution whose kernel is its stride, begun without chequers."""
    kind = nn.ConvTranspose3d if spatial_dims == 3 else nn.ConvTranspose2d
    layer: nn.Module = kind(inputs, outputs, stride, stride=stride)
    start_even(layer)
    return layer


class DenseBlock(nn.Module):  # type: ignore[misc]  # torch has no types here
    """Convolutions each of which sees what all before it made (Huang et al. 2017), normalised once, where it is made.

    The original normalises all that came before ahead of each convolution. Normalising each new feature once instead
    costs a growth, and not the whole pile, a layer, and the pile is what is dear on a processor.
    """

    def __init__(self, spatial_dims: int, inputs: int, growth: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(convolution(spatial_dims, inputs + i * growth, growth) for i in range(layers))
        self.drop = nn.Dropout(dropout)
        self.outputs = inputs + layers * growth

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(N, inputs + layers * growth, …) of (N, inputs, …): the input, and what each layer added."""
        for layer in self.layers:
            features = torch.cat((features, self.drop(layer(features))), dim=1)
        return features


class FineDecoder(nn.Module):  # type: ignore[misc]  # torch has no types here
    """From the finest level of the pyramid back to the image: two deconvolutions, with the stem and the image beside.

    Half resolution carries most of the work. At full resolution there are few features: every layer there costs as
    much as eight at half, and what it adds is where exactly a boundary lies.
    """

    def __init__(self, spatial_dims: int, in_channels: int, stem: int, width: int, half: int, features: int) -> None:
        super().__init__()
        self.up_half = deconvolution(spatial_dims, width, half)
        self.lateral_half = convolution(spatial_dims, stem, half, 1)
        self.mix_half = convolution(spatial_dims, half, half)
        self.up_full = deconvolution(spatial_dims, half, features)
        # Not normalised by itself: at full resolution that costs as much as a convolution.
        self.lateral_full = (nn.Conv3d if spatial_dims == 3 else nn.Conv2d)(in_channels, features, 3, padding=1)
        self.join = nn.LeakyReLU(0.01, inplace=True)
        self.mix_full = convolution(spatial_dims, features, features)

    def forward(self, image: torch.Tensor, stem: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        """(N, features, …) of the image, the stem's features at half, and the pyramid's at a quarter of it."""
        half = self.mix_half(self.up_half(level) + self.lateral_half(stem))
        fine: torch.Tensor = self.mix_full(self.join(self.up_full(half) + self.lateral_full(image)))
        return fine


class DenseBackbone(nn.Module):  # type: ignore[misc]  # torch has no types here
    """Stem, three dense blocks at strides 4, 8 and 16, and the way back."""

    strides = (4,)
    divisor = 16

    def __init__(
        self,
        in_channels: int,
        spatial_dims: int = 3,
        *,
        growth: int = 12,
        blocks: Sequence[int] = (4, 4, 4),
        stem: int = 24,
        width: int = 48,
        features: int = 16,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if len(blocks) != 3 or min(blocks) < 1 or min(growth, stem, width, features) < 2 * GROUPS:
            raise ValueError(
                f"blocks must be 3 numbers of at least 1, and growth, stem, width and features at least {2 * GROUPS}"
            )
        if any(size % GROUPS for size in (growth, stem, width, features)):
            raise ValueError(f"growth, stem, width and features must be multiples of {GROUPS}")
        dims = spatial_dims
        self.width, self.features = width, features
        self.stem = nn.Sequential(convolution(dims, in_channels, stem, stride=2), convolution(dims, stem, stem))
        self.downs, self.blocks, self.laterals = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        inputs = stem
        for layers in blocks:
            self.downs.append(convolution(dims, inputs, width, stride=2))
            block = DenseBlock(dims, width, growth, layers, dropout)
            self.blocks.append(block)
            self.laterals.append(convolution(dims, block.outputs, width, 1))
            inputs = block.outputs
        self.ups = nn.ModuleList(deconvolution(dims, width, width) for _ in blocks[1:])
        self.mixes = nn.ModuleList(convolution(dims, width, width) for _ in blocks[1:])
        self.decoder = FineDecoder(dims, in_channels, stem, width, max(stem, features), features)

    def forward(self, image: torch.Tensor) -> Pyramid:
        """The pyramid of *image* (N, C, …), whose sides are multiples of 16: one level, of stride 4."""
        stem = deep = self.stem(image)
        sides = []
        for down, block, lateral in zip(self.downs, self.blocks, self.laterals, strict=True):
            deep = block(down(deep))
            sides.append(lateral(deep))
        level = sides.pop()
        for up, mix in zip(self.ups, self.mixes, strict=True):
            level = mix(up(level) + sides.pop())
        return Pyramid([level], self.decoder(image, stem, level))


class ResNetBackbone(nn.Module):  # type: ignore[misc]  # torch has no types here
    """ResNet-50's bottlenecks (MONAI's), normalised in groups, under MONAI's feature pyramid.

    Batches of patches are small, and a batch norm of two patches of one scan knows little (Wu and He 2018).
    """

    strides = (4, 8, 16, 32)
    divisor = 16

    def __init__(
        self,
        in_channels: int,
        spatial_dims: int = 3,
        *,
        layers: Sequence[int] = (3, 4, 6, 3),
        planes: int = 64,
        width: int = 128,
        features: int = 16,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if len(layers) != 4 or min(layers) < 1 or min(planes, width, features) < 2 * GROUPS:
            raise ValueError(
                f"layers must be four numbers of at least 1, and planes, width and features at least {2 * GROUPS}"
            )
        if any(size % GROUPS for size in (planes, width, features)):
            raise ValueError(f"planes, width and features must be multiples of {GROUPS}")
        dims = spatial_dims
        self.width, self.features = width, features
        self.stem = convolution(dims, in_channels, planes, 7, stride=2)
        pool = nn.MaxPool3d if dims == 3 else nn.MaxPool2d
        self.pool = pool(3, stride=2, padding=1)
        self.stages = nn.ModuleList()
        inputs, outputs = planes, []
        for i, depth in enumerate(layers):
            self.stages.append(_bottlenecks(dims, inputs, planes * 2**i, depth, stride=1 if i == 0 else 2))
            inputs = planes * 2**i * ResNetBottleneck.expansion
            outputs.append(inputs)
        self.drop = nn.Dropout(dropout)
        self.pyramid = FeaturePyramidNetwork(dims, outputs, width)
        self.decoder = FineDecoder(dims, in_channels, planes, width, max(32, features), features)

    def forward(self, image: torch.Tensor) -> Pyramid:
        """The pyramid of *image* (N, C, …), whose sides are multiples of 16: levels of stride 4, 8, 16 and 32."""
        stem = self.stem(image)
        deep, found = self.pool(stem), OrderedDict()
        for i, stage in enumerate(self.stages):
            deep = stage(deep)
            found[str(i)] = self.drop(deep) if i + 1 == len(self.stages) else deep
        levels = list(self.pyramid(found).values())
        return Pyramid(levels, self.decoder(image, stem, levels[0]))


def _bottlenecks(spatial_dims: int, inputs: int, planes: int, depth: int, stride: int) -> nn.Sequential:
    """One stage of a ResNet: *depth* bottlenecks, the first of which strides and widens."""
    norm = ("group", {"num_groups": GROUPS})
    kind = nn.Conv3d if spatial_dims == 3 else nn.Conv2d
    outputs = planes * ResNetBottleneck.expansion
    widen = nn.Sequential(kind(inputs, outputs, 1, stride=stride, bias=False), nn.GroupNorm(GROUPS, outputs))
    first = ResNetBottleneck(inputs, planes, spatial_dims, stride, widen, norm=norm)
    rest = (ResNetBottleneck(outputs, planes, spatial_dims, norm=norm) for _ in range(depth - 1))
    return nn.Sequential(first, *rest)


BACKBONES: dict[str, type[nn.Module]] = {"dense": DenseBackbone, "resnet50": ResNetBackbone}
"""The choices of the option ``backbone``; each has ``strides``, ``divisor``, ``width`` and ``features``."""
