"""The sections of the dock, one under the other, and how they share its height.

Each section asks for what its content needs and gets no more than a share of the dock; the worklist takes the rest.
While findings or pseudo-labels are reviewed, their tables take the rest and the others step back; on a small screen the
worklist folds meanwhile. Once somebody moved a handle, the heights are theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QObject, QPoint, Qt, QTimer
from qtpy.QtWidgets import QFrame, QScrollArea, QSplitter, QWidget

from napari_dasl.widgets.disclosure import Disclosure

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtGui import QResizeEvent

    from napari_dasl.widgets.case_panel import CaseWidget
    from napari_dasl.widgets.findings_panel import FindingsWidget
    from napari_dasl.widgets.learning import LearningWidget
    from napari_dasl.widgets.pseudo_review import PseudoReviewWidget
    from napari_dasl.widgets.worklist import WorklistWidget

_CASE_SHARE, _LEARNING_SHARE, _UNFOLDED_SHARE = 0.38, 0.26, 0.45
_REVIEW_SHARE, _BESIDE_REVIEW = 0.4, 0.5  # while findings or pseudo-labels are reviewed, the others step back
_LEAST_WORKLIST, _LEAST_LEARNING, _ROOM_FOR_ALL = 150, 110, 800  # pixels
_STRETCHES = (4, 3, 3, 3, 3, 0)


class DockSections(QSplitter):
    """Worklist, case, findings, pseudo-labels and learning, each with a heading that folds it.

    Parameters
    ----------
    worklist, case, findings, pseudo, learning : QWidget
        Their contents.
    """

    def __init__(
        self,
        worklist: WorklistWidget,
        case: CaseWidget,
        findings: FindingsWidget,
        pseudo: PseudoReviewWidget,
        learning: LearningWidget,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(Qt.Orientation.Vertical, parent)
        self._case, self._learning = case, learning
        self._moved = False  # a handle, by a hand
        self._folded = False  # the worklist, to make room
        self._newest: QWidget | None = None
        self._soon = after(self, 30, self.arrange)
        self._into_view = after(self, 50, self._bring_into_view)
        self.case_area, self.learning_area = scrolled(case), scrolled(learning)
        findings_area, pseudo_area = scrolled(findings), scrolled(pseudo)
        self.worklist_part = Disclosure("Worklist", worklist, opened=True, section=True)
        self.case_part = Disclosure("This case", self.case_area, opened=True, section=True)
        self.findings_part = Disclosure("Findings", findings_area, section=True)
        self.pseudo_part = Disclosure("Pseudo-labels", pseudo_area, section=True)
        self.learning_part = Disclosure("Learning", self.learning_area, opened=True, section=True)
        self._parts = (self.worklist_part, self.case_part, self.findings_part, self.pseudo_part, self.learning_part)
        self._reviews = (
            (self.findings_part, findings_area, findings.table),
            (self.pseudo_part, pseudo_area, pseudo.table),
        )
        self._areas = (self.case_area, findings_area, pseudo_area, self.learning_area)
        self._rest = QWidget(self)
        self.setChildrenCollapsible(False)
        self.setHandleWidth(5)
        for part, stretch in zip((*self._parts, self._rest), _STRETCHES, strict=True):
            self.addWidget(part)
            self.setStretchFactor(self.indexOf(part), stretch)
        self._listen()
        self._sections_changed()

    def _listen(self) -> None:
        for part in self._parts:
            part.toggled.connect(self._sections_changed)
        for part, *_ in self._reviews:
            part.toggled.connect(self._make_room)
        for part in (*self._case.parts, *self._learning.parts):
            part.toggled.connect(self._unfolded)
        for area in self._areas:
            area.widget().installEventFilter(self)
        self.splitterMoved.connect(self._handle_moved)

    # -- which are there ------------------------------------------------------------------------------------------

    def show_part(self, part: Disclosure, *, shown: bool) -> None:
        """Show a section, or take it away."""
        if part.isHidden() == shown:
            part.setHidden(not shown)
            self._sections_changed()
            self._make_room()

    @property
    def _reviewing(self) -> bool:
        return any(part.is_open and not part.isHidden() for part, *_ in self._reviews)

    def _sections_changed(self, *_: object) -> None:
        self._rest.setVisible(not any(part.is_open for part in self._parts if not part.isHidden()))
        self._moved = False
        self.arrange()

    def _make_room(self, *_: object) -> None:
        """On a small screen one thing is reviewed at a time, and the worklist folds meanwhile and comes back after."""
        self.learning_area.verticalScrollBar().setValue(0)
        small, toggled = self.height() < _ROOM_FOR_ALL, self.sender()
        if small and toggled in (self.findings_part, self.pseudo_part):
            for part, *_ in self._reviews:
                if part is not toggled and toggled.is_open:
                    part.set_open(False)
        if self._reviewing and self.worklist_part.is_open and small:
            self.worklist_part.set_open(False)
            self._folded = True
        elif not self._reviewing:
            self._unfold_worklist()

    def _unfold_worklist(self) -> None:
        """Open the worklist again where it was folded to make room."""
        if self._folded:
            self._folded = False
            self.worklist_part.set_open(True)

    # -- what is in view ------------------------------------------------------------------------------------------

    def _unfolded(self, opened: bool) -> None:
        """Bring what was just unfolded into view, once it has its size."""
        self.arrange()
        part = self.sender()
        if opened and isinstance(part, QWidget):
            self._newest = part
            self._into_view.start()
        elif not opened and not any(one.is_open for one in self._learning.parts):
            self.learning_area.verticalScrollBar().setValue(0)

    def _bring_into_view(self) -> None:
        for area in (self.case_area, self.learning_area):
            if self._newest is not None and area.isAncestorOf(self._newest):
                top = self._newest.mapTo(area.widget(), QPoint(0, 0)).y()
                bar = area.verticalScrollBar()
                if top + self._newest.height() > bar.value() + area.viewport().height():
                    bar.setValue(top)

    # -- heights --------------------------------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Share the height anew until somebody moved a handle; the worklist comes back where there is room."""
        super().resizeEvent(event)
        if self.height() >= _ROOM_FOR_ALL:
            self._unfold_worklist()
        self.arrange()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Share the height anew, a moment after a content asks for another one."""
        if event.type() == QEvent.Type.LayoutRequest:
            self._soon.start()
        return False

    def _handle_moved(self, *_: object) -> None:
        self._moved = True

    def arrange(self) -> None:
        """Give the case what its buttons need, learning its first lines, and the worklist the rest."""
        for area in self._areas:
            area.widget().setMinimumHeight(_height_for(area))  # Qt's own guess leaves a gap below wrapped texts
        if self._moved:
            return
        total = self.height() - self.handleWidth() * (self.count() - 1)
        case, learning = self._case_height(total), self._learning_height(total)
        wanted, folded = sum(self._wanted_by_reviews()), not self.worklist_part.is_open
        room = total - case - learning - self.worklist_part.maximumHeight() if folded else int(total * _REVIEW_SHARE)
        if self._reviewing and room > wanted:  # tables that show every row leave the rest to the case
            if self.case_part.is_open:
                more = min(room - wanted, self._share(self.case_part, self.case_area, total, 1.0) - case)
                case += max(0, more)
                room -= max(0, more)
            room = room if folded else wanted
        reviews = self._review_heights(max(0, room))
        rest = total - case - sum(reviews)
        if self.worklist_part.is_open and self.learning_part.is_open:
            learning = min(learning, max(_LEAST_LEARNING, rest - _LEAST_WORKLIST))
        worklist = max(0, rest - learning) if self.worklist_part.is_open else 0
        self.setSizes([worklist, case, *reviews, learning, 0])

    def _case_height(self, total: int) -> int:
        share = _CASE_SHARE * (_BESIDE_REVIEW if self._reviewing else 1.0)
        height = self._share(self.case_part, self.case_area, total, share)
        if not self.case_part.is_open:
            return height
        # Its buttons are pressed for every scan: they are never cut.
        return max(height, self._case.buttons_bottom() + _heading(self.case_part, self.case_area))

    def _learning_height(self, total: int) -> int:
        unfolded = any(part.is_open for part in self._learning.parts)
        share = _UNFOLDED_SHARE if unfolded else _LEARNING_SHARE * (_BESIDE_REVIEW if self._reviewing else 1.0)
        height = self._share(self.learning_part, self.learning_area, total, share)
        return max(height, min(self._first_lines(), int(total * _LEARNING_SHARE))) if self._reviewing else height

    def _first_lines(self) -> int:
        """Return the height at which the button that starts a round is seen."""
        if not self.learning_part.is_open:
            return self.learning_part.maximumHeight()
        return self._learning.buttons_bottom() + _heading(self.learning_part, self.learning_area)

    def _wanted_by_reviews(self) -> list[int]:
        """Return the heights at which findings and pseudo-labels show every row."""
        return [
            0
            if part.isHidden()
            else self._share(part, area, 10**6, 1.0) + (table.hidden_height() if part.is_open else 0)
            for part, area, table in self._reviews
        ]

    def _review_heights(self, room: int) -> list[int]:
        """Return the heights of findings and pseudo-labels: those that are open share the *room*."""
        opened = [part.is_open and not part.isHidden() for part, *_ in self._reviews]
        folded = [0 if part.isHidden() else part.maximumHeight() for part, *_ in self._reviews]
        if not any(opened):
            return folded
        room -= sum(height for height, shown in zip(folded, opened, strict=True) if not shown)
        return [room // sum(opened) if shown else height for height, shown in zip(folded, opened, strict=True)]

    def _share(self, part: Disclosure, area: QScrollArea, total: int, share: float) -> int:
        """Return what a section wants, up to its *share*; without the worklist, and reviewing nothing, all of it."""
        wanted = _height_for(area) + _heading(part, area)
        if not (self.worklist_part.is_open or self._reviewing):
            share = 1.0
        return min(wanted, int(total * share)) if part.is_open else part.maximumHeight()


def after(parent: QObject, milliseconds: int, slot: Callable[[], None]) -> QTimer:
    """Return a timer that calls *slot* once when started, and dies with *parent* (`QTimer.singleShot` does not)."""
    timer = QTimer(parent)
    timer.setSingleShot(True)
    timer.setInterval(milliseconds)
    timer.timeout.connect(slot)
    return timer


def scrolled(content: QWidget) -> QScrollArea:
    """Return *content* in an area that scrolls up and down."""
    area = QScrollArea()
    area.setWidget(content)
    area.setWidgetResizable(True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setMinimumHeight(80)
    return area


def _heading(part: Disclosure, area: QScrollArea) -> int:
    return max(part.height() - area.height() if part.is_open else 0, 26) + 4


def _height_for(area: QScrollArea) -> int:
    """Return the height that the content needs at the area's width, with its texts wrapped."""
    content = area.widget()
    layout = content.layout()
    if layout is not None and layout.hasHeightForWidth():
        return int(layout.totalHeightForWidth(area.viewport().width()))
    return int(content.sizeHint().height())
