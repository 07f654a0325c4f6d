"""The verb difficulty: how hard each case is, measured where it is missing, and whether it tells."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from napari_dasl.cli.console import rows_table
from napari_dasl.curriculum.difficulty import SCORERS, difficulty
from napari_dasl.project import Project

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from napari_dasl.cli.console import Output
    from napari_dasl.project import Difficulty


def list_difficulties(args: argparse.Namespace, output: Output) -> None:
    """Measure what is missing, and list the cases, by the first scorer the hardest first."""
    from napari_dasl.rounds.difficulty import CHEAP, correlations, measure_difficulties

    asked = tuple(args.scorer) if args.scorer else CHEAP
    with output.progress() as report, Project.open(args.project) as project:
        rows = measure_difficulties(project, asked, device=args.device, report=report)
        cases = [case for case in project.cases() if case.readable]
        found = correlations(project)
    by_case: dict[str, dict[str, Difficulty]] = {case.id: {} for case in cases}
    for row in rows:
        if row.case in by_case:
            by_case[row.case][row.scorer] = row
    slices = {case.id: case.shape[0] for case in cases}
    thickest = max(slices.values(), default=0)
    shown = [name for name in asked if any(name in known for known in by_case.values())] or list(asked)
    order = _hardest_first(by_case, shown[0])
    document = {
        "cases": [
            {
                "case": case,
                "labelled": next(one.labelled for one in cases if one.id == case),
                "scorers": {name: _told(row, slices[case]) for name, row in by_case[case].items()},
            }
            for case in order
        ],
        "scorers": {
            name: {
                "title": SCORERS[name].title,
                "unit": SCORERS[name].unit_of(thickest),
                "harder": SCORERS[name].harder,
                "correlation": found[name].rho if name in found else None,
                "correlation_cases": found[name].cases if name in found else 0,
            }
            for name in asked
        },
    }
    columns = {name: SCORERS[name].title for name in shown}
    table = [
        {"case": case, **{title: _cell(by_case[case].get(name)) for name, title in columns.items()}} for case in order
    ]
    output.answer(document, "", rows_table(("case", *columns.values()), table))
    if any(row.on_prediction for row in rows):
        output.note("≈ on the prediction: these cases have no label yet.")
    for name in shown:
        if name in found:
            rho, count = found[name]
            output.note(f"{columns[name]}: rank correlation with Dice {rho:+.2f} over {count} cases.")
    unmeasured = sum(not known for known in by_case.values())
    if unmeasured:
        output.note(f"{unmeasured} cases have neither a label nor a prediction: run `napari-dasl predict`.")


def _hardest_first(by_case: dict[str, dict[str, Difficulty]], scorer: str) -> list[str]:
    """Cases by falling difficulty; those without a number last, by id."""
    names = sorted(by_case)
    hard = difficulty([by_case[n][scorer].value if scorer in by_case[n] else math.nan for n in names], scorer)
    known: Sequence[int] = [i for i in range(len(names)) if not math.isnan(hard[i])]
    ordered = sorted(known, key=lambda i: -hard[i])
    return [names[i] for i in ordered] + [name for i, name in enumerate(names) if math.isnan(hard[i])]


def _told(row: Difficulty, slices: int) -> dict[str, Any]:
    """A number for JSON, which knows neither NaN nor infinity; the size of a case of one slice is an area."""
    hard = float(difficulty([row.value], row.scorer)[0])
    return {
        "value": row.value if math.isfinite(row.value) else None,
        "unit": SCORERS[row.scorer].unit_of(slices),
        "difficulty": hard if math.isfinite(hard) else None,
        "source": row.source,
        "model": row.model,
        "revision": row.revision,
    }


def _cell(row: Difficulty | None) -> str:
    if row is None:
        return "–"
    value = "none" if math.isnan(row.value) else f"{row.value:.4g}"
    return f"≈ {value}" if row.on_prediction else value
