"""What the losses must be: formulas, checked against loops, and what follows from them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from napari_dasl.losses import LOSSES, dice_ce, focal, focal_dice_ms, mumford_shah, unit_range, weighted_dice

SPACING = (4.0, 1.0, 2.0)


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3, 3, 4, 5, 2))
    label = rng.integers(0, 3, size=(3, 4, 5, 2))
    return torch.from_numpy(logits), torch.from_numpy(label)


def by_loops(logits, label, weight):
    values, truth = logits.numpy(), label.numpy()
    p = np.exp(values) / np.exp(values).sum(1, keepdims=True)
    entropies = []
    for i in range(len(values)):
        inner = [-math.log(p[(i, truth[(i, *v)], *v)]) for v in np.ndindex(truth.shape[1:])]
        entropies.append(weight[i] * sum(inner) / len(inner))
    dices = []
    for k in (1, 2):
        overlap = sum(weight[i] * (p[i, k] * (truth[i] == k)).sum() for i in range(len(values)))
        total = sum(weight[i] * (p[i, k].sum() + (truth[i] == k).sum()) for i in range(len(values)))
        dices.append(1 - 2 * overlap / total)
    return np.mean(entropies) + np.mean(weight) * np.mean(dices)


@pytest.mark.parametrize("weight", [(1, 1, 1), (0.5, 2, 0), (0, 0, 0.25)])
def test_it_is_the_formula_of_its_docstring(batch, weight):
    logits, label = batch
    found = dice_ce(logits, label, torch.tensor(weight))
    assert float(found) == pytest.approx(by_loops(logits, label, weight), abs=1e-5)


def test_without_weights_every_sample_counts_once(batch):
    assert float(dice_ce(*batch)) == pytest.approx(float(dice_ce(*batch, torch.ones(3))))


def test_a_common_weight_multiplies_the_loss(batch):
    assert float(dice_ce(*batch, torch.full((3,), 0.3))) == pytest.approx(0.3 * float(dice_ce(*batch)), rel=1e-5)


def test_a_sample_of_weight_zero_teaches_nothing(batch):
    logits, label = batch
    logits.requires_grad_(True)
    dice_ce(logits, label, torch.tensor([1.0, 0.0, 1.0])).backward()
    assert torch.all(logits.grad[1] == 0)
    assert torch.any(logits.grad[0] != 0)


def test_all_weights_zero_give_zero_and_no_nan(batch):
    logits, label = batch
    logits.requires_grad_(True)
    loss = dice_ce(logits, label, torch.zeros(3))
    loss.backward()
    assert loss.item() == 0
    assert torch.all(logits.grad == 0)


def test_a_perfect_prediction_costs_nothing(batch):
    _, label = batch
    logits = 40.0 * torch.nn.functional.one_hot(label, 3).movedim(-1, 1)
    assert float(dice_ce(logits, label)) == pytest.approx(0, abs=1e-5)


def test_a_batch_without_any_lesion_is_learnt_by_cross_entropy_alone(batch):
    logits, label = batch
    empty = torch.zeros_like(label)
    expected = torch.nn.functional.cross_entropy(logits, empty)
    assert float(dice_ce(logits, empty)) == pytest.approx(float(expected), rel=1e-5)


def test_sums_are_single_precision_whatever_the_network_computed_in(batch):
    logits, label = batch
    with torch.autocast("cpu", torch.bfloat16):
        loss = dice_ce(logits.bfloat16(), label)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(float(dice_ce(logits, label)), rel=0.02)


# --- what all losses that a plan can name have in common -----------------------------------------------------------


@pytest.fixture
def image():
    return torch.from_numpy(np.random.default_rng(1).uniform(-3, 5, size=(3, 2, 4, 5, 2)))


EVERY = pytest.mark.parametrize("name", LOSSES)


def test_the_names_are_those_of_the_training_plan():
    assert set(LOSSES) == {"dice-ce", "focal-dice-ms", "weighted-dice"}


def test_the_usual_loss_is_dice_and_cross_entropy(batch, image):
    weight = torch.tensor([0.5, 2, 0])
    assert torch.equal(LOSSES["dice-ce"](*batch, image, SPACING, weight), dice_ce(*batch, weight))


@EVERY
def test_a_common_weight_multiplies_every_loss(batch, image, name):
    whole = LOSSES[name](*batch, image, SPACING)
    assert float(whole) > 0
    assert float(LOSSES[name](*batch, image, SPACING, torch.ones(3))) == pytest.approx(float(whole), rel=1e-6)
    part = LOSSES[name](*batch, image, SPACING, torch.full((3,), 0.3))
    assert float(part) == pytest.approx(0.3 * float(whole), rel=1e-5)


@EVERY
def test_of_no_loss_a_sample_of_weight_zero_teaches_anything(batch, image, name):
    logits, label = batch
    logits.requires_grad_(True)
    LOSSES[name](logits, label, image, SPACING, torch.tensor([1.0, 0.0, 1.0])).backward()
    assert torch.all(logits.grad[1] == 0)
    assert torch.any(logits.grad[0] != 0)


@EVERY
def test_weights_of_zero_give_zero_and_no_nan(batch, image, name):
    logits, label = batch
    logits.requires_grad_(True)
    loss = LOSSES[name](logits, label, image, SPACING, torch.zeros(3))
    loss.backward()
    assert loss.item() == 0
    assert torch.all(logits.grad == 0)


@EVERY
def test_every_loss_is_summed_in_single_precision(batch, image, name):
    logits, label = batch
    with torch.autocast("cpu", torch.bfloat16):
        loss = LOSSES[name](logits.bfloat16(), label, image.bfloat16(), SPACING)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(float(LOSSES[name](logits, label, image, SPACING)), rel=0.02)


@EVERY
def test_shares_of_one_class_each_are_the_label_map(batch, image, name):
    logits, label = batch
    shares = torch.nn.functional.one_hot(label, 3).movedim(-1, 1).float()
    found = LOSSES[name](logits, shares, image, SPACING)
    assert float(found) == pytest.approx(float(LOSSES[name](logits, label, image, SPACING)), rel=1e-6)


@EVERY
def test_a_mixed_target_costs_between_the_two_it_is_mixed_of(batch, image, name):
    logits, label = batch
    one = torch.nn.functional.one_hot(label, 3).movedim(-1, 1).float()
    mixed = 0.7 * one + 0.3 * one.flip(0)
    loss = [LOSSES[name](logits, target, image, SPACING) for target in (one, mixed, one.flip(0))]
    assert all(torch.isfinite(value) for value in loss)
    assert min(loss[0], loss[2]) < loss[1] < max(loss[0], loss[2])


@EVERY
def test_every_loss_works_on_slices(name):
    torch.manual_seed(0)
    logits, label = torch.randn(2, 2, 6, 5), torch.randint(0, 2, (2, 6, 5))
    flat = LOSSES[name](logits, label, torch.rand(2, 1, 6, 5), SPACING)
    assert torch.isfinite(flat)


@EVERY
def test_every_loss_falls_as_the_truth_is_drawn(name):
    label = torch.zeros(1, 6, 6, 6, dtype=torch.long)
    label[:, 2:4, 2:5, 2:4] = 1
    image = label[:, None].float()
    one = torch.nn.functional.one_hot(label, 2).movedim(-1, 1)
    losses = [float(LOSSES[name](sure * (2.0 * one - 1), label, image, SPACING)) for sure in (-4, 0, 1, 4, 12)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 1e-3


# --- each formula by loops -----------------------------------------------------------------------------------------


def softmax(logits):
    values = np.exp(logits.numpy())
    return values / values.sum(1, keepdims=True)


@pytest.mark.parametrize("gamma", [0.0, 2.0, 0.5])
@pytest.mark.parametrize("weight", [(1, 1, 1), (0.5, 2, 0)])
def test_focal_is_its_formula(batch, weight, gamma):
    logits, label = batch
    p, truth = softmax(logits), label.numpy()
    samples = []
    for i in range(3):
        right = [p[(i, truth[(i, *v)], *v)] for v in np.ndindex(truth.shape[1:])]
        samples.append(weight[i] * np.mean([(1 - q) ** gamma * -math.log(q) for q in right]))
    found = focal(logits, label, torch.tensor(weight), gamma=gamma)
    assert float(found) == pytest.approx(np.mean(samples), rel=1e-5)


def test_focal_without_gamma_is_the_cross_entropy(batch):
    expected = torch.nn.functional.cross_entropy(*batch)
    assert float(focal(*batch, gamma=0)) == pytest.approx(float(expected), rel=1e-5)


def test_focal_of_a_certain_network_has_a_finite_slope():
    logits = torch.tensor([[[60.0, -60.0], [-60.0, 60.0]]], requires_grad=True)
    focal(logits, torch.tensor([[0, 0]]), gamma=0.5).backward()
    assert torch.all(torch.isfinite(logits.grad))


def mumford_shah_by_loops(y, x, spacing, length):
    samples, classes = y.shape[:2]
    total = []
    for i in range(samples):
        value = 0.0
        for n in range(classes):
            mean = [(channel * y[i, n]).sum() / y[i, n].sum() for channel in x[i]]
            for v in np.ndindex(y.shape[2:]):
                value += sum((channel[v] - m) ** 2 for channel, m in zip(x[i], mean, strict=True)) * y[(i, n, *v)]
                for axis, step in enumerate(spacing):
                    after = tuple(k + (a == axis) for a, k in enumerate(v))
                    if after[axis] < y.shape[2 + axis]:
                        value += length * abs(y[(i, n, *after)] - y[(i, n, *v)]) / step
        total.append(value / np.prod(y.shape[2:]))
    return np.array(total)


@pytest.mark.parametrize("weight", [(1, 1, 1), (0.5, 2, 0)])
@pytest.mark.parametrize("length", [0.0, 0.5])
def test_mumford_shah_is_its_formula(batch, image, weight, length):
    y, x = softmax(batch[0]), unit_range(image).numpy()
    found = mumford_shah(torch.from_numpy(y), torch.from_numpy(x), SPACING, torch.tensor(weight), length=length)
    expected = np.mean(np.array(weight) * mumford_shah_by_loops(y, x, SPACING, length))
    assert float(found) == pytest.approx(expected, rel=1e-4)


def test_mumford_shah_needs_no_label_to_prefer_the_right_region():
    """The sphere of the notes: 0 for the truth, more for a shifted one, most for no decision or for all one class."""
    axes = np.indices((16, 16, 16)) - 7.5
    sphere = torch.from_numpy((np.square(axes).sum(0) < 20).astype(np.float32))[None, None]
    costs = [
        float(mumford_shah(torch.cat((1 - y, y), 1), sphere, (1, 1, 1)))
        for y in (sphere, sphere.roll(2, 2), torch.full_like(sphere, 0.5), torch.zeros_like(sphere))
    ]
    assert costs[0] < 0.001
    assert costs[0] < costs[1] < costs[2]
    assert costs[2] == pytest.approx(costs[3], rel=1e-3)


def test_the_boundary_costs_by_millimetres_and_not_by_voxels():
    y = torch.zeros(1, 1, 4, 4, 8)
    y[..., 4:] = 1
    fine = y.repeat_interleave(2, dim=4)
    whole = mumford_shah(y, torch.zeros_like(y), (3, 1, 2), length=1.0)
    assert float(whole) == pytest.approx(4 * 4 / 2 / y.numel())
    assert float(mumford_shah(fine, torch.zeros_like(fine), (3, 1, 1), length=1.0)) == pytest.approx(float(whole))


def test_a_class_nobody_predicts_has_no_mean_and_does_no_harm():
    y = torch.zeros(1, 2, 4, 4, 4, requires_grad=True)
    mumford_shah(y, torch.rand(1, 1, 4, 4, 4), (1, 1, 1)).backward()
    assert torch.all(torch.isfinite(y.grad))


def test_images_are_brought_to_one_range_series_by_series():
    image = torch.tensor([[[-1.0, 0, 3], [5, 5, 5]], [[10, 20, 30], [0, 1, 4]]])
    expected = torch.tensor([[[0, 0.25, 1], [0, 0, 0]], [[0, 0.5, 1], [0, 0.25, 1]]])
    assert torch.equal(unit_range(image), expected)


def test_focal_dice_and_mumford_shah_are_added_by_their_weights(batch, image):
    logits, label = batch
    weight = torch.tensor([0.5, 2, 0])
    dice = dice_ce(logits, label, weight) - focal(logits, label, weight, gamma=0)
    regions = mumford_shah(logits.softmax(1), unit_range(image), SPACING, weight, length=0.01)
    expected = 0.5 * focal(logits, label, weight, gamma=1.5) + 2 * dice + 0.3 * regions
    found = focal_dice_ms(logits, label, image, SPACING, weight, parts=(0.5, 2, 0.3), gamma=1.5, length=0.01)
    assert float(found) == pytest.approx(float(expected), rel=1e-5)
    for parts, one in (((1, 0, 0), focal(logits, label, weight)), ((0, 1, 0), dice)):
        alone = LOSSES["focal-dice-ms"](logits, label, image, SPACING, weight, parts=parts)
        assert float(alone) == pytest.approx(float(one), rel=1e-5)


def weighted_dice_by_loops(logits, label, weight, smooth):
    p, truth = softmax(logits), label.numpy()
    classes = p.shape[1]
    g = [sum(w * (t == c).sum() for w, t in zip(weight, truth, strict=True)) for c in range(classes)]
    kept = 0.0
    for c in range(classes):
        overlap = sum(w * (q[c] * (t == c)).sum() for w, q, t in zip(weight, p, truth, strict=True))
        size = sum(w * q[c].sum() for w, q in zip(weight, p, strict=True))
        rarity = (sum(g) - g[c] + smooth) / (sum(g) + smooth)
        kept += rarity * (2 * overlap + smooth) / (size + g[c] + smooth)
    return np.mean(weight) * (1 - kept / (classes - 1))


@pytest.mark.parametrize("weight", [(1, 1, 1), (0.5, 2, 0)])
@pytest.mark.parametrize("smooth", [1e-5, 1.0])
def test_weighted_dice_is_its_formula(batch, weight, smooth):
    found = weighted_dice(*batch, torch.tensor(weight), smooth=smooth)
    assert float(found) == pytest.approx(weighted_dice_by_loops(*batch, weight, smooth), rel=1e-5)


def test_weighted_dice_of_two_classes_is_the_one_of_the_paper():
    """By hand: 1 tumour voxel of 4, everything predicted with 1/2."""
    found = weighted_dice(torch.zeros(1, 2, 4), torch.tensor([[1, 0, 0, 0]]), smooth=0.0)
    background, tumour = 1 / 4 * 2 * 1.5 / (2 + 3), 3 / 4 * 2 * 0.5 / (2 + 1)
    assert float(found) == pytest.approx(1 - background - tumour)


def test_weighted_dice_is_zero_for_the_truth_with_any_number_of_classes(batch):
    _, label = batch
    logits = 40.0 * torch.nn.functional.one_hot(label, 3).movedim(-1, 1)
    assert float(weighted_dice(logits, label)) == pytest.approx(0, abs=1e-5)
