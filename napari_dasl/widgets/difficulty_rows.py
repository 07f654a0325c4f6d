"""Cases by difficulty, as the worklist shows them: values in words, groups, the histogram. No Qt here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_dasl.curriculum import SCORERS, quantile_groups
from napari_dasl.curriculum.difficulty import difficulty
from napari_dasl.project.names import natural

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from napari_dasl.rounds.correlating import Correlation
    from napari_dasl.widgets.snapshot import Row

GROUPS = 6
UNKNOWN = 0
"""Number of the group of cases that were not measured, or hold nothing to measure."""
_BINS = 14
_WIDE = 30.0
"""Where the largest value is so many times the smallest, the axis shows ratios instead of differences."""
_RHO_NONE, _RHO_CLEAR = 0.1, 0.5
_FEW = 5


@dataclass(frozen=True)
class Measured:
    """One measure of one case.

    Attributes
    ----------
    value : float
        In the scorer's own unit; NaN where there is no lesion, or nothing is known.
    source : str
        ``label``, ``prediction`` or ``model``: what it was measured on.
    revision : int or None
        The label that went into it, where one did.
    model : str or None
        The model that it comes from, where one is stored.
    outdated : bool
        Whether there is a newer label than that, or another active model.
    flat : bool
        Whether the case is one slice, whose size is an area.
    """

    value: float
    source: str = "label"
    revision: int | None = None
    model: str | None = None
    outdated: bool = False
    flat: bool = False

    @property
    def known(self) -> bool:
        """Whether there is a number."""
        return not math.isnan(self.value)


class Chip(NamedTuple):
    """One group: its number (1 is easiest, `UNKNOWN`), what its button says, its size and what it holds in words."""

    number: int
    text: str
    count: int
    meaning: str


class Histogram(NamedTuple):
    """Counts of cases; positions rise with hardness, from easy on the left to hard on the right.

    Attributes
    ----------
    edges : array (bins + 1,)
        Positions.
    labelled, unlabelled : array (bins,) of int
    easiest, hardest : str
        The outermost values in words.
    places : dict
        Position of each case.
    """

    edges: np.ndarray
    labelled: np.ndarray
    unlabelled: np.ndarray
    easiest: str
    hardest: str
    places: dict[str, float]


def value_words(scorer: str, value: float, *, flat: bool = False) -> str:
    """Return a value as it is read: ``1.24 ml``, ``0.87``; of one slice (*flat*) ``1.24 cm²``."""
    if math.isnan(value):
        return "none"
    if math.isinf(value):
        return "∞"
    if scorer == "size" and flat:
        return f"{value:.0f} mm²" if value < 100 else f"{value / 100:.3g} cm²"
    if scorer == "size":
        millilitres = value / 1000
        if millilitres < 0.1:
            return f"{value:.0f} mm³"
        return f"{millilitres:.0f} ml" if millilitres >= 100 else f"{millilitres:.3g} ml"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}" if abs(value) >= 0.1 else f"{value:.2g}"


def cell_words(scorer: str, measured: Measured | None) -> str:
    """Return what a cell of the list says; ``≈`` where a prediction was measured instead of a label."""
    if measured is None:
        return ""
    sign = "≈ " if measured.source == "prediction" and measured.known else ""
    return f"{sign}{value_words(scorer, measured.value, flat=measured.flat)}"


def cell_tooltip(scorer: str, measured: Measured | None, group: int | None = None) -> str:
    """Return what a cell means: the measure, what it was made from, and the group."""
    about = SCORERS[scorer]
    parts = [f"{about.title}: {about.sentence}"]
    if measured is None:
        parts.append("Not measured yet; the next round measures it.")
    elif not measured.known:
        parts.append("There is nothing to measure: no lesion is drawn.")
    elif measured.source == "prediction":
        parts.append("≈ Measured on what the network drew, because there is no label yet; it may be wrong.")
    elif measured.source == "label":
        parts.append("Measured on your label.")
    else:
        parts.append("Measured by the network.")
    if measured is not None and measured.outdated:
        parts.append(_outdated_words(measured))
    if group:
        parts.append(f"Group {group} of {GROUPS}; 1 is easiest.")
    return "\n".join(parts)


def _outdated_words(measured: Measured) -> str:
    if measured.revision is not None:
        return f"Outdated: it was measured on label {measured.revision}, and there is a newer one."
    return f"Outdated: it was measured with the model {measured.model}, which is not the active one."


def scorers_of(rows: Iterable[Row]) -> tuple[str, ...]:
    """Return the scorers that at least one case has a number of, in the order of `SCORERS`."""
    found = {name for row in rows for name, one in row.hardness.items() if one.known}
    return tuple(name for name in SCORERS if name in found)


def known(rows: Iterable[Row], scorer: str) -> list[Row]:
    """Return the rows that have a number of *scorer*."""
    return [row for row in rows if (one := row.hardness.get(scorer)) is not None and one.known]


def hardness(rows: Sequence[Row], scorer: str) -> np.ndarray:
    """Return how hard each of *rows* is, rising; each must be `known`."""
    return difficulty([row.hardness[scorer].value for row in rows], scorer)


def groups_of(rows: Iterable[Row], scorer: str) -> dict[str, int]:
    """Return the group of every case: 1 (easiest) to `GROUPS`, equal in size; `UNKNOWN` without a number.

    Equal values are told apart by name, so that a group never depends on the order of the list.
    """
    every = list(rows)
    measured = sorted(known(every, scorer), key=lambda row: natural(row.case))
    found = dict.fromkeys((row.case for row in every), UNKNOWN)
    if measured:
        for number, members in enumerate(quantile_groups(hardness(measured, scorer), GROUPS), 1):
            found.update({measured[place].case: number for place in members})
    return found


def chips(rows: Sequence[Row], scorer: str) -> tuple[Chip, ...]:
    """Return the groups that hold a case, easiest first, those without a number last."""
    groups = groups_of(rows, scorer)
    made = []
    for number in (*range(1, GROUPS + 1), UNKNOWN):
        members = [row for row in rows if groups[row.case] == number]
        if not members:
            continue
        waiting = sum(not row.labelled for row in members)
        cases = f"{len(members)} {'case' if len(members) == 1 else 'cases'}, {waiting} of them not labelled"
        if number == UNKNOWN:
            made.append(Chip(UNKNOWN, f"? {len(members)}", len(members), f"Not known: {cases}."))
            continue
        values = sorted((row.hardness[scorer] for row in members), key=lambda one: one.value)
        ends = (value_words(scorer, one.value, flat=one.flat) for one in (values[0], values[-1]))
        span = " to ".join(dict.fromkeys(ends))
        short = {1: "easy", GROUPS: "hard"}.get(number, str(number))
        name = {1: "The easiest group", GROUPS: "The hardest group"}.get(number, f"Group {number} of {GROUPS}")
        meaning = f"{name}: {SCORERS[scorer].title.lower()} {span}; {cases}."
        made.append(Chip(number, f"{short} · {len(members)}", len(members), meaning))
    return tuple(made)


def histogram(rows: Iterable[Row], scorer: str, bins: int = _BINS) -> Histogram | None:
    """Return how the cases are spread from easy (left) to hard (right); None with nothing to show.

    The axis shows ratios where values differ many times, as volumes do. An infinite value counts with the outermost
    finite one.
    """
    measured = known(rows, scorer)
    values = np.array([row.hardness[scorer].value for row in measured], dtype=float)
    finite = values[np.isfinite(values)]
    if not finite.size:
        return None
    low, high = float(finite.min()), float(finite.max())
    ratios = low > 0 and high / low >= _WIDE
    clipped = np.clip(values, low, high)
    scaled = np.log10(clipped) if ratios else clipped
    sign = -1.0 if SCORERS[scorer].harder == "low" else 1.0
    places = sign * scaled
    first, last = float(places.min()), float(places.max())
    if last <= first:
        first, last = first - 0.5, last + 0.5
    edges = np.linspace(first, last, bins + 1)
    done = np.array([row.labelled for row in measured], dtype=bool)
    least, most = (measured[int(place)].hardness[scorer] for place in (values.argmin(), values.argmax()))
    easiest, hardest = (most, least) if sign < 0 else (least, most)
    return Histogram(
        edges,
        np.histogram(places[done], edges)[0],
        np.histogram(places[~done], edges)[0],
        value_words(scorer, easiest.value, flat=easiest.flat),
        value_words(scorer, hardest.value, flat=hardest.flat),
        {row.case: float(place) for row, place in zip(measured, places, strict=True)},
    )


def hardest_waiting(rows: Iterable[Row], scorer: str) -> str | None:
    """Return the hardest case that nobody labelled yet and that can be opened; None where there is none."""
    waiting = sorted((row for row in known(rows, scorer) if row.waits), key=lambda row: natural(row.case))
    return waiting[int(np.argmax(hardness(waiting, scorer)))].case if waiting else None


def unmeasured(rows: Iterable[Row], scorer: str) -> int:
    """Return how many cases could be measured at once and are not.

    What is outdated counts as not measured, and so does what was measured on a prediction of a labelled case; a blind
    case tells nothing of its prediction, and could not be measured.
    """
    needs = SCORERS[scorer].needs
    if needs == {"model"}:
        return sum(row.score is not None and _lacks(row.hardness.get(scorer)) for row in rows)
    if needs != {"label"}:
        return 0  # others are measured by a round that asks for them
    count = 0
    for row in rows:
        measured = row.hardness.get(scorer)
        if row.labelled:
            count += _lacks(measured) or (measured is not None and measured.source != "label")
        else:
            count += _lacks(measured) and row.score is not None and row.readable and not row.blind
    return count


def _lacks(measured: Measured | None) -> bool:
    return measured is None or measured.outdated


def needs_words(scorer: str) -> str:
    """Return what must happen before there are numbers."""
    needs = SCORERS[scorer].needs
    if "readers" in needs:
        return "It needs labels of one case by several readers."
    if needs == {"label"}:
        return "It is measured on labels, and on predictions where there is no label; every round does it."
    if needs == {"model"}:
        return "It is measured with the predictions of a round."
    return "It is measured by a round that orders the cases by it."


def correlation_words(scorer: str, correlations: Mapping[str, Correlation]) -> str:
    """Return how this difficulty goes with what the network reached, in one sentence; empty where nothing is known."""
    found = correlations.get(scorer)
    if found is None or math.isnan(found.rho):
        return ""
    figures = f"ρ {found.rho:+.2f}, {found.cases} cases".replace("-", "−")
    if found.cases < _FEW:
        return f"Only {found.cases} cases tell whether it predicts a low Dice."
    if found.rho <= -_RHO_CLEAR:
        return f"Cases it calls hard reach a clearly lower Dice ({figures})."
    if found.rho <= -_RHO_NONE:
        return f"Cases it calls hard reach a lower Dice ({figures})."
    if found.rho < _RHO_NONE:
        return f"Cases it calls hard do as well as others ({figures})."
    return f"Cases it calls hard reach a higher Dice ({figures})."
