"""The loop of labelling and training, replayed with the truth as annotator: DASL beside other ways to choose.

Every arm is a strategy as ``napari-dasl simulate`` spells it (``dasl``, ``default``, ``dasl@phases=spl-al-spl``, …),
and every run of it the very rounds of a project: :mod:`napari_dasl.rounds.simulation`. All arms of a seed start from
the same labels, and are tested on scans that no run ever sees.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_dasl.errors import InputError
from napari_dasl.events import never
from napari_dasl.experiments import statistics, tables
from napari_dasl.experiments.arms import Arm, Row, changed, settled
from napari_dasl.experiments.data import split
from napari_dasl.experiments.experiment import Experiment, Findings, Option, choice, count, sides
from napari_dasl.experiments.turns import alone
from napari_dasl.reports.blocks import Column, Picture, Table, interval, number, several

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from napari_dasl.events import CancelCheck, Report
    from napari_dasl.experiments.arms import Protocol, Run
    from napari_dasl.rounds.simulation import Simulation
    from napari_dasl.rounds.simulation.material import Material
    from napari_dasl.training.plan import TrainingPlan

PUBLISHED = ((50, 0.56, 0.87), (100, 0.59, 0.90), (150, 0.62, 0.92), (None, 0.64, 0.95))
"""Labels at the beginning (None: all from the beginning), Dice and Dice of the nodules found, on LIDC-IDRI."""

STRATEGIES = ("dasl", "default", "uncertainty", "random", "random-foreground")


def arms(protocol: Protocol) -> tuple[Arm, ...]:
    """One for each strategy."""
    told = {
        "dasl": "Uncertain, and like many others (Eq. 3).",
        "default": "What a new project does.",
        "uncertainty": "The most uncertain first (Eq. 2).",
        "random": "Any scan: the control.",
        "random-foreground": "Any scan in which something was found: the stronger control.",
    }
    return tuple(Arm(name, told.get(name, "As napari-dasl simulate spells it.")) for name in _strategies(protocol))


def _strategies(protocol: Protocol) -> tuple[str, ...]:
    found: tuple[str, ...] = protocol.options["strategies"]
    return found


def project_of(protocol: Protocol) -> Path:
    """The project that runs are made from, with the experiment's plan; made when it is first asked for."""
    from napari_dasl.project import Project, setup
    from napari_dasl.rounds import training_plan
    from napari_dasl.rounds.planning import PLAN_FILE

    folder = protocol.work / "project"
    with alone(protocol.work / "turns"):
        if not (folder / "project.toml").exists():
            study = protocol.study
            setup.make(
                folder,
                images=study.folder,
                labels=study.folder,
                modality=study.modality,
                classes=study.classes,
                network=protocol.network,
                guard=0.0,
                seed=0,
            )
        if not (folder / PLAN_FILE).exists():
            with Project.open(folder) as project:
                small(training_plan(project), protocol).to_file(folder / PLAN_FILE)
    return folder


def small(plan: TrainingPlan, protocol: Protocol) -> TrainingPlan:
    """The project's plan, at a size that one core trains in half a minute; other networks keep their own."""
    options, changes = protocol.options, dict[str, Any]()
    if options["patch"]:
        changes["patch"] = options["patch"]
    if plan.network == "unet":
        levels = len(plan.network_options["strides"])
        widths = [min(options["width"] * 2**level, 4 * options["width"]) for level in range(levels)]
        changes |= {"network_options": {"channels": widths}, "batch": 2, "learning_rate": 0.01, "average": 0.98}
    plan = changed(plan, changes)
    return changed(plan, {"precision": settled(protocol, plan).precision})


def prepare(protocol: Protocol) -> Protocol:
    """Make the project, and say what its plan says of the precision."""
    from napari_dasl.rounds.planning import PLAN_FILE
    from napari_dasl.training.plan import TrainingPlan

    if protocol.steps is None:
        raise InputError("The rounds of this experiment are as long as --steps says.", "Leave --minutes out.")
    gathered(protocol, simulation(protocol, _strategies(protocol), (0,)))  # refuses what cannot be done, before any run
    plan = TrainingPlan.from_file(project_of(protocol) / PLAN_FILE)
    return replace(protocol, precision=plan.precision)


def gathered(protocol: Protocol, spec: Simulation, cancelled: CancelCheck = never) -> Material:
    """The scans of the project and the test cases, which all runs share."""
    from napari_dasl.project import Project
    from napari_dasl.rounds.simulation import material

    folder = project_of(protocol)
    with alone(protocol.work / "turns", cancelled), Project.open(folder) as project:
        return material.gather(project, spec)


def simulation(protocol: Protocol, strategies: Sequence[str], seeds: Sequence[int]) -> Simulation:
    """What is asked of the simulation.

    Raises
    ------
    InputError
        The numbers do not go together, or a strategy is not known.
    """
    from napari_dasl.rounds.simulation import make

    options = protocol.options
    test = split(protocol.study, 0, test=options["test"]).test
    return make(
        strategies=tuple(strategies),
        seeds=tuple(seeds),
        initial=options["initial"],
        query=options["query"],
        rounds=options["rounds"],
        guard=options["guard"] or None,
        start=options["start"],
        steps=protocol.steps,
        truth=protocol.study.folder,
        test_list=tuple(sample.id for sample in test),
        device=protocol.device,
        jobs=1,
    )


def perform(protocol: Protocol, run: Run, report: Report, cancelled: CancelCheck) -> Row:
    """One strategy from one draw of labels, round after round; it goes on where its project stands."""
    from napari_dasl.experiments.performing import device_name
    from napari_dasl.rounds.simulation import run as simulated
    from napari_dasl.training.device import choose

    spec = simulation(protocol, (run.arm.name,), (run.seed,))
    one = simulated.Run(spec.arms[0], run.seed, spec, gathered(protocol, spec, cancelled))
    curve = simulated.perform(one, report=report, cancelled=cancelled).cut(spec.rounds + 1)
    last = curve.points[-1]
    points = [
        point.model_dump(mode="json", include={"annotated", "dice", "seconds", "picked"}) for point in curve.points
    ]
    return Row(
        experiment=protocol.experiment,
        arm=run.arm.name,
        seed=run.seed,
        network=protocol.network,
        train=tuple(dict.fromkeys((*curve.initial, *(name for point in curve.points for name in point.picked)))),
        dice=last.cases,
        steps=sum(point.steps for point in curve.points),
        seconds=sum(point.seconds for point in curve.points),
        threads=protocol.threads,
        precision=protocol.precision,
        device=device_name(choose(protocol.device)),
        curve=tuple((point.annotated, point.dice) for point in curve.points if point.dice is not None),
        measures={"points": points, "guard": list(curve.guard)},
    )


def area(row: Row) -> float | None:
    """Area under the curve of Dice over annotated scans, divided by their range (AUBC)."""
    return statistics.aubc([n for n, _ in row.curve], [dice for _, dice in row.curve]) if len(row.curve) > 1 else None


def tell(protocol: Protocol, rows: Sequence[Row]) -> Findings:
    """Area under the learning curves, Dice at their ends, and paired differences of the strategies."""
    from napari_dasl.experiments import figures

    grouped = tables.by_arm(rows)
    pairs = compared(grouped)
    series = {name: [[(float(n), dice) for n, dice in row.curve] for row in mine] for name, mine in grouped.items()}
    finals = {name: [row.mean_dice or 0.0 for row in mine] for name, mine in grouped.items()}
    areas = {name: [found for row in mine if (found := area(row)) is not None] for name, mine in grouped.items()}
    pictures = (
        (
            "curves",
            Picture(
                figures.curves(series, "annotated scans", "Dice of the test cases"),
                "Learning curves of the strategies.",
                "Mean Dice of the test cases over annotated scans; bands are one standard deviation over the seeds.",
            ),
        ),
        (
            "seeds",
            Picture(
                figures.repeats([("AUBC", areas), ("Dice at the end", finals)]),
                "AUBC and final Dice of every strategy and seed.",
                "Every seed is a mark, the bar is their mean.",
            ),
        ),
    )
    told = (_main(grouped, areas, finals), *([_pairs(pairs)] if pairs else []), _published())
    return Findings(_words(pairs), told, pictures, {"pairs": pairs})


def compared(grouped: Mapping[str, Sequence[Row]]) -> list[dict[str, Any]]:
    """Every pair of strategies over the seeds that both have: differences in AUBC, and in Dice at the end."""
    rows: list[dict[str, Any]] = []
    for a, b in itertools.combinations(grouped, 2):
        ours, theirs = ({row.seed: row for row in grouped[name]} for name in (a, b))
        seeds = [seed for seed in ours if seed in theirs]
        couples = [(area(ours[seed]), area(theirs[seed])) for seed in seeds]
        known = [(x, y) for x, y in couples if x is not None and y is not None]
        if not known:
            continue
        one = statistics.paired_difference([x for x, _ in known], [y for _, y in known])
        last = statistics.paired_difference(
            [ours[seed].mean_dice or 0.0 for seed in seeds], [theirs[seed].mean_dice or 0.0 for seed in seeds]
        )
        rows.append({"a": a, "b": b, **vars(one), "final": last.mean})
    for row, p in zip(rows, statistics.holm([row["p_t"] for row in rows]), strict=True):
        row["p_t_holm"] = p
    return rows


def _main(
    grouped: Mapping[str, Sequence[Row]],
    areas: Mapping[str, Sequence[float]],
    finals: Mapping[str, Sequence[float]],
) -> Table:
    lines = []
    for name, mine in grouped.items():
        seconds, labels = tables.spread(row.seconds for row in mine)[0], [row.curve[-1][0] for row in mine if row.curve]
        numbers = (*tables.spread(areas[name])[:2], *tables.spread(finals[name])[:2])
        lines.append((name, len(mine), *numbers, max(labels, default=None), mine[0].steps, seconds))
    heads = (
        Column("strategy"),
        Column("seeds", 0),
        Column("AUBC", 4),
        Column("AUBC: SD", 4),
        Column("Dice at the end", 4),
        Column("Dice: SD", 4),
        Column("labels at the end", 0),
        Column("steps", 0),
        Column("time, s", 0),
    )
    return Table(heads, tuple(lines), "Area under the learning curve (mean Dice over the budget), and Dice at its end")


def _pairs(pairs: Sequence[Mapping[str, Any]]) -> Table:
    keys = ("mean", "low", "high", "p_t", "p_t_holm", "p_wilcoxon", "n", "final")
    heads = (
        Column("difference"),
        Column("AUBC", 4),
        Column("from", 4),
        Column("to", 4),
        Column("p (t)", 4),
        Column("p (t, Holm)", 4),
        Column("p (Wilcoxon)", 4),
        Column("seeds", 0),
        Column("Dice at the end", 4),
    )
    lines = tuple((f"{one['a']} − {one['b']}", *(one[key] for key in keys)) for one in pairs)
    return Table(heads, lines, "Paired differences over the seeds that both have, with 95 % bootstrap intervals")


def _published() -> Table:
    lines = tuple(("all" if first is None else str(first), dice, found) for first, dice, found in PUBLISHED)
    heads = (Column("labels at the beginning"), Column("Dice", 2), Column("Dice of nodules found", 2))
    return Table(
        heads, lines, "Published: Nodule R-CNN on LIDC-IDRI (Wang et al., MICCAI 2018), no other strategy beside"
    )


def _words(pairs: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    words = []
    for one in pairs:
        if one["b"] != "random":
            continue
        low, high = one["low"], one["high"]
        sure = low is not None and (low > 0 or high < 0)
        told = ("above" if one["mean"] > 0 else "below") if sure else "not told apart from"
        bounds = "" if low is None else f" (95 % interval {interval((low, high), 4)})"
        seeds = several(one["n"], "seed")
        words.append(f"{one['a']} is {told} random: AUBC {number(one['mean'], 4)}{bounds}, {seeds}.")
    words.append("The paper compares its strategy with no other, so that its figures say nothing of the choice.")
    return tuple(words)


def _listed(text: str) -> tuple[str, ...]:
    found = tuple(part.strip() for part in text.split(",") if part.strip())
    if not found:
        raise ValueError("strategies, separated by commas, are wanted")
    return found


EXPERIMENT = Experiment(
    name="dasl",
    title="Deep active self-paced learning",
    sentence="Replays rounds of labelling and training with the truth as annotator, and compares the ways to choose "
    "what is labelled next.",
    paper="Wang et al., Deep active self-paced learning for accurate pulmonary nodule segmentation (MICCAI 2018)",
    networks=("unet", "nodule-rcnn", "residual-se-unet"),
    steps=400,
    seeds=3,
    arms=arms,
    perform=perform,
    tell=tell,
    prepare=prepare,
    options=(
        Option("strategies", "What is compared, as simulate spells it, separated by commas.", STRATEGIES, _listed),
        Option("initial", "Scans labelled at the beginning, drawn by the seed.", 8, count),
        Option("query", "Scans that are asked for in a round.", 8, count),
        Option("rounds", "How often is asked.", 4, count),
        Option("test", "Test cases, the same for every seed.", 10, count),
        Option("guard", "Of the initial scans, so many judge models; 0: as many as the strategies need.", 0, count),
        Option("start", "First weights of a round.", "active", choice("active", "scratch")),
        Option("patch", "Patch (z, y, x); by default that of the project's plan.", None, sides),
        Option("width", "Features of the U-Net's first level.", 16, count),
    ),
    phantoms="ct",
)

__all__ = ["EXPERIMENT"]
