"""What the command line shows: one JSON document or a readable answer on stdout, progress and warnings on stderr."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from napari_dasl import events

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from napari_dasl.errors import DaslError


class Output:
    """Where a verb writes its answer and its progress.

    Parameters
    ----------
    as_json : bool
        Print the answer as one JSON document and nothing else on stdout.
    quiet : bool
        Show no progress and no log lines on stderr.
    """

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self._out = Console(highlight=False, soft_wrap=True)
        self._err = Console(stderr=True, highlight=False, soft_wrap=True)

    def answer(self, document: Any, text: str = "", table: Table | None = None) -> None:
        """Print *document* as JSON, or *text* and *table* for a reader."""
        if self.as_json:
            sys.stdout.write(json.dumps(document, ensure_ascii=False, allow_nan=False, default=str) + "\n")
            sys.stdout.flush()
            return
        if text:
            self._out.print(text, markup=False)
        if table is not None:
            self._out.print(table)

    def note(self, text: str) -> None:
        """Print a line to stderr, unless it was asked to be quiet."""
        if not self.quiet:
            self._err.print(text, markup=False)

    @contextmanager
    def progress(self) -> Iterator[events.Report]:
        """Give a :data:`~napari_dasl.events.Report` that draws a bar on a terminal, and plain lines elsewhere."""
        if self.quiet:
            yield events.silent
            return
        if not self._err.is_terminal:
            yield _PlainLines(self._err).report
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[extra]}"),
        )
        with Progress(*columns, console=self._err, transient=True) as bar:
            yield _Bar(bar).report


class _Bar:
    """Events as one moving bar."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task = bar.add_task("", total=None, extra="")

    def report(self, event: events.Phase | events.Progress | events.Metric | events.Log) -> None:
        match event:
            case events.Phase(text=text):
                self._bar.reset(self._task, total=None, description=text, extra="")
            case events.Progress(done=done, total=total, text=text):
                self._bar.update(self._task, completed=done, total=total, extra=text)
            case events.Metric(name=name, value=value):
                self._bar.update(self._task, extra=f"{name} {value:.4f}")
            case events.Log(level=level, text=text):
                self._bar.console.print(f"{level}: {text}" if level == "warning" else text, markup=False)


class _PlainLines:
    """Events as lines for a log file: each phase once, each warning, and every tenth of the way."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._tenth = -1

    def report(self, event: events.Phase | events.Progress | events.Metric | events.Log) -> None:
        match event:
            case events.Phase(text=text):
                self._tenth = -1
                self._console.print(text, markup=False)
            case events.Progress(done=done, total=total) if total:
                tenth = 10 * done // total
                if tenth > self._tenth:
                    self._tenth = tenth
                    self._console.print(f"  {done}/{total}", markup=False)
            case events.Log(level=level, text=text):
                self._console.print(f"{level}: {text}" if level == "warning" else text, markup=False)


def one_line(error: DaslError) -> str:
    """Return the error as the single line that a user reads."""
    return " ".join(f"napari-dasl: {error}".split())


def rows_table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return *rows* as a table of the named *columns*."""
    table = Table(box=None, pad_edge=False)
    for column in columns:
        text = bool(rows) and isinstance(rows[0].get(column), str)
        table.add_column(column, justify="left" if text else "right", no_wrap=column != columns[-1])
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    return table


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
