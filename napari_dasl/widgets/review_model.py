"""A table to review as Qt models: each column is said once; cells are text, a bar with its number, or a sign."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QSize, QSortFilterProxyModel, Qt
from qtpy.QtWidgets import QStyledItemDelegate

from napari_dasl.widgets.cells import SIGN_WIDTH, begin_cell, paint_bar, paint_sign

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qtpy.QtCore import QObject
    from qtpy.QtGui import QPainter
    from qtpy.QtWidgets import QStyleOptionViewItem

    from napari_dasl.widgets.worklist_model import StateSign

_BAR_GAP = 6  # pixels between a bar and its number


@dataclass(frozen=True)
class ReviewColumn:
    """A column.

    Attributes
    ----------
    heading, meaning : str
        What stands above it, and what that means.
    value : callable
        What a row is sorted by; ascending begins with what is looked at first.
    text : callable
        What a row shows.
    right : bool
        Whether the text stands at the right, as numbers do.
    bar : callable, optional
        Share (0 to 1) and colour of a bar before the text.
    sign : callable, optional
        Shape before the text; its meaning explains the cell.
    """

    heading: str
    meaning: str
    value: Callable[[Any], Any]
    text: Callable[[Any], str]
    right: bool = False
    bar: Callable[[Any], tuple[float, str]] | None = None
    sign: Callable[[Any], StateSign] | None = None


class ReviewModel(QAbstractTableModel):
    """Rows of a frozen snapshot.

    Parameters
    ----------
    columns : sequence of ReviewColumn
    key : callable
        What tells a row from the others.
    settle : callable
        What orders rows that are equal in the column they are sorted by.
    """

    def __init__(
        self,
        columns: Sequence[ReviewColumn],
        key: Callable[[Any], Any],
        settle: Callable[[Any], Any],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.columns = tuple(columns)
        self.key = key
        self.settle = settle
        self._rows: tuple[Any, ...] = ()
        self._whose: object = None

    @property
    def rows(self) -> Sequence[Any]:
        """The rows, in the order of the snapshot."""
        return self._rows

    def row_of(self, key: object) -> int:
        """Return the position of the row with *key*, -1 where there is none."""
        return next((place for place, row in enumerate(self._rows) if self.key(row) == key), -1)

    def set_rows(self, rows: Sequence[Any], whose: object = None) -> None:
        """Show *rows*; where they are the same ones of the same owner, only that they changed is told.

        So the selection stays.

        Parameters
        ----------
        whose : object
            Where keys are unique within an owner only: that owner.
        """
        fresh = tuple(rows)
        if whose == self._whose and list(map(self.key, fresh)) == list(map(self.key, self._rows)):
            if fresh != self._rows:
                self._rows = fresh
                self.dataChanged.emit(self.index(0, 0), self.index(len(fresh) - 1, len(self.columns) - 1))
            return
        self.beginResetModel()
        self._whose, self._rows = whose, fresh
        self.endResetModel()

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Return the number of rows."""
        return 0 if parent is not None and parent.isValid() else len(self._rows)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """Return the number of columns."""
        return 0 if parent is not None and parent.isValid() else len(self.columns)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return what a cell shows, sorts by (UserRole) or explains."""
        if not index.isValid():
            return None
        row, column = self._rows[index.row()], self.columns[index.column()]
        if role == Qt.ItemDataRole.DisplayRole:
            return column.text(row)
        if role == Qt.ItemDataRole.UserRole:
            return column.value(row)
        if role == Qt.ItemDataRole.ToolTipRole:
            return column.meaning if column.sign is None else column.sign(row).meaning
        if role == Qt.ItemDataRole.TextAlignmentRole and column.right:
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        return None

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return a column's heading, or what it means."""
        if orientation == Qt.Orientation.Horizontal and 0 <= section < len(self.columns):
            if role == Qt.ItemDataRole.DisplayRole:
                return self.columns[section].heading
            if role == Qt.ItemDataRole.ToolTipRole:
                return self.columns[section].meaning
        return None


class ReviewProxy(QSortFilterProxyModel):
    """The rows in the order of a heading.

    Parameters
    ----------
    model : ReviewModel
        The rows.
    """

    def __init__(self, model: ReviewModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.model = model
        self.setSourceModel(model)

    def lessThan(self, left: QModelIndex, right: QModelIndex) -> bool:
        """Order by value."""
        model, column = self.model, self.model.columns[left.column()]
        a, b = model.rows[left.row()], model.rows[right.row()]
        first, second = column.value(a), column.value(b)
        return bool(first < second if first != second else model.settle(a) < model.settle(b))


class ReviewDelegate(QStyledItemDelegate):
    """Draws the bars and the signs.

    Parameters
    ----------
    proxy : ReviewProxy
        The rows on the screen.
    bar_width : int
        Length of a full bar in pixels.
    """

    def __init__(self, proxy: ReviewProxy, bar_width: int, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._proxy = proxy
        self._bar_width = bar_width

    def _column(self, index: QModelIndex) -> ReviewColumn:
        return self._proxy.model.columns[index.column()]

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        """Draw a cell."""
        column = self._column(index)
        if column.bar is None and column.sign is None:
            super().paint(painter, option, index)
            return
        row = self._proxy.model.rows[self._proxy.mapToSource(index).row()]
        painter.save()
        styled, text = begin_cell(self, painter, option, index)
        if column.bar is not None:
            paint_bar(painter, styled, *column.bar(row), text, self._bar_width)
        elif column.sign is not None:
            paint_sign(painter, styled, column.sign(row), text)
        painter.restore()

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex) -> QSize:
        """Leave room for the bar or the sign beside the text."""
        size, column = super().sizeHint(option, index), self._column(index)
        extra = self._bar_width + _BAR_GAP if column.bar is not None else SIGN_WIDTH if column.sign is not None else 0
        return QSize(size.width() + extra, size.height())
