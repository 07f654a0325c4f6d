"""The engine as the window sees it: a child process under QProcess that speaks JSON-RPC over its standard streams.

Nothing here waits. The process is started on the first request, asked with `request`, and answers with signals. It
dies with the window: it ends by itself when its standard input closes, and `shutdown` asks, then insists, within two
seconds.
"""

from __future__ import annotations

import contextlib
from collections import deque
from typing import TYPE_CHECKING, Any

import psutil
from qtpy.QtCore import QCoreApplication, QElapsedTimer, QObject, QProcess, QProcessEnvironment, QTimer, Signal

from napari_dasl.engine import death, messages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_dasl.engine.messages import RequestParams
    from napari_dasl.errors import EngineError

STDERR_LINES = 200
SILENCE_SECONDS = 15.0
START_SILENCE_SECONDS = 90.0  # importing torch from a cold or remote disk
CANCEL_SECONDS = 30.0  # what saving the state may take
TERMINATE_SECONDS = 5.0
SAFE = "Your labels are safe."


def death_words(error: EngineError) -> str:
    """Return *error* for the window, which has a *Resume* button instead of an option to type."""
    return f"{error.message} {error.hint.replace(death.SAFE, SAFE)}".strip()


class EngineProcess(QObject):
    """Client of one engine.

    Parameters
    ----------
    command : sequence of str, optional
        What to start; by default this Python's engine. From ``engine.command`` of the project, for example over ssh.
    silence : float
        Seconds without a word after which `answering` tells False.

    Notes
    -----
    Signals: ``ready(dict)`` once initialised; ``started(int)``: the job that began; ``reported(Event)``;
    ``finished(dict)``; ``failed(kind, message, hint, retry | None)``; ``cancelled(message)``; ``died(words)``: it ended
    unasked; ``heartbeat(dict)``; ``answering(bool)``: False when it fell silent, True when it speaks again;
    ``stopped()``: the process has ended for whatever reason.
    """

    ready = Signal(dict)
    started = Signal(int)
    reported = Signal(object)
    finished = Signal(dict)
    failed = Signal(str, str, str, object)
    cancelled = Signal(str)
    died = Signal(str)
    heartbeat = Signal(dict)
    answering = Signal(bool)
    stopped = Signal()

    def __init__(
        self,
        command: Sequence[str] | None = None,
        parent: QObject | None = None,
        *,
        silence: float = SILENCE_SECONDS,
        cancel_wait: float = CANCEL_SECONDS,
    ) -> None:
        super().__init__(parent)
        self.command = tuple(death.default_command(command or ()))
        self.job: int | None = None
        self.stderr: deque[str] = deque(maxlen=STDERR_LINES)
        self._silence = silence
        self._cancel_wait = cancel_wait
        self._process: QProcess | None = None
        self._lines = messages.LineBuffer()
        self._errors = messages.LineBuffer()
        self._asked: dict[int, messages.RequestParams] = {}
        self._waiting: list[RequestParams] = []
        self._number = 0
        self._is_ready = False
        self._expected = False  # whether the end of the process was asked for
        self._cancelling = False
        self._heard = QElapsedTimer()
        self._silent = False
        self._watchdog = QTimer(self)
        self._watchdog.setInterval(max(50, min(1000, int(silence * 250))))
        self._watchdog.timeout.connect(self._watch)
        self._escalation = QTimer(self)
        self._escalation.setSingleShot(True)
        self._escalation.timeout.connect(self._escalate)
        application = QCoreApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self.shutdown)

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.state() != QProcess.ProcessState.NotRunning

    @property
    def busy(self) -> bool:
        """Whether a job runs or was asked for."""
        return self.job is not None or any(_starts_job(params) for params in (*self._asked.values(), *self._waiting))

    @property
    def pid(self) -> int:
        """Process id; 0 when it does not run."""
        return int(self._process.processId()) if self._process is not None and self.running else 0

    def start(self) -> None:
        """Start the process unless it runs already; `ready` follows."""
        if self.running:
            return
        self._lines, self._errors = messages.LineBuffer(), messages.LineBuffer()
        self.stderr.clear()
        self._asked.clear()
        self._is_ready = self._expected = self._cancelling = self._silent = False
        process = QProcess(self)
        environment = QProcessEnvironment.systemEnvironment()
        environment.insert("PYTHONUNBUFFERED", "1")
        environment.insert("PYTHONIOENCODING", "utf-8")
        process.setProcessEnvironment(environment)
        process.setProgram(self.command[0])
        process.setArguments(list(self.command[1:]))
        process.readyReadStandardOutput.connect(self._read_output)
        process.readyReadStandardError.connect(self._read_errors)
        process.errorOccurred.connect(self._start_failed)
        process.finished.connect(self._ended)
        self._process = process
        self._heard.start()
        self._watchdog.start()
        process.start()
        self._send(messages.Initialize())

    def request(self, params: RequestParams) -> None:
        """Ask the engine; before it is ready the request waits its turn."""
        if self.running and self._expected:
            self._waiting.append(params)  # it is on its way out: `_ended` starts another one for this
            return
        if not self.running:
            self.start()
        if self._is_ready:
            self._send(params)
        else:
            self._waiting.append(params)

    def cancel(self) -> None:
        """Ask the job to stop with its state saved; one that does not listen is terminated, then killed."""
        if not self.running or self._cancelling:
            return
        self._cancelling = True
        self._waiting.clear()
        if self._is_ready and self.job is not None:
            self._send(messages.JobCancel())
            self._escalation.start(int(self._cancel_wait * 1000))
        elif self._is_ready:
            # The job was asked for and has not answered yet: `_answered` sends the cancellation after it.
            self._escalation.start(int(self._cancel_wait * 1000))
        else:
            self._stop_now()

    def force_stop(self) -> None:
        """End the process now; what the last checkpoint holds is kept."""
        if self.running:
            self._cancelling = True
            self._stop_now()

    def shutdown(self) -> None:
        """End the process within two seconds; safe to call twice. For the end of the window."""
        self._watchdog.stop()
        self._escalation.stop()
        process = self._process
        if process is None or not self.running:
            return
        self._expected = True
        if self._is_ready:
            self._send(messages.Shutdown())
        process.closeWriteChannel()
        if not process.waitForFinished(1600):
            self._kill()
            process.waitForFinished(300)

    def _send(self, params: RequestParams) -> None:
        if self._process is None:
            return
        self._number += 1
        self._asked[self._number] = params
        self._process.write(messages.encode(messages.Request(self._number, params)))

    def _read_output(self) -> None:
        if self._process is None:
            return
        lines = self._lines.feed(bytes(self._process.readAllStandardOutput().data()))
        if lines:
            self._spoke()
        for line in lines:
            try:
                message = messages.decode(line)
            except messages.MessageError:
                # A login banner or a stray print of a library: no message, but worth keeping for an error report.
                self.stderr.append(line.decode(errors="replace"))
                continue
            self._take(message)

    def _read_errors(self) -> None:
        if self._process is not None:
            chunk = bytes(self._process.readAllStandardError().data())
            self.stderr.extend(line.decode(errors="replace").rstrip() for line in self._errors.feed(chunk))

    def _take(self, message: messages.Message) -> None:
        match message:
            case messages.Response(id=number, result=result):
                self._answered(self._asked.pop(number, None), result)
            case messages.Failure(id=number, error=error):
                params = self._asked.pop(number, None) if number is not None else None
                if params is None or _starts_job(params) or isinstance(params, messages.Initialize):
                    self.job = None
                    self._settled()
                    self.failed.emit(
                        error.data.get("kind", "EngineError"), error.message, error.data.get("hint", ""), None
                    )
            case messages.Notification(params=params):
                self._told(params)

    def _answered(self, params: RequestParams | None, result: dict[str, Any]) -> None:
        if isinstance(params, messages.Initialize):
            self._is_ready = True
            self.ready.emit(result)
            waiting, self._waiting = self._waiting, []
            for request in waiting:
                self._send(request)
        elif params is not None and _starts_job(params):
            self.job = int(result.get("job", 0))
            self.started.emit(self.job)
            if self._cancelling:
                self._send(messages.JobCancel())

    def _told(self, params: messages.NotificationParams) -> None:
        match params:
            case messages.Heartbeat():
                self.heartbeat.emit(params.model_dump())
            case messages.JobEvent(event=event):
                self.reported.emit(event)
            case messages.JobFinished(result=result):
                self._settled()
                self.finished.emit(result)
            case messages.JobFailed(kind=kind, message=text, hint=hint, retry=retry):
                self._settled()
                self.failed.emit(kind, text, hint, retry)
            case messages.JobCancelled(message=text):
                self._settled()
                self.cancelled.emit(text)

    def _settled(self) -> None:
        self.job = None
        self._cancelling = False
        self._escalation.stop()

    def _spoke(self) -> None:
        self._heard.restart()
        if self._silent:
            self._silent = False
            self.answering.emit(True)

    def _watch(self) -> None:
        limit = self._silence if self._is_ready else max(self._silence, START_SILENCE_SECONDS)
        if not self._silent and self._heard.elapsed() > limit * 1000:
            self._silent = True
            self.answering.emit(False)

    def _escalate(self) -> None:
        if not self.running:
            return
        if self._process is not None and not self._expected:
            self._stop_now()
        else:
            self._kill()

    def _stop_now(self) -> None:
        """Terminate, and kill after a grace period; Windows has no terminate for console programs."""
        self._expected = True
        if self._process is not None:
            self._process.closeWriteChannel()
            self._process.terminate()
        self._escalation.start(int(TERMINATE_SECONDS * 1000))

    def _kill(self) -> None:
        """Kill the process and what it started: data loaders are its children."""
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(self.pid).children(recursive=True) if self.pid else []:
                with contextlib.suppress(psutil.Error):
                    child.kill()
        if self._process is not None:
            self._process.kill()

    def _start_failed(self, error: QProcess.ProcessError) -> None:
        if error != QProcess.ProcessError.FailedToStart or self._process is None:
            return
        words = death_words(death.cannot_start(self.command, self._process.errorString()))
        self._forget()
        self.died.emit(words)
        self.stopped.emit()

    def _ended(self, code: int, status: QProcess.ExitStatus) -> None:
        if self._process is None:
            return
        self._read_output()
        self._read_errors()
        crashed = status == QProcess.ExitStatus.CrashExit
        expected, cancelling, was_busy = self._expected, self._cancelling, self.busy
        waiting = list(self._waiting) if expected else []
        error = death.died(-code if crashed else code, list(self.stderr), self.command)
        self._forget()
        if expected and cancelling:
            self.cancelled.emit("The training process was stopped. What its last checkpoint holds is kept.")
        elif not expected and (was_busy or code != 0 or crashed):
            self.died.emit(death_words(error))
        self.stopped.emit()
        for params in waiting:
            self.request(params)

    def _forget(self) -> None:
        self._watchdog.stop()
        self._escalation.stop()
        if self._process is not None:
            self._process.deleteLater()
        self._process = None
        self._is_ready = False
        self._cancelling = False
        self.job = None
        self._asked.clear()
        self._waiting.clear()
        if self._silent:
            self._silent = False
            self.answering.emit(True)


def _starts_job(params: object) -> bool:
    return isinstance(params, messages.RoundStart | messages.RoundResume | messages.PredictStart | messages.RankStart)
