"""Networks by name: ``build("unet", in_channels=1, out_channels=2, …)``.

Every network takes (N, C, z, y, x) or, with ``spatial_dims=2``, (N, C, y, x), and answers logits of the same size with
the background first. Sides must be multiples of the network's strides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from napari_dasl.errors import ProjectError
from napari_dasl.networks.unet import unet

Builder = Callable[..., nn.Module]

_REGISTRY: dict[str, Builder] = {"unet": unet}


def names() -> tuple[str, ...]:
    """The networks there are."""
    return tuple(_REGISTRY)


def build(name: str, in_channels: int, out_channels: int, spatial_dims: int = 3, **options: Any) -> nn.Module:
    """Build the network *name* with random weights from torch's current random state.

    Raises
    ------
    ProjectError
        Where there is no such network, or it does not take an option.
    """
    if name not in _REGISTRY:
        raise ProjectError(f"There is no network named {name!r}.", f"Choose one of: {', '.join(names())}.")
    try:
        return _REGISTRY[name](in_channels, out_channels, spatial_dims=spatial_dims, **options)
    except (TypeError, ValueError) as error:
        raise ProjectError(
            f"The network {name} cannot be built with the options {options}: {error}.",
            "Correct network_options in the training plan.",
        ) from error


__all__ = ["build", "names"]
