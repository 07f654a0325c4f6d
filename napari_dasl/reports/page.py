"""Sections as one HTML page that opens without a network, prints well, and shows user text as text."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING

from napari_dasl import __version__
from napari_dasl.reports.blocks import Column, Picture, Section, Table, Words, number
from napari_dasl.reports.drawing import data_uri

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from napari_dasl.reports.blocks import Block, Cell

# The page may load nothing at all: pictures are inside it, and so are its style and its few lines of script.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


class Markup(str):
    """HTML that was made here; every other text is escaped on its way into the page."""

    __slots__ = ()


def element(name: str, *children: str, **attributes: str | None) -> Markup:
    """Return one HTML element.

    Parameters
    ----------
    name : str
        Such as ``td``.
    *children : str
        Text, which is escaped, or :class:`Markup`, which is not.
    **attributes : str or None
        Escaped; ``class_`` stands for ``class``, an underscore for a hyphen. None leaves the attribute out.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    inside = "".join(child if isinstance(child, Markup) else escape(child) for child in children)
    return Markup(f"<{name}{given}>{inside}</{name}>")


def render(title: str, sections: Sequence[Section], *, now: datetime) -> str:
    """Return the page.

    Parameters
    ----------
    title : str
    sections : sequence of Section
    now : datetime
        Stands in the footer.
    """
    links = Markup("").join(
        element("li", element("a", section.title, href=f"#{section.anchor}")) for section in sections
    )
    made = f"Made {now:%Y-%m-%d %H:%M %Z} by napari-dasl {__version__}.".replace("  ", " ")
    body = (
        element("header", element("h1", title), element("nav", element("ul", Markup(links)), aria_label="Sections")),
        element("main", *(_section(section) for section in sections)),
        element("footer", element("p", made)),
        Markup(f"<script>{_asset('report.js')}</script>"),
    )
    head = (
        Markup('<meta charset="utf-8">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        element("title", title),
        Markup(f"<style>{_asset('report.css')}</style>"),
    )
    return "<!DOCTYPE html>\n" + element("html", element("head", *head), element("body", *body), lang="en") + "\n"


def _asset(name: str) -> str:
    return files("napari_dasl.reports").joinpath(name).read_text(encoding="utf-8")


def _section(section: Section) -> Markup:
    heading = element("h2", section.title, id=f"{section.anchor}-title")
    blocks = (_block(block) for block in section.blocks)
    return element("section", heading, *blocks, id=section.anchor, aria_labelledby=f"{section.anchor}-title")


def _block(block: Block) -> Markup:
    if isinstance(block, Words):
        return element("p", block.text, class_="warning" if block.warning else None)
    if isinstance(block, Table):
        return _table(block)
    return _picture(block)


def _picture(picture: Picture) -> Markup:
    image = Markup(f'<img src="{data_uri(picture.figure)}" alt="{escape(picture.alt)}">')
    return element("figure", image, element("figcaption", picture.caption))


def _table(table: Table) -> Markup:
    head = element("tr", *(_heading(column, table.sortable) for column in table.columns))
    rows = (
        element("tr", *(_cell(value, column) for value, column in zip(row, table.columns, strict=True)))
        for row in table.rows
    )
    inside = element(
        "table",
        element("caption", table.caption),
        element("thead", head),
        element("tbody", *rows),
        class_="sortable" if table.sortable else None,
    )
    # Wide tables scroll by themselves; the keyboard reaches what it can scroll.
    return element("div", inside, class_="wide", tabindex="0", role="region", aria_label=table.caption)


def _heading(column: Column, sortable: bool) -> Markup:
    words = element("button", column.title, type="button") if sortable else column.title
    return element("th", words, scope="col", class_=_alignment(column))


def _cell(value: Cell, column: Column) -> Markup:
    key = None
    if value is None:
        text = "–"
    elif isinstance(value, bool):
        text = "yes" if value else "no"
    elif isinstance(value, str):
        text = value
    else:
        text, key = number(value, column.digits or 0), repr(float(value))
    return element("td", text, class_=_alignment(column), data_sort=key)


def _alignment(column: Column) -> str | None:
    return None if column.digits is None else "number"
