"""The empty state: no project is open, so three ways to get one, and the projects opened last."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QLabel, QProgressBar, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from napari_dasl.widgets.demo_process import DemoMaker, demo_folder
from napari_dasl.widgets.jobs import run_in_background
from napari_dasl.widgets.recent import recent_projects, remember_project

if TYPE_CHECKING:
    from napari_dasl.project import Project
    from napari_dasl.project.setup import Made
    from napari_dasl.widgets.session import Session

_NAMED = 3
_WELCOME = (
    "Label scans while a network learns beside you. It proposes, you correct, "
    "and it asks for the cases that teach it most."
)


class StartPage(QWidget):
    """Three large buttons and the recent projects.

    Parameters
    ----------
    session : Session
        Opens what is chosen.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self.maker = DemoMaker(self)
        self._build()
        self.maker.progressed.connect(self._demo_says)
        self.maker.made.connect(self._demo_made)
        self.maker.failed.connect(self._demo_failed)
        session.project_changed.connect(self._project_changed)
        session.message.connect(self._say)
        self.refresh_recent()

    def _build(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 16, 16, 12)
        layout.setSpacing(8)
        welcome = QLabel(_WELCOME, self)
        welcome.setWordWrap(True)
        layout.addWidget(welcome)
        layout.addSpacing(6)
        self.demo_button = self._large("Try the demo", "Phantom scans with a first trained network; about a minute.")
        self.demo_button.clicked.connect(self._demo)
        self.new_button = self._large("New project from a folder…", "CT, PET or MR scans: NIfTI, NRRD, MHA or DICOM.")
        self.new_button.clicked.connect(self.new_project)
        self.open_button = self._large("Open a project…", "A folder with a project.toml.")
        self.open_button.clicked.connect(self.choose_project)
        for button in (self.demo_button, self.new_button, self.open_button):
            layout.addWidget(button)
        self.bar = QProgressBar(self)
        self.bar.setRange(0, 0)
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(8)
        self.bar.hide()
        self.words = QLabel(self)
        self.words.setWordWrap(True)
        self.words.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self.words.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.words.hide()
        layout.addWidget(self.bar)
        layout.addWidget(self.words)
        self.recent = QVBoxLayout()
        self.recent.setSpacing(2)
        layout.addSpacing(8)
        layout.addLayout(self.recent)
        layout.addStretch(1)

    def _large(self, text: str, tooltip: str) -> QPushButton:
        button = QPushButton(text, self)
        button.setToolTip(tooltip)
        button.setMinimumHeight(44)
        button.setStyleSheet("QPushButton { font-size: 12pt; padding: 8px; }")
        return button

    # -- recent projects ------------------------------------------------------------------------------------------

    def refresh_recent(self) -> None:
        """Look up the recent projects, off the window's thread: one may lie on a disk that sleeps."""
        run_in_background(self, recent_projects, self._show_recent)

    def _show_recent(self, folders: list[Path]) -> None:
        while self.recent.count():
            widget = self.recent.takeAt(0).widget()
            if widget is not None:
                widget.deleteLater()
        if folders:
            self.recent.addWidget(QLabel("Recent projects", self))
        for folder in folders:
            button = QPushButton(f"{folder.name}   ·   {folder.parent}", self)
            button.setToolTip(str(folder))
            button.setStyleSheet("QPushButton { text-align: left; padding: 4px 8px; }")
            button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            button.clicked.connect(partial(self._open_recent, folder))
            self.recent.addWidget(button)

    def _open_recent(self, folder: Path, _checked: bool = False) -> None:
        self.session.open_project(folder)

    def _project_changed(self, project: Project | None) -> None:
        if project is None:
            self.refresh_recent()
            return
        self.words.hide()
        folder = Path(project.folder)
        run_in_background(self, lambda: remember_project(folder))

    # -- the three buttons ----------------------------------------------------------------------------------------

    def choose_project(self) -> None:
        """Ask for a project folder and open it."""
        folder = QFileDialog.getExistingDirectory(self.window(), "Open a project: choose its folder")
        if folder:
            self.session.open_project(Path(folder))

    def new_project(self) -> None:
        """Show the dialog that makes a project."""
        from napari_dasl.widgets.new_project import NewProjectDialog

        dialog = NewProjectDialog(self.window())
        dialog.made.connect(self._project_made)
        dialog.open()

    def _project_made(self, made: Made) -> None:
        self.session.open_project(made.folder)
        if made.skipped:
            first = "; ".join(f"{path.name}: {reason.rstrip('.')}" for path, reason in made.skipped[:_NAMED])
            more = f" and {len(made.skipped) - _NAMED} more" if len(made.skipped) > _NAMED else ""
            self.session.message.emit(f"{len(made.skipped)} left out: {first}{more}.", "warning")

    def _demo(self) -> None:
        self._set_busy(True)
        self._say("Making phantom scans and a first network …", "info")
        self.maker.start(demo_folder())

    def _demo_says(self, words: str) -> None:
        self._say(words, "info")

    def _demo_made(self, folder: Path) -> None:
        self._set_busy(False)
        self.words.hide()
        self.session.open_project(folder)

    def _demo_failed(self, words: str) -> None:
        self._set_busy(False)
        self._say(words, "error")

    def _set_busy(self, busy: bool) -> None:
        self.bar.setVisible(busy)
        self.demo_button.setEnabled(not busy)

    def _say(self, words: str, severity: str) -> None:
        self.words.setText(words)
        self.words.setStyleSheet("" if severity == "info" else "color: #D55E00;")
        self.words.setVisible(bool(words))
