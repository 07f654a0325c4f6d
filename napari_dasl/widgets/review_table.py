"""A table to decide row by row: Enter opens, and letters press the buttons while the table has the keyboard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QItemSelectionModel, QSize, Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QPushButton,
    QStyle,
    QStyleOptionButton,
    QTableView,
    QWidget,
)

from napari_dasl.widgets.review_model import ReviewDelegate, ReviewProxy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qtpy.QtGui import QFocusEvent, QKeyEvent

    from napari_dasl.widgets.review_model import ReviewModel

_ROW_HEIGHT, _LEAST_ROWS = 22, 2


class ReviewButton(QPushButton):
    """Leaves the keyboard with the picture or the table, and shows its letter while the letter works.

    Parameters
    ----------
    words, letter : str
        What is written on it; the key of the table that presses it, "" for none.
    tip : str
        What it does.
    action : callable
        Called when it is pressed.
    """

    def __init__(self, words: str, letter: str, tip: str, action: Callable[[], object]) -> None:
        super().__init__()
        self.letter = letter
        self._words = words
        self._lettered = False
        self.explain(tip)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.clicked.connect(lambda: action())
        self._write()

    def explain(self, tip: str) -> None:
        """Say in the tooltip what it does, and when its letter works."""
        letter = f"<br>Key {self.letter}, once you clicked a row of the table."
        self.setToolTip(f"<qt>{tip}{letter}</qt>" if self.letter else tip)

    def say(self, words: str) -> None:
        """Write other words."""
        self._words = words
        self._write()

    def show_letter(self, shown: bool) -> None:
        """Show the letter, or not."""
        self._lettered = shown
        self._write()

    def sizeHint(self) -> QSize:
        """Leave room for the letter, so that nothing moves when it comes."""
        option = QStyleOptionButton()
        self.initStyleOption(option)
        option.text = self._full_text()
        size = self.fontMetrics().size(Qt.TextFlag.TextShowMnemonic, option.text)
        return self.style().sizeFromContents(QStyle.ContentsType.CT_PushButton, option, size, self)

    def _full_text(self) -> str:
        return f"{self._words}  {self.letter}" if self.letter else self._words

    def _write(self) -> None:
        self.setText(self._full_text() if self._lettered else self._words)


class ReviewTable(QTableView):
    """One row selected at a time, sorted by its headings.

    Parameters
    ----------
    model : ReviewModel
        The rows.
    buttons : sequence of ReviewButton
        What decides about the row under the cursor; their letters press them here.
    widths : dict of int to int
        Width of each column but the one that *stretches*.
    stretches : int
        The column that takes the room left.
    bar_width : int
        Length of a full bar in pixels.
    """

    def __init__(
        self,
        model: ReviewModel,
        buttons: Sequence[ReviewButton],
        *,
        widths: dict[int, int],
        stretches: int,
        bar_width: int,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._model = model
        self._buttons = {button.letter: button for button in buttons}
        self.proxy = ReviewProxy(model, self)
        self.setModel(self.proxy)
        self.setItemDelegate(ReviewDelegate(self.proxy, bar_width, self))
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
        return max(0, self._model.rowCount() - _LEAST_ROWS) * _ROW_HEIGHT

    # -- the cursor -----------------------------------------------------------------------------------------------

    def chosen(self) -> Any:
        """Return the row under the cursor, None where there is none."""
        index = self.proxy.mapToSource(self.currentIndex())
        return self._model.rows[index.row()] if index.isValid() else None

    def choose(self, key: object) -> None:
        """Put the cursor on the row with *key*, where there is one."""
        place = self._model.row_of(key)
        if place >= 0:
            index = self.proxy.mapFromSource(self._model.index(place, 0))
            flags = QItemSelectionModel.SelectionFlag.ClearAndSelect | QItemSelectionModel.SelectionFlag.Rows
            self.selectionModel().setCurrentIndex(index, flags)

    def following(self, row: Any, undecided: Callable[[Any], bool]) -> Any:
        """Return the next *undecided* row after *row* on the screen, else the first such; None where none is left."""
        places = (self.proxy.mapToSource(self.proxy.index(place, 0)).row() for place in range(self.proxy.rowCount()))
        shown = [self._model.rows[place] for place in places]
        at = next(place for place, one in enumerate(shown) if self._model.key(one) == self._model.key(row))
        return next((one for one in shown[at + 1 :] + shown[:at] if undecided(one)), None)

    # -- the keyboard ---------------------------------------------------------------------------------------------

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Open what is under the cursor with Enter, decide with a letter."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.currentIndex().isValid():
            self.activated.emit(self.currentIndex())
            return
        button = self._buttons.get(event.text().upper())
        if button is not None and not event.modifiers() and not event.isAutoRepeat():
            button.click()  # which does nothing while it is greyed out
            return
        super().keyPressEvent(event)

    def focusInEvent(self, event: QFocusEvent) -> None:
        """Show the letters: they work from now on."""
        super().focusInEvent(event)
        self._show_letters(True)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        """Hide the letters: over the picture they are napari's."""
        super().focusOutEvent(event)
        self._show_letters(False)

    def _show_letters(self, shown: bool) -> None:
        for button in self._buttons.values():
            button.show_letter(shown)
