"""What a comparison of two methods needs: area under a learning curve, paired differences, and correction for many.

Every comparison here is paired: the same seed gives both methods the same first labels, so their difference is free of
the luck of that draw.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from napari_dasl.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = ["PairedDifference", "aubc", "bootstrap_interval", "holm", "paired_difference", "wilcoxon"]

EXACT_PAIRS = 25
"""Up to so many pairs the Wilcoxon distribution is counted; above it is near enough to the normal one."""


@dataclass(frozen=True)
class PairedDifference:
    """The mean of ``a − b`` over pairs, and how sure it is.

    Attributes
    ----------
    mean : float
    sd : float or None
        Sample standard deviation of the differences; None for one pair.
    n : int
        Pairs.
    low, high : float or None
        95 % bootstrap interval of the mean; None for one pair.
    p_t, p_wilcoxon : float or None
        Two-sided p of the paired t test and of the Wilcoxon signed-rank test; None where they are not defined: for one
        pair, for differences that are all alike (t), and for differences that are all zero (Wilcoxon).
    """

    mean: float
    sd: float | None
    n: int
    low: float | None
    high: float | None
    p_t: float | None
    p_wilcoxon: float | None


def aubc(budget: ArrayLike, dice: ArrayLike) -> float:
    """Area under the budget curve: the trapezoid of Dice over annotated scans, divided by the range of the budget.

    It is the mean height of the learning curve (nnActive, TMLR 2025), so a Dice of 0.8 everywhere has 0.8.

    Parameters
    ----------
    budget : array (n,)
        Annotated scans (or any other cost), rising.
    dice : array (n,)

    Raises
    ------
    InputError
        There are fewer than two points, or the budget does not rise.
    """
    x, y = np.asarray(budget, dtype=np.float64), np.asarray(dice, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape or x.size < 2:
        raise InputError("A learning curve needs at least two points.", "Run at least one round with a query.")
    if not (np.isfinite(x).all() and np.isfinite(y).all() and (np.diff(x) > 0).all()):
        raise InputError("The budget of a learning curve must rise from point to point.", "Sort the points.")
    return float(np.trapezoid(y, x) / (x[-1] - x[0]))


def paired_difference(
    a: ArrayLike, b: ArrayLike, *, resamples: int = 10_000, seed: int = 0, level: float = 0.95
) -> PairedDifference:
    """Compare two methods over pairs, such as the seeds of a simulation.

    Parameters
    ----------
    a, b : array (n,)
        The same pairs in the same order.
    resamples, seed, level
        Of :func:`bootstrap_interval`.

    Raises
    ------
    InputError
        There is no pair, or the numbers do not pair up.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape or first.size == 0:
        raise InputError(f"{first.size} and {second.size} numbers are no pairs.", "Give as many of either.")
    d = first - second
    if not np.isfinite(d).all():
        raise InputError("A paired difference is not a number.", "Leave out pairs that were not measured.")
    mean, n = float(d.mean()), int(d.size)
    if n == 1:
        return PairedDifference(mean, None, 1, None, None, None, None)
    sd = float(d.std(ddof=1))
    low, high = bootstrap_interval(d, resamples=resamples, seed=seed, level=level)
    # Differences that are alike but for rounding have no spread to test against.
    flat = sd <= 1e-12 * max(1.0, abs(mean))
    p_t = None if flat else float(2 * stats.t.sf(abs(mean) / (sd / math.sqrt(n)), n - 1))
    return PairedDifference(mean, sd, n, low, high, p_t, wilcoxon(d))


def bootstrap_interval(
    values: ArrayLike, *, resamples: int = 10_000, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """Bias-corrected and accelerated bootstrap interval of a mean (Efron 1987).

    Parameters
    ----------
    values : array (n,)
        At least two.
    resamples : int
        Drawn with replacement by a generator of *seed*, so the interval is the same on every call.
    level : float

    Returns
    -------
    (float, float)
        Both are the mean where all values are alike.
    """
    x = np.asarray(values, dtype=np.float64)
    n, mean = x.size, float(x.mean())
    if np.ptp(x) == 0:
        return mean, mean
    means = np.sort(x[np.random.default_rng(seed).integers(0, n, (resamples, n))].mean(axis=1))
    # Ties count half: with few values many resamples have exactly the mean.
    below = (np.count_nonzero(means < mean) + 0.5 * np.count_nonzero(means == mean)) / resamples
    bias = stats.norm.ppf(np.clip(below, 1 / resamples, 1 - 1 / resamples))
    jackknife = mean - (x.sum() - x) / (n - 1)
    acceleration = (jackknife**3).sum() / (6 * ((jackknife**2).sum()) ** 1.5)
    z = bias + stats.norm.ppf([(1 - level) / 2, (1 + level) / 2])
    share = stats.norm.cdf(bias + z / (1 - acceleration * z))
    low, high = np.quantile(means, share)
    return float(low), float(high)


def wilcoxon(differences: ArrayLike) -> float | None:
    """Two-sided p of the Wilcoxon signed-rank test; exact up to 25 differences, also with ties.

    Differences of zero are left out (Wilcoxon 1945) and equal sizes share their mean rank; the exact p counts in how
    many of the 2^n assignments of signs the smaller rank sum is as small as the one observed. None for fewer than two
    differences, or when all are zero.
    """
    d = np.asarray(differences, dtype=np.float64)
    if d.size < 2:
        return None
    d = d[d != 0]
    if d.size == 0:
        return None
    ranks = stats.rankdata(np.abs(d))
    positive = float(ranks[d > 0].sum())
    if d.size <= EXACT_PAIRS:
        return _exact(ranks, positive)
    total = float(ranks.sum())
    spread = math.sqrt(float((ranks**2).sum()) / 4)
    return float(min(1.0, 2 * stats.norm.sf(abs(positive - total / 2) / spread)))


def _exact(ranks: NDArray[np.float64], positive: float) -> float:
    """Count assignments of signs by their rank sum; mean ranks are halves, so sums are counted in halves."""
    halves = np.rint(2 * ranks).astype(int)
    ways = np.zeros(halves.sum() + 1)
    ways[0] = 1.0
    for step in halves:
        ways[step:] = ways[step:] + ways[: ways.size - step]
    at = round(2 * positive)
    lower, upper = ways[: at + 1].sum(), ways[at:].sum()
    return float(min(1.0, 2 * min(lower, upper) / ways.sum()))


def holm(pvalues: Sequence[float | None]) -> list[float | None]:
    """Adjust p values of several comparisons by Holm's step-down procedure (1979).

    Parameters
    ----------
    pvalues : sequence of float or None
        None stands for a test that is not defined: it stays None and does not count.

    Returns
    -------
    list of float or None
        In the same order.
    """
    known = sorted((p, place) for place, p in enumerate(pvalues) if p is not None)
    adjusted: list[float | None] = [None] * len(pvalues)
    highest = 0.0
    for done, (p, place) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - done) * p))
        adjusted[place] = highest
    return adjusted
