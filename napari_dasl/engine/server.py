"""The engine: a child process that reads requests from standard input, runs one job at a time, tells what happens.

Four threads share the work. The main thread runs jobs, because torch and signal handlers live there. One reads
requests, so that a cancel is heard while a job runs. One sends a heartbeat and looks whether the parent still lives.
The last, made when the end is near, ends the process for certain.

Nobody wants an orphan that keeps a graphics card busy. When standard input closes, the parent dies, or SIGTERM comes,
the running job is cancelled, has :data:`GRACE_SECONDS` to save its state, and then the process ends, whatever it does.

Standard output belongs to the protocol: it is moved to a private descriptor, and whatever libraries print goes to
standard error, so that it cannot corrupt a message.
"""

from __future__ import annotations

import contextlib
import faulthandler
import math
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import psutil

from napari_dasl import __version__, errors
from napari_dasl.engine import jobs as real_jobs
from napari_dasl.engine import messages as wire
from napari_dasl.engine.memory import is_out_of_memory
from napari_dasl.events import CancelCheck, Log, Phase, Report

GRACE_SECONDS = 2.0
SHUTDOWN_SECONDS = 20.0
POLL_SECONDS = 0.25

Job = Callable[[Any, Report, CancelCheck], dict[str, Any]]


def serve(jobs: Mapping[str, Job] | None = None, device: Callable[[], str] | None = None) -> int:
    """Serve standard input and output until the client is gone, and return the exit code.

    Parameters
    ----------
    jobs : mapping of str to callable, optional
        What ``round.start``, ``round.resume``, ``predict.start`` and ``rank.start`` do:
        ``(params, report, cancelled) -> result``. The default is :data:`napari_dasl.engine.jobs.JOBS`.
    device : callable, optional
        Names the device that ``auto`` means here; the default imports torch and asks it.
    """
    faulthandler.enable(sys.stderr)
    inbox, outbox = _private_streams()
    server = Server(outbox, real_jobs.JOBS if jobs is None else jobs, device or real_jobs.device)
    _hear_signals(server)
    _yield_to_the_window()
    for work, name in ((lambda: server.listen(inbox), "requests"), (server.beat, "heartbeat")):
        threading.Thread(target=work, name=name, daemon=True).start()
    return server.work()


def main() -> int:
    """Serve the real jobs: what ``napari-dasl engine`` and ``python -m napari_dasl.engine`` do."""
    return serve()


def _private_streams() -> tuple[int, int]:
    """Take standard input and output away from everything else in this process; return descriptors that are ours."""
    inbox, outbox = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    sys.stdout.flush()
    os.dup2(2, 1)
    return inbox, outbox


def _hear_signals(server: Server) -> None:
    """SIGTERM ends the engine with grace; Ctrl-C is left to the client; Linux tells of the parent's death.

    PR_SET_PDEATHSIG is sent when the *thread* that started us ends, so the handler asks whether the parent is gone.
    """
    signal.signal(signal.SIGTERM, lambda *_: server.leave("It was asked to end (SIGTERM)."))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, lambda *_: server.leave("Its terminal closed."))
    if sys.platform == "linux":
        import ctypes

        signal.signal(signal.SIGUSR1, lambda *_: server.look_for_parent())
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, int(signal.SIGUSR1), 0, 0, 0)


def _yield_to_the_window() -> None:
    """Run at low priority: whoever scrolls through a scan while a round trains goes first."""
    with contextlib.suppress(psutil.Error, OSError):
        psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS if sys.platform == "win32" else 10)


@dataclass
class Server:
    """The state that the engine's threads share.

    Parameters
    ----------
    outbox : int
        Descriptor that messages are written to.
    jobs : mapping of str to callable
        What each request that starts a job does.
    device : callable
        Names the device that ``auto`` means here.
    """

    outbox: int
    jobs: Mapping[str, Job]
    device: Callable[[], str]
    parent: psutil.Process = field(default_factory=lambda: psutil.Process(os.getppid()))
    _tasks: queue.SimpleQueue[Callable[[], None] | None] = field(default_factory=queue.SimpleQueue)
    _write: threading.Lock = field(default_factory=threading.Lock)
    _cancel: threading.Event = field(default_factory=threading.Event)
    _leaving: threading.Event = field(default_factory=threading.Event)
    _greeted: bool = False
    _last_job: int = 0
    _running: int | None = None
    _end: float = math.inf

    # Main thread -----------------------------------------------------------------------------------------------------

    def work(self) -> int:
        """Do one task after the other until it is time to leave; return the exit code."""
        while not self._leaving.is_set():
            # A timeout, because Windows delivers signals only between two waits.
            with contextlib.suppress(queue.Empty):
                task = self._tasks.get(timeout=1.0)
                if task is None:
                    break
                task()
        return 0

    def _greet(self, request: wire.Request) -> None:
        try:
            device = self.device()
        except Exception as problem:  # noqa: BLE001 - whatever stops torch from loading is told to the client
            self._refuse(request.id, problem)
            return
        answer = wire.Initialized(protocol=wire.PROTOCOL, version=__version__, pid=os.getpid(), device=device)
        self.send(wire.Response(request.id, answer.model_dump()))

    def _run(self, number: int, params: wire.RequestParams) -> None:
        def report(event: Any) -> None:
            self.send(wire.Notification(wire.JobEvent(job=number, event=event)))
            if isinstance(event, Phase | Log):
                _log(event.text)

        end: wire.NotificationParams
        try:
            result = self.jobs[params.method](params, report, self._must_stop)
            end = wire.JobFinished(job=number, result=result)
        except errors.Cancelled as stop:
            end = wire.JobCancelled(job=number, message=str(stop))
        except Exception as problem:  # noqa: BLE001 - every failure of a job becomes one sentence for the user
            end = failed(number, problem)
        self._running = None
        self.send(wire.Notification(end))

    # Reader thread ---------------------------------------------------------------------------------------------------

    def listen(self, inbox: int) -> None:
        """Answer requests until the stream ends; then leave."""
        lines = wire.LineBuffer()
        with contextlib.suppress(OSError):
            while chunk := os.read(inbox, 65536):
                for line in lines.feed(chunk):
                    self._answer(line)
        self.leave("Its client is gone.")

    def _answer(self, line: bytes) -> None:
        try:
            message = wire.decode(line)
        except wire.MessageError as problem:
            self.send(problem.to_failure())
            return
        if not isinstance(message, wire.Request):
            return
        params = message.params
        try:
            if isinstance(params, wire.Initialize):
                self._check_protocol(params)
                self._greeted = True
                self._tasks.put(lambda: self._greet(message))
            elif isinstance(params, wire.JobCancel):
                self._cancel.set()
                self.send(wire.Response(message.id, {}))
            elif isinstance(params, wire.Shutdown):
                self.send(wire.Response(message.id, {}))
                self.leave("Its client said goodbye.", SHUTDOWN_SECONDS)
            else:
                self._start(message.id, params)
        except errors.DaslError as problem:
            self._refuse(message.id, problem)

    def _check_protocol(self, params: wire.Initialize) -> None:
        if params.protocol != wire.PROTOCOL:
            raise errors.EngineError(
                f"The client speaks protocol {params.protocol} and this engine, napari-dasl {__version__}, speaks "
                f"protocol {wire.PROTOCOL}.",
                "Install the same version of napari-dasl on both sides.",
            )

    def _start(self, request: int, params: wire.RequestParams) -> None:
        if not self._greeted:
            raise errors.EngineError("The first request must be initialize.")
        if self._running is not None:
            raise errors.EngineError(f"Job {self._running} is still running.", "Wait until it is done, or cancel it.")
        self._last_job += 1
        number = self._running = self._last_job
        self._cancel.clear()
        self.send(wire.Response(request, wire.JobStarted(job=number).model_dump()))
        self._tasks.put(lambda: self._run(number, params))

    def _refuse(self, request: int, problem: Exception) -> None:
        told = failed(0, problem)
        body = wire.ErrorBody(code=wire.DASL_ERROR, message=told.message, data={"kind": told.kind, "hint": told.hint})
        self.send(wire.Failure(request, body))

    # Any thread ------------------------------------------------------------------------------------------------------

    def send(self, message: wire.Message) -> None:
        """Write *message* whole; when nobody reads any more, leave."""
        data = wire.encode(message)
        try:
            with self._write:
                while data:
                    data = data[os.write(self.outbox, data) :]
        except OSError:
            self.leave("Its client reads no more.")

    def beat(self) -> None:
        """Send a heartbeat every second, and notice when the parent dies."""
        me, seq, due = psutil.Process(), 0, 0.0
        while True:
            time.sleep(POLL_SECONDS)
            self.look_for_parent()
            if time.monotonic() >= due:
                seq, due = seq + 1, time.monotonic() + wire.HEARTBEAT_SECONDS - POLL_SECONDS / 2
                memory = me.memory_info().rss / 2**20
                self.send(wire.Notification(wire.Heartbeat(seq=seq, memory_mb=round(memory, 1), job=self._running)))

    def look_for_parent(self) -> None:
        """Leave when the process that started this one is gone."""
        # An orphan gets another parent, except on Windows, where the number stays and psutil compares start times.
        if os.getppid() != self.parent.pid or not self.parent.is_running():
            self.leave("The program that started it is gone.")

    def leave(self, reason: str, grace: float = GRACE_SECONDS) -> None:
        """Cancel the job, and end the process after *grace* seconds even if it does not stop."""
        end = time.monotonic() + grace
        # A signal handler may be here too, in the middle of a lock: the thread that ends the process comes first.
        if end < self._end:
            self._end = end
            threading.Thread(target=_end_after, args=(grace,), name="end", daemon=True).start()
        if not self._leaving.is_set():
            _log(f"The engine ends. {reason}")
        self._leaving.set()
        self._tasks.put(None)

    def _must_stop(self) -> bool:
        return self._cancel.is_set() or self._leaving.is_set()


def failed(number: int, problem: Exception) -> wire.JobFailed:
    """Return how the failure of job *number* is told: kind, sentence, hint and what may help; details go to stderr."""
    if isinstance(problem, errors.DaslError):
        kind = next(name for name in (cls.__name__ for cls in type(problem).__mro__) if hasattr(errors, name))
        retry = getattr(problem, "retry", None)
        return wire.JobFailed(job=number, kind=kind, message=problem.message, hint=problem.hint, retry=retry)
    traceback.print_exception(problem, file=sys.stderr)
    sys.stderr.flush()
    said = " ".join(f"{type(problem).__name__}: {problem}".split())[:400].rstrip(".: ")
    if is_out_of_memory(problem):
        hint = "Close other programs, or choose a smaller batch or patch."
        return wire.JobFailed(job=number, kind="OutOfMemory", message=f"Memory ran out ({said}).", hint=hint)
    return wire.JobFailed(
        job=number,
        kind="EngineError",
        message=f"The work stopped at an error that napari-dasl did not foresee ({said}).",
        hint="Your labels are safe. The log has the details; please report them.",
    )


def _log(text: str) -> None:
    # Unbuffered, because a signal handler must not enter a buffered writer twice.
    with contextlib.suppress(OSError):
        os.write(2, f"{text}\n".encode())


def _end_after(seconds: float) -> None:
    time.sleep(seconds)
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()
    os._exit(1)
