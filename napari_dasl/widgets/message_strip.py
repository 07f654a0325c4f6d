"""One line for what the session says: information goes by itself, warnings and errors stay until they were read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QSizePolicy, QToolButton, QWidget

if TYPE_CHECKING:
    from napari_dasl.widgets.session import Session

_COLOURS = {"info": "#56B4E9", "warning": "#E69F00", "error": "#D55E00"}
_SIGNS = {"info": "i", "warning": "!", "error": "✕"}
_INFO_MS = 8000


class MessageStrip(QFrame):
    """Shows the newest message, and what is being read while nothing else is said."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("daslMessage")
        self.severity = ""
        self._busy = ""
        self.words = QLabel(self)
        self.words.setWordWrap(True)
        self.words.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self.words.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.close_button = QToolButton(self)
        self.close_button.setText("×")
        self.close_button.setToolTip("Dismiss")
        self.close_button.setAutoRaise(True)
        self.close_button.clicked.connect(self.dismiss)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(8, 2, 2, 2)
        layout.addWidget(self.words, 1)
        layout.addWidget(self.close_button, 0, Qt.AlignmentFlag.AlignTop)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_INFO_MS)
        self._timer.timeout.connect(self.dismiss)
        session.message.connect(self.say)
        session.busy.connect(self.say_busy)
        self.hide()

    def say(self, words: str, severity: str) -> None:
        """Show *words*; an error is not pushed away by information."""
        if severity == "info" and self.severity == "error" and self.isVisibleTo(self.parentWidget()):
            return
        self.severity = severity
        self._show(f"{_SIGNS.get(severity, '')}  {words}".strip(), _COLOURS.get(severity, "#999999"))
        self.close_button.show()
        self._timer.stop()
        if severity == "info":
            self._timer.start()

    def say_busy(self, words: str) -> None:
        """Show what is being read, unless there is a message."""
        self._busy = words
        if not self.severity:
            self._idle()

    def dismiss(self) -> None:
        """Take the message away."""
        self.severity = ""
        self._idle()

    def _idle(self) -> None:
        self.close_button.hide()
        if self._busy:
            self._show(f"{self._busy} …", "#999999")
        else:
            self.hide()

    def _show(self, words: str, colour: str) -> None:
        self.words.setText(words)
        self.setStyleSheet(f"#daslMessage {{ border-left: 3px solid {colour}; }}")
        self.show()
