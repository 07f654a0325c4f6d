"""Work beside the window, with the answer in the window's own thread; every error is in words for the user.

There are three ways to run a :class:`Job`, and one way to hear of it:

==========================  ====================================================================================
:meth:`Jobs.read`           the session's reading, side by side; the end of the window waits for it
:meth:`Jobs.write`          the session's writing, one after the other; the end of the window waits for it
:func:`run_in_background`   what views ask for. It may take long on a network disk (searching a folder, hashing a
                            hundred scans), so neither a dialog nor the window waits for it: a daemon thread
==========================  ====================================================================================

napari's ``thread_worker`` is not used: its generator workers lose every RuntimeError, and a worker whose ``errored``
signal nobody heard ends the process under PyQt6 (see superqt ``_qthreading``).
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QCoreApplication, QEvent, QObject, QRunnable, QThreadPool, Signal, Slot

from napari_dasl.errors import DaslError, StorageError, WorkError

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)


class Job(QObject):
    """One piece of work in another thread.

    Parameters
    ----------
    work : callable
        What to do; called without arguments, in the other thread.
    done, failed : callable or None
        Called with the result or the :class:`~napari_dasl.errors.DaslError`, in the thread of the window.
    parent : QObject
        Who asks; when it is destroyed first, nobody is called.

    Notes
    -----
    ``done(result)`` and ``failed(DaslError)`` are emitted after the callbacks ran.
    """

    done = Signal(object)
    failed = Signal(object)
    delivered = Signal(object)  # this job, before its callbacks run
    _outcome = Signal(object, object)

    def __init__(
        self,
        work: Callable[[], Any],
        done: Callable[[Any], object] | None,
        failed: Callable[[DaslError], object] | None,
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._work = work
        self._then = done
        self._otherwise = failed
        self._outcome.connect(self._deliver)

    def run(self) -> None:
        """Do the work; called in the other thread."""
        result, error = run_safely(self._work)
        try:
            self._outcome.emit(result, error)
        except RuntimeError:  # the window or widget that asked is gone: nobody waits for this any more
            log.debug("a finished job had no window left to tell")

    @Slot(object, object)
    def _deliver(self, result: object, error: DaslError | None) -> None:
        then, otherwise = self._then, self._otherwise
        self._then = self._otherwise = None
        self.delivered.emit(self)
        if error is None:
            if then is not None:
                then(result)
            self.done.emit(result)
        else:
            if otherwise is not None:
                otherwise(error)
            self.failed.emit(error)
        self.deleteLater()


class _Run(QRunnable):
    """Carries a job into a thread pool."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self._job = job

    def run(self) -> None:
        """Do the work."""
        self._job.run()


def run_in_background(
    parent: QObject,
    work: Callable[[], Any],
    done: Callable[[Any], object] | None = None,
    failed: Callable[[DaslError], object] | None = None,
) -> Job:
    """Call *work* on a daemon thread of its own; then *done* with its result or *failed* with its error.

    Parameters
    ----------
    parent : QObject
        Who asks; when it is destroyed first, nobody is called.
    """
    job = Job(work, done, failed, parent)
    threading.Thread(target=job.run, name="dasl view", daemon=True).start()
    return job


def run_safely(work: Callable[[], object]) -> tuple[object, DaslError | None]:
    """Return ``(result, None)`` or ``(None, error)``; unforeseen errors are logged and put into words."""
    try:
        return work(), None
    except DaslError as error:
        return None, error
    except OSError as error:
        log.exception("disk error in a worker")
        where = f" ({error.filename})" if error.filename else ""
        return None, StorageError(
            f"The disk said: {error.strerror or error}{where}.", "Check that it is there, writable and not full."
        )
    except MemoryError:
        log.exception("out of memory in a worker")
        return None, WorkError("There is not enough memory for this scan.", "Close other programs and try again.")
    except Exception as error:
        log.exception("unforeseen error in a worker")
        return None, WorkError(
            f"Something unforeseen went wrong: {type(error).__name__}: {error}.",
            "Your labels are safe. Please report this with the log.",
        )


class Jobs(QObject):
    """Two pools: readers side by side, and one writer, so that writes of a case keep their order."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._readers = QThreadPool(self)
        self._readers.setMaxThreadCount(2)
        self._writer = QThreadPool(self)
        self._writer.setMaxThreadCount(1)
        self._running: set[Job] = set()

    def read(
        self,
        work: Callable[[], Any],
        done: Callable[[Any], object] | None = None,
        failed: Callable[[DaslError], object] | None = None,
        *,
        urgent: bool = True,
    ) -> Job:
        """Run *work* beside other readers; *urgent* work overtakes what is only read ahead."""
        return self._start(self._readers, work, done, failed, 1 if urgent else 0)

    def write(
        self,
        work: Callable[[], Any],
        done: Callable[[Any], object] | None = None,
        failed: Callable[[DaslError], object] | None = None,
    ) -> Job:
        """Run *work* after everything that was written before it."""
        return self._start(self._writer, work, done, failed, 0)

    def _start(
        self,
        pool: QThreadPool,
        work: Callable[[], Any],
        done: Callable[[Any], object] | None,
        failed: Callable[[DaslError], object] | None,
        priority: int,
    ) -> Job:
        job = Job(work, done, failed, self)
        job.delivered.connect(self._forget)
        self._running.add(job)
        pool.start(_Run(job), priority)
        return job

    def _forget(self, job: Job) -> None:
        self._running.discard(job)

    @property
    def idle(self) -> bool:
        """Whether every job was delivered."""
        return not self._running

    def wait(self, milliseconds: int = 30_000) -> bool:
        """Block until reading and writing are done and deliver their answers: for the end of a project or window."""
        written = self._writer.waitForDone(milliseconds)
        read = self._readers.waitForDone(milliseconds)
        for job in list(self._running):
            QCoreApplication.sendPostedEvents(job, QEvent.Type.MetaCall)
        return read and written
