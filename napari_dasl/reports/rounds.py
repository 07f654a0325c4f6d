"""The rounds so far and how each new model did on the guard set against the one before it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dasl.reports.blocks import Column, Picture, Section, Table, Words, interval, number, several
from napari_dasl.reports.drawing import (
    BLACK,
    BLUE,
    GREY,
    LINES,
    ORANGE,
    VERMILION,
    canvas,
    label,
    legend,
    styled,
    whole_numbers,
)
from napari_dasl.rounds.guard_lesions import Tally, tally
from napari_dasl.rounds.plan import CaseLesions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure

    from napari_dasl.project import Project, Round
    from napari_dasl.reports.blocks import Block


@dataclass(frozen=True)
class Judged:
    """One round and what the guard set said.

    Attributes
    ----------
    number : int
    phase : str
        ``al``: human labels alone; ``spl``: with pseudo-labels.
    state : str
        done, failed, cancelled or running.
    human, pseudo : int
        Scans it trained on.
    dice, before : float or None
        Mean foreground Dice on the guard set of the new model, and of the one that was active.
    pairs : tuple of (str, float)
        Guard case, and new minus before.
    bounds : (float, float) or None
        Bootstrap interval of the mean of *pairs*.
    per_class : dict
        Dice of the new model per class.
    lesions, lesions_before : Tally or None
        Of a detector, by which it is judged before Dice: what the new model and the one before draw of the lesions of
        the guard set, each at its own threshold.
    promoted : bool
        Whether the new model took over.
    reason : str
        Why not, or why the round did not end.
    seconds : float or None
    """

    number: int
    phase: str
    state: str
    human: int
    pseudo: int
    dice: float | None
    before: float | None
    pairs: tuple[tuple[str, float], ...]
    bounds: tuple[float, float] | None
    per_class: dict[str, float | None] = field(default_factory=dict)
    lesions: Tally | None = None
    lesions_before: Tally | None = None
    promoted: bool = False
    reason: str = ""
    seconds: float | None = None

    @property
    def outcome(self) -> str:
        """What became of the new model, in words."""
        if self.state != "done":
            return self.state
        return "promoted" if self.promoted else "candidate"


@dataclass(frozen=True)
class History:
    """All rounds, oldest first, the classes of the project, and what Dice a new model may lose."""

    rounds: tuple[Judged, ...]
    classes: tuple[str, ...]
    tolerance: float

    @property
    def by_lesions(self) -> bool:
        """Whether any round was judged by the lesions found, before Dice."""
        return any(one.lesions is not None for one in self.rounds)


def gather(project: Project) -> History:
    """Read the history from *project*; rounds of older versions lack some figures."""
    rounds = tuple(_judged(one) for one in project.rounds())
    return History(rounds, project.config.classes, project.config.training.tolerance)


def _judged(one: Round) -> Judged:
    result = one.result
    guard: Mapping[str, Any] = result.get("guard") or {}
    trained: Mapping[str, int] = result.get("trained_on") or {}
    bounds = guard.get("interval")
    return Judged(
        number=one.number,
        phase=str(result.get("phase") or one.phase),
        state=one.state,
        human=int(trained.get("human", len(one.plan.get("train") or ()))),
        pseudo=int(trained.get("pseudo", 0)),
        dice=guard.get("dice"),
        before=guard.get("before"),
        pairs=_pairs(guard.get("cases") or {}, guard.get("before_cases") or {}),
        bounds=(bounds[0], bounds[1]) if bounds else None,
        per_class=dict(guard.get("per_class") or {}),
        lesions=_tally(guard.get("lesions") or {}),
        lesions_before=_tally(guard.get("before_lesions") or {}),
        promoted=bool(result.get("promoted")),
        reason=str(result.get("reason") or ""),
        seconds=result.get("seconds"),
    )


def _tally(cases: Mapping[str, Any]) -> Tally | None:
    return tally({case: CaseLesions.model_validate(one) for case, one in cases.items()}) if cases else None


def _pairs(now: Mapping[str, float | None], before: Mapping[str, float | None]) -> tuple[tuple[str, float], ...]:
    found = []
    for case in sorted(now):
        new, old = now[case], before.get(case)
        if new is not None and old is not None:
            found.append((case, new - old))
    return tuple(found)


@styled
def guard_figure(history: History) -> Figure:
    """Draw guard Dice per round: the new model, the one before it, and candidates that did not take over.

    The line goes through the models that took over; every class is a thin line where there are several.
    """
    figure, (axes,) = canvas()
    measured = [one for one in history.rounds if one.dice is not None]
    if len(history.classes) > 1:
        for name, (colour, _, dash) in zip(history.classes, LINES[2:], strict=False):
            known = [(one.number, one.per_class[name]) for one in measured if one.per_class.get(name) is not None]
            axes.plot(*_xy(known), color=colour, linestyle=dash, linewidth=0.9, label=label(name))
    taken = [(one.number, one.dice) for one in measured if one.promoted]
    axes.plot(*_xy(taken), color=BLUE, marker="o", label="new model, took over")
    kept = [(one.number, one.dice) for one in measured if not one.promoted]
    if kept:
        axes.plot(*_xy(kept), color=VERMILION, marker="X", markersize=7, linestyle="none", label="new model, candidate")
    old = [(one.number, one.before) for one in measured if one.before is not None]
    if old:
        style: dict[str, Any] = {"markerfacecolor": "white", "markersize": 7, "linestyle": "none", "zorder": 1.5}
        axes.plot(*_xy(old), color=BLACK, marker="s", label="model before, same scans", **style)
    axes.set(xlabel="round", ylabel="Dice on the guard set")
    whole_numbers(axes)
    legend(figure)
    return figure


@styled
def pairs_figure(history: History) -> Figure:
    """Draw the paired differences: a point per guard scan and round, and their mean with its interval."""
    figure, (axes,) = canvas(height=2.6)
    paired = [one for one in history.rounds if one.pairs]
    axes.axhline(0, color=BLACK, linewidth=0.8)
    axes.axhline(-history.tolerance, color=VERMILION, linestyle="--", linewidth=1, label="tolerance of the mean")
    points = [(one.number + shift, gain) for one in paired for shift, gain in _spread(one)]
    axes.plot(*_xy(points), "o", color=GREY, markersize=3.5, label="one scan of the guard set")
    for place, one in enumerate(paired):
        mean = float(np.mean([gain for _, gain in one.pairs]))
        low, high = one.bounds or (mean, mean)
        axes.errorbar(
            one.number,
            mean,
            yerr=[[max(mean - low, 0.0)], [max(high - mean, 0.0)]],
            fmt="D",
            color=ORANGE,
            markeredgecolor=BLACK,
            ecolor=BLACK,
            capsize=4,
            label=None if place else "mean, 95 % interval",
        )
    axes.set(xlabel="round", ylabel="Dice, new − before")
    if paired:  # a single round would fill the whole width with the space between its scans
        axes.set_xlim(paired[0].number - 0.7, max(paired[-1].number, paired[0].number + 2) + 0.7)
    whole_numbers(axes)
    legend(figure)
    return figure


def _spread(one: Judged) -> list[tuple[float, float]]:
    """Place the points of a round beside its mean, in the order of their cases, so that equal ones are all seen."""
    count = len(one.pairs)
    return [(0.08 + 0.24 * (place + 0.5) / count, gain) for place, (_, gain) in enumerate(one.pairs)]


def _xy(points: list[tuple[Any, Any]]) -> tuple[list[Any], list[Any]]:
    return [x for x, _ in points], [y for _, y in points]


def rounds_table(history: History) -> Table:
    """Return one row per round."""
    columns = (
        Column("Round", 0),
        Column("Phase"),
        Column("Human labels", 0),
        Column("Pseudo-labels", 0),
        Column("Dice before", 3),
        Column("Dice after", 3),
        Column("Difference, 95 % interval"),
        Column("Minutes", 1),
        Column("Model"),
        Column("Reason"),
    )
    rows = tuple(
        (
            one.number,
            one.phase.upper(),
            one.human,
            one.pseudo,
            one.before,
            one.dice,
            _difference(one),
            None if one.seconds is None else one.seconds / 60,
            one.outcome,
            one.reason,
        )
        for one in history.rounds
    )
    return Table(columns, rows, "Rounds, oldest first (AL: on human labels alone; SPL: with pseudo-labels)")


def _difference(one: Judged) -> str:
    if one.dice is None or one.before is None:
        return "–"
    bounds = f" ({interval(one.bounds)})" if one.bounds else ""
    return f"{number(one.dice - one.before)}{bounds}"


def lesions_table(history: History) -> Table:
    """Return one row per round of a detector: the guard lesions that it draws and what it draws beside them."""
    columns = (
        Column("Round", 0),
        Column("Lesions", 0),
        Column("Found before", 0),
        Column("Found after", 0),
        Column("False per scan before", 2),
        Column("False per scan after", 2),
        Column("F1 before", 3),
        Column("F1 after", 3),
        Column("Model"),
    )
    rows = []
    for one in history.rounds:
        new, old = one.lesions, one.lesions_before
        if new is not None:
            found = (new.lesions, old.found if old else None, new.found)
            false = (old.false / old.scans if old else None, new.false / new.scans)
            rows.append((one.number, *found, *false, old.f1 if old else None, new.f1, one.outcome))
    caption = (
        "Lesions of the guard set as they are drawn, each model with its own threshold: a lesion is found where the "
        "drawing covers some of it; what is drawn beside any lesion is false"
    )
    return Table(columns, tuple(rows), caption)


def classes_table(history: History) -> Table:
    """Return guard Dice per class and round."""
    columns = (Column("Round", 0), *(Column(name, 3) for name in history.classes))
    rows = tuple(
        (one.number, *(one.per_class.get(name) for name in history.classes))
        for one in history.rounds
        if one.dice is not None
    )
    return Table(columns, rows, "Dice of the new model on the guard set, per class")


def section(project: Project) -> Section:
    """Return the section."""
    history = gather(project)
    title = "Rounds and guard set"
    if not history.rounds:
        return Section("rounds", title, (Words("No round has been run yet."),))
    blocks: list[Block] = []
    measured = [one for one in history.rounds if one.dice is not None]
    if measured:
        last = measured[-1]
        over = several(len(measured), "round")
        alt = f"Dice on the guard set over {over}; in round {last.number} it is {number(last.dice)}."
        caption = (
            "Mean Dice on the guard set, which no model is trained on. A filled circle is a new model that took over, "
            "a cross one that was kept as a candidate, a square the model before it on the same scans."
        )
        blocks.append(Picture(guard_figure(history), alt, caption))
    else:
        blocks.append(Words("No round has been compared on a guard set yet."))
    if any(one.pairs for one in history.rounds):
        judged = (
            "Lesions found and false findings decide first, which the table of lesions shows. Where they do not, a "
            "round whose mean falls below the dashed line does not take over."
            if history.by_lesions
            else "A round whose mean falls below the dashed line does not take over."
        )
        caption = f"What each scan of the guard set gained or lost by the new model. {judged}"
        alt = "Paired differences of Dice per guard scan and round, with their mean and interval."
        blocks.append(Picture(pairs_figure(history), alt, caption))
    blocks.append(rounds_table(history))
    if history.by_lesions:
        blocks.append(lesions_table(history))
    if measured and len(history.classes) > 1:
        blocks.append(classes_table(history))
    return Section("rounds", title, tuple(blocks))
