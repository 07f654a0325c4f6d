"""One round from labels to worklist: gather, train, compare on the guard set, promote or not, predict, rank.

A round is a folder, ``rounds/0002``, and a row in the project. Each stage leaves its result on disk before the next
begins, and asks whether it is there already when it starts; so an interrupted round goes on where it stopped, with the
same plan, the same label revisions and the same numbers.

::

    plan.json            the request, the training plan, and which revision of which case it trains on
    state/               full state of training, until it is finished
    weights.safetensors  training is finished
    models/r0002-3f2a9c  the model is compared and kept (in the project's models/)
    predictions/…        the pool is predicted, case by case
"""

from __future__ import annotations

import hashlib
import math
import os
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_dasl import __version__
from napari_dasl.errors import Cancelled, DaslError, ProjectError
from napari_dasl.events import Log, Phase, never, silent
from napari_dasl.inference import Predictor
from napari_dasl.rounds.comparing import compare
from napari_dasl.rounds.gather import current_revisions, labelled_data
from napari_dasl.rounds.journal import Journal
from napari_dasl.rounds.models import WEIGHTS, keep, predictor
from napari_dasl.rounds.plan import GuardResult, RoundPlan, RoundResult
from napari_dasl.rounds.planning import choose_guard_if_missing, training_plan
from napari_dasl.rounds.predicting import predict_cases
from napari_dasl.rounds.ranking import rank_and_store
from napari_dasl.training import Budget, Cache, train
from napari_dasl.training import device as devices
from napari_dasl.training.plan import TrainingPlan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import nn

    from napari_dasl.events import CancelCheck, Report
    from napari_dasl.project import Model, Project, Round
    from napari_dasl.project.records import RoundState
    from napari_dasl.training.cases import CaseData


LIVE_CASES, LIVE_VOXELS = 4, 2_000_000
"""How much of the guard set is looked at while training, for the curve."""


@dataclass(frozen=True)
class _Stage:
    """What every stage of one round needs."""

    project: Project
    request: RoundPlan
    round: Round
    plan: TrainingPlan
    train: tuple[CaseData, ...]
    guard: tuple[CaseData, ...]
    parent: Model | None
    report: Report
    cancelled: CancelCheck

    @property
    def device(self) -> str:
        """Where to compute: what the request says, else what the project says."""
        return self.request.device if self.request.device != "auto" else self.project.config.training.device


def run(
    project: Project,
    plan: RoundPlan | None = None,
    report: Report = silent,
    cancelled: CancelCheck = never,
    resume: bool = False,
) -> RoundResult:
    """Run one fine-tuning round, or go on with the one that was interrupted.

    Parameters
    ----------
    project : Project
    plan : RoundPlan, optional
        Ignored on *resume*: the interrupted round keeps its own.
    resume : bool
        Go on with the last unfinished round.

    Returns
    -------
    RoundResult

    Raises
    ------
    ProjectError
        Nothing is labelled, or there is no round to resume.
    Cancelled
        The state is saved; *resume* goes on from it.
    DaslError
        A stage failed; the round is marked so, and can be resumed once the cause is gone.
    """
    started = time.monotonic()
    if resume:
        record = project.last_unfinished_round()
        if record is None:
            raise ProjectError(f"{project.config.name} has no unfinished round.", "Start a new round.")
        project.resume_round(record.number)
    else:
        record = _begin(project, plan or RoundPlan(), report)
    with Journal(record.folder, report) as journal:
        try:
            stage = _stage(project, record, journal, cancelled)
            result = _work(stage, started)
        except BaseException as problem:
            state: RoundState = "cancelled" if isinstance(problem, Cancelled | KeyboardInterrupt) else "failed"
            reason = str(problem) if isinstance(problem, DaslError) else repr(problem)
            journal(Log(level="info" if state == "cancelled" else "warning", text=reason))
            project.finish_round(record.number, state, {"reason": reason})
            raise
        journal(Log(text=result.sentence))
    project.finish_round(record.number, "done", result.model_dump(mode="json", by_alias=True))
    shutil.rmtree(record.folder / "state", ignore_errors=True)
    return result


def _begin(project: Project, request: RoundPlan, report: Report) -> Round:
    """Fix what the round will do before it does anything."""
    choose_guard_if_missing(project, report)
    learn = current_revisions(project, project.training_cases())
    if not learn:
        raise ProjectError(
            f"{project.config.name} has no labelled scan to train on.", "Label a few scans, or import labels with init."
        )
    plan = training_plan(project, request, report=report)
    active = project.active_model()
    return project.new_round(
        "al",
        {
            **request.model_dump(mode="json"),
            "train": learn,
            "guard_set": current_revisions(project, project.guard_cases()),
            "parent": active.id if active else None,
            "training": plan.model_dump(mode="json"),
        },
    )


def _stage(project: Project, record: Round, report: Report, cancelled: CancelCheck) -> _Stage:
    fixed = record.plan
    request = RoundPlan.model_validate({name: fixed[name] for name in RoundPlan.model_fields if name in fixed})
    plan = TrainingPlan.model_validate(fixed["training"])
    seed = request.seed if request.seed is not None else project.config.seed + record.number
    return _Stage(
        project=project,
        request=request,
        round=record,
        plan=plan.model_copy(update={"seed": seed}),
        train=tuple(labelled_data(project, fixed["train"])),
        guard=tuple(labelled_data(project, fixed["guard_set"])),
        parent=project.model(fixed["parent"]) if fixed["parent"] else None,
        report=report,
        cancelled=cancelled,
    )


def _work(stage: _Stage, started: float) -> RoundResult:
    weights = _train(stage)
    model, guard = _keep(stage, weights)
    predicted = to_label = 0
    if stage.request.predict:
        outcome = predict_cases(stage.project, device=stage.device, report=stage.report, cancelled=stage.cancelled)
        predicted = len(outcome.predicted)
        for case, reason in outcome.failed.items():
            stage.report(Log(level="warning", text=f"{case} was not predicted: {reason}"))
        stage.report(Phase(name="rank", text="Ranking the unlabelled scans."))
        ranking = rank_and_store(stage.project)
        to_label = min(len(ranking.scores), stage.project.config.ranking.query)
        for line in ranking.notes:
            stage.report(Log(text=line))
    return RoundResult(
        round=stage.round.number,
        phase=stage.round.phase,
        state="done",
        promoted=model.promoted,
        guard=guard,
        trained_on={"human": len(stage.train), "pseudo": 0},
        seconds=time.monotonic() - started,
        model=model.id,
        predicted=predicted,
        to_label=to_label,
        sentence=sentence(guard, model.promoted, predicted, to_label),
    )


def _train(stage: _Stage) -> Path:
    """Train and return the weights; at once where an interrupted round had finished training."""
    weights = stage.round.folder / WEIGHTS
    if weights.exists():
        return weights
    request = stage.request
    if request.start == "active" and stage.parent is None:
        stage.report(Log(text="There is no active model yet: training starts from scratch."))
    init = stage.parent.folder / WEIGHTS if request.start == "active" and stage.parent else None
    config = stage.project.config.training
    steps, minutes = request.steps, request.minutes
    if request.epochs is not None:
        steps = max(1, request.epochs * len(stage.train) // stage.plan.batch)
    if steps is None and minutes is None:
        steps, minutes = config.steps, config.minutes
    trained = train(
        stage.plan,
        stage.train,
        stage.round.folder,
        cache=Cache(stage.project.folder / "cache", stage.plan),
        init=init,
        resume=(stage.round.folder / "state").exists(),
        budget=Budget(steps=steps, minutes=minutes),
        device=stage.device,
        report=stage.report,
        cancelled=stage.cancelled,
        guard=_live_guard(stage),
    )
    if trained.weights != weights:
        os.replace(trained.weights, weights)
    return weights


def _live_guard(stage: _Stage) -> Callable[[nn.Module], float] | None:
    """What the curve of guard Dice shows while training: a few small guard cases, or nothing where they are large.

    It decides nothing: the comparison after training is on the whole guard set, as :func:`_guard` says.
    """
    voxels = {case.id: math.prod(case.shape) for case in stage.project.guard_cases()}
    some: list[CaseData] = []
    for case in sorted(stage.guard, key=lambda one: voxels[one.id]):
        if len(some) < LIVE_CASES and sum(voxels[one.id] for one in [*some, case]) <= LIVE_VOXELS:
            some.append(case)
    if not some:
        return None
    place = devices.choose(stage.device)

    measured: list[devices.Precision] = []

    def judge(network: nn.Module) -> float:
        if not measured:
            measured.append(devices.measure_precision(stage.plan, network, place))
        judged = Predictor(network, stage.plan, place, measured[0], overlap=0.25)
        rows = compare(judged, some, stage.project.config.classes, cancelled=stage.cancelled)
        return _mean([row.dice for row in rows]) or 0.0

    return judge


def _keep(stage: _Stage, weights: Path) -> tuple[Model, GuardResult]:
    """Compare the new weights with the active model on the guard set, and keep them as a model of the project."""
    name = f"r{stage.round.number:04d}-{hashlib.sha256(weights.read_bytes()).hexdigest()[:6]}"
    known = {model.id: model for model in stage.project.models()}
    if name in known:
        return known[name], GuardResult.model_validate(known[name].guard)
    folder = stage.project.model_folder(name)
    keep(folder, weights, stage.plan, stage.device)
    guard = _guard(stage, folder)
    tolerance = stage.project.config.training.tolerance
    promoted = guard.before is None or guard.dice is None or guard.dice >= guard.before - tolerance
    stage.project.add_model(
        name,
        parent=stage.parent.id if stage.parent else None,
        round=stage.round.number,
        promoted=promoted,
        guard=guard.model_dump(mode="json"),
        config={
            "version": __version__,
            "start": stage.request.start,
            "memory_estimate_mb": stage.plan.memory_estimate_mb,
            "trained_on": stage.round.plan["train"],
            "guard_set": stage.round.plan["guard_set"],
        },
    )
    if promoted:
        stage.project.use(name)
    return stage.project.model(name), guard


def _guard(stage: _Stage, folder: Path) -> GuardResult:
    """Mean foreground Dice of the new model and of the active one, over the same guard cases and revisions."""
    if not stage.guard:
        stage.report(Log(level="warning", text="There is no guard set yet: the new model takes over unchecked."))
        return GuardResult(dice=None)
    stage.report(Phase(name="guard", text=f"Comparing on the {len(stage.guard)} scans of the guard set."))
    classes = stage.project.config.classes
    new = compare(predictor(folder, stage.device), stage.guard, classes, report=stage.report, cancelled=stage.cancelled)
    before = _before(stage)
    per_class = {label: _mean([row.classes[k].dice for row in new]) for k, label in enumerate(classes)}
    return GuardResult(
        dice=_mean([row.dice for row in new]),
        per_class=per_class,
        before=before,
        cases={row.case: row.dice for row in new},
    )


def _before(stage: _Stage) -> float | None:
    """Guard Dice of the active model; measured anew only when the guard set is not the one it was measured on."""
    if stage.parent is None:
        return None
    if stage.parent.config.get("guard_set") == stage.round.plan["guard_set"]:
        known: float | None = stage.parent.guard.get("dice")
        return known
    rows = compare(
        predictor(stage.parent.folder, stage.device),
        stage.guard,
        stage.project.config.classes,
        cancelled=stage.cancelled,
    )
    return _mean([row.dice for row in rows])


def sentence(guard: GuardResult, promoted: bool, predicted: int, to_label: int) -> str:
    """Say in one or two sentences what the round did, for the annotator."""
    if guard.dice is None:
        said = "The new model is active; there is no guard set to check it on yet."
    elif guard.before is None:
        said = f"Guard Dice {guard.dice:.3f}. The first model is active."
    elif promoted:
        said = f"Guard Dice {guard.before:.3f} → {guard.dice:.3f}. The new model is active."
    else:
        said = (
            f"Guard Dice fell from {guard.before:.3f} to {guard.dice:.3f}. The old model stays active; the new one is "
            "kept as a candidate. Check the newest labels, or train longer."
        )
    if predicted:
        said += f" {predicted} predictions refreshed; {to_label} cases to label next."
    return said


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
