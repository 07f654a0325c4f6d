"""How cells of the worklist are drawn: the state's shape in its colour, the score as a bar, what is asked in bold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPalette
from qtpy.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem

from napari_dasl.widgets.worklist_model import ROW_ROLE, SIGNS, Column

if TYPE_CHECKING:
    from qtpy.QtCore import QModelIndex
    from qtpy.QtGui import QPixmap

    from napari_dasl.widgets.snapshot import Row

_BAR = QColor("#56B4E9")
_BAR_WIDTH = 28
_SYMBOL_WIDTH = 20


class WorklistDelegate(QStyledItemDelegate):
    """Draws the state and score columns; the others are text."""

    def initStyleOption(self, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        """Set the cases that are asked for and the open one in bold, and mark the open one with an arrow."""
        super().initStyleOption(option, index)
        source = index.model().sourceModel() if hasattr(index.model(), "sourceModel") else index.model()
        row: Row | None = index.data(ROW_ROLE)
        if row is None:
            return
        if row.asked or row.case == source.current:
            option.font.setBold(True)
        if row.case == source.current and Column(index.column()) is Column.CASE:
            option.text = f"▸ {option.text}"

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        """Draw a cell."""
        column = Column(index.column())
        row: Row | None = index.data(ROW_ROLE)
        if row is not None and column is Column.PICTURE:
            self._paint_picture(painter, option, index)
            return
        if row is None or column not in (Column.STATE, Column.SCORE):
            super().paint(painter, option, index)
            return
        styled = QStyleOptionViewItem(option)
        self.initStyleOption(styled, index)
        text, styled.text = styled.text, ""
        style = styled.widget.style() if styled.widget is not None else None
        if style is not None:
            style.drawControl(QStyle.ControlElement.CE_ItemViewItem, styled, painter, styled.widget)
        painter.save()
        painter.setFont(styled.font)
        selected = bool(styled.state & QStyle.StateFlag.State_Selected)
        role = QPalette.ColorRole.HighlightedText if selected else QPalette.ColorRole.Text
        ink = styled.palette.color(role)
        if column is Column.STATE:
            self._paint_state(painter, styled, row, text, ink, selected)
        else:
            best = index.model().sourceModel().best_score
            self._paint_score(painter, styled, row, text, ink, best)
        painter.restore()

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex) -> QSize:
        """Leave room for the symbol or the bar beside the text."""
        size = super().sizeHint(option, index)
        extra = {Column.STATE: _SYMBOL_WIDTH, Column.SCORE: _BAR_WIDTH + 6}.get(Column(index.column()), 0)
        return QSize(size.width() + extra, size.height())

    def _paint_picture(self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        """Draw the picture as large as the cell allows; nothing while it is made."""
        picture: QPixmap | None = index.data(Qt.ItemDataRole.DecorationRole)
        if option.state & QStyle.StateFlag.State_Selected:
            painter.fillRect(option.rect, option.palette.color(QPalette.ColorRole.Highlight))
        if picture is None or picture.isNull():
            return
        box = QRectF(option.rect).adjusted(1, 1, -1, -1)
        scale = min(box.width() / picture.width(), box.height() / picture.height())
        target = QRectF(0, 0, picture.width() * scale, picture.height() * scale)
        target.moveCenter(box.center())
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.drawPixmap(target, picture, QRectF(picture.rect()))
        painter.restore()

    def _paint_state(
        self, painter: QPainter, option: QStyleOptionViewItem, row: Row, text: str, ink: QColor, selected: bool
    ) -> None:
        sign = SIGNS[row.state]
        box = option.rect.adjusted(4, 0, -2, 0)
        painter.setPen(ink if selected else QColor(sign.colour))
        painter.drawText(box, int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft), sign.symbol)
        painter.setPen(ink)
        words = option.fontMetrics.elidedText(text, Qt.TextElideMode.ElideRight, max(0, box.width() - 16))
        painter.drawText(
            box.adjusted(16, 0, 0, 0), int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft), words
        )

    def _paint_score(
        self, painter: QPainter, option: QStyleOptionViewItem, row: Row, text: str, ink: QColor, best: float
    ) -> None:
        if row.score is None:
            return
        box = QRectF(option.rect).adjusted(4, 0, -4, 0)
        share = min(1.0, max(0.0, row.score / best)) if best > 0 else 0.0
        width = max(1.0, _BAR_WIDTH * share)
        height = min(9.0, box.height() - 8)
        bar = QRectF(box.left(), box.center().y() - height / 2, width, height)
        painter.fillRect(bar, _BAR)
        painter.setPen(ink)
        painter.drawText(
            box.adjusted(_BAR_WIDTH + 4, 0, 0, 0),
            int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight),
            text,
        )
