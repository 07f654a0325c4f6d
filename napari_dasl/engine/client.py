"""A client of the engine for the command line and tests: it starts the child, asks, listens, and notices its death.

The window has a client of its own on ``QProcess``; both speak :mod:`~napari_dasl.engine.messages` and explain a death
with :mod:`~napari_dasl.engine.death`. ::

    with EngineProcess.start() as engine:
        result = engine.run_round("my-study", RoundPlan(minutes=5), on_event=print)
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil

from napari_dasl import errors
from napari_dasl.engine import messages as wire
from napari_dasl.engine.death import cannot_start, default_command, died
from napari_dasl.events import Log, Report, silent
from napari_dasl.rounds.plan import RoundPlan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

START_SECONDS = 120.0
ANSWER_SECONDS = 30.0
SILENCE_SECONDS = 30.0
STDERR_LINES = 200
_POLL = 0.2


class EngineProcess:
    """A running engine; make one with :meth:`start`.

    Threads may share it: answers and job notifications find whoever waits for them.

    Attributes
    ----------
    info : Initialized
        What the engine said of itself.
    heartbeat : Heartbeat or None
        The last heartbeat.
    """

    info: wire.Initialized

    def __init__(self, command: Sequence[str] | None = None, *, log: Callable[[str], None] | None = None) -> None:
        self.command = default_command(command)
        self.heartbeat: wire.Heartbeat | None = None
        self._log = log
        self._stderr: collections.deque[str] = collections.deque(maxlen=STDERR_LINES)
        self._ids = itertools.count(1)
        self._boxes: dict[tuple[str, int], queue.SimpleQueue[Any]] = {}
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._job: int | None = None
        self._heard = time.monotonic()
        # A process group of its own: Ctrl-C in the terminal must reach the client alone, which then cancels.
        apart: dict[str, Any] = (
            {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
            if sys.platform == "win32"
            else {"start_new_session": True}
        )
        pipe = subprocess.PIPE
        try:
            self._process = subprocess.Popen(self.command, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0, **apart)
        except (OSError, ValueError) as problem:
            raise cannot_start(self.command, getattr(problem, "strerror", None) or str(problem)) from problem
        self._readers = [
            threading.Thread(target=work, name=name, daemon=True)
            for work, name in ((self._read_messages, "engine messages"), (self._read_stderr, "engine log"))
        ]
        for reader in self._readers:
            reader.start()

    @classmethod
    def start(cls, command: Sequence[str] | None = None, *, log: Callable[[str], None] | None = None) -> Self:
        """Start an engine and wait until it has said who it is.

        Parameters
        ----------
        command : sequence of str, optional
            The full command, such as ``("ssh", "gpu-box", "napari-dasl", "engine")``; this Python's by default.
        log : callable, optional
            Gets every line of the engine's standard error.

        Raises
        ------
        EngineError
            If it cannot be started, dies, speaks another protocol, or has no torch.
        """
        engine = cls(command, log=log)
        try:
            engine.info = wire.Initialized.model_validate(engine.request(wire.Initialize(), START_SECONDS))
        except BaseException:
            engine.kill()
            raise
        return engine

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Process id of the engine here; of ``ssh`` where it runs elsewhere."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    @property
    def stderr(self) -> list[str]:
        """The last lines of the engine's standard error."""
        return list(self._stderr)

    # Asking ----------------------------------------------------------------------------------------------------------

    def request(self, params: wire.RequestParams, timeout: float = ANSWER_SECONDS) -> dict[str, Any]:
        """Ask, and return the result; a failure is raised as the error that the engine met."""
        number = next(self._ids)
        box = self._box("answer", number)
        self._send(wire.encode(wire.Request(number, params)))
        answer = self._take(box, timeout)
        with self._lock:
            self._boxes.pop(("answer", number), None)
        if isinstance(answer, wire.Failure):
            raise answer.to_error()
        return dict(answer.result)

    def run_round(
        self, project: str | Path, plan: RoundPlan | None = None, on_event: Report = silent
    ) -> dict[str, Any]:
        """Run one round and return its result with the keys of ``napari-dasl round --json``."""
        return self.run_job(wire.RoundStart(project=_full(project), plan=plan or RoundPlan()), on_event)

    def resume_round(self, project: str | Path, on_event: Report = silent) -> dict[str, Any]:
        """Go on with the round that was cancelled or interrupted, and return its result."""
        return self.run_job(wire.RoundResume(project=_full(project)), on_event)

    def run_predict(
        self,
        project: str | Path,
        cases: Sequence[str] | None = None,
        *,
        all: bool = False,
        device: str = "auto",
        strategy: str | None = None,
        on_event: Report = silent,
    ) -> dict[str, Any]:
        """Predict *cases*, the pool when it is None, or every case with *all*, for a ranking *strategy*."""
        named = None if cases is None else tuple(cases)
        params = wire.PredictStart(project=_full(project), cases=named, all=all, device=device, strategy=strategy)
        return self.run_job(params, on_event)

    def run_rank(self, project: str | Path, on_event: Report = silent) -> dict[str, Any]:
        """Rank the predicted cases anew."""
        return self.run_job(wire.RankStart(project=_full(project)), on_event)

    def run_job(self, params: wire.RequestParams, on_event: Report = silent) -> dict[str, Any]:
        """Start a job, hand its events to *on_event* in this thread, and return its result.

        The first Ctrl-C cancels the job and waits until its state is saved; the second kills the engine.

        Raises
        ------
        Cancelled
            If the job was cancelled.
        DaslError
            What the engine met; ``retry`` holds the fields of a plan that may work, or None.
        EngineError
            If the engine dies or falls silent.
        """
        job = wire.JobStarted.model_validate(self.request(params)).job
        self._job = job
        try:
            return self._wait(job, on_event)
        finally:
            self._job = None
            with self._lock:
                self._boxes.pop(("job", job), None)

    def _wait(self, job: int, on_event: Report) -> dict[str, Any]:
        box, asked = self._box("job", job), False
        while True:
            try:
                told = self._take(box, None)
                if isinstance(told, wire.JobEvent):
                    on_event(told.event)
                    continue
            except KeyboardInterrupt:
                if asked:
                    self.kill()
                    raise errors.Cancelled(
                        "The work was stopped at once.", "Go on from the last saved state with --resume."
                    ) from None
                asked = True
                self.cancel()
                on_event(
                    Log(text="Stopping at the next step and saving the state. Press Ctrl-C again to stop at once.")
                )
                continue
            return _outcome(told)

    def cancel(self) -> None:
        """Ask the running job to stop at its next step with its state saved; may be called from any thread."""
        with contextlib.suppress(errors.EngineError):
            self._send(wire.encode(wire.Request(next(self._ids), wire.JobCancel())))

    def close(self, timeout: float = 25.0) -> None:
        """End the engine: a running job is cancelled and saved; what does not end in *timeout* seconds is killed."""
        if self.alive:
            with contextlib.suppress(errors.EngineError):
                self._send(wire.encode(wire.Request(next(self._ids), wire.Shutdown())))
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout)
        self.kill()

    def kill(self) -> None:
        """End the engine and its own children at once."""
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(self._process.pid).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    child.kill()
        with contextlib.suppress(OSError):
            self._process.kill()
        self._process.wait()
        for reader in self._readers:
            reader.join(timeout=2.0)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    # Listening -------------------------------------------------------------------------------------------------------

    def _box(self, kind: str, number: int) -> queue.SimpleQueue[Any]:
        with self._lock:
            return self._boxes.setdefault((kind, number), queue.SimpleQueue())

    def _send(self, data: bytes) -> None:
        pipe = self._process.stdin
        try:
            if pipe is None or pipe.closed:
                raise self._died()
            with self._writing:
                pipe.write(data)
        except (OSError, ValueError) as problem:
            raise self._died() from problem

    def _take(self, box: queue.SimpleQueue[Any], timeout: float | None) -> Any:
        """Return the next thing in *box*, or raise what became of the engine."""
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            # Short waits: Windows lets Ctrl-C through only between two of them, and a death is noticed soon.
            with contextlib.suppress(queue.Empty):
                return box.get(timeout=_POLL)
            if not self.alive or not self._readers[0].is_alive():
                self._readers[0].join(timeout=2.0)
                with contextlib.suppress(queue.Empty):
                    return box.get_nowait()
                raise self._died()
            now = time.monotonic()
            if now - self._heard > SILENCE_SECONDS or (end is not None and now > end):
                waited = max(now - self._heard, timeout or 0)
                self.kill()
                raise errors.EngineError(
                    f"The training process gave no answer for {waited:.0f} seconds and was ended.",
                    "Your labels are safe; run the round again with --resume.",
                )

    def _died(self) -> errors.EngineError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=2.0)
        self._readers[1].join(timeout=1.0)
        return died(self._process.poll(), self.stderr, self.command)

    def _read_messages(self) -> None:
        lines, pipe = wire.LineBuffer(), self._process.stdout
        assert pipe is not None
        with contextlib.suppress(OSError, ValueError):
            while chunk := pipe.read(65536):
                self._heard = time.monotonic()
                for line in lines.feed(chunk):
                    self._hear(line)

    def _hear(self, line: bytes) -> None:
        try:
            message = wire.decode(line)
        except wire.MessageError as problem:
            # A greeting of a remote shell, or a newer engine: worth a line in the log, not the end of a round.
            self._stderr.append(str(problem))
            return
        if isinstance(message, wire.Response | wire.Failure):
            if message.id is not None:
                self._box("answer", message.id).put(message)
        elif isinstance(message, wire.Notification):
            if isinstance(message.params, wire.Heartbeat):
                self.heartbeat = message.params
            else:
                self._box("job", message.params.job).put(message.params)

    def _read_stderr(self) -> None:
        lines, pipe = wire.LineBuffer(), self._process.stderr
        assert pipe is not None
        with contextlib.suppress(OSError, ValueError):
            while chunk := pipe.read(65536):
                for line in lines.feed(chunk):
                    text = line.decode(errors="replace").rstrip()
                    self._stderr.append(text)
                    if self._log is not None:
                        self._log(text)


def _full(project: str | Path) -> str:
    return str(Path(project).absolute())


def _outcome(told: wire.JobFinished | wire.JobFailed | wire.JobCancelled) -> dict[str, Any]:
    """Return the result of a finished job, and raise the error of any other."""
    match told:
        case wire.JobFinished(result=result):
            return result
        case wire.JobCancelled(message=message):
            raise errors.Cancelled(message)
        case wire.JobFailed(kind=kind, message=message, hint=hint, retry=retry):
            error = wire.to_error(kind, message, hint)
            error.retry = retry  # type: ignore[attr-defined]
            raise error
