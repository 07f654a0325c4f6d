"""The diary of one round on disk: every event as a line, and the curves as a table that any program reads."""

from __future__ import annotations

import csv
import time
from typing import TYPE_CHECKING, Self, TextIO

from napari_dasl.events import Metric, Progress

if TYPE_CHECKING:
    from pathlib import Path

    from napari_dasl.events import Event, Report

EVENTS, CURVES = "events.jsonl", "curves.csv"


class Journal:
    """Passes events on to *report* and writes them into the folder of the round.

    Progress is passed on but not written, because it says nothing afterwards.

    Parameters
    ----------
    folder : Path
        ``rounds/0002``; earlier entries of an interrupted round are kept.
    report : callable
        Who is told besides.
    """

    def __init__(self, folder: Path, report: Report) -> None:
        self._folder = folder
        self._report = report
        self._events: TextIO
        self._curves: TextIO

    def __enter__(self) -> Self:
        fresh = not (self._folder / CURVES).exists()
        self._events = (self._folder / EVENTS).open("a", encoding="utf-8", buffering=1)
        self._curves = (self._folder / CURVES).open("a", encoding="utf-8", newline="", buffering=1)
        self._table = csv.writer(self._curves)
        if fresh:
            self._table.writerow(("step", "name", "value"))
        return self

    def __exit__(self, *_: object) -> None:
        self._events.close()
        self._curves.close()

    def __call__(self, event: Event) -> None:
        """Take one event."""
        if isinstance(event, Metric):
            self._table.writerow((event.step, event.name, repr(event.value)))
        elif not isinstance(event, Progress):
            self._events.write(f'{{"time": {time.time():.3f}, "event": {event.model_dump_json()}}}\n')
        self._report(event)
