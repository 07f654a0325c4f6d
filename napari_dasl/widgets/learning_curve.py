"""The live curves of a round: the loss, and the Dice on the guard set below it.

pyqtgraph is imported when the first point is drawn, so that opening the dock does not wait for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QVBoxLayout, QWidget

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LOSS_COLOUR = "#56B4E9"
_GUARD_COLOUR = "#CC79A7"
_INK = "#a0a0a0"
_REDRAW_MS = 250
_SMOOTH = 0.1
LOSS, GUARD = "loss", "guard_dice"


def smoothed(points: Sequence[tuple[int, float]], weight: float = _SMOOTH) -> list[float]:
    """Return the exponential moving average of a curve, unbiased at its start (Adam's correction)."""
    mean, scale, result = 0.0, 0.0, []
    for _, value in points:
        mean += weight * (value - mean)
        scale += weight * (1 - scale)
        result.append(mean / scale)
    return result


class LearningCurve(QWidget):
    """Two small plots over the same steps; hidden until there is a point."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._graphics: Any = None
        self._curves: dict[str, list[tuple[int, float]]] = {}
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_REDRAW_MS)
        self._timer.timeout.connect(self._redraw)
        self.hide()

    def show_curves(self, curves: Mapping[str, Sequence[tuple[int, float]]]) -> None:
        """Draw *curves* soon: name -> (step, value) points."""
        self._curves = {name: list(points) for name, points in curves.items() if points}
        if not self._curves:
            self.hide()
            self._timer.stop()
        elif not self._timer.isActive():
            self._timer.start()

    def _make(self) -> None:
        import pyqtgraph

        graphics = pyqtgraph.GraphicsLayoutWidget(self)
        graphics.setBackground(None)
        graphics.setFixedHeight(150)
        graphics.ci.setContentsMargins(0, 0, 6, 0)
        graphics.ci.layout.setSpacing(0)
        self._loss_plot = self._add_plot(graphics, 0, "loss")
        self._guard_plot = self._add_plot(graphics, 1, "guard Dice")
        self._guard_plot.setXLink(self._loss_plot)
        self._raw_line = self._loss_plot.plot(pen=pyqtgraph.mkPen(_LOSS_COLOUR + "50", width=1))
        self._loss_line = self._loss_plot.plot(pen=pyqtgraph.mkPen(_LOSS_COLOUR, width=2))
        self._guard_line = self._guard_plot.plot(
            pen=pyqtgraph.mkPen(_GUARD_COLOUR, width=2),
            symbol="d",
            symbolSize=7,
            symbolBrush=_GUARD_COLOUR,
            symbolPen=None,
        )
        self._layout.addWidget(graphics)
        self._graphics = graphics

    def _add_plot(self, graphics: Any, line: int, title: str) -> Any:
        plot = graphics.addPlot(row=line, col=0)
        plot.setMenuEnabled(False)
        plot.hideButtons()
        plot.setMouseEnabled(x=False, y=False)
        plot.showGrid(x=False, y=True, alpha=0.15)
        axis = plot.getAxis("left")
        axis.setWidth(46)
        plot.setLabel("left", title, color=_INK)
        for side in ("left", "bottom"):
            plot.getAxis(side).setPen(_INK)
            plot.getAxis(side).setTextPen(_INK)
            plot.getAxis(side).enableAutoSIPrefix(False)
        plot.getAxis("bottom").setStyle(showValues=line == 1)
        return plot

    def _redraw(self) -> None:
        if not self._curves:
            return
        if self._graphics is None:
            self._make()
        loss = self._curves.get(LOSS, [])
        guard = self._curves.get(GUARD, [])
        steps = [step for step, _ in loss]
        self._raw_line.setData(steps, [value for _, value in loss])
        self._loss_line.setData(steps, smoothed(loss))
        self._guard_line.setData([step for step, _ in guard], [value for _, value in guard])
        self._guard_plot.setVisible(bool(guard))
        self._loss_plot.getAxis("bottom").setStyle(showValues=not guard)
        self.setToolTip(_words(loss, guard))
        self.show()


def _words(loss: Sequence[tuple[int, float]], guard: Sequence[tuple[int, float]]) -> str:
    parts = ["Faint: each step. Bold: its running mean. A falling loss means the network still learns."]
    if loss:
        parts.append(f"Loss {smoothed(loss)[-1]:.3f} at step {loss[-1][0]}.")
    if guard:
        parts.append(f"Guard Dice {guard[-1][1]:.3f} at step {guard[-1][0]}.")
    return " ".join(parts)
