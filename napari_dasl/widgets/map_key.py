"""The key of the uncertainty map: which colour says what, shown while the map is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QColor, QLinearGradient, QPainter
from qtpy.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QWidget

from napari_dasl.widgets.new_layers import UNSURE_LIMITS, unsure_colours

if TYPE_CHECKING:
    from qtpy.QtGui import QPaintEvent

    from napari_dasl.widgets.session import Session

_STOPS = 12
_MEANING = (
    "<qt>The map is one minus the probability of the network's answer at each voxel. Clear: it is sure. Yellow "
    f"({UNSURE_LIMITS[1]:g}): a coin toss between two answers. G shows and hides it, U jumps to the next such "
    "place.</qt>"
)


class _Strip(QWidget):
    """The colours from sure to unsure."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._stops: list[QColor] = []

    def sizeHint(self) -> QSize:
        """Return a thin bar."""
        return QSize(80, 10)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the colours that the layer uses."""
        if not self._stops:
            self._stops = _colours()
        area = QRectF(self.rect())
        gradient = QLinearGradient(area.topLeft(), area.topRight())
        for number, colour in enumerate(self._stops):
            gradient.setColorAt(number / (len(self._stops) - 1), colour)
        with QPainter(self) as painter:
            painter.fillRect(area, QColor(90, 90, 90))  # as tissue lies under the map
            painter.fillRect(area, gradient)


class MapKey(QWidget):
    """Colours of the uncertainty map and what they mean; hidden while the map is.

    Parameters
    ----------
    session : Session
        Whose layers are watched.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._board = session.layers
        self.setToolTip(_MEANING)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addWidget(QLabel("sure", self))
        layout.addWidget(_Strip(self), 1, Qt.AlignmentFlag.AlignVCenter)
        layout.addWidget(QLabel("a coin toss", self))
        session.layers.overlays_changed.connect(self.refresh)
        session.case_opened.connect(self.refresh)
        self.refresh()

    def refresh(self, *_: object) -> None:
        """Show the key while there is a map on the screen."""
        self.setVisible(self._board.looks.is_visible("uncertainty") and self._board.has_map)


def _colours() -> list[QColor]:
    colours = unsure_colours().map(np.linspace(0, 1, _STOPS, dtype=np.float32))
    return [QColor.fromRgbF(*(float(value) for value in colour)) for colour in colours]
