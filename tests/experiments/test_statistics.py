"""Tests of the papers against textbook values and values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from napari_dasl.errors import InputError
from napari_dasl.experiments.statistics import (
    kolmogorov_smirnov,
    linear_fit,
    mann_whitney,
    pairwise,
    repeated_measures,
)


def test_repeated_measures_of_a_small_table_worked_out_by_hand():
    # Subjects 1..3, conditions a b c: means 2, 3, 7; grand mean 4. SS_condition = 3 (4 + 1 + 9) = 42;
    # SS_subject = 3 (1 + 0 + 1) = 6; SS_total = 9+4+1 + 4+1+0 + 1+9+25 = 54, so that SS_rest = 6 on 4 degrees.
    found = repeated_measures({"a": [1, 2, 3], "b": [2, 3, 4], "c": [5, 7, 9]})
    assert (found.between, found.within) == (2, 4)
    total = sum((v - 4) ** 2 for v in (1, 2, 3, 2, 3, 4, 5, 7, 9))
    rest = total - 42 - 3 * sum((m - 4) ** 2 for m in (8 / 3, 4, 16 / 3))
    assert found.f == pytest.approx((42 / 2) / (rest / 4))
    assert 0 < found.p < 0.05


def test_of_two_conditions_it_is_the_paired_t_test():
    from scipy import stats

    a, b = [0.7, 0.8, 0.75, 0.9], [0.6, 0.75, 0.76, 0.7]
    t = stats.ttest_rel(a, b)
    found = repeated_measures({"a": a, "b": b})
    assert found.f == pytest.approx(t.statistic**2)
    assert found.p == pytest.approx(t.pvalue)


def test_where_conditions_shift_every_subject_alike_f_is_not_defined():
    found = repeated_measures({"a": [1.0, 2.0], "b": [2.0, 3.0]})
    assert found.f is None
    assert found.p is None


def test_what_does_not_pair_up_is_refused():
    with pytest.raises(InputError, match="cannot be made"):
        repeated_measures({"a": [1, 2], "b": [1, 2, 3]})
    with pytest.raises(InputError, match="not a number"):
        repeated_measures({"a": [1, np.nan], "b": [1, 2]})


def test_kolmogorov_smirnov_of_separate_samples_is_one_and_exact():
    # All orders of 3 + 3 values are equally likely; two of the 20 have every a below every b, or above.
    found = kolmogorov_smirnov([1, 2, 3], [4, 5, 6])
    assert found.statistic == 1
    assert found.p == pytest.approx(2 / 20)
    assert kolmogorov_smirnov([], [1]).p is None


def test_pairs_are_corrected_by_holm():
    found = pairwise({"a": [1, 2, 3], "b": [4, 5, 6], "c": [1, 2, 3]})
    assert found[("a", "b")].p == pytest.approx(3 * 2 / 20)
    assert found[("a", "c")].p == 1


def test_mann_whitney_is_one_tailed_and_exact():
    assert mann_whitney([4, 5, 6], [1, 2, 3]).p == pytest.approx(1 / 20)
    assert mann_whitney([1, 2, 3], [4, 5, 6]).p == pytest.approx(1.0)
    assert mann_whitney([4, 5, 6, np.nan], [1, 2, 3]).statistic == 9


def test_anscombe_fits_a_line_that_explains_two_thirds():
    x = [10, 8, 13, 9, 11, 14, 6, 4, 12, 7, 5]
    y = [8.04, 6.95, 7.58, 8.81, 8.33, 9.96, 7.24, 4.26, 10.84, 4.82, 5.68]
    found = linear_fit([*x, np.nan], [*y, 1.0])
    assert found.n == 11
    assert found.slope == pytest.approx(0.5, abs=1e-3)
    assert found.r_squared == pytest.approx(0.67, abs=5e-3)
    assert linear_fit([1, 1, 1], [1, 2, 3]).r_squared is None
