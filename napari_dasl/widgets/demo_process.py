"""Makes the demo project in a child process, so that phantoms and a first round never hold up the window."""

from __future__ import annotations

import json
import sys
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_data_path
from qtpy.QtCore import QCoreApplication, QObject, QProcess, Signal

from napari_dasl.engine.messages import LineBuffer

if TYPE_CHECKING:
    from collections.abc import Sequence


def demo_folder() -> Path:
    """Return where the demo project of the window lives."""
    return user_data_path("napari-dasl", appauthor=False) / "demo"


def demo_command(folder: Path) -> list[str]:
    """Return the command that makes the demo in *folder* and prints where it is as JSON."""
    return [sys.executable, "-m", "napari_dasl.cli", "demo", str(folder), "--make-only", "--json"]


class DemoMaker(QObject):
    """Runs `demo_command`.

    Notes
    -----
    Signals: ``progressed(str)``: what it is doing; ``made(Path)``; ``failed(str)``.
    """

    progressed = Signal(str)
    made = Signal(object)
    failed = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._process: QProcess | None = None
        self._folder = Path()
        self._answer = b""
        self._lines = LineBuffer()
        self._said: deque[str] = deque(maxlen=20)
        application = QCoreApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self.stop)

    @property
    def running(self) -> bool:
        """Whether the demo is being made."""
        return self._process is not None

    def start(self, folder: Path, command: Sequence[str] | None = None) -> None:
        """Make the demo in *folder*, or finish what is there."""
        if self.running:
            return
        program, *arguments = command or demo_command(folder)
        self._folder, self._answer, self._lines = folder, b"", LineBuffer()
        self._said.clear()
        process = QProcess(self)
        process.readyReadStandardOutput.connect(self._read_output)
        process.readyReadStandardError.connect(self._read_errors)
        process.finished.connect(self._ended)
        process.errorOccurred.connect(self._start_failed)
        self._process = process
        process.start(program, arguments)

    def stop(self) -> None:
        """End it; a half-made demo is begun anew next time."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.waitForFinished(500)

    def _read_output(self) -> None:
        if self._process is not None:
            self._answer += bytes(self._process.readAllStandardOutput().data())

    def _read_errors(self) -> None:
        if self._process is None:
            return
        # A progress bar returns the carriage instead of ending the line.
        chunk = bytes(self._process.readAllStandardError().data()).replace(b"\r", b"\n")
        for line in self._lines.feed(chunk):
            words = line.decode(errors="replace").strip()
            self._said.append(words)
            self.progressed.emit(words)

    def _start_failed(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart and self._process is not None:
            words = self._process.errorString()
            self._process = None
            self.failed.emit(f"The demo could not be started: {words}.")

    def _ended(self, code: int, _status: QProcess.ExitStatus) -> None:
        if self._process is None:
            return
        self._read_output()
        self._read_errors()
        self._process.deleteLater()
        self._process = None
        if code != 0:
            words = self._said[-1] if self._said else f"it ended with code {code}"
            self.failed.emit(f"The demo could not be made: {words}")
            return
        self.made.emit(_named_folder(self._answer) or self._folder)


def _named_folder(answer: bytes) -> Path | None:
    try:
        named = json.loads(answer)["project"]
    except (ValueError, KeyError, TypeError):
        return None
    return Path(str(named))
