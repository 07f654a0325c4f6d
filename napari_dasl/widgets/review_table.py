"""A table to decide row by row: Enter opens, and the letters on the buttons press them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QItemSelectionModel, QSize, Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QPushButton, QTableView, QWidget

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtCore import QSortFilterProxyModel
    from qtpy.QtGui import QKeyEvent

_ROW_HEIGHT, _LEAST_ROWS = 22, 2


class ReviewTable(QTableView):
    """One row selected at a time, sorted by its headings.

    Parameters
    ----------
    proxy : QSortFilterProxyModel
        The rows, sorted.
    letters : str
        The keys that decide.
    widths : dict of int to int
        Width of each column but the one that *stretches*.
    stretches : int
        The column that takes the room left.

    Notes
    -----
    Signal: ``letter(str)``, one of *letters*.
    """

    letter = Signal(str)

    def __init__(
        self,
        proxy: QSortFilterProxyModel,
        letters: str,
        widths: dict[int, int],
        stretches: int,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._letters = letters
        self.setModel(proxy)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setTabKeyNavigation(False)
        self.setSortingEnabled(True)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(_ROW_HEIGHT)
        self.setMinimumHeight(70)  # two rows under the heading
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setMinimumSectionSize(30)
        header.setSectionResizeMode(stretches, QHeaderView.ResizeMode.Stretch)
        for column, width in widths.items():
            self.setColumnWidth(column, width)

    def sizeHint(self) -> QSize:
        """Ask for two rows; where there is room the table takes it."""
        return QSize(300, self.horizontalHeader().height() + _LEAST_ROWS * _ROW_HEIGHT + 4)

    def hidden_height(self) -> int:
        """Return the height that all rows need beyond the size hint."""
        return max(0, self.model().rowCount() - _LEAST_ROWS) * _ROW_HEIGHT

    def choose(self, row: int) -> None:
        """Put the cursor on a row of the unsorted model."""
        proxy = self.model()
        index = proxy.mapFromSource(proxy.sourceModel().index(row, 0))
        flags = QItemSelectionModel.SelectionFlag.ClearAndSelect | QItemSelectionModel.SelectionFlag.Rows
        self.selectionModel().setCurrentIndex(index, flags)

    def order(self) -> list[int]:
        """Return the rows of the unsorted model in the order on the screen."""
        proxy = self.model()
        return [proxy.mapToSource(proxy.index(place, 0)).row() for place in range(proxy.rowCount())]

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Open what is under the cursor with Enter, decide with a letter."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.currentIndex().isValid():
            self.activated.emit(self.currentIndex())
            return
        pressed = event.text().upper()
        if pressed and pressed in self._letters and not event.modifiers() and not event.isAutoRepeat():
            self.letter.emit(pressed)
            return
        super().keyPressEvent(event)


def review_button(text: str, tip: str, action: Callable[[], object]) -> QPushButton:
    """Return a button that leaves the keyboard with the picture or the table."""
    button = QPushButton(text)
    button.setToolTip(tip)
    button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    button.clicked.connect(lambda: action())
    return button
