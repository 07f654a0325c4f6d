"""How Dice grows with the number of labelled scans, and how many more labels a gain would take.

The form ``D(n) = c − (c − d_0) exp(−b (n − n_0))`` is the one that nnActive fits (TMLR 2025, FG-Eff). An extrapolation
from few points is unreliable (Mahmood et al., CVPR 2022), so it comes with a band and is refused below four points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_dasl.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

FEWEST_POINTS = 4
_PARAMETERS = 3
_DRAWS = 400
_CEILING = 1.0
_RATES = (1e-2, 50.0)  # b times the range of the labels: nearly straight, to a step at the second point
_RATE_STEPS = 200


@dataclass(frozen=True)
class LearningCurve:
    """A fitted curve.

    Attributes
    ----------
    ceiling : float
        c, the Dice that it tends to.
    start : float
        d_0, the fitted Dice at *first* labels.
    rate : float
        b, per label.
    first, last : float
        n_0 and the largest number of labels that it was fitted to.
    draws : array, (R, 3)
        (c, d_0, b) of refits to points drawn from the fit and its residuals; the band.
    """

    ceiling: float
    start: float
    rate: float
    first: float
    last: float
    draws: NDArray[np.float64]

    def dice(self, labels: Sequence[float]) -> NDArray[np.float64]:
        """Fitted Dice at numbers of labels, (n,)."""
        return _curve(np.asarray(labels, dtype=np.float64) - self.first, self.ceiling, self.start, self.rate)

    def band(self, labels: Sequence[float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """2.5th and 97.5th percentile of the Dice at numbers of labels, (n,) each, over what the fit leaves open."""
        steps = np.asarray(labels, dtype=np.float64)[np.newaxis] - self.first
        ceiling, start, rate = (self.draws[:, [column]] for column in range(3))
        low, high = np.percentile(_curve(steps, ceiling, start, rate), [2.5, 97.5], axis=0)
        return low, high

    def labels_for(self, gain: float = 0.01) -> int | None:
        """How many more labels than *last* the curve needs for *gain* more Dice; None where it never gets there."""
        left = self.ceiling - float(self.dice([self.last])[0])
        if self.rate <= 0 or left <= gain:
            return None
        more = -math.log1p(-gain / left) / self.rate
        return max(1, math.ceil(more - 1e-9))


def fit_curve(labels: Sequence[float], dice: Sequence[float]) -> LearningCurve:
    """Fit ``D(n) = c − (c − d_0) exp(−b (n − n_0))`` by least squares, with c at most 1 and d_0 at most c.

    Parameters
    ----------
    labels : sequence of n numbers
        Labelled scans at each point; n_0 is the smallest.
    dice : sequence of n numbers in [0, 1]
        Mean foreground Dice at each, on cases that do not change.

    Returns
    -------
    LearningCurve

    Raises
    ------
    InputError
        When the numbers of points differ, there are fewer than four with different numbers of labels, or they are no
        numbers.
    """
    n, d = np.asarray(labels, dtype=np.float64), np.asarray(dice, dtype=np.float64)
    if n.shape != d.shape or n.ndim != 1 or not (np.isfinite(n).all() and np.isfinite(d).all()):
        raise InputError("A learning curve needs one finite Dice per number of labels.", "Leave out what is unknown.")
    if np.unique(n).size < FEWEST_POINTS:
        raise InputError(
            f"A learning curve through {np.unique(n).size} points says nothing about what comes next.",
            f"Wait for {FEWEST_POINTS} rounds with different numbers of labels.",
        )
    first, last = float(n.min()), float(n.max())
    ceiling, start, rate = (float(value) for value in _fit(n - first, d[np.newaxis])[0])
    fitted = _curve(n - first, ceiling, start, rate)
    return LearningCurve(ceiling, start, rate, first, last, _draws(n - first, d, fitted))


def labels_sentence(curve: LearningCurve, gain: float = 0.01) -> str:
    """Say how many more labels *gain* would take, with the range that the fit leaves open.

    Parameters
    ----------
    curve : LearningCurve
    gain : float
        Dice.

    Returns
    -------
    str
        One sentence for the annotator.
    """
    more = curve.labels_for(gain)
    if more is None:
        return f"By the curve so far, more labels of this kind would not bring another {gain:.2f} Dice."
    ranges = [_replaced(curve, row).labels_for(gain) for row in curve.draws]
    known = sorted(math.inf if value is None else value for value in ranges)
    low, high = known[round(0.1 * (len(known) - 1))], known[round(0.9 * (len(known) - 1))]
    noun = "label" if more == 1 else "labels"
    upper = f"{high:.0f}" if high < 50 * max(more, 1) else "many more"
    return f"By the curve so far, about {more} more {noun} for +{gain:.2f} Dice (likely {low:.0f} to {upper})."


def _curve(
    steps: NDArray[np.float64],
    ceiling: float | NDArray[np.float64],
    start: float | NDArray[np.float64],
    rate: float | NDArray[np.float64],
) -> NDArray[np.float64]:
    return np.asarray(ceiling - (ceiling - start) * np.exp(-rate * steps), dtype=np.float64)


def _fit(steps: NDArray[np.float64], dice: NDArray[np.float64]) -> NDArray[np.float64]:
    """(c, d_0, b) of the best curve through each row of *dice*, (R, n): a search over b, exact in c and c − d_0."""
    span = float(steps.max())
    best = np.full((len(dice), 3), np.nan)
    smallest = np.full(len(dice), np.inf)
    for rate in np.geomspace(*_RATES, _RATE_STEPS) / span:
        decay = np.exp(-rate * steps)
        for ceiling, drop in _candidates(decay, dice):
            misfit = ((dice - ceiling[:, np.newaxis] + drop[:, np.newaxis] * decay) ** 2).sum(1)
            # The tolerance prefers the slower curve among equals, such as the flat ones.
            better = (ceiling <= _CEILING) & (drop >= 0) & (misfit < smallest - 1e-12)
            smallest[better] = misfit[better]
            best[better] = np.stack([ceiling, ceiling - drop, np.full(len(dice), rate)], axis=1)[better]
    return best


def _candidates(
    decay: NDArray[np.float64], dice: NDArray[np.float64]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Least squares in c and c − d_0 at one b: free, with c at its bound of 1, and with the curve flat."""
    centred = decay - decay.mean()
    drop = -(dice @ centred) / (centred @ centred)
    yield dice.mean(1) + drop * decay.mean(), drop
    yield np.full(len(dice), _CEILING), ((_CEILING - dice) @ decay) / (decay @ decay)
    yield dice.mean(1), np.zeros(len(dice))


def _draws(steps: NDArray[np.float64], dice: NDArray[np.float64], fitted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Curves refitted to the fitted one plus its own residuals, drawn anew (residual bootstrap): they stay curves."""
    freedom = max(1, dice.size - _PARAMETERS)
    residuals = (dice - fitted) * np.sqrt(dice.size / freedom)
    drawn = np.random.default_rng(0).choice(residuals, size=(_DRAWS, dice.size))
    return _fit(steps, np.clip(fitted + drawn, 0, 1))


def _replaced(curve: LearningCurve, row: NDArray[np.float64]) -> LearningCurve:
    ceiling, start, rate = (float(value) for value in row)
    return LearningCurve(ceiling, start, rate, curve.first, curve.last, row[np.newaxis])
