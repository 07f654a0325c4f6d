"""Backbones: a pyramid whose first level has stride 4, and features at the resolution of the image."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_dasl.networks.region.backbones import BACKBONES, DenseBackbone, DenseBlock, ResNetBackbone

SMALL = {
    "dense": {"growth": 4, "blocks": (2, 2, 2), "stem": 8, "width": 8, "features": 4},
    "resnet50": {"layers": (1, 1, 1, 1), "planes": 8, "width": 8, "features": 4},
}


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("shape", [(32, 48), (16, 32, 48), (16, 16, 16)])
def test_levels_have_their_strides_and_the_fine_map_the_size_of_the_image(name, shape):
    backbone = BACKBONES[name](2, len(shape), **SMALL[name])
    found = backbone(torch.randn(2, 2, *shape))
    assert found.fine.shape == (2, 4, *shape)
    assert len(found.levels) == len(backbone.strides)
    for level, stride in zip(found.levels, backbone.strides, strict=True):
        assert level.shape == (2, 8, *(-(-side // stride) for side in shape))
    assert backbone.strides[0] == 4
    assert backbone.divisor == 16


@pytest.mark.parametrize("name", BACKBONES)
def test_every_weight_learns_even_where_the_deepest_map_is_a_single_voxel(name):
    torch.manual_seed(0)
    backbone = BACKBONES[name](1, 3, **SMALL[name])
    found = backbone(torch.randn(1, 1, 32, 32, 32))
    sum(part.square().mean() for part in (*found.levels, found.fine)).backward()
    dead = [n for n, p in backbone.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert dead == []
    single = backbone(torch.randn(1, 1, 16, 16, 16))
    assert all(torch.isfinite(part).all() for part in (*single.levels, single.fine))


def test_the_paper_s_encoder_has_three_dense_blocks_of_growth_12():
    blocks = [m for m in DenseBackbone(1).modules() if isinstance(m, DenseBlock)]
    assert len(blocks) == 3
    assert all(layer[0].out_channels == 12 for block in blocks for layer in block.layers)


def test_a_dense_block_keeps_its_input_and_every_layer_sees_all_before_it():
    block = DenseBlock(2, 4, 6, 3, 0.0).eval()
    features = torch.randn(1, 4, 8, 8)
    answer = block(features)
    assert answer.shape == (1, 4 + 3 * 6, 8, 8)
    assert torch.equal(answer[:, :4], features)
    for i, layer in enumerate(block.layers):
        seen = 4 + 6 * i
        torch.testing.assert_close(layer(answer[:, :seen]), answer[:, seen : seen + 6])


def test_resnet50_has_its_16_bottlenecks_and_no_batch_norm():
    backbone = ResNetBackbone(1, 2)
    assert sum(type(m).__name__ == "ResNetBottleneck" for m in backbone.modules()) == 16
    assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in backbone.modules())


@pytest.mark.parametrize("name", BACKBONES)
def test_a_sample_s_features_do_not_depend_on_the_rest_of_its_batch(name):
    backbone = BACKBONES[name](1, 2, **SMALL[name])
    one, two = torch.randn(2, 1, 1, 32, 32)
    torch.testing.assert_close(backbone(torch.cat((one, two))).fine[:1], backbone(one).fine, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", BACKBONES)
def test_dropout_acts_while_training_and_rests_when_predicting(name):
    backbone, image = BACKBONES[name](1, 2, dropout=0.5, **SMALL[name]), torch.randn(1, 1, 32, 32)
    assert not torch.equal(backbone(image).levels[0], backbone(image).levels[0])
    backbone.eval()
    assert torch.equal(backbone(image).levels[0], backbone(image).levels[0])


def test_a_lesion_far_away_is_seen_by_the_detection_level():
    """The decoder brings the deepest level's view down to stride 4: a change 40 voxels away reaches a cell."""
    torch.manual_seed(0)
    backbone = DenseBackbone(1, 2).eval()
    image = torch.randn(1, 1, 128, 128, requires_grad=True)
    backbone(image).levels[0][0, :, 16, 16].sum().backward()
    assert image.grad[0, 0, 66, 66 + 40].abs() > 0
