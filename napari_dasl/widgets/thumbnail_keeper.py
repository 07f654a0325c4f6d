"""Pictures of cases for the list: made one at a time on another thread, the lines on the screen first."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QObject, Signal
from qtpy.QtGui import QImage, QPixmap

from napari_dasl.widgets.jobs import run_in_background
from napari_dasl.widgets.thumbnails import read_thumbnail

if TYPE_CHECKING:
    from napari_dasl.errors import DaslError
    from napari_dasl.widgets.session import Session
    from napari_dasl.widgets.snapshot import Row

_KEPT = 600
_WAITING = 40
"""Longest queue: what was scrolled past is asked for again when it is seen again."""


class ThumbnailKeeper(QObject):
    """Keeps the pictures of the session's project.

    Notes
    -----
    Signal: ``ready(case id)`` when a picture was made or made anew.
    """

    ready = Signal(str)

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent or session)
        self.session = session
        self._kept: OrderedDict[str, tuple[int, QPixmap | None]] = OrderedDict()
        self._queue: list[tuple[str, bool]] = []
        self._working: str | None = None
        self._age = 0
        self._project = 0
        session.project_changed.connect(self._forget)
        session.cases_changed.connect(self._outdate)
        session.saved.connect(self._outdate)

    def pixmap(self, row: Row) -> QPixmap | None:
        """Return the picture of a case; None while there is none, and the older one while a newer one is made."""
        age, picture = self._kept.get(row.case, (-1, None))
        if age != self._age:
            self._ask(row)
        elif row.case in self._kept:
            self._kept.move_to_end(row.case)
        return picture

    def _ask(self, row: Row) -> None:
        wanted = (row.case, row.blind)
        if row.case == self._working or wanted in self._queue or not row.readable:
            return
        self._queue.append(wanted)
        del self._queue[:-_WAITING]
        self._next()

    def _next(self) -> None:
        project = self.session.project
        if self._working is not None or project is None or not self._queue:
            return
        case_id, blind = self._queue.pop()  # the newest wish is what is on the screen now
        self._working = case_id
        age, turn = self._age, self._project

        def arrived(picture: np.ndarray | None) -> None:
            if turn != self._project:
                return
            self._working = None
            before = self._kept.get(case_id, (-1, None))[1]
            self._kept[case_id] = (age, _pixmap(picture) if picture is not None else before)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
            self.ready.emit(case_id)
            self._next()

        def failed(_: DaslError) -> None:  # the case itself says what is wrong with it
            arrived(None)

        run_in_background(self, lambda: read_thumbnail(project, project.case(case_id), blind=blind), arrived, failed)

    def _outdate(self, *_: object) -> None:
        self._age += 1

    def _forget(self, *_: object) -> None:
        self._project += 1
        self._age += 1
        self._kept.clear()
        self._queue.clear()
        self._working = None


def _pixmap(picture: np.ndarray) -> QPixmap:
    rows, columns = picture.shape[:2]
    data = np.ascontiguousarray(picture)
    image = QImage(data.data, columns, rows, 3 * columns, QImage.Format.Format_RGB888)
    return QPixmap.fromImage(image.copy())
