"""Bootstrapping, self-paced, random and anti ordering under one pacing: the PET curriculum paper, made again.

Every repeat is another split. Networks that have not seen a training case score it, by their loss against its label
(bootstrapping) or against their own answer (self-paced); the scores of a repeat are made once and shared by its arms,
which differ in nothing but the order in which training cases become available.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dasl.curriculum import PACINGS, Pacing
from napari_dasl.experiments import statistics, tables
from napari_dasl.experiments.arms import Arm, Course, derived_plan, schedule_of, settled
from napari_dasl.experiments.data import fold
from napari_dasl.experiments.experiment import Experiment, Findings, Option, choice, count, share, sides
from napari_dasl.experiments.performing import perform
from napari_dasl.experiments.turns import alone
from napari_dasl.reports.blocks import Column, Picture, Table, number
from napari_dasl.rounds.curricula import cooked, of_preset, pacing_of
from napari_dasl.volumes.atomic import write_bytes_atomic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_dasl.events import CancelCheck, Report
    from napari_dasl.experiments.arms import Protocol, Row, Run
    from napari_dasl.experiments.data import Split
    from napari_dasl.training.plan import TrainingPlan

PRESET = "pet-bootstrapping"
PUBLISHED = {"bootstrapping": (0.78, 0.05), "random": (0.72, 0.17), "self-paced": (0.63, 0.10), "anti": (0.51, 0.21)}
"""Dice on 50 test scans, mean and standard deviation."""

ORDERINGS = tuple(PUBLISHED)
ALL = "all"
POINTS = 10
"""Of the learning curve."""


def arms(protocol: Protocol) -> tuple[Arm, ...]:
    """The four orderings, and training without any."""
    pacing = _pacing(protocol)
    told = (
        ("bootstrapping", "bootstrapping", "easy", "What networks that have not seen it segment well comes first."),
        ("self-paced", "self-paced", "easy", "What networks that have not seen it are sure of comes first."),
        ("random", "bootstrapping", "random", "Random order under the same pacing: the control."),
        ("anti", "bootstrapping", "hard", "The order of bootstrapping, reversed."),
    )
    ordered = tuple(Arm(name, words, course=Course(scorer, order, pacing)) for name, scorer, order, words in told)  # type: ignore[arg-type]
    return (*ordered, Arm(ALL, "All training cases from the first step on: no curriculum."))


def _pacing(protocol: Protocol) -> Pacing:
    name = protocol.options["pacing"]
    return pacing_of(of_preset(PRESET)[0]) if name == "preset" else PACINGS[name]


def split_of(protocol: Protocol, seed: int) -> Split:
    """The split of a repeat: so many repeats as there are parts test every case once, and then it is shuffled anew."""
    parts = protocol.options["parts"]
    return fold(protocol.study, seed % parts, parts, seed=seed // parts)


def plan_of(protocol: Protocol, split: Split, seed: int) -> TrainingPlan:
    """The paper's recipe on the grid of these scans, at a size that one core trains in minutes."""
    _, recipe = of_preset(PRESET)
    options, changes = protocol.options, dict[str, Any]()
    if options["patch"]:
        changes["patch"] = options["patch"]
    if protocol.network == "residual-se-unet":
        widths = [options["width"] * 2**level for level in range(4)]
        changes["network_options"] = {"channels": widths, "strides": [1, 2, 2, 2]}
    plan = derived_plan(protocol, split.train, seed=seed, **changes)
    told = recipe.model_dump() | {"mixup": options["mixup"] or None}
    return cooked(plan, type(recipe)(**told))


def prepare(protocol: Protocol) -> Protocol:
    """Measure once which number type is fastest here: one for all arms."""
    return settled(protocol, plan_of(protocol, split_of(protocol, 0), 0))


def run_once(protocol: Protocol, run: Run, report: Report, cancelled: CancelCheck) -> Row:
    """Score the training cases of this repeat, unless that is done; then train in this order, and test."""
    split = split_of(protocol, run.seed)
    plan = plan_of(protocol, split, run.seed)
    schedule, measures = None, dict[str, Any]()
    if run.arm.course is not None:
        scores = scored(protocol, plan, split, run.seed, report, cancelled)
        schedule = schedule_of(run.arm.course, plan, scores[run.arm.course.scorer], steps=protocol.steps or 0)
        names = [sample.id for sample in split.train]
        measures["scores"] = {key: dict(zip(names, values, strict=True)) for key, values in scores.items()}
        measures["order"] = [split.train[index].id for index in schedule.order]
    return perform(
        protocol,
        run,
        plan,
        split,
        schedule=schedule,
        watched=split.test,
        points=POINTS,
        measures=measures,
        report=report,
        cancelled=cancelled,
    )


def scored(
    protocol: Protocol, plan: TrainingPlan, split: Split, seed: int, report: Report, cancelled: CancelCheck
) -> dict[str, list[float]]:
    """Losses of the training cases by scorer, in their order: from the repeat's folder where they were made before."""
    from napari_dasl.scoring import bootstrapping
    from napari_dasl.training import Budget, Cache

    folder = protocol.work / "scores" / f"s{seed}"
    kept, found = folder / "scores.json", dict[str, list[float]]()
    with alone(folder, cancelled):
        if kept.is_file():
            told: dict[str, list[float]] = json.loads(kept.read_text())
            return told
        effort = protocol.options["effort"]
        steps = None if protocol.steps is None else max(1, round(effort * protocol.steps))
        minutes = None if protocol.minutes is None else effort * protocol.minutes
        for name, against in (("bootstrapping", "target"), ("self-paced", "prediction")):
            losses = bootstrapping(
                plan,
                [sample.data() for sample in split.train],
                folder,
                cache=Cache(protocol.work / "prepared", plan),
                budget=Budget(steps, minutes),
                folds=protocol.options["scoring-folds"],
                groups=[sample.group for sample in split.train],
                against=against,  # type: ignore[arg-type]
                device=protocol.device,
                report=report,
                cancelled=cancelled,
            )
            found[name] = losses.tolist()
        write_bytes_atomic(kept, json.dumps(found).encode())
    return found


def tell(protocol: Protocol, rows: Sequence[Row]) -> Findings:
    """Final Dice beside the published one, the tests of the paper, and the learning curves."""
    from napari_dasl.experiments import figures

    grouped = tables.by_arm(rows)
    repeats = {name: {row.seed: row for row in mine} for name, mine in grouped.items()}
    common = _common(repeats)
    columns = _paired({name: _cases([mine[seed] for seed in common]) for name, mine in repeats.items() if common})
    anova = _anova({name: columns[name] for name in ORDERINGS if name in columns})
    over_repeats = {name: [mine[seed].mean_dice or 0.0 for seed in common] for name, mine in repeats.items()}
    series = {name: [[*map(_point, row.curve)] for row in mine] for name, mine in grouped.items()}
    pictures = (
        (
            "curves",
            Picture(
                figures.curves(series, "optimiser steps", "Dice of the test cases"),
                "Learning curves of the orderings.",
                "Mean Dice of the test cases on the way, over the repeats; bands are one standard deviation.",
            ),
        ),
        (
            "cases",
            Picture(
                figures.repeats(
                    [("Dice", {name: _flat(mine) for name, mine in grouped.items()})],
                    {name: mean for name, (mean, _) in PUBLISHED.items()},
                ),
                "Final Dice of every test case by ordering.",
                "Final Dice of every test case; diamonds are the published means.",
            ),
        ),
    )
    return Findings(
        words=_words(grouped, anova, len(common), columns),
        tables=(_orderings(grouped), *_pairs(columns, over_repeats)),
        pictures=pictures,
        numbers={"anova": None if anova is None else vars(anova), "repeats_in_pairs": len(common)},
    )


def _common(repeats: Mapping[str, Mapping[int, Row]]) -> list[int]:
    """Repeats that every arm has finished."""
    return sorted(set.intersection(*(set(mine) for mine in repeats.values())))


def _cases(rows: Sequence[Row]) -> dict[str, float]:
    """Test case to its Dice, the mean over the repeats that tested it; without those that are empty in both."""
    found: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        for case, dice in row.dice.items():
            if dice is not None:
                found[case].append(dice)
    return {case: math.fsum(values) / len(values) for case, values in sorted(found.items())}


def _paired(columns: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """The columns, with the cases whose Dice is known under every ordering."""
    shared = set.intersection(*(set(mine) for mine in columns.values())) if columns else set[str]()
    return {name: {case: dice for case, dice in mine.items() if case in shared} for name, mine in columns.items()}


def _flat(rows: Sequence[Row]) -> list[float]:
    return [dice for row in rows for dice in row.dice.values() if dice is not None]


def _point(pair: tuple[int, float]) -> tuple[float, float]:
    return float(pair[0]), pair[1]


def _anova(columns: Mapping[str, Mapping[str, float]]) -> statistics.Anova | None:
    """Over the test cases, each with its Dice under every ordering."""
    if len(columns) < 2 or min(len(mine) for mine in columns.values()) < 2:
        return None
    return statistics.repeated_measures({name: list(mine.values()) for name, mine in columns.items()})


def _orderings(grouped: Mapping[str, Sequence[Row]]) -> Table:
    """The table beside the published one."""
    lines = []
    for name, mine in grouped.items():
        mean, sd, cases = tables.spread(_flat(mine))
        _, over, _ = tables.spread(row.mean_dice for row in mine)
        areas = [_area(row.curve) for row in mine]
        theirs = PUBLISHED.get(name)
        lines.append(
            (
                name,
                len(mine),
                cases,
                mean,
                sd,
                over,
                tables.spread(areas)[0],
                tables.spread(_early(row.curve) for row in mine)[0],
                None if theirs is None else theirs[0],
                None if theirs is None else theirs[1],
                tables.spread(float(row.steps) for row in mine)[0],
                tables.spread(row.seconds for row in mine)[0],
            )
        )
    heads = (
        Column("ordering"),
        Column("repeats", 0),
        Column("test cases", 0),
        Column("Dice", 3),
        Column("SD over cases", 3),
        Column("SD over repeats", 3),
        Column("mean of the curve", 3),
        Column("Dice at a quarter", 3),
        Column("published Dice", 2),
        Column("published SD", 2),
        Column("steps", 0),
        Column("training and watching, s", 0),
    )
    return Table(heads, tuple(lines), "Dice of the test cases at the end of training, and on the way to it")


def _area(curve: Sequence[tuple[int, float]]) -> float | None:
    """Mean height of the learning curve."""
    if len(curve) < 2:
        return None
    return statistics.aubc([step for step, _ in curve], [dice for _, dice in curve])


def _early(curve: Sequence[tuple[int, float]]) -> float | None:
    """Dice after a quarter of the steps: what "learns faster" would show."""
    if not curve:
        return None
    steps, dice = zip(*curve, strict=True)
    return float(np.interp(0.25 * steps[-1], steps, dice))


def _pairs(columns: Mapping[str, Mapping[str, float]], repeats: Mapping[str, Sequence[float]]) -> tuple[Table, ...]:
    """The tests of every pair: those of the paper over cases, and paired differences over repeats."""
    if len(columns) < 2 or min(len(mine) for mine in columns.values()) < 2:
        return ()
    corrected = statistics.pairwise({name: list(mine.values()) for name, mine in columns.items()})
    lines = []
    for (a, b), holm in corrected.items():
        plain = statistics.kolmogorov_smirnov(list(columns[a].values()), list(columns[b].values()))
        paired = statistics.paired_difference(repeats[a], repeats[b])
        lines.append((f"{a} − {b}", plain.statistic, plain.p, holm.p, paired.mean, paired.low, paired.high, paired.p_t))
    heads = (
        Column("pair"),
        Column("Kolmogorov–Smirnov", 3),
        Column("p", 4),
        Column("p (Holm)", 4),
        Column("difference over repeats", 4),
        Column("from", 4),
        Column("to", 4),
        Column("p (paired t)", 4),
    )
    return (Table(heads, tuple(lines), "Pairs of orderings: distributions over test cases, means over repeats"),)


def _words(
    grouped: Mapping[str, Sequence[Row]],
    anova: statistics.Anova | None,
    common: int,
    columns: Mapping[str, Mapping[str, float]],
) -> tuple[str, ...]:
    words = []
    means = {name: tables.spread(_flat(mine))[0] or 0.0 for name, mine in grouped.items()}
    ours = sorted((name for name in means if name in PUBLISHED), key=lambda name: -means[name])
    if len(ours) > 1:
        theirs = sorted(ours, key=lambda name: -PUBLISHED[name][0])
        same = "the order of the paper" if ours == theirs else f"the paper has {', '.join(theirs)}"
        words.append(f"By Dice: {', '.join(f'{name} {number(means[name])}' for name in ours)}; {same}.")
    if anova is not None and anova.p is not None:
        told = "differ" if anova.p < 0.05 else "cannot be told apart"
        words.append(
            f"The orderings {told} (repeated measures over {len(next(iter(columns.values())))} test cases: "
            f"F({anova.between:.0f}, {anova.within:.0f}) = {number(anova.f, 2)}, p = {number(anova.p, 4)}; the paper: "
            "p < 0.001)."
        )
    if {"bootstrapping", "random"} <= set(means):
        gap = means["bootstrapping"] - means["random"]
        words.append(
            f"Against random order under the same pacing, bootstrapping gains {number(gap)} Dice (published: +0.06)."
        )
    words.append(f"{common} repeats were finished by every arm; tests are over these.")
    return tuple(words)


def _size(text: str) -> tuple[int, int, int] | None:
    return None if text in ("", "derived") else sides(text)


def _parts(text: str) -> int:
    if int(text) < 2:
        raise ValueError("a whole number from 2 up is wanted")
    return int(text)


EXPERIMENT = Experiment(
    name="pet-orderings",
    title="Easy first, hard first, or in any order, on PET",
    sentence="Trains the same network in four orders of its training cases, with the same pacing, steps and first "
    "weights, and compares them on the test cases of every split.",
    paper="Curriculum learning for tumor segmentation in PET images (head and neck, HECKTOR 2021)",
    networks=("residual-se-unet", "unet"),
    steps=400,
    seeds=5,
    arms=arms,
    perform=run_once,
    tell=tell,
    prepare=prepare,
    options=(
        Option("parts", "One of so many parts of the patients is tested on in each repeat.", 5, _parts),
        Option("pacing", "How the share of the cases grows.", "preset", choice("preset", *PACINGS)),
        Option("effort", "Length of each training that scores cases, as a share of an arm's.", 0.3, share),
        Option("scoring-folds", "Networks that score the training cases; 1 scores what it has seen.", 3, count),
        Option("patch", "Patch (z, y, x); derived: that of the plan.", (32, 32, 32), _size),
        Option("width", "Features of the finest level of the residual SE U-Net.", 12, count),
        Option("mixup", "How often patches of two registered scans are mixed.", 0.3, share),
    ),
    phantoms="pet",
)

__all__ = ["EXPERIMENT"]
