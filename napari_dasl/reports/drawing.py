"""The look of every figure, and its way into the page: one fixed style, Okabe and Ito's colours, SVG without a date.

Everything that tells two things apart by colour tells them apart by shape too: by marker, dash or hatching.
"""

from __future__ import annotations

import base64
import functools
import io
import warnings
from typing import TYPE_CHECKING, Any, ParamSpec

import matplotlib.style
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes

P = ParamSpec("P")

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILION, PURPLE, GREY = "#0072B2", "#D55E00", "#CC79A7", "#777777"
LINES: tuple[tuple[str, str, str], ...] = (
    (BLUE, "o", "-"),
    (VERMILION, "s", "--"),
    (GREEN, "^", "-."),
    (PURPLE, "D", ":"),
    (ORANGE, "v", "-"),
    (SKY, "P", "--"),
    (BLACK, "X", "-."),
)
"""Colour, marker and dash of the first, second, … thing in a figure; after the last they begin again."""

_STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "figure.facecolor": "white",
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "lines.markersize": 5,
    "svg.fonttype": "path",
    "svg.hashsalt": "napari-dasl",
    "text.parse_math": False,
}


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Make *draw* work in the fixed style, whatever matplotlib is set to on this machine."""

    @functools.wraps(draw)
    def inside(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with matplotlib.style.context(_STYLE, after_reset=True):
            return draw(*args, **kwargs)

    return inside


def canvas(columns: int = 1, *, height: float = 2.9) -> tuple[Figure, list[Axes]]:
    """Return an empty figure as wide as the page, with *columns* axes side by side; *height* in inches."""
    figure = Figure(figsize=(7.6, height), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False)
    return figure, list(axes[0])


def whole_numbers(axes: Axes, which: str = "x") -> None:
    """Put ticks at whole numbers only, as rounds and scans have no halves."""
    locator = MaxNLocator(integer=True, min_n_ticks=1)
    (axes.xaxis if which == "x" else axes.yaxis).set_major_locator(locator)


def legend(figure: Figure, *, below: bool = False) -> None:
    """Explain what is in *figure* beside it, or *below* it where names may be long; nothing if nothing has a name."""
    if any(axes.get_legend_handles_labels()[1] for axes in figure.axes):
        figure.legend(loc="outside lower left" if below else "outside right upper", ncols=2 if below else 1)


def label(text: str) -> str:
    """Return *text* as a legend accepts it: matplotlib leaves out what begins with an underscore."""
    return f" {text}" if text.startswith("_") else text


def svg(figure: Figure) -> str:
    """Return *figure* as SVG; the same figure gives the same text."""
    buffer = io.StringIO()
    with matplotlib.style.context(_STYLE, after_reset=True), warnings.catch_warnings():
        # Names in a script that the built-in font lacks are boxes in the figure; tables beside it spell them out.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def data_uri(figure: Figure) -> str:
    """Return *figure* as the address of an image that carries its own content."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg(figure).encode()).decode()


__all__ = [
    "BLACK",
    "BLUE",
    "GREEN",
    "GREY",
    "LINES",
    "ORANGE",
    "PURPLE",
    "SKY",
    "VERMILION",
    "canvas",
    "data_uri",
    "label",
    "legend",
    "styled",
    "svg",
    "whole_numbers",
]
