"""Networks by name: ``build("unet", in_channels=1, out_channels=2, …)``.

Every network takes (N, C, z, y, x) or, with ``spatial_dims=2``, (N, C, y, x), sides being multiples of what
:func:`patch_divisor` says. A detector answers a :class:`~napari_dasl.networks.region.network.RegionOutput`, every other
network logits of the same size with the background first; :mod:`~napari_dasl.networks.families` says which is which.
torch is imported when a network is built, so that the names can be read without it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from napari_dasl.errors import ProjectError
from napari_dasl.networks.families import FAMILIES, Family, family, patch_divisor

if TYPE_CHECKING:
    from torch import nn

# Where each family is built: the module below this package, its function, and the options that make the family.
_BUILDERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "unet": ("unet", "unet", {}),
    "nodule-rcnn": ("region.network", "region_network", {"backbone": "dense", "refine": False}),
    "mask-rcnn": ("region.network", "region_network", {"backbone": "resnet50", "refine": True}),
    "residual-se-unet": ("residual_se", "residual_se_unet", {}),
    "unetr": ("transformers", "unetr", {}),
    "swin-unetr": ("transformers", "swin_unetr", {}),
    "unet-2d": ("unet", "unet", {"channels": (32, 64, 128, 256, 512), "strides": (1, 2, 2, 2, 2)}),
}


def names() -> tuple[str, ...]:
    """The networks there are."""
    return tuple(_BUILDERS)


def build(name: str, in_channels: int, out_channels: int, spatial_dims: int | None = None, **options: Any) -> nn.Module:
    """Build the network *name* with random weights from torch's current random state.

    Parameters
    ----------
    name : str
        One of :func:`names`.
    in_channels, out_channels : int
        Series of a case; classes and background.
    spatial_dims : int, optional
        2 or 3; the family's own where not given.
    **options
        Of the network, before those of the family.

    Raises
    ------
    ProjectError
        Where there is no such network, or it does not take an option.
    """
    chosen = family(name)
    module, function, defaults = _BUILDERS[name]
    try:
        builder = getattr(import_module(f"{__name__}.{module}"), function)
        dims = chosen.spatial_dims if spatial_dims is None else spatial_dims
        network: nn.Module = builder(in_channels, out_channels, spatial_dims=dims, **{**defaults, **options})
    except (TypeError, ValueError) as error:
        raise ProjectError(
            f"The network {name} cannot be built with the options {options}: {error}.",
            "Correct network_options in the training plan.",
        ) from error
    return network


__all__ = ["FAMILIES", "Family", "build", "family", "names", "patch_divisor"]
