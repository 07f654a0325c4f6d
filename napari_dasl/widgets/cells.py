"""Cells of our tables: a value as a bar with its number, a state with its shape and colour."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QRectF, Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem

if TYPE_CHECKING:
    from qtpy.QtCore import QModelIndex
    from qtpy.QtGui import QPainter

    from napari_dasl.widgets.worklist_model import StateSign

SIGN_WIDTH = 18
_MIDDLE_LEFT = int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft)


def begin_cell(
    delegate: QStyledItemDelegate, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex
) -> tuple[QStyleOptionViewItem, str]:
    """Draw the background of a cell; return its style and the text that was left out.

    Call ``painter.save()`` before and ``painter.restore()`` after what is drawn into it.
    """
    styled = QStyleOptionViewItem(option)
    delegate.initStyleOption(styled, index)
    text, styled.text = styled.text, ""
    if styled.widget is not None:
        styled.widget.style().drawControl(QStyle.ControlElement.CE_ItemViewItem, styled, painter, styled.widget)
    painter.setFont(styled.font)
    return styled, text


def paint_bar(
    painter: QPainter, option: QStyleOptionViewItem, share: float, colour: str, text: str, width: float
) -> None:
    """Draw a bar *width* pixels long, filled to *share* (0 to 1) with *colour*, and *text* after it."""
    box = QRectF(option.rect).adjusted(4, 0, -4, 0)
    height = min(9.0, box.height() - 8)
    track = QRectF(box.left(), box.center().y() - height / 2, width, height)
    painter.fillRect(track, QColor(128, 128, 128, 60))
    filled = QRectF(track.left(), track.top(), max(1.0, width * min(1.0, share)), height)
    painter.fillRect(filled, QColor(colour))
    painter.setPen(option.palette.color(option.palette.ColorRole.Text))
    painter.drawText(box.adjusted(width + 5, 0, 0, 0), _MIDDLE_LEFT, text)


def paint_sign(painter: QPainter, option: QStyleOptionViewItem, sign: StateSign, text: str) -> None:
    """Draw the shape of *sign* in its colour, and *text* after it, cut where the cell ends."""
    box = option.rect.adjusted(4, 0, -2, 0)
    painter.setPen(QColor(sign.colour))
    painter.drawText(box, _MIDDLE_LEFT, sign.symbol)
    painter.setPen(option.palette.color(option.palette.ColorRole.Text))
    words = option.fontMetrics.elidedText(text, Qt.TextElideMode.ElideRight, max(0, box.width() - 16))
    painter.drawText(box.adjusted(16, 0, 0, 0), _MIDDLE_LEFT, words)
