"""What the similarity factor did, said in numbers and in a sentence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from napari_dasl.active import diagnose
from napari_dasl.active.diagnosis import spearman
from napari_dasl.errors import InputError

few_values = hnp.arrays(np.float64, st.integers(2, 20), elements=st.integers(0, 6).map(float))


@given(few_values, st.randoms())
def test_spearman_equals_scipy_with_ties(first, random):
    second = np.array(random.sample(list(first), len(first)))
    if np.ptp(first) == 0:
        assert spearman(first, second) is None
    else:
        assert spearman(first, second) == pytest.approx(stats.spearmanr(first, second).statistic)


def test_a_factor_that_hardly_varies_is_called_inert():
    rng = np.random.default_rng(0)
    found = diagnose(rng.random(50), 0.975 + 0.0001 * rng.normal(size=50))
    assert found.agreement > 0.99
    assert found.variation < 0.01
    assert found.sentence.startswith("Similarity changed almost nothing")


def test_a_factor_against_uncertainty_is_called_harmful():
    uncertainty = np.linspace(0.1, 0.5, 30)
    found = diagnose(uncertainty, 1 - 1.9 * uncertainty)
    assert found.against == pytest.approx(-1)
    assert found.sentence.startswith("Similarity moves the scans that the network is least sure of down")


def test_a_factor_that_acts_without_harm_needs_no_sentence():
    rng = np.random.default_rng(2)
    found = diagnose(rng.random(200), rng.random(200))
    assert found.agreement < 0.99
    assert found.sentence == ""


@pytest.mark.parametrize("count", [0, 1, 2, 4])
def test_few_scans_are_not_judged(count):
    assert diagnose(np.arange(count), np.ones(count)).sentence == ""


def test_beta_is_taken_into_account():
    rng = np.random.default_rng(3)
    u, d = rng.random(100), rng.random(100)
    assert diagnose(u, d, beta=0).agreement == pytest.approx(1)
    assert diagnose(u, d, beta=0).sentence == ""
    assert diagnose(u, d, beta=3).agreement < diagnose(u, d, beta=0.5).agreement


def test_variation_of_nothing_is_unknown():
    assert diagnose([0.1, 0.2], [0.0, 0.0]).variation is None


def test_numbers_that_do_not_fit_together_are_refused():
    with pytest.raises(InputError, match="2 uncertainties and 1 similarities"):
        diagnose([0.1, 0.2], [0.3])
