"""How the cases are spread from easy to hard: labelled ones filled, the others hatched, a line at the selected one.

pyqtgraph is imported when the first histogram is drawn, so that opening the dock does not wait for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QBrush, QColor
from qtpy.QtWidgets import QVBoxLayout, QWidget

if TYPE_CHECKING:
    from napari_dasl.widgets.difficulty_rows import Histogram

HEIGHT, LOW = 56, 42
_INK = "#a0a0a0"
_LABELLED = "#009E73"
_WAITING = "#B0B0B0"
_HERE = "#F0E442"


class DifficultyHistogram(QWidget):
    """A small stacked histogram; easy is on the left."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self.setFixedHeight(HEIGHT)
        self._graphics: Any = None
        self._bars: list[Any] = []
        self._shown: Histogram | None = None
        self.here: float | None = None
        """Where the selected case lies; None where it has no number."""

    def show_histogram(self, shown: Histogram | None) -> None:
        """Draw *shown*; hidden where there is nothing."""
        self._shown = shown
        self.setVisible(shown is not None)
        if shown is None:
            return
        if self._graphics is None:
            self._make()
        import pyqtgraph

        for bar in self._bars:
            self._plot.removeItem(bar)
        left, right = shown.edges[:-1], shown.edges[1:]
        gap = 0.06 * float(right[0] - left[0])
        hatch = QBrush(QColor(_WAITING), Qt.BrushStyle.BDiagPattern)
        self._bars = [
            pyqtgraph.BarGraphItem(x0=left + gap, x1=right - gap, y0=0 * shown.labelled, height=shown.labelled,
                                   brush=_LABELLED, pen=_LABELLED),
            pyqtgraph.BarGraphItem(x0=left + gap, x1=right - gap, y0=shown.labelled, height=shown.unlabelled,
                                   brush=hatch, pen=_WAITING),
        ]  # fmt: skip
        for bar in self._bars:
            self._plot.addItem(bar)
        top = int((shown.labelled + shown.unlabelled).max())
        self._plot.setXRange(float(shown.edges[0]), float(shown.edges[-1]), padding=0.02)
        self._plot.setYRange(0, top * 1.08, padding=0)
        self._plot.getAxis("left").setTicks([[(0, "0"), (top, str(top))]])
        self.setToolTip(
            f"Easy cases on the left, hard ones on the right. Filled: labelled ({int(shown.labelled.sum())}). "
            f"Hatched: not labelled ({int(shown.unlabelled.sum())}). The line is the selected case. "
            f"Easiest {shown.easiest}, hardest {shown.hardest}."
        )

    def mark(self, case_id: str | None) -> None:
        """Show where the selected case lies."""
        self.here = None if self._shown is None or case_id is None else self._shown.places.get(case_id)
        if self._graphics is None:
            return
        self._line.setVisible(self.here is not None)
        if self.here is not None:
            self._line.setValue(self.here)

    def _make(self) -> None:
        import pyqtgraph

        graphics = pyqtgraph.GraphicsLayoutWidget(self)
        graphics.setBackground(None)
        graphics.ci.setContentsMargins(0, 2, 4, 0)
        plot = graphics.addPlot()
        plot.setMenuEnabled(False)
        plot.hideButtons()
        plot.setMouseEnabled(x=False, y=False)
        plot.getAxis("left").setWidth(24)
        for side in ("left", "bottom"):
            axis = plot.getAxis(side)
            axis.setPen(_INK)
            axis.setTextPen(_INK)
            axis.enableAutoSIPrefix(False)
            axis.setStyle(tickLength=-3, tickTextOffset=2)
        plot.getAxis("bottom").setStyle(showValues=False)
        plot.getAxis("bottom").setHeight(4)
        self._line = pyqtgraph.InfiniteLine(angle=90, pen=pyqtgraph.mkPen(_HERE, width=2))
        self._line.setZValue(10)
        self._line.hide()
        plot.addItem(self._line)
        self._plot = plot
        self._layout.addWidget(graphics)
        self._graphics = graphics


LEGEND = f"<span style='color:{_LABELLED}'>■</span> labelled&nbsp;&nbsp;▨ not yet"
"""What the bars mean, as rich text."""
