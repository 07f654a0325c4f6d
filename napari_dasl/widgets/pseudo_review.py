"""*Pseudo-labels*: what the network drew for itself, to look at, accept, edit or reject; and the blind checks."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QModelIndex, Qt, Signal
from qtpy.QtWidgets import (
    QGridLayout,
    QHBoxLayout,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_dasl.widgets.blind_check import blind_checks_for
from napari_dasl.widgets.pseudo_keeper import pseudo_keeper_for
from napari_dasl.widgets.pseudo_model import PseudoColumn, PseudoModel
from napari_dasl.widgets.pseudo_rows import PseudoRow, PseudoSnapshot, PseudoState, quality_words, summary_words
from napari_dasl.widgets.pseudo_verbs import DECIDABLE, PseudoVerbs
from napari_dasl.widgets.review_table import ReviewButton, ReviewTable
from napari_dasl.widgets.session import session_for
from napari_dasl.widgets.wrapped_label import wrapped_label

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari.viewer  # napari passes the viewer to a widget whose annotation reads exactly like this
    from qtpy.QtGui import QHideEvent, QShowEvent

_WIDTHS = {PseudoColumn.WEIGHT: 84, PseudoColumn.LOSS: 50, PseudoColumn.VOLUME: 62, PseudoColumn.STATE: 84}
_BAR_WIDTH = 40


class PseudoReviewWidget(QWidget):
    """The pseudo-labels of the viewer's project.

    Parameters
    ----------
    viewer : napari.Viewer
        Its session is shared with the other widgets.

    Notes
    -----
    Signal: ``changed()`` when the number of pseudo-labels or blind checks may have changed.
    """

    changed = Signal()

    def __init__(self, viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = session_for(viewer)
        self.keeper = pseudo_keeper_for(self.session)
        self.checks = blind_checks_for(self.session)
        self.verbs = PseudoVerbs(self.session, self)
        self.model = PseudoModel(self)
        self.offers: list[tuple[ReviewButton, ReviewButton]] = []
        self._offered: tuple[str, ...] = ()
        self._build()
        self.keeper.updated.connect(self._refresh)
        self.session.case_opened.connect(self._follow)
        self.session.selection_changed.connect(self._follow)
        self._refresh(self.keeper.snapshot)

    # -- building -------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 0, 4, 4)
        layout.setSpacing(4)
        self.words, self.quality = wrapped_label(self), wrapped_label(self)
        self.quality.setToolTip(
            "<qt>Mean overlap (Dice) of pseudo-labels with labels that people drew without seeing them, of cases drawn "
            "by lot. 1 is the same outline; below 0.7 the network should not learn from them.</qt>"
        )
        self._checks = QGridLayout()
        self._checks.setSpacing(3)
        self._checks.setColumnStretch(0, 1)
        layout.addWidget(self.words)
        layout.addLayout(self._build_buttons())
        self.table = self._build_table()
        layout.addWidget(self.table, 1)
        layout.addWidget(self.quality)
        layout.addLayout(self._checks)

    def _build_table(self) -> ReviewTable:
        buttons = (self.accept, self.edit, self.reject)
        table = ReviewTable(
            self.model, buttons, widths=_WIDTHS, stretches=PseudoColumn.CASE, bar_width=_BAR_WIDTH, parent=self
        )
        table.sortByColumn(PseudoColumn.WEIGHT, Qt.SortOrder.AscendingOrder)
        table.setAccessibleName("Pseudo-labels")
        table.setToolTip("Enter or a double click opens the case with the pseudo-label's dashed outline.")
        table.activated.connect(self._open)
        table.selectionModel().currentChanged.connect(self._chosen)
        return table

    def _build_buttons(self) -> QHBoxLayout:
        self.accept = ReviewButton(
            "Accept", "A", "Make it a label of yours: the network learns from it with full weight.", self._accept
        )
        self.edit = ReviewButton("Edit", "E", "Open it as a draft, to correct it. Nothing is saved yet.", self._edit)
        self.reject = ReviewButton("Reject", "R", "Never learn from it again, in this project.", self._reject)
        line = QHBoxLayout()
        line.setSpacing(4)
        for button in (self.accept, self.edit, self.reject):
            line.addWidget(button)
        return line

    def _build_offers(self, audits: tuple[str, ...]) -> None:
        """Offer the blind checks, each with a way to skip it."""
        if audits == self._offered:
            return
        self._offered = audits
        for pair in self.offers:
            for button in pair:
                self._checks.removeWidget(button)
                button.deleteLater()
        self.offers = []
        for line, case in enumerate(audits):
            check = ReviewButton(
                f"Check blind: {case}",
                "",
                "<qt>Drawn by lot. Label it without seeing what the network drew; the overlap of both tells how good "
                "its pseudo-labels are.</qt>",
                partial(self.checks.start, case),
            )
            tip = f"Do not check {case}; it stays a pseudo-label."
            skip = ReviewButton("Skip", "", tip, partial(self.checks.skip, case))
            skip.setAccessibleName(f"Skip the blind check of {case}")
            for column, button in enumerate((check, skip)):
                button.setStyleSheet("QPushButton { padding: 2px 6px; }")
                self._checks.addWidget(button, line, column)
            self.offers.append((check, skip))

    # -- showing --------------------------------------------------------------------------------------------------

    def title(self) -> str:
        """Return the heading of the section: how many the network learns from."""
        return f"Pseudo-labels · {len(self.keeper.snapshot.in_use)}"

    @property
    def empty(self) -> bool:
        """Whether there is nothing to review and nothing to take back."""
        return not self.keeper.snapshot.rows

    def _refresh(self, snapshot: PseudoSnapshot) -> None:
        chosen = self.chosen()
        self.model.set_rows(snapshot.rows)
        if chosen is not None and self.chosen() is None:
            self.table.choose(chosen.case)
        self.words.setText(summary_words(snapshot))
        self.quality.setText(quality_words(snapshot.quality))
        self.quality.setVisible(snapshot.quality is not None)
        self._build_offers(snapshot.audits)
        for part in (self.table, self.accept, self.edit, self.reject):
            part.setVisible(bool(snapshot.rows))
        self.table.updateGeometry()
        self._enable()
        self._outline()
        self.changed.emit()

    def chosen(self) -> PseudoRow | None:
        """Return the row under the cursor."""
        row: PseudoRow | None = self.table.chosen()
        return row

    def _chosen(self, current: QModelIndex, previous: QModelIndex) -> None:
        row = self.chosen()
        self._enable()
        if row is not None and self.table.hasFocus():
            self.session.select_case(row.case)
        self._outline()

    def _follow(self, *_: object) -> None:
        """Go to the case that was selected or opened elsewhere."""
        row = self.chosen()
        wanted = self.session.selected_id
        if row is None or row.case != wanted:
            self.table.choose(wanted)
        self._enable()
        self._outline()

    def _enable(self) -> None:
        opened = self.session.opened
        checking = opened.case.id if opened is not None and opened.audit else None
        for (check, _), case in zip(self.offers, self._offered, strict=True):
            check.setEnabled(case != checking)
            check.say(f"{'Checking' if case == checking else 'Check'} blind: {case}")
        row = self.chosen()
        state = row.state if row is not None else None
        refused = state is PseudoState.REJECTED
        for button in (self.accept, self.edit):
            button.setEnabled(state in DECIDABLE)
        self.reject.setEnabled(state in DECIDABLE or refused)
        self.reject.say("Undo reject" if refused else "Reject")

    def _outline(self) -> None:
        """Show the chosen pseudo-label on the scan while this section is open."""
        self.verbs.outline(self.chosen() if self.isVisible() else None)

    def showEvent(self, event: QShowEvent) -> None:
        """Join the main window, and show the outline."""
        super().showEvent(event)
        self.session.watch(self.window())
        self._follow()

    def hideEvent(self, event: QHideEvent) -> None:
        """Take the outline away."""
        super().hideEvent(event)
        self.verbs.outline(None)

    # -- verbs ----------------------------------------------------------------------------------------------------

    def _open(self, index: QModelIndex) -> None:
        row = self.chosen()
        if row is not None and row.state is PseudoState.BLIND:
            self.checks.start(row.case)
        elif row is not None:
            self.session.open_case(row.case)

    def _accept(self) -> None:
        self._decide(self.verbs.accept)

    def _edit(self) -> None:
        row = self.chosen()
        if row is not None:
            self.verbs.edit(row)

    def _reject(self) -> None:
        row = self.chosen()
        if row is not None and row.state is PseudoState.REJECTED:
            self.verbs.allow(row)
        else:
            self._decide(self.verbs.reject)

    def _decide(self, verb: Callable[[PseudoRow], bool]) -> None:
        """Act on the chosen one and go on to the next; where it was on the screen, the next one is opened."""
        row = self.chosen()
        if row is None:
            return
        following = self.table.following(row, lambda one: one.state in DECIDABLE)
        if not verb(row) or following is None:
            return
        self.table.choose(following.case)
        if self.session.case_id == row.case:
            self.session.open_case(following.case)
