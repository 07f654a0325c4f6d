"""The table of the worklist: its columns, which of them show, and room for pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QPoint, Qt, QTimer
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QMenu, QTableView, QWidget

from napari_dasl.widgets.worklist_delegate import WorklistDelegate
from napari_dasl.widgets.worklist_model import COLUMN_OF, HEADINGS, SCORER_COLUMNS, Column, WorklistProxy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qtpy.QtGui import QKeyEvent, QResizeEvent

_HIDDEN_AT_FIRST = (Column.SIMILARITY, Column.MINUTES, Column.PICTURE, *SCORER_COLUMNS)
_WIDTHS = {
    Column.RANK: 34,
    Column.STATE: 96,
    Column.SCORE: 84,
    Column.UNCERTAINTY: 56,
    Column.SIMILARITY: 56,
    Column.PICTURE: 54,
    **dict.fromkeys(SCORER_COLUMNS, 88),
}
LEAST_HEIGHT, LEAST_BESIDE, LEAST_LOW = 110, 150, 66
"""Least height in pixels; that beside the panel of difficulty; and that in a low window."""
_FITTED, _WIDEST = (Column.STATE, Column.SCORE), 112
"""Columns as wide as their longest text, at most so many pixels, until the annotator drags their edge."""
_PICTURE_HEIGHT = 50
_NAME_WIDTH = 68
_IN_THE_WAY = (Column.SCORE, Column.UNCERTAINTY, Column.SIMILARITY, Column.MINUTES, *SCORER_COLUMNS)
"""Columns that make room while the list is looked at by difficulty."""


class CaseTable(QTableView):
    """The cases, with columns by choice; Enter opens, everything else is Qt's.

    Parameters
    ----------
    proxy : WorklistProxy
        What is shown.
    """

    def __init__(self, proxy: WorklistProxy, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._measured: frozenset[str] = frozenset()
        self._before: dict[Column, bool] | None = None
        self._scorer = ""
        self._dragged: set[Column] = set()
        self._fitted: dict[Column, int] = {}
        self._fitting = QTimer(self, singleShot=True, interval=0)  # once the view has laid its lines out
        self._fitting.timeout.connect(self._fit_texts)
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
        self.setMinimumHeight(LEAST_HEIGHT)
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
        header.sectionResized.connect(self._note_dragged)
        for told in (proxy.modelReset, proxy.dataChanged, proxy.rowsInserted, proxy.layoutChanged):
            told.connect(lambda *_: self._fitting.start())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Open the case under the cursor with Enter."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.currentIndex().isValid():
            self.activated.emit(self.currentIndex())
            return
        super().keyPressEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Keep the names readable."""
        super().resizeEvent(event)
        self._give_names_room()

    def _note_dragged(self, column: int, _before: int, width: int) -> None:
        if Column(column) in _FITTED and width not in (0, self._fitted.get(Column(column))):
            self._dragged.add(Column(column))

    def _fit_texts(self) -> None:
        """Make states and scores readable whole; small scores have many digits."""
        for column in _FITTED:
            if column not in self._dragged and not self.isColumnHidden(column):
                self._fitted[column] = min(max(_WIDTHS[column], self.sizeHintForColumn(column)), _WIDEST)
                self.horizontalHeader().resizeSection(column, self._fitted[column])
        self._give_names_room()

    def _give_names_room(self) -> None:
        """Stretch the names over what is left; where nothing is, the table scrolls and the names keep their width."""
        header = self.horizontalHeader()
        others = header.length() - header.sectionSize(Column.CASE)
        tight = self.viewport().width() - others < _NAME_WIDTH
        mode = QHeaderView.ResizeMode.Interactive if tight else QHeaderView.ResizeMode.Stretch
        if header.sectionResizeMode(Column.CASE) != mode:
            header.setSectionResizeMode(Column.CASE, mode)
        if tight:
            header.resizeSection(Column.CASE, _NAME_WIDTH)

    def show_difficulty(self, scorer: str | None) -> None:
        """Show the column of *scorer* in place of the other numbers; None brings those back that were there before."""
        if scorer is None:
            for column, shown in (self._before or {}).items():
                self.show_column(column, shown)
            self._before = None
            self._scorer = ""
            return
        if self._before is None:
            self._before = {column: not self.isColumnHidden(column) for column in _IN_THE_WAY}
            for column in _IN_THE_WAY:
                self.show_column(column, False)
        elif self._scorer and self._scorer != scorer:
            self.show_column(COLUMN_OF[self._scorer], False)
        self._scorer = scorer
        self.show_column(COLUMN_OF[scorer], scorer in self._measured)

    def show_column(self, column: Column, shown: bool = True) -> None:
        """Show or hide a column; pictures make the lines higher."""
        if self.isColumnHidden(column) != shown:
            return
        self.setColumnHidden(column, not shown)
        if column is Column.PICTURE:
            self.verticalHeader().setDefaultSectionSize(_PICTURE_HEIGHT if shown else self._line)
            self.scrollTo(self.currentIndex())
        self._give_names_room()

    def offer_scorers(self, scorers: Iterable[str]) -> None:
        """Offer columns of the measured *scorers* only; those without a number are hidden."""
        self._measured = frozenset(scorers)
        for column, scorer in SCORER_COLUMNS.items():
            if scorer not in self._measured:
                self.show_column(column, False)
        if self._scorer in self._measured:
            self.show_column(COLUMN_OF[self._scorer])

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
