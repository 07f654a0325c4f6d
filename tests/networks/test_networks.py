"""What every network of the registry must do, and what the residual U-Net promises besides."""

from __future__ import annotations

import pytest
import torch

from napari_dasl import networks
from napari_dasl.errors import ProjectError

SMALL = {"channels": (8, 16), "strides": (2, 2)}


def test_the_registry_names_its_networks():
    assert "unet" in networks.names()


@pytest.mark.parametrize(
    ("channels", "strides", "size"),
    [
        ((8, 16, 32), (2, 2, 2), (16, 24, 8)),
        ((8, 16), ((1, 2, 2), (1, 2, 2)), (6, 12, 16)),
        ((8, 16, 16), ((1, 1, 1), (1, 2, 2), (2, 2, 2)), (4, 8, 12)),
        ((8,), (1,), (5, 7, 3)),
        ((12, 20), (2, 2), (8, 8, 8)),
    ],
)
@pytest.mark.parametrize(("series", "outputs"), [(1, 2), (3, 5)])
def test_logits_have_the_size_of_the_image(channels, strides, size, series, outputs):
    network = networks.build("unet", series, outputs, channels=channels, strides=strides)
    assert network(torch.zeros(2, series, *size)).shape == (2, outputs, *size)


def test_it_works_on_slices():
    network = networks.build("unet", 1, 2, spatial_dims=2, **SMALL)
    assert network(torch.zeros(2, 1, 16, 12)).shape == (2, 2, 16, 12)


def test_a_bottleneck_of_one_voxel_still_learns():
    """Instance normalisation would raise here, and one group a feature would pass nothing on."""
    torch.manual_seed(0)
    network = networks.build("unet", 1, 2, channels=(8, 16), strides=(4, 4)).train()
    image = torch.randn(1, 1, 16, 16, 16)
    network(image).square().mean().backward()
    deepest = next(p for n, p in network.named_parameters() if p.ndim == 5 and p.shape[0] == 16)
    assert torch.any(deepest.grad != 0)
    assert not torch.equal(network(image), network(image.flip(2)))


def test_channels_last_changes_the_layout_and_not_the_numbers():
    torch.manual_seed(0)
    network = networks.build("unet", 1, 2, **SMALL).eval()
    image = torch.randn(1, 1, 8, 8, 8)
    plain = network(image)
    fast = network.to(memory_format=torch.channels_last_3d)(image.contiguous(memory_format=torch.channels_last_3d))
    torch.testing.assert_close(plain, fast, atol=1e-4, rtol=1e-4)


def test_an_unknown_network_is_refused_with_the_names_there_are():
    with pytest.raises(ProjectError, match=r"no network named 'vnet'.*unet"):
        networks.build("vnet", 1, 2)


@pytest.mark.parametrize(
    "options",
    [
        {"channels": (8, 16), "strides": (2,)},
        {"channels": (), "strides": ()},
        {"channels": (8,), "strides": ((2, 2),)},
        {"channels": (8, 0), "strides": (2, 2)},
        {"spatial_dims": 4},
        {"depth": 3},
        {"res_units": 0},
    ],
)
def test_wrong_options_are_refused_in_words(options):
    with pytest.raises(ProjectError, match="network_options in the training plan"):
        networks.build("unet", 1, 2, **options)
