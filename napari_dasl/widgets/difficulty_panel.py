"""*By difficulty*: which measure, how the cases spread, groups as buttons that filter, and the hardest unlabelled."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QToolButton, QVBoxLayout, QWidget
from superqt import QElidingLabel, QFlowLayout
from superqt.utils import signals_blocked

from napari_dasl.curriculum import SCORERS
from napari_dasl.widgets.difficulty_histogram import HEIGHT, LEGEND, LOW, DifficultyHistogram
from napari_dasl.widgets.difficulty_rows import (
    GROUPS,
    UNKNOWN,
    Chip,
    chips,
    correlation_words,
    groups_of,
    hardest_waiting,
    histogram,
    needs_words,
    scorers_of,
    unmeasured,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qtpy.QtGui import QShowEvent

    from napari_dasl.rounds.correlating import Correlation
    from napari_dasl.widgets.snapshot import Row

FIRST = "size"
ROOMY = 850
"""Pixels of the window's height below which the line under the histogram is left to its tooltip."""
_QUIET = "color: #a0a0a0;"
_EASY, _HARD = (86, 180, 233), (213, 94, 0)  # Okabe and Ito's sky blue and vermilion


class DifficultyPanel(QWidget):
    """What goes above the list while cases are looked at by difficulty.

    Notes
    -----
    Signals: ``scorer_chosen(str)``; ``filtered(frozenset or None)`` with the cases of the pressed groups, None for all;
    ``hardest_asked()``; ``measure_asked()``.
    """

    scorer_chosen = Signal(str)
    filtered = Signal(object)
    hardest_asked = Signal()
    measure_asked = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._rows: Sequence[Row] = ()
        self._correlations: Mapping[str, Correlation] = {}
        self._selected: str | None = None
        self._pressed: frozenset[int] = frozenset()
        self._cases: frozenset[str] | None = None
        self._measuring = False
        self._low = False
        self.chips: dict[int, QToolButton] = {}
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 2)
        layout.setSpacing(3)
        layout.addLayout(self._build_choice())
        self.histogram = DifficultyHistogram(self)
        layout.addWidget(self.histogram)
        layout.addLayout(self._build_ends())
        self._flow = QFlowLayout()
        self._flow.setSpacing(3)
        layout.addLayout(self._flow)
        self.words = QElidingLabel(parent=self)  # one line: the list needs the room; the rest is its tooltip
        self.words.setStyleSheet(_QUIET)
        layout.addWidget(self.words)

    # -- building -------------------------------------------------------------------------------------------------

    def _build_choice(self) -> QHBoxLayout:
        line = QHBoxLayout()
        line.setSpacing(4)
        self.scorer = QComboBox(self)
        self.scorer.setAccessibleName("Measure of difficulty")
        self.scorer.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.scorer.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        for place, (name, about) in enumerate(SCORERS.items()):
            self.scorer.addItem(about.title, name)
            self.scorer.setItemData(place, about.sentence, Qt.ItemDataRole.ToolTipRole)
        self.scorer.currentIndexChanged.connect(self._choose)
        self.hardest = QPushButton("Hardest unlabelled", self)
        self.hardest.setToolTip("Show what nobody labelled yet, the hardest case first, and put the cursor on it.")
        self.hardest.clicked.connect(self.hardest_asked)
        self.measure = QPushButton("Measure", self)
        self.measure.setToolTip(
            "Measure the cases that have no number yet. It is done beside your work; every round does it too."
        )
        self.measure.clicked.connect(self.measure_asked)
        line.addWidget(self.scorer, 1)
        line.addWidget(self.measure)
        line.addWidget(self.hardest)
        return line

    def _build_ends(self) -> QHBoxLayout:
        line = QHBoxLayout()
        line.setContentsMargins(26, 0, 4, 0)
        self.ends = (QLabel(self), QLabel(LEGEND, self), QLabel(self))
        for label, side in zip(
            self.ends,
            (Qt.AlignmentFlag.AlignLeft, Qt.AlignmentFlag.AlignCenter, Qt.AlignmentFlag.AlignRight),
            strict=True,
        ):
            label.setAlignment(side)
            label.setStyleSheet(f"{_QUIET} font-size: 11px;")
            line.addWidget(label)
        return line

    # -- what is shown --------------------------------------------------------------------------------------------

    @property
    def chosen(self) -> str:
        """The scorer that is shown."""
        return str(self.scorer.currentData())

    def show_correlations(self, correlations: Mapping[str, Correlation]) -> None:
        """Say how each difficulty goes with the Dice that was reached."""
        self._correlations = correlations
        self._show()

    def show_cases(self, rows: Sequence[Row], *, fresh: bool = False) -> None:
        """Show *rows*; *fresh* for another project: the first measured scorer is chosen, and no group is pressed."""
        self._rows = rows
        measured = scorers_of(rows)
        for place, (name, about) in enumerate(SCORERS.items()):
            self.scorer.setItemText(place, about.title if name in measured else f"{about.title} (not measured)")
        if fresh:
            self._pressed = frozenset()
            with signals_blocked(self.scorer):
                self.scorer.setCurrentIndex(self.scorer.findData((measured or (FIRST,))[0]))
        self._show()

    def mark(self, case_id: str | None) -> None:
        """Show where the selected case lies."""
        self._selected = case_id
        self.histogram.mark(case_id)

    def hardest_case(self) -> str | None:
        """Return the hardest case that nobody labelled; None where none was measured."""
        return hardest_waiting(self._rows, self.chosen)

    def clear_filter(self) -> None:
        """Let every group through."""
        self._pressed = frozenset()
        self._show()

    def set_measuring(self, running: bool) -> None:
        """Show whether cases are being measured."""
        self._measuring = running
        self._show()

    def _show(self) -> None:
        scorer = self.chosen
        spread = histogram(self._rows, scorer)
        if self.isVisible() or spread is None:  # pyqtgraph is not loaded for a panel that nobody opened
            self.histogram.show_histogram(spread)
            self.histogram.mark(self._selected)
        for label in self.ends:
            label.setVisible(spread is not None and not self._low)
        if spread is not None:
            self.ends[0].setText(f"← easy {spread.easiest}")
            self.ends[2].setText(f"{spread.hardest} hard →")
        made = chips(self._rows, scorer) if spread is not None else ()
        self._pressed &= {chip.number for chip in made}
        self._show_chips(made)
        self.hardest.setEnabled(self.hardest_case() is not None)
        about = SCORERS[scorer]
        missing = unmeasured(self._rows, scorer)
        self.measure.setVisible(missing > 0 or self._measuring)
        self.measure.setEnabled(not self._measuring)
        self.measure.setText("Measuring…" if self._measuring else f"Measure ({missing})")
        told = correlation_words(scorer, self._correlations) or about.sentence
        nothing = "" if spread is not None else f"Not measured yet. {needs_words(scorer)}"
        self.words.setText(nothing or told)
        self.words.setToolTip(" ".join(dict.fromkeys((nothing or told, about.sentence))))
        self.scorer.setToolTip(about.sentence)
        self._tell_filter()

    def _show_chips(self, made: Sequence[Chip]) -> None:
        numbers = [chip.number for chip in made]
        if list(self.chips) != numbers:
            for button in self.chips.values():
                self._flow.removeWidget(button)
                button.deleteLater()
            self.chips = {number: self._chip(number) for number in numbers}
            for button in self.chips.values():
                self._flow.addWidget(button)
        for chip in made:
            button = self.chips[chip.number]
            button.setText(chip.text)
            button.setToolTip(f"{chip.meaning} Press to show only these; press several to show them together.")
            button.setAccessibleName(chip.meaning)
            with signals_blocked(button):
                button.setChecked(chip.number in self._pressed)

    def _chip(self, number: int) -> QToolButton:
        button = QToolButton(self)
        button.setCheckable(True)
        colour = "#a0a0a0" if number == UNKNOWN else _colour(number)
        button.setStyleSheet(
            f"QToolButton {{ padding: 1px 5px; border-radius: 3px; border: 1px solid transparent;"
            f" border-bottom: 3px solid {colour}; }}"
            f"QToolButton:checked {{ border: 1px solid {colour}; border-bottom: 3px solid {colour};"
            " font-weight: bold; }"
            "QToolButton:focus { border-top-color: #56B4E9; }"
        )
        button.toggled.connect(partial(self._press, number))
        return button

    # -- what is pressed ------------------------------------------------------------------------------------------

    def _choose(self, _place: int) -> None:
        self._pressed = frozenset()
        self._show()
        self.scorer_chosen.emit(self.chosen)

    def _press(self, number: int, on: bool) -> None:
        self._pressed = self._pressed | {number} if on else self._pressed - {number}
        self._tell_filter()

    def _tell_filter(self) -> None:
        groups = groups_of(self._rows, self.chosen) if self._pressed else {}
        cases = frozenset(case for case, number in groups.items() if number in self._pressed) if self._pressed else None
        if cases != self._cases:
            self._cases = cases
            self.filtered.emit(cases)

    def showEvent(self, event: QShowEvent) -> None:
        """Draw what was not drawn while nobody looked; on a low screen the list needs the room."""
        super().showEvent(event)
        self._low = self.window().height() < ROOMY
        self.histogram.setFixedHeight(LOW if self._low else HEIGHT)
        self._show()


def _colour(number: int) -> str:
    share = (number - 1) / (GROUPS - 1)
    return "#" + "".join(f"{round(easy + (hard - easy) * share):02x}" for easy, hard in zip(_EASY, _HARD, strict=True))
