"""The pseudo-labels as a Qt model, and how their cells are drawn."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QSize, QSortFilterProxyModel, Qt
from qtpy.QtWidgets import QStyledItemDelegate

from napari_dasl.project.names import natural
from napari_dasl.project.records import CaseState
from napari_dasl.widgets.case_facts import volume_words
from napari_dasl.widgets.cells import SIGN_WIDTH, begin_cell, paint_bar, paint_sign
from napari_dasl.widgets.pseudo_rows import PseudoState
from napari_dasl.widgets.worklist_model import SIGNS, StateSign

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtCore import QObject
    from qtpy.QtGui import QPainter
    from qtpy.QtWidgets import QStyleOptionViewItem

    from napari_dasl.widgets.pseudo_rows import PseudoRow

ROW_ROLE = Qt.ItemDataRole.UserRole + 1
_BAR_WIDTH = 40


class PseudoColumn(IntEnum):
    """The columns."""

    CASE = 0
    WEIGHT = 1
    LOSS = 2
    VOLUME = 3
    STATE = 4


HEADINGS: dict[PseudoColumn, tuple[str, str]] = {
    PseudoColumn.CASE: ("Case", "Name of the case."),
    PseudoColumn.WEIGHT: ("Weight", "How much the network learns from it: 1 is as much as from a label of yours."),
    PseudoColumn.LOSS: ("Loss", "What the weight is made from: small means easy for the network."),
    PseudoColumn.VOLUME: ("Volume", "Volume of what the network drew, all classes together."),
    PseudoColumn.STATE: ("State", "What became of it."),
}

PSEUDO_SIGNS: dict[PseudoState, StateSign] = {
    PseudoState.IN_USE: StateSign("◌", "#56B4E9", "in use", "The network learns from it."),
    PseudoState.BLIND: StateSign(
        "◇", "#F0E442", "blind", "Drawn by lot for a blind check: what the network drew stays hidden until then."
    ),
    PseudoState.ACCEPTED: StateSign("●", "#009E73", "accepted", "You accepted it: it is a label of yours now."),
    PseudoState.REJECTED: StateSign("✕", "#D55E00", "rejected", "You rejected it; it is never used again."),
    PseudoState.LABELLED: StateSign("●", "#009E73", "labelled", "You labelled the case; your label counts."),
    PseudoState.DRAFT: StateSign(
        SIGNS[CaseState.DRAFT].symbol, SIGNS[CaseState.DRAFT].colour, "draft", "You began to label the case."
    ),
}
_STATE_ORDER = {state: number for number, state in enumerate(PseudoState)}


def _value(row: PseudoRow, column: PseudoColumn) -> Any:
    """Return what a column sorts by; what is hidden or unknown comes last."""
    values: dict[PseudoColumn, Any] = {
        PseudoColumn.CASE: natural(row.case),
        PseudoColumn.WEIGHT: -row.weight,
        PseudoColumn.LOSS: (row.loss is None, row.loss or 0.0),
        PseudoColumn.VOLUME: (row.volume_ml is None, row.volume_ml or 0.0),
        PseudoColumn.STATE: _STATE_ORDER[row.state],
    }
    return values[column]


def _text(row: PseudoRow, column: PseudoColumn) -> str:
    if column is PseudoColumn.CASE:
        return row.case
    if column is PseudoColumn.WEIGHT:
        return f"{row.weight:.2f}"
    if column is PseudoColumn.LOSS:
        return "" if row.loss is None else f"{row.loss:.3f}"
    if column is PseudoColumn.VOLUME:
        return "" if row.volume_ml is None else volume_words(row.volume_ml)
    return PSEUDO_SIGNS[row.state].word


class PseudoModel(QAbstractTableModel):
    """Rows of a frozen snapshot."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._rows: tuple[PseudoRow, ...] = ()

    @property
    def rows(self) -> Sequence[PseudoRow]:
        """The rows, the largest weight first."""
        return self._rows

    def row_of(self, case_id: str | None) -> int:
        """Return the position of a case, -1 where it is unknown."""
        return next((number for number, row in enumerate(self._rows) if row.case == case_id), -1)

    def set_rows(self, rows: Sequence[PseudoRow]) -> None:
        """Show *rows*; where they are the same cases, only that they changed is told, and the selection stays."""
        fresh = tuple(rows)
        if [row.case for row in fresh] == [row.case for row in self._rows]:
            self._rows = fresh
            if fresh:
                self.dataChanged.emit(self.index(0, 0), self.index(len(fresh) - 1, len(PseudoColumn) - 1))
            return
        self.beginResetModel()
        self._rows = fresh
        self.endResetModel()

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Return the number of pseudo-labels."""
        return 0 if parent is not None and parent.isValid() else len(self._rows)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """Return the number of columns."""
        return 0 if parent is not None and parent.isValid() else len(PseudoColumn)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return what a cell shows, sorts by (UserRole) or explains."""
        if not index.isValid():
            return None
        row, column = self._rows[index.row()], PseudoColumn(index.column())
        if role == Qt.ItemDataRole.DisplayRole:
            return _text(row, column)
        if role == Qt.ItemDataRole.UserRole:
            return _value(row, column)
        if role == ROW_ROLE:
            return row
        if role == Qt.ItemDataRole.ToolTipRole:
            return PSEUDO_SIGNS[row.state].meaning if column is PseudoColumn.STATE else HEADINGS[column][1]
        if role == Qt.ItemDataRole.TextAlignmentRole and column in (PseudoColumn.LOSS, PseudoColumn.VOLUME):
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        return None

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return a column's heading, or what it means."""
        if orientation == Qt.Orientation.Horizontal and 0 <= section < len(PseudoColumn):
            heading, meaning = HEADINGS[PseudoColumn(section)]
            if role == Qt.ItemDataRole.DisplayRole:
                return heading
            if role == Qt.ItemDataRole.ToolTipRole:
                return meaning
        return None


class PseudoProxy(QSortFilterProxyModel):
    """The rows in the order of a heading; equals by weight and name."""

    def lessThan(self, left: QModelIndex, right: QModelIndex) -> bool:
        """Order by value."""
        rows, column = self.sourceModel().rows, PseudoColumn(left.column())
        a, b = rows[left.row()], rows[right.row()]
        first, second = _value(a, column), _value(b, column)
        return bool(first < second if first != second else (-a.weight, natural(a.case)) < (-b.weight, natural(b.case)))


class PseudoDelegate(QStyledItemDelegate):
    """Draws the weight as a bar and the state with its shape and colour."""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        """Draw a cell."""
        row: PseudoRow | None = index.data(ROW_ROLE)
        column = PseudoColumn(index.column())
        if row is None or column not in (PseudoColumn.WEIGHT, PseudoColumn.STATE):
            super().paint(painter, option, index)
            return
        painter.save()
        styled, text = begin_cell(self, painter, option, index)
        if column is PseudoColumn.WEIGHT:
            paint_bar(painter, styled, row.weight, PSEUDO_SIGNS[PseudoState.IN_USE].colour, text, _BAR_WIDTH)
        else:
            paint_sign(painter, styled, PSEUDO_SIGNS[row.state], text)
        painter.restore()

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex) -> QSize:
        """Leave room for the bar or the shape beside the text."""
        size = super().sizeHint(option, index)
        extra = {PseudoColumn.WEIGHT: _BAR_WIDTH + 6, PseudoColumn.STATE: SIGN_WIDTH}.get(
            PseudoColumn(index.column()), 0
        )
        return QSize(size.width() + extra, size.height())
