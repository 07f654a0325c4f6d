"""*Findings*: what the network found in the open case, to accept, reject or edit; and lesions added by a click."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QModelIndex, Qt, Signal
from qtpy.QtWidgets import QCheckBox, QDoubleSpinBox, QGridLayout, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_dasl.networks.families import FAMILIES
from napari_dasl.widgets.finding_boxes import Box
from napari_dasl.widgets.finding_keeper import finding_keeper_for
from napari_dasl.widgets.finding_layers import FindingLayers
from napari_dasl.widgets.finding_model import FINDING_SIGNS, FindingColumn, FindingModel
from napari_dasl.widgets.finding_rows import FindingRow, reject_words, summary_words, unsure_words
from napari_dasl.widgets.finding_verbs import FindingVerbs
from napari_dasl.widgets.review_table import ReviewButton, ReviewTable
from napari_dasl.widgets.session import session_for
from napari_dasl.widgets.sphere_tool import SphereTool
from napari_dasl.widgets.wrapped_label import wrapped_label

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari.viewer  # napari passes the viewer to a widget whose annotation reads exactly like this
    from qtpy.QtGui import QHideEvent, QShowEvent

_TO_REVIEW = ("proposed", "below")
_WIDTHS = {
    FindingColumn.ID: 30,
    FindingColumn.SCORE: 78,
    FindingColumn.DIAMETER: 66,
    FindingColumn.VOLUME: 66,
    FindingColumn.NAME: 60,
}
_BAR_WIDTH = 34
_SIZES = (1.0, 100.0, 8.0)  # least, most, first diameter of a lesion that is added, in mm


class FindingsWidget(QWidget):
    """The findings of the case that is open.

    Parameters
    ----------
    viewer : napari.Viewer
        Its session is shared with the other widgets.

    Notes
    -----
    Signal: ``changed()`` when heading or usefulness of the section may have changed.
    """

    changed = Signal()

    def __init__(self, viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = session_for(viewer)
        self.keeper = finding_keeper_for(self.session)
        self.verbs = FindingVerbs(self.session, self)
        self.layers = FindingLayers(self.session.layers, self)
        self.tool = SphereTool(self.session.layers, self)
        self.model = FindingModel(self)
        self._whose = ("", "")
        self._quiet = False
        self._build()
        self.tool.clicked.connect(self._add)
        self.tool.switched.connect(self._switched)
        self.keeper.rows_changed.connect(self._refresh)
        self.keeper.updated.connect(self._refresh)
        self.session.case_opened.connect(self._case_opened)
        self.session.project_changed.connect(self._case_opened)
        self._refresh()

    # -- building -------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 0, 4, 4)
        layout.setSpacing(4)
        self.words = wrapped_label(self)
        layout.addWidget(self.words)
        layout.addLayout(self._build_buttons())
        self.table = self._build_table()
        layout.addWidget(self.table, 1)
        layout.addLayout(self._build_tools())

    def _build_buttons(self) -> QGridLayout:
        self.accept = ReviewButton("Accept", "A", "Copy it into your label. Nothing is saved yet.", self._accept)
        self.reject = ReviewButton("Reject", "R", reject_words(learns=False), self._reject)
        self.edit = ReviewButton("Edit", "E", "Copy it into your label and take up the brush with it.", self._edit)
        self.undo = ReviewButton("Undo", "Z", "Take back what you decided about it.", self._undo)
        grid = QGridLayout()
        grid.setSpacing(4)
        for column, button in enumerate((self.accept, self.reject, self.edit, self.undo)):
            grid.addWidget(button, 0, column)
        return grid

    def _build_table(self) -> ReviewTable:
        buttons = (self.accept, self.reject, self.edit, self.undo)
        table = ReviewTable(
            self.model, buttons, widths=_WIDTHS, stretches=FindingColumn.STATE, bar_width=_BAR_WIDTH, parent=self
        )
        table.sortByColumn(FindingColumn.SCORE, Qt.SortOrder.AscendingOrder)
        table.setAccessibleName("Findings")
        table.setToolTip("A click, or the arrow keys, jump to a finding. A accepts, R rejects, E edits, Z undoes.")
        table.selectionModel().currentChanged.connect(self._chosen)
        table.clicked.connect(self._jump)
        table.activated.connect(self._jump)
        return table

    def _build_tools(self) -> QHBoxLayout:
        self.add = QPushButton("＋ Add", self)
        self.add.setCheckable(True)
        self.add.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.add.setToolTip(
            "<qt>While this is pressed, a click on a slice draws a ball of this diameter into your label, never over "
            "what is drawn already. Ctrl+Z takes it back. Press again to stop.</qt>"
        )
        self.add.toggled.connect(self.tool.switch)
        self.size = QDoubleSpinBox(self)
        self.size.setRange(*_SIZES[:2])
        self.size.setDecimals(1)
        self.size.setSingleStep(1.0)
        self.size.setValue(_SIZES[2])
        self.size.setPrefix("⌀ ")
        self.size.setSuffix(" mm")
        self.size.setAccessibleName("Diameter of an added lesion in mm")
        self.size.setToolTip("Diameter of the ball that a click draws.")
        self.boxes = QCheckBox("Boxes", self)
        self.boxes.setChecked(True)
        self.boxes.setToolTip(
            "<qt>Boxes around the findings in every slice: whole where nothing was decided, corners where it is in "
            "your label, struck through where it was rejected.</qt>"
        )
        self.boxes.toggled.connect(self._draw)
        self.unsure = QCheckBox("Unsure", self)
        self.unsure.toggled.connect(self._refresh)
        for box in (self.boxes, self.unsure):
            box.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        line = QHBoxLayout()
        line.setSpacing(3)
        for widget in (self.add, self.size):
            line.addWidget(widget)
        line.addStretch(1)
        for widget in (self.boxes, self.unsure):
            line.addWidget(widget)
        return line

    # -- what is shown --------------------------------------------------------------------------------------------

    def title(self) -> str:
        """Return the heading of the section: ``Findings · 3 to review``."""
        rows = [row for row in self.keeper.rows if row.kept]
        left = sum(row.state in _TO_REVIEW for row in rows)
        if not rows:
            return "Findings"
        return f"Findings · {left} of {len(rows)} to review" if left else f"Findings · {len(rows)}, all reviewed"

    @property
    def detects(self) -> bool:
        """Whether the project is about separate lesions, so that this section is what one works with."""
        project = self.session.project
        return project is not None and (project.config.instances or self._learns_from_rejected)

    @property
    def _learns_from_rejected(self) -> bool:
        """Whether the network that the next round trains is one that finds lesions one by one."""
        project = self.session.project
        known = FAMILIES.get(project.config.network) if project is not None else None
        return known is not None and known.detector

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do here: no case is open, or one of organs and regions without a finding."""
        return self.session.case_id is None or not (self.detects or self.keeper.rows)

    def _case_opened(self, *_: object) -> None:
        self.tool.switch(False)
        self.layers.show_boxes(())
        self._refresh()

    def _refresh(self, *_: object) -> None:
        found, chosen, before = self.keeper.snapshot, self.chosen(), self._whose
        faint = sum(row.state == "below" for row in self.keeper.rows)
        shown = [row for row in self.keeper.rows if self.unsure.isChecked() or row.state != "below"]
        self._whose = (found.case, found.model)
        self.model.set_rows(shown, self._whose)
        self.table.setColumnHidden(FindingColumn.NAME, len(found.classes) < 2)
        if chosen is not None and self.chosen() is None and self.model.row_of(chosen.id) >= 0:
            self.table.choose(chosen.id)
        elif self._whose != before and self.detects:
            self._choose_what_is_shown()
        self.reject.explain(reject_words(learns=self._learns_from_rejected))
        words, tip = unsure_words(faint, found.thresholds)
        self.unsure.setText(words)
        self.unsure.setToolTip(tip)
        self.unsure.setEnabled(faint > 0 or self.unsure.isChecked())
        self.unsure.setVisible(self.unsure.isEnabled() or found.thresholds is not None)
        self._tell()
        for part in (self.table, self.accept, self.reject, self.edit, self.undo):
            part.setVisible(bool(shown))
        for part in (self.add, self.size, self.boxes):
            part.setEnabled(self.session.case_id is not None)
        self.boxes.setVisible(bool(shown))
        self._enable()
        self._draw()
        self.changed.emit()

    def _tell(self) -> None:
        """Say what a click does, or why there is no table."""
        adding = "Click on a slice to add a lesion of this size; drag to move the picture. Press Add again to stop."
        self.words.setText(adding if self.tool.on else self._sentence())
        self.words.setVisible(self.tool.on or not self.model.rowCount())

    def _sentence(self) -> str:
        opened = self.session.opened if self.session.case_id is not None else None
        if opened is None:
            return "Open a case to see what the network found in it."
        if opened.blind:
            what = "A blind check" if opened.audit else "A guard case"
            return f"{what} is drawn without seeing what the network found."
        if opened.shown is None:
            return "No network has looked at this case yet. Add lesions with a click, or draw them."
        return summary_words(self.keeper.rows)

    def chosen(self) -> FindingRow | None:
        """Return the row under the cursor."""
        row: FindingRow | None = self.table.chosen()
        return row

    def _choose_what_is_shown(self) -> None:
        """Begin with the largest finding of the slice that the case was opened at; the picture stays where it is."""
        opened, pieces = self.session.opened, self.keeper.snapshot.pieces
        if opened is None:
            return
        sizes = {
            row.id: pieces[row.id].section(opened.focus[0])
            for row in self.model.rows
            if row.id in pieces and row.state in _TO_REVIEW
        }
        largest = max(sizes, key=sizes.__getitem__, default=None)
        if largest is not None and sizes[largest]:
            self._quiet = True
            self.table.choose(largest)
            self._quiet = False

    def _chosen(self, current: QModelIndex, previous: QModelIndex) -> None:
        self._enable()
        self._draw()
        if not self._quiet and current.isValid() and (not previous.isValid() or current.row() != previous.row()):
            self._jump()

    def _jump(self, *_: object) -> None:
        """Go to the middle slice of the chosen finding."""
        row = self.chosen()
        piece = self.keeper.snapshot.pieces.get(row.id) if row is not None else None
        if piece is not None and self.session.case_id == self.keeper.snapshot.case:
            self.session.layers.go_to(piece.middle)

    def _enable(self) -> None:
        row = self.chosen()
        state = row.state if row is not None else None
        self.accept.setEnabled(state not in (None, "accepted"))
        self.reject.setEnabled(state not in (None, "rejected"))
        self.edit.setEnabled(state is not None)
        self.undo.setEnabled(state in ("accepted", "rejected"))

    def _draw(self, *_: object) -> None:
        """Show the boxes, and the outline of the chosen one, while this section is open."""
        found, row = self.keeper.snapshot, self.chosen()
        here = self.isVisible() and self.session.case_id is not None and self.session.case_id == found.case
        chosen = row.id if row is not None and here else None
        pieces = found.pieces
        boxes = [
            Box(pieces[one.id], one.state, FINDING_SIGNS[one.state].colour, one.id == chosen)
            for one in self.model.rows
            if one.id in pieces and (one.state != "below" or one.id == chosen)
        ]
        self.layers.show_boxes(boxes if here and self.boxes.isChecked() else ())

    def showEvent(self, event: QShowEvent) -> None:
        """Join the main window, and show the boxes."""
        super().showEvent(event)
        self.session.watch(self.window())
        self._draw()

    def hideEvent(self, event: QHideEvent) -> None:
        """Take the boxes away, and stop listening for clicks."""
        super().hideEvent(event)
        self.tool.switch(False)
        self._draw()

    # -- verbs ----------------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        self._decide(self.verbs.accept)

    def _reject(self) -> None:
        self._decide(self.verbs.reject)

    def _edit(self) -> None:
        row = self.chosen()
        if row is not None:
            self.tool.switch(False)
            self._jump()
            self.verbs.edit(row)

    def _undo(self) -> None:
        row = self.chosen()
        if row is not None:
            self.verbs.undo(row)

    def _decide(self, verb: Callable[[FindingRow], bool]) -> None:
        """Act on the chosen one and go on to the next that nobody decided about."""
        row = self.chosen()
        if row is None:
            return
        following = self.table.following(row, lambda one: one.state in _TO_REVIEW)
        if verb(row) and following is not None:
            self.table.choose(following.id)

    def _add(self, point: tuple[float, float, float]) -> None:
        self.verbs.add(point, self.size.value())

    def _switched(self, on: bool) -> None:
        self.add.setChecked(on)
        self._tell()
