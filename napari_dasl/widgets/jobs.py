"""Work beside the window: reading in parallel, writing one after the other, answers in the window's own thread.

napari's ``thread_worker`` is not used: its generator workers lose every RuntimeError, and a worker whose ``errored``
signal nobody heard ends the process under PyQt6 (see superqt ``_qthreading``).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QCoreApplication, QEvent, QObject, QRunnable, QThreadPool, Signal, Slot

from napari_dasl.errors import DaslError, StorageError, WorkError

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)


class Job(QObject):
    """One piece of work in a worker thread.

    Notes
    -----
    ``done(result)`` and ``failed(DaslError)`` are emitted in the thread of the window, after the callbacks given to
    :class:`Jobs` ran.
    """

    done = Signal(object)
    failed = Signal(object)
    _outcome = Signal(object, object)

    def __init__(
        self,
        owner: Jobs,
        done: Callable[[Any], object] | None,
        failed: Callable[[DaslError], object] | None,
    ) -> None:
        super().__init__(owner)
        self._owner = owner
        self._then = done
        self._otherwise = failed
        self._outcome.connect(self._deliver)

    @Slot(object, object)
    def _deliver(self, result: object, error: DaslError | None) -> None:
        then, otherwise = self._then, self._otherwise
        self._then = self._otherwise = None
        self._owner.finished(self)
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
    """Carries a function into a thread pool and its outcome back."""

    def __init__(self, job: Job, work: Callable[[], object]) -> None:
        super().__init__()
        self._job = job
        self._work = work

    def run(self) -> None:
        """Do the work; every error leaves as a DaslError with words for the user."""
        result, error = run_safely(self._work)
        try:
            self._job._outcome.emit(result, error)
        except RuntimeError:  # the window is gone: nobody waits for this any more
            log.debug("a finished job had no window left to tell")


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
        job = Job(self, done, failed)
        self._running.add(job)
        pool.start(_Run(job, work), priority)
        return job

    def finished(self, job: Job) -> None:
        """Forget a delivered job."""
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
