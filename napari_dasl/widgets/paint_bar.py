"""Which class is painted, how much of each is drawn, and how the overlays look."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QSize, Qt, QTimer
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QSlider, QToolButton, QVBoxLayout, QWidget
from superqt import QFlowLayout

from napari_dasl.widgets.case_facts import volume_words
from napari_dasl.widgets.class_colors import class_color
from napari_dasl.widgets.jobs import run_in_background
from napari_dasl.widgets.project_reading import class_volumes

if TYPE_CHECKING:
    from napari_dasl.widgets.session import Session

_MEASURE_MS = 400


class PaintBar(QWidget):
    """Chips to choose the class that is painted, each with its volume, and the looks of the overlays.

    Parameters
    ----------
    session : Session
        Whose label layer is painted.
    parent : QWidget, optional
        Qt owner.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self.chips: list[QToolButton] = []
        self._names: tuple[str, ...] = ()
        self._measuring = QTimer(self)
        self._measuring.setSingleShot(True)
        self._measuring.setInterval(_MEASURE_MS)
        self._measuring.timeout.connect(self._measure)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        self._flow = QFlowLayout()
        self._flow.setSpacing(4)
        layout.addLayout(self._flow)
        layout.addLayout(self._build_looks())
        board = session.layers
        board.painted.connect(self._measuring.start)
        board.redrawn.connect(self._measuring.start)
        board.overlays_changed.connect(self._show_looks)
        session.case_opened.connect(self._case_opened)
        session.draft_changed.connect(self._measure_soon)
        self._case_opened()

    def _build_looks(self) -> QHBoxLayout:
        board = self.session.layers
        self.overlays = QCheckBox("Overlays H")
        self.overlays.setToolTip("Show or hide label, prediction and maps")
        self.overlays.clicked.connect(lambda: board.looks.toggle_all())
        self.uncertainty = QCheckBox("Uncertainty G")
        self.uncertainty.setToolTip("Show where the network is unsure; U jumps to the next such place")
        self.uncertainty.clicked.connect(lambda: board.looks.toggle("uncertainty"))
        self.outline = QCheckBox("Outline")
        self.outline.setToolTip("Draw the label as an outline, or filled")
        self.outline.clicked.connect(board.looks.set_outline)
        self.opacity = QSlider(Qt.Orientation.Horizontal)
        self.opacity.setRange(5, 100)
        self.opacity.setToolTip("Opacity of label and prediction")
        self.opacity.setMinimumWidth(40)
        self.opacity.valueChanged.connect(lambda value: board.looks.set_opacity(value / 100))
        line = QHBoxLayout()
        line.setSpacing(6)
        for widget in (self.overlays, self.uncertainty, self.outline, self.opacity):
            widget.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            line.addWidget(widget)
        return line

    def _case_opened(self, *_: object) -> None:
        names = self.session.layers.classes
        if names != self._names or not self.chips:
            self._make_chips(names)
        self._show_looks()
        self._measure_soon()

    def _make_chips(self, names: tuple[str, ...]) -> None:
        self._names = names
        for chip in self.chips:
            self._flow.removeWidget(chip)
            chip.deleteLater()
        self.chips = []
        for number, name in enumerate(names, 1):
            chip = QToolButton(self)
            chip.setCheckable(True)
            chip.setText(name)
            chip.setIcon(_square(class_color(number)))
            chip.setIconSize(QSize(11, 11))
            chip.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
            chip.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            chip.setToolTip(f"Begin another {name}" if self.session.layers.numbered else f"Paint {name}")
            chip.setStyleSheet(
                "QToolButton { padding: 2px 5px; border: 1px solid transparent; border-radius: 4px; }"
                f"QToolButton:checked {{ border-color: {class_color(number)}; }}"
            )
            chip.clicked.connect(partial(self._choose, number))
            self._flow.addWidget(chip)
            self.chips.append(chip)

    def _choose(self, number: int, _checked: bool = False) -> None:
        board = self.session.layers
        if board.numbered:  # the next lesion that is drawn is another one
            number = int(board.label.view().max(initial=0)) + 1
        board.label.paint_with(number)
        self._show_looks()

    def _show_looks(self) -> None:
        board = self.session.layers
        for number, chip in enumerate(self.chips, 1):
            chip.setChecked(board.numbered or board.label.paint_class == number)
        self.overlays.setChecked(board.looks.is_visible("label") or board.looks.is_visible("prediction"))
        self.uncertainty.setChecked(board.looks.is_visible("uncertainty"))
        self.outline.setChecked(board.looks.outline)
        self.opacity.blockSignals(True)
        self.opacity.setValue(round(board.looks.opacity * 100))
        self.opacity.blockSignals(False)

    def _measure_soon(self, *_: object) -> None:
        self._measuring.start()

    def _measure(self) -> None:
        session, opened = self.session, self.session.opened
        if opened is None:
            return
        case_id, mask = opened.case.id, session.layers.label.view()
        spacing, count = opened.picture.channels[0].spacing, len(self._names)
        numbered = session.layers.numbered

        def measure() -> list[str]:
            highest = int(mask.max(initial=0)) if numbered else count
            volumes = class_volumes(mask, highest, spacing)
            if not numbered:
                return [volume_words(volume) for volume in volumes]
            lesions = sum(volume > 0 for volume in volumes)
            return [f"× {lesions}  {volume_words(sum(volumes))}" if lesions else volume_words(0)]

        def show(texts: list[str]) -> None:
            if session.case_id == case_id:
                for chip, name, text in zip(self.chips, self._names, texts, strict=False):
                    chip.setText(f"{name}  {text}")

        run_in_background(self, measure, show, lambda _: None)


def _square(color: str) -> QIcon:
    picture = QPixmap(11, 11)
    picture.fill(QColor(color))
    return QIcon(picture)
