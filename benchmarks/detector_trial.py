"""What the benchmarks of detection share: train a network on some scans, look at others, count, draw.

A trial is a folder: ``plan.toml``, ``training/`` with the state of an unfinished training, ``model/`` as a project
keeps it, and one small file per test scan. The same call goes on where it stopped; nothing that is there is made anew.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
import torch
from napari_dasl.inference.region import thresholds

from napari_dasl.events import Log, Metric
from napari_dasl.metrics import lesions as lesion_metrics
from napari_dasl.metrics.detection import Cpm, Detection, Froc, Lesion, average_precision, cpm, froc, lesions_of
from napari_dasl.metrics.overlap import dice
from napari_dasl.metrics.surface import distances
from napari_dasl.networks.families import family
from napari_dasl.project.instances import Instance, describe, number_lesions
from napari_dasl.rounds import models
from napari_dasl.training import Budget, Cache, CaseData, TrainingPlan, derive, measure, train
from napari_dasl.training.device import choose
from napari_dasl.volumes.reading import read

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from napari_dasl.inference.predictor import Predictor

PLAN = "plan.toml"


@dataclass(frozen=True)
class Sample:
    """A scan with its truth on disk. The truth numbers its lesions, or is a mask whose components are lesions."""

    id: str
    image: Path
    truth: Path
    numbered: bool = True
    whole: bool = False  # all of the mask is one lesion, also where it falls into pieces
    excluded: tuple[int, ...] = ()

    def ids(self) -> np.ndarray:
        """Lesions by number, (z, y, x)."""
        stored = read(self.truth).array
        if self.whole:
            return (stored > 0).astype(np.uint16)
        return stored.astype(np.uint16) if self.numbered else number_lesions((stored > 0).astype(np.uint8))[0]

    def voxels(self) -> np.ndarray:
        """The scan, (1, z, y, x)."""
        return read(self.image).array.astype(np.float32)[None]

    def case(self, *, instances: bool) -> CaseData:
        """The scan as training sees it: lesions numbered for a detector, a mask for any other network."""
        return CaseData(
            id=self.id,
            image=self.voxels,
            spacing=read(self.image).spacing,
            label=self.ids if instances else lambda: (self.ids() > 0).astype(np.uint8),
            key=hashlib.sha256(self.image.read_bytes()).hexdigest(),
            label_key=hashlib.sha256(self.truth.read_bytes()).hexdigest() + ("-ids" if instances else ""),
            instances=instances,
        )


def arguments(parser: argparse.ArgumentParser, networks: Sequence[str], minutes: float) -> None:
    """The options that every one of these benchmarks has."""
    parser.add_argument("--out", type=Path, required=True, help="where the results go")
    parser.add_argument("--work", type=Path, help="where models and predictions are kept; <out>/work by default")
    parser.add_argument("--networks", nargs="+", default=list(networks))
    parser.add_argument(
        "--minutes", type=float, default=minutes, help="training time of each network (default %(default)s)"
    )
    parser.add_argument("--steps", type=int, help="the same number of steps for each network instead of the same time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--set", nargs="*", default=[], metavar="[NETWORK:]KEY=JSON", help="change values of the plan")
    parser.add_argument("--only-figures", action="store_true", help="draw what a result.json in --out says")


def settings_for(network: str, settings: Sequence[str]) -> list[str]:
    """The settings of one network: those that name it, and those that name none."""
    mine = []
    for setting in settings:
        head, _, rest = setting.partition(":")
        if "=" in head:
            mine.append(setting)
        elif head == network:
            mine.append(rest)
    return mine


def changed(plan: TrainingPlan, settings: Sequence[str]) -> TrainingPlan:
    values: dict[str, Any] = plan.model_dump(mode="json")
    for setting in settings:
        key, value = setting.split("=", 1)
        *path, last = key.split(".")
        target = values
        for part in path:
            target = target[part]
        target[last] = json.loads(value)
    return TrainingPlan.model_validate(values)


def predictor_of(
    network: str,
    learn: Sequence[Sample],
    tune: Sequence[Sample],
    folder: Path,
    args: argparse.Namespace,
    modality: str,
    adapt: Callable[[TrainingPlan], TrainingPlan] = lambda plan: plan,
) -> tuple[Predictor, dict[str, Any]]:
    """Train the network unless it is there, and tune a detector's thresholds on scans that it did not train on."""
    detector = family(network).detector
    cases = [sample.case(instances=detector) for sample in learn]
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / PLAN).exists():
        fingerprint = measure(cases, channels=("image",), classes=("lesion",))
        compute = choose(args.device).type
        plan = derive(fingerprint, modality=modality, network=network, compute=compute, seed=args.seed)
        changed(adapt(plan), settings_for(network, args.set)).to_file(folder / PLAN)
    plan, model, training = TrainingPlan.from_file(folder / PLAN), folder / "model", folder / "training"
    if not (model / PLAN).exists():
        print(f"{network}: patch {plan.patch}, spacing {plan.spacing}, batch {plan.batch}", flush=True)
        budget = Budget(steps=args.steps, minutes=None if args.steps else args.minutes)
        cache = Cache(folder.parent / f"cache-{network}", plan)
        done = train(plan, cases, training, cache=cache, resume=True, budget=budget, device=args.device, report=say)
        models.keep(model, done.weights, plan, args.device)
    if detector and tune:
        tuned(model, tune, args.device)
    told = json.loads((training / "training.json").read_text())
    spent = {"steps": told["steps"], "train_seconds": told["seconds"], "patch": plan.patch, "spacing": plan.spacing}
    return models.predictor(model, args.device), spent


def tuned(model: Path, tune: Sequence[Sample], device: str) -> None:
    """Choose the thresholds of a detector on the *tune* scans, as a round does on its guard set, and keep them."""
    if (model / thresholds.FILE).exists():
        return
    predictor = models.predictor(model, device)
    found = [predictor.candidates(sample.voxels(), read(sample.image).spacing) for sample in tune]
    chosen = thresholds.tune(found, [lesions_in(sample.ids(), read(sample.truth).spacing) for sample in tune])
    chosen.to_file(model)
    print(f"thresholds: {chosen}", flush=True)


def lesions_in(ids: np.ndarray, spacing: tuple[float, float, float]) -> tuple[Instance, ...]:
    return describe(ids, {int(k): 1 for k in np.unique(ids) if k}, None, spacing)


def say(event: object) -> None:
    if isinstance(event, Log):
        print(event.text, flush=True)
    elif isinstance(event, Metric) and (event.name != "loss" or event.step % 100 == 0):
        print(f"{event.step:6d} {event.name} {event.value:.4f}", flush=True)


def look(
    predictor: Predictor, tests: Sequence[Sample], folder: Path, extra: Extra | None = None
) -> list[dict[str, Any]]:
    """One row per test scan, from its file where it was looked at before."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, sample in enumerate(tests):
        path = folder / f"{sample.id}.json"
        if not path.exists():
            path.write_text(json.dumps(row(predictor, sample, extra)))
            if number % 20 == 0:
                print(f"{folder.name}: {number} of {len(tests)}", flush=True)
        rows.append(json.loads(path.read_text()))
    return rows


Extra = Callable[[np.ndarray, np.ndarray, tuple[float, float, float]], dict[str, Any]]
"""More figures of one scan, from truth and prediction (masks) and the spacing."""


def row(predictor: Predictor, sample: Sample, extra: Extra | None) -> dict[str, Any]:
    volume, ids = read(sample.image), sample.ids()
    began = time.perf_counter()
    found = predictor.predict(volume.array.astype(np.float32)[None], volume.spacing)
    seconds = time.perf_counter() - began
    mask = found.probability.argmax(axis=0) > 0
    left_out = np.isin(ids, sample.excluded)
    counted = np.where(left_out, 0, ids)
    if left_out.any():  # what was drawn on an excluded lesion alone is neither right nor wrong
        pieces, count = lesion_metrics.components(mask)
        on_it, on_others = (np.bincount(pieces[where], minlength=count + 1) for where in (left_out, counted > 0))
        ignored = (on_it > 0) & (on_others == 0)
        ignored[0] = False
        mask &= ~ignored[pieces]
    matched = lesion_metrics.match(counted, mask, volume.spacing, ids=True)
    truth = lesions_in(ids, volume.spacing)
    out = [place for place, one in enumerate(truth) if one.id in sample.excluded]
    away = distances(counted > 0, mask, volume.spacing)
    return {
        "case": sample.id,
        "seconds": seconds,
        "dice": nothing(dice(counted > 0, mask)),
        "lesion_dice": matched.dice,
        "false_positives": matched.false_positives,
        "hd": nothing(away.msd),
        "hd95": nothing(away.hd95),
        "detections": [[*one.centre, one.score, *one.box] for one in found.instances],
        "lesions": [asdict(one) for one in lesions_of(sample.id, truth, out)],
        **(extra(counted > 0, mask, volume.spacing) if extra else {}),
    }


def nothing(value: float) -> float | None:
    return None if math.isnan(value) else value


def curve(rows: Sequence[dict[str, Any]]) -> tuple[Froc, Cpm, float]:
    """FROC, CPM and average precision at IoU 0.1 of some rows."""
    found = [Detection(r["case"], tuple(d[:3]), d[3], tuple(d[4:])) for r in rows for d in r["detections"]]
    true = [Lesion(**one) for r in rows for one in r["lesions"]]
    scans = [r["case"] for r in rows]
    drawn = froc(found, true, scans)
    return drawn, cpm(drawn), average_precision(found, true, scans)


def summary(rows: Sequence[dict[str, Any]], spent: dict[str, Any]) -> dict[str, Any]:
    drawn, whole, precision = curve(rows)
    parts = [value for r in rows for value in r["lesion_dice"]]
    hit = [value for value in parts if value is not None]
    dices = [r["dice"] for r in rows if r["dice"] is not None]
    distance = [r["hd"] for r in rows if r["hd"] is not None]
    return spent | {
        "scans": len(rows),
        "lesions": drawn.lesions,
        "dice": average(dices),
        "dice_sd": float(np.std(dices, ddof=1)) if len(dices) > 1 else None,
        "tp_dice": average(hit),
        "tp_dice_sd": float(np.std(hit, ddof=1)) if len(hit) > 1 else None,
        "drawn_rate": len(hit) / len(parts) if parts else None,
        "drawn_false_positives": average([r["false_positives"] for r in rows]),
        "rate_at_1": nothing(drawn.rate(1.0)),
        "threshold_at_1": nothing(drawn.threshold(1.0)) if math.isfinite(drawn.threshold(1.0)) else None,
        "cpm": nothing(whole.value),
        "cpm_interval": [nothing(whole.low), nothing(whole.high)],
        "sensitivities": [nothing(value) for value in whole.sensitivities],
        "ap": nothing(precision),
        "hd": average(distance),
        "both_drawn": len(distance),
        "seconds_per_scan": average([r["seconds"] for r in rows]),
        "froc": {
            "false_positives": drawn.false_positives.tolist(),
            "sensitivity": [nothing(value) for value in drawn.sensitivity.tolist()],
        },
    }


def average(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if len(values) else None


def number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


COLUMNS: tuple[tuple[str, Callable[[dict[str, Any]], str]], ...] = (
    ("Dice (SD)", lambda one: f"{number(one['dice'])} ({number(one['dice_sd'], 2)})"),
    ("TP Dice (SD)", lambda one: f"{number(one['tp_dice'])} ({number(one['tp_dice_sd'], 2)})"),
    ("lesions drawn", lambda one: number(one["drawn_rate"])),
    ("false per scan", lambda one: number(one["drawn_false_positives"], 2)),
    ("detected at ≤ 1 false", lambda one: number(one["rate_at_1"])),
    ("CPM (95 %)", lambda one: f"{number(one['cpm'])} ({' to '.join(number(v) for v in one['cpm_interval'])})"),
    ("AP at IoU 0.1", lambda one: number(one["ap"])),
    ("steps", lambda one: str(one["steps"])),
    ("training, s", lambda one: number(one["train_seconds"], 0)),
    ("s per scan", lambda one: number(one["seconds_per_scan"], 2)),
)


def table(arms: dict[str, dict[str, Any]], more: Sequence[tuple[str, Callable[[dict[str, Any]], str]]] = ()) -> str:
    """A Markdown table, one line per arm."""
    columns = [*COLUMNS, *more]
    lines = ["| | " + " | ".join(name for name, _ in columns) + " |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {arm} | " + " | ".join(show(one) for _, show in columns) + " |" for arm, one in arms.items()]
    return "\n".join(lines) + "\n"


def write(out: Path, found: dict[str, Any], words: Sequence[str], more: Sequence[Any] = ()) -> None:
    """``result.json``, ``table.md`` and ``froc.png``."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "result.json").write_text(json.dumps(found, indent=1))
    (out / "table.md").write_text("\n\n".join([*words, table(found["arms"], more)]))
    figure(out / "froc.png", found["arms"])
    print((out / "table.md").read_text(), flush=True)


def redraw(out: Path, more: Sequence[Any] = ()) -> None:
    """The table and the figure of a result that is there."""
    found = json.loads((out / "result.json").read_text())
    write(out, found, found["words"], more)


def figure(path: Path, arms: dict[str, dict[str, Any]]) -> None:
    """FROC curves over a logarithmic axis from 1/8 to 8 false positives per scan."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    drawing, axis = pyplot.subplots(figsize=(7, 5), layout="constrained")
    for name, one in arms.items():
        x, y = one["froc"]["false_positives"], one["froc"]["sensitivity"]
        if one["cpm"] is not None:
            rates = np.geomspace(0.05, 16, 400)
            axis.plot(rates, np.interp(rates, [0.0, *x], [0.0, *y]), label=f"{name}: CPM {one['cpm']:.3f}")
    axis.set_xscale("log", base=2)
    axis.set_xticks([0.125, 0.25, 0.5, 1, 2, 4, 8], ["1/8", "1/4", "1/2", "1", "2", "4", "8"])
    axis.set(xlabel="false positives per scan", ylabel="sensitivity", xlim=(0.1, 10), ylim=(0, 1.02))
    axis.grid(alpha=0.3)
    axis.legend(loc="lower right")
    drawing.savefig(path, dpi=130)
    pyplot.close(drawing)


def split(groups: dict[str, list[Sample]], test: float, tune: float, seed: int) -> list[list[Sample]]:
    """Deal whole patients into training, tuning and test scans, by shares of the patients."""
    people = sorted(groups)
    shuffled = [people[i] for i in np.random.default_rng(seed).permutation(len(people))]
    last, middle = round(test * len(people)), round(tune * len(people))
    parts = shuffled[last + middle :], shuffled[last : last + middle], shuffled[:last]
    return [[sample for one in sorted(part) for sample in groups[one]] for part in parts]


def store(path: Path, array: np.ndarray, spacing: tuple[float, float, float]) -> None:
    """Write a (z, y, x) array whose axes grow to superior, posterior and left, as the reader gives them back."""
    affine = np.diag([-spacing[2], -spacing[1], spacing[0], 1.0])
    nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(array.T), affine), path)


def machine() -> dict[str, Any]:
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"threads": torch.get_num_threads(), "gpu": gpu}
