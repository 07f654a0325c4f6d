"""The findings as a Qt model, and how their cells are drawn."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QSize, QSortFilterProxyModel, Qt
from qtpy.QtGui import QColor, QFont
from qtpy.QtWidgets import QStyledItemDelegate

from napari_dasl.widgets.case_facts import volume_words
from napari_dasl.widgets.cells import SIGN_WIDTH, begin_cell, paint_bar, paint_sign
from napari_dasl.widgets.finding_rows import diameter_words
from napari_dasl.widgets.worklist_model import StateSign

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtCore import QObject
    from qtpy.QtGui import QPainter
    from qtpy.QtWidgets import QStyleOptionViewItem

    from napari_dasl.project.findings import FindingState
    from napari_dasl.widgets.finding_rows import FindingRow

ROW_ROLE = Qt.ItemDataRole.UserRole + 1
_BAR_WIDTH = 34
_FAINT = QColor(143, 143, 143)


class FindingColumn(IntEnum):
    """The columns."""

    ID = 0
    SCORE = 1
    DIAMETER = 2
    VOLUME = 3
    NAME = 4
    STATE = 5


HEADINGS: dict[FindingColumn, tuple[str, str]] = {
    FindingColumn.ID: ("#", "Number of the finding in the prediction."),
    FindingColumn.SCORE: ("Score", "How sure the network is that this is a lesion, 0 to 1."),
    FindingColumn.DIAMETER: ("Longest", "Longest diameter in an axial slice."),
    FindingColumn.VOLUME: ("Volume", "Volume of what the network drew."),
    FindingColumn.NAME: ("Class", "What the network takes it for."),
    FindingColumn.STATE: ("State", "What was decided about it."),
}

FINDING_SIGNS: dict[FindingState, StateSign] = {
    "proposed": StateSign("○", "#56B4E9", "to review", "Nobody decided about it yet."),
    "below": StateSign("◌", "#999999", "unsure", "The network is too unsure of it to draw it."),
    "accepted": StateSign("●", "#009E73", "accepted", "You accepted it: it was copied into your label."),
    "labelled": StateSign("◉", "#009E73", "in label", "Your label holds a lesion at this place."),
    "rejected": StateSign(
        "✕", "#D55E00", "rejected", "You rejected it: the next round learns that there is no lesion here."
    ),
}
_STATE_ORDER = {state: number for number, state in enumerate(FINDING_SIGNS)}
_RIGHT = (FindingColumn.ID, FindingColumn.DIAMETER, FindingColumn.VOLUME)


def _value(row: FindingRow, column: FindingColumn) -> Any:
    """Return what a column sorts by: ascending begins with what is looked at first."""
    values: dict[FindingColumn, Any] = {
        FindingColumn.ID: row.id,
        FindingColumn.SCORE: -row.score,
        FindingColumn.DIAMETER: -row.diameter,
        FindingColumn.VOLUME: -row.volume_ml,
        FindingColumn.NAME: row.label,
        FindingColumn.STATE: _STATE_ORDER[row.state],
    }
    return values[column]


def _text(row: FindingRow, column: FindingColumn) -> str:
    texts: dict[FindingColumn, str] = {
        FindingColumn.ID: str(row.id),
        FindingColumn.SCORE: f"{row.score:.2f}",
        FindingColumn.DIAMETER: diameter_words(row.diameter),
        FindingColumn.VOLUME: volume_words(row.volume_ml),
        FindingColumn.NAME: row.name,
        FindingColumn.STATE: FINDING_SIGNS[row.state].word,
    }
    return texts[column]


class FindingModel(QAbstractTableModel):
    """Rows of a frozen snapshot."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._rows: tuple[FindingRow, ...] = ()
        self._whose: tuple[str, str] = ("", "")

    @property
    def rows(self) -> Sequence[FindingRow]:
        """The rows, the surest first."""
        return self._rows

    def row_of(self, number: int | None) -> int:
        """Return the position of a finding, -1 where it is unknown."""
        return next((place for place, row in enumerate(self._rows) if row.id == number), -1)

    def set_rows(self, whose: tuple[str, str], rows: Sequence[FindingRow]) -> None:
        """Show *rows* of (case, model); where they are the same findings, the selection stays."""
        fresh = tuple(rows)
        if whose == self._whose and [row.id for row in fresh] == [row.id for row in self._rows]:
            if fresh != self._rows:
                self._rows = fresh
                self.dataChanged.emit(self.index(0, 0), self.index(len(fresh) - 1, len(FindingColumn) - 1))
            return
        self.beginResetModel()
        self._whose, self._rows = whose, fresh
        self.endResetModel()

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Return the number of findings."""
        return 0 if parent is not None and parent.isValid() else len(self._rows)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """Return the number of columns."""
        return 0 if parent is not None and parent.isValid() else len(FindingColumn)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return what a cell shows, sorts by (UserRole) or explains; what is rejected is struck through."""
        if not index.isValid():
            return None
        row, column = self._rows[index.row()], FindingColumn(index.column())
        if role == Qt.ItemDataRole.DisplayRole:
            return _text(row, column)
        if role == Qt.ItemDataRole.UserRole:
            return _value(row, column)
        if role == ROW_ROLE:
            return row
        if role == Qt.ItemDataRole.ToolTipRole:
            return FINDING_SIGNS[row.state].meaning if column is FindingColumn.STATE else HEADINGS[column][1]
        if role == Qt.ItemDataRole.TextAlignmentRole and column in _RIGHT:
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        if role == Qt.ItemDataRole.FontRole and row.state == "rejected" and column is not FindingColumn.STATE:
            struck = QFont()
            struck.setStrikeOut(True)
            return struck
        if role == Qt.ItemDataRole.ForegroundRole and row.state in ("rejected", "below"):
            return _FAINT
        return None

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return a column's heading, or what it means."""
        if orientation == Qt.Orientation.Horizontal and 0 <= section < len(FindingColumn):
            heading, meaning = HEADINGS[FindingColumn(section)]
            if role == Qt.ItemDataRole.DisplayRole:
                return heading
            if role == Qt.ItemDataRole.ToolTipRole:
                return meaning
        return None


class FindingProxy(QSortFilterProxyModel):
    """The rows in the order of a heading; equals by score and number."""

    def lessThan(self, left: QModelIndex, right: QModelIndex) -> bool:
        """Order by value."""
        rows, column = self.sourceModel().rows, FindingColumn(left.column())
        a, b = rows[left.row()], rows[right.row()]
        first, second = _value(a, column), _value(b, column)
        return bool(first < second if first != second else (-a.score, a.id) < (-b.score, b.id))


class FindingDelegate(QStyledItemDelegate):
    """Draws the score as a bar and the state with its shape and colour."""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        """Draw a cell."""
        row: FindingRow | None = index.data(ROW_ROLE)
        column = FindingColumn(index.column())
        if row is None or column not in (FindingColumn.SCORE, FindingColumn.STATE):
            super().paint(painter, option, index)
            return
        painter.save()
        styled, text = begin_cell(self, painter, option, index)
        if column is FindingColumn.SCORE:
            colour = FINDING_SIGNS["below" if row.state == "rejected" else row.state].colour
            paint_bar(painter, styled, row.score, colour, text, _BAR_WIDTH)
        else:
            paint_sign(painter, styled, FINDING_SIGNS[row.state], text)
        painter.restore()

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex) -> QSize:
        """Leave room for the bar or the shape beside the text."""
        size = super().sizeHint(option, index)
        extra = {FindingColumn.SCORE: _BAR_WIDTH + 6, FindingColumn.STATE: SIGN_WIDTH}.get(
            FindingColumn(index.column()), 0
        )
        return QSize(size.width() + extra, size.height())
