"""Deep active self-paced learning with Nodule R-CNN on lung nodules: few labels and the loop, beside all labels.

    NAPARI_DASL_DATA=... python benchmarks/nodule_rcnn_dasl.py --out build/dasl --minutes 30
    python benchmarks/nodule_rcnn_dasl.py --images crops --masks masks --out build/try --initial 12 --query 4 --steps 5

The table of Wang et al. 2018 (MICCAI): from 50, 100 and 150 labels the loop goes once through SPL-AL-SPL and asks for
``--query`` labels on the way, with the rounds of the package and the truth as annotator; 15 % of the initial labels
are the guard set. "Labels alone" is the model of the initial labels before the loop. Each of the four trainings has
``--steps`` steps and goes on from the active model; a training whose model the guard set turned down leaves nothing
behind. "All labels" is one training, with as many steps as stand behind the model of a loop and with those of all four
trainings, so that what differs is the labels. Whole patients are the test and are never seen.

Not as in the paper: crops with one nodule each, not whole scans; minutes of training, not hours; one draw of the labels
(``--seed``). Stopped, or after ``--minutes``, the same call goes on.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

from detector_trial import Sample, look, machine, number, predictor_of, redraw, say, split, summary, write
from nodule_rcnn import crops

from napari_dasl.errors import Cancelled
from napari_dasl.project import Project, setup
from napari_dasl.rounds import models
from napari_dasl.rounds.simulation import curves, make, material, run, simulate

NETWORK = "nodule-rcnn"
CYCLE = ("spl", "al", "spl")
GUARD = 0.15
"""Share of the initial labels that judges models, as in any project."""
PAPER = {50: (0.56, 0.87), 100: (0.59, 0.90), 150: (0.62, 0.92)}
PAPER_ALL = (0.64, 0.95)
COLUMNS = (
    ("labels", lambda one: str(one["labels"])),
    ("pseudo-labels of the rounds", lambda one: rounds_told(one.get("rounds", []))),
    ("Dice in the paper", lambda one: number(one["paper"][0], 2)),
    ("TP Dice in the paper", lambda one: number(one["paper"][1], 2)),
)


def parent(folder: Path, args: argparse.Namespace, cases: list[Sample]) -> Path:
    """The project that the runs are made from, with links to the crops that take part."""
    study = folder / "project"
    if not (study / "project.toml").exists():
        for kind in ("image", "mask"):
            (folder / kind).mkdir(parents=True, exist_ok=True)
        for case in cases:
            for kind, path in (("image", case.image), ("mask", case.truth)):
                link = folder / kind / path.name
                if not link.exists():
                    link.symlink_to(path.resolve())
        setup.make(
            study,
            images=folder / "image",
            labels=folder / "mask",
            modality="CT",
            classes=("nodule",),
            network=NETWORK,
            guard=0.0,
            seed=args.seed,
        )
    return study


def loop(initial: int, study: Path, tests: list[Sample], args: argparse.Namespace, late: Any) -> dict[str, Any]:
    """The arms of one number of initial labels: these alone, and after the loop."""
    spec = make(
        strategies=("dasl",),
        phases=CYCLE,
        initial=initial,
        query=args.query,
        rounds=1,
        seeds=(args.seed,),
        guard=max(2, round(GUARD * initial)),
        truth=study.parent / "mask",
        test_list=tuple(sorted(sample.id for sample in tests)),
        steps=args.steps,
        device=args.device,
        jobs=1,
    )
    with Project.open(study) as project:
        simulate(project, spec, say, late)
        one = run.Run(spec.arms[0], args.seed, spec, material.gather(project, spec))
    curve = curves.read(one.folder)
    if curve is None:
        raise SystemExit(f"{one.name} has no curve in {one.folder}")
    arms, seconds, kept_steps = {}, 0.0, 0
    with Project.open(one.folder) as project:
        for name, point in zip(("alone", "and the loop"), curve.points, strict=True):
            seconds += point.seconds
            kept_steps += args.steps * sum(facts["promoted"] for facts in point.rounds)
            kept = next(model.folder for model in project.models() if model.id == point.model)
            rows = look(models.predictor(kept, args.device), tests, study.parent / f"test-{initial}-{point.round}")
            told = {"steps": kept_steps, "train_seconds": seconds, "labels": point.annotated, "rounds": point.rounds}
            told["paper"] = PAPER.get(initial, (None, None)) if point.round else (None, None)
            arms[f"{initial} labels {name}"] = summary(rows, told)
    return arms


def rounds_told(rounds: list[dict[str, Any]]) -> str:
    """Say how many pseudo-labels each round with pseudo-labels took, and which of them the guard set turned down."""
    told = [
        f"{facts['trained_on']['pseudo']}{'' if facts['promoted'] else ' (turned down)'}"
        for facts in rounds
        if facts["phase"] == "spl"
    ]
    return ", ".join(told) or "–"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = Path(os.environ.get("NAPARI_DASL_DATA", "."), "lidc_nodules")
    parser.add_argument("--images", type=Path, default=data / "image", help="a folder of crops")
    parser.add_argument("--masks", type=Path, default=data / "nodule_mask", help="masks of the same names")
    parser.add_argument("--patients", type=int, help="only so many patients")
    parser.add_argument("--test", type=float, default=0.25, help="share of the patients (default %(default)s)")
    parser.add_argument("--tune", type=float, default=0.1, help="share that tunes the thresholds of all labels")
    parser.add_argument("--initial", type=int, nargs="+", default=[50, 100, 150])
    parser.add_argument("--reference", action=argparse.BooleanOptionalAction, default=True, help="train all labels too")
    parser.add_argument("--query", type=int, default=20, help="the paper's N (default %(default)s)")
    parser.add_argument("--steps", type=int, default=450, help="of each training (default %(default)s)")
    parser.add_argument("--minutes", type=float, default=30.0, help="stop between two steps after so many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, required=True, help="where the results go")
    parser.add_argument("--work", type=Path, help="where projects and models are kept; <out>/work by default")
    parser.add_argument("--only-figures", action="store_true", help="draw what a result.json in --out says")
    args = parser.parse_args()
    if args.only_figures:
        redraw(args.out, COLUMNS)
        return
    begun, work = time.monotonic(), args.work or args.out / "work"
    learn, judge, tests = split(crops(args.images, args.masks, args.patients), args.test, args.tune, args.seed)
    study = parent(work, args, [*learn, *judge, *tests])
    words = [
        f"{len(learn) + len(judge)} crops to label, {len(tests)} to test, by patient (seed {args.seed}); "
        f"{args.steps} steps for each of the four trainings of a loop, {args.query} labels asked for."
    ]
    arms: dict[str, Any] = {}
    try:
        for initial in args.initial:
            arms |= loop(initial, study, tests, args, lambda: time.monotonic() - begun > 60 * args.minutes)
            write(args.out, {"arms": arms, "machine": machine(), "words": words}, words, COLUMNS)
    except Cancelled as stopped:
        print(f"{stopped} The same call goes on.", flush=True)
        sys.exit(3)
    lengths = {one["steps"] for name, one in arms.items() if name.endswith("loop")} | {args.steps * (1 + len(CYCLE))}
    for steps in sorted(lengths) if args.reference else ():
        whole = argparse.Namespace(**vars(args) | {"steps": steps, "set": []})
        predictor, spent = predictor_of(NETWORK, learn, judge, work / f"all-{steps}", whole, "CT")
        told = spent | {"labels": len(learn) + len(judge), "paper": PAPER_ALL}
        arms[f"all labels, {steps} steps"] = summary(look(predictor, tests, work / f"test-all-{steps}"), told)
    write(args.out, {"arms": arms, "machine": machine(), "words": words}, words, COLUMNS)


if __name__ == "__main__":
    main()
