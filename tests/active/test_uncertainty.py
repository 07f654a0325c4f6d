"""Eq. 2 of DASL, by hand and by brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_dasl.active import entropy_map, least_confident, least_confident_map
from napari_dasl.active import uncertainty as module
from napari_dasl.errors import InputError

probabilities = hnp.arrays(np.float64, st.integers(1, 40), elements=st.floats(0, 1))


def softmax(logits: np.ndarray) -> np.ndarray:
    e = np.exp(logits - logits.max(axis=0))
    return e / e.sum(axis=0)


@given(probabilities)
def test_eq_2_of_a_foreground_probability(p):
    expected = sum(1 - max(x, 1 - x) for x in p) / len(p)
    assert least_confident(p) == pytest.approx(expected, abs=1e-6)
    assert 0 <= least_confident(p) <= 0.5


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_eq_2_of_several_classes_is_one_minus_the_largest(classes):
    p = softmax(np.random.default_rng(classes).normal(size=(classes, 4, 5, 6)))
    assert least_confident(p) == pytest.approx((1 - p.max(axis=0)).mean(), abs=1e-6)
    assert least_confident(p) <= 1 - 1 / classes


def test_two_channels_say_the_same_as_their_foreground():
    p = np.random.default_rng(0).random((3, 4, 5))
    assert least_confident(np.stack([1 - p, p])) == pytest.approx(least_confident(p), abs=1e-6)
    assert least_confident(p[np.newaxis]) == pytest.approx(least_confident(p), abs=1e-6)
    assert least_confident(p.ravel()) == pytest.approx(least_confident(p), abs=1e-6)


@pytest.mark.parametrize(("value", "expected"), [(0.0, 0.0), (1.0, 0.0), (0.5, 0.5), (0.9, 0.1)])
def test_a_constant_probability(value, expected):
    assert least_confident(np.full((2, 3, 4), value)) == pytest.approx(expected, abs=1e-6)


def test_slabs_and_half_precision_change_nothing(monkeypatch):
    p = softmax(np.random.default_rng(1).normal(size=(3, 9, 8, 7))).astype(np.float16)
    whole, mapped = least_confident(p), least_confident_map(p)
    monkeypatch.setattr(module, "_SLAB", 200)
    assert least_confident(p) == pytest.approx(whole, abs=1e-7)
    np.testing.assert_array_equal(least_confident_map(p), mapped)
    assert mapped.mean() == pytest.approx(whole, abs=1e-6)


def test_the_entropy_map_is_zero_when_certain_and_log_k_when_not():
    assert entropy_map(np.array([0.0, 1.0])) == pytest.approx([0, 0])
    assert entropy_map(np.array([0.5])) == pytest.approx([math.log(2)])
    assert entropy_map(np.full((4, 1, 1, 1), 0.25)).item() == pytest.approx(math.log(4), abs=1e-6)
    p = softmax(np.random.default_rng(2).normal(size=(3, 2, 3, 4)))
    np.testing.assert_allclose(entropy_map(p), -(p * np.log(p)).sum(axis=0), atol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (np.zeros((2, 3)), "shape"),
        (np.zeros(0), "shape"),
        (np.array([1.5]), "between 0 and 1"),
        (np.array([np.nan, 0.5]), "between 0 and 1"),
        (np.full((2, 1, 1, 1), 0.9), "add up to 1"),
    ],
)
def test_what_is_no_probability_is_refused_in_words(wrong, says):
    with pytest.raises(InputError, match=says) as caught:
        least_confident(wrong)
    assert caught.value.hint
