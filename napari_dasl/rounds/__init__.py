"""Rounds of active self-paced learning, from gathered labels to a ranked worklist.

:func:`run` is one round, and :func:`preview` says beforehand what it will take and ask; :func:`predict` and
:func:`rank` are parts of it that can be asked for alone. Names are loaded when they are first used, so that the modules
``plan``, ``phases``, ``pseudo`` and ``ranking`` can be imported without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_dasl.events import CancelCheck, Report
    from napari_dasl.project import Project
    from napari_dasl.rounds.conductor import run
    from napari_dasl.rounds.phases import PhasePreview, preview
    from napari_dasl.rounds.plan import PredictResult, RoundPlan, RoundResult
    from napari_dasl.rounds.planning import training_plan
    from napari_dasl.rounds.ranking import Ranking

__all__ = [
    "PhasePreview",
    "PredictResult",
    "RoundPlan",
    "RoundResult",
    "predict",
    "preview",
    "rank",
    "run",
    "training_plan",
]

_HOME = {
    "PhasePreview": "phases",
    "PredictResult": "plan",
    "RoundPlan": "plan",
    "RoundResult": "plan",
    "preview": "phases",
    "run": "conductor",
    "training_plan": "planning",
}


def predict(
    project: Project,
    cases: Sequence[str] | None = None,
    *,
    all: bool = False,
    device: str | None = None,
    strategy: str | None = None,
    report: Report | None = None,
    cancelled: CancelCheck | None = None,
) -> PredictResult:
    """Predict cases with the active model, store the predictions, and rank the unlabelled scans anew.

    Parameters
    ----------
    project : Project
    cases : sequence of str, optional
        These; without it, the unlabelled ones that the active model has not predicted yet.
    all : bool
        Every readable case but the guard set.
    device : str, optional
        The project's when left out.
    strategy : str, optional
        Measure what this ranking strategy goes by; the one of ``project.toml`` when left out. The unlabelled scans
        whose prediction lacks it are predicted again.
    """
    from napari_dasl.events import never, silent
    from napari_dasl.rounds.difficulty import keep_current
    from napari_dasl.rounds.predicting import predict_cases

    result = predict_cases(
        project,
        cases,
        every=all,
        strategy=strategy,
        device=device or project.config.training.device,
        report=report or silent,
        cancelled=cancelled or never,
    )
    keep_current(project, report or silent, cancelled or never)
    rank(project)
    return result


def rank(project: Project) -> Ranking:
    """Rank the unlabelled scans of *project* from their stored predictions, and keep the list in the project."""
    from napari_dasl.rounds.ranking import rank_and_store

    return rank_and_store(project)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
