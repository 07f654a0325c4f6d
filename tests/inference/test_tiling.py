"""Where windows lie and how much they count: the same as nnU-Net's steps and MONAI's weights."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_dasl.errors import InputError
from napari_dasl.inference.tiling import axis_starts, gaussian, pad_to, windows

lengths = st.tuples(st.integers(1, 300), st.integers(1, 64), st.sampled_from([0.0, 0.25, 0.5, 0.625, 0.75])).filter(
    lambda drawn: drawn[0] >= drawn[1]
)


@given(lengths)
def test_windows_cover_an_axis_evenly_and_overlap_enough(drawn):
    length, patch, overlap = drawn
    starts = axis_starts(length, patch, overlap)
    assert starts[0] == 0
    assert starts[-1] == length - patch
    steps = np.diff(starts)
    assert (steps > 0).all()
    assert np.ptp(steps) <= 1 if steps.size else True
    assert (steps <= max(1, math.ceil(patch * (1 - overlap)))).all()


@given(lengths)
def test_no_window_is_one_too_many(drawn):
    length, patch, overlap = drawn
    count = len(axis_starts(length, patch, overlap))
    if count > 2:
        # With one fewer, the steps would be longer than the overlap allows.
        assert (length - patch) / (count - 2) > max(1, patch * (1 - overlap)) - 1e-9


@pytest.mark.parametrize(
    ("length", "patch", "expected"), [(64, 64, [0]), (96, 64, [0, 32]), (100, 64, [0, 18, 36]), (128, 64, [0, 32, 64])]
)
def test_starts_by_hand(length, patch, expected):
    assert axis_starts(length, patch) == expected


def test_windows_of_a_volume_are_all_combinations_in_order_of_z():
    found = windows((20, 16, 5), (16, 8, 8))
    assert found == list(itertools.product([0, 4], [0, 4, 8], [0]))


@pytest.mark.parametrize("overlap", [-0.1, 1.0])
def test_an_impossible_overlap_is_refused(overlap):
    with pytest.raises(InputError, match="overlap"):
        axis_starts(10, 5, overlap)


def test_a_window_longer_than_the_axis_is_refused():
    with pytest.raises(InputError, match="window of 6"):
        axis_starts(5, 6)


@pytest.mark.parametrize("patch", [(8, 8, 8), (5, 12, 7), (1, 4, 4), (32, 16, 8)])
def test_the_weights_are_symmetric_and_never_nothing(patch):
    weights = gaussian(patch)
    assert weights.shape == patch
    assert weights.dtype == np.float32
    assert 0.3 < weights.max() <= 1
    assert weights.min() >= 1e-3
    for axis in range(3):
        np.testing.assert_array_equal(weights, np.flip(weights, axis))


def test_sigma_is_an_eighth_of_the_window():
    profile = gaussian((1, 1, 33))[0, 0]
    sigma = 33 / 8
    assert profile[16 + 8] == pytest.approx(math.exp(-(8**2) / (2 * sigma**2)), rel=1e-5)


def test_a_small_volume_is_padded_with_its_border_and_a_large_one_is_not_copied():
    image = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    same, before = pad_to(image, (3, 4, 5))
    assert same is image
    assert before == (0, 0, 0)
    padded, before = pad_to(image, (6, 4, 7))
    assert padded.shape == (2, 6, 4, 7)
    assert before == (1, 0, 1)
    np.testing.assert_array_equal(padded[:, 1:4, :, 1:6], image)
    np.testing.assert_array_equal(padded[:, 0], padded[:, 1])
    np.testing.assert_array_equal(padded[:, 5], padded[:, 3])
