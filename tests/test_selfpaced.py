"""Self-paced learning: every closed form is the argmin it claims to be, and the pace follows Eq. 9."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_dasl.errors import InputError
from napari_dasl.losses import dice_ce
from napari_dasl.selfpaced import (
    REGULARIZERS,
    next_pace,
    next_quantile,
    quantile_pace,
    self_loss,
    weights,
)

some_losses = st.lists(st.floats(0, 10), min_size=1, max_size=30)


# --- weights ----------------------------------------------------------------------------------------------------------


def regularizer_value(name, v, pace, easiest):
    """f(v; λ) of each regulariser, as the papers write it."""
    if name == "linear":
        return pace * (v**2 / 2 - v)
    if name == "hard":
        return -pace * v
    if name == "logarithmic":
        zeta = 1 - pace
        return zeta * v - zeta**v / np.log(zeta)
    if name == "mixture":
        upper, lower = pace, pace / 2
        zeta = upper * lower / (upper - lower)
        return -zeta * np.log(v + zeta / upper)
    return (pace - easiest) * (v**2 / 2 - v) - easiest * v  # rescaled: linear in l − m with the pace λ − m


@pytest.mark.parametrize("name", REGULARIZERS)
@pytest.mark.parametrize("pace", [0.05, 0.4, 0.9])
@pytest.mark.parametrize("c", [1.0, 2.5])
def test_each_weight_is_the_numerical_argmin(name, pace, c):
    losses = np.array([0.003, 0.011, 0.03, 0.07, 0.13, 0.26, 0.41, 0.77, 1.7])
    grid = np.linspace(0, 1, 200_001)
    expected = [
        grid[np.argmin(grid * c * loss + regularizer_value(name, grid, pace, c * losses.min()))] for loss in losses
    ]
    found = weights(losses, pace, name, c)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert 0 < found.sum() < len(losses)


def test_a_mixture_takes_a_pair_of_paces():
    losses = [0.1, 0.2, 0.25, 0.3, 0.5]
    zeta = 0.3 * 0.2 / 0.1
    expected = [1, 1, zeta / 0.25 - zeta / 0.3, 0, 0]
    np.testing.assert_allclose(weights(losses, (0.3, 0.2), "mixture"), expected, atol=1e-12)
    np.testing.assert_array_equal(weights(losses, 0.3, "mixture"), weights(losses, (0.3, 0.15), "mixture"))


@settings(max_examples=80, deadline=None)
@given(some_losses, st.floats(1e-300, 0.999), st.sampled_from(REGULARIZERS))
def test_weights_lie_between_0_and_1_and_fall_with_the_loss(losses, pace, name):
    found = weights(sorted(losses), pace, name)
    assert np.all((found >= 0) & (found <= 1))
    assert np.all(np.diff(found) <= 0)
    assert np.all(found[np.sort(losses) >= pace] == 0)


def test_a_certain_scan_has_weight_one_and_no_scan_no_weight():
    for name in REGULARIZERS:
        assert weights([0.0], 0.5, name).tolist() == [1.0]
        assert weights([], 0.5, name).shape == (0,)


def test_the_easiest_scan_of_a_rescaled_pool_has_weight_one_whatever_the_scale():
    assert weights([0.3, 0.35, 0.4], 0.4, "rescaled") == pytest.approx([1, 0.5, 0])
    assert weights([0.3, 0.35, 0.4], 0.3, "rescaled").tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        (([-0.1], 1), "at least 0"),
        (([0.2, float("nan")], 1), "scan number 2"),
        (([float("inf")], 1), "at least 0"),
        (([[0.1]], 1), "one per scan"),
        (([0.1], 0), "above 0"),
        (([0.1], float("nan")), "above 0"),
        (([0.1], 1, "logarithmic"), "below 1"),
        (([0.1], (0.2, 0.3), "mixture"), "λ1 above λ2"),
        (([0.1], (0.3, 0.2)), "one pace"),
        (([0.1], 1, "linear", 0), "C of self-paced"),
        (([0.1], 1, "lineer"), "Did you mean 'linear'"),
        (([0.1], 1, "xyz"), "linear, hard, logarithmic, mixture, rescaled"),
    ],
)
def test_what_cannot_be_used_is_refused_in_words(given_, said):
    with pytest.raises(InputError, match=said):
        weights(*given_)


# --- pace -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("iteration", "expected"), [(0, 0.005), (1, 0.0066), (2, 0.0066), (9, 0.0066), (10, 0.005), (11, 0.005)]
)
def test_the_pace_grows_by_alpha_times_accuracy_until_it_stops(iteration, expected):
    assert next_pace(0.005, 0.8, iteration, alpha=0.002, stop=10) == pytest.approx(expected, abs=1e-15)


def test_three_rounds_of_the_paper_by_hand():
    """λ0 = 0.005, α = 0.002; guard Dice 0.5, then 0.75; the losses fall as the network learns."""
    pace = next_pace(0.005, 0.0, 0, 0.002, 10)
    assert pace == 0.005
    assert weights([0.001, 0.004, 0.006], pace) == pytest.approx([0.8, 0.2, 0.0])
    pace = next_pace(pace, 0.5, 1, 0.002, 10)
    assert pace == pytest.approx(0.006)
    assert weights([0.0009, 0.003, 0.0054], pace) == pytest.approx([0.85, 0.5, 0.1])
    pace = next_pace(pace, 0.75, 2, 0.002, 10)
    assert pace == pytest.approx(0.0075)
    assert weights([0.0006, 0.003, 0.0045], pace) == pytest.approx([0.92, 0.6, 0.4])


def test_a_quantile_grows_like_the_pace_up_to_its_ceiling():
    assert next_quantile(0.2, 0.5, 0, 0.2, 10, 0.8) == 0.2
    assert next_quantile(0.2, 0.5, 1, 0.2, 10, 0.8) == pytest.approx(0.3)
    assert next_quantile(0.75, 0.9, 2, 0.2, 10, 0.8) == 0.8
    assert next_quantile(0.3, 0.9, 10, 0.2, 10, 0.8) == 0.3


@pytest.mark.parametrize("wrong", [{"accuracy": 1.1}, {"accuracy": float("nan")}, {"iteration": -1}, {"stop": -1}])
def test_the_update_refuses_what_has_no_meaning(wrong):
    usual = {"accuracy": 0.5, "iteration": 1, "stop": 10}
    with pytest.raises(InputError):
        next_pace(0.005, alpha=0.002, **(usual | wrong))
    with pytest.raises(InputError):
        next_quantile(0.2, growth=0.2, ceiling=0.8, **(usual | wrong))


@pytest.mark.parametrize("alpha", [-0.1, float("nan")])
def test_a_pace_never_shrinks(alpha):
    with pytest.raises(InputError, match="at least 0"):
        next_pace(0.005, 0.5, 1, alpha, 10)


# --- quantile ---------------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(some_losses, st.floats(0, 1))
def test_a_quantile_takes_some_and_never_all(losses, quantile):
    pace = quantile_pace(losses, quantile)
    taken = int(np.sum(np.array(losses) < pace))
    assert pace > 0
    assert taken >= 1
    if quantile < 1 and len(set(losses)) > 1:
        assert taken < len(losses)
    if quantile == 1:
        assert taken == len(losses)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 10), min_size=2, max_size=40, unique=True), st.floats(0, 1))
def test_of_distinct_losses_it_takes_the_nearest_number(losses, quantile):
    taken = int(np.sum(np.array(losses) < quantile_pace(losses, quantile)))
    allowed = len(losses) if quantile == 1 else len(losses) - 1
    assert abs(taken - np.clip(quantile * len(losses), 1, allowed)) <= 0.5 + 1e-9


def test_a_larger_quantile_never_takes_fewer():
    losses = np.random.default_rng(0).gamma(2, 0.1, 37).round(2)
    taken = [int(np.sum(losses < quantile_pace(losses, q))) for q in np.linspace(0, 1, 60)]
    assert taken == sorted(taken)
    assert taken[-1] == 37


def test_the_pace_lies_halfway_between_taken_and_left():
    assert quantile_pace([0.5, 0.1, 0.2, 0.3], 0.5) == pytest.approx(0.25)
    assert quantile_pace([0.1, 0.3], 1) == pytest.approx(0.4)


def test_one_loss_and_equal_losses_are_taken():
    assert quantile_pace([0.2], 0.1) > 0.2
    assert quantile_pace([0.2, 0.2, 0.2], 0.1) > 0.2
    assert quantile_pace([0.0, 0.0], 0.1) > 0


@pytest.mark.parametrize(("losses", "quantile"), [([], 0.2), ([0.1], -0.1), ([0.1], 1.1), ([-1.0], 0.5)])
def test_a_quantile_of_nothing_is_refused(losses, quantile):
    with pytest.raises(InputError):
        quantile_pace(losses, quantile)


# --- the loss of a prediction -----------------------------------------------------------------------------------------


def prediction(seed, classes=3, shape=(4, 6, 5), sharpness=3.0):
    logits = sharpness * np.random.default_rng(seed).normal(size=(classes, *shape))
    raised = np.exp(logits - logits.max(0))
    return raised / raised.sum(0)


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("own", [True, False])
def test_it_is_the_training_loss_of_a_batch_of_one(classes, own):
    for seed in range(3):
        p = prediction(seed, classes)
        label = p.argmax(0) if own else np.random.default_rng(seed).integers(0, classes - 1, p.shape[1:])
        expected = dice_ce(torch.from_numpy(np.log(p))[None], torch.from_numpy(label)[None])
        assert self_loss(p, None if own else label) == pytest.approx(float(expected), rel=1e-5)


def test_it_does_not_depend_on_how_much_is_read_at_a_time(monkeypatch):
    p = prediction(0, shape=(9, 4, 4))
    whole = self_loss(p)
    monkeypatch.setattr("napari_dasl.selfpaced._SLAB", 3 * 16 * 2)
    assert self_loss(p) == pytest.approx(whole, rel=1e-12)


def test_a_certain_prediction_loses_nothing_and_a_surer_one_less():
    sure = np.zeros((3, 4, 4, 4))
    sure[0] = 1
    sure[:, :2] = np.array([0, 1, 0])[:, None, None, None]
    assert self_loss(sure) == pytest.approx(0, abs=1e-9)
    assert self_loss(prediction(0, sharpness=6)) < self_loss(prediction(0, sharpness=3))
    assert np.isfinite(self_loss(sure, np.full((4, 4, 4), 2)))


def test_without_foreground_in_the_label_only_the_cross_entropy_counts():
    p = np.stack([np.full((3, 3, 3), 0.9), np.full((3, 3, 3), 0.1)])
    assert self_loss(p) == pytest.approx(-np.log(0.9))


@pytest.mark.parametrize(
    ("probability", "label"),
    [
        (np.ones((1, 3, 3, 3)), None),
        (np.ones((2, 0, 3, 3)), None),
        (-np.ones((2, 3, 3, 3)), None),
        (np.full((2, 3, 3, 3), np.nan), None),
        (np.zeros((2, 3, 3, 3)), None),
        (np.full((2, 3, 3, 3), 0.5), np.zeros((3, 3, 2), int)),
        (np.full((2, 3, 3, 3), 0.5), np.full((3, 3, 3), 2)),
        (np.full((2, 3, 3, 3), 0.5), np.full((3, 3, 3), 0.5)),
    ],
)
def test_arrays_that_are_no_prediction_are_refused(probability, label):
    with pytest.raises(InputError):
        self_loss(probability, label)
