"""The keys of a labelling session: free in napari 0.9, for the picture and for our docks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QApplication, QMessageBox

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtWidgets import QWidget

    from napari_dasl.widgets.session import Session

HELP = (
    ("N", "Save and go to the next case"),
    ("Q", "Save"),
    ("K", "Accept the prediction: copy it into the label"),
    ("J", "Previous case"),
    ("H", "Hide or show all overlays"),
    ("G", "Show or hide the uncertainty map"),
    ("U", "Jump to the next uncertain region"),
    ("W", "Next grey-value window"),
)
"""Key and what it does, in the words of the window."""

TABLE_HELP = (
    ("A R E", "In the tables of findings and pseudo-labels: accept, reject, edit"),
    ("Z", "In the table of findings: undo what was decided about one"),
)
"""The keys of the tables, while one has the keyboard."""

NAPARI_HELP = (
    ("1 2 3 4", "Eraser, brush, polygon, fill (napari's own)"),
    ("[ ]", "Smaller, larger brush"),
    ("Ctrl+Z", "Undo; it never reaches into another case"),
    ("Space", "Hold to move the picture while painting"),
)
"""The napari keys that labelling needs most."""


def actions(session: Session) -> dict[str, Callable[[], object]]:
    """Return what each key of :data:`HELP` does."""
    return {
        "N": session.work.save_and_next,
        "Q": session.work.save,
        "K": session.work.accept,
        "J": session.previous_case,
        "H": session.layers.looks.toggle_all,
        "G": lambda: session.layers.looks.toggle("uncertainty"),
        "U": session.next_region,
        "W": session.layers.next_window,
    }


def bind(viewer: Any, session: Session) -> None:
    """Bind the keys for when the picture has the keyboard (the manifest's key bindings are ignored by napari)."""
    for key, action in actions(session).items():
        viewer.bind_key(key, _ignoring_viewer(action), overwrite=True)


def unbind(viewer: Any) -> None:
    """Give the keys back."""
    for key, _ in HELP:
        viewer.bind_key(key, None, overwrite=True)


def shortcuts(window: QWidget, session: Session) -> list[QShortcut]:
    """Make the keys work wherever the keyboard is in *window*, and ``?`` list them; text fields get their letters."""
    made = []
    for key, action in (actions(session) | {"?": show}).items():
        shortcut = QShortcut(QKeySequence(key), window)
        shortcut.setContext(Qt.ShortcutContext.WindowShortcut)
        shortcut.setAutoRepeat(False)
        shortcut.activated.connect(action)
        made.append(shortcut)
    return made


def show(parent: QWidget | None = None) -> None:
    """Open the list of keys over *parent*, or over the active window, in which ``?`` was pressed."""
    close = QMessageBox.StandardButton.Close
    box = QMessageBox(QMessageBox.Icon.NoIcon, "Keys", help_html(), close, parent or QApplication.activeWindow())
    box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    box.setTextFormat(Qt.TextFormat.RichText)
    box.open()


def help_html() -> str:
    """Return the list of keys as a table."""
    rows = "".join(
        f"<tr><td><b>{key}</b>&nbsp;&nbsp;</td><td>{words}</td></tr>" for key, words in HELP + TABLE_HELP + NAPARI_HELP
    )
    return f"<table cellpadding='2'>{rows}</table>"


def _ignoring_viewer(action: Callable[[], object]) -> Callable[[Any], None]:
    def press(viewer: Any) -> None:
        action()

    return press
