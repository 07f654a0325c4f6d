"""The heads of a region network: boxes from the pyramid's finest level, masks and better boxes from regions."""

from __future__ import annotations

import math
from collections.abc import Sequence  # noqa: TC003

import torch
from torch import nn

from napari_dasl.networks.region.backbones import convolution
from napari_dasl.networks.region.boxes import to_corners
from napari_dasl.networks.region.roi import POOLINGS

PRIOR = 0.01
"""What an anchor that has learnt nothing says of a lesion: the bias of Lin et al. 2017 ("Focal loss", section 3.3).

From 0.5, tens of thousands of background anchors would fill the first steps."""


def prior_bias(probability: float) -> float:
    """The logit of *probability*."""
    return math.log(probability / (1 - probability))


def _last(spatial_dims: int, inputs: int, outputs: int, std: float) -> nn.Module:
    """A convolution of one voxel whose weights begin small and whose bias begins at 0."""
    layer: nn.Module = (nn.Conv3d if spatial_dims == 3 else nn.Conv2d)(inputs, outputs, 1)
    nn.init.normal_(layer.weight, std=std)
    nn.init.zeros_(layer.bias)
    return layer


class AnchorHead(nn.Module):  # type: ignore[misc]  # torch has no types here
    """For each anchor of each cell K class logits and D + 1 numbers of its box."""

    def __init__(self, spatial_dims: int, width: int, anchors: int, classes: int) -> None:
        super().__init__()
        self.anchors = anchors
        self.tower = convolution(spatial_dims, width, width)
        self.score = _last(spatial_dims, width, anchors * classes, 0.01)
        nn.init.constant_(self.score.bias, prior_bias(PRIOR))
        self.box = _last(spatial_dims, width, anchors * (spatial_dims + 1), 0.01)

    def forward(self, level: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (N, A, K) and deltas (N, A, D + 1) of *level* (N, width, cells…), in the order of the anchors."""
        seen = self.tower(level)
        return self._flat(self.score(seen)), self._flat(self.box(seen))

    def _flat(self, values: torch.Tensor) -> torch.Tensor:
        """(N, cells × anchors, numbers) of (N, anchors × numbers, cells…)."""
        numbers = values.shape[1] // self.anchors
        return values.movedim(1, -1).reshape(len(values), -1, numbers)


class MaskHead(nn.Module):  # type: ignore[misc]  # torch has no types here
    """A small fully convolutional net on the features of a region: K mask logits for each cell of its grid.

    It is told how far each cell lies from the middle of the region, for a lesion is in the middle of its own region and
    at the border of its neighbour's. It adds to what the semantic head says of the same features: telling lesion
    from background is learnt from every voxel, and only telling this lesion from the next one from regions.
    """

    def __init__(
        self, spatial_dims: int, features: int, classes: int, size: int, layers: int, pooling: str = "align"
    ) -> None:
        super().__init__()
        self.size, self.pool = size, POOLINGS[pooling]
        inputs = (features + 1, *(features for _ in range(layers - 1)))
        kind = nn.Conv3d if spatial_dims == 3 else nn.Conv2d
        # Not normalised: that costs a twentieth of a step, and masks of lung nodules were learnt no better by it.
        self.tower = nn.Sequential(
            *(nn.Sequential(kind(i, features, 3, padding=1), nn.LeakyReLU(0.01, inplace=True)) for i in inputs)
        )
        self.last = _last(spatial_dims, features, classes, 0.0)
        axes = [(torch.arange(size) + 0.5) / size * 2 - 1] * spatial_dims
        radius = torch.stack(torch.meshgrid(*axes, indexing="ij")).square().sum(0).sqrt()
        self.register_buffer("radius", radius[None, None], persistent=False)

    def forward(
        self, fine: torch.Tensor, cubes: torch.Tensor, image_index: torch.Tensor, semantic: nn.Module | None
    ) -> torch.Tensor:
        """Logits (R, K, size…) of the regions *cubes* (R, D + 1) of *fine* (N, features, …)."""
        pooled = self.pool(fine, to_corners(cubes), image_index, self.size)
        radius: torch.Tensor = self.radius.to(pooled).expand(len(pooled), *self.radius.shape[1:])  # type: ignore[operator,union-attr]
        logits: torch.Tensor = self.last(self.tower(torch.cat((pooled, radius), dim=1)))
        if semantic is not None:
            said = semantic(pooled)
            logits = logits + said[:, 1:] - said[:, :1]
        return logits


class RefineHead(nn.Module):  # type: ignore[misc]  # torch has no types here
    """The second stage of a two-stage detector: K class logits and D + 1 box numbers from the pooled pyramid.

    A region is pooled from the level on which it covers about as many cells as the pooled grid has (Lin et al. 2017,
    "Feature pyramid networks", equation 1).
    """

    def __init__(
        self,
        spatial_dims: int,
        width: int,
        classes: int,
        strides: Sequence[int],
        size: int,
        hidden: int,
        pooling: str = "align",
    ) -> None:
        super().__init__()
        self.size, self.strides, self.pool = size, tuple(strides), POOLINGS[pooling]
        # Not normalised: within one region that would make the faintest noise as strong as a lesion.
        kind = nn.Conv3d if spatial_dims == 3 else nn.Conv2d
        self.tower = nn.Sequential(kind(width, width, 3, padding=1), nn.LeakyReLU(0.01, inplace=True))
        self.hidden = nn.Sequential(
            nn.Flatten(), nn.Linear(width * size**spatial_dims, hidden), nn.LeakyReLU(0.01, inplace=True)
        )
        self.score = nn.Linear(hidden, classes)
        self.box = nn.Linear(hidden, spatial_dims + 1)
        for layer in (self.score, self.box):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)
        # A third of the regions that it learns from hold a lesion.
        nn.init.constant_(self.score.bias, prior_bias(0.25))

    def forward(
        self, levels: Sequence[torch.Tensor], cubes: torch.Tensor, image_index: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Class logits (R, K) and deltas (R, D + 1) of the regions *cubes* (R, D + 1)."""
        corners, chosen = to_corners(cubes), self.level(cubes[:, -1])
        pooled = levels[0].new_zeros((len(cubes), levels[0].shape[1], *(self.size,) * (cubes.shape[1] - 1)))
        for i, (level, stride) in enumerate(zip(levels, self.strides, strict=True)):
            rows = torch.nonzero(chosen == i)[:, 0]
            if len(rows):
                found = self.pool(level, corners[rows] / stride, image_index[rows], self.size)
                pooled = pooled.index_put((rows,), found.to(pooled.dtype))
        seen = self.hidden(self.tower(pooled))
        return self.score(seen), self.box(seen)

    def level(self, sides: torch.Tensor) -> torch.Tensor:
        """Which level regions of these *sides* (R,), in voxels, are pooled from."""
        wanted = torch.log2(sides.clamp(min=1e-3) / (self.strides[0] * self.size)).floor()
        return wanted.clamp(0, len(self.strides) - 1).long()
