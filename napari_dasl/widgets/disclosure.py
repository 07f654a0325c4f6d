"""A heading with an arrow that shows and hides what is under it."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QSizePolicy, QToolButton, QVBoxLayout, QWidget

_UNLIMITED = 16777215  # Qt's QWIDGETSIZE_MAX, which no binding exports


class Disclosure(QWidget):
    """A collapsible part of a panel.

    Parameters
    ----------
    title : str
        The heading; change it later with `set_title`.
    content : QWidget
        Shown while the arrow points down.
    section : bool
        Whether this is a part of a splitter, with a bold heading, that gives its height back when closed.
    """

    toggled = Signal(bool)

    def __init__(
        self,
        title: str,
        content: QWidget,
        *,
        opened: bool = False,
        section: bool = False,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.content = content
        self._section = section
        self._button = QToolButton(self)
        self._button.setText(title)
        self._button.setCheckable(True)
        self._button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._button.setAutoRaise(True)
        weight = "font-weight: bold;" if section else ""
        self._button.setStyleSheet(f"QToolButton {{ border: none; text-align: left; {weight} padding: 3px 2px; }}")
        self._button.toggled.connect(self._show)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self._button)
        layout.addWidget(content, 1)
        self.set_open(opened)
        self._show(opened)

    @property
    def is_open(self) -> bool:
        """Whether the content shows."""
        return self._button.isChecked()

    def set_open(self, opened: bool) -> None:
        """Show or hide the content."""
        self._button.setChecked(opened)

    def set_title(self, title: str) -> None:
        """Change the heading."""
        self._button.setText(title)

    def title(self) -> str:
        """Return the heading."""
        return self._button.text()

    def _show(self, opened: bool) -> None:
        self._button.setArrowType(Qt.ArrowType.DownArrow if opened else Qt.ArrowType.RightArrow)
        self.content.setVisible(opened)
        if self._section:
            self.setMaximumHeight(_UNLIMITED if opened else self._button.sizeHint().height() + 2)
        self.toggled.emit(opened)
