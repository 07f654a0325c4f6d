"""What a simulation found: curves as a table, the area under each, and paired comparisons of the strategies."""

from __future__ import annotations

import csv
import io
import itertools
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dasl.metrics.statistics import aubc, holm, paired_difference
from napari_dasl.volumes.atomic import write_bytes_atomic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from napari_dasl.rounds.simulation.curves import Curve, Point
    from napari_dasl.rounds.simulation.material import Material
    from napari_dasl.rounds.simulation.spec import Simulation

RESULT, TABLE = "result.json", "curves.csv"


def document(
    spec: Simulation, material: Material, curves: Sequence[Curve], failed: Mapping[str, str], seconds: float
) -> dict[str, Any]:
    """Return the answer of ``napari-dasl simulate --json``.

    Returns
    -------
    dict
        ``curves``: a row per point; ``aubc`` and ``final``: mean and standard deviation over the complete runs of each
        strategy; ``paired``: a row per pair of strategies (*a* minus *b*, over the seeds that both completed) with the
        bootstrap interval of the difference in AUBC, its p values, those after Holm's correction, and under ``final``
        the same for the last point; ``failed``; ``spec``.
    """
    rows = [row(curve, point) for curve in curves for point in curve.points]
    whole = {(one.strategy, one.seed): one for one in curves if _complete(one, spec)}
    areas = {key: aubc([p.annotated for p in one.points], _dice(one)) for key, one in whole.items()}
    finals = {key: _dice(one)[-1] for key, one in whole.items()}
    return {
        "curves": rows,
        "aubc": _summary(spec, areas),
        "final": _summary(spec, finals),
        "paired": _paired(spec, areas, finals),
        "test": material.test,
        "cases": len(material.sources),
        "left_out": [{"case": case, "reason": reason} for case, reason in material.left_out],
        "failed": [{"run": name, "reason": reason} for name, reason in failed.items()],
        "complete": len(whole),
        "runs": len(spec.strategies) * len(spec.seeds),
        "seconds": seconds,
        "spec": spec.model_dump(mode="json"),
        "folder": str(material.folder),
    }


def row(curve: Curve, point: Point) -> dict[str, Any]:
    """One point as a flat row."""
    last = point.rounds[-1] if point.rounds else {}
    trained: Mapping[str, Any] = last.get("trained_on") or {}
    guard: Mapping[str, Any] = last.get("guard") or {}
    return {
        "strategy": curve.strategy,
        "seed": curve.seed,
        "round": point.round,
        "annotated": point.annotated,
        "dice": point.dice,
        "per_class": point.per_class,
        "foreground_voxels": point.foreground_voxels,
        "human": trained.get("human"),
        "pseudo": trained.get("pseudo"),
        "lambda": last.get("lambda"),
        "guard_dice": guard.get("dice"),
        "promoted": point.promoted,
        "steps": point.steps,
        "seconds": point.seconds,
        "model": point.model,
        "mistakes": len(point.mistakes),
        "picked": list(point.picked),
    }


def write(folder: Path, found: Mapping[str, Any]) -> None:
    """Write ``result.json`` and ``curves.csv`` into *folder*, which is made; StorageError where that fails."""
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes_atomic(folder / RESULT, json.dumps(found, indent=1, allow_nan=False, default=str).encode())
    write_bytes_atomic(folder / TABLE, table(found["curves"]).encode())


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The points as comma-separated text, classes as columns of their own, cases separated by spaces."""
    classes = list(dict.fromkeys(label for one in rows for label in one["per_class"]))
    plain = [key for key in (rows[0] if rows else {}) if key not in ("per_class", "picked")]
    text = io.StringIO()
    sheet = csv.writer(text, lineterminator="\n")
    sheet.writerow([*plain, *(f"dice {label}" for label in classes), "picked"])
    for one in rows:
        sheet.writerow(
            [*(one[key] for key in plain), *(one["per_class"].get(c) for c in classes), " ".join(one["picked"])]
        )
    return text.getvalue()


def _complete(curve: Curve, spec: Simulation) -> bool:
    return len(curve.points) > spec.rounds and all(point.dice is not None for point in curve.points)


def _dice(curve: Curve) -> list[float]:
    return [point.dice for point in curve.points if point.dice is not None]


def _summary(spec: Simulation, values: Mapping[tuple[str, int], float]) -> dict[str, dict[str, Any]]:
    found = {}
    for name in spec.strategies:
        mine = [values[name, seed] for seed in spec.seeds if (name, seed) in values]
        if mine:
            std = float(np.std(mine, ddof=1)) if len(mine) > 1 else None
            found[name] = {"mean": float(np.mean(mine)), "std": std, "n": len(mine)}
    return found


def _paired(
    spec: Simulation, areas: Mapping[tuple[str, int], float], finals: Mapping[tuple[str, int], float]
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for a, b in itertools.combinations(spec.strategies, 2):
        seeds = [seed for seed in spec.seeds if (a, seed) in areas and (b, seed) in areas]
        if not seeds:
            continue
        area, final = (
            paired_difference([values[a, seed] for seed in seeds], [values[b, seed] for seed in seeds])
            for values in (areas, finals)
        )
        rows.append({"a": a, "b": b, **asdict(area), "final": asdict(final)})
    for one, t, w in zip(rows, holm([r["p_t"] for r in rows]), holm([r["p_wilcoxon"] for r in rows]), strict=True):
        one |= {"p_t_holm": t, "p_wilcoxon_holm": w}
    return rows
