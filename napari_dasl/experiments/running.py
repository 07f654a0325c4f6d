"""Runs one after the other, or side by side in processes of their own; one that fails takes no other with it."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from napari_dasl.errors import Cancelled, DaslError
from napari_dasl.events import CancelCheck, Log, Phase, Progress, Report, never, silent
from napari_dasl.experiments.arms import Protocol, Row, Run, read_row, write_row
from napari_dasl.rounds.simulation.workers import start_on

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.context import SpawnProcess

    from napari_dasl.experiments.experiment import Experiment

POLL_SECONDS = 0.2
TELL_SECONDS = 2.0
PARTS = 1000
"""The progress of one run, in parts."""


def run_all(
    experiment: Experiment,
    protocol: Protocol,
    runs: Sequence[Run],
    *,
    jobs: int = 1,
    report: Report = silent,
    cancelled: CancelCheck = never,
) -> tuple[list[Row], dict[str, str], bool]:
    """Make the rows that are not there yet.

    Parameters
    ----------
    experiment, protocol
    runs : sequence of Run
        In the order in which they start.
    jobs : int
        Runs side by side; with 1 they are made in this process.
    report, cancelled
        As for a round.

    Returns
    -------
    (list of Row, dict, bool)
        The rows of all finished runs; name of each failed run and why; whether it was stopped before the end.
    """
    waiting = [run for run in runs if read_row(protocol.row_file(run)) is None]
    there = len(runs) - len(waiting)
    if there:
        report(Log(text=f"{there} of {len(runs)} runs are there already."))
    work = _one_by_one if jobs == 1 else _side_by_side
    failed, stopped = work(experiment, protocol, waiting, jobs, there, len(runs), report, cancelled)
    found = [read_row(protocol.row_file(run)) for run in runs]
    return [row for row in found if row is not None], failed, stopped


def make_row(experiment: Experiment, protocol: Protocol, run: Run, report: Report, cancelled: CancelCheck) -> Row:
    """Perform one run on the protocol's threads, and keep its row."""
    with threads(protocol.threads):
        row = experiment.perform(protocol, run, report, cancelled)
    write_row(protocol.row_file(run), row)
    return row


def say(row: Row) -> str:
    """A row as a line of the log."""
    dice = "–" if row.mean_dice is None else f"{row.mean_dice:.4f}"
    return f"{row.arm}, seed {row.seed}: Dice {dice}, {row.steps} steps in {row.seconds:.0f} s."


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Compute with *number* threads, and with as many as before afterwards."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _one_by_one(
    experiment: Experiment,
    protocol: Protocol,
    waiting: Sequence[Run],
    jobs: int,
    there: int,
    total: int,
    report: Report,
    cancelled: CancelCheck,
) -> tuple[dict[str, str], bool]:
    failed: dict[str, str] = {}
    for done, run in enumerate(waiting):
        if cancelled():
            return failed, True
        report(Phase(name="train", text=f"{run.name} ({there + done + 1} of {total})"))
        try:
            report(Log(text=say(make_row(experiment, protocol, run, report, cancelled))))
        except (Cancelled, KeyboardInterrupt):
            return failed, True
        except DaslError as problem:
            failed[run.name] = str(problem)
            report(Log(level="warning", text=f"{run.name} failed: {problem}"))
    return failed, False


def _side_by_side(
    experiment: Experiment,
    protocol: Protocol,
    waiting: Sequence[Run],
    jobs: int,
    there: int,
    total: int,
    report: Report,
    cancelled: CancelCheck,
) -> tuple[dict[str, str], bool]:
    context = multiprocessing.get_context("spawn")
    channel: Any = context.Queue()
    stop = context.Event()
    left, live = list(waiting), dict[str, "SpawnProcess"]()
    part: dict[str, float] = {}
    failed: dict[str, str] = {}
    stopped = False
    report(Phase(name="train", text=f"{len(left)} runs, {jobs} side by side."))
    while left or live:
        try:
            stopped = stopped or cancelled()
            while left and len(live) < jobs and not stopped:
                run = left.pop(0)
                live[run.name] = _start(context, protocol, run, channel, stop)
            _listen(channel, part, failed, report)
        except KeyboardInterrupt:
            stopped = True
        if stopped:
            stop.set()
            left.clear()
        for name, process in list(live.items()):
            if process.exitcode is None:
                continue
            process.join()
            _listen(channel, part, failed, report)
            if process.exitcode and name not in failed:
                failed[name] = f"its process ended with {process.exitcode}; start the experiment again to go on."
                report(Log(level="warning", text=f"{name} failed: {failed[name]}"))
            part[name] = 1.0
            del live[name]
        done = round(PARTS * (there + sum(part.values())))
        report(Progress(name="train", done=done, total=PARTS * total))
    return failed, stopped


def _start(context: Any, protocol: Protocol, run: Run, channel: Any, stop: Any) -> SpawnProcess:
    process: SpawnProcess = context.Process(target=_work, args=(protocol, run, channel, stop, os.getpid()))
    start_on(process, protocol.threads)
    return process


def _listen(channel: Any, part: dict[str, float], failed: dict[str, str], report: Report) -> None:
    """Take what the runs say, waiting a moment for the first word."""
    wait = POLL_SECONDS
    with suppress(queue.Empty):
        while True:
            kind, name, content = channel.get(timeout=wait)
            wait = 0.01
            if kind == "part":
                part[name] = content
            elif kind == "failed":
                failed[name] = content
                report(Log(level="warning", text=f"{name} failed: {content}"))
            else:
                report(Log(text=content))


def _work(protocol: Protocol, run: Run, channel: Any, stop: Any, parent: int) -> None:
    """Make one row in this process."""
    # The terminal interrupts the whole group of processes; the parent passes it on through *stop*.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from napari_dasl.experiments import find

    told = [0.0]

    def cancelled() -> bool:
        return bool(stop.is_set()) or os.getppid() != parent

    def report(event: Any) -> None:
        now = time.monotonic()
        if isinstance(event, Progress) and event.name == "train" and event.total and now - told[0] > TELL_SECONDS:
            told[0] = now
            channel.put(("part", run.name, min(0.99, event.done / event.total)))

    try:
        row = make_row(find(protocol.experiment), protocol, run, report, cancelled)
        channel.put(("row", run.name, say(row)))
    except Cancelled:
        pass
    except DaslError as problem:
        channel.put(("failed", run.name, str(problem)))
    except Exception as problem:  # noqa: BLE001 one run must not end the others, and the reason must reach the user
        channel.put(("failed", run.name, f"something unexpected went wrong: {problem!r}"))
    channel.close()
    channel.join_thread()
    sys.exit(0)
