"""Dice, Jaccard, VOE and RVD against their definitions, voxel by voxel."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays

from napari_dasl.errors import GridMismatch
from napari_dasl.metrics import overlap

masks = arrays(bool, (3, 4, 5))


def counted(truth, prediction):
    """Intersection, truth and prediction sizes by Python sets."""
    t = {tuple(i) for i in np.argwhere(truth)}
    p = {tuple(i) for i in np.argwhere(prediction)}
    return len(t & p), len(t), len(p)


@given(masks, masks)
@settings(max_examples=60, deadline=None)
def test_the_four_figures_are_their_definitions(truth, prediction):
    both, t, p = counted(truth, prediction)
    if t + p == 0:
        assert math.isnan(overlap.dice(truth, prediction))
        assert math.isnan(overlap.jaccard(truth, prediction))
        assert math.isnan(overlap.voe(truth, prediction))
    else:
        assert overlap.dice(truth, prediction) == pytest.approx(2 * both / (t + p))
        assert overlap.jaccard(truth, prediction) == pytest.approx(both / (t + p - both))
        assert overlap.voe(truth, prediction) == pytest.approx(1 - both / (t + p - both))
    if t == 0:
        assert math.isnan(overlap.rvd(truth, prediction))
    else:
        assert overlap.rvd(truth, prediction) == pytest.approx((p - t) / t)


@given(masks, masks)
@settings(max_examples=40, deadline=None)
def test_confusion_counts_every_voxel_once_and_its_figures_follow(truth, prediction):
    counts = overlap.confusion(truth, prediction)
    both, t, p = counted(truth, prediction)
    assert (counts.tp, counts.truth, counts.prediction) == (both, t, p)
    assert counts.tp + counts.fp + counts.fn + counts.tn == truth.size
    if t:
        assert counts.sensitivity == pytest.approx(both / t)
    if p:
        assert counts.precision == pytest.approx(both / p)


def test_overlap_is_symmetric_and_perfect_on_itself():
    rng = np.random.default_rng(1)
    a, b = rng.random((2, 6, 7, 8)) > 0.6
    assert overlap.dice(a, b) == overlap.dice(b, a)
    assert (overlap.dice(a, a), overlap.jaccard(a, a), overlap.voe(a, a), overlap.rvd(a, a)) == (1, 1, 0, 0)
    assert overlap.dice(a, ~a) == 0


def test_a_label_picks_its_class_out_of_a_map():
    truth = np.array([[0, 1, 1, 2, 2, 2]], dtype=np.uint8)
    prediction = np.array([[0, 1, 2, 2, 2, 0]], dtype=np.uint8)
    assert overlap.dice(truth, prediction, 1) == pytest.approx(2 / 3)
    assert overlap.dice(truth, prediction, 2) == pytest.approx(4 / 6)
    assert overlap.dice(truth, prediction) == pytest.approx(8 / 9)
    assert {name: counts.tp for name, counts in overlap.per_class(truth, prediction, ("a", "b")).items()} == {
        "a": 1,
        "b": 2,
    }


def test_the_confusion_matrix_agrees_with_a_loop():
    rng = np.random.default_rng(2)
    truth, prediction = rng.integers(0, 4, (2, 5, 6, 7), dtype=np.uint8)
    matrix = overlap.confusion_matrix(truth, prediction, classes=3)
    expected = np.zeros((4, 4), dtype=int)
    for t, p in zip(truth.ravel(), prediction.ravel(), strict=True):
        expected[t, p] += 1
    np.testing.assert_array_equal(matrix, expected)


def test_global_dice_pools_voxels_of_all_cases():
    big_t, big_p = np.ones((4, 4, 4), bool), np.ones((4, 4, 4), bool)
    small_t, small_p = np.zeros((4, 4, 4), bool), np.zeros((4, 4, 4), bool)
    small_t[0, 0, :2], small_p[0, 0, 2:] = True, True
    pairs = [(big_t, big_p), (small_t, small_p)]
    assert overlap.dice_global(pairs) == pytest.approx(2 * 64 / (2 * 64 + 4))
    assert overlap.dice_global(iter(pairs)) == overlap.dice_global(pairs)
    joined = np.concatenate([big_t, small_t]), np.concatenate([big_p, small_p])
    assert overlap.dice_global(pairs) == pytest.approx(overlap.dice(*joined))
    assert math.isnan(overlap.dice_global([]))


def test_different_shapes_are_refused_in_words():
    with pytest.raises(GridMismatch, match="2 × 3 × 4 voxels and the prediction 2 × 3 × 5"):
        overlap.dice(np.zeros((2, 3, 4)), np.zeros((2, 3, 5)))
