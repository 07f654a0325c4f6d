"""Runs side by side, each in a process of its own on one thread: a run that fails or dies takes no other with it."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psutil

from napari_dasl.errors import Cancelled, DaslError, ProjectError
from napari_dasl.events import Log, Progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.context import SpawnProcess
    from pathlib import Path

    from napari_dasl.events import CancelCheck, Report
    from napari_dasl.rounds.simulation.run import Run

POLL_SECONDS = 0.2
LOCK = "running.pid"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass
class _Board:
    """What is known of the runs while they run."""

    points: int
    total: int
    report: Report
    started: float = field(default_factory=time.monotonic)
    first: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    stopped: int = 0
    warned: set[str] = field(default_factory=set)

    def take(self, message: tuple[str, str, Any]) -> None:
        kind, name, content = message
        if kind == "point":
            self.points += 1
            self.report(Log(text=content))
            done, elapsed = self.points - self.first, time.monotonic() - self.started
            eta = elapsed / done * (self.total - self.points)
            self.report(Progress(name="train", done=self.points, total=self.total, eta=eta, text=name))
        elif kind == "failed":
            self.failed[name] = content
            self.report(Log(level="warning", text=f"The run {name} failed: {content}"))
        elif kind == "warning":
            # Every run without a guard set says so every round; once is enough.
            if content not in self.warned:
                self.warned.add(content)
                self.report(Log(level="warning", text=f"{name}: {content}"))
        else:
            self.stopped += 1


def run_all(
    runs: Sequence[Run], jobs: int, progress: tuple[int, int], report: Report, cancelled: CancelCheck
) -> tuple[dict[str, str], bool]:
    """Perform the runs, *jobs* at a time.

    Parameters
    ----------
    runs : sequence of Run
        In the order in which they start.
    jobs : int
    progress : (int, int)
        Points that are there already, and points in all.
    report, cancelled
        As for a round.

    Returns
    -------
    (dict, bool)
        Name of each failed run and why; and whether it was stopped before the end, everything being saved.
    """
    context = multiprocessing.get_context("spawn")
    channel: Any = context.Queue()
    stop = context.Event()
    board = _Board(*progress, report, first=progress[0])
    waiting = list(runs)
    live: dict[str, SpawnProcess] = {}
    try:
        while waiting or live:
            if cancelled():
                break
            while waiting and len(live) < jobs:
                run = waiting.pop(0)
                live[run.name] = _start(context, run, channel, stop)
            _listen(channel, board)
            _reap(live, board, channel)
    except KeyboardInterrupt:
        pass
    if waiting or live:
        report(Log(text="Stopping; the runs save where they are."))
        stop.set()
        while live:
            _listen(channel, board)
            _reap(live, board, channel)
        return board.failed, True
    return board.failed, board.stopped > 0


def free_cores() -> int:
    """How many cores nobody is using now, at least one."""
    cores = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    process = psutil.Process()
    if hasattr(process, "cpu_affinity"):
        cores = min(cores, len(process.cpu_affinity()))
    return max(1, cores - int(sum(psutil.cpu_percent(0.2, percpu=True)) / 100 + 0.5))


def _start(context: Any, run: Run, channel: Any, stop: Any) -> SpawnProcess:
    process: SpawnProcess = context.Process(target=_work, args=(run, channel, stop, os.getpid()), name=run.name)
    start_on(process, 1)
    return process


def start_on(process: SpawnProcess, threads: int) -> None:
    """Start *process* on as many threads: it loads torch while it unpickles its work, before its own first line."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, str(threads)))
    try:
        process.start()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _listen(channel: Any, board: _Board) -> None:
    """Take what the runs say, waiting a moment for the first word."""
    wait = POLL_SECONDS
    with suppress(queue.Empty):
        while True:
            board.take(channel.get(timeout=wait))
            wait = 0.01


def _reap(live: dict[str, SpawnProcess], board: _Board, channel: Any) -> None:
    """Let go of processes that ended, and name those that ended without a word."""
    for name, process in list(live.items()):
        if process.exitcode is None:
            continue
        process.join()
        _listen(channel, board)
        if process.exitcode and name not in board.failed:
            board.take(("failed", name, f"its process ended with {process.exitcode}; start the simulation again."))
        del live[name]


def _work(run: Run, channel: Any, stop: Any, parent: int) -> None:
    """Perform one run in this process, on one thread."""
    # The terminal interrupts the whole group of processes; the parent passes it on through *stop*.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import torch

    from napari_dasl.rounds.simulation.run import perform, say

    torch.set_num_threads(1)

    def cancelled() -> bool:
        return bool(stop.is_set()) or os.getppid() != parent

    def report(event: Any) -> None:
        if isinstance(event, Log) and event.level == "warning":
            channel.put(("warning", run.name, event.text))

    try:
        with claimed(run.folder.with_name(f"{run.folder.name}.{LOCK}")):
            perform(
                run,
                report=report,
                cancelled=cancelled,
                reached=lambda point: channel.put(("point", run.name, say(run, point).text)),
            )
    except Cancelled:
        channel.put(("stopped", run.name, ""))
    except DaslError as problem:
        channel.put(("failed", run.name, str(problem)))
    except Exception as problem:  # noqa: BLE001 one run must not end the others, and the reason must reach the user
        channel.put(("failed", run.name, f"something unexpected went wrong: {problem!r}"))
    channel.close()
    channel.join_thread()
    sys.exit(0)


@contextmanager
def claimed(lock: Path) -> Iterator[None]:
    """Hold a run for this process, so that two simulations of one project do not write into the same run.

    Raises
    ------
    ProjectError
        A living process holds it.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError, ValueError):
        holder = int(lock.read_text())
        if holder != os.getpid() and psutil.pid_exists(holder):
            raise ProjectError(
                f"Process {holder} is working on {lock.parent} already.", "Wait for it, or stop it, and start again."
            )
    lock.write_text(str(os.getpid()))
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
