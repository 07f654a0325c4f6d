"""*Worklist*: which case is next, and why; every case with its state, to sort, filter and open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QItemSelectionModel, QModelIndex, QPoint, Qt, QUrl
from qtpy.QtGui import QActionGroup, QDesktopServices
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QInputDialog,
    QLabel,
    QLineEdit,
    QMenu,
    QSizePolicy,
    QTableView,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QElidingLabel

from napari_dasl.project.records import CaseState
from napari_dasl.widgets.jobs import run_in_background
from napari_dasl.widgets.reranking import rank_by
from napari_dasl.widgets.session import session_for
from napari_dasl.widgets.snapshot import Row, Snapshot, snapshots_for
from napari_dasl.widgets.worklist_delegate import WorklistDelegate
from napari_dasl.widgets.worklist_model import (
    HEADINGS,
    ORDERS,
    ROW_ROLE,
    SIGNS,
    Column,
    WorklistModel,
    WorklistProxy,
    order_words,
    state_words,
)

if TYPE_CHECKING:
    import napari.viewer  # napari passes the viewer to a widget whose annotation reads exactly like this
    from qtpy.QtGui import QAction, QKeyEvent

    from napari_dasl.errors import DaslError

_HIDDEN_AT_FIRST = (Column.SIMILARITY, Column.DIFFICULTY, Column.MINUTES)
_WIDTHS = {Column.RANK: 34, Column.STATE: 96, Column.SCORE: 84, Column.UNCERTAINTY: 56, Column.SIMILARITY: 56}


class CaseTable(QTableView):
    """The table; Enter opens, everything else is Qt's."""

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Open the case under the cursor with Enter."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.currentIndex().isValid():
            self.activated.emit(self.currentIndex())
            return
        super().keyPressEvent(event)


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
        line.addWidget(self.words, 1)
        line.addWidget(self.order, 0, Qt.AlignmentFlag.AlignTop)
        return line

    def _build_table(self) -> CaseTable:
        table = CaseTable(self)
        table.setModel(self.proxy)
        table.setItemDelegate(WorklistDelegate(table))
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        table.setShowGrid(False)
        table.setWordWrap(False)
        table.setTabKeyNavigation(False)
        table.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        table.customContextMenuRequested.connect(self._case_menu)
        table.activated.connect(self._open_index)
        table.verticalHeader().hide()
        table.verticalHeader().setDefaultSectionSize(table.fontMetrics().height() + 6)
        table.setMinimumHeight(110)
        header = table.horizontalHeader()
        header.setHighlightSections(False)
        header.setMinimumSectionSize(24)
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        header.setSectionsMovable(True)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        header.setSectionResizeMode(Column.CASE, QHeaderView.ResizeMode.Stretch)
        for column, width in _WIDTHS.items():
            header.resizeSection(column, width)
        header.setSectionsClickable(True)
        header.sectionClicked.connect(self._heading_clicked)
        header.setSortIndicatorShown(True)
        header.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        header.customContextMenuRequested.connect(self._column_menu)
        for column in _HIDDEN_AT_FIRST:
            table.setColumnHidden(column, True)
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
        difficulty = any(row.difficulty is not None for row in self.model.rows)
        if new_project:
            self.table.setColumnHidden(Column.DIFFICULTY, not difficulty)
            self._queue = None
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

    def _selected(self, index: QModelIndex, _before: QModelIndex) -> None:
        row: Row | None = index.data(ROW_ROLE) if index.isValid() else None
        self._show_facts(row)
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
        numbers = column in (Column.SCORE, Column.UNCERTAINTY, Column.SIMILARITY, Column.MINUTES)
        self._apply_order(column, (not self.proxy.descending) if same else numbers)

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

    # -- menus ----------------------------------------------------------------------------------------------------

    def _column_menu(self, position: QPoint) -> None:
        menu = QMenu(self)
        for column, (heading, meaning) in HEADINGS.items():
            if column is Column.CASE:
                continue
            action = menu.addAction("Rank" if column is Column.RANK else heading)
            action.setCheckable(True)
            action.setChecked(not self.table.isColumnHidden(column))
            action.setToolTip(meaning)
            action.setData(int(column))
        chosen = menu.exec(self.table.horizontalHeader().mapToGlobal(position))
        if chosen is not None:
            self.table.setColumnHidden(int(chosen.data()), not chosen.isChecked())

    def case_actions(self, row: Row) -> list[tuple[str, Any]]:
        """Return what can be done with a case: (title, function)."""
        actions: list[tuple[str, Any]] = []
        if row.state is not CaseState.UNREADABLE:
            actions.append(("Open", lambda: self.session.open_case(row.case)))
        if row.state is CaseState.SKIPPED:
            actions.append(("Put back into the list", lambda: self.session.unskip(row.case)))
        elif row.state is not CaseState.UNREADABLE and not row.labelled:
            actions.append(("Skip…", lambda: self._skip(row.case)))
        actions.append(("Show the scan in its folder", lambda: self._show_folder(row.case)))
        if row.labelled:
            actions.append(("Earlier labels…", lambda: self._show_history(row.case)))
        return actions

    def _case_menu(self, position: QPoint) -> None:
        index = self.table.indexAt(position)
        row: Row | None = index.data(ROW_ROLE) if index.isValid() else None
        if row is None:
            return
        menu = QMenu(self)
        functions = {menu.addAction(title): function for title, function in self.case_actions(row)}
        chosen = menu.exec(self.table.viewport().mapToGlobal(position))
        if chosen is not None:
            functions[chosen]()

    def _skip(self, case_id: str) -> None:
        reason, given = QInputDialog.getText(self, f"Skip {case_id}", "Why is it set aside?")
        if given:
            self.skip_case(case_id, reason.strip() or "no reason given")

    def skip_case(self, case_id: str, reason: str) -> None:
        """Set a case aside, whether it is open or not."""
        project = self.session.project
        if project is None:
            return
        if case_id == self.session.case_id:
            self.session.skip(reason)
            return
        run_in_background(
            self, lambda: project.skip(case_id, reason), lambda _: self.session.cases_changed.emit(), self._say_error
        )

    def _show_folder(self, case_id: str) -> None:
        project = self.session.project
        if project is not None:
            path = project.case(case_id).reference
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(path if path.is_dir() else path.parent)))

    def _show_history(self, case_id: str) -> None:
        from napari_dasl.widgets.label_history import LabelHistoryDialog

        LabelHistoryDialog(self.session, case_id, self.window()).open()

    def _say_error(self, error: DaslError) -> None:
        self.session.message.emit(str(error), "error")
