"""Self-paced learning so far: the pace, how many pseudo-labels it took, and how good they turned out to be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dasl.metrics.statistics import bootstrap_interval
from napari_dasl.reports.blocks import Column, Picture, Section, Table, Words, interval, number, several
from napari_dasl.reports.drawing import BLUE, GREEN, ORANGE, canvas, legend, styled, whole_numbers
from napari_dasl.rounds import phases

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure

    from napari_dasl.project import Project, Round
    from napari_dasl.reports.blocks import Block


@dataclass(frozen=True)
class Paced:
    """One round that took pseudo-labels.

    Attributes
    ----------
    number : int
        Of the round.
    pace : float or None
        λ, in units of the loss.
    quantile : float or None
        The share of the candidates that λ was set by; None with the paper's pace.
    accuracy : float or None
        η of Eq. 9.
    candidates, taken : int
        Predictions that could be taken, and those of weight above 0.
    effective : float
        Σ v: how many full labels the weights add up to.
    promoted : bool
        Whether the model trained on them took over.
    """

    number: int
    pace: float | None
    quantile: float | None
    accuracy: float | None
    candidates: int
    taken: int
    effective: float
    promoted: bool


@dataclass(frozen=True)
class SelfPacing:
    """What self-paced learning did.

    Attributes
    ----------
    rounds : tuple of Paced
        Oldest first.
    newest : int or None
        The newest round that has pseudo-labels.
    weights : tuple of float
        Of all its candidates, 0 included.
    settings : str
        Regulariser and view of that round, as words; "" where it does not say.
    accepted, rejected : int
        Cases whose last verdict is that.
    audits : tuple of float
        Dice of pseudo-labels against what was drawn blind.
    audit_bounds : (float, float) or None
        Bootstrap interval (95 %) of their mean; None for fewer than two.
    off : str
        Why pseudo-labels are switched off; "" where they are not.
    """

    rounds: tuple[Paced, ...]
    newest: int | None
    weights: tuple[float, ...]
    settings: str
    accepted: int
    rejected: int
    audits: tuple[float, ...]
    audit_bounds: tuple[float, float] | None
    off: str


def gather(project: Project) -> SelfPacing:
    """Read what self-paced learning did from *project*."""
    done = [one for one in project.rounds() if one.state == "done"]
    paced = [one for one in done if one.result.get("phase") == "spl"]
    rows = project.pseudo_labels()
    reviews = project.pseudo_reviews()
    standing = {one.case: one.verdict for one in reviews if one.verdict != "audited"}
    audits = tuple(one.dice for one in reviews if one.verdict == "audited" and one.dice is not None)
    return SelfPacing(
        rounds=tuple(_paced(one) for one in paced),
        newest=rows[0].round if rows else None,
        weights=tuple(row.weight for row in rows),
        settings=_settings(paced[-1].result.get("pseudo") or {}) if paced else "",
        accepted=sum(verdict == "accepted" for verdict in standing.values()),
        rejected=sum(verdict == "rejected" for verdict in standing.values()),
        audits=audits,
        audit_bounds=bootstrap_interval(audits) if len(audits) > 1 else None,
        off=phases.standing(project).off,
    )


def _paced(one: Round) -> Paced:
    pseudo: Mapping[str, Any] = one.result.get("pseudo") or {}
    return Paced(
        number=one.number,
        pace=one.result.get("lambda"),
        quantile=one.result.get("quantile"),
        accuracy=one.result.get("accuracy"),
        candidates=int(pseudo.get("candidates") or 0),
        taken=int(pseudo.get("taken") or 0),
        effective=float(pseudo.get("effective") or 0.0),
        promoted=bool(one.result.get("promoted")),
    )


def _settings(pseudo: Mapping[str, Any]) -> str:
    if not pseudo.get("regularizer"):
        return ""
    view = {
        "own": "the loss against the model's own output",
        "previous": "the loss against the previous model's output",
        "teacher": "the loss of the un-averaged weights against the averaged ones",
    }.get(str(pseudo.get("view")), "the loss of each prediction")
    return f"{pseudo['regularizer']} weights from {view}"


@styled
def pace_figure(pacing: SelfPacing) -> Figure:
    """Draw λ with the quantile beside it, and the number of pseudo-labels with Σ v, over the rounds."""
    figure, (left, right) = canvas(2, height=2.6)
    rounds = [one.number for one in pacing.rounds]
    left.plot(rounds, [_or_gap(one.pace) for one in pacing.rounds], color=BLUE, marker="o", label="λ")
    for one in pacing.rounds:
        if one.quantile is not None and one.pace is not None:
            words = f"{100 * one.quantile:.0f} %"
            left.annotate(words, (one.number, one.pace), (0, 6), textcoords="offset points", ha="center", fontsize=8)
    left.set(title="Pace λ, and its quantile", xlabel="round", ylabel="λ (loss)")
    left.margins(x=0.12, y=0.2)
    right.plot(rounds, [one.taken for one in pacing.rounds], color=GREEN, marker="s", label="taken")
    effective = [one.effective for one in pacing.rounds]
    right.plot(rounds, effective, color=ORANGE, marker="^", linestyle="--", label="effective number, Σ v")
    right.set(title="Pseudo-labels", xlabel="round", ylabel="scans")
    right.margins(x=0.12, y=0.3)
    right.set_ylim(bottom=0)
    right.legend()
    for axes in (left, right):
        whole_numbers(axes)
    return figure


def _or_gap(value: float | None) -> float:
    return float("nan") if value is None else value


@styled
def weights_figure(pacing: SelfPacing) -> Figure:
    """Draw how many candidates of the newest round have which weight; those that were not taken stand apart."""
    figure, (axes,) = canvas(height=2.3)
    taken = [weight for weight in pacing.weights if weight > 0]
    counts, edges = np.histogram(taken, bins=10, range=(0, 1))
    axes.bar(edges[:-1], counts, width=0.1, align="edge", color=BLUE, edgecolor="black", label="taken")
    left_out = len(pacing.weights) - len(taken)
    axes.bar(-0.1, left_out, width=0.06, color="white", hatch="///", edgecolor="black", label="not taken")
    axes.set(xlabel="weight v", ylabel="scans", xticks=[-0.1, 0, 0.2, 0.4, 0.6, 0.8, 1])
    axes.set_xticklabels(["not taken", "0", "0.2", "0.4", "0.6", "0.8", "1"])
    whole_numbers(axes, "y")
    legend(figure)
    return figure


def pace_table(pacing: SelfPacing) -> Table:
    """Return one row per round that took pseudo-labels."""
    columns = (
        Column("Round", 0),
        Column("λ", 4),
        Column("Quantile", 2),
        Column("Guard Dice η", 3),
        Column("Candidates", 0),
        Column("Taken", 0),
        Column("Σ v", 1),
        Column("Model"),
    )
    rows = tuple(
        (
            one.number,
            one.pace,
            one.quantile,
            one.accuracy,
            one.candidates,
            one.taken,
            one.effective,
            "promoted" if one.promoted else "candidate",
        )
        for one in pacing.rounds
    )
    return Table(columns, rows, "Rounds with pseudo-labels")


def review_words(pacing: SelfPacing) -> str:
    """Say what the annotator's review and blind checks found."""
    said = f"Reviewed: {pacing.accepted} accepted, {pacing.rejected} rejected. "
    if not pacing.audits:
        return said + "No pseudo-label has been checked blind yet, so their quality is not known."
    mean = float(np.mean(pacing.audits))
    bounds = f" (95 % interval {interval(pacing.audit_bounds, 2)})" if pacing.audit_bounds else ""
    checks = several(len(pacing.audits), "blind check")
    return said + f"By {checks}, pseudo-labels reach a mean Dice of {number(mean, 2)}{bounds}."


def section(project: Project) -> Section:
    """Return the section."""
    pacing = gather(project)
    blocks: list[Block] = []
    if pacing.off:
        blocks.append(Words(f"Pseudo-labels are switched off: {pacing.off}.", warning=True))
    if not pacing.rounds:
        blocks.append(Words("No round has learned from pseudo-labels yet."))
    else:
        last = pacing.rounds[-1]
        alt = f"λ and the number of pseudo-labels over the rounds; the last took {last.taken} of {last.candidates}."
        caption = (
            "λ says up to which loss a prediction is taken. The effective number is the sum of the weights: how many "
            "full labels the pseudo-labels count as."
        )
        blocks += [Picture(pace_figure(pacing), alt, caption), pace_table(pacing)]
    if pacing.weights:
        taken = sum(weight > 0 for weight in pacing.weights)
        alt = f"Histogram of the weights of round {pacing.newest}: {taken} of {len(pacing.weights)} above 0."
        settings = f", {pacing.settings}" if pacing.settings else ""
        blocks.append(
            Picture(weights_figure(pacing), alt, f"Weights of the candidates of round {pacing.newest}{settings}.")
        )
    if pacing.weights or pacing.accepted or pacing.rejected or pacing.audits:
        blocks.append(Words(review_words(pacing)))
    return Section("self-paced", "Self-paced learning", tuple(blocks))
