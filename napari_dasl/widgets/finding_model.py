"""The columns of the table of findings, and how a finding looks that was decided about."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QModelIndex, Qt
from qtpy.QtGui import QColor, QFont

from napari_dasl.widgets.case_facts import volume_words
from napari_dasl.widgets.finding_rows import diameter_words
from napari_dasl.widgets.review_model import ReviewColumn, ReviewModel
from napari_dasl.widgets.worklist_model import StateSign

if TYPE_CHECKING:
    from qtpy.QtCore import QObject

    from napari_dasl.project.findings import FindingState
    from napari_dasl.widgets.finding_rows import FindingRow

_FAINT = QColor(143, 143, 143)

FINDING_SIGNS: dict[FindingState, StateSign] = {
    "proposed": StateSign("○", "#56B4E9", "to review", "Nobody decided about it yet."),
    "below": StateSign("◌", "#999999", "unsure", "The network is too unsure of it to draw it."),
    "accepted": StateSign("●", "#009E73", "accepted", "You accepted it: it was copied into your label."),
    "labelled": StateSign("◉", "#009E73", "in label", "Your label holds a lesion at this place."),
    "rejected": StateSign("✕", "#D55E00", "rejected", "You rejected it: there is no lesion here."),
}
_STATE_ORDER = {state: number for number, state in enumerate(FINDING_SIGNS)}


class FindingColumn(IntEnum):
    """The columns."""

    ID = 0
    SCORE = 1
    DIAMETER = 2
    VOLUME = 3
    NAME = 4
    STATE = 5


def _score_bar(row: FindingRow) -> tuple[float, str]:
    return row.score, FINDING_SIGNS["below" if row.state == "rejected" else row.state].colour


_COLUMNS: dict[FindingColumn, ReviewColumn] = {
    FindingColumn.ID: ReviewColumn(
        "#", "Number of the finding in the prediction.", lambda row: row.id, lambda row: str(row.id), right=True
    ),
    FindingColumn.SCORE: ReviewColumn(
        "Score",
        "How sure the network is that this is a lesion, 0 to 1.",
        lambda row: -row.score,
        lambda row: f"{row.score:.2f}",
        bar=_score_bar,
    ),
    FindingColumn.DIAMETER: ReviewColumn(
        "Longest",
        "Longest diameter in an axial slice.",
        lambda row: -row.diameter,
        lambda row: diameter_words(row.diameter),
        right=True,
    ),
    FindingColumn.VOLUME: ReviewColumn(
        "Volume",
        "Volume of what the network drew.",
        lambda row: -row.volume_ml,
        lambda row: volume_words(row.volume_ml),
        right=True,
    ),
    FindingColumn.NAME: ReviewColumn(
        "Class", "What the network takes it for.", lambda row: row.label, lambda row: row.name
    ),
    FindingColumn.STATE: ReviewColumn(
        "State",
        "What was decided about it.",
        lambda row: _STATE_ORDER[row.state],
        lambda row: FINDING_SIGNS[row.state].word,
        sign=lambda row: FINDING_SIGNS[row.state],
    ),
}


class FindingModel(ReviewModel):
    """Findings by their numbers; those equal in a column by score."""

    def __init__(self, parent: QObject | None = None) -> None:
        columns = [_COLUMNS[column] for column in FindingColumn]
        super().__init__(columns, key=lambda row: row.id, settle=lambda row: (-row.score, row.id), parent=parent)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return what a cell shows; what is rejected is struck through, and faint as what is unsure."""
        if index.isValid() and role in (Qt.ItemDataRole.FontRole, Qt.ItemDataRole.ForegroundRole):
            state: FindingState = self.rows[index.row()].state
            if role == Qt.ItemDataRole.ForegroundRole:
                return _FAINT if state in ("rejected", "below") else None
            if state == "rejected" and index.column() != FindingColumn.STATE:
                struck = QFont()
                struck.setStrikeOut(True)
                return struck
        return super().data(index, role)
