"""The cases that look most like this one to the network, as links that open them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QLabel, QToolButton, QVBoxLayout, QWidget
from superqt import QFlowLayout

from napari_dasl.project.records import CaseState
from napari_dasl.widgets.worklist_model import SIGNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_dasl.widgets.case_facts import Neighbour

_HEADING, _FAR = "Looks most like", "Nearest to it, though little alike"
_ALIKE = 0.2
_MEANING = (
    "Scans in which the network sees nearly the same as here. Labelled ones show what it learnt from; unlabelled ones "
    "are what this label will help with."
)


class SimilarCases(QWidget):
    """Links in two lines, the labelled cases above.

    Notes
    -----
    Signal: ``chosen(case id)`` when a link is pressed.
    """

    chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.links: list[QToolButton] = []
        self._shown: tuple[Neighbour, ...] = ()
        self.heading = QLabel(_HEADING, self)
        self.heading.setToolTip(f"<qt>{_MEANING}</qt>")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 2, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.heading)
        self._lines = (QFlowLayout(), QFlowLayout())  # of labelled and of unlabelled cases
        for line in self._lines:
            line.setSpacing(3)
            layout.addLayout(line)
        self.hide()

    def show_cases(self, neighbours: Sequence[Neighbour]) -> None:
        """Show links to *neighbours*; nothing at all where there are none."""
        if tuple(neighbours) != self._shown:
            self._shown = tuple(neighbours)
            for link in self.links:
                for line in self._lines:
                    line.removeWidget(link)
                link.deleteLater()
            self.links = [self._link(one) for one in neighbours]
            for link, one in zip(self.links, neighbours, strict=True):
                self._lines[0 if one.labelled else 1].addWidget(link)
        self.heading.setText(_HEADING if max((one.likeness for one in neighbours), default=0) >= _ALIKE else _FAR)
        self.setVisible(bool(neighbours))

    def _link(self, one: Neighbour) -> QToolButton:
        sign = SIGNS[CaseState.LABELLED if one.labelled else CaseState.UNLABELLED]
        link = QToolButton(self)
        link.setText(f"{sign.symbol} {one.case}  {one.likeness:.2f}")
        link.setToolTip(
            f"Open {one.case} ({sign.word}); J comes back here. Likeness {one.likeness:.3f}: 1 is the same, 0 has "
            "nothing in common."
        )
        link.setAccessibleName(f"Open {one.case}, {sign.word}, likeness {one.likeness:.2f}")
        link.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        link.setStyleSheet(
            "QToolButton { padding: 1px 3px; border: 1px solid rgba(128, 128, 128, 90); border-radius: 4px; }"
            "QToolButton:hover, QToolButton:focus { border-color: #56B4E9; }"
        )
        link.clicked.connect(partial(self._choose, one.case))
        return link

    def _choose(self, case_id: str, _checked: bool = False) -> None:
        self.chosen.emit(case_id)
