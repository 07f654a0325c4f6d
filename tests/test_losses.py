"""What the loss must be: a formula, checked against loops, and what follows from it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from napari_dasl.losses import dice_ce


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
