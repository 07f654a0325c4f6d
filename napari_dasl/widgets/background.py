"""Reading and writing of views, on a thread that nobody waits for.

The session's own work runs in :class:`napari_dasl.widgets.jobs.Jobs`, whose writers the window waits for when it
closes. What views ask for may take long on a network disk (searching a folder, hashing a hundred scans) and must never
keep a dialog or the window from closing, so it runs on daemon threads. Both put errors into the same words.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from qtpy.QtCore import QObject, Signal

from napari_dasl.errors import DaslError
from napari_dasl.widgets.jobs import run_safely

Done = Callable[[Any], object]
Failed = Callable[[DaslError], object]


class BackgroundTask(QObject):
    """One call on a thread; the callbacks come on the thread of the window, or never once *parent* is gone."""

    _returned = Signal(object, object)

    def __init__(
        self, function: Callable[[], Any], done: Done | None, failed: Failed | None, parent: QObject | None
    ) -> None:
        super().__init__(parent)
        self._function = function
        self._done = done
        self._failed = failed
        self._returned.connect(self._deliver)

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._work, name="dasl view", daemon=True).start()

    def _work(self) -> None:
        result, error = run_safely(self._function)
        with suppress(RuntimeError):  # the widget that asked was closed meanwhile
            self._returned.emit(result, error)

    def _deliver(self, result: Any, error: DaslError | None) -> None:
        self.deleteLater()
        if error is None and self._done is not None:
            self._done(result)
        elif error is not None and self._failed is not None:
            self._failed(error)


def run_in_background(
    parent: QObject, function: Callable[[], Any], done: Done | None = None, failed: Failed | None = None
) -> BackgroundTask:
    """Call *function* on a thread of its own; then *done* with its result or *failed* with its error.

    Parameters
    ----------
    parent : QObject
        Who asks; when it is destroyed first, nobody is called.
    """
    task = BackgroundTask(function, done, failed, parent)
    task.start()
    return task
