"""Squeeze and excitation: feature maps weighed by what the whole image says, as a layer and as a normalisation."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from napari_dasl.networks.by_feature import FeatureNorm

Join = Literal["max", "sum"]
JOINS: tuple[Join, ...] = ("max", "sum")


def _everywhere(image: torch.Tensor) -> torch.Tensor:
    """The mean of each feature over the image: (N, F, …) to (N, F), by ``mean``, whose gradient is deterministic."""
    return image.flatten(2).mean(2)


def _spread(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """(N, F) as (N, F, 1, …), to multiply or add to *like* (N, F, …)."""
    return values.reshape(*values.shape, *(1 for _ in like.shape[2:]))


def _two_layers(channels: int, ratio: int) -> nn.Sequential:
    narrow = max(1, channels // ratio)
    return nn.Sequential(nn.Linear(channels, narrow), nn.ReLU(), nn.Linear(narrow, channels))


class ConcurrentSE(nn.Module):  # type: ignore[misc]  # torch has no types here
    r"""Concurrent spatial and channel squeeze and excitation (scSE; Roy et al., IEEE TMI 2019).

    With the mean over the image :math:`\bar x`, the two weighted copies of :math:`x`,

    .. math:: x\,\sigma(W_2\,\mathrm{relu}(W_1 \bar x)) \quad\text{and}\quad x\,\sigma(w \cdot x + b),

    weigh its features and its places; the greater of both (the better variant of the paper), or their sum, goes on.

    Parameters
    ----------
    channels, spatial_dims : int
        Of the image (N, channels, …).
    ratio : int
        How much narrower the layer between :math:`W_1` and :math:`W_2` is.
    join : {"max", "sum"}
        What is done with the two copies.
    """

    def __init__(self, channels: int, spatial_dims: int, ratio: int = 2, join: Join = "max") -> None:
        super().__init__()
        self.join = join
        self.features = _two_layers(channels, ratio)
        self.places = (nn.Conv3d if spatial_dims == 3 else nn.Conv2d)(channels, 1, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """*image* (N, channels, …), weighed."""
        by_feature = image * _spread(torch.sigmoid(self.features(_everywhere(image))), image)
        by_place = image * torch.sigmoid(self.places(image))
        return torch.maximum(by_feature, by_place) if self.join == "max" else by_feature + by_place


class SENorm(nn.Module):  # type: ignore[misc]
    r"""Squeeze-and-excitation normalisation (Iantsen et al., HECKTOR 2020).

    .. math:: y = \sigma(W_2\,\mathrm{relu}(W_1 \bar x))\;\mathrm{IN}(x) + \tanh(W_4\,\mathrm{relu}(W_3 \bar x))

    IN, the instance normalisation, makes 0 of an image of one voxel; the second summand still tells images apart there.

    Parameters
    ----------
    channels : int
        Of the image (N, channels, …).
    ratio : int
        How much narrower the layers in between are.
    """

    def __init__(self, channels: int, ratio: int = 2) -> None:
        super().__init__()
        self.normal = FeatureNorm(channels)
        self.scale = _two_layers(channels, ratio)
        self.shift = _two_layers(channels, ratio)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """*image* (N, channels, …), normalised."""
        mean = _everywhere(image)
        scale, shift = torch.sigmoid(self.scale(mean)), torch.tanh(self.shift(mean))
        return _spread(scale, image) * self.normal(image) + _spread(shift, image)
