"""Statistics of paired learning curves, against hand values, brute force and SciPy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from napari_dasl.errors import InputError
from napari_dasl.metrics.statistics import aubc, bootstrap_interval, holm, paired_difference, wilcoxon

DRAWN = np.random.default_rng(3).normal(0.3, 1.0, 9)


class TestAubc:
    def test_is_the_mean_height_of_the_curve(self):
        assert aubc([8, 16, 24], [0.8, 0.8, 0.8]) == pytest.approx(0.8)

    def test_weighs_uneven_steps_by_their_width(self):
        # (0.6 + 0.8) / 2 * 10 + (0.8 + 0.9) / 2 * 30 = 32.5, over a range of 40
        assert aubc([10, 20, 50], [0.6, 0.8, 0.9]) == pytest.approx(32.5 / 40)

    @pytest.mark.parametrize("budget", [[8], [8, 8], [16, 8]])
    def test_refuses_what_is_no_curve(self, budget):
        with pytest.raises(InputError):
            aubc(budget, [0.5] * len(budget))


class TestPairedDifference:
    def test_equals_scipy(self):
        a, b = DRAWN + 0.2, np.zeros(9)
        found = paired_difference(a, b)
        assert found.mean == pytest.approx(a.mean())
        assert found.sd == pytest.approx(a.std(ddof=1))
        assert found.n == 9
        assert found.p_t == pytest.approx(stats.ttest_rel(a, b).pvalue)
        assert found.p_wilcoxon == pytest.approx(stats.wilcoxon(a, method="exact").pvalue)

    def test_the_interval_is_that_of_scipys_bca(self):
        expected = stats.bootstrap(
            (DRAWN,), np.mean, method="BCa", n_resamples=20_000, random_state=np.random.default_rng(5)
        ).confidence_interval
        found = bootstrap_interval(DRAWN, resamples=20_000)
        assert found == pytest.approx((expected.low, expected.high), abs=0.03)

    def test_the_interval_is_the_same_on_every_call(self):
        assert bootstrap_interval(DRAWN) == bootstrap_interval(DRAWN)

    def test_changing_sides_changes_the_sign_alone(self):
        ab, ba = paired_difference(DRAWN, DRAWN**2), paired_difference(DRAWN**2, DRAWN)
        assert ab.mean == pytest.approx(-ba.mean)
        assert (ab.p_t, ab.p_wilcoxon) == pytest.approx((ba.p_t, ba.p_wilcoxon))

    def test_one_pair_has_a_difference_and_nothing_else(self):
        found = paired_difference([0.8], [0.7])
        assert found.mean == pytest.approx(0.1)
        assert (found.sd, found.low, found.high, found.p_t, found.p_wilcoxon) == (None,) * 5

    def test_equal_results_have_no_p(self):
        found = paired_difference([0.5, 0.6], [0.5, 0.6])
        assert (found.mean, found.low, found.high, found.p_t, found.p_wilcoxon) == (0, 0, 0, None, None)

    @pytest.mark.parametrize(("a", "b"), [([], []), ([1, 2], [1]), ([1, np.nan], [1, 2])])
    def test_refuses_what_does_not_pair(self, a, b):
        with pytest.raises(InputError):
            paired_difference(a, b)


class TestWilcoxon:
    def test_five_wins_of_five_is_two_in_thirty_two(self):
        assert wilcoxon([1, 2, 3, 4, 5]) == pytest.approx(2 / 32)

    def test_with_ties_equals_the_count_over_all_signs(self):
        d = np.array([1.0, 1.0, -1.0, 2.0, 3.0, 3.0, -4.0, 0.0])
        ranks = stats.rankdata(np.abs(d[d != 0]))
        sums = np.array([np.dot(signs, ranks) for signs in itertools.product((0, 1), repeat=7)])
        seen = ranks[d[d != 0] > 0].sum()
        expected = min(1.0, 2 * min((sums <= seen).mean(), (sums >= seen).mean()))
        assert wilcoxon(d) == pytest.approx(expected)

    def test_many_pairs_equal_the_normal_distribution_of_scipy(self):
        d = np.random.default_rng(0).normal(0.2, 1, 60)
        assert wilcoxon(d) == pytest.approx(stats.wilcoxon(d, method="approx").pvalue)


class TestHolm:
    def test_a_hand_computed_example(self):
        assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])

    def test_undefined_tests_do_not_count(self):
        assert holm([None, 0.02, 0.04]) == [None, pytest.approx(0.04), pytest.approx(0.04)]

    def test_never_exceeds_one(self):
        assert holm([0.7, 0.8]) == [1.0, 1.0]
