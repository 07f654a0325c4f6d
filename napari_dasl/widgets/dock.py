"""The dock: how far we are, what is next; under it the worklist, the case, its findings, pseudo-labels and learning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QObject, QSize
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSizePolicy, QStackedWidget, QVBoxLayout, QWidget

from napari_dasl.widgets.case_panel import CaseWidget
from napari_dasl.widgets.dock_menu import DockMenu
from napari_dasl.widgets.dock_sections import DockSections, after, scrolled
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
    import napari.viewer  # napari passes the viewer to a widget whose annotation reads exactly like this
    from qtpy.QtGui import QShowEvent

WIDTH, HEIGHT = 380, 640
_CLOSE_CHECK_MS = 400


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
        self.sections = DockSections(self.worklist, self.case, self.findings, self.pseudo, self.learning, self)
        self.menu = DockMenu(self.session, self.start_page, self)
        self._window: QWidget | None = None
        self._findings_of: object = None
        self._closing = after(self, _CLOSE_CHECK_MS, self._after_close)
        self._build()
        self.keeper.updated.connect(self._refresh)
        self.findings.changed.connect(self._findings_changed)
        self.pseudo.changed.connect(self._pseudo_changed)
        self.session.project_changed.connect(self._project_changed)
        self.session.case_opened.connect(self._retitle)
        self.session.selection_changed.connect(self._retitle)
        self.runner.changed.connect(self._retitle)
        self._findings_changed()
        self._pseudo_changed()
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
        column.addWidget(self.sections, 1)
        self.pages = QStackedWidget(self)
        self.pages.addWidget(scrolled(self.start_page))
        self.pages.addWidget(work)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.pages)

    def _build_header(self) -> QVBoxLayout:
        self.progress = QLabel(self)
        self.progress.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.progress.setStyleSheet("font-weight: bold;")
        self.next = QPushButton("Next case   N", self)
        self.next.clicked.connect(lambda: self.session.next_case())
        top = QHBoxLayout()
        top.addWidget(self.progress, 1)
        top.addWidget(self.menu.button())
        rows = QVBoxLayout()
        rows.setSpacing(4)
        rows.addLayout(top)
        rows.addWidget(self.next)
        return rows

    # -- what is shown --------------------------------------------------------------------------------------------

    def _project_changed(self, project: object) -> None:
        self.pages.setCurrentIndex(0 if project is None else 1)
        self._refresh(self.keeper.snapshot if project is not None else None)
        self.sections.arrange()

    def _findings_changed(self) -> None:
        """Show the section of the findings where there are any; open it in a project that is about lesions."""
        part = self.sections.findings_part
        part.set_title(self.findings.title())
        self.sections.show_part(part, shown=not self.findings.empty)
        if not self.findings.empty and self._findings_of is not self.session.project:
            self._findings_of = self.session.project
            part.set_open(self.findings.detects)

    def _pseudo_changed(self) -> None:
        """Show the section of the pseudo-labels while there are any."""
        self.sections.pseudo_part.set_title(self.pseudo.title())
        self.sections.show_part(self.sections.pseudo_part, shown=not self.pseudo.empty)

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
        to_do = f" · {snapshot.to_do} to label" if snapshot is not None else ""
        self.sections.worklist_part.set_title(f"Worklist{to_do}")
        self.sections.case_part.set_title(f"This case · {shown}" if shown else "This case")
        self.sections.learning_part.set_title(self.learning.title())
        opened = self.session.case_id is not None
        self.next.setText("Next case" if opened else "Next case   N")
        kept = " without saving; your strokes are kept as a draft. N saves first." if opened else "."
        self.next.setToolTip(f"Open the next case of the list below{kept}")

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
        if watched is self._window and event.type() == QEvent.Type.Close:
            self._closing.start()
        return False

    def _after_close(self) -> None:
        if self._window is not None and not self._window.isVisible():
            self.runner.shutdown()
