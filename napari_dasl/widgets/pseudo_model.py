"""The columns of the table of pseudo-labels."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from napari_dasl.project.names import natural
from napari_dasl.project.records import CaseState
from napari_dasl.widgets.case_facts import volume_words
from napari_dasl.widgets.pseudo_rows import PseudoState
from napari_dasl.widgets.review_model import ReviewColumn, ReviewModel
from napari_dasl.widgets.worklist_model import SIGNS, StateSign

if TYPE_CHECKING:
    from qtpy.QtCore import QObject

PSEUDO_SIGNS: dict[PseudoState, StateSign] = {
    PseudoState.IN_USE: StateSign("◌", "#56B4E9", "in use", "The network learns from it."),
    PseudoState.BLIND: StateSign(
        "◇", "#F0E442", "blind", "Drawn by lot for a blind check: what the network drew stays hidden until then."
    ),
    PseudoState.ACCEPTED: StateSign("●", "#009E73", "accepted", "You accepted it: it is a label of yours now."),
    PseudoState.REJECTED: StateSign("✕", "#D55E00", "rejected", "You rejected it; it is never used again."),
    PseudoState.LABELLED: StateSign("●", "#009E73", "labelled", "You labelled the case; your label counts."),
    PseudoState.DRAFT: StateSign(
        SIGNS[CaseState.DRAFT].symbol, SIGNS[CaseState.DRAFT].colour, "draft", "You began to label the case."
    ),
}
_STATE_ORDER = {state: number for number, state in enumerate(PseudoState)}


class PseudoColumn(IntEnum):
    """The columns."""

    CASE = 0
    WEIGHT = 1
    LOSS = 2
    VOLUME = 3
    STATE = 4


# What is hidden or unknown sorts last.
_COLUMNS: dict[PseudoColumn, ReviewColumn] = {
    PseudoColumn.CASE: ReviewColumn(
        "Case", "Name of the case.", lambda row: natural(row.case), lambda row: str(row.case)
    ),
    PseudoColumn.WEIGHT: ReviewColumn(
        "Weight",
        "How much the network learns from it: 1 is as much as from a label of yours.",
        lambda row: -row.weight,
        lambda row: f"{row.weight:.2f}",
        bar=lambda row: (row.weight, PSEUDO_SIGNS[PseudoState.IN_USE].colour),
    ),
    PseudoColumn.LOSS: ReviewColumn(
        "Loss",
        "What the weight is made from: small means easy for the network.",
        lambda row: (row.loss is None, row.loss or 0.0),
        lambda row: "" if row.loss is None else f"{row.loss:.3f}",
        right=True,
    ),
    PseudoColumn.VOLUME: ReviewColumn(
        "Volume",
        "Volume of what the network drew, all classes together.",
        lambda row: (row.volume_ml is None, row.volume_ml or 0.0),
        lambda row: "" if row.volume_ml is None else volume_words(row.volume_ml),
        right=True,
    ),
    PseudoColumn.STATE: ReviewColumn(
        "State",
        "What became of it.",
        lambda row: _STATE_ORDER[row.state],
        lambda row: PSEUDO_SIGNS[row.state].word,
        sign=lambda row: PSEUDO_SIGNS[row.state],
    ),
}


class PseudoModel(ReviewModel):
    """Pseudo-labels by their cases; those equal in a column by weight."""

    def __init__(self, parent: QObject | None = None) -> None:
        columns = [_COLUMNS[column] for column in PseudoColumn]
        super().__init__(
            columns, key=lambda row: row.case, settle=lambda row: (-row.weight, natural(row.case)), parent=parent
        )
