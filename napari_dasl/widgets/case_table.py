"""The table of the worklist: its columns, which of them show, and room for pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QPoint, Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QMenu, QTableView, QWidget

from napari_dasl.widgets.worklist_delegate import WorklistDelegate
from napari_dasl.widgets.worklist_model import HEADINGS, SCORER_COLUMNS, Column, WorklistProxy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qtpy.QtGui import QKeyEvent

_HIDDEN_AT_FIRST = (Column.SIMILARITY, Column.MINUTES, Column.PICTURE, *SCORER_COLUMNS)
_WIDTHS = {
    Column.RANK: 34,
    Column.STATE: 96,
    Column.SCORE: 84,
    Column.UNCERTAINTY: 56,
    Column.SIMILARITY: 56,
    Column.PICTURE: 64,
    **dict.fromkeys(SCORER_COLUMNS, 76),
}
_PICTURE_HEIGHT = 58


class CaseTable(QTableView):
    """The cases, with columns by choice; Enter opens, everything else is Qt's.

    Parameters
    ----------
    proxy : WorklistProxy
        What is shown.

    Notes
    -----
    Signals: ``column_shown(int, bool)`` when a column is shown or hidden.
    """

    column_shown = Signal(int, bool)

    def __init__(self, proxy: WorklistProxy, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._measured: frozenset[str] = frozenset()
        self.setModel(proxy)
        self.setItemDelegate(WorklistDelegate(self))
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setTabKeyNavigation(False)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.verticalHeader().hide()
        self._line = self.fontMetrics().height() + 6
        self.verticalHeader().setDefaultSectionSize(self._line)
        self.setMinimumHeight(110)
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setMinimumSectionSize(24)
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        header.setSectionsMovable(True)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        header.setSectionResizeMode(Column.CASE, QHeaderView.ResizeMode.Stretch)
        for column, width in _WIDTHS.items():
            header.resizeSection(column, width)
        header.moveSection(header.visualIndex(Column.PICTURE), 1)
        for place, column in enumerate(SCORER_COLUMNS):  # beside the state, where there is room to see them
            header.moveSection(header.visualIndex(column), 4 + place)
        header.setSectionsClickable(True)
        header.setSortIndicatorShown(True)
        header.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        header.customContextMenuRequested.connect(self._ask_columns)
        for column in _HIDDEN_AT_FIRST:
            self.setColumnHidden(column, True)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Open the case under the cursor with Enter."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.currentIndex().isValid():
            self.activated.emit(self.currentIndex())
            return
        super().keyPressEvent(event)

    def show_column(self, column: Column, shown: bool = True) -> None:
        """Show or hide a column; pictures make the lines higher."""
        if self.isColumnHidden(column) != shown:
            return
        self.setColumnHidden(column, not shown)
        if column is Column.PICTURE:
            self.verticalHeader().setDefaultSectionSize(_PICTURE_HEIGHT if shown else self._line)
            self.scrollTo(self.currentIndex())
        self.column_shown.emit(int(column), shown)

    def offer_scorers(self, scorers: Iterable[str]) -> None:
        """Offer columns of the measured *scorers* only; those without a number are hidden."""
        self._measured = frozenset(scorers)
        for column, scorer in SCORER_COLUMNS.items():
            if scorer not in self._measured:
                self.show_column(column, False)

    def columns_menu(self) -> QMenu:
        """Return the menu that shows and hides columns, those of difficulty below a line."""
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        told = False
        for column, (heading, meaning) in HEADINGS.items():
            scorer = SCORER_COLUMNS.get(column)
            if column is Column.CASE or (scorer is not None and scorer not in self._measured):
                continue
            if scorer is not None and not told:
                told = True
                menu.addSection("Difficulty")
            action = menu.addAction("Rank" if column is Column.RANK else heading)
            action.setCheckable(True)
            action.setChecked(not self.isColumnHidden(column))
            action.setToolTip(meaning)
            action.setData(int(column))
        return menu

    def _ask_columns(self, position: QPoint) -> None:
        chosen = self.columns_menu().exec(self.horizontalHeader().mapToGlobal(position))
        if chosen is not None:
            self.show_column(Column(chosen.data()), chosen.isChecked())
