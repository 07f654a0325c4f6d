"""Signatures: area averages of the foreground, one length for every shape."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_dasl.active import mean_similarity
from napari_dasl.errors import InputError
from napari_dasl.inference import signature


def two_classes(foreground: np.ndarray) -> np.ndarray:
    return np.stack([1 - foreground, foreground])


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def test_whole_multiples_are_averaged_block_by_block():
    p = np.random.default_rng(0).random((8, 12, 16))
    blocks = p.reshape(4, 2, 4, 3, 4, 4).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(signature(two_classes(p), grid=4), unit(blocks.ravel()), atol=1e-6)


def test_a_coarser_scan_than_the_grid_repeats_its_voxels():
    p = np.random.default_rng(1).random((2, 2, 2))
    repeated = p.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    np.testing.assert_allclose(signature(two_classes(p), grid=4), unit(repeated.ravel()), atol=1e-6)


@given(st.tuples(*[st.integers(1, 40)] * 3), st.integers(1, 12))
def test_any_shape_gives_a_unit_vector_and_loses_no_mass(shape, grid):
    p = np.random.default_rng(0).random(shape) + 0.01
    p /= p.max()
    vector = signature(two_classes(p), grid=grid)
    assert vector.shape == (grid**3,)
    assert vector.dtype == np.float32
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    constant = signature(two_classes(np.full(shape, 0.3)), grid=grid)
    np.testing.assert_allclose(constant, grid**-1.5, rtol=1e-4)


def test_a_single_voxel_never_falls_between_the_cells():
    for place in range(50):
        p = np.zeros((50, 50, 50))
        p[place, place, 49 - place] = 1
        assert signature(two_classes(p), grid=4).any()


def test_foreground_channels_follow_one_another_and_the_background_is_left_out():
    rng = np.random.default_rng(2)
    p = rng.random((3, 6, 6, 6))
    p /= p.sum(axis=0)
    vector = signature(p, grid=3)
    first, second = (two_classes(p[k]).astype(np.float64) for k in (1, 2))
    assert vector.shape == (2 * 27,)
    np.testing.assert_allclose(unit(vector[:27]), signature(first, grid=3), atol=1e-5)
    np.testing.assert_allclose(unit(vector[27:]), signature(second, grid=3), atol=1e-5)


def test_no_foreground_is_all_zero_and_like_nothing():
    nothing = signature(two_classes(np.zeros((5, 5, 5))), grid=4)
    assert not nothing.any()
    something = signature(two_classes(np.full((5, 5, 5), 0.5)), grid=4)
    np.testing.assert_allclose(mean_similarity([nothing, something, something]), [0, 0.5, 0.5], atol=1e-6)


def test_the_region_is_what_the_grid_covers():
    p = np.zeros((20, 20, 20))
    p[5:9, 6:10, 7:11] = np.random.default_rng(3).random((4, 4, 4))
    region = np.zeros(p.shape, dtype=bool)
    region[5, 6, 7] = region[8, 9, 10] = True
    np.testing.assert_allclose(
        signature(two_classes(p), grid=4, region=region), unit(p[5:9, 6:10, 7:11].ravel()), atol=1e-6
    )
    empty = np.zeros(p.shape, dtype=bool)
    np.testing.assert_array_equal(signature(two_classes(p), 4, empty), signature(two_classes(p), 4))


def test_half_precision_is_enough():
    p = np.random.default_rng(4).random((9, 11, 13))
    np.testing.assert_allclose(signature(two_classes(p).astype(np.float16), 5), signature(two_classes(p), 5), atol=1e-3)


@pytest.mark.parametrize(
    ("probability", "options", "says"),
    [
        (np.zeros((3, 3, 3)), {}, "shape"),
        (np.zeros((1, 3, 3, 3)), {}, "K at least 2"),
        (np.zeros((2, 3, 3, 3)), {"grid": 0}, "0 cells"),
        (np.full((2, 3, 3, 3), np.nan), {}, "no numbers"),
        (np.zeros((2, 3, 3, 3)), {"region": np.ones((3, 3, 4), dtype=bool)}, "region has shape"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(probability, options, says):
    with pytest.raises(InputError, match=says):
        signature(probability, **options)
