"""Predict cases with a model and store what ranking and the window need: probability, signature, scores and facts."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_dasl.active import STRATEGIES, find_strategy
from napari_dasl.active.strategies import chance
from napari_dasl.errors import Cancelled, DaslError, InputError, OutOfMemory, StorageError
from napari_dasl.events import Log, Phase, Progress, never, silent
from napari_dasl.inference import Predictor, signature
from napari_dasl.rounds import labelled_signatures
from napari_dasl.rounds.measuring import measure, measure_passes, measure_previous, measure_teacher
from napari_dasl.rounds.models import STUDENT, find_model, predictor
from napari_dasl.rounds.plan import PredictResult
from napari_dasl.rounds.ranking import lacks
from napari_dasl.training.weights import load_network

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from napari_dasl.active.strategies import Strategy
    from napari_dasl.events import CancelCheck, Report
    from napari_dasl.project import Case, Model, Project


def predict_cases(
    project: Project,
    cases: Sequence[str] | None = None,
    *,
    every: bool = False,
    model: str | None = None,
    strategy: str | None = None,
    compare: bool | None = None,
    device: str = "auto",
    report: Report = silent,
    cancelled: CancelCheck = never,
) -> PredictResult:
    """Predict and store; a case that cannot be predicted is named and the others go on.

    Parameters
    ----------
    project : Project
    cases : sequence of str, optional
        These cases, again even if they are predicted already. Without it, the unlabelled ones that the model has not
        predicted yet, or whose prediction lacks what the strategy goes by.
    every : bool
        All readable cases but the guard set, labelled ones too.
    model : str, optional
        The active one when left out.
    strategy : str, optional
        Measure what this strategy goes by; the one of ``project.toml`` when left out.
    compare : bool, optional
        Take the signatures of labelled scans too, at most 200, so that unlabelled ones can be compared with them.
        When left out, only where neither *cases* nor *every* is given.

    Raises
    ------
    Cancelled
        Between two windows; finished cases are stored.
    OutOfMemory, StorageError
        These would meet every case.
    InputError
        The *strategy* asked for takes several passes, and the model has no dropout.
    """
    started = time.monotonic()
    chosen = find_model(project, model)
    method = find_strategy(strategy or project.config.ranking.strategy)
    todo = _chosen_cases(project, cases, every, chosen.id, method)
    others = compare if compare is not None else cases is None and not every
    labelled = labelled_signatures.lacking(project, chosen.id) if others else []
    report(Phase(name="predict", text=f"Predicting {len(todo)} scans."))
    if not todo and not labelled:
        return PredictResult(predicted=[], seconds=time.monotonic() - started, failed={})
    asked = _asked(project, chosen, predictor(chosen.folder, device), method, strategy is not None, report)
    if method.passes and not asked.passes:
        # Nothing of this model will ever hold them; asking again for each list would never end.
        todo = _chosen_cases(project, cases, every, chosen.id, STRATEGIES["default"])
    work: list[tuple[Case, Callable[[Case], None]]] = [
        *((case, lambda one: _predict_one(asked, one, cancelled)) for case in todo),
        *((case, lambda one: _compare_one(asked, one, cancelled)) for case in labelled),
    ]
    done, failed = _work(work, report, cancelled, started)
    wanted = {case.id for case in todo}
    for case in (name for name in failed if name not in wanted):
        report(Log(level="warning", text=f"Nothing can be compared with {case}: {failed[case]}"))
    return PredictResult(
        predicted=[case for case in done if case in wanted],
        seconds=time.monotonic() - started,
        failed={case: reason for case, reason in failed.items() if case in wanted},
    )


@dataclass(frozen=True)
class _Asked:
    """What every case of one call is predicted with."""

    project: Project
    model: Model
    earlier: tuple[str, ...]  # models before this one, the newest first
    network: Predictor
    passes: int  # with dropout on; 0 for none
    student: Predictor | None


def _asked(
    project: Project, model: Model, network: Predictor, method: Strategy, explicit: bool, report: Report
) -> _Asked:
    passes = project.config.ranking.samples if method.passes else 0
    if passes and not network.drops:
        if explicit:
            raise InputError(
                f"Model {model.id} has no dropout, so it cannot be asked several times.",
                "Older plans lack it: write dropout = 0.1 under [network_options] in plan.toml and train anew, "
                "or rank by another strategy.",
            )
        report(Log(level="warning", text=f"Model {model.id} has no dropout: {method.title!r} cannot be measured."))
        passes = 0
    student = None
    weights = model.folder / STUDENT
    if project.config.selfpaced.view == "teacher" and weights.exists():
        last = load_network(weights, network.plan, network.device)
        student = Predictor(last, network.plan, network.device, network.precision, thresholds=network.thresholds)
    names = [one.id for one in project.models()]
    return _Asked(project, model, tuple(reversed(names[: names.index(model.id)])), network, passes, student)


def _work(
    work: Sequence[tuple[Case, Callable[[Case], None]]], report: Report, cancelled: CancelCheck, started: float
) -> tuple[list[str], dict[str, str]]:
    """Do it case by case; a case that fails is named and the others go on."""
    done: list[str] = []
    failed: dict[str, str] = {}
    for number, (case, predict) in enumerate(work):
        if cancelled():
            raise Cancelled("Stopped between two scans.", f"{len(done)} predictions are stored.")
        try:
            predict(case)
        except (Cancelled, OutOfMemory, StorageError):
            raise
        except DaslError as problem:
            failed[case.id] = str(problem)
        else:
            done.append(case.id)
        elapsed = time.monotonic() - started
        eta = elapsed / (number + 1) * (len(work) - number - 1)
        report(Progress(name="predict", done=number + 1, total=len(work), eta=eta, text=case.id))
    return done, failed


def _predict_one(asked: _Asked, case: Case, cancelled: CancelCheck) -> None:
    project, network = asked.project, asked.network
    image = project.read_image_array(case.id)
    predicted = network.predict(image, case.spacing, cancelled=cancelled)
    probability = predicted.probability
    scores = measure(probability, image, case.spacing, own_loss=predicted.self_loss)
    scores |= _against_before(asked, case, probability)
    if asked.student is not None:
        other = asked.student.case(image, case.spacing, cancelled=cancelled)
        scores |= measure_teacher(probability, other)
    if asked.passes:
        seed = int(chance(f"passes:{asked.model.id}:{case.id}", project.config.seed) * 2**31)
        scores |= measure_passes(network.passes(image, case.spacing, asked.passes, seed, cancelled))
    vector = signature(probability, grid=project.config.ranking.signature)
    project.save_prediction(
        case.id, asked.model.id, probability, vector, scores, instances=predicted.instances, ids=predicted.ids
    )


def _against_before(asked: _Asked, case: Case, probability: NDArray[np.floating]) -> dict[str, Any]:
    """Compare with the newest earlier model that has a stored prediction of the case; nothing where that is lost."""
    for model in asked.earlier:
        try:
            before = asked.project.prediction(case.id, model)
            if before is not None:
                return measure_previous(probability, before.label())
        except StorageError:
            continue
    return {}


def _compare_one(asked: _Asked, case: Case, cancelled: CancelCheck) -> None:
    """Predict a labelled scan for its signature alone."""
    probability = asked.network.case(asked.project.read_image_array(case.id), case.spacing, cancelled=cancelled)
    vector = signature(probability, grid=asked.project.config.ranking.signature)
    labelled_signatures.keep(asked.project, asked.model.id, case.id, vector)


def _chosen_cases(
    project: Project, cases: Sequence[str] | None, every: bool, model: str, method: Strategy
) -> list[Case]:
    if cases is not None:
        return [project.case(name) for name in cases]
    if every:
        return [case for case in project.cases() if case.readable and not case.guard]
    found = ((case, project.prediction(case.id, model)) for case in project.pool())
    return [case for case, prediction in found if prediction is None or lacks(prediction, method)]
