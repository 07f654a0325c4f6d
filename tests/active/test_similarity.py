"""Eq. 3 of DASL in linear time, against the D × D matrix that it must not make."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_dasl.active import mean_similarity, mean_similarity_to, similarity_weighted
from napari_dasl.active import similarity as module
from napari_dasl.errors import InputError

shapes = st.tuples(st.integers(2, 12), st.integers(1, 9))
ordinary = st.just(0.0) | st.floats(-1e3, 1e3).filter(lambda x: abs(x) > 1e-6)
pools = shapes.flatmap(lambda shape: hnp.arrays(np.float64, shape, elements=ordinary))


def brute_force(signatures: np.ndarray) -> np.ndarray:
    """Every pair on its own; a zero vector is like nothing but itself."""
    count = len(signatures)
    result = np.zeros(count)
    for d in range(count):
        for j in range(count):
            a, b = signatures[d], signatures[j]
            if d == j:
                result[d] += 1
            elif a.any() and b.any():
                result[d] += a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
    return (result - 1) / (count - 1)


@given(pools)
@settings(max_examples=200)
def test_the_linear_form_equals_the_matrix(signatures):
    np.testing.assert_allclose(mean_similarity(signatures), brute_force(signatures), atol=1e-10)


@given(pools)
def test_it_does_not_depend_on_the_length_of_a_signature(signatures):
    scales = np.geomspace(1e-3, 1e3, len(signatures))[:, np.newaxis]
    np.testing.assert_allclose(mean_similarity(signatures * scales), mean_similarity(signatures), atol=1e-9)


@pytest.mark.parametrize("size", [1e-200, 1e200, 5e-324])
def test_numbers_whose_squares_leave_the_range_still_have_a_direction(size):
    signatures = np.array([[size, 0], [1.0, 0], [0, size]])
    np.testing.assert_allclose(mean_similarity(signatures), [0.5, 0.5, 0])


@pytest.mark.parametrize("signature", [np.array([[0.3, 0.4]]), np.zeros((1, 3))])
def test_a_single_scan_has_similarity_one(signature):
    assert mean_similarity(signature) == pytest.approx([1])


def test_an_empty_pool_is_empty():
    assert mean_similarity(np.zeros((0, 4))).shape == (0,)
    assert mean_similarity([]).shape == (0,)


def test_a_zero_signature_is_like_nothing_but_itself():
    signatures = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    np.testing.assert_allclose(mean_similarity(signatures), [0.5, 0.5, 0.0])
    np.testing.assert_allclose(mean_similarity(np.zeros((3, 2))), [0, 0, 0])


def test_equal_scans_are_all_alike_and_orthogonal_ones_are_not():
    np.testing.assert_allclose(mean_similarity(np.ones((5, 4))), np.ones(5))
    np.testing.assert_allclose(mean_similarity(np.eye(4)), np.zeros(4))


@pytest.mark.parametrize("rows", [1, 3, 100])
def test_arrays_files_and_collections_give_the_same_whatever_the_block(rows, tmp_path, monkeypatch):
    signatures = np.random.default_rng(0).random((10, 6)).astype(np.float32)
    monkeypatch.setattr(module, "_BLOCK", rows * 6)
    np.save(tmp_path / "signatures.npy", signatures)
    mapped = np.load(tmp_path / "signatures.npy", mmap_mode="r")
    expected = brute_force(signatures.astype(np.float64))
    np.testing.assert_allclose(mean_similarity(signatures), expected, atol=1e-12)
    np.testing.assert_allclose(mean_similarity(mapped), expected, atol=1e-12)
    np.testing.assert_allclose(mean_similarity(list(signatures)), expected, atol=1e-12)


def test_a_lazy_collection_is_walked_through_twice_holding_one_block(monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", 2 * 4)
    signatures = np.random.default_rng(1).random((9, 4))
    reads: list[int] = []

    class OnDisk:
        def __iter__(self):
            for index in range(len(signatures)):
                reads.append(index)
                yield signatures[index]

    np.testing.assert_allclose(mean_similarity(OnDisk()), brute_force(signatures), atol=1e-12)
    assert reads == [*range(9), *range(9)]


def test_the_input_is_left_as_it_was():
    signatures = np.array([[1e-200, 0.0], [2.0, 1.0]])
    before = signatures.copy()
    mean_similarity(signatures)
    np.testing.assert_array_equal(signatures, before)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (np.zeros(3), "shape"),
        ([np.ones(3), np.ones(4)], "4 numbers where the others have 3"),
        (np.array([[1.0, np.nan], [1.0, 0.0]]), "NaN"),
        (np.array([[1.0, np.inf], [1.0, 0.0]]), "NaN or infinity"),
        (iter([np.ones(3)]), "only once"),
    ],
)
def test_unusable_signatures_are_refused_in_words(wrong, says):
    with pytest.raises(InputError, match=says):
        mean_similarity(wrong)


@given(pools, st.integers(1, 5))
def test_similarity_to_another_set_equals_the_matrix(signatures, count):
    others = np.random.default_rng(count).normal(size=(count, signatures.shape[1]))
    norms = np.linalg.norm(signatures, axis=1)
    units = np.divide(signatures, norms[:, None], out=np.zeros_like(signatures), where=norms[:, None] > 0)
    expected = (units @ (others / np.linalg.norm(others, axis=1, keepdims=True)).T).mean(axis=1)
    np.testing.assert_allclose(mean_similarity_to(signatures, others), expected, atol=1e-10)


def test_similarity_to_nothing_or_to_another_length_is_refused():
    with pytest.raises(InputError, match="no signature"):
        mean_similarity_to(np.ones((2, 3)), np.zeros((0, 3)))
    with pytest.raises(InputError, match="3 numbers where the others have 4"):
        mean_similarity_to(np.ones((2, 3)), np.ones((2, 4)))


@given(pools)
def test_with_beta_zero_eq_3_is_eq_2_exactly(signatures):
    uncertainty = np.random.default_rng(0).random(len(signatures))
    np.testing.assert_array_equal(similarity_weighted(uncertainty, signatures, beta=0), uncertainty)


@given(pools.map(np.abs), st.sampled_from([0.5, 1.0, 2.0]))
def test_eq_3_is_uncertainty_times_the_power_of_the_mean_similarity(signatures, beta):
    uncertainty = np.random.default_rng(0).random(len(signatures))
    expected = uncertainty * np.abs(brute_force(signatures)) ** beta
    np.testing.assert_allclose(similarity_weighted(uncertainty, signatures, beta), expected, atol=1e-5)


def test_beta_one_is_the_default_and_one_scan_keeps_its_uncertainty():
    signatures = np.random.default_rng(2).random((6, 4))
    uncertainty = np.linspace(0, 0.5, 6)
    np.testing.assert_allclose(similarity_weighted(uncertainty, signatures), uncertainty * brute_force(signatures))
    assert similarity_weighted([0.3], [np.ones(4)]) == pytest.approx([0.3])


def test_a_negative_similarity_keeps_its_place_below_zero():
    signatures = np.array([[1.0, 0.0], [-1.0, 0.0], [-1.0, 0.1]])
    for beta in (0.5, 1.0, 2.0):
        scores = similarity_weighted(np.ones(3), signatures, beta)
        assert np.isfinite(scores).all()
        assert scores.argmin() == 0


@pytest.mark.parametrize("beta", [-1.0, float("nan"), float("inf")])
def test_a_beta_without_meaning_is_refused(beta):
    with pytest.raises(InputError, match="beta"):
        similarity_weighted([0.1, 0.2], np.ones((2, 3)), beta)


def test_numbers_that_do_not_fit_together_are_refused():
    with pytest.raises(InputError, match="3 uncertainties and 2 signatures"):
        similarity_weighted([0.1, 0.2, 0.3], np.ones((2, 3)))
    with pytest.raises(InputError, match="finite"):
        similarity_weighted([0.1, np.nan], np.ones((2, 3)))
