"""The dock: how far we are, what is next; under it the worklist, the case, its findings, pseudo-labels and learning."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QObject, QPoint, QSize, Qt, QTimer, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QMenu,
    QMessageBox,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QSplitter,
    QStackedWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_dasl.widgets import keys
from napari_dasl.widgets.case_panel import CaseWidget
from napari_dasl.widgets.disclosure import Disclosure
from napari_dasl.widgets.findings_panel import FindingsWidget
from napari_dasl.widgets.learning import LearningWidget
from napari_dasl.widgets.message_strip import MessageStrip
from napari_dasl.widgets.pseudo_review import PseudoReviewWidget
from napari_dasl.widgets.round_runner import runner_for
from napari_dasl.widgets.session import session_for
from napari_dasl.widgets.snapshot import Snapshot, duration, header_words, snapshots_for
from napari_dasl.widgets.start import StartPage
from napari_dasl.widgets.worklist import WorklistWidget

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari.viewer  # napari passes the viewer to a widget whose annotation reads exactly like this
    from qtpy.QtGui import QResizeEvent, QShowEvent

WIDTH, HEIGHT = 380, 640
_CLOSE_CHECK_MS = 400
_CASE_SHARE, _LEARNING_SHARE, _UNFOLDED_SHARE = 0.38, 0.26, 0.45
_LEAST_WORKLIST, _LEAST_LEARNING, _ROOM_FOR_ALL = 150, 110, 800  # pixels
_REVIEW_SHARE, _BESIDE_REVIEW = 0.4, 0.5  # while findings or pseudo-labels are reviewed, the others step back
_ABOUT = (
    "<b>napari-dasl {version}</b><br>Deep active self-paced learning for CT, PET and MRI: you label, a network learns "
    "beside you and asks for the cases that teach it most.<br><br>Research software; not a medical device."
)


class DaslDock(QWidget):
    """Everything in one dock on the right.

    Parameters
    ----------
    viewer : napari.Viewer
        The session of this viewer is shared with the single widgets of the Plugins menu.
    """

    def __init__(self, viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = session_for(viewer)
        self.keeper = snapshots_for(self.session)
        self.runner = runner_for(self.session)
        self.start_page = StartPage(self.session, self)
        self.worklist = WorklistWidget(viewer, self, with_facts=False)
        self.case = CaseWidget(viewer, self)
        self.findings = FindingsWidget(viewer, self)
        self.pseudo = PseudoReviewWidget(viewer, self)
        self.learning = LearningWidget(viewer, self)
        self._window: QWidget | None = None
        self._arranged = False
        self._folded = False
        self._findings_of: object = None
        self._newest: QWidget | None = None
        self._soon = _after(self, 30, self._arrange)
        self._into_view = _after(self, 50, self._bring_into_view)
        self._closing = _after(self, _CLOSE_CHECK_MS, self._after_close)
        self._build()
        self.keeper.updated.connect(self._refresh)
        self.findings.changed.connect(self._findings_changed)
        self.pseudo.changed.connect(self._pseudo_changed)
        self.session.project_changed.connect(self._project_changed)
        self.session.case_opened.connect(self._retitle)
        self.session.selection_changed.connect(self._retitle)
        self.runner.changed.connect(self._retitle)
        self._project_changed(self.session.project)

    def sizeHint(self) -> QSize:
        """Return the width that the table and the buttons need."""
        return QSize(WIDTH, HEIGHT)

    # -- building -------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        self.setMinimumWidth(300)
        # Without an expanding policy napari fills the rest of the dock with empty space.
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        work = QWidget(self)
        column = QVBoxLayout(work)
        column.setContentsMargins(4, 4, 4, 0)
        column.setSpacing(4)
        column.addLayout(self._build_header())
        self.strip = MessageStrip(self.session, self)
        column.addWidget(self.strip)
        column.addWidget(self._build_sections(), 1)
        self.pages = QStackedWidget(self)
        start = _scrolled(self.start_page)
        self.pages.addWidget(start)
        self.pages.addWidget(work)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.pages)

    def _build_header(self) -> QVBoxLayout:
        self.progress = QLabel(self)
        self.progress.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.progress.setStyleSheet("font-weight: bold;")
        self.next = QPushButton("Next case   N", self)
        self.next.clicked.connect(self._next)
        self.menu_button = QToolButton(self)
        self.menu_button.setText("⋯")
        self.menu_button.setToolTip("Project, folders, keys")
        self.menu_button.setAccessibleName("More")
        self.menu_button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.menu_button.setStyleSheet("QToolButton::menu-indicator { image: none; } QToolButton { padding: 2px 8px; }")
        self.menu = self._build_menu()
        self.menu_button.setMenu(self.menu)
        top = QHBoxLayout()
        top.addWidget(self.progress, 1)
        top.addWidget(self.menu_button)
        rows = QVBoxLayout()
        rows.setSpacing(4)
        rows.addLayout(top)
        rows.addWidget(self.next)
        return rows

    def _build_menu(self) -> QMenu:
        menu = QMenu(self)
        menu.addAction("Open a project…", self.start_page.choose_project)
        menu.addAction("New project from a folder…", self.start_page.new_project)
        menu.addAction("Close the project", self.session.close_project)
        menu.addSeparator()
        menu.addAction("Show the project folder", self._show_project_folder)
        self.case_folder = menu.addAction("Show the folder of this case", self._show_case_folder)
        menu.addSeparator()
        menu.addAction("Keys…", self.show_keys)
        menu.addAction("About…", self._about)
        menu.aboutToShow.connect(self._before_menu)
        return menu

    def _build_sections(self) -> QSplitter:
        self.worklist_part = Disclosure("Worklist", self.worklist, opened=True, section=True)
        self._case_area, self._learning_area = _scrolled(self.case), _scrolled(self.learning)
        self.case_part = Disclosure("This case", self._case_area, opened=True, section=True)
        self._findings_area = _scrolled(self.findings)
        self.findings_part = Disclosure("Findings", self._findings_area, section=True)
        self._pseudo_area = _scrolled(self.pseudo)
        self.pseudo_part = Disclosure("Pseudo-labels", self._pseudo_area, section=True)
        self.learning_part = Disclosure("Learning", self._learning_area, opened=True, section=True)
        self._parts = (
            self.worklist_part,
            self.case_part,
            self.findings_part,
            self.pseudo_part,
            self.learning_part,
        )
        self._reviews = ((self.findings_part, self._findings_area), (self.pseudo_part, self._pseudo_area))
        self._rest = QWidget(self)
        splitter = QSplitter(Qt.Orientation.Vertical, self)
        splitter.setChildrenCollapsible(False)
        splitter.setHandleWidth(5)
        for part, stretch in zip((*self._parts, self._rest), (4, 3, 3, 3, 3, 0), strict=True):
            splitter.addWidget(part)
            splitter.setStretchFactor(splitter.indexOf(part), stretch)
        for part in self._parts:
            part.toggled.connect(self._sections_changed)
        for part, _ in self._reviews:
            part.toggled.connect(self._make_room)
        splitter.splitterMoved.connect(self._handle_moved)
        for part in (*self.case.parts, *self.learning.parts):
            part.toggled.connect(self._unfolded)
        for content in (self.case, self.findings, self.pseudo, self.learning):
            content.installEventFilter(self)
        self.splitter = splitter
        self._findings_changed()
        self._pseudo_changed()
        self._sections_changed()
        return splitter

    def _findings_changed(self) -> None:
        """Show the section of the findings where there are any; open it in a project that is about lesions."""
        self.findings_part.set_title(self.findings.title())
        self._show_part(self.findings_part, empty=self.findings.empty)
        if not self.findings.empty and self._findings_of is not self.session.project:
            self._findings_of = self.session.project
            self.findings_part.set_open(self.findings.detects)

    def _pseudo_changed(self) -> None:
        """Show the section of the pseudo-labels while there are any."""
        self.pseudo_part.set_title(self.pseudo.title())
        self._show_part(self.pseudo_part, empty=self.pseudo.empty)

    def _show_part(self, part: Disclosure, *, empty: bool) -> None:
        if part.isHidden() != empty:
            part.setHidden(empty)
            self._sections_changed()
            self._make_room()

    def _sections_changed(self, *_: object) -> None:
        self._rest.setVisible(not any(part.is_open for part in self._parts if not part.isHidden()))
        self._arranged = False
        self._arrange()

    def _make_room(self, *_: object) -> None:
        """On a small screen one thing is reviewed at a time, and the worklist folds meanwhile and comes back after."""
        self._learning_area.verticalScrollBar().setValue(0)
        if self.splitter.height() < _ROOM_FOR_ALL and self.sender() in (self.findings_part, self.pseudo_part):
            for part, _ in self._reviews:
                if part is not self.sender() and self.sender().is_open:
                    part.set_open(False)
        if self._reviewing and self.worklist_part.is_open and self.splitter.height() < _ROOM_FOR_ALL:
            self.worklist_part.set_open(False)
            self._folded = True
        elif not self._reviewing and self._folded:
            self._folded = False
            self.worklist_part.set_open(True)

    def _handle_moved(self, *_: object) -> None:
        self._arranged = True

    def _unfolded(self, opened: bool) -> None:
        """Bring what was just unfolded into view, once it has its size."""
        self._arrange()
        part = self.sender()
        if opened and isinstance(part, QWidget):
            self._newest = part
            self._into_view.start()
        elif not opened and not any(one.is_open for one in self.learning.parts):
            self._learning_area.verticalScrollBar().setValue(0)

    def _bring_into_view(self) -> None:
        for area in (self._case_area, self._learning_area):
            if self._newest is not None and area.isAncestorOf(self._newest):
                top = self._newest.mapTo(area.widget(), QPoint(0, 0)).y()
                bar = area.verticalScrollBar()
                if top + self._newest.height() > bar.value() + area.viewport().height():
                    bar.setValue(top)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Share the height anew until somebody moved a handle; the worklist comes back where there is room."""
        super().resizeEvent(event)
        if self._folded and self.splitter.height() >= _ROOM_FOR_ALL:
            self._folded = False
            self.worklist_part.set_open(True)
        self._arrange()

    def _arrange(self) -> None:
        """Give the case what its buttons need, learning its first lines, and the worklist the rest."""
        for area in (self._case_area, self._findings_area, self._pseudo_area, self._learning_area):
            area.widget().setMinimumHeight(_height_for(area))  # Qt's own guess leaves a gap below wrapped texts
        if self._arranged:
            return
        total = self.splitter.height() - self.splitter.handleWidth() * (self.splitter.count() - 1)
        beside = _BESIDE_REVIEW if self._reviewing else 1.0
        case = self._share(self.case_part, self._case_area, total, _CASE_SHARE * beside)
        if self.case_part.is_open:  # its buttons are pressed for every scan: they are never cut
            case = max(case, self.case.buttons_bottom() + self._heading(self.case_part, self._case_area))
        unfolded = any(part.is_open for part in self.learning.parts)
        share = _UNFOLDED_SHARE if unfolded else _LEARNING_SHARE * beside
        learning = self._share(self.learning_part, self._learning_area, total, share)
        if self._reviewing:
            learning = max(learning, min(self._first_lines(), int(total * _LEARNING_SHARE)))
        spare = total - case - learning - self.worklist_part.maximumHeight() - sum(self._wanted_by_reviews())
        if self._reviewing and not self.worklist_part.is_open and spare > 0:  # tables that are full leave the rest
            more = min(spare, self._share(self.case_part, self._case_area, total, 1.0) - case)
            case += max(0, more) if self.case_part.is_open else 0
        reviews = self._review_heights(total, total - case - learning - self.worklist_part.maximumHeight())
        rest = total - case - sum(reviews)
        if self.worklist_part.is_open and self.learning_part.is_open:
            learning = min(learning, max(_LEAST_LEARNING, rest - _LEAST_WORKLIST))
        worklist = max(0, rest - learning) if self.worklist_part.is_open else 0
        self.splitter.setSizes([worklist, case, *reviews, learning, 0])

    def _first_lines(self) -> int:
        """Return the height at which the button that starts a round is seen."""
        if not self.learning_part.is_open:
            return self.learning_part.maximumHeight()
        return self.learning.buttons_bottom() + self._heading(self.learning_part, self._learning_area)

    def _wanted_by_reviews(self) -> list[int]:
        """Return the heights at which findings and pseudo-labels show every row."""
        return [
            0
            if part.isHidden()
            else self._share(part, area, 10**6, 1.0) + (table.hidden_height() if part.is_open else 0)
            for (part, area), table in zip(self._reviews, (self.findings.table, self.pseudo.table), strict=True)
        ]

    def _review_heights(self, total: int, left: int) -> list[int]:
        """Return the heights of findings and pseudo-labels: a share, or what is *left* beside a folded worklist."""
        opened = [part.is_open and not part.isHidden() for part, _ in self._reviews]
        folded = [0 if part.isHidden() else part.maximumHeight() for part, _ in self._reviews]
        if not any(opened):
            return folded
        room = int(total * _REVIEW_SHARE) if self.worklist_part.is_open else max(0, left)
        room -= sum(height for height, shown in zip(folded, opened, strict=True) if not shown)
        return [room // sum(opened) if shown else height for height, shown in zip(folded, opened, strict=True)]

    def _share(self, part: Disclosure, area: QScrollArea, total: int, share: float) -> int:
        wanted = _height_for(area) + self._heading(part, area)
        if not (self.worklist_part.is_open or self._reviewing):
            share = 1.0
        return min(wanted, int(total * share)) if part.is_open else part.maximumHeight()

    @property
    def _reviewing(self) -> bool:
        return any(part.is_open and not part.isHidden() for part, _ in self._reviews)

    def _heading(self, part: Disclosure, area: QScrollArea) -> int:
        return max(part.height() - area.height() if part.is_open else 0, 26) + 4

    # -- what is shown --------------------------------------------------------------------------------------------

    def _project_changed(self, project: object) -> None:
        self.pages.setCurrentIndex(0 if project is None else 1)
        self._refresh(self.keeper.snapshot if project is not None else None)
        self._arrange()

    def _refresh(self, snapshot: Snapshot | None) -> None:
        if snapshot is None:
            self.progress.setText("")
            self.next.setEnabled(False)
        else:
            self.progress.setText(f"{snapshot.name} · {header_words(snapshot)}")
            pace = snapshot.seconds_per_case
            self.progress.setToolTip(
                f"A case takes you {duration(pace)} (median). {snapshot.folder}" if pace else snapshot.folder
            )
            self.next.setEnabled(snapshot.to_do > 0)
        self._retitle()

    def _retitle(self, *_: object) -> None:
        snapshot = self.keeper.snapshot
        shown = self.session.selected_id or self.session.case_id
        self.worklist_part.set_title(f"Worklist · {snapshot.to_do} to label" if snapshot is not None else "Worklist")
        self.case_part.set_title(f"This case · {shown}" if shown else "This case")
        self.learning_part.set_title(self.learning.title())
        opened = self.session.case_id is not None
        self.next.setText("Next case" if opened else "Next case   N")
        kept = " without saving; your strokes are kept as a draft. N saves first." if opened else "."
        self.next.setToolTip(f"Open the next case of the list below{kept}")

    # -- what is pressed ------------------------------------------------------------------------------------------

    def _next(self) -> None:
        self.session.next_case()

    def _before_menu(self) -> None:
        self.case_folder.setEnabled(self.session.case_id is not None)

    def _show_project_folder(self) -> None:
        if self.session.project is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self.session.project.folder)))

    def _show_case_folder(self) -> None:
        if self.session.opened is not None:
            path = self.session.opened.case.reference
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(path if path.is_dir() else path.parent)))

    def show_keys(self) -> None:
        """Show the keys."""
        _message(self, "Keys", keys.help_html())

    def _about(self) -> None:
        _message(self, "About DASL", _ABOUT.format(version=version("napari-dasl")))

    # -- the window -----------------------------------------------------------------------------------------------

    def showEvent(self, event: QShowEvent) -> None:
        """Watch the main window: docks are not told when it closes (napari#8071)."""
        super().showEvent(event)
        if self._window is None and self.window() is not self:
            self._window = self.window()
            self.session.watch(self._window)
            self._window.installEventFilter(self)
            self._window.destroyed.connect(self._window_gone)

    def _window_gone(self) -> None:
        self._window = None

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """End the engine once the main window is really gone: closing it may still be refused."""
        if event.type() == QEvent.Type.LayoutRequest and watched in (
            self.case,
            self.findings,
            self.pseudo,
            self.learning,
        ):
            self._soon.start()
        elif watched is self._window and event.type() == QEvent.Type.Close:
            self._closing.start()
        return False

    def _after_close(self) -> None:
        if self._window is not None and not self._window.isVisible():
            self.runner.shutdown()


def _after(parent: QObject, milliseconds: int, slot: Callable[[], None]) -> QTimer:
    """Return a timer that calls *slot* once when started, and dies with *parent* (`QTimer.singleShot` does not)."""
    timer = QTimer(parent)
    timer.setSingleShot(True)
    timer.setInterval(milliseconds)
    timer.timeout.connect(slot)
    return timer


def _scrolled(content: QWidget) -> QScrollArea:
    area = QScrollArea()
    area.setWidget(content)
    area.setWidgetResizable(True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setMinimumHeight(80)
    return area


def _height_for(area: QScrollArea) -> int:
    """Return the height that the content needs at the area's width, with its texts wrapped."""
    content = area.widget()
    layout = content.layout()
    if layout is not None and layout.hasHeightForWidth():
        return int(layout.totalHeightForWidth(area.viewport().width()))
    return int(content.sizeHint().height())


def _message(parent: QWidget, title: str, text: str) -> None:
    box = QMessageBox(QMessageBox.Icon.NoIcon, title, text, QMessageBox.StandardButton.Close, parent)
    box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    box.setTextFormat(Qt.TextFormat.RichText)
    box.open()
