"""Slices by difficulty: no curriculum, contrast and gradient difficulty, made again from Moreau et al. (ISBI 2023).

Every slice with a lesion is a sample; patients are dealt into folds, and each arm is trained once per fold, from the
same first weights. A curriculum has six groups of equal size that are added after 25, 25, 35, 35, 40 and 40 passes of
200, scaled to the steps there are; ``random`` adds the slices in any order at the same pace. Gradient difficulty
starts from the fold's network without a curriculum and goes on training it on the fold's own training slices, so that
no test slice has a part in the order. How hard a *test* slice is, for the table of R², is the mean over the folds
that train on it.

Here and there: the paper initialises Mask R-CNN with ImageNet weights, and this one starts from random ones, with the
scores above which it draws tuned on training slices.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from napari_dasl.curriculum.difficulty import difficulty
from napari_dasl.errors import Cancelled
from napari_dasl.events import Phase, Progress
from napari_dasl.experiments.arms import Arm, Course, Row, Run, changed, derived_plan, mean_voxels, schedule_of, settled
from napari_dasl.experiments.data import fold
from napari_dasl.experiments.experiment import Experiment, Option, choice, count
from napari_dasl.experiments.performing import fit, told_of
from napari_dasl.experiments.slices import SIDE, Cut, Slice, lesion_slices
from napari_dasl.experiments.stroke_findings import tell
from napari_dasl.experiments.turns import alone
from napari_dasl.metrics.overlap import dice
from napari_dasl.metrics.surface import distances
from napari_dasl.networks.families import family
from napari_dasl.rounds.curricula import cooked, of_preset, pacing_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_dasl.curriculum.schedule import Schedule
    from napari_dasl.events import CancelCheck, Report
    from napari_dasl.experiments.arms import Protocol
    from napari_dasl.experiments.data import Sample, Split
    from napari_dasl.experiments.performing import Fitted
    from napari_dasl.inference import Predictor
    from napari_dasl.training.plan import TrainingPlan

PRESET = "stroke-contrast"
"""What it says of pacing and training holds for every arm."""

NETWORKS: dict[str, dict[str, Any]] = {
    "unet-2d": {"learning_rate": 1e-3},
    "mask-rcnn": {"optimiser": "sgd", "learning_rate": 0.01},
}
"""The paper names the optimisers and no learning rates."""

TUNED_ON = 60
"""Training slices on which the thresholds of a detector are tuned."""


def arms(protocol: Protocol) -> tuple[Arm, ...]:
    """No curriculum, the two of the paper, and random order at their pace."""
    pacing = pacing_of(of_preset(PRESET)[0])
    return (
        Arm("none", "All training slices from the first step on."),
        Arm("contrast", "Slices whose lesion stands out come first.", course=Course("contrast", "easy", pacing)),
        Arm("gradient", "Slices that teach most come first.", course=Course("gradient", "easy", pacing)),
        Arm("random", "Random order at the same pace: the control.", course=Course("contrast", "random", pacing)),
    )


def sliced(protocol: Protocol) -> Protocol:
    """The protocol with the slices of its scans as its study; they are cut when they are first asked for."""
    options = protocol.options
    cut = Cut(options["side"], options["flip"] == "yes", options["healthy"] == "hemisphere", options["slices"])
    with alone(protocol.work / "slices"):
        return replace(protocol, study=lesion_slices(protocol.study, protocol.work / "slices", cut))


def seed_of(run: Run) -> int:
    """Of weights and batches: the same for every arm of a fold."""
    return 100 * run.seed + run.fold


def plan_of(protocol: Protocol, samples: Sequence[Sample], seed: int) -> TrainingPlan:
    """The preset's recipe with the paper's optimiser, on whole slices; *protocol* is that of the slices."""
    options = protocol.options
    changes = dict(NETWORKS[protocol.network])
    if options["batch"]:
        changes["batch"] = options["batch"]
    if options["rate"]:
        changes["learning_rate"] = options["rate"]
    plan = cooked(derived_plan(protocol, samples, seed=seed), of_preset(PRESET)[1])
    # Mirrored, a lesion would lie on the side that none is on.
    mirror = ["y"] if options["flip"] == "yes" else ["y", "x"]
    return changed(
        plan, {**changes, "patch": (1, options["side"], options["side"]), "augmentation": {"mirror": mirror}}
    )


def prepare(protocol: Protocol) -> Protocol:
    """Cut the slices, and measure once which number type is fastest here."""
    cut = sliced(protocol)
    plan = plan_of(cut, cut.study.samples, 0)
    return replace(protocol, precision=settled(cut, plan).precision)


def perform(protocol: Protocol, run: Run, report: Report, cancelled: CancelCheck) -> Row:
    """Order the slices, train on them, and look at those of the patients that are left."""
    cut = sliced(protocol)
    split = fold(cut.study, run.fold, protocol.options["folds"], seed=run.seed)
    plan = plan_of(cut, split.train, seed_of(run))
    schedule: Schedule | None = None
    measures: dict[str, Any] = {}
    if run.arm.course is not None:
        values = measured(cut, run, plan, split, report, cancelled)
        if run.arm.course.scorer == "gradient":
            names = [one.id for one in split.train]
            measures["gradient"] = dict(zip(names, [None if v != v else float(v) for v in values], strict=True))
        hard = difficulty(values, run.arm.course.scorer)
        schedule = schedule_of(run.arm.course, plan, hard, steps=_steps(protocol, run.arm) or 0)
    fitted = trained(cut, run, plan, split, schedule, report, cancelled)
    predictor = _predictor(cut, fitted, plan, split.train, report, cancelled)
    found = _looked(predictor, cast("Sequence[Slice]", split.test), report, cancelled)
    voxels = mean_voxels(schedule, plan, fitted.steps)
    measures |= {"hd": found.pop("hd"), "drawn": found.pop("drawn")}
    return Row(
        train=tuple(one.id for one in split.train),
        measures=measures,
        voxels=voxels,
        **found,
        **told_of(protocol, run, fitted, plan.network),
    )


def _steps(protocol: Protocol, arm: Arm) -> int | None:
    """Optimiser steps of an arm: the same for all, or as many passes as without a curriculum, as in the paper."""
    if protocol.steps is None or arm.course is None or protocol.options["length"] == "steps":
        return protocol.steps
    return max(1, round(protocol.steps * arm.course.pacing.relative_steps()))


def trained(
    protocol: Protocol,
    run: Run,
    plan: TrainingPlan,
    split: Split,
    schedule: Schedule | None,
    report: Report,
    cancelled: CancelCheck,
) -> Fitted:
    """The training of *run*, of which two runs may ask at once: gradient difficulty starts from that without one."""
    folder = protocol.work / "runs" / run.name
    minutes = protocol.minutes
    if minutes is not None and schedule is not None and protocol.options["length"] == "passes":
        minutes *= schedule.pacing.relative_steps()
    with alone(protocol.work / "turns" / run.name, cancelled):
        return fit(
            protocol,
            plan,
            split.train,
            folder,
            schedule=schedule,
            steps=_steps(protocol, run.arm),
            minutes=minutes,
            report=report,
            cancelled=cancelled,
        )


def measured(
    protocol: Protocol, run: Run, plan: TrainingPlan, split: Split, report: Report, cancelled: CancelCheck
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """What the arm orders the training slices by, in the unit of its scorer."""
    if run.arm.course is None or run.arm.course.scorer == "contrast":
        return np.array([one.contrast for one in cast("Sequence[Slice]", split.train)])
    from napari_dasl.scoring import gradient
    from napari_dasl.training import Cache

    none = next(arm for arm in arms(protocol) if arm.course is None)
    first = trained(protocol, Run(none, run.seed, run.fold), plan, split, None, report, cancelled)
    options = protocol.options
    plan = plan.model_copy(update={"batch": min(plan.batch, options["gradient-batch"])})
    with alone(protocol.work / "turns" / f"gradient-{run.name}", cancelled):
        return gradient(
            plan,
            [one.data() for one in split.train],
            protocol.work / "gradient" / f"s{run.seed}-f{run.fold}",
            cache=Cache(protocol.work / "prepared", plan),
            weights=first.weights,
            repeats=options["repeats"],
            epochs=options["epochs"],
            device=protocol.device,
            report=report,
            cancelled=cancelled,
        )


def _predictor(
    protocol: Protocol,
    fitted: Fitted,
    plan: TrainingPlan,
    train: Sequence[Sample],
    report: Report,
    cancelled: CancelCheck,
) -> Predictor:
    """The trained network; a detector with thresholds that suit training slices."""
    from napari_dasl.inference import Predictor
    from napari_dasl.inference.region.thresholds import FILE, Thresholds, tune
    from napari_dasl.project.instances import describe, number_lesions
    from napari_dasl.training.device import Precision, choose
    from napari_dasl.training.weights import load_network

    target = choose(protocol.device)
    network = load_network(fitted.weights, plan, target)
    if not family(plan.network).detector:
        return Predictor(network, plan, target, Precision("fp32", channels_last=False))
    folder: Path = fitted.weights.parent
    if not (folder / FILE).exists():
        predictor = Predictor(network, plan, target)
        chosen = [train[i] for i in np.unique(np.linspace(0, len(train) - 1, TUNED_ON).round().astype(int))]
        found, truth = [], []
        for one in chosen:
            case = one.data()
            found.append(predictor.candidates(case.image(), case.spacing, cancelled=cancelled))
            ids, classes = number_lesions(cast("Any", case.label()))
            truth.append(describe(ids, classes, None, case.spacing))
        tune(found, truth).to_file(folder)
    return Predictor(network, plan, target, thresholds=Thresholds.from_file(folder))


def _looked(predictor: Predictor, slices: Sequence[Slice], report: Report, cancelled: CancelCheck) -> dict[str, Any]:
    """Dice, Hausdorff distance in mm and seconds of every slice, and whether anything was drawn in it."""
    report(Phase(name="predict", text=f"Looking at {len(slices)} test slices."))
    found: dict[str, Any] = {"dice": {}, "hd": {}, "drawn": {}, "predict_seconds": {}}
    for done, one in enumerate(slices):
        if cancelled():
            raise Cancelled("Stopped while looking at the test slices.", "The trained network is kept.")
        case = one.data()
        image, truth = case.image(), np.asarray(case.label())[0] > 0
        before = time.perf_counter()
        drawn = predictor.case(image, case.spacing).argmax(axis=0)[0] > 0
        found["predict_seconds"][one.id] = time.perf_counter() - before
        found["dice"][one.id] = dice(truth, drawn)
        found["drawn"][one.id] = bool(drawn.any())
        found["hd"][one.id] = float(distances(truth, drawn, one.pixel).msd) if drawn.any() else None
        report(Progress(name="predict", done=done + 1, total=len(slices), text=one.id))
    return found


def _folds(text: str) -> int:
    if int(text) < 2:
        raise ValueError("a whole number from 2 up is wanted")
    return int(text)


def _one(text: str) -> int:
    if int(text) < 1:
        raise ValueError("a whole number from 1 up is wanted")
    return int(text)


def _rate(text: str) -> float:
    if not 0 <= float(text) < 1:
        raise ValueError("a learning rate from 0 to below 1 is wanted")
    return float(text)


EXPERIMENT = Experiment(
    name="stroke-difficulty",
    title="Slices by difficulty",
    sentence="Trains on axial slices in order of the contrast of their lesions, and in order of what they still teach "
    "a trained network, and compares with no order and with random order at the same pace.",
    paper="Moreau et al., Difficulty metrics study for curriculum-based deep learning in the context of stroke lesion "
    "segmentation (ISBI 2023)",
    networks=tuple(NETWORKS),
    steps=600,
    seeds=1,
    arms=arms,
    perform=perform,
    tell=lambda protocol, rows: tell(sliced(protocol), rows),
    prepare=prepare,
    options=(
        Option("folds", "Folds of patients.", 5, _folds),
        Option("side", "Rows and columns that slices are resized to, a multiple of 16.", SIDE, count),
        Option("slices", "Of one scan, at most so many slices; 0: all with a lesion.", 0, count),
        Option("flip", "Mirror slices so that all lesions lie on one side.", "no", choice("yes", "no")),
        Option("healthy", "What contrast compares with.", "shell", choice("shell", "hemisphere")),
        Option(
            "length", "The same steps for all arms, or passes, as in the paper.", "steps", choice("steps", "passes")
        ),
        Option("batch", "Slices per step; 0: 12.", 0, count),
        Option("rate", "The highest learning rate; 0: the experiment's own.", 0.0, _rate),
        Option("repeats", "Of measuring gradient difficulty.", 2, _one),
        Option("epochs", "Of each of its repeats; the paper has 100.", 3, _one),
        Option("gradient-batch", "Views of a slice in each of its steps.", 2, _one),
    ),
    phantoms="mr",
)

__all__ = ["EXPERIMENT"]
