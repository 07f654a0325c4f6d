"""*Why, in numbers*: the parts of the score in words, what the similarity did, and the cases that look alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QGridLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from napari_dasl.widgets.case_facts import numbers, particulars
from napari_dasl.widgets.similar_cases import SimilarCases

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_dasl.widgets.case_facts import Facts
    from napari_dasl.widgets.score_words import Part

_FAINT = "QLabel { color: #8F8F8F; }"  # read on napari's dark and light theme alike


class WhyNumbers(QWidget):
    """The content of the disclosure under the words.

    Notes
    -----
    Signal: ``chosen(case id)`` when a similar case is to be opened.
    """

    chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.rows: list[tuple[QLabel, QLabel]] = []
        self._shown: list[Part] = []
        layout = QVBoxLayout(self)
        layout.setContentsMargins(14, 0, 0, 0)
        layout.setSpacing(3)
        self.similar = SimilarCases(self)
        self.similar.chosen.connect(self.chosen)
        self.diagnosis = _wrapped(self)
        self.diagnosis.setToolTip("Said by the ranking of all unlabelled scans, not of this one alone.")
        self._grid = QGridLayout()
        self._grid.setHorizontalSpacing(8)
        self._grid.setVerticalSpacing(1)
        self._grid.setColumnStretch(1, 1)
        layout.addWidget(self.similar)
        layout.addWidget(self.diagnosis)
        layout.addLayout(self._grid)

    def show_facts(self, facts: Facts, *, blind: bool = False) -> None:
        """Show the numbers of a case; while it is labelled blind only those of the scan."""
        hidden = blind or facts.case.guard
        self._fill(([] if hidden else numbers(facts)) + particulars(facts))
        self.similar.show_cases(() if hidden else facts.neighbours)
        self.diagnosis.setText(facts.diagnosis)
        self.diagnosis.setVisible(bool(facts.diagnosis) and facts.score is not None and not hidden)

    def _fill(self, found: Sequence[Part]) -> None:
        if list(found) == self._shown:
            return
        self._shown = list(found)
        for pair in self.rows:
            for label in pair:
                self._grid.removeWidget(label)
                label.deleteLater()
        self.rows = []
        for line, (name, value, meaning) in enumerate(found):
            title, text = QLabel(name, self), _wrapped(self)
            text.setText(value)
            text.setStyleSheet(_FAINT)
            for label in (title, text):
                label.setToolTip(f"<qt>{meaning}</qt>")  # rich, so that Qt wraps it
            self._grid.addWidget(title, line, 0, Qt.AlignmentFlag.AlignTop)
            self._grid.addWidget(text, line, 1)
            self.rows.append((title, text))


def _wrapped(parent: QWidget) -> QLabel:
    label = QLabel(parent)
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    label.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    return label
