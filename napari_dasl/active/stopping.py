"""Advice to stop labelling, never an order: predictions that no longer move, a flat guard set, short corrections.

Two of three signs, two rounds in a row. The thresholds are those collected in the project's notes: stability as in
Bloodgood and Vijay-Shanker (CoNLL 2009), with the mean Dice of consecutive predictions in place of their kappa.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

LEAST_STABILITY = 0.97
EPSILON = 0.005
ROUNDS = 2
_FLAT = 0.9  # effort that fell by less than a tenth is flat
_SIGNS = 2


@dataclass(frozen=True)
class RoundSigns:
    """What one round says about whether another is worth it; None where it says nothing.

    Attributes
    ----------
    stability : float or None
        Mean foreground Dice between this model's predictions and those of the one before, on fixed unlabelled scans.
    gain : float or None
        Mean Dice gained on the guard set over the model before.
    interval : (low, high) or None
        Its bootstrap interval.
    effort : float or None
        Median active seconds per corrected case since the round before.
    """

    stability: float | None = None
    gain: float | None = None
    interval: tuple[float, float] | None = None
    effort: float | None = None


@dataclass(frozen=True)
class Advice:
    """Whether more labels are worth it.

    Attributes
    ----------
    stop : bool
        Two of the three signs held in each of the last two rounds.
    reasons : tuple of str
        The signs that held in the last round, each a clause.
    sentence : str
        For the annotator; never empty.
    """

    stop: bool
    reasons: tuple[str, ...]
    sentence: str


def advise(
    history: Sequence[RoundSigns],
    *,
    epsilon: float = EPSILON,
    target_seconds: float | None = None,
    least_stability: float = LEAST_STABILITY,
    rounds: int = ROUNDS,
) -> Advice:
    """Say whether to stop labelling.

    Parameters
    ----------
    history : sequence of RoundSigns
        Oldest first.
    epsilon : float
        A gain of guard Dice below this is none.
    target_seconds : float, optional
        Seconds per case that the user is content with.
    least_stability : float
    rounds : int
        How many rounds in a row the signs must hold.

    Returns
    -------
    Advice
    """
    if not history:
        return Advice(False, (), "No round is done yet.")
    signs = [
        _signs(one, before, epsilon, target_seconds, least_stability)
        for one, before in zip(history, [None, *history[:-1]], strict=True)
    ]
    reasons = tuple(signs[-1])
    recent = signs[-rounds:]
    if len(recent) == rounds and all(len(found) >= _SIGNS for found in recent):
        clauses = _joined(reasons)
        return Advice(True, reasons, f"You could stop labelling here: {clauses}, for {rounds} rounds in a row.")
    if reasons:
        return Advice(False, reasons, f"Labelling on is worth it so far, although {_joined(reasons)}.")
    return Advice(False, (), "Labelling on is worth it: nothing has levelled off yet.")


def _signs(
    one: RoundSigns, before: RoundSigns | None, epsilon: float, target: float | None, least_stability: float
) -> list[str]:
    """The clauses of the signs that hold in one round."""
    found = []
    if one.stability is not None and one.stability >= least_stability:
        found.append(f"predictions hardly change any more (Dice {one.stability:.3f} with the round before)")
    if one.interval is not None and one.interval[0] <= 0:
        found.append(f"the guard set gains nothing certain ({one.interval[0]:+.3f} to {one.interval[1]:+.3f} Dice)")
    elif one.gain is not None and one.gain < epsilon:
        found.append(f"the guard set gains {one.gain:+.3f} Dice")
    if one.effort is not None:
        if target is not None and one.effort <= target:
            found.append(f"a correction takes {one.effort:.0f} s, within the {target:.0f} s you wanted")
        elif before is not None and before.effort is not None and one.effort >= _FLAT * before.effort:
            found.append(f"corrections do not get shorter ({one.effort:.0f} s)")
    return found


def _joined(clauses: Sequence[str]) -> str:
    return clauses[0] if len(clauses) == 1 else f"{', '.join(clauses[:-1])} and {clauses[-1]}"
