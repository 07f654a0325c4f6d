r"""What share of the ordered samples training may draw from, as it goes on.

Sources: six quantile groups with 25, 25, 35, 35, 40 and 40 epochs are those of Moreau et al., ISBI 2023, and so are the
groups of equal steps, which "did not allow a stable convergence" there and serve as a comparison. Fixed and varied
exponential and single step are those of Hacohen and Weinshall, "On the power of curriculum learning in training deep
networks", ICML 2019; linear and root those of Wu et al., "When do curricula work?", ICLR 2021.

Progress *p* is the part of the run that is done, from 0 to 1, so that published schedules scale to runs of any length.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dasl.curriculum.orders import Order, arrange
from napari_dasl.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

STROKE_LENGTHS = (25.0, 25.0, 35.0, 35.0, 40.0, 40.0)
"""Epochs after which Moreau et al. add a group; 200 in all."""

NAMES = (
    "all",
    "quantile-groups",
    "equal-steps",
    "fixed-exponential",
    "varied-exponential",
    "single-step",
    "linear",
    "root",
)

_NEARLY = 1e-9  # i/total and sums of shares are not exact, and a group must begin at its very step


def _check_groups(groups: int) -> None:
    if groups < 1:
        raise InputError(f"Samples cannot be divided into {groups} groups.", "Give at least 1.")


def _check(pacing: Pacing) -> None:
    if pacing.name not in NAMES:
        near = difflib.get_close_matches(str(pacing.name), NAMES, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Choose one of {', '.join(NAMES)}."
        raise InputError(f"There is no pacing named {pacing.name!r}.", hint)
    _check_groups(pacing.groups)
    for what, values in (("lengths", pacing.lengths), ("shares", pacing.shares)):
        if values and len(values) != pacing.groups:
            raise InputError(
                f"A pacing of {pacing.groups} groups has {len(values)} {what}.", f"Give one per group, or no {what}."
            )
    if not all(math.isfinite(length) and length > 0 for length in pacing.lengths):
        raise InputError(f"The lengths of the groups are {pacing.lengths}.", "Give numbers above 0.")
    if pacing.shares and not (pacing.shares[0] > 0 and all(np.diff(pacing.shares) >= 0) and pacing.shares[-1] == 1):
        raise InputError(f"The shares of the groups are {pacing.shares}.", "Give shares that rise from above 0 to 1.")
    rules = (
        ("start", pacing.start, 0 < pacing.start <= 1, "a share above 0, at most 1"),
        ("increase", pacing.increase, 1 < pacing.increase < math.inf, "a factor above 1"),
        ("step", pacing.step, 0 < pacing.step <= 1, "a part of the run above 0, at most 1"),
        ("full", pacing.full, 0 < pacing.full <= 1, "a part of the run above 0, at most 1"),
    )
    for what, value, good, wanted in rules:
        if not good:
            raise InputError(f"The {what} of the pacing {pacing.name} is {value:g}.", f"Give {wanted}.")


@dataclass(frozen=True)
class Pacing:
    r"""What share *g* of the samples is available at progress *p*; take one by :func:`find_pacing`.

    ``all``
        :math:`g = 1`.
    ``quantile-groups``
        *groups* groups of equal size, one more after each of *lengths*.
    ``equal-steps``
        The same with groups that cover equal steps of difficulty; its *shares* come from :meth:`fitted`.
    ``fixed-exponential``
        :math:`g = \min(b\,c^{\lfloor p/s \rfloor}, 1)`, b *start*, c *increase*, s *step*.
    ``varied-exponential``
        :math:`g = \min(b\,c^{k}, 1)`, k how many of the *thresholds* lie below *p*.
    ``single-step``
        :math:`g = b` while :math:`p < s`, then 1.
    ``linear``, ``root``
        :math:`g = b + (1 - b)u` and :math:`b + (1 - b)\sqrt{u}`, :math:`u = \min(p/f, 1)`, f *full*.

    Attributes
    ----------
    name : str
    groups : int
        Of ``quantile-groups`` and ``equal-steps``.
    lengths : tuple of float
        How long training stays at each number of groups, in any unit; equal lengths where it is empty.
    epochs : bool
        Whether *lengths* are passes over what is available, as in the paper: a group then takes optimiser steps in
        proportion to length times share. Else they are parts of the run.
    start : float
        Share at the beginning, in (0, 1].
    increase : float
        Factor of the exponential pacings, above 1.
    step : float
        Part of the run between two increases, or before the single step.
    thresholds : tuple of float
        Parts of the run at which the varied exponential increases.
    full : float
        Part of the run after which ``linear`` and ``root`` have everything.
    shares : tuple of float
        Share with each number of groups, where groups differ in size.
    """

    name: str = "all"
    groups: int = 6
    lengths: tuple[float, ...] = ()
    epochs: bool = False
    start: float = 1 / 6
    increase: float = 1.9
    step: float = 0.1
    thresholds: tuple[float, ...] = ()
    full: float = 0.8
    shares: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        _check(self)

    def share(self, progress: float) -> float:
        """The share of samples available at *progress*.

        Parameters
        ----------
        progress : float
            In [0, 1]; beyond it, as at its end.

        Returns
        -------
        float
            In (0, 1]; never falls as progress rises.

        Raises
        ------
        InputError
            When progress is no number, or ``equal-steps`` was not fitted.
        """
        if math.isnan(progress):
            raise InputError("The progress of a run is not a number.", "Give the part of the run that is done, 0 to 1.")
        p = min(max(float(progress), 0.0), 1.0)
        if self.name in ("quantile-groups", "equal-steps"):
            return self.cumulative()[self.groups_at(p) - 1]
        if self.name == "fixed-exponential":
            return min(self.start * self.increase ** math.floor(p / self.step + _NEARLY), 1.0)
        if self.name == "varied-exponential":
            return min(self.start * self.increase ** sum(p > at + _NEARLY for at in self.thresholds), 1.0)
        if self.name == "single-step":
            return self.start if p < self.step - _NEARLY else 1.0
        if self.name in ("linear", "root"):
            u = min(p / self.full, 1.0)
            return self.start + (1 - self.start) * (u if self.name == "linear" else math.sqrt(u))
        return 1.0

    def count(self, progress: float, samples: int) -> int:
        """How many of *samples* are available: the share rounded up, or whole groups.

        Raises
        ------
        InputError
            As :meth:`share`.
        """
        if self.name == "quantile-groups":
            return int(np.cumsum(_group_sizes(samples, self.groups))[self._clipped_groups(progress) - 1])
        return min(samples, math.ceil(self.share(progress) * samples - _NEARLY * max(samples, 1)))

    def groups_at(self, progress: float) -> int:
        """How many groups are available at *progress*, from 1."""
        return 1 + sum(progress >= bound - _NEARLY for bound in self.bounds())

    def bounds(self) -> tuple[float, ...]:
        """Progress at which the second, third, … group is added; one fewer than groups."""
        lengths = np.asarray(self.lengths or (1.0,) * self.groups)
        passes = lengths * np.asarray(self.cumulative()) if self.epochs else lengths
        return tuple(float(bound) for bound in (np.cumsum(passes) / passes.sum())[:-1])

    def cumulative(self) -> tuple[float, ...]:
        """Share of the samples with 1, 2, … groups.

        Raises
        ------
        InputError
            When ``equal-steps`` was not fitted to difficulties.
        """
        if self.shares:
            return self.shares
        if self.name == "equal-steps":
            raise InputError(
                "Groups of equal steps depend on how hard the samples are, and nobody has said it.",
                "Fit the pacing to the difficulties first, or choose quantile-groups.",
            )
        return tuple((k + 1) / self.groups for k in range(self.groups))

    def fitted(self, difficulty: ArrayLike, order: Order = "easy") -> Pacing:
        """Give this pacing the group sizes of *difficulty*; itself unless it is ``equal-steps``.

        With the order ``hard`` the groups come in reverse. ``random`` takes the sizes of ``easy``: the same pacing.

        Raises
        ------
        InputError
            When there is no sample.
        """
        if self.name != "equal-steps":
            return self
        groups = equal_step_groups(difficulty, self.groups)
        sizes = np.array([len(group) for group in groups])
        if not sizes.sum():
            raise InputError("There is no sample to learn from.", "Label at least one case first.")
        if order == "hard":
            unknown = int(np.count_nonzero(np.isnan(np.asarray(difficulty, dtype=np.float64))))
            if unknown < sizes.sum():
                sizes[-1] -= unknown
                sizes = sizes[::-1].copy()
                sizes[-1] += unknown
        return replace(self, shares=tuple(float(share) for share in np.cumsum(sizes) / sizes.sum()))

    def relative_steps(self) -> float:
        """Optimiser steps against training on everything for as many epochs, where *lengths* are epochs.

        ``Σ_k length_k · share_k / Σ_k length_k``; 0.633 for the lengths of Moreau et al.: of their 73,600 iterations
        46,613 remain ("about 47,000"). 1 for pacings without groups.
        """
        if self.name not in ("quantile-groups", "equal-steps"):
            return 1.0
        lengths = np.asarray(self.lengths or (1.0,) * self.groups)
        return float(lengths @ np.asarray(self.cumulative()) / lengths.sum())

    def _clipped_groups(self, progress: float) -> int:
        if math.isnan(progress):
            self.share(progress)
        return self.groups_at(min(max(progress, 0.0), 1.0))


PACINGS: dict[str, Pacing] = {
    each.name: each
    for each in (
        Pacing("all"),
        Pacing("quantile-groups", lengths=STROKE_LENGTHS),
        Pacing("equal-steps", lengths=STROKE_LENGTHS),
        Pacing("fixed-exponential", start=0.04),
        Pacing("varied-exponential", start=0.04, thresholds=(0.05, 0.1, 0.2, 0.3, 0.45, 0.6)),
        Pacing("single-step", step=0.25),
        Pacing("linear"),
        Pacing("root"),
    )
}
"""Every pacing with its usual numbers."""


def find_pacing(name: str, **changes: Any) -> Pacing:
    """The pacing of that name, with some of its numbers changed.

    Another number of *groups* without *lengths* makes the lengths equal.

    Raises
    ------
    InputError
        When there is no such pacing, or a number is out of its range.
    """
    usual = PACINGS.get(name) or Pacing(name)  # which refuses a name that it does not know
    if changes.get("groups", usual.groups) != usual.groups:
        changes.setdefault("lengths", ())
    return replace(usual, **changes)


def available(
    order: NDArray[np.integer[Any]], pacing: Pacing, progress: float, minimum: int = 1
) -> NDArray[np.integer[Any]]:
    """The samples that training may draw from, each with the same chance.

    Parameters
    ----------
    order : array (n,) int
        Indices in the order of the curriculum.
    pacing : Pacing
    progress : float
        In [0, 1].
    minimum : int
        At least so many, as far as there are any.

    Returns
    -------
    array (m,) int
        The first m of *order*.

    Raises
    ------
    InputError
        As :meth:`Pacing.share`.
    """
    return order[: max(minimum, 1, pacing.count(progress, len(order)))]


def quantile_groups(scores: ArrayLike, groups: int = 6) -> list[NDArray[np.intp]]:
    """Groups of equal size, easiest first (Moreau et al.).

    Parameters
    ----------
    scores : array (n,)
        Difficulty, rising with hardness; NaN counts as hardest. Equal scores keep their order.
    groups : int

    Returns
    -------
    list of arrays of indices
        As many as *groups*; sizes differ by at most one, the larger groups first. With fewer samples than groups the
        last ones are empty.

    Raises
    ------
    InputError
        When there are no groups to make, or the scores are not one list.
    """
    _check_groups(groups)
    ordered = arrange(scores)
    return np.split(ordered, np.cumsum(_group_sizes(len(ordered), groups))[:-1])


def equal_step_groups(scores: ArrayLike, groups: int = 6) -> list[NDArray[np.intp]]:
    """Groups that each cover the same step of difficulty, easiest first; often very unequal in size.

    Parameters
    ----------
    scores : array (n,)
        Difficulty, rising with hardness; NaN goes to the last group, infinite ones to the first or last. The lower
        edge belongs to a group, the upper one to the next.
    groups : int

    Returns
    -------
    list of arrays of indices
        As many as *groups*, easiest first within each; some may be empty. All in the first where nothing is known or
        all are equal.

    Raises
    ------
    InputError
        As :func:`quantile_groups`.
    """
    _check_groups(groups)
    ordered = arrange(scores)
    values = np.asarray(scores, dtype=np.float64)[ordered]
    finite = values[np.isfinite(values)]
    if not finite.size:
        # Of infinite ones alone, negative is easiest; where nothing is known, nothing sets a sample apart.
        last = (values > 0) | (np.isnan(values) & (not np.isnan(values).all()))
        step = np.where(last, groups - 1, 0)
    else:
        edges = np.linspace(finite[0], finite[-1], groups + 1)[1:-1]
        # All equal: every edge is that value, and would push everything to the last group.
        step = np.searchsorted(edges, values, side="right") if finite[-1] > finite[0] else np.zeros(len(values), int)
        step = np.where(np.isnan(values) | (values == np.inf), groups - 1, step)
        step = np.where(values == -np.inf, 0, step)
    return [ordered[step == k] for k in range(groups)]


def _group_sizes(samples: int, groups: int) -> NDArray[np.intp]:
    return samples // groups + (np.arange(groups) < samples % groups).astype(np.intp)
