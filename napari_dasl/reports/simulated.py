"""Simulations of the loop with the truth as annotator: learning curves of the strategies and their comparison."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from napari_dasl.errors import InputError
from napari_dasl.metrics.statistics import bootstrap_interval
from napari_dasl.reports.blocks import Column, Picture, Section, Table, Words, interval, several
from napari_dasl.reports.drawing import LINES, canvas, label, legend, styled, whole_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

    from napari_dasl.reports.blocks import Block

FOLDER, RESULT = "simulations", "result.json"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Point(_Part):
    """One point of one run: Dice on the test cases with that many annotated scans."""

    strategy: str
    seed: int
    annotated: int
    dice: float | None


class Area(_Part):
    """Mean and standard deviation over the *n* complete runs of a strategy."""

    mean: float
    std: float | None = None
    n: int | None = None


class Pair(_Part):
    """Strategy *a* minus *b* over the seeds that both completed; p values plain and after Holm's correction."""

    a: str
    b: str
    mean: float
    n: int | None = None
    low: float | None = None
    high: float | None = None
    p_t: float | None = None
    p_wilcoxon: float | None = None
    p_t_holm: float | None = None
    p_wilcoxon_holm: float | None = None


class Result(_Part):
    """What `napari-dasl simulate` wrote, as far as the report shows it."""

    curves: tuple[Point, ...]
    aubc: dict[str, Area] = {}
    final: dict[str, Area] = {}
    paired: tuple[Pair, ...] = ()
    complete: int | None = None
    runs: int | None = None
    spec: dict[str, Any] = {}


@dataclass(frozen=True)
class Simulation:
    """A simulation by the *name* of its folder."""

    name: str
    result: Result

    @property
    def strategies(self) -> tuple[str, ...]:
        """In the order they first come."""
        return tuple(dict.fromkeys(point.strategy for point in self.result.curves))

    def runs(self, strategy: str) -> dict[int, list[tuple[int, float]]]:
        """Seed to (annotated, Dice), rising."""
        found: dict[int, list[tuple[int, float]]] = defaultdict(list)
        for point in self.result.curves:
            if point.strategy == strategy and point.dice is not None:
                found[point.seed].append((point.annotated, point.dice))
        return {seed: sorted(points) for seed, points in sorted(found.items())}

    def mean(self, strategy: str) -> list[tuple[int, float, float, float]]:
        """(annotated, mean Dice, low, high): bootstrap interval of the mean over the seeds; one seed has none."""
        by_count: dict[int, list[float]] = defaultdict(list)
        for points in self.runs(strategy).values():
            for annotated, dice in points:
                by_count[annotated].append(dice)
        rows = []
        for annotated, values in sorted(by_count.items()):
            middle = sum(values) / len(values)
            low, high = bootstrap_interval(values, resamples=2000) if len(values) > 1 else (middle, middle)
            rows.append((annotated, middle, low, high))
        return rows


@dataclass(frozen=True)
class Simulations:
    """Simulations that were found, and a sentence for each that could not be read."""

    found: tuple[Simulation, ...]
    problems: tuple[str, ...] = ()


def gather(project_folder: Path, given: Sequence[Path] = ()) -> Simulations:
    """Read the simulations under ``simulations`` of a project, and those in the folders *given*.

    Raises
    ------
    InputError
        A folder of *given* holds no readable result. One of the project's own is only reported.
    """
    found, problems = [], []
    own = sorted(path.parent for path in (project_folder / FOLDER).glob(f"*/{RESULT}"))
    for folder in own:
        try:
            found.append(read(folder))
        except InputError as problem:
            problems.append(problem.message)
    taken = {folder.resolve() for folder in own}
    found += [read(folder) for folder in given if folder.expanduser().resolve() not in taken]
    return Simulations(tuple(found), tuple(problems))


def read(folder: Path) -> Simulation:
    """Read the result of a simulation; InputError where there is none or it is damaged."""
    folder = folder.expanduser().resolve()
    path = folder / RESULT
    hint = "Name the folder that `napari-dasl simulate --out` wrote, or run the simulation again."
    try:
        return Simulation(folder.name, Result.model_validate(json.loads(path.read_text(encoding="utf-8"))))
    except FileNotFoundError:
        raise InputError(f"There is no result of a simulation in {folder}.", hint) from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{path} is no result of a simulation: {where}: {first['msg']}.", hint) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}.", hint) from None


@styled
def curves_figure(simulation: Simulation) -> Figure:
    """Draw a thin line per seed, and a thick one with markers and a band for the mean of each strategy."""
    figure, (axes,) = canvas(height=3.0 + 0.1 * len(simulation.strategies))
    for place, strategy in enumerate(simulation.strategies):
        colour, marker, dash = LINES[place % len(LINES)]
        for points in simulation.runs(strategy).values():
            axes.plot([n for n, _ in points], [d for _, d in points], color=colour, linewidth=0.5, alpha=0.6)
        rows = simulation.mean(strategy)
        counts = [row[0] for row in rows]
        axes.fill_between(counts, [r[2] for r in rows], [r[3] for r in rows], color=colour, alpha=0.13, linewidth=0)
        look: dict[str, Any] = {"color": colour, "marker": marker, "linestyle": dash, "linewidth": 2}
        axes.plot(counts, [row[1] for row in rows], label=label(strategy), **look)
    axes.set(xlabel="annotated scans", ylabel="Dice on the test scans", title="Simulated annotator")
    whole_numbers(axes)
    legend(figure, below=True)
    return figure


def areas_table(simulation: Simulation) -> Table:
    """Return area under the curve and last Dice per strategy, over its complete runs."""
    columns = (
        Column("Strategy"),
        Column("Complete runs", 0),
        Column("AUBC, mean", 4),
        Column("AUBC, sd", 4),
        Column("Last Dice, mean", 4),
        Column("Last Dice, sd", 4),
    )
    result = simulation.result
    rows = []
    for strategy in simulation.strategies:
        area, final = result.aubc.get(strategy), result.final.get(strategy)
        rows.append(
            (
                strategy,
                area.n if area else 0,
                area.mean if area else None,
                area.std if area else None,
                final.mean if final else None,
                final.std if final else None,
            )
        )
    return Table(columns, tuple(rows), "Area under the learning curve (mean Dice over the budget) and Dice at its end")


def pairs_table(simulation: Simulation) -> Table:
    """Return the paired differences of AUBC with their intervals and p values."""
    columns = (
        Column("Difference"),
        Column("Pairs", 0),
        Column("AUBC, mean", 4),
        Column("95 % bootstrap interval"),
        Column("p, paired t", 3),
        Column("p, Wilcoxon", 3),
        Column("p, t after Holm", 3),
        Column("p, Wilcoxon after Holm", 3),
    )
    rows = tuple(
        (
            f"{one.a} − {one.b}",
            one.n,
            one.mean,
            interval(None if one.low is None or one.high is None else (one.low, one.high), 4),
            one.p_t,
            one.p_wilcoxon,
            one.p_t_holm,
            one.p_wilcoxon_holm,
        )
        for one in simulation.result.paired
    )
    return Table(columns, rows, "Paired comparisons over the seeds that both strategies completed")


def _words(simulation: Simulation) -> str:
    spec = simulation.result.spec
    told = [several(spec[key], *words) for key, words in _SPEC if isinstance(spec.get(key), int)]
    seeds = {point.seed for point in simulation.result.curves}
    compared = several(len(simulation.strategies), "strategy", "strategies")
    said = f"Simulation {simulation.name}: {compared}, {several(len(seeds), 'seed')}"
    said += "".join(f", {one}" for one in told) + ". The truth answered in place of a person."
    complete, runs = simulation.result.complete, simulation.result.runs
    if complete is not None and runs is not None and complete < runs:
        said += f" Only {complete} of {runs} runs are complete."
    return said


_SPEC = (
    ("initial", ("initial label", "initial labels")),
    ("rounds", ("query", "queries")),
    ("query", ("scan per query", "scans per query")),
    ("steps", ("step per training", "steps per training")),
)


def section(project_folder: Path, given: Sequence[Path] = ()) -> Section:
    """Return the section."""
    simulations = gather(project_folder, given)
    blocks: list[Block] = [Words(problem, warning=True) for problem in simulations.problems]
    if not simulations.found:
        blocks.append(Words("No simulation has been run on this project."))
    for simulation in simulations.found:
        blocks.append(Words(_words(simulation)))
        if not any(point.dice is not None for point in simulation.result.curves):
            blocks.append(Words("It has no point yet."))
            continue
        alt = f"Learning curves of {', '.join(simulation.strategies)} with a simulated annotator."
        caption = (
            f"{simulation.name}: a thin line per seed; thick, the mean over the seeds with the 95 % bootstrap interval "
            "of that mean."
        )
        blocks += [Picture(curves_figure(simulation), alt, caption), areas_table(simulation)]
        if simulation.result.paired:
            blocks.append(pairs_table(simulation))
    return Section("simulations", "Simulations", tuple(blocks))
