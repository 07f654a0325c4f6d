"""Whole scans, then tumour patches, then whole scans again, against its counterparts.

Source: Li et al., "A new three-stage curriculum learning approach for deep network based liver tumor segmentation",
2020. ``three-stage``, ``whole-patch``, ``patch-whole`` and ``whole`` (naïve) are stages of one network; ``cascade``
has two (:mod:`napari_dasl.experiments.cascade`). All have the same optimiser steps, weighted Dice and Adam at 1e-3, a
tenth of it at each later stage. Whole scans go one at a time, and so does the prediction of every arm but the
cascade; tumour patches have the size of the largest tumour of the training set, as many as hold no more voxels than a
whole scan, 2 to 32, every second without any tumour.

Scans whose whole does not fit in memory are made coarser with ``--set spacing=…``; the metrics are always taken on the
scans' own grid.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dasl.curriculum import StageChoice, largest_lesion
from napari_dasl.experiments import arms as making
from napari_dasl.experiments import performing
from napari_dasl.experiments.arms import Arm, Course, Protocol, Row, Run
from napari_dasl.experiments.data import of_lesions, split
from napari_dasl.experiments.experiment import Experiment, Findings, Option, choice, count
from napari_dasl.experiments.statistics import holm, paired_difference
from napari_dasl.experiments.tables import Column, Table, by_arm, spread
from napari_dasl.networks.families import patch_divisor
from napari_dasl.training.topology import network_shape, plan_strides

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_dasl.events import CancelCheck, Report
    from napari_dasl.experiments.data import Sample, Split
    from napari_dasl.training.plan import TrainingPlan

CASCADE = "cascade"
MOST_PATCHES = 32
"""Of a step, as in the paper with its smaller patches."""

METRICS = (
    ("DC", "dice"),
    ("DG", "dice_global"),
    ("VOE", "voe"),
    ("RVD", "rvd"),
    ("ASSD", "assd"),
    ("MSD", "msd"),
    ("RMSD", "rmsd"),
)
"""The paper's names, and ours; the last three in mm."""

PUBLISHED: dict[str, tuple[float, ...]] = {
    "three-stage": (0.822, 0.955, 0.235, 0.237, 2.458, 41.100, 5.149),
    "whole-patch": (0.799, 0.947, 0.265, 0.329, 2.533, 47.112, 5.904),
    "patch-whole": (0.633, 0.852, 0.457, 0.473, 7.513, 46.936, 11.249),
    "whole": (0.671, 0.809, 0.421, 0.860, 5.115, 37.407, 7.965),
    CASCADE: (0.702, 0.820, 0.378, 0.388, 7.151, 36.055, 9.678),
}
"""Table II of the paper: a validation part of LiTS."""

SECONDS = {"three-stage": 0.75, CASCADE: 2.64}
"""Per volume of 64 × 256 × 256, as published; 0.75 is an upper bound."""


def arms(protocol: Protocol) -> tuple[Arm, ...]:
    """The five arms."""

    def stages(kind: Any) -> Course:
        return Course(stages=StageChoice(kind, decay=protocol.options["decay"]))

    return (
        Arm("three-stage", "Whole scans, tumour patches, whole scans.", course=stages("three-stage")),
        Arm("whole-patch", "Whole scans, then tumour patches.", course=stages("whole-patch")),
        Arm("patch-whole", "Tumour patches, then whole scans.", course=stages("patch-whole")),
        Arm("whole", "Whole scans throughout (naïve learning).", course=stages("whole")),
        Arm(CASCADE, "One network finds the region in the coarse whole scan, a second one segments inside it."),
    )


def split_of(protocol: Protocol, seed: int) -> Split:
    """Test cases that are the same for every seed, and training cases that the seed chooses."""
    return split(protocol.study, seed, test=protocol.options["test"], train=protocol.options["train"])


def plan_of(protocol: Protocol, seed: int) -> TrainingPlan:
    """The plan of every arm of a seed: its patch holds every training scan whole."""
    options = protocol.options
    samples = split_of(protocol, seed).train
    plan = making.derived_plan(protocol, samples, seed=seed)
    spacing = (options["spacing"],) * 3 if options["spacing"] else plan.spacing
    network: dict[str, Any] = {"norm": "group"} if protocol.network == "residual-se-unet" else {}
    if protocol.network == "unet":
        strides = plan_strides(whole_patch(samples, spacing, (1, 1, 1)), spacing)
        network = {
            "channels": [options["width"] * 2**level for level in range(len(strides))],
            "strides": [list(stride) for stride in strides],
        }
    return making.changed(
        plan,
        {
            "network_options": network,
            "spacing": spacing,
            "patch": whole_patch(samples, spacing, patch_divisor(plan.network, plan.network_options | network)),
            "batch": 1,
            "loss": "weighted-dice",
            "optimiser": "adam",
            "learning_rate": 1e-3,
            "schedule": "constant",
            "warmup": 0.0,
        },
    )


def whole_patch(samples: Sequence[Sample], spacing: Sequence[float], step: Sequence[int]) -> tuple[int, int, int]:
    """The size that holds every one of the *samples* on a grid of that *spacing*, in multiples of *step*."""
    from napari_dasl.volumes.reading import read_geometry

    shapes = [network_shape(read_geometry(one.image).canonical_shape, one.spacing, spacing) for one in samples]
    z, y, x = (-(-max(sides) // s) * s for sides, s in zip(zip(*shapes, strict=True), step, strict=True))
    return (z, y, x)


def tumour_patch(protocol: Protocol, plan: TrainingPlan, samples: Sequence[Sample]) -> tuple[int, int, int]:
    """The largest tumour on the plan's grid, in multiples of the network's step, and no larger than the whole."""
    from napari_dasl.training import Cache

    cache = Cache(protocol.work / "prepared", plan)
    found = []
    for sample in samples:
        label = cache.case(sample.data()).label
        found.append(largest_lesion(np.asarray(label)) if label is not None else None)
    sizes = [size for size in found if size is not None] or [(1, 1, 1)]
    step = patch_divisor(plan.network, plan.network_options)
    z, y, x = (
        min(-(-max(sides) // s) * s, most)
        for sides, s, most in zip(zip(*sizes, strict=True), step, plan.patch, strict=True)
    )
    return (z, y, x)


def patches_of(plan: TrainingPlan, tumour: Sequence[int]) -> int:
    """How many tumour patches make a step: no more voxels than the plan's, 2 to :data:`MOST_PATCHES`."""
    return int(np.clip(plan.batch * math.prod(plan.patch) // math.prod(tumour), 2, MOST_PATCHES))


def prepare(protocol: Protocol) -> Protocol:
    """Take what is tumour for the lesion, and measure which number type is fastest: one for all arms and stages."""
    if protocol.options["lesion"]:
        protocol = replace(protocol, study=of_lesions(protocol.study, protocol.options["lesion"]))
    plan = plan_of(protocol, 0)
    return making.settled(protocol, plan, [tumour_patch(protocol, plan, split_of(protocol, 0).train)])


def perform(protocol: Protocol, run: Run, report: Report, cancelled: CancelCheck) -> Row:
    """Train one arm and test it."""
    plan, dealt = plan_of(protocol, run.seed), split_of(protocol, run.seed)
    tumour = tumour_patch(protocol, plan, dealt.train)
    if run.arm.course is None:
        from napari_dasl.experiments.cascade import cascade

        batch = patches_of(plan, tumour)
        return cascade(protocol, run, plan, dealt, tumour, batch, report=report, cancelled=cancelled)
    stages = run.arm.course.stages
    course = Course(stages=StageChoice(stages.kind, decay=stages.decay, tumour_batch=patches_of(plan, tumour)))
    zeros = np.zeros(len(dealt.train))
    schedule = making.schedule_of(course, plan, zeros, steps=protocol.steps or 0, tumour=tumour, whole=plan.patch)
    told = [[list(one.patch), one.batch, one.share, one.sampling, one.rate] for one in schedule.stages]
    return performing.perform(
        protocol, run, plan, dealt, schedule=schedule, measures={"stages": told}, report=report, cancelled=cancelled
    )


def tell(protocol: Protocol, rows: Sequence[Row]) -> Findings:
    """The seven metrics and the time of every arm, each above the paper's; and three-stage against every other arm."""
    grouped = by_arm(rows)
    columns = (
        Column("arm"),
        Column("source"),
        *(Column(name if at < 4 else f"{name}, mm", 3) for at, (name, _) in enumerate(METRICS)),
        Column("SD of DC over seeds", 3),
        Column("s per volume", 3),
        Column("training, s", 1),
        Column("missed scans", 0),
        Column("seeds", 0),
    )
    lines: list[tuple[Any, ...]] = []
    for name, found in grouped.items():
        ours = [spread(row.summary["mean"][key] for row in found)[0] for _, key in METRICS]
        _, sd, n = spread(row.mean_dice for row in found)
        times = (seconds_per_volume(found), spread(row.seconds for row in found)[0])
        lines.append((name, "here", *ours, sd, *times, sum(row.summary["misses"] for row in found), n))
        lines.append((name, "paper, LiTS validation", *PUBLISHED[name], None, SECONDS.get(name), None, None, None))
    caption = (
        "DC: Dice per case; DG: Dice of all voxels together; surface distances symmetric. A scan of which nothing was "
        "found counts with Dice 0 and the scan's diagonal. Seconds per volume: median of the prediction, reading left "
        f"out, here for {_size(rows)}, on {rows[0].device}; in the paper for 64 × 256 × 256 on a GPU (three-stage: "
        "under 0.75)."
    )
    against = compared(grouped)
    second = Table(
        (
            Column("three-stage minus"),
            Column("DC", 4),
            Column("from", 4),
            Column("to", 4),
            Column("p (Wilcoxon)", 4),
            Column("p after Holm", 4),
            Column("paper: DC", 3),
        ),
        tuple(
            (name, one["mean"], one["low"], one["high"], one["p_wilcoxon"], one["p_holm"], _published_gap(name))
            for name, one in against.items()
        ),
        "Paired over test cases, each averaged over the seeds that both arms have; 95 % bootstrap interval.",
    )
    tables = (Table(columns, tuple(lines), caption), *((second,) if against else ()))
    return Findings((claim(grouped),), tables, _pictures(grouped), {"three_stage_minus": against})


def compared(grouped: dict[str, list[Row]]) -> dict[str, dict[str, Any]]:
    """The Dice of three-stage minus that of every other arm, paired over test cases; empty where it was not run."""
    ours = {row.seed: row for row in grouped.get("three-stage", [])}
    found: dict[str, dict[str, Any]] = {}
    for name, rows in grouped.items():
        pairs = [(ours[row.seed], row) for row in rows if row.seed in ours and name != "three-stage"]
        cases = [case for case in pairs[0][0].dice if _known(pairs, case)] if pairs else []
        if cases:
            a = [float(np.mean([one.dice[case] or 0.0 for one, _ in pairs])) for case in cases]
            b = [float(np.mean([other.dice[case] or 0.0 for _, other in pairs])) for case in cases]
            over = paired_difference(a, b)
            found[name] = {"mean": over.mean, "low": over.low, "high": over.high, "p_wilcoxon": over.p_wilcoxon}
    for one, p in zip(found.values(), holm([one["p_wilcoxon"] for one in found.values()]), strict=True):
        one["p_holm"] = p
    return found


def claim(grouped: dict[str, list[Row]]) -> str:
    """What the paper says of the order of the arms and of the times, and what came out here."""
    means = {name: spread(row.mean_dice for row in rows)[0] or 0.0 for name, rows in grouped.items()}
    order = " > ".join(f"{name} {means[name]:.3f}" for name in sorted(means, key=lambda name: -means[name]))
    text = (
        f"Dice per case here: {order}. Published: three-stage 0.822 > whole-patch 0.799 > cascade 0.702 > "
        "whole 0.671 > patch-whole 0.633."
    )
    one, two = seconds_per_volume(grouped.get("three-stage", [])), seconds_per_volume(grouped.get(CASCADE, []))
    if one and two:
        text += f" A volume takes {one:.3f} s, by the cascade {two:.3f} s; published: under 0.75 s and 2.64 s."
    return text


def seconds_per_volume(rows: Sequence[Row]) -> float | None:
    """The median over test cases and seeds."""
    times = [seconds for row in rows for seconds in row.predict_seconds.values()]
    return float(np.median(times)) if times else None


def _known(pairs: Sequence[tuple[Row, Row]], case: str) -> bool:
    return all(a.dice.get(case) is not None and b.dice.get(case) is not None for a, b in pairs)


def _published_gap(name: str) -> float:
    return PUBLISHED["three-stage"][0] - PUBLISHED[name][0]


def _size(rows: Sequence[Row]) -> str:
    stages = next((row.measures["stages"] for row in rows if row.measures.get("stages")), None)
    whole = next((stage[0] for stage in stages or () if stage[3] == "whole"), None)
    return " × ".join(str(side) for side in whole) if whole else "whole scans"


def _pictures(grouped: dict[str, list[Row]]) -> tuple[tuple[str, Any], ...]:
    from napari_dasl.experiments import figures
    from napari_dasl.reports.blocks import Picture

    dice = {name: [row.mean_dice or 0.0 for row in rows] for name, rows in grouped.items()}
    seconds = {name: list(row.predict_seconds.values()) for name, rows in grouped.items() for row in rows[:1]}
    losses = {name: [row.losses for row in rows if row.losses] for name, rows in grouped.items()}
    return (
        (
            "dice_and_time",
            Picture(
                figures.repeats(
                    [("Dice per case", dice), ("seconds per volume", seconds)],
                    {name: values[0] for name, values in PUBLISHED.items()},
                ),
                "Dice per case of every arm and seed beside the published, and seconds per volume.",
                "Left: every seed is a mark, the bar is their mean, the diamond is the paper's (LiTS validation). "
                "Right: every test case of one seed.",
            ),
        ),
        (
            "loss",
            Picture(
                figures.curves(losses, "optimiser step", "weighted Dice loss"),
                "Training loss over the optimiser steps of each arm.",
                "Mean of 10 steps, and over seeds with one standard deviation. For the cascade: its two networks one "
                "after the other.",
            ),
        ),
    )


def _millimetres(text: str) -> float:
    if float(text) < 0:
        raise ValueError("a size in mm from 0 up is wanted")
    return float(text)


def _values(text: str) -> tuple[int, ...]:
    found = tuple(int(part) for part in text.split(",") if part.strip())
    if not all(value > 0 for value in found):
        raise ValueError("label values from 1 up, separated by commas, are wanted")
    return found


def _factor(text: str) -> float:
    if not 0 < float(text) <= 1:
        raise ValueError("a factor above 0, at most 1, is wanted")
    return float(text)


EXPERIMENT = Experiment(
    name="liver-stages",
    title="Whole scans, tumour patches, whole scans: the three-stage curriculum",
    sentence="One network trained in three stages against fewer stages and against a cascade of two networks.",
    paper="Li et al., A new three-stage curriculum learning approach for liver tumor segmentation (2020)",
    networks=("unet", "residual-se-unet"),
    steps=900,
    seeds=3,
    arms=arms,
    perform=perform,
    tell=tell,
    prepare=prepare,
    options=(
        Option("test", "Test cases, the same for every seed.", 12, count),
        Option("train", "Training cases, drawn by the seed; 0: all the others.", 0, count),
        Option("lesion", "Label values that are tumour, such as 2 beside an organ's 1; empty: all.", None, _values),
        Option("decay", "Factor of the learning rate at each later stage.", 0.1, _factor),
        Option("width", "Features of the U-Net's first level, doubled at each of the two others.", 16, count),
        Option("spacing", "Voxel size of the network's grid in mm; 0: the plan's.", 0.0, _millimetres),
        Option("margin", "Cascade: mm around a lesion that belong to its region.", 8.0, _millimetres),
        Option("size", "Of phantoms.", "small", choice("small", "standard")),
        Option("phantoms", "How many phantoms are made.", 48, count),
    ),
    phantoms="ct",
)
