"""Dropout at the deepest resolution: an option that no weights know of, and that rests when the network predicts."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_dasl import networks
from napari_dasl.errors import ProjectError

LEVELS = [((8,), (1,)), ((8, 16), (2, 2)), ((8, 16, 16), ((1, 2, 2), (2, 2, 2), (2, 2, 2)))]


def build(channels=(8, 16), strides=(2, 2), **options):
    torch.manual_seed(3)
    return networks.build("unet", 1, 2, channels=channels, strides=strides, **options)


@pytest.mark.parametrize(("channels", "strides"), LEVELS)
def test_weights_keep_their_names_and_values_and_predict_the_same_bits(channels, strides):
    before, after = build(channels, strides).eval(), build(channels, strides, dropout=0.5).eval()
    old = before.state_dict()
    assert old.keys() == after.state_dict().keys()
    assert all(torch.equal(value, old[name]) for name, value in after.state_dict().items())
    image = torch.randn(1, 1, 8, 8, 16)
    with torch.inference_mode():
        assert torch.equal(before(image), after(image))


@pytest.mark.parametrize(("channels", "strides"), LEVELS)
def test_values_are_dropped_at_the_deepest_resolution_alone(channels, strides):
    network = build(channels, strides, dropout=0.5).train()
    seen = []
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.register_forward_hook(lambda m, args, out: seen.append((out.shape[2:], torch.equal(args[0], out))))
    network(torch.randn(2, 1, 8, 8, 16))
    deepest = min(shape for shape, _ in seen)
    assert {shape for shape, kept in seen if not kept} == {deepest}
    assert sum(not kept for _, kept in seen) >= 2


def test_while_training_two_looks_differ_and_a_seed_repeats_them():
    network, image = build(dropout=0.5).train(), torch.randn(1, 1, 8, 8, 8)
    looks = []
    for seed in (0, 1, 0):
        torch.manual_seed(seed)
        looks.append(network(image).detach())
    assert not torch.equal(looks[0], looks[1])
    assert torch.equal(looks[0], looks[2])


def test_no_dropout_draws_no_random_number():
    network = build().train()
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    network(torch.zeros(1, 1, 8, 8, 8))
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("dropout", [-0.1, 1.0, "much", None])
def test_a_dropout_that_is_none_is_refused(dropout):
    with pytest.raises(ProjectError, match="network_options in the training plan"):
        build(dropout=dropout)
