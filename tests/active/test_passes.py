"""Several passes over one scan, against the formulas written out."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from napari_dasl.active import Passes, entropy_map, mean_dice, pairwise_dice
from napari_dasl.errors import InputError


def softmax(rng, shape=(3, 4, 5, 6)) -> np.ndarray:
    raw = np.exp(2 * rng.standard_normal(shape))
    return (raw / raw.sum(axis=0)).astype(np.float32)


def filled(*maps) -> Passes:
    passes = Passes()
    for one in maps:
        passes.add(one)
    return passes


def test_mutual_information_is_the_entropy_of_the_mean_less_the_mean_entropy():
    rng = np.random.default_rng(0)
    maps = [softmax(rng) for _ in range(4)]
    mean = np.mean(maps, axis=0)
    expected = -(mean * np.log(mean)).sum(axis=0) - np.mean([-(p * np.log(p)).sum(axis=0) for p in maps], axis=0)
    found = filled(*maps)
    np.testing.assert_allclose(found.mutual_information(), expected, atol=1e-5)
    np.testing.assert_allclose(found.mean(), mean, rtol=1e-5)


def test_equal_passes_have_none_however_unsure_each_is():
    unsure = np.full((2, 2, 2, 2), 0.5, np.float32)
    assert filled(unsure, unsure, unsure).mutual_information() == pytest.approx(0, abs=1e-6)
    assert float(entropy_map(unsure).mean()) == pytest.approx(np.log(2))


def test_opposite_certainties_reach_ln_2():
    yes = np.stack([np.zeros((1, 1, 2)), np.ones((1, 1, 2))]).astype(np.float32)
    found = filled(yes, 1 - yes)
    assert found.mutual_information() == pytest.approx(np.log(2), rel=1e-5)
    assert found.disagreement() == pytest.approx(0.5)
    assert found.pairwise_dice() == 0


def test_disagreement_is_the_share_against_the_majority():
    yes = np.stack([np.zeros((1, 1, 1)), np.ones((1, 1, 1))]).astype(np.float32)
    assert float(filled(yes, yes, 1 - yes, yes).disagreement().item()) == pytest.approx(0.25)


def test_pairwise_dice_is_the_mean_over_pairs_and_foreground_classes():
    rng = np.random.default_rng(1)
    labels = [rng.integers(0, 3, (4, 5, 6)) for _ in range(3)]

    def dice(a, b):
        return np.mean([2 * np.sum((a == c) & (b == c)) / (np.sum(a == c) + np.sum(b == c)) for c in (1, 2)])

    assert pairwise_dice(labels) == pytest.approx(np.mean([dice(a, b) for a, b in combinations(labels, 2)]))


def test_empty_label_maps_agree_and_a_class_that_neither_holds_is_left_out():
    empty = np.zeros((2, 2, 2), np.uint8)
    one = empty.copy()
    one[0] = 1
    both = one.copy()
    both[1] = 2
    assert mean_dice(empty, empty) == 1
    assert mean_dice(one, one) == 1
    assert mean_dice(empty, one) == 0
    assert mean_dice(one, both) == pytest.approx(0.5)


def test_what_cannot_be_combined_is_refused():
    p = softmax(np.random.default_rng(0))
    with pytest.raises(InputError, match="shape"):
        filled(p, p[:, :2])
    with pytest.raises(InputError, match="K at least 2"):
        filled(p[0])
    with pytest.raises(InputError, match="1 passes"):
        filled(p).mutual_information()
    with pytest.raises(InputError, match="no pair"):
        filled(p).pairwise_dice()
    with pytest.raises(InputError, match="shapes"):
        mean_dice(np.zeros((1, 1, 1), int), np.zeros((1, 1, 2), int))
