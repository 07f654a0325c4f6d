"""The menu behind the dock's ⋯: projects, folders, keys."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QMenu, QMessageBox, QToolButton, QWidget

from napari_dasl.widgets import keys

if TYPE_CHECKING:
    from napari_dasl.widgets.session import Session
    from napari_dasl.widgets.start import StartPage

_ABOUT = (
    "<b>napari-dasl {version}</b><br>Deep active self-paced learning for CT, PET and MRI: you label, a network learns "
    "beside you and asks for the cases that teach it most.<br><br>Research software; not a medical device."
)


class DockMenu(QMenu):
    """What is needed now and then.

    Parameters
    ----------
    session : Session
        Whose project and case the folders belong to.
    start_page : StartPage
        Whose dialogs open and make projects.
    """

    def __init__(self, session: Session, start_page: StartPage, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.addAction("Open a project…", start_page.choose_project)
        self.addAction("New project from a folder…", start_page.new_project)
        self.addAction("Close the project", session.close_project)
        self.addSeparator()
        self.addAction("Show the project folder", self._show_project_folder)
        self._case_folder = self.addAction("Show the folder of this case", self._show_case_folder)
        self.addSeparator()
        self.addAction("Keys  ?", self.show_keys)
        self.addAction("About…", self._about)
        self.aboutToShow.connect(self._before)

    def button(self) -> QToolButton:
        """Return a button that opens this menu."""
        button = QToolButton(self.parentWidget())
        button.setText("⋯")
        button.setToolTip("Project, folders, keys")
        button.setAccessibleName("More")
        button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        button.setStyleSheet("QToolButton::menu-indicator { image: none; } QToolButton { padding: 2px 8px; }")
        button.setMenu(self)
        return button

    def _before(self) -> None:
        self._case_folder.setEnabled(self._session.case_id is not None)

    def _show_project_folder(self) -> None:
        if self._session.project is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._session.project.folder)))

    def _show_case_folder(self) -> None:
        if self._session.opened is not None:
            path = self._session.opened.case.reference
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(path if path.is_dir() else path.parent)))

    def show_keys(self) -> None:
        """Show the keys."""
        keys.show(self.parentWidget())

    def _about(self) -> None:
        self._tell("About DASL", _ABOUT.format(version=version("napari-dasl")))

    def _tell(self, title: str, text: str) -> None:
        box = QMessageBox(QMessageBox.Icon.NoIcon, title, text, QMessageBox.StandardButton.Close, self.parentWidget())
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.setTextFormat(Qt.TextFormat.RichText)
        box.open()
