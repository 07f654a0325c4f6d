"""Squeeze and excitation, against its formulas written out."""

from __future__ import annotations

import pytest
import torch

from napari_dasl.networks.by_feature import FeatureNorm
from napari_dasl.networks.squeeze import ConcurrentSE, SENorm


def two_layers(layers, mean):
    first, _, last = layers
    return torch.relu(mean @ first.weight.T + first.bias) @ last.weight.T + last.bias


@pytest.mark.parametrize(("join", "by"), [("max", torch.maximum), ("sum", torch.add)])
@pytest.mark.parametrize("dims", [2, 3])
def test_scse_weighs_features_and_places(join, by, dims):
    torch.manual_seed(0)
    layer, image = ConcurrentSE(6, dims, ratio=2, join=join), torch.randn(2, 6, *(3, 4, 5)[:dims])
    assert layer.features[0].out_features == 3
    ones = (1,) * dims
    by_feature = torch.sigmoid(two_layers(layer.features, image.flatten(2).mean(2))).reshape(2, 6, *ones)
    place = (image * layer.places.weight.reshape(1, 6, *ones)).sum(1, keepdim=True) + layer.places.bias
    torch.testing.assert_close(layer(image), by(image * by_feature, image * torch.sigmoid(place)))


def test_se_norm_scales_and_shifts_the_instance_normalised_image():
    torch.manual_seed(0)
    layer, image = SENorm(4, ratio=2), torch.randn(2, 4, 3, 4, 5)
    mean = image.mean((2, 3, 4))
    normal = torch.nn.functional.instance_norm(image)
    scale = torch.sigmoid(two_layers(layer.scale, mean))[..., None, None, None]
    shift = torch.tanh(two_layers(layer.shift, mean))[..., None, None, None]
    torch.testing.assert_close(layer(image), scale * normal + shift, atol=1e-5, rtol=1e-4)


def test_one_voxel_is_normalised_to_zero_and_not_refused():
    image = torch.randn(1, 4, 1, 1, 1)
    assert torch.all(FeatureNorm(4).train()(image) == 0)
    assert torch.any(SENorm(4).train()(image) != 0)
