"""What a section of a report is made of: sentences, tables and pictures, as values that know nothing of HTML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Cell = str | int | float | bool | None


@dataclass(frozen=True)
class Words:
    """A paragraph; *warning* sets it apart."""

    text: str
    warning: bool = False


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes
    ----------
    title : str
    digits : int or None
        Digits after the point of its numbers; None for a column of words.
    """

    title: str
    digits: int | None = None


@dataclass(frozen=True)
class Table:
    """Rows under columns; None in a cell is a dash.

    Attributes
    ----------
    columns : tuple of Column
    rows : tuple of tuple
        As long as *columns*.
    caption : str
        What the table shows.
    sortable : bool
        Whether a click on a column sorts the rows.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str
    sortable: bool = False


@dataclass(frozen=True)
class Picture:
    """A figure with what a reader who cannot see it is told (*alt*), and the *caption* under it."""

    figure: Figure
    alt: str
    caption: str


Block = Words | Table | Picture


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it; *anchor* is its place in links."""

    anchor: str
    title: str
    blocks: tuple[Block, ...]


def number(value: float | None, digits: int = 3) -> str:
    """Return *value* with *digits* after the point and a real minus sign; a dash for None."""
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")


def interval(bounds: tuple[float, float] | None, digits: int = 3) -> str:
    """Return an interval as ``0.010 to 0.030``; a dash for None."""
    return "–" if bounds is None else f"{number(bounds[0], digits)} to {number(bounds[1], digits)}"


def several(count: int, noun: str, plural: str = "") -> str:
    """Return ``1 scan``, ``2 scans``."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"
