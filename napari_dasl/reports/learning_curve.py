"""Dice on the guard set against the number of labelled scans, and where that curve leads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_dasl.active.curves import FEWEST_POINTS, LearningCurve, fit_curve, labels_sentence
from napari_dasl.errors import InputError
from napari_dasl.reports.blocks import Picture, Section, Words, number, several
from napari_dasl.reports.drawing import BLUE, SKY, VERMILION, canvas, legend, styled, whole_numbers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from napari_dasl.project import Project
    from napari_dasl.reports.blocks import Block

AHEAD = 1.5
"""The extrapolation is drawn up to this many times the labels that there are."""
_MARGIN = 0.12


@dataclass(frozen=True)
class Learned:
    """Guard Dice against labels.

    Attributes
    ----------
    points : tuple of (int, float, bool)
        Labelled scans trained on, guard Dice, and whether the model took over; in the order of the rounds.
    curve : LearningCurve or None
        None for too few points, or when none fits.
    words : str
        What the curve says, or why there is none.
    """

    points: tuple[tuple[int, float, bool], ...]
    curve: LearningCurve | None
    words: str


def gather(project: Project) -> Learned:
    """Read the points from the rounds of *project* and fit a curve to them."""
    points = []
    for one in project.rounds():
        dice = (one.result.get("guard") or {}).get("dice")
        human = (one.result.get("trained_on") or {}).get("human")
        if one.state == "done" and dice is not None and human:
            points.append((int(human), float(dice), bool(one.result.get("promoted"))))
    return learned(tuple(points))


def learned(points: tuple[tuple[int, float, bool], ...]) -> Learned:
    """Fit a curve to *points*, where there are enough with different numbers of labels."""
    labels, dice = [one[0] for one in points], [one[1] for one in points]
    if len(set(labels)) < FEWEST_POINTS:
        words = f"From {FEWEST_POINTS} rounds with different numbers of labels on, a curve says where more labels lead."
        return Learned(points, None, words)
    try:
        curve = fit_curve(labels, dice)
    except InputError as problem:
        return Learned(points, None, problem.message)
    return Learned(points, curve, labels_sentence(curve))


@styled
def curve_figure(found: Learned) -> Figure:
    """Draw the points, and where there is a fit its line with the band, ahead of the last point too."""
    figure, (axes,) = canvas()
    if found.curve is not None:
        steps = np.linspace(found.curve.first, AHEAD * found.curve.last, 100)
        low, high = found.curve.band(steps.tolist())
        fit = found.curve.dice(steps.tolist())
        axes.fill_between(steps, low, high, color=SKY, alpha=0.35, linewidth=0, label="95 % band of the fit")
        known = steps <= found.curve.last
        axes.plot(steps[known], fit[known], color=BLUE, label="fit")
        axes.plot(steps[~known], fit[~known], color=BLUE, linestyle="--", label="extrapolation")
    styles = ((True, "o", BLUE, "took over"), (False, "X", VERMILION, "candidate"))
    for promoted, marker, colour, words in styles:
        mine = [(n, dice) for n, dice, taken in found.points if taken is promoted]
        if mine:
            axes.plot([n for n, _ in mine], [d for _, d in mine], marker, color=colour, label=words)
    # A band of few points can reach from 0 to 1; the points are what has been measured, so they set the scale.
    dice = [one[1] for one in found.points]
    axes.set_ylim(max(0.0, min(dice) - _MARGIN), min(1.0, max(dice) + _MARGIN))
    axes.set(xlabel="labelled scans trained on", ylabel="Dice on the guard set")
    whole_numbers(axes)
    legend(figure)
    return figure


def section(project: Project) -> Section:
    """Return the section."""
    found = gather(project)
    title = "Learning curve"
    if not found.points:
        return Section("learning-curve", title, (Words("No round has been compared on a guard set yet."),))
    labels, dice, _ = found.points[-1]
    rounds = several(len(found.points), "round")
    alt = f"Dice on the guard set for {rounds}; the last has {labels} labels and {number(dice)}."
    caption = "A point per round. Pseudo-labels are not counted as labels; the scans of the guard set are not either."
    blocks: list[Block] = [Picture(curve_figure(found), alt, caption), Words(found.words)]
    return Section("learning-curve", title, tuple(blocks))
