"""The tests of the papers, from libraries that are known for them: scipy, and statsmodels for the analysis of variance.

Paired differences over seeds, with bootstrap intervals, are :func:`napari_dasl.metrics.statistics.paired_difference`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import stats

from napari_dasl.errors import InputError
from napari_dasl.metrics.statistics import PairedDifference, aubc, holm, paired_difference

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Anova",
    "Fit",
    "PairedDifference",
    "Test",
    "aubc",
    "holm",
    "kolmogorov_smirnov",
    "linear_fit",
    "mann_whitney",
    "paired_difference",
    "pairwise",
    "repeated_measures",
]


@dataclass(frozen=True)
class Test:
    """What a test found: its *statistic*, and *p*; None where it is not defined."""

    statistic: float | None
    p: float | None


@dataclass(frozen=True)
class Anova:
    """An F test: the statistic, both degrees of freedom, and *p*; statistic and *p* are None where nothing varies."""

    f: float | None
    between: float
    within: float
    p: float | None


@dataclass(frozen=True)
class Fit:
    """A straight line through *n* points: the share of variance it explains, and *p* of a slope of zero."""

    r_squared: float | None
    slope: float | None
    p: float | None
    n: int


def repeated_measures(columns: Mapping[str, Sequence[float]]) -> Anova:
    """One-way analysis of variance with repeated measures (as in the PET curriculum paper).

    Parameters
    ----------
    columns : mapping
        Condition to one value per subject (such as a seed or a split), in the same order of subjects in each.

    Raises
    ------
    InputError
        There are fewer than two conditions or subjects, they do not pair up, or statsmodels is not installed.
    """
    table = _table(columns)
    subjects, conditions = table.shape
    between, within = conditions - 1, (conditions - 1) * (subjects - 1)
    # What is left when subject and condition are taken out; without it the F is no number.
    rest = table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) + table.mean()
    if not np.abs(rest).max() > 1e-12 * max(1.0, float(np.abs(table).max())):
        return Anova(None, between, within, None)
    try:
        import pandas
        from statsmodels.stats.anova import AnovaRM
    except ImportError as error:
        raise InputError(
            "The analysis of variance needs statsmodels.", 'Install it with `pip install "napari-dasl[report]"`.'
        ) from error
    long = pandas.DataFrame(
        [(subject, name, table[subject, at]) for at, name in enumerate(columns) for subject in range(subjects)],
        columns=["subject", "condition", "value"],
    )
    found = AnovaRM(long, "value", "subject", within=["condition"]).fit().anova_table.iloc[0]
    return Anova(float(found["F Value"]), float(found["Num DF"]), float(found["Den DF"]), float(found["Pr > F"]))


def kolmogorov_smirnov(a: ArrayLike, b: ArrayLike) -> Test:
    """Two-sided test of two samples for one distribution; exact where the samples are small."""
    first, second = _known(a), _known(b)
    if not first.size or not second.size:
        return Test(None, None)
    found = stats.ks_2samp(first, second)
    return Test(float(found.statistic), float(found.pvalue))


def mann_whitney(a: ArrayLike, b: ArrayLike, alternative: Literal["greater", "less", "two-sided"] = "greater") -> Test:
    """Unpaired rank test; one-tailed, *a* against *b*, as in the stroke difficulty paper. NaN are left out."""
    first, second = _known(a), _known(b)
    if not first.size or not second.size:
        return Test(None, None)
    found = stats.mannwhitneyu(first, second, alternative=alternative)
    return Test(float(found.statistic), float(found.pvalue))


def pairwise(columns: Mapping[str, Sequence[float]]) -> dict[tuple[str, str], Test]:
    """:func:`kolmogorov_smirnov` of every pair of conditions, its p after Holm's correction over the pairs."""
    pairs = list(combinations(columns, 2))
    found = [kolmogorov_smirnov(columns[a], columns[b]) for a, b in pairs]
    corrected = holm([test.p for test in found])
    return {pair: Test(test.statistic, p) for pair, test, p in zip(pairs, found, corrected, strict=True)}


def linear_fit(x: ArrayLike, y: ArrayLike) -> Fit:
    """Least squares of *y* over *x*; places where either is not a number are left out.

    Raises
    ------
    InputError
        There are not as many of either.
    """
    first, second = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if first.ndim != 1 or first.shape != second.shape:
        raise InputError(f"{first.size} and {second.size} numbers are no points.", "Give as many of either.")
    use = np.isfinite(first) & np.isfinite(second)
    first, second = first[use], second[use]
    if first.size < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return Fit(None, None, None, int(first.size))
    line = stats.linregress(first, second)
    return Fit(float(line.rvalue**2), float(line.slope), float(line.pvalue), int(first.size))


def _known(values: ArrayLike) -> NDArray[np.float64]:
    found = np.asarray(values, np.float64).ravel()
    return found[np.isfinite(found)]


def _table(columns: Mapping[str, Sequence[float]]) -> NDArray[np.float64]:
    """Subjects by conditions."""
    sizes = {len(values) for values in columns.values()}
    if len(columns) < 2 or len(sizes) != 1 or min(sizes) < 2:
        raise InputError(
            f"An analysis of variance of {len(columns)} conditions with {sorted(sizes)} values cannot be made.",
            "Give two or more conditions, and for each the same two or more subjects.",
        )
    table = np.asarray([list(values) for values in columns.values()], np.float64).T
    if not np.isfinite(table).all():
        raise InputError("A value of the analysis of variance is not a number.", "Leave out subjects with a gap.")
    return table
