"""Predict cases with a model and store what ranking and the window need: probability, signature, scores and facts."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

from napari_dasl.active import regional_uncertainty
from napari_dasl.errors import Cancelled, DaslError, OutOfMemory, StorageError
from napari_dasl.events import Phase, Progress, never, silent
from napari_dasl.inference import facts, signature
from napari_dasl.rounds.comparing import label_map
from napari_dasl.rounds.models import find_model, predictor
from napari_dasl.rounds.plan import PredictResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from napari_dasl.active import RegionKind
    from napari_dasl.events import CancelCheck, Report
    from napari_dasl.inference import Predictor
    from napari_dasl.project import Case, Project

REGIONS: tuple[RegionKind, ...] = ("volume", "body", "lesion")


def predict_cases(
    project: Project,
    cases: Sequence[str] | None = None,
    *,
    every: bool = False,
    model: str | None = None,
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
        predicted yet.
    every : bool
        All readable cases but the guard set, labelled ones too.
    model : str, optional
        The active one when left out.

    Raises
    ------
    Cancelled
        Between two windows; finished cases are stored.
    OutOfMemory, StorageError
        These would meet every case.
    """
    started = time.monotonic()
    chosen = find_model(project, model)
    todo = _chosen_cases(project, cases, every, chosen.id)
    report(Phase(name="predict", text=f"Predicting {len(todo)} scans."))
    done: list[str] = []
    failed: dict[str, str] = {}
    if todo:
        network = predictor(chosen.folder, device)
        for number, case in enumerate(todo):
            if cancelled():
                raise Cancelled("Stopped between two scans.", f"{len(done)} predictions are stored.")
            try:
                _predict_one(project, case, chosen.id, network, cancelled)
            except (Cancelled, OutOfMemory, StorageError):
                raise
            except DaslError as problem:
                failed[case.id] = str(problem)
            else:
                done.append(case.id)
            elapsed = time.monotonic() - started
            report(
                Progress(
                    name="predict",
                    done=number + 1,
                    total=len(todo),
                    eta=elapsed / (number + 1) * (len(todo) - number - 1),
                    text=case.id,
                )
            )
    return PredictResult(predicted=done, seconds=time.monotonic() - started, failed=failed)


def measure(
    probability: NDArray[np.floating], image: NDArray[np.floating], spacing: tuple[float, float, float]
) -> dict[str, Any]:
    """Return everything a ranking may ask of a prediction, measured on the full-precision probabilities.

    Parameters
    ----------
    probability : (K, z, y, x)
    image : (C, z, y, x)
    spacing : (sz, sy, sx) in mm

    Returns
    -------
    dict
        ``uncertainty_volume`` (Eq. 2), ``uncertainty_body``, ``uncertainty_lesion``, and the facts in which the window
        says why a case is where it is.
    """
    found = dataclasses.asdict(facts(probability, label_map(probability), spacing))
    return {
        **{f"uncertainty_{kind}": regional_uncertainty(probability, image, kind, spacing) for kind in REGIONS},
        **found,
    }


def _predict_one(project: Project, case: Case, model: str, network: Predictor, cancelled: CancelCheck) -> None:
    image = project.read_image_array(case.id)
    probability = network.case(image, case.spacing, cancelled=cancelled)
    project.save_prediction(
        case.id,
        model,
        probability,
        signature(probability, grid=project.config.ranking.signature),
        measure(probability, image, case.spacing),
    )


def _chosen_cases(project: Project, cases: Sequence[str] | None, every: bool, model: str) -> list[Case]:
    if cases is not None:
        return [project.case(name) for name in cases]
    if every:
        return [case for case in project.cases() if case.readable and not case.guard]
    return [case for case in project.pool() if project.prediction(case.id, model) is None]
