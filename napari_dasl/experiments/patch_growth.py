"""Progressive growing of the patch against a constant one: Fischer et al., MICCAI 2024 and its successor of 2025.

Four arms with the same optimiser steps: ``constant``, ``resource`` (the planned batch at every size), ``performance``
(batches that fill the memory of the last size) and ``random`` (a stage drawn at every step, the control). All are
tested with the patch of the plan; half of the patches are centred on a labelled voxel.

The plan's patch covers the median training scan, rounded up to what the network divides: at 1 mm a hippocampus comes to
40 × 56 × 40 for the U-Net (steps of 8: 15 stages), 48 × 64 × 48 for UNETR (16: 8 stages, 7 without the one of a single
token) and 64 × 64 × 64 for SwinUNETR (32: 4, or 3 without it). Growth means little with fewer than two steps along an
axis, so no side is shorter than that. ``--set patch=…`` says otherwise.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dasl.curriculum import StageChoice, plan_stages
from napari_dasl.experiments import arms as making
from napari_dasl.experiments import performing
from napari_dasl.experiments.arms import Arm, Course, Protocol, Row, Run
from napari_dasl.experiments.data import split
from napari_dasl.experiments.experiment import Experiment, Findings, Option, choice, count, sides
from napari_dasl.experiments.performing import PROCESSOR
from napari_dasl.experiments.statistics import paired_difference
from napari_dasl.experiments.tables import Column, Table, by_arm, spread
from napari_dasl.networks.families import patch_divisor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_dasl.curriculum.growth import Triple
    from napari_dasl.curriculum.schedule import Schedule
    from napari_dasl.events import CancelCheck, Report
    from napari_dasl.experiments.data import Split
    from napari_dasl.training.plan import TrainingPlan

FEWEST_STEPS = 2
BOTTLENECK = {"unetr": 2, "swin-unetr": 2}
"""Networks normalised by instance, which one voxel at the bottleneck would turn into nothing."""

TIME_RATIO, DICE_LOSS = 0.5, 0.01
"""The claim of the resource mode: at most this part of the time, at a Dice no more than this below."""

PUBLISHED: dict[str, tuple[float | None, float | None, str]] = {
    "constant": (1.0, 1.0, ""),
    "resource": (0.44, 1.0, "0.26–0.34"),
    "performance": (0.89, 1.0128, "0.94–0.98"),
    "random": (None, None, ""),
}
"""Time and Dice against the constant patch over 15 tasks and three networks, and mean voxels (of its tables)."""


def growing_patch(typical: Sequence[float], step: Triple) -> Triple:
    """The *typical* scan rounded up to multiples of *step*, and at least :data:`FEWEST_STEPS` of them long."""
    z, y, x = (max(FEWEST_STEPS, math.ceil(round(n) / s)) * s for n, s in zip(typical, step, strict=True))
    return (z, y, x)


def arms(protocol: Protocol) -> tuple[Arm, ...]:
    """The four arms."""
    order = protocol.options["order"]
    bottleneck = protocol.options["bottleneck"] or BOTTLENECK.get(protocol.network, 1)

    def grown(kind: Any, mode: Any = "resource") -> Course:
        return Course(stages=StageChoice(kind, mode=mode, order=order, bottleneck=bottleneck))

    return (
        Arm("constant", "The patch of the plan throughout."),
        Arm("resource", "The patch grows, the batch is the plan's.", course=grown("growth")),
        Arm("performance", "The patch grows, the batch shrinks with it.", course=grown("growth", "performance")),
        Arm("random", "One of the stages of resource, drawn at every step.", course=grown("random-patch")),
    )


def split_of(protocol: Protocol, seed: int) -> Split:
    """Test cases that are the same for every seed, and training cases that the seed chooses."""
    return split(protocol.study, seed, test=protocol.options["test"], train=protocol.options["train"])


def plan_of(protocol: Protocol, seed: int) -> TrainingPlan:
    """The plan of every arm of a seed."""
    options = protocol.options
    samples = split_of(protocol, seed).train
    changes: dict[str, Any] = {"batch": options["batch"], "foreground": 0.5, "schedule": options["schedule"]}
    if options["rate"]:
        changes["learning_rate"] = options["rate"]
    if protocol.network == "unet":
        widths = [options["width"] * 2**level for level in range(3)]
        changes["network_options"] = {"channels": widths, "strides": [[2, 2, 2]] * 3}
    plan = making.derived_plan(protocol, samples, seed=seed)
    step = patch_divisor(plan.network, plan.network_options | changes.get("network_options", {}))
    patch = options["patch"] or growing_patch(_typical(samples, plan), step)
    if "img_size" in plan.network_options:
        changes["network_options"] = {"img_size": list(patch)}
    return making.changed(plan, {**changes, "patch": patch})


def prepare(protocol: Protocol) -> Protocol:
    """Measure once which number type is fastest here: one for all arms and stages."""
    plan = plan_of(protocol, 0)
    grown = [stage.patch for arm in arms(protocol) if arm.course for stage in _stages(arm.course, plan)]
    return making.settled(protocol, plan, grown)


def perform(protocol: Protocol, run: Run, report: Report, cancelled: CancelCheck) -> Row:
    """Train one arm and test it."""
    plan, dealt = plan_of(protocol, run.seed), split_of(protocol, run.seed)
    schedule: Schedule | None = None
    measures: dict[str, Any] = {"patch": list(plan.patch), "batch": plan.batch}
    if run.arm.course is not None:
        zeros = np.zeros(len(dealt.train))
        schedule = making.schedule_of(run.arm.course, plan, zeros, steps=protocol.steps or 0)
        measures["stages"] = [[list(stage.patch), stage.batch, stage.share] for stage in schedule.stages]
    return performing.perform(
        protocol, run, plan, dealt, schedule=schedule, measures=measures, report=report, cancelled=cancelled
    )


def tell(protocol: Protocol, rows: Sequence[Row]) -> Findings:
    """Time, voxels and Dice of every arm against the constant patch, beside the paper's."""
    grouped = by_arm(rows)
    comparisons = {name: compared(found, grouped.get("constant", [])) for name, found in grouped.items()}
    columns = (
        Column("arm"),
        Column("Dice", 4),
        Column("Dice − constant", 4),
        Column("time, s", 1),
        Column("time / constant", 3),
        Column("processor time / constant", 3),
        Column("voxels / constant", 3),
        Column("paper: time / constant", 2),
        Column("paper: voxels / constant"),
        Column("paper: Dice / constant", 4),
        Column("Dice / constant", 4),
        Column("SD of Dice over seeds", 4),
        Column("difference from", 4),
        Column("to", 4),
        Column("p (t)", 4),
        Column("p (Wilcoxon)", 4),
        Column("seeds", 0),
    )
    table = []
    for name, found in grouped.items():
        dice, sd, n = spread(row.mean_dice for row in found)
        against = comparisons[name]
        time, relative, voxels = PUBLISHED[name]
        seconds = spread(row.seconds for row in found)[0]
        ratio = spread(row.voxels_ratio for row in found)[0]
        ours = (against.get("dice"), seconds, against.get("time_ratio"), against.get("cpu_ratio"), ratio)
        paired = [against.get(key) for key in ("low", "high", "p_t", "p_wilcoxon")]
        theirs = (time, voxels or None, relative, against.get("dice_ratio"))
        table.append((name, dice, *ours, *theirs, sd, *paired, n))
    words = claim(comparisons.get("resource", {}))
    caption = (
        "Time, voxels and Dice on the test cases. Differences are paired: Dice of a test case, averaged over the seeds "
        "that both arms have, minus that of the constant patch, with a 95 % bootstrap interval over the test cases. "
        "Published: means over 15 tasks and UNet, UNETR, SwinUNETR."
    )
    result = Table(columns, tuple(table), caption)
    return Findings((words,), (result, _seeds(grouped)), _pictures(protocol, grouped), {"compared": comparisons})


def compared(found: Sequence[Row], constant: Sequence[Row]) -> dict[str, Any]:
    """One arm against the constant patch, over the seeds that both have; empty where there is none.

    Returns
    -------
    dict
        ``seeds``; ``time_ratio`` and ``cpu_ratio``, of the sums over seeds; ``dice``, the mean difference, with
        ``low``, ``high``, ``p_t`` and ``p_wilcoxon``, paired over test cases; ``by_seed``: differences of the mean
        Dice; ``dice_ratio``.
    """
    base = {row.seed: row for row in constant}
    pairs = [(row, base[row.seed]) for row in found if row.seed in base]
    if not pairs:
        return {}
    cases = [
        case
        for case in pairs[0][0].dice
        if all(a.dice.get(case) is not None and b.dice.get(case) is not None for a, b in pairs)
    ]
    ours = [float(np.mean([a.dice[case] for a, _ in pairs])) for case in cases]  # type: ignore[arg-type]
    theirs = [float(np.mean([b.dice[case] for _, b in pairs])) for case in cases]  # type: ignore[arg-type]
    over = paired_difference(ours, theirs)
    # Where a GPU computes, the processor's time says nothing.
    there = all(row.device.startswith(PROCESSOR) for pair in pairs for row in pair)
    cpu = [(a.cpu_seconds, b.cpu_seconds) for a, b in pairs if there and a.cpu_seconds and b.cpu_seconds]
    return {
        "seeds": [a.seed for a, _ in pairs],
        "time_ratio": math.fsum(a.seconds for a, _ in pairs) / math.fsum(b.seconds for _, b in pairs),
        "cpu_ratio": math.fsum(a for a, _ in cpu) / math.fsum(b for _, b in cpu) if cpu else None,
        "dice": over.mean,
        "low": over.low,
        "high": over.high,
        "p_t": over.p_t,
        "p_wilcoxon": over.p_wilcoxon,
        "by_seed": [(a.mean_dice or 0.0) - (b.mean_dice or 0.0) for a, b in pairs],
        "dice_ratio": float(np.mean(ours) / np.mean(theirs)) if np.mean(theirs) else None,
    }


def claim(resource: dict[str, Any]) -> str:
    """Whether the resource mode does here what is claimed of it, with the figures."""
    if not resource:
        return "Resource mode: not yet compared with the constant patch."
    # Other work stretches the clock, for one arm more than for another: both clocks must say so.
    held = max(resource["time_ratio"], resource["cpu_ratio"] or 0.0) <= TIME_RATIO and resource["dice"] >= -DICE_LOSS
    interval = "" if resource["low"] is None else f" (95 % interval {resource['low']:+.4f} to {resource['high']:+.4f})"
    processor = "" if resource["cpu_ratio"] is None else f" ({resource['cpu_ratio']:.1%} of the processor's)"
    return (
        f"Claim: resource mode trains in at most {TIME_RATIO:.0%} of the constant patch's time at a Dice no more than "
        f"{DICE_LOSS} below: {'held' if held else 'not held'} here. {resource['time_ratio']:.1%} of the time by the "
        f"clock{processor}, Dice {resource['dice']:+.4f}{interval}, {len(resource['seeds'])} seeds."
    )


def _typical(samples: Sequence[Any], plan: TrainingPlan) -> list[float]:
    """The median shape of the scans on the plan's grid."""
    from napari_dasl.training.topology import network_shape
    from napari_dasl.volumes.reading import read_geometry

    shapes = [network_shape(read_geometry(each.image).canonical_shape, each.spacing, plan.spacing) for each in samples]
    return [float(n) for n in np.median(shapes, axis=0)]


def _stages(course: Course, plan: TrainingPlan) -> Sequence[Any]:
    return plan_stages(course.stages, plan.patch, patch_divisor(plan.network, plan.network_options), plan.batch)


def _seeds(grouped: dict[str, list[Row]]) -> Table:
    columns = (
        Column("arm"),
        Column("seed", 0),
        Column("Dice", 4),
        Column("time, s", 1),
        Column("processor time, s", 1),
        Column("steps", 0),
        Column("voxels per step", 0),
        Column("threads", 0),
        Column("precision"),
        Column("trained on", 0),
        Column("tested on", 0),
    )
    lines = tuple(
        (
            *(name, row.seed, row.mean_dice, row.seconds, row.cpu_seconds, row.steps, row.voxels, row.threads),
            *(row.precision, len(row.train), len(row.dice)),
        )
        for name, found in grouped.items()
        for row in found
    )
    return Table(columns, lines, "Every run.", sortable=True)


def _pictures(protocol: Protocol, grouped: dict[str, list[Row]]) -> tuple[tuple[str, Any], ...]:
    from napari_dasl.experiments import figures
    from napari_dasl.reports.blocks import Picture

    dice = {name: [row.mean_dice or 0.0 for row in found] for name, found in grouped.items()}
    seconds = {name: [row.seconds for row in found] for name, found in grouped.items()}
    losses = {name: [row.losses for row in found if row.losses] for name, found in grouped.items()}
    stages = {name: [_voxels(row) for row in found[:1]] for name, found in grouped.items() if found[0].arm != "random"}
    return (
        (
            "dice_and_time",
            Picture(
                figures.repeats([("Dice on the test cases", dice), ("training time, s", seconds)]),
                "Dice and training time of every arm and seed.",
                "Every seed is a mark, the bar is their mean.",
            ),
        ),
        (
            "voxels",
            Picture(
                figures.curves(stages, "part of the training", "voxels per optimiser step", logarithmic=True),
                "Voxels per optimiser step over the training of each arm.",
                "What an optimiser step sees. The random patch draws from the sizes of resource at every step.",
            ),
        ),
        (
            "loss",
            Picture(
                figures.curves(losses, "optimiser step", "training loss"),
                "Training loss over the optimiser steps of each arm.",
                "Mean of 10 steps, and over seeds with one standard deviation. Losses of patches of different sizes do "
                "not compare.",
            ),
        ),
    )


def _voxels(row: Row) -> list[tuple[float, float]]:
    """Corners of the steps of voxels over progress."""
    whole = [(row.measures["patch"], row.measures["batch"], 1.0)]
    found, at = [], 0.0
    for patch, batch, share in row.measures.get("stages", whole):
        voxels = float(math.prod(patch) * batch)
        found += [(at + 1e-9, voxels), (at + share, voxels)]
        at += share
    return found


def _rate(text: str) -> float:
    if not 0 <= float(text) < 1:
        raise ValueError("a learning rate from 0 to below 1 is wanted")
    return float(text)


EXPERIMENT = Experiment(
    name="patch-growth",
    title="Progressive growing of patch size",
    sentence="A patch that grows during training against the plan's constant one, with the same optimiser steps.",
    paper="Fischer et al., Progressive growing of patch size (MICCAI 2024; 2025)",
    networks=("unet", "unetr", "swin-unetr"),
    steps=1000,
    seeds=3,
    arms=arms,
    perform=perform,
    tell=tell,
    prepare=prepare,
    options=(
        Option("order", "Which axis grows: 2025, or the order of 2024.", "2025", choice("2025", "2024")),
        Option("test", "Test cases, the same for every seed.", 40, count),
        Option("train", "Training cases, drawn by the seed; 0: all the others.", 0, count),
        Option("patch", "The plan's patch, such as 40x56x40; by default what covers the median scan.", None, sides),
        Option("batch", "Patches per step at the plan's patch.", 2, count),
        Option("width", "Features of the U-Net's first level, doubled at each of the two others.", 16, count),
        Option("bottleneck", "Fewest voxels at the coarsest level of the first patch; 0: the network's.", 0, count),
        Option(
            "schedule", "How the learning rate falls: poly, as published, or cosine.", "poly", choice("poly", "cosine")
        ),
        Option("rate", "The highest learning rate; 0: that of the network's plan.", 0.0, _rate),
    ),
    phantoms="mr",
)
