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
        self._destroyed = False

    def watch(self, window: QWidget | None) -> None:
        """Watch *window* from now on; None and a window already watched change nothing."""
        if window is None or window is self._window:
            return
        self.release()
        self._window = window
        self._destroyed = False
        window.installEventFilter(self)
        window.destroyed.connect(self._on_destroyed)
        self._shortcuts = keys.shortcuts(window, self._session)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Write the draft before the window closes; the event goes on."""
        if watched is self._window and event.type() == QEvent.Type.Close:
            self._closing()
        return False

    def is_open(self) -> bool:
        """Whether the window is there; True where there is none to watch."""
        return not self._destroyed and (self._window is None or self._window.isVisible())

    def _on_destroyed(self) -> None:
        self._destroyed = True
        self._forget()

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
