"""One run of a simulation: a project of its own, the same rounds as in the window, and the truth as annotator.

Where a run stands is read from its project: every training is a round of it, and every query is written down before
its first answer. So a run that was stopped anywhere goes on with the same cases, and does nothing twice.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_dasl import rounds
from napari_dasl.errors import Cancelled, ProjectError
from napari_dasl.events import Log, Phase, never, silent
from napari_dasl.project import Project
from napari_dasl.rounds.comparing import compare
from napari_dasl.rounds.conductor import run as run_round
from napari_dasl.rounds.gather import current_revisions, labelled_data
from napari_dasl.rounds.models import predictor
from napari_dasl.rounds.plan import RoundPlan
from napari_dasl.rounds.planning import PLAN_FILE, training_plan
from napari_dasl.rounds.simulation import annotator, curves, material
from napari_dasl.rounds.simulation.curves import Curve, Point
from napari_dasl.training import device as devices
from napari_dasl.training.plan import TrainingPlan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from napari_dasl.events import CancelCheck, Report
    from napari_dasl.metrics.cases import CaseMetrics
    from napari_dasl.project import ProjectConfig, Round
    from napari_dasl.rounds.simulation.material import Material
    from napari_dasl.rounds.simulation.spec import Arm, PhaseWord, Simulation

QUERY = "simulated query"
"""Kind of the project's event that says what the annotator was asked."""
MODELS_KEPT = 3
"""Predictions of so many newest models stay, and of the models they came from: rounds compare with them."""
FACTS = ("phase", "promoted", "guard", "trained_on", "lambda", "pseudo", "quantile", "reason", "selfpaced_off", "model")


@dataclass(frozen=True)
class Stage:
    """One training of a run: the pass of the cycle it belongs to, its place in it, and its phase."""

    turn: int
    left: int
    phase: PhaseWord
    asks: bool


@dataclass(frozen=True)
class Run:
    """An arm with one draw of initial labels."""

    arm: Arm
    seed: int
    spec: Simulation
    material: Material

    @property
    def name(self) -> str:
        """As people read it."""
        return f"{self.arm.name}, seed {self.seed}"

    @property
    def folder(self) -> Path:
        """The project of the run."""
        return self.material.folder / f"{self.arm.folder}-s{self.seed}"

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The first training on the initial labels, then one pass of the cycle per query."""
        found = [Stage(0, 0, "al", asks=False)]
        cycle = self.arm.phases
        for turn in range(1, self.spec.rounds + 1):
            for place, phase in enumerate(cycle):
                shown: PhaseWord = "al" if self.arm.control == "steps" else phase
                found.append(Stage(turn, len(cycle) - 1 - place, shown, asks=phase == "al"))
        return tuple(found)


def perform(
    run: Run,
    *,
    report: Report = silent,
    cancelled: CancelCheck = never,
    reached: Callable[[Point], None] | None = None,
) -> Curve:
    """Do what is left of a run.

    Parameters
    ----------
    run : Run
    report, cancelled
        As for a round.
    reached : callable, optional
        Told every new point of the curve.

    Raises
    ------
    Cancelled
        Everything so far is saved.
    DaslError
        A round failed.
    """
    curve = curves.read(run.folder)
    if curve is not None and len(curve.points) > run.spec.rounds:
        return curve
    with _project(run) as project:
        initial = initial_cases([one.id for one in run.material.sources], run.spec.initial, run.seed)
        _answer(project, run, initial, query=0)
        guard = _hold_back(project, run)
        _settle_precision(project, run)
        if curve is None:
            curve = Curve(strategy=run.arm.name, seed=run.seed, initial=initial, guard=guard)
        for number, stage in enumerate(run.stages):
            if stage.turn < len(curve.points):
                continue
            if cancelled():
                raise Cancelled(f"The run {run.name} was stopped between two rounds.", "What it reached is saved.")
            _stage(project, run, number, stage, report, cancelled)
            if not stage.left:
                point = _point(project, run, stage.turn, report, cancelled)
                curve = curve.model_copy(update={"points": (*curve.points, point)})
                curves.write(run.folder, curve)
                if reached:
                    reached(point)
        _tidy(project, run, last=True)
    return curve


def initial_cases(cases: Iterable[str], count: int, seed: int) -> tuple[str, ...]:
    """Draw the cases labelled before the first training, by the seed and their ids alone: the same for every arm."""
    by_lot = sorted(cases, key=lambda name: hashlib.sha256(f"initial {seed} {name}".encode()).digest())
    return tuple(sorted(by_lot[:count]))


def _project(run: Run) -> Project:
    # The parent's plan is made for its own network; another one derives its own.
    network = run.arm.settings.get("network", run.material.config.network)
    plan = run.material.plan if network == run.material.config.network else None
    project = material.open_or_make(run.folder, _config(run), run.material.sources, plan)
    changes = {key.replace(".", "__"): value for key, value in _settings(run).items()}
    try:
        project.update_config(**changes)
    except BaseException:
        project.close()
        raise
    return project


def _config(run: Run) -> ProjectConfig:
    return run.material.config.model_copy(
        update={
            "name": run.name.replace(",", ""),
            "database": "",
            "copy_scans": False,
            "seed": run.seed,
            "guard": run.spec.held / run.spec.initial,
        }
    )


def _settings(run: Run) -> dict[str, Any]:
    told: dict[str, Any] = {"ranking.strategy": run.arm.strategy, "ranking.query": run.spec.query}
    if "spl" in run.arm.phases:
        told["selfpaced.phases"] = list(run.arm.phases)
    return told | run.arm.settings


def _answer(project: Project, run: Run, wanted: Iterable[str], *, query: int) -> None:
    """Label those of the *wanted* cases that have no label yet."""
    truth = {one.id: one.truth for one in run.material.sources}
    for name in wanted:
        if not project.case(name).labelled:
            annotator.answer(project, name, truth, query=query, seed=run.seed, careless=run.spec.careless)


def _hold_back(project: Project, run: Run) -> tuple[str, ...]:
    """Make a part of the initial labels the guard set, the same one for every arm."""
    if not run.spec.held:
        return ()
    return project.choose_guard(run.spec.held / run.spec.initial, run.seed)


def _settle_precision(project: Project, run: Run) -> None:
    """Write the precision into the plan, by what the machine can do.

    A plan that leaves it to a measurement may choose differently in two runs side by side, and then these would not
    start from the same model.
    """
    plan = training_plan(project)
    if plan.precision != "auto":
        return
    if devices.choose(run.spec.device).type == "cuda":
        able = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        able = bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    plan.model_copy(update={"precision": "bf16" if able else "fp32"}).to_file(project.folder / PLAN_FILE)


def _stage(project: Project, run: Run, number: int, stage: Stage, report: Report, cancelled: CancelCheck) -> None:
    """Train once, unless that is done already; ask the annotator first where the phase says so."""
    done = project.rounds()
    if number < len(done) and done[number].state == "done":
        return
    if number < len(done):
        run_round(project, report=report, cancelled=cancelled, resume=True)
    else:
        _complete_predictions(project, stage, report, cancelled)
        if stage.asks:
            _query(project, run, stage, report)
        run_round(project, _plan(run, stage), report=report, cancelled=cancelled)
    _tidy(project, run, last=False)


def _plan(run: Run, stage: Stage) -> RoundPlan:
    final = stage.turn == run.spec.rounds and not stage.left
    return RoundPlan(
        phase=stage.phase,
        steps=run.spec.steps,
        batch=run.spec.batch,
        start=run.spec.start,
        device=run.spec.device,
        predict=not final,
        # The model that makes a point has the same initial weights in every arm, however many came before it.
        seed=1000 * run.seed + stage.turn + 100 * stage.left,
    )


def _complete_predictions(project: Project, stage: Stage, report: Report, cancelled: CancelCheck) -> None:
    """Predict what the active model has not predicted: a run that is made longer has nothing after its last point."""
    active = project.active_model()
    if stage.turn == 0 or active is None:
        return
    if {case.id for case in project.pool()} - project.predicted(active.id):
        rounds.predict(project, report=report, cancelled=cancelled)


def _query(project: Project, run: Run, stage: Stage, report: Report) -> None:
    """Ask for the first of the list, and record the answers; what was asked is written down before."""
    asked = queries(project)
    if stage.turn not in asked:
        ranking = rounds.rank(project)
        picked = [one.case for one in ranking.scores[: run.spec.query]]
        project.log_event(QUERY, {"query": stage.turn, "picked": picked, "strategy": ranking.strategy})
        asked[stage.turn] = tuple(picked)
    report(Phase(name="rank", text=f"The annotator answers query {stage.turn}."))
    _answer(project, run, asked[stage.turn], query=stage.turn)


def queries(project: Project) -> dict[int, tuple[str, ...]]:
    """Which cases every query of a run asked for."""
    return {int(one.payload["query"]): tuple(one.payload["picked"]) for one in project.events(QUERY)}


def _point(project: Project, run: Run, turn: int, report: Report, cancelled: CancelCheck) -> Point:
    """Test the active model."""
    model = project.active_model()
    if model is None:
        raise ProjectError(f"The run {run.name} has no active model.", "Look at the rounds of its project.")
    rows = _test(run, model.folder, report, cancelled)
    of_turn = [done for stage, done in zip(run.stages, project.rounds(), strict=False) if stage.turn == turn]
    labelled = [case.id for case in project.cases() if case.labelled]
    classes = project.config.classes
    careless = run.spec.careless
    asked = queries(project)
    since = {name: query for query, names in asked.items() for name in names}
    return Point(
        round=turn,
        annotated=len(labelled),
        dice=_mean([row.dice for row in rows]),
        per_class={label: _mean([row.classes[k].dice for row in rows]) for k, label in enumerate(classes)},
        cases={row.case: row.dice for row in rows},
        foreground_voxels=sum(_voxels(project, name) for name in labelled),
        seconds=sum(float(done.result.get("seconds", 0.0)) for done in of_turn),
        steps=sum(_steps(done) for done in of_turn),
        promoted=bool(of_turn[-1].result.get("promoted", True)),
        model=model.id,
        picked=asked.get(turn, ()),
        mistakes=tuple(
            name
            for name in labelled
            if careless is not None
            and since.get(name, 0) >= careless.since
            and annotator.mistake_of(name, run.seed, careless)
        ),
        rounds=tuple({key: done.result[key] for key in FACTS if key in done.result} for done in of_turn),
    )


def _test(run: Run, model: Path, report: Report, cancelled: CancelCheck) -> Sequence[CaseMetrics]:
    with Project.open(run.material.folder / material.TEST) as test:
        data = labelled_data(test, current_revisions(test, test.training_cases()))
        return compare(predictor(model, run.spec.device), data, test.config.classes, report=report, cancelled=cancelled)


def _voxels(project: Project, case: str) -> int:
    label = project.read_label(case)
    return 0 if label is None else int(np.count_nonzero(label))


def _steps(done: Round) -> int:
    """Optimiser steps of a round: what was asked for, else what its plan says for so many cases."""
    told = done.plan.get("steps")
    if told is not None:
        return int(told)
    return TrainingPlan.model_validate(done.plan["training"]).steps_for(len(done.plan["train"]))


def _tidy(project: Project, run: Run, *, last: bool) -> None:
    """Delete what no later round reads: predictions of older models, and at the end all of them and the cache."""
    if run.spec.keep:
        return
    kept: set[str] = set()
    if not last:
        models = project.models()
        kept = {one.id for one in models if one.active}
        for one in models[-MODELS_KEPT:]:
            kept |= {one.id, one.parent or ""}
    for model in project.models():
        if model.id not in kept:
            shutil.rmtree(project.folder / "predictions" / model.id, ignore_errors=True)
    if last:
        shutil.rmtree(project.folder / "cache", ignore_errors=True)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def say(run: Run, point: Point) -> Log:
    """One line about a new point."""
    dice = "no Dice" if point.dice is None else f"Dice {point.dice:.4f}"
    return Log(text=f"{run.name}: {point.annotated} annotated, {dice} ({point.seconds:.0f} s)")
