"""Tables as files: CSV and Markdown beside what the paper published, and the rows behind them case by case."""

from __future__ import annotations

import csv
import io
import math
from typing import TYPE_CHECKING, Any

from napari_dasl.reports.blocks import Column, Table, number

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari_dasl.experiments.arms import Row
    from napari_dasl.reports.blocks import Cell

__all__ = ["Column", "Table", "as_csv", "as_markdown", "by_arm", "cases_csv", "mean_sd", "spread"]


def as_csv(table: Table) -> str:
    """The table as CSV: numbers with all their digits, an empty field for None."""
    return _csv([[column.title for column in table.columns], *table.rows])


def as_markdown(table: Table) -> str:
    """The table as Markdown under its caption."""
    head = "| " + " | ".join(_escaped(column.title) for column in table.columns) + " |"
    line = "|" + "|".join("---" if column.digits is None else "---:" for column in table.columns) + "|"
    rows = [
        "| " + " | ".join(_told(cell, column) for cell, column in zip(row, table.columns, strict=True)) + " |"
        for row in table.rows
    ]
    return "\n".join([f"{table.caption}\n", head, line, *rows]) + "\n"


def cases_csv(rows: Sequence[Row]) -> str:
    """One line per run and test case: everything that a figure or a test here is made from."""
    head = ("arm", "seed", "fold", "case", "dice", "predict_seconds", "steps", "train_seconds", "cpu_seconds", "voxels")
    lines: list[Sequence[Any]] = [head]
    for row in rows:
        shared = (row.steps, row.seconds, row.cpu_seconds, row.voxels)
        lines += [
            (row.arm, row.seed, row.fold, case, dice, row.predict_seconds.get(case), *shared)
            for case, dice in row.dice.items()
        ]
    return _csv(lines)


def by_arm(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """The rows of each arm, in the order in which the arms first come."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.arm, []).append(row)
    return found


def spread(values: Iterable[float | None]) -> tuple[float | None, float | None, int]:
    """Mean, sample standard deviation (None for fewer than two) and number of the *values* that are known."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not known:
        return None, None, 0
    mean = math.fsum(known) / len(known)
    if len(known) < 2:
        return mean, None, 1
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in known) / (len(known) - 1)), len(known)


def mean_sd(values: Iterable[float | None], digits: int = 3) -> str:
    """``0.812 ± 0.011``; the mean alone for one value, a dash for none."""
    mean, sd, _ = spread(values)
    return number(mean, digits) if sd is None else f"{number(mean, digits)} ± {number(sd, digits)}"


def _csv(rows: Iterable[Sequence[Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows(["" if cell is None else cell for cell in row] for row in rows)
    return buffer.getvalue()


def _told(cell: Cell, column: Column) -> str:
    if cell is None:
        return "–"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return _escaped(cell) if isinstance(cell, str) else number(float(cell), column.digits or 0)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
