"""How a session takes part in napari's main window: its keys, and its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QObject

from napari_dasl.widgets import keys

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtGui import QShortcut
    from qtpy.QtWidgets import QWidget

    from napari_dasl.widgets.session import Session


class WindowLink(QObject):
    """Watches one main window for a session.

    napari sends no close event to docks (napari#8071), and its key bindings work only while the picture has the
    keyboard; this filter and these shortcuts do the rest.
    """

    def __init__(self, session: Session, closing: Callable[[], object]) -> None:
        super().__init__(session)
        self._session = session
        self._closing = closing
        self._window: QWidget | None = None
        self._shortcuts: list[QShortcut] = []

    def watch(self, window: QWidget | None) -> None:
        """Watch *window* from now on; None and a window already watched change nothing."""
        if window is None or window is self._window:
            return
        self.release()
        self._window = window
        window.installEventFilter(self)
        window.destroyed.connect(self._forget)
        self._shortcuts = keys.shortcuts(window, self._session)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Write the draft before the window closes; the event goes on."""
        if watched is self._window and event.type() == QEvent.Type.Close:
            self._closing()
        return False

    def _forget(self) -> None:
        self._window = None
        self._shortcuts = []

    def release(self) -> None:
        """Leave the window alone."""
        if self._window is not None:
            self._window.removeEventFilter(self)
            for shortcut in self._shortcuts:
                shortcut.setParent(None)
                shortcut.deleteLater()
        self._forget()
