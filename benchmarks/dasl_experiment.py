"""The comparisons of deep active self-paced learning on real scans: curves, AUBC with intervals, figure.

    NAPARI_DASL_DATA=... python benchmarks/dasl_experiment.py --data hippocampus --name al --minutes 60
    NAPARI_DASL_DATA=... python benchmarks/dasl_experiment.py --data hippocampus --name phases --minutes 90
    NAPARI_DASL_DATA=... python benchmarks/dasl_experiment.py --data lidc --name lidc
    NAPARI_DASL_DATA=... python benchmarks/dasl_experiment.py --data sts --name sts

Each makes (once) a parent project in ``--work``, with the test cases drawn by a fixed seed before anything else (40 of
the hippocampus; whole patients of LIDC and of the sarcoma PET), and a small training plan in its ``plan.toml``: a
U-Net of 16, 32 and 64 channels, batch 2, so that a training of 400 steps takes about twenty seconds on one core. The
same plan and the same steps hold for every arm. Then it runs ``napari_dasl.rounds.simulation`` and writes
``docs/experiments/<name>/``. After ``--minutes`` it stops where it is and writes what is there; the same call goes on.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_dasl.errors import Cancelled
from napari_dasl.events import Log, Phase
from napari_dasl.project import Project, setup
from napari_dasl.rounds import training_plan
from napari_dasl.rounds.planning import PLAN_FILE
from napari_dasl.rounds.simulation import make, simulate
from napari_dasl.training.plan import TrainingPlan

ROOT = Path(__file__).resolve().parents[1]
FOUR = ["dasl", "default", "uncertainty", "random"]
CYCLE = "phases=spl-al-spl"

EXPERIMENTS: dict[str, dict[str, Any]] = {
    # Active learning alone. β = 0 turns "dasl" into "uncertainty", and "default" into the last arm, case by case.
    "al": {
        "strategies": [*FOUR, "uncertainty@ranking.region=lesion"],
        "initial": 8,
        "query": 8,
        "rounds": 4,
        "seeds": 5,
    },
    # The whole loop, beside active learning alone and the same number of steps without pseudo-labels. Four of the
    # twelve initial labels judge the models.
    "phases": {
        "strategies": [
            *(f"{name}@{CYCLE}" for name in ("dasl", "default", "random")),
            f"default@{CYCLE}@control=steps",
            f"dasl@{CYCLE}@beta=0",
            "random",
        ],
        "initial": 12,
        "guard": 4,
        "query": 8,
        "rounds": 4,
        "seeds": 5,
    },
    "lidc": {"strategies": [*FOUR, "random-foreground"], "initial": 16, "query": 16, "rounds": 4, "seeds": 3},
    "sts": {"strategies": [*FOUR, "random-foreground"], "initial": 4, "query": 4, "rounds": 4, "seeds": 3},
}

SETS: dict[str, dict[str, Any]] = {
    "hippocampus": {
        "images": "imagesTr",
        "labels": "labelsTr",
        "modality": "MR",
        "folder": "hippocampus",
        "test": 40,
        "classes": ("anterior", "posterior"),
    },
    "lidc": {
        "images": "image",
        "labels": "nodule_mask",
        "modality": "CT",
        "folder": "lidc_nodules",
        "test": 120,
        "classes": ("nodule",),
    },
    "sts": {
        "images": "",
        "labels": "",
        "modality": "PET",
        "folder": "sts_pet_ct_mr",
        "test": 10,
        "classes": ("tumour",),
    },
}

PATCH = {"hippocampus": (32, 40, 32), "sts": (48, 40, 40)}
"""Where the derived patch is larger than a short training needs."""


def patient(data: str, case: str) -> str:
    """Who a case is of: LIDC has several nodules of one patient, and these must not be on both sides."""
    return case.split("_")[0] if data == "lidc" else case


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=tuple(SETS), required=True)
    parser.add_argument("--name", required=True, help="one of the experiments here, or a new name with --strategy")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "experiments", help="where the projects are")
    parser.add_argument("--out", type=Path, default=None, help="default: docs/experiments/<name>")
    parser.add_argument("--minutes", type=float, default=None)
    parser.add_argument("--strategy", nargs="+")
    parser.add_argument("--initial", type=int)
    parser.add_argument("--query", type=int)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--guard", type=int)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--start", choices=("scratch", "active"), default="active", help="initial weights of a round")
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--only-figures", action="store_true", help="draw what a result.json in --out says")
    args = parser.parse_args()
    out = args.out or ROOT / "docs" / "experiments" / args.name
    if args.only_figures:
        write(out, json.loads((out / "result.json").read_text()))
        return
    data = Path(os.environ.get("NAPARI_DASL_DATA", "."), SETS[args.data]["folder"])
    told = EXPERIMENTS.get(args.name, {"initial": 8, "query": 8, "rounds": 4, "seeds": 3})
    told |= {key: value for key in ("initial", "query", "rounds", "seeds", "guard") if (value := getattr(args, key))}
    told |= {"strategies": args.strategy} if args.strategy else {}
    study, test = parent(args.work / args.data, data, args.data)
    spec = make(
        **told | {"seeds": range(told["seeds"])},
        truth=truth(args.work, data, args.data),
        test_list=test,
        steps=args.steps,
        start=args.start,
        jobs=args.jobs,
        device=args.device,
    )
    begun = time.monotonic()

    def late() -> bool:
        return args.minutes is not None and time.monotonic() - begun > 60 * args.minutes

    with Project.open(study) as project:
        try:
            found = simulate(project, spec, say, late)
        except Cancelled as stopped:
            print(stopped, flush=True)
            found = newest(study)
    write(out, found)
    print(f"{found['complete']} of {found['runs']} runs complete; {out}", flush=True)
    sys.exit(0 if found["complete"] == found["runs"] else 3)


def say(event: object) -> None:
    if isinstance(event, Log | Phase):
        print(event.text, flush=True)


def newest(study: Path) -> dict[str, Any]:
    """What the simulation that was stopped left behind."""
    path = max(study.glob("simulations/*/result.json"), key=lambda one: one.stat().st_mtime)
    document: dict[str, Any] = json.loads(path.read_text())
    return document


def truth(work: Path, data: Path, name: str) -> Path:
    return data / SETS[name]["labels"] if SETS[name]["labels"] else data


def parent(study: Path, data: Path, name: str) -> tuple[Path, tuple[str, ...]]:
    """Make the project that runs are made from, unless it is there: scans by reference, test cases, plan."""
    listed = study / "test-cases.txt"
    if not listed.exists():
        about = SETS[name]
        if not (study / "project.toml").exists():
            setup.make(
                study,
                images=data / about["images"],
                labels=data / about["labels"],
                modality=about["modality"],
                classes=about.get("classes"),
                guard=0.0,
                seed=0,
            )
        with Project.open(study) as project:
            cases = [case.id for case in project.cases() if case.labelled]
            if not (study / PLAN_FILE).exists():
                small(training_plan(project), name).to_file(study / PLAN_FILE)
        held: list[str] = []
        people = sorted({patient(name, case) for case in cases})
        for one in np.random.default_rng(0).permutation(people):
            if len(held) < about["test"]:
                held += [case for case in cases if patient(name, case) == one]
        listed.write_text("\n".join(sorted(held)) + "\n")
    return study, tuple(listed.read_text().split())


def small(plan: TrainingPlan, name: str) -> TrainingPlan:
    """The plan that one core trains in about twenty seconds; the grid, normalisation and augmentation are as derived.

    Measured on the hippocampus with 16 labels, 30 test cases, one seed, one core with bf16: patch 40 × 56 × 40 and
    the default rate, 300 steps, 24 s: Dice 0.758; patch 32 × 40 × 32, rate 0.01, average 0.98, 400 steps, 19 s: 0.781.
    """
    levels = len(plan.network_options["strides"])
    options = {**plan.network_options, "channels": [min(16 * 2**level, 64) for level in range(levels)]}
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    changed = {"network_options": options, "batch": 2, "learning_rate": 0.01, "average": 0.98}
    changed |= {"precision": "bf16" if fast else "fp32", "patch": PATCH.get(name, plan.patch)}
    return TrainingPlan.model_validate(plan.model_dump() | changed)


def write(out: Path, found: dict[str, Any]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    found = found | {"folder": Path(found["folder"]).name}  # no path of this machine
    found["spec"] = found["spec"] | {"truth": Path(found["spec"]["truth"]).name}
    (out / "result.json").write_text(json.dumps(found, indent=1))
    keys = [key for key in (found["curves"][0] if found["curves"] else {}) if key not in ("per_class", "picked")]
    with (out / "curves.csv").open("w", newline="") as file:
        sheet = csv.writer(file, lineterminator="\n")
        sheet.writerow([*keys, "picked"])
        for row in found["curves"]:
            sheet.writerow([*(row[key] for key in keys), " ".join(row["picked"])])
    (out / "table.md").write_text(markdown(found))
    figure(out / "curves.png", found)


def markdown(found: dict[str, Any]) -> str:
    spec = found["spec"]
    lines = [
        f"{found['complete']} of {found['runs']} runs complete; {found['test']} test cases, {found['cases']} others. "
        f"Initial {spec['initial']} (guard {spec['guard'] or 0} of them), query {spec['query']}, "
        f"{spec['rounds']} rounds, {spec['steps']} steps per training.",
        "",
        "| strategy | AUBC | SD | Dice at the end | SD | runs |",
        "|---|---|---|---|---|---|",
    ]
    for name, area in found["aubc"].items():
        last = found["final"][name]
        lines.append(
            f"| {name} | {area['mean']:.4f} | {number(area['std'])} | {last['mean']:.4f} | {number(last['std'])} "
            f"| {area['n']} |"
        )
    lines += [
        "",
        "Differences in AUBC over paired seeds, 95 % BCa bootstrap intervals; in brackets p after Holm's correction.",
        "",
        "| a − b | difference | 95 % interval | p (t) | p (Wilcoxon) | pairs | at the end |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in found["paired"]:
        lines.append(
            f"| {one['a']} − {one['b']} | {one['mean']:+.4f} | {number(one['low'])} to {number(one['high'])} "
            f"| {number(one['p_t'])} ({number(one['p_t_holm'])}) "
            f"| {number(one['p_wilcoxon'])} ({number(one['p_wilcoxon_holm'])}) | {one['n']} "
            f"| {one['final']['mean']:+.4f} |"
        )
    return "\n".join(lines) + "\n"


def number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def figure(path: Path, found: dict[str, Any]) -> None:
    """Every seed as a thin line, the mean over complete seeds as a thick one."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    drawing, axis = pyplot.subplots(figsize=(8, 5), layout="constrained")
    for number_, name in enumerate(found["spec"]["strategies"]):
        colour = f"C{number_}"
        curves: dict[int, list[tuple[float, float]]] = {}
        for row in found["curves"]:
            if row["strategy"] == name and row["dice"] is not None:
                curves.setdefault(row["seed"], []).append((row["annotated"], row["dice"]))
        whole = [curve for curve in curves.values() if len(curve) == found["spec"]["rounds"] + 1]
        for curve in curves.values():
            axis.plot(*zip(*curve, strict=True), color=colour, linewidth=0.6, alpha=0.5)
        if whole:
            x = [annotated for annotated, _ in whole[0]]
            y = np.mean([[dice for _, dice in curve] for curve in whole], axis=0)
            axis.plot(x, y, color=colour, linewidth=2.2, marker="o", markersize=4, label=f"{name} (n = {len(whole)})")
    axis.set_xlabel("annotated scans")
    axis.set_ylabel(f"mean Dice on {found['test']} test cases")
    axis.grid(alpha=0.3)
    if found["aubc"]:
        axis.legend(fontsize=8)
    drawing.savefig(path, dpi=130)
    pyplot.close(drawing)


if __name__ == "__main__":
    main()
