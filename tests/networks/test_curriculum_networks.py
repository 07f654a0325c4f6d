"""The networks of the curriculum papers: residual SE U-Net, UNETR, SwinUNETR, and the U-Net on slices."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets import UNETR
from torch import nn

from napari_dasl import networks
from napari_dasl.errors import ProjectError
from napari_dasl.networks.families import FAMILIES
from napari_dasl.networks.transformers import offsets, resize_state

SMALL = {
    "residual-se-unet": {"channels": (4, 8, 8), "strides": (1, 2, 2)},
    "unetr": {"img_size": 32, "features": 4, "hidden": 24, "mlp": 24, "heads": 3},
    "swin-unetr": {"features": 12, "depths": (1, 1, 1, 1), "window": 4},
    "unet-2d": {"channels": (4, 8, 8, 8, 8), "strides": (1, 2, 2, 2, 2)},
}


def build(name, series=1, outputs=2, **options):
    torch.manual_seed(0)
    return networks.build(name, series, outputs, **{**SMALL[name], **options})


def shapes(name):
    """The smallest image a network takes, and one of unequal sides."""
    smallest = networks.patch_divisor(name, SMALL[name])[-FAMILIES[name].spatial_dims :]
    return smallest, (smallest[0], *(2 * side for side in smallest[1:]))


@pytest.mark.parametrize("name", SMALL)
def test_logits_have_the_size_of_any_image_the_divisor_allows(name):
    network = build(name, series=2, outputs=3).eval()
    with torch.inference_mode():
        for shape in shapes(name):
            assert network(torch.randn(1, 2, *shape)).shape == (1, 3, *shape)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("half", [False, True])
def test_every_weight_learns_from_the_smallest_patches_in_either_precision(name, half):
    network = build(name).train()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        logits = network(torch.randn(1, 1, *shapes(name)[1]))
    assert logits.dtype == (torch.bfloat16 if half else torch.float32)
    logits.float().square().mean().backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


@pytest.mark.parametrize("name", SMALL)
def test_channels_last_changes_the_layout_and_not_the_numbers(name):
    network = build(name).eval()
    image = torch.randn(1, 1, *shapes(name)[0])
    layout = torch.channels_last_3d if image.ndim == 5 else torch.channels_last
    with torch.inference_mode():
        plain = network(image)
        fast = network.to(memory_format=layout)(image.contiguous(memory_format=layout))
    torch.testing.assert_close(plain, fast, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", SMALL)
def test_dropout_rests_when_the_network_predicts_and_changes_no_weight(name):
    plain, dropping = build(name).eval(), build(name, dropout=0.5)
    assert plain.state_dict().keys() == dropping.state_dict().keys()
    dropping.load_state_dict(plain.state_dict())
    image = torch.randn(1, 1, *shapes(name)[1])
    with torch.no_grad():
        torch.testing.assert_close(dropping.eval()(image), plain(image))
        for module in dropping.modules():
            if isinstance(module, nn.Dropout):
                module.train()
        assert not torch.allclose(dropping(image), plain(image))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("residual-se-unet", {"channels": (8, 16)}),
        ("residual-se-unet", {"strides": (1, 2, 4)}),
        ("residual-se-unet", {"norm": "layer"}),
        ("residual-se-unet", {"squeeze": "mean"}),
        ("residual-se-unet", {"ratio": 0}),
        ("residual-se-unet", {"dropout": 1.0}),
        ("residual-se-unet", {"spatial_dims": 4}),
        ("unetr", {"img_size": 40}),
        ("unetr", {"img_size": (32, 32)}),
        ("unetr", {"heads": 5}),
        ("unetr", {"dropout": -0.1}),
        ("unetr", {"depth": 3}),
        ("swin-unetr", {"features": 10}),
        ("swin-unetr", {"features": 6}),
        ("swin-unetr", {"depths": (2, 2)}),
        ("swin-unetr", {"window": 1}),
        ("swin-unetr", {"img_size": 96}),
        ("unet-2d", {"strides": ((1, 2, 2),) * 5}),
    ],
)
def test_wrong_options_are_refused_in_words(name, options):
    with pytest.raises(ProjectError, match="network_options in the training plan"):
        build(name, **options)


@pytest.mark.parametrize("name", ["unetr", "swin-unetr"])
def test_an_image_of_another_size_is_refused(name):
    with pytest.raises(ValueError, match="must be multiples of"):
        build(name).eval()(torch.zeros(1, 1, 32, 32, 40))


# --- residual SE U-Net ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["batch", "group", "se"])
@pytest.mark.parametrize("squeeze", ["max", "sum", "none"])
def test_every_norm_goes_with_every_squeeze(norm, squeeze):
    network = build("residual-se-unet", strides=((1, 2, 2), (1, 2, 2), 2), norm=norm, squeeze=squeeze).train()
    network(torch.randn(2, 1, 4, 8, 16)).square().mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_it_resamples_by_learnt_convolutions_alone():
    network = build("residual-se-unet", strides=(2, 2, 2))
    kinds = {type(module).__name__ for module in network.modules()}
    assert not {"MaxPool3d", "AvgPool3d", "Upsample"} & kinds
    up = [module for module in network.modules() if isinstance(module, nn.ConvTranspose3d)]
    assert [module.kernel_size for module in up[:-1]] == [(3, 3, 3)] * 2
    assert [m.kernel_size for m in network.modules() if isinstance(m, nn.Conv3d) and max(m.stride) == 2] == [
        (3, 3, 3)
    ] * 3


def test_se_norm_and_groups_learn_from_one_patch_of_the_smallest_size():
    for norm in ("group", "se"):
        network = build("residual-se-unet", norm=norm).train()
        image = torch.randn(1, 1, 4, 4, 4)
        network(image).square().mean().backward()
        assert not torch.equal(network(image), network(image.flip(2)))


# --- UNETR ---------------------------------------------------------------------------------------------------------


def test_at_its_own_patch_a_unetr_gives_the_numbers_of_monai():
    ours = build("unetr").eval()
    theirs = UNETR(1, 2, (32, 32, 32), feature_size=4, hidden_size=24, mlp_dim=24, num_heads=3).eval()
    state = {name: value for name, value in ours.state_dict().items() if name != "position_grid"}
    assert theirs.load_state_dict(state, strict=False).unexpected_keys == []
    image = torch.randn(1, 1, 32, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(ours(image), theirs(image), atol=1e-5, rtol=1e-4)


def test_when_the_patch_grows_the_training_goes_on_with_the_same_weights():
    network = build("unetr", img_size=(48, 32, 32)).train()
    embedding = network.vit.patch_embedding.position_embeddings
    for patch in ((16, 16, 16), (32, 16, 16), (48, 32, 32)):
        network.zero_grad()
        network(torch.randn(1, 1, *patch)).square().mean().backward()
        # On a smaller grid each position takes the mean of those it covers, so that all of them learn.
        assert torch.all(embedding.grad.abs().sum(2) > 0)
    assert embedding.shape == (1, 12, 24)


def test_weights_of_another_patch_are_fitted_when_they_are_loaded():
    small, large = build("unetr"), build("unetr", img_size=(48, 32, 64))
    state = small.state_dict()
    large.load_state_dict(state)
    expected = resize_state(small, state, (48, 32, 64))
    assert large.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in large.state_dict().items())
    assert large.position_grid.tolist() == [3, 2, 4]
    small.load_state_dict(state)
    assert all(torch.equal(value, state[name]) for name, value in small.state_dict().items())


def test_a_fitted_network_predicts_as_the_one_it_was_fitted_from():
    """A grid of one position holds the mean, and so does every position of a grid that grew from it."""
    small, image = build("unetr", img_size=16).eval(), torch.randn(1, 1, 32, 32, 16)
    large = build("unetr", img_size=(32, 32, 16)).eval()
    large.load_state_dict(small.state_dict())
    with torch.inference_mode():
        torch.testing.assert_close(large(image), small(image))


def test_weights_of_another_width_are_still_refused():
    with pytest.raises(RuntimeError, match="size mismatch"):
        build("unetr").load_state_dict(build("unetr", hidden=48).state_dict())


def test_a_state_is_resized_for_patches_the_network_takes():
    network = build("unetr")
    for patch in ((40, 32, 32), (32, 32), (0, 32, 32)):
        with pytest.raises(ValueError, match="multiple of 16"):
            resize_state(network, network.state_dict(), patch)


def test_a_state_without_positions_stays_as_it_is():
    network = build("swin-unetr")
    state = network.state_dict()
    resized = resize_state(network, state, (64, 64, 64))
    assert resized.keys() == state.keys()
    assert all(resized[name] is state[name] for name in state)


# --- SwinUNETR -----------------------------------------------------------------------------------------------------


def test_a_short_window_reads_the_bias_of_the_same_offset():
    """Token by token: the bias of a pair depends on how far apart they are, and not on the window."""
    full, window = (4, 4, 4), (2, 4, 3)
    whole, short = offsets(full, full), offsets(window, full)
    number = {place: i for i, place in enumerate((z, y, x) for z in range(4) for y in range(4) for x in range(4))}
    places = [(z, y, x) for z in range(2) for y in range(4) for x in range(3)]
    for i, a in enumerate(places):
        for j, b in enumerate(places):
            assert short[i, j] == whole[number[a], number[b]]


@pytest.mark.parametrize("window", [4, 7])
def test_a_full_window_reads_what_monai_reads(window):
    network = build("swin-unetr", window=window)
    monai_index = network.swinViT.layers1[0].blocks[0].attn.relative_position_index
    assert torch.equal(offsets((window,) * 3, (window,) * 3), monai_index)


def test_what_a_network_has_seen_is_no_part_of_its_weights():
    network = build("swin-unetr").eval()
    image = torch.randn(1, 1, 32, 32, 64)
    with torch.inference_mode():
        before = network(image)
        network(torch.zeros(1, 1, 32, 32, 32))
        assert torch.equal(network(image), before)
    assert not any("relative_position_index" in name for name in network.state_dict())


# --- U-Net on slices -----------------------------------------------------------------------------------------------


def test_the_u_net_on_slices_has_five_levels_at_full_resolution():
    network = networks.build("unet-2d", 1, 2, channels=(4, 4, 4, 4, 4)).eval()
    seen = set()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda m, args, out: seen.add(tuple(out.shape[2:])))
    with torch.inference_mode():
        assert network(torch.zeros(1, 1, 192, 192)).shape == (1, 2, 192, 192)
    assert seen == {(192 // 2**level,) * 2 for level in range(5)}
