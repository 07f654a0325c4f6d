"""*Why, in numbers*: the parts of the score in words, what the similarity did, and the cases that look alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QGridLayout, QLabel, QVBoxLayout, QWidget

from napari_dasl.widgets.case_facts import numbers, particulars
from napari_dasl.widgets.disclosure import Disclosure
from napari_dasl.widgets.similar_cases import SimilarCases
from napari_dasl.widgets.wrapped_label import wrapped_label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_dasl.widgets.case_facts import Facts
    from napari_dasl.widgets.score_words import Part

_FAINT = "QLabel { color: #8F8F8F; }"  # read on napari's dark and light theme alike


class PartList(QWidget):
    """Names and values in two columns; the tooltip of each line says what it means."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.rows: list[tuple[QLabel, QLabel]] = []
        self._shown: list[Part] = []
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(8)
        self._grid.setVerticalSpacing(1)
        self._grid.setColumnStretch(1, 1)

    def show_parts(self, found: Sequence[Part]) -> None:
        """Show *found*, one a line."""
        if list(found) == self._shown:
            return
        self._shown = list(found)
        for pair in self.rows:
            for label in pair:
                self._grid.removeWidget(label)
                label.deleteLater()
        self.rows = []
        for line, one in enumerate(found):
            title, text = QLabel(one.name, self), wrapped_label(self)
            text.setText(one.value)
            text.setStyleSheet(_FAINT)
            for label in (title, text):
                label.setToolTip(f"<qt>{one.meaning}</qt>")  # rich, so that Qt wraps it
            self._grid.addWidget(title, line, 0, Qt.AlignmentFlag.AlignTop)
            self._grid.addWidget(text, line, 1)
            self.rows.append((title, text))


class WhyNumbers(QWidget):
    """The content of the disclosure under the words.

    Notes
    -----
    Signal: ``chosen(case id)`` when a similar case is to be opened.
    """

    chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(14, 0, 0, 0)
        layout.setSpacing(3)
        self.similar = SimilarCases(self)
        self.similar.chosen.connect(self.chosen)
        self.diagnosis = wrapped_label(self)
        self.diagnosis.setToolTip("Said by the ranking of all unlabelled scans, not of this one alone.")
        self.main, self.details = PartList(self), PartList(self)
        self.every = Disclosure("Every number, and the files", self.details, parent=self)
        for part in (self.similar, self.diagnosis, self.main, self.every):
            layout.addWidget(part)

    def show_facts(self, facts: Facts, *, blind: bool = False) -> None:
        """Show the numbers of a case; while it is labelled blind only those of the scan."""
        hidden = blind or facts.case.guard
        found = [] if hidden else numbers(facts)
        self.main.show_parts([one for one in found if not one.detail])
        self.main.setVisible(bool(found))
        self.details.show_parts([one for one in found if one.detail] + particulars(facts))
        self.similar.show_cases(() if hidden else facts.neighbours)
        self.diagnosis.setText(facts.diagnosis)
        self.diagnosis.setVisible(bool(facts.diagnosis) and facts.score is not None and not hidden)
