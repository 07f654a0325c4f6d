"""What an experiment leaves: ``result.json``, ``table.csv``, ``table.md``, ``cases.csv``, figures, one HTML page."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from napari_dasl.errors import InputError
from napari_dasl.experiments.tables import as_csv, as_markdown, cases_csv
from napari_dasl.volumes.atomic import storage_error, write_bytes_atomic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from napari_dasl.experiments.arms import Row
    from napari_dasl.experiments.experiment import Experiment, Findings

DOTS_PER_INCH = 150


def need_matplotlib() -> None:
    """Refuse before the work what could not be drawn after it.

    Raises
    ------
    InputError
    """
    if find_spec("matplotlib") is None or find_spec("statsmodels") is None:
        raise InputError(
            "An experiment needs matplotlib and statsmodels.", 'Install them with `pip install "napari-dasl[report]"`.'
        )


def write(
    out: Path, experiment: Experiment, result: Mapping[str, Any], rows: Sequence[Row], findings: Findings
) -> dict[str, Any]:
    """Write everything, each file whole or not at all, and return what ``result.json`` holds.

    Raises
    ------
    StorageError
    """
    from napari_dasl.reports.page import render

    folder = out.expanduser().resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, folder) from error
    main, words = findings.tables[0], _words(experiment, result, findings)
    told = {
        **result,
        "words": list(findings.words),
        **findings.numbers,
        "table": [{column.title: cell for column, cell in zip(main.columns, row, strict=True)} for row in main.rows],
        "rows": [row.model_dump(mode="json", exclude={"losses", "summary"}) for row in rows],
    }
    text = "\n\n".join([f"# {experiment.title}", *words, *(as_markdown(table) for table in findings.tables)])
    files = {
        "result.json": json.dumps(told, indent=1, ensure_ascii=False, allow_nan=False),
        "table.csv": as_csv(main),
        "table.md": text,
        "cases.csv": cases_csv(rows),
    }
    for name, content in files.items():
        write_bytes_atomic(folder / name, content.encode())
    for name, picture in findings.pictures:
        buffer = io.BytesIO()
        picture.figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
        write_bytes_atomic(folder / f"{name}.png", buffer.getvalue())
    page = render(experiment.title, _sections(experiment, words, findings), now=datetime.now(UTC))
    write_bytes_atomic(folder / "report.html", page.encode())
    return told


def _words(experiment: Experiment, result: Mapping[str, Any], findings: Findings) -> list[str]:
    length = f"{result['steps']} optimiser steps" if result["steps"] else f"{result['minutes']:g} minutes"
    made = (
        f"Source: {experiment.paper}. {result['complete']} of {result['runs']} runs; {length} each; network "
        f"{result['network']}; {result['cases']} scans of {result['patients']} patients; {result['threads']} "
        f"{'thread' if result['threads'] == 1 else 'threads'} a run, {result['jobs']} side by side, "
        f"{result['precision']}. Times are of training alone."
    )
    missing = [f"{one['run']} failed: {one['reason']}" for one in result["failed"]]
    if result["complete"] < result["runs"] and not missing:
        missing = ["It was stopped before the end; the same call goes on."]
    if result["left_out"]:
        missing.append(f"Left out on request: {', '.join(result['left_out'])}.")
    return [experiment.sentence, *findings.words, made, *missing]


def _sections(experiment: Experiment, words: Sequence[str], findings: Findings) -> list[Any]:
    from napari_dasl.reports.blocks import Section, Words

    sections = [Section("result", "Result", (*(Words(text) for text in words), *findings.tables))]
    if findings.pictures:
        sections.append(Section("figures", "Figures", tuple(picture for _, picture in findings.pictures)))
    return sections
