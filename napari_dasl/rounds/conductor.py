"""One round from labels to worklist: take pseudo-labels, train, judge on the guard set, promote or not, predict, rank.

A round is a folder, ``rounds/0002``, and a row in the project. Each part leaves its result on disk before the next
begins, and asks whether it is there already when it starts; so an interrupted round goes on where it stopped, with the
same plan, the same label revisions, the same pseudo-labels and the same numbers.

::

    plan.json            the request, the phase, where self-pacing stood, the training plan, which revisions to use, and
                         which findings had been rejected
    before.json          the active model on a guard set that has changed
    curriculum.json      how hard the cases are, and the schedule made of it, where the round follows a curriculum
    crossfit.json        how good the labels make a network, where no guard set can tell
    pseudo.json          which predictions are learned from, with what weight, and why (SPL phases)
    state/               full state of training, until it is finished
    weights.safetensors  training is finished
    models/r0002-3f2a9c  the model is judged and kept (in the project's models/)
    predictions/…        the pool is predicted, case by case

It is a transaction: until the guard set has let the new model take over, the active model, its predictions and λ are
what they were; and a model that is turned down leaves them so. Labels are only ever read.
"""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import time
from typing import TYPE_CHECKING, Any, cast

from napari_dasl import __version__
from napari_dasl.errors import Cancelled, DaslError, ProjectError
from napari_dasl.events import Log, Phase, never, silent
from napari_dasl.project import presets
from napari_dasl.rounds import closing, phases, taking
from napari_dasl.rounds.curricula import cooked, resolve, with_lesions
from napari_dasl.rounds.difficulty import keep_current
from napari_dasl.rounds.fitting import fit
from napari_dasl.rounds.gather import current_revisions, labelled_data, rejected_boxes, rejected_data
from napari_dasl.rounds.guarding import judge, why_not
from napari_dasl.rounds.journal import Journal
from napari_dasl.rounds.models import keep
from napari_dasl.rounds.plan import GuardResult, RoundPlan, RoundResult
from napari_dasl.rounds.planning import choose_guard_if_missing, same_network, same_scans, training_plan
from napari_dasl.rounds.predicting import predict_cases
from napari_dasl.rounds.ranking import rank_and_store
from napari_dasl.rounds.stage import Stage
from napari_dasl.rounds.telling import sentence
from napari_dasl.rounds.tuning import tune
from napari_dasl.training.plan import TrainingPlan

if TYPE_CHECKING:
    from pathlib import Path

    from napari_dasl.events import CancelCheck, Report
    from napari_dasl.project import Model, Project, Round
    from napari_dasl.project.instances import Box
    from napari_dasl.project.records import RoundState
    from napari_dasl.rounds.ranking import Ranking
    from napari_dasl.rounds.taking import Taken

UNJUDGED = (
    "There are too few labels to check a round with pseudo-labels on a guard set; make its model active by hand if its "
    "predictions look right."
)


def run(
    project: Project,
    plan: RoundPlan | None = None,
    report: Report = silent,
    cancelled: CancelCheck = never,
    resume: bool = False,
) -> RoundResult:
    """Run one round, or go on with the one that was interrupted.

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
        Nothing is labelled, cases that were asked for are still open, another round trains in this project, or there
        is no round to resume.
    Cancelled
        The state is saved; *resume* goes on from it.
    DaslError
        A part failed; the round is marked so, and can be resumed once the cause is gone.
    """
    with project.training_lock():
        return _run(project, plan or RoundPlan(), report, cancelled, resume)


def _run(project: Project, plan: RoundPlan, report: Report, cancelled: CancelCheck, resume: bool) -> RoundResult:
    started = time.monotonic()
    if resume:
        record = project.last_unfinished_round()
        if record is None:
            raise ProjectError(f"{project.config.name} has no unfinished round.", "Start a new round.")
        project.resume_round(record.number)
    else:
        record = _begin(project, plan, report)
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
    if result.selfpaced_off:
        project.log_event(phases.EVENT, {"enabled": False, "why": result.selfpaced_off, "round": record.number})
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
    decision = phases.decide(project, request.phase)
    open_cases = phases.check(project, request, decision)
    for line in (open_cases, decision.off_reason):
        if line:
            report(Log(text=line))
    curriculum, recipe = resolve(project, request)
    own = presets.network(request.preset)
    if own and own != project.config.network:
        report(Log(text=f"The preset {request.preset} is made for {own}: this round keeps {project.config.network}."))
    # What was asked for by name goes before the recipe.
    unasked = recipe if request.batch is None else recipe.model_copy(update={"batch": None})
    plan = with_lesions(cooked(training_plan(project, request, report=report), unasked, report), curriculum, report)
    active = project.active_model()
    start = project.config.training.start if request.start == "project" else request.start
    if request.start == "project" and active is not None and not same_network(plan, active.folder):
        start = "scratch"
        report(Log(text="The network of the training plan is not that of the active model: this round trains anew."))
    elif start == "active" and active is not None and not same_scans(plan, active.folder):
        report(
            Log(text="This round prepares the scans in another way than the active model saw them; it goes on anyway.")
        )
    return project.new_round(
        decision.phase,
        {
            **request.model_dump(mode="json"),
            "curriculum": curriculum.model_dump(mode="json"),
            "recipe": recipe.model_dump(mode="json"),
            "start": start,
            "slot": decision.slot,
            "fallback": decision.off_reason,
            "standing": dataclasses.asdict(phases.standing(project)),
            "judged": phases.judged(project),
            "train": learn,
            "guard_set": current_revisions(project, project.guard_cases()),
            "rejected": rejected_boxes(project),
            "parent": active.id if active else None,
            "training": plan.model_dump(mode="json"),
        },
    )


def _stage(project: Project, record: Round, report: Report, cancelled: CancelCheck) -> Stage:
    fixed = record.plan
    request = RoundPlan.model_validate({name: fixed[name] for name in RoundPlan.model_fields if name in fixed})
    plan = TrainingPlan.model_validate(fixed["training"])
    seed = request.seed if request.seed is not None else project.config.seed + record.number
    # JSON has lists where boxes are tuples.
    rejected = {name: [cast("Box", tuple(box)) for box in boxes] for name, boxes in fixed.get("rejected", {}).items()}
    return Stage(
        project=project,
        request=request,
        round=record,
        plan=plan.model_copy(update={"seed": seed}),
        train=tuple(labelled_data(project, fixed["train"], rejected if plan.detector else None)),
        guard=tuple(labelled_data(project, fixed["guard_set"])),
        parent=project.model(fixed["parent"]) if fixed["parent"] else None,
        standing=phases.Standing(**fixed.get("standing", {})),
        judged=bool(fixed.get("judged", True)),
        rejected=rejected,
        report=report,
        cancelled=cancelled,
    )


def _work(stage: Stage, started: float) -> RoundResult:
    taken = taking.take(stage) if stage.round.phase == "spl" else None
    if taken is not None and taken.why_not:
        stage.report(Log(text=taken.why_not))
    chosen = taken.weights if taken is not None else {}
    others = taking.data(stage, taken) if taken is not None else []
    # Only a network that detects can learn from a place alone.
    known = {*stage.round.plan["train"], *stage.round.plan["guard_set"], *chosen}
    empty = rejected_data(stage.project, stage.rejected, known) if stage.plan.detector else []
    weights = fit(stage, [*others, *empty])
    model, guard = _keep(stage, weights, chosen)
    result = RoundResult(
        round=stage.round.number,
        phase="spl" if chosen else "al",
        state="done",
        promoted=model.promoted,
        guard=guard,
        trained_on=_counts(stage, chosen),
        **_pacing(taken),
        seconds=0.0,
        model=model.id,
        reason=str(model.config.get("not_promoted", "")),
        fallback=taken.why_not if taken is not None else str(stage.round.plan.get("fallback", "")),
    )
    now = phases.after(stage.standing, stage.round.plan, result.model_dump(mode="json", by_alias=True))
    result = result.model_copy(update={"selfpaced_off": now.off if not stage.standing.off else ""})
    ranking, predicted = _predict(stage) if stage.request.predict else (None, 0)
    stable = closing.stability(stage.project) if model.promoted and stage.request.predict else None
    result = result.model_copy(
        update={
            "predicted": predicted,
            "to_label": min(len(ranking.scores), stage.project.config.ranking.query) if ranking else 0,
            "asked": closing.asked(stage, ranking, now),
            "audits": closing.audits(stage, chosen),
            "stability": stable,
            "advice": closing.advice(stage, guard, stable),
            "seconds": time.monotonic() - started,
        }
    )
    return result.model_copy(update={"sentence": sentence(result)})


def _counts(stage: Stage, chosen: dict[str, float]) -> dict[str, int]:
    """How many labels, pseudo-labels, and (where there are any that count) rejected findings the round learned from."""
    counts = {"human": len(stage.train), "pseudo": len(chosen)}
    rejected = sum(len(boxes) for boxes in stage.rejected.values()) if stage.plan.detector else 0
    return counts | ({"rejected": rejected} if rejected else {})


def _pacing(taken: Taken | None) -> dict[str, Any]:
    """What the result of an SPL phase says about its pace, also where nothing was taken."""
    if taken is None:
        return {}
    return {
        "pace": taken.pace,
        "quantile": taken.quantile,
        "accuracy": taken.accuracy,
        "pseudo": taken.summary,
    }


def _predict(stage: Stage) -> tuple[Ranking, int]:
    """Predict the pool with the active model, and rank it."""
    outcome = predict_cases(stage.project, device=stage.device, report=stage.report, cancelled=stage.cancelled)
    for case, reason in outcome.failed.items():
        stage.report(Log(level="warning", text=f"{case} was not predicted: {reason}"))
    keep_current(stage.project, stage.report, stage.cancelled)
    stage.report(Phase(name="rank", text="Ranking the unlabelled scans."))
    ranking = rank_and_store(stage.project)
    for line in ranking.notes:
        stage.report(Log(text=line))
    return ranking, len(outcome.predicted)


def _keep(stage: Stage, weights: Path, pseudo: dict[str, float]) -> tuple[Model, GuardResult]:
    """Judge the new weights against the active model, keep them as a model, and make it active if it may be."""
    name = f"r{stage.round.number:04d}-{hashlib.sha256(weights.read_bytes()).hexdigest()[:6]}"
    known = {model.id: model for model in stage.project.models()}
    if name in known:
        return _activated(stage, known[name])
    folder = stage.project.model_folder(name)
    keep(folder, weights, stage.plan, stage.device)
    found = tune(stage, folder) if stage.plan.detector else None
    guard = judge(stage, folder, found)
    reason = why_not(guard, stage.project.config.training.tolerance)
    if pseudo and not stage.judged:
        reason = UNJUDGED
    stage.project.add_model(
        name,
        parent=stage.parent.id if stage.parent else None,
        round=stage.round.number,
        promoted=not reason,
        guard=guard.model_dump(mode="json"),
        config={
            "version": __version__,
            "start": stage.request.start,
            "memory_estimate_mb": stage.plan.memory_estimate_mb,
            "trained_on": stage.round.plan["train"],
            "pseudo": pseudo,
            "guard_set": stage.round.plan["guard_set"],
            "not_promoted": reason,
        },
    )
    return _activated(stage, stage.project.model(name))


def _activated(stage: Stage, model: Model) -> tuple[Model, GuardResult]:
    """Let a promoted model take over, also where the process died before it could."""
    active = stage.project.active_model()
    if model.promoted and (active is None or active.id == (stage.parent.id if stage.parent else None)):
        stage.project.use(model.id)
    return stage.project.model(model.id), GuardResult.model_validate(model.guard)
