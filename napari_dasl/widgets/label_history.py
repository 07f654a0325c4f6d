"""The earlier labels of one case, and how to bring one back without losing any."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QDialog,
    QDialogButtonBox,
    QHeaderView,
    QLabel,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_dasl.widgets.jobs import run_in_background
from napari_dasl.widgets.snapshot import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_dasl.errors import DaslError
    from napari_dasl.project.records import Revision
    from napari_dasl.widgets.session import Session

_COLUMNS = ("#", "When", "Who", "From", "Time", "Changed", "")
_SOURCES = {
    "human": "drawn",
    "imported": "imported",
    "pseudo": "the network",
    "corrected": "a corrected prediction",
    "restored": "brought back",
}


class LabelHistoryDialog(QDialog):
    """Every label that *case_id* ever had; *Bring back* saves an old one again as the newest."""

    def __init__(self, session: Session, case_id: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(f"Labels of {case_id}")
        self.resize(620, 300)
        self.session = session
        self.case_id = case_id
        self.words = QLabel("Reading …", self)
        self.words.setWordWrap(True)
        self.table = QTableWidget(0, len(_COLUMNS), self)
        self.table.setHorizontalHeaderLabels(list(_COLUMNS))
        self.table.verticalHeader().hide()
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.table.horizontalHeader().setSectionResizeMode(3, QHeaderView.ResizeMode.Stretch)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close, self)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(self.words)
        layout.addWidget(self.table, 1)
        layout.addWidget(buttons)
        session.saved.connect(self._read)
        self._read()

    def _read(self, *_: object) -> None:
        project = self.session.project
        if project is not None:
            run_in_background(self, lambda: project.labels(self.case_id), self._show, self._say_error)

    def _show(self, revisions: Sequence[Revision]) -> None:
        self.words.setText("Nothing is ever deleted: a label that is brought back becomes the newest one.")
        self.table.setRowCount(len(revisions))
        for line, revision in enumerate(reversed(revisions)):
            texts = (
                str(revision.number),
                f"{revision.created.astimezone():%d %b %Y, %H:%M}",
                revision.author,
                _SOURCES.get(revision.source, revision.source),
                duration(revision.seconds) if revision.seconds > 0 else "",
                "" if revision.voxels_changed is None else f"{revision.voxels_changed} voxels",
            )
            for column, text in enumerate(texts):
                self.table.setItem(line, column, QTableWidgetItem(text))
            if line > 0 and revision.human:
                button = QPushButton("Bring back", self.table)
                button.clicked.connect(partial(self._restore, revision.number, revision.author))
                self.table.setCellWidget(line, len(_COLUMNS) - 1, button)

    def _restore(self, number: int, author: str, _checked: bool = False) -> None:
        project, session = self.session.project, self.session
        if project is None:
            return
        if session.case_id == self.case_id:
            session.work.restore(number)
            return
        run_in_background(
            self,
            lambda: project.restore(self.case_id, number, author),
            lambda revision: session.saved.emit(self.case_id, revision.number),
            self._say_error,
        )

    def _say_error(self, error: DaslError) -> None:
        self.words.setText(str(error))
