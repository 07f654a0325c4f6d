"""Figures of experiments: curves with bands, and one mark per seed; in the style of the reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_dasl.reports import drawing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure

Points = "Sequence[tuple[float, float]]"


@drawing.styled
def curves(
    series: Mapping[str, Sequence[Sequence[tuple[float, float]]]], across: str, up: str, *, logarithmic: bool = False
) -> Figure:
    """One line per arm: the mean over its repeats, with a band of one standard deviation.

    Parameters
    ----------
    series : mapping
        Arm to its repeats, each a list of (x, y) with x rising. Repeats are read off at the places of the first one,
        between points in a straight line.
    across, up : str
        What the axes show.
    logarithmic : bool
        Of the y axis.
    """
    figure, (axes,) = drawing.canvas(height=3.2)
    for (name, repeats), (colour, marker, dash) in zip(series.items(), _looks(len(series)), strict=True):
        known = [np.asarray(points, float) for points in repeats if len(points)]
        if not known:
            continue
        x = known[0][:, 0]
        y = np.stack([np.interp(x, points[:, 0], points[:, 1]) for points in known])
        few = marker if len(x) <= 30 else None
        axes.plot(x, y.mean(axis=0), color=colour, linestyle=dash, marker=few, label=drawing.label(name))
        if len(known) > 1:
            sd = y.std(axis=0, ddof=1)
            axes.fill_between(x, y.mean(axis=0) - sd, y.mean(axis=0) + sd, color=colour, alpha=0.15, linewidth=0)
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    if logarithmic:
        axes.set_yscale("log")
    drawing.legend(figure, below=True)
    return figure


@drawing.styled
def repeats(
    columns: Sequence[tuple[str, Mapping[str, Sequence[float]]]], published: Mapping[str, float] | None = None
) -> Figure:
    """Measures side by side: for every arm a mark per repeat and a bar at their mean.

    Parameters
    ----------
    columns : sequence of (str, mapping)
        What is measured, and arm to its values.
    published : mapping, optional
        Arm to the paper's figure for the first measure: a diamond.
    """
    figure, panels = drawing.canvas(len(columns), height=3.2)
    for axes, (title, values) in zip(panels, columns, strict=True):
        for at, ((name, found), (colour, marker, _)) in enumerate(
            zip(values.items(), _looks(len(values)), strict=True)
        ):
            known = [value for value in found if np.isfinite(value)]
            offsets = np.linspace(-0.15, 0.15, len(known)) if len(known) > 1 else [0.0] * len(known)
            axes.plot([at + shift for shift in offsets], known, color=colour, marker=marker, linestyle="none")
            if known:
                axes.hlines(float(np.mean(known)), at - 0.3, at + 0.3, color=colour)
            if published and axes is panels[0] and name in published:
                axes.plot([at + 0.35], [published[name]], marker="d", color=drawing.BLACK, linestyle="none")
        axes.set_xticks(range(len(values)), [drawing.label(name) for name in values], rotation=30, ha="right")
        axes.set_title(title)
        axes.set_xlim(-0.6, len(values) - 0.4)
    return figure


def _looks(number: int) -> list[tuple[str, str, str]]:
    return [drawing.LINES[at % len(drawing.LINES)] for at in range(number)]
