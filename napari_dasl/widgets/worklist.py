"""*Worklist*: which case is next, and why; every case with its state, to sort, filter and open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QItemSelectionModel, QModelIndex, QPoint, Qt
from qtpy.QtGui import QActionGroup
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QMenu,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QElidingLabel

from napari_dasl.project.records import CaseState
from napari_dasl.widgets.case_menu import CaseMenu
from napari_dasl.widgets.case_table import LEAST_BESIDE, LEAST_HEIGHT, LEAST_LOW, CaseTable
from napari_dasl.widgets.difficulty_panel import ROOMY, DifficultyPanel
from napari_dasl.widgets.difficulty_reading import reading_of_correlations
from napari_dasl.widgets.difficulty_rows import scorers_of
from napari_dasl.widgets.jobs import run_in_background
from napari_dasl.widgets.project_reader import ProjectReader
from napari_dasl.widgets.reranking import rank_by
from napari_dasl.widgets.session import session_for
from napari_dasl.widgets.snapshot import WAITING, Row, Snapshot, snapshots_for
from napari_dasl.widgets.thumbnail_keeper import ThumbnailKeeper
from napari_dasl.widgets.worklist_model import (
    COLUMN_OF,
    ORDERS,
    ROW_ROLE,
    SCORER_COLUMNS,
    SIGNS,
    Column,
    WorklistModel,
    WorklistProxy,
    hard_end,
    order_words,
    state_words,
)

if TYPE_CHECKING:
    import napari.viewer  # napari passes the viewer to a widget whose annotation reads exactly like this
    from qtpy.QtGui import QAction, QResizeEvent

    from napari_dasl.errors import DaslError


class WorklistWidget(QWidget):
    """The list of cases of the viewer's project.

    Parameters
    ----------
    viewer : napari.Viewer
        Its session is shared with the other widgets.
    with_facts : bool
        Whether the selected case's facts show under the table; not beside *This case*, which shows them already.
    """

    def __init__(self, viewer: napari.viewer.Viewer, parent: QWidget | None = None, *, with_facts: bool = True) -> None:
        super().__init__(parent)
        self._with_facts = with_facts
        self.session = session_for(viewer)
        self.keeper = snapshots_for(self.session)
        self.model = WorklistModel(self)
        self.proxy = WorklistProxy(self)
        self.proxy.setSourceModel(self.model)
        self.pictures = ThumbnailKeeper(self.session, self)
        self.pictures.ready.connect(self.model.picture_changed)
        self.model.pictures = self.pictures.pixmap
        self.menu = CaseMenu(self.session, self)
        self._correlations: ProjectReader | None = None
        self._folder: str | None = None
        self._queue: list[str] | None = None
        self.chips: dict[CaseState, QToolButton] = {}
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        self._build()
        self.keeper.updated.connect(self._refresh)
        self.session.case_opened.connect(self._mark_current)
        self._refresh(self.keeper.snapshot)
        self._mark_current(self.session.case_id)

    # -- building -------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2, 0, 2, 0)
        layout.setSpacing(3)
        layout.addLayout(self._build_filters())
        layout.addLayout(self._build_order())
        self.warning = QElidingLabel(parent=self)  # one line: the list needs the room; the rest is its tooltip
        self.warning.setStyleSheet("color: #E69F00;")
        self.warning.hide()
        layout.addWidget(self.warning)
        self.difficulty = self._build_difficulty()
        layout.addWidget(self.difficulty)
        self.table = self._build_table()
        layout.addWidget(self.table, 1)
        self.facts = QLabel(self)
        self.facts.setWordWrap(True)
        self.facts.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self.facts.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.facts.hide()
        layout.addWidget(self.facts)

    def _build_filters(self) -> QHBoxLayout:
        line = QHBoxLayout()
        line.setSpacing(2)
        for state, sign in SIGNS.items():
            chip = QToolButton(self)
            chip.setCheckable(True)
            chip.setToolTip(f"Show {sign.word} cases. {sign.meaning}")
            chip.setAccessibleName(f"Show {sign.word} cases")
            chip.setStyleSheet(
                f"QToolButton {{ color: {sign.colour}; padding: 1px 4px; border-radius: 3px; }}"
                f"QToolButton:checked {{ border: 1px solid {sign.colour}; }}"
            )
            chip.toggled.connect(self._filter_states)
            self.chips[state] = chip
            line.addWidget(chip)
        self.search = QLineEdit(self)
        self.search.setPlaceholderText("Filter")
        self.search.setClearButtonEnabled(True)
        self.search.setMinimumWidth(60)
        self.search.textChanged.connect(self.proxy.show_text)
        line.addWidget(self.search, 1)
        self.show_all = _tool(self, "Show all", "Take every filter off the list.")
        self.show_all.clicked.connect(self.clear_filters)
        self.show_all.hide()
        line.addWidget(self.show_all)
        return line

    def _build_order(self) -> QHBoxLayout:
        line = QHBoxLayout()
        self.words = QLabel(self)
        self.words.setWordWrap(True)
        self.words.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self.order = QToolButton(self)
        self.order.setText("⇅")
        self.order.setToolTip("Choose the order of the list; a click on a heading orders by that column.")
        self.order.setAccessibleName("Order of the list")
        self.order.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.order.setStyleSheet("QToolButton::menu-indicator { image: none; } QToolButton { padding: 1px 6px; }")
        menu = QMenu(self.order)
        group = QActionGroup(menu)
        for order in ORDERS:
            action = menu.addAction(order.title)
            action.setCheckable(True)
            action.setData(order.key)
            group.addAction(action)
        menu.triggered.connect(self._order_chosen)
        self.strategies = menu.addMenu("Rank by")
        self._strategy_group = QActionGroup(menu)
        self.order.setMenu(menu)
        self.by_difficulty = _tool(
            self, "▂▅▇", "By difficulty: how the cases spread from easy to hard, groups, and the hardest unlabelled."
        )
        self.by_difficulty.setAccessibleName("Look at the cases by difficulty")
        self.by_difficulty.setCheckable(True)
        self.by_difficulty.toggled.connect(self._show_difficulty)
        line.addWidget(self.words, 1)
        for button in (self.by_difficulty, self.order):
            line.addWidget(button, 0, Qt.AlignmentFlag.AlignTop)
        return line

    def _build_difficulty(self) -> DifficultyPanel:
        panel = DifficultyPanel(self)
        panel.scorer_chosen.connect(self._scorer_chosen)
        panel.filtered.connect(self.proxy.show_cases)
        panel.hardest_asked.connect(self.show_hardest)
        panel.measure_asked.connect(self._measure)
        panel.hide()
        return panel

    def _build_table(self) -> CaseTable:
        table = CaseTable(self.proxy, self)
        table.customContextMenuRequested.connect(self._case_menu)
        table.activated.connect(self._open_index)
        table.horizontalHeader().sectionClicked.connect(self._heading_clicked)
        table.selectionModel().currentRowChanged.connect(self._selected)
        self.proxy.order_changed.connect(self._order_changed)
        self.table = table
        self._apply_order(Column.RANK, descending=False)
        return table

    # -- the list -------------------------------------------------------------------------------------------------

    def _refresh(self, snapshot: Snapshot | None) -> None:
        folder = snapshot.folder if snapshot is not None else None
        new_project, self._folder = folder != self._folder, folder
        selected = None if new_project else self.selected_case()
        position = self.table.verticalScrollBar().value()
        if new_project:
            self.model.set_rows(())
            self._apply_order(Column.RANK, descending=False)
        self.model.set_rows(snapshot.rows if snapshot is not None else ())
        if new_project:
            self._queue = None
        self.table.offer_scorers(scorers_of(self.model.rows))
        self.difficulty.show_cases(self.model.rows, fresh=new_project)
        if selected != self.selected_case():
            self.select_case(selected)
        if not new_project:
            self.table.verticalScrollBar().setValue(position)
        counts = dict.fromkeys(SIGNS, 0)
        for row in self.model.rows:
            counts[row.state] += 1
        for state, chip in self.chips.items():
            chip.setText(f"{SIGNS[state].symbol} {counts[state]}")
            chip.setVisible(counts[state] > 0 or chip.isChecked())
        self._offer_strategies(snapshot)
        self._say_order()
        self._tell_queue()
        self._show_facts(self._row(self.selected_case()))

    def selected_case(self) -> str | None:
        """Return the case under the cursor."""
        row: Row | None = self.table.currentIndex().data(ROW_ROLE) if self.table.currentIndex().isValid() else None
        return row.case if row is not None else None

    def select_case(self, case_id: str | None) -> None:
        """Put the cursor on *case_id* where it is visible."""
        number = self.model.row_of(case_id)
        index = self.proxy.mapFromSource(self.model.index(number, int(Column.CASE))) if number >= 0 else QModelIndex()
        flags = QItemSelectionModel.SelectionFlag
        if index.isValid():
            self.table.selectionModel().setCurrentIndex(index, flags.ClearAndSelect | flags.Rows)
        else:
            self.table.selectionModel().clear()

    def _row(self, case_id: str | None) -> Row | None:
        number = self.model.row_of(case_id)
        return self.model.rows[number] if number >= 0 else None

    def _mark_current(self, case_id: str | None) -> None:
        self.model.set_current(case_id)
        number = self.model.row_of(case_id)
        if number >= 0:
            self.select_case(case_id)
            index = self.proxy.mapFromSource(self.model.index(number, int(Column.CASE)))
            self.table.scrollTo(index, QAbstractItemView.ScrollHint.EnsureVisible)
        self.difficulty.mark(self.selected_case() or case_id)

    def _selected(self, index: QModelIndex, _before: QModelIndex) -> None:
        row: Row | None = index.data(ROW_ROLE) if index.isValid() else None
        self._show_facts(row)
        self.difficulty.mark(row.case if row is not None else self.session.case_id)
        if row is not None:
            self.session.select_case(row.case)

    def _show_facts(self, row: Row | None) -> None:
        self.facts.setVisible(row is not None and self._with_facts)
        if row is not None:
            parts = [f"{row.case} · {row.facts}", state_words(row)]
            self.facts.setText("\n".join(part for part in parts if part))
            self.facts.setToolTip(row.words)

    def _open_index(self, index: QModelIndex) -> None:
        row: Row | None = index.data(ROW_ROLE)
        if row is None:
            return
        if row.state is CaseState.UNREADABLE:
            self.session.message.emit(f"{row.case} cannot be opened: {row.reason}", "warning")
            return
        self.session.open_case(row.case)

    # -- order and filters ----------------------------------------------------------------------------------------

    def order_by(self, key: str) -> None:
        """Order by one of the named orders, such as ``rank`` or ``uncertainty``."""
        order = next(order for order in ORDERS if order.key == key)
        self._apply_order(order.column, order.descending, shuffled=order.shuffled)

    def _order_chosen(self, action: QAction) -> None:
        if action.actionGroup() is self._strategy_group:
            self.rank_by(action.data())
        elif action.data() is not None:
            self.order_by(action.data())

    def _offer_strategies(self, snapshot: Snapshot | None) -> None:
        """List every strategy under *Rank by*, with the one in force checked."""
        offered = snapshot.strategies if snapshot is not None else ()
        if [action.data() for action in self.strategies.actions()] != [name for name, _ in offered]:
            self.strategies.clear()
            for name, title in offered:
                action = self.strategies.addAction(title)
                action.setCheckable(True)
                action.setData(name)
                self._strategy_group.addAction(action)
        for action in self.strategies.actions():
            action.setChecked(snapshot is not None and action.data() == snapshot.strategy)
        self.strategies.setEnabled(bool(offered))

    def rank_by(self, strategy: str) -> None:
        """Let another strategy rank the cases, and show the list by rank."""
        self.order_by("rank")
        rank_by(self.session, strategy)

    def _heading_clicked(self, section: int) -> None:
        column = Column(section)
        same = self.proxy.sortColumn() == section and not self.proxy.shuffled
        if column is Column.PICTURE:
            return
        numbers = column in (Column.SCORE, Column.UNCERTAINTY, Column.SIMILARITY, Column.MINUTES)
        first = hard_end(column) if column in SCORER_COLUMNS else numbers
        self._apply_order(column, (not self.proxy.descending) if same else first)

    def _apply_order(self, column: Column, descending: bool, *, shuffled: bool = False) -> None:
        self.proxy.order_by(column, descending, shuffled=shuffled)
        direction = Qt.SortOrder.DescendingOrder if descending else Qt.SortOrder.AscendingOrder
        self.table.horizontalHeader().setSortIndicator(-1 if shuffled else int(column), direction)
        wanted = (column, descending, shuffled)
        found = {order.key for order in ORDERS if (order.column, order.descending, order.shuffled) == wanted}
        for action in self.order.menu().actions():
            action.setChecked(action.data() in found)

    def _filter_states(self, _on: bool) -> None:
        self.proxy.show_states(state for state, chip in self.chips.items() if chip.isChecked())

    def _order_changed(self) -> None:
        self._say_order()
        self._tell_queue()

    def _say_order(self) -> None:
        snapshot = self.keeper.snapshot
        if snapshot is None:
            self.words.setText("")
            self.warning.hide()
            return
        column = Column(max(0, self.proxy.sortColumn()))
        words = order_words(snapshot, column, self.proxy.descending, shuffled=self.proxy.shuffled)
        hidden = len(self.model.rows) - self.proxy.rowCount()
        self.words.setText(f"{words} {hidden} hidden by the filter." if hidden else words)
        self.show_all.setVisible(hidden > 0)
        self._keep_room()
        ranked = column is Column.RANK and not self.proxy.shuffled
        self.warning.setText(snapshot.order_warning)
        self.warning.setToolTip(snapshot.order_warning)
        self.warning.setVisible(ranked and bool(snapshot.order_warning))

    def _tell_queue(self) -> None:
        """Give the visible order to the session, so that *Next* follows what the eye sees."""
        queue = self.proxy.visible_cases()
        if queue != self._queue and self.session.project is not None:
            self._queue = queue
            self.session.set_queue(queue)

    # -- by difficulty --------------------------------------------------------------------------------------------

    def _show_difficulty(self, shown: bool) -> None:
        self.difficulty.setVisible(shown)
        beside = LEAST_LOW if self.window().height() < ROOMY else LEAST_BESIDE
        self.table.setMinimumHeight(beside if shown else LEAST_HEIGHT)
        self._keep_room()
        if shown:
            if self._correlations is None:  # it may read many labels: not before somebody looks
                self._correlations = ProjectReader(self.session, reading_of_correlations, {})
                self._correlations.updated.connect(self.difficulty.show_correlations)
            self.table.show_difficulty(self.difficulty.chosen)
            return
        self.difficulty.clear_filter()
        self.table.show_difficulty(None)
        if self.table.isColumnHidden(self.proxy.sortColumn()):
            self.order_by("rank")

    def _keep_room(self) -> None:
        """Ask for the height at which nothing overlaps: Qt leaves wrapped lines out of a widget's least height."""
        wanted = self.layout().minimumHeightForWidth(self.width()) if self.difficulty.isVisibleTo(self) else 0
        self.setMinimumHeight(wanted)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Keep room for what wraps at another width."""
        super().resizeEvent(event)
        self._keep_room()

    def _scorer_chosen(self, scorer: str) -> None:
        column = COLUMN_OF[scorer]
        if self.by_difficulty.isChecked():
            self.table.show_difficulty(scorer)
        if self.proxy.sortColumn() in SCORER_COLUMNS and not self.table.isColumnHidden(column):
            self._apply_order(column, hard_end(column))

    def show_hardest(self) -> None:
        """Show what nobody labelled yet, hardest first, with the cursor on the first."""
        column = COLUMN_OF[self.difficulty.chosen]
        case = self.difficulty.hardest_case()
        self.clear_filters()
        for state, chip in self.chips.items():
            chip.setChecked(state in WAITING and not chip.isHidden())
        self._apply_order(column, hard_end(column))
        self.select_case(case)
        self.table.scrollToTop()

    def clear_filters(self) -> None:
        """Show every case."""
        self.search.clear()
        self.difficulty.clear_filter()
        for chip in self.chips.values():
            chip.setChecked(False)

    def _measure(self) -> None:
        project = self.session.project
        if project is None:
            return
        self.difficulty.set_measuring(True)

        def measure() -> None:
            from napari_dasl.rounds.difficulty import measure_difficulties

            measure_difficulties(project)

        def over(_: object) -> None:
            self.difficulty.set_measuring(False)
            self.session.cases_changed.emit()

        def failed(error: DaslError) -> None:
            over(None)
            self._say_error(error)

        run_in_background(self, measure, over, failed)

    def _case_menu(self, position: QPoint) -> None:
        index = self.table.indexAt(position)
        row: Row | None = index.data(ROW_ROLE) if index.isValid() else None
        if row is not None:
            self.menu.ask(row, self.table.viewport().mapToGlobal(position))

    def _say_error(self, error: DaslError) -> None:
        self.session.message.emit(str(error), "error")


def _tool(parent: QWidget, text: str, tooltip: str) -> QToolButton:
    button = QToolButton(parent)
    button.setText(text)
    button.setToolTip(tooltip)
    button.setStyleSheet("QToolButton { padding: 1px 6px; }")
    return button
