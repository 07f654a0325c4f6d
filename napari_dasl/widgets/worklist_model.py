"""The worklist as Qt models: rows of the project, and a sorted, filtered view of them.

Sorting uses the values, not their text (as text "10" comes before "9"); case names sort as people count, and what has
no value comes last in both directions. A refresh changes values in place wherever the same cases are there, so that the
selection and the scroll position stay where they are.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QSortFilterProxyModel, Qt, Signal

from napari_dasl.curriculum import SCORERS
from napari_dasl.project.names import natural
from napari_dasl.project.records import CaseState
from napari_dasl.widgets.difficulty_rows import cell_tooltip, cell_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from qtpy.QtCore import QObject

    from napari_dasl.widgets.snapshot import Row, Snapshot

ROW_ROLE = Qt.ItemDataRole.UserRole + 1


class Column(IntEnum):
    """The columns, in their first order."""

    RANK = 0
    CASE = 1
    STATE = 2
    SCORE = 3
    UNCERTAINTY = 4
    SIMILARITY = 5
    MINUTES = 6
    PICTURE = 7
    BY_SIZE = 8
    BY_CONTRAST = 9
    BY_GRADIENT = 10
    BY_BOOTSTRAPPING = 11
    BY_SELF_PACED = 12
    BY_INTENSITY = 13
    BY_AGREEMENT = 14
    BY_UNCERTAINTY = 15


SCORER_COLUMNS: dict[Column, str] = {
    Column.BY_SIZE: "size",
    Column.BY_CONTRAST: "contrast",
    Column.BY_GRADIENT: "gradient",
    Column.BY_BOOTSTRAPPING: "bootstrapping",
    Column.BY_SELF_PACED: "self-paced",
    Column.BY_INTENSITY: "intensity",
    Column.BY_AGREEMENT: "agreement",
    Column.BY_UNCERTAINTY: "uncertainty",
}
"""The columns of difficulty, and the scorer of each."""
COLUMN_OF: dict[str, Column] = {scorer: column for column, scorer in SCORER_COLUMNS.items()}


@dataclass(frozen=True)
class StateSign:
    """How a state looks: a shape, a colour (Okabe and Ito's palette, safe for the colour-blind) and words."""

    symbol: str
    colour: str
    word: str
    meaning: str


SIGNS: dict[CaseState, StateSign] = {
    CaseState.UNLABELLED: StateSign("○", "#999999", "unlabelled", "Nobody labelled it yet."),
    CaseState.DRAFT: StateSign("◐", "#E69F00", "draft", "An edit is open; it is kept until you save it."),
    CaseState.LABELLED: StateSign("●", "#009E73", "labelled", "A person labelled it; the network learns from it."),
    CaseState.PSEUDO: StateSign("◌", "#56B4E9", "pseudo-label", "The network labelled it for itself."),
    CaseState.GUARD: StateSign("◆", "#CC79A7", "guard", "Labelled, and held back to judge each new model."),
    CaseState.SKIPPED: StateSign("–", "#999999", "skipped", "You set it aside."),
    CaseState.UNREADABLE: StateSign("✕", "#D55E00", "cannot be read", "Its scan cannot be read."),
}

HEADINGS: dict[Column, tuple[str, str]] = {
    Column.RANK: ("#", "Rank: 1 is labelled next."),
    Column.CASE: ("Case", "Name of the case."),
    Column.STATE: ("State", "What the case is waiting for."),
    Column.SCORE: ("Score", "What the rank is made of: how much this case would teach the network."),
    Column.UNCERTAINTY: ("Unsure", "How unsure the network is inside the region it looks at, 0 to 0.5."),
    Column.SIMILARITY: ("Similar", "How typical the case is of the others, −1 to 1."),
    Column.MINUTES: ("Minutes", "Active minutes spent on the case, looking and drawing; pauses do not count."),
    Column.PICTURE: ("Picture", "The scan with the outline of the label, or dotted that of the prediction."),
    **{
        column: (SCORERS[scorer].title, f"{SCORERS[scorer].sentence} ≈ was measured on a prediction.")
        for column, scorer in SCORER_COLUMNS.items()
    },
}

_natural = lru_cache(maxsize=1 << 14)(natural)
_STATE_ORDER = {state: number for number, state in enumerate(CaseState)}


@dataclass(frozen=True)
class Order:
    """One way to order the list: a column and a direction, and its words."""

    key: str
    title: str
    column: Column
    descending: bool
    words: str
    shuffled: bool = False


ORDERS: tuple[Order, ...] = (
    Order("rank", "By rank: what teaches most", Column.RANK, False, "Ranked: {strategy}{model}"),
    Order("uncertainty", "Most unsure first", Column.UNCERTAINTY, True, "Most unsure first{model}"),
    Order("similarity", "Most typical first", Column.SIMILARITY, True, "Most typical first{model}"),
    Order("case", "By name", Column.CASE, False, "By name"),
    Order("state", "By state", Column.STATE, False, "By state"),
    Order("minutes", "Most work first", Column.MINUTES, True, "Most work first"),
    Order("random", "Shuffled", Column.CASE, False, "Shuffled (the same shuffle each time)", shuffled=True),
)


def strategy_title(snapshot: Snapshot) -> str:
    """Return the strategy that ordered the list in words."""
    name = snapshot.ranked_by or snapshot.strategy
    return dict(snapshot.strategies).get(name, name.replace("-", " "))


def order_words(snapshot: Snapshot, column: Column, descending: bool, *, shuffled: bool = False) -> str:
    """Return the order in force as a sentence: ``Ranked by uncertainty, model of round 2``."""
    model = snapshot.active_model
    by_model = "" if model is None else f", model of round {model.round}" if model.round is not None else ""
    for order in ORDERS:
        if (order.column, order.descending, order.shuffled) == (column, descending, shuffled):
            if order.key == "rank" and all(row.score is None for row in snapshot.rows):
                return "No ranking yet: the first round makes one."
            words = order.words.format(strategy=_inside(strategy_title(snapshot)), model=by_model) + "."
            asked = sum(row.asked for row in snapshot.rows)
            if order.key == "rank" and asked:
                words += f" The {asked} asked for {'comes' if asked == 1 else 'come'} first."
            return words
    if column in SCORER_COLUMNS:
        about = SCORERS[SCORER_COLUMNS[column]]
        hard = descending == (about.harder == "high")
        return f"{'Hardest' if hard else 'Easiest'} first, by {_inside(about.title)}."
    heading = HEADINGS[column][0] if column is not Column.RANK else "Rank"
    return f"By {heading.lower()}, {'largest' if descending else 'smallest'} first."


def _inside(title: str) -> str:
    """Return a title as it stands inside a sentence; abbreviations keep their capitals."""
    return title if title[:2].isupper() else title[:1].lower() + title[1:]


def _value(row: Row, column: Column) -> Any:
    if column is Column.CASE:
        return row.case
    if column is Column.STATE:
        return _STATE_ORDER[row.state]
    if column is Column.PICTURE:
        return None
    if column in SCORER_COLUMNS:
        measured = row.hardness.get(SCORER_COLUMNS[column])
        return measured.value if measured is not None and measured.known else None
    return getattr(row, column.name.lower())


def _text(row: Row, column: Column) -> str:
    if column is Column.CASE:
        return row.case
    if column is Column.STATE:
        word = SIGNS[row.state].word
        waiting = row.state in (CaseState.UNLABELLED, CaseState.PSEUDO)  # the symbol tells them apart
        asked = "asked for" if waiting else f"{word}, asked"
        return asked if row.asked else word
    if column in SCORER_COLUMNS:
        return cell_words(SCORER_COLUMNS[column], row.hardness.get(SCORER_COLUMNS[column]))
    value = _value(row, column)
    if value is None:
        return ""
    if column is Column.RANK:
        return str(value)
    if column is Column.MINUTES:
        return f"{value:.1f}"
    # Eq. 3 multiplies two small numbers: to three digits after the point many scans would all have 0.000.
    return f"{value:.3f}" if value == 0 or abs(value) >= 0.01 else f"{value:.2g}"


def state_words(row: Row) -> str:
    """Return what the state means for this case, with its reason where it has one."""
    sign = SIGNS[row.state]
    reason = f" {row.reason}" if row.reason else ""
    asked = " Asked for: the next round waits until it is labelled or skipped." if row.asked else ""
    return f"{sign.symbol} {sign.word}: {sign.meaning}{reason}{asked}"


def hard_end(column: Column) -> bool:
    """Return whether a column of difficulty has its hardest case first when it is sorted descending."""
    return SCORERS[SCORER_COLUMNS[column]].harder == "high"


def _tooltip(row: Row, column: Column) -> str:
    if column in SCORER_COLUMNS:
        return cell_tooltip(SCORER_COLUMNS[column], row.hardness.get(SCORER_COLUMNS[column]))
    if column is Column.STATE:
        return state_words(row)
    if column is Column.CASE:
        return f"{row.case}\n{row.facts}"
    return row.words or HEADINGS[column][1]


class WorklistModel(QAbstractTableModel):
    """All cases of the project, in the project's order; the proxy sorts them."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._rows: list[Row] = []
        self._index: dict[str, int] = {}
        self.current: str | None = None
        self.best_score = 0.0
        self.pictures: Callable[[Row], Any] | None = None
        """Gives the picture of a row, or None while it is made."""

    @property
    def rows(self) -> Sequence[Row]:
        """The rows, in the project's order."""
        return self._rows

    def row_of(self, case_id: str | None) -> int:
        """Return the position of a case, -1 where it is unknown."""
        return self._index.get(case_id or "", -1)

    def set_rows(self, rows: Iterable[Row]) -> None:
        """Show *rows*; where they are the same cases in the same order, only what changed is told."""
        fresh = list(rows)
        best = max((row.score for row in fresh if row.score is not None), default=0.0)
        rescaled, self.best_score = best != self.best_score, best
        if [row.case for row in fresh[: len(self._rows)]] != [row.case for row in self._rows]:
            self.beginResetModel()
            self._rows = fresh
            self._index = {row.case: number for number, row in enumerate(fresh)}
            self.endResetModel()
            return
        known = len(self._rows)
        changed = [number for number in range(known) if fresh[number] != self._rows[number]]
        self._rows[:known] = fresh[:known]
        if changed or (rescaled and known):
            first, last = (0, known - 1) if rescaled else (changed[0], changed[-1])
            self.dataChanged.emit(self.index(first, 0), self.index(last, len(Column) - 1))
        if len(fresh) > known:
            self.beginInsertRows(QModelIndex(), known, len(fresh) - 1)
            self._rows.extend(fresh[known:])
            self._index = {row.case: number for number, row in enumerate(self._rows)}
            self.endInsertRows()

    def set_current(self, case_id: str | None) -> None:
        """Mark the case that is on the screen."""
        before, self.current = self.current, case_id
        for number in {self.row_of(before), self.row_of(case_id)} - {-1}:
            self.dataChanged.emit(
                self.index(number, 0), self.index(number, len(Column) - 1), [Qt.ItemDataRole.FontRole]
            )

    def picture_changed(self, case_id: str) -> None:
        """Draw the picture of a case again."""
        number = self.row_of(case_id)
        if number >= 0:
            cell = self.index(number, int(Column.PICTURE))
            self.dataChanged.emit(cell, cell, [Qt.ItemDataRole.DecorationRole])

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Return the number of cases."""
        return 0 if parent is not None and parent.isValid() else len(self._rows)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """Return the number of columns."""
        return 0 if parent is not None and parent.isValid() else len(Column)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return what a cell shows, sorts by (UserRole) or explains."""
        if not index.isValid():
            return None
        row, column = self._rows[index.row()], Column(index.column())
        if role == Qt.ItemDataRole.DisplayRole:
            return _text(row, column)
        if role == Qt.ItemDataRole.UserRole:
            return _value(row, column)
        if role == ROW_ROLE:
            return row
        if role == Qt.ItemDataRole.ToolTipRole:
            return _tooltip(row, column)
        if role == Qt.ItemDataRole.DecorationRole and column is Column.PICTURE and self.pictures is not None:
            return self.pictures(row)
        if role == Qt.ItemDataRole.TextAlignmentRole and column not in (Column.CASE, Column.STATE):
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        return None

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return a column's heading, or what it means."""
        if orientation == Qt.Orientation.Horizontal and 0 <= section < len(Column):
            heading, meaning = HEADINGS[Column(section)]
            if role == Qt.ItemDataRole.DisplayRole:
                return heading
            if role == Qt.ItemDataRole.ToolTipRole:
                return meaning
        return None


class WorklistProxy(QSortFilterProxyModel):
    """The cases that the filters let through, in the order in force."""

    order_changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.setSortRole(Qt.ItemDataRole.UserRole)
        self.setDynamicSortFilter(True)
        self._states: frozenset[CaseState] = frozenset()
        self._text = ""
        self._cases: frozenset[str] | None = None
        self.shuffled = False
        self.descending = False

    def order_by(self, column: Column, descending: bool, *, shuffled: bool = False) -> None:
        """Sort by *column*; *shuffled* orders by a fixed shuffle of the names instead."""
        self.shuffled, self.descending = shuffled, descending
        direction = Qt.SortOrder.DescendingOrder if descending else Qt.SortOrder.AscendingOrder
        self.sort(-1)
        self.sort(int(column), direction)
        self.order_changed.emit()

    def show_states(self, states: Iterable[CaseState]) -> None:
        """Show only *states*; none means all."""
        self._change(lambda: setattr(self, "_states", frozenset(states)))

    def show_text(self, text: str) -> None:
        """Show only cases with *text* in their name, state or reason."""
        self._change(lambda: setattr(self, "_text", text.strip().casefold()))

    def show_cases(self, cases: frozenset[str] | None) -> None:
        """Show only *cases*; None means all."""
        if cases != self._cases:
            self._change(lambda: setattr(self, "_cases", cases))

    def _change(self, change: Callable[[], None]) -> None:
        change()
        self.invalidate()
        self.order_changed.emit()

    def visible_cases(self) -> list[str]:
        """Return the ids of the visible cases, top first."""
        source = self.sourceModel()
        rows = (self.mapToSource(self.index(number, 0)).row() for number in range(self.rowCount()))
        return [source.rows[number].case for number in rows]

    def filterAcceptsRow(self, source_row: int, source_parent: QModelIndex) -> bool:
        """Return whether the filters let a case through."""
        row: Row = self.sourceModel().rows[source_row]
        if self._states and row.state not in self._states:
            return False
        if self._cases is not None and row.case not in self._cases:
            return False
        words = (row.case, SIGNS[row.state].word, row.reason, "asked" if row.asked else "")
        return not self._text or any(self._text in word.casefold() for word in words)

    def lessThan(self, left: QModelIndex, right: QModelIndex) -> bool:
        """Order by value; a case without one comes last in both directions, equals by rank and name."""
        rows = self.sourceModel().rows
        a, b = rows[left.row()], rows[right.row()]
        if self.shuffled:
            return _shuffle_key(a.case) < _shuffle_key(b.case)
        column = Column(left.column())
        if column is Column.RANK and a.asked != b.asked:  # asked cases first, in either direction
            return a.asked != self.descending
        first, second = _value(a, column), _value(b, column)
        if first is None or second is None:
            if first is second is None:
                return self._settled(a, b)
            return (first is not None) != self.descending
        if column is Column.CASE:
            first, second = _natural(first), _natural(second)
        return first < second if first != second else self._settled(a, b)

    def _settled(self, a: Row, b: Row) -> bool:
        """Order equals the same way whatever the direction."""
        before = _tie_key(a) < _tie_key(b)
        return before != self.descending


def _shuffle_key(case_id: str) -> int:
    return zlib.crc32(case_id.encode())


def _tie_key(row: Row) -> tuple[Any, ...]:
    return (row.rank is None, row.rank or 0, _natural(row.case))
