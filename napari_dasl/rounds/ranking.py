"""The list of unlabelled scans, the one worth labelling next first, from stored predictions; no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dasl import active
from napari_dasl.project import Score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_dasl.project import Model, Prediction, Project


@dataclass(frozen=True)
class Ranking:
    """The list, and lines that say what the ranking did, for the log.

    Attributes
    ----------
    scores : tuple of Score
        The one to label next first.
    strategy : str
        What ordered it.
    notes : tuple of str
        Such as that the similarity changed nothing.
    """

    scores: tuple[Score, ...]
    strategy: str
    notes: tuple[str, ...] = ()


def rank_pool(project: Project, *, strategy: str | None = None, seed: int | None = None) -> Ranking:
    """Rank the unlabelled scans of *project* without changing anything.

    Parameters
    ----------
    project : Project
    strategy : str, optional
        A key of :data:`napari_dasl.active.STRATEGIES`; the one of ``project.toml`` when left out.
    seed : int, optional
        Of the random order; the project's when left out.

    Raises
    ------
    InputError
        There is no strategy of that name.
    """
    config = project.config.ranking
    method = active.find_strategy(strategy or config.strategy)
    seed = project.config.seed if seed is None else seed
    pool = [case.id for case in project.pool()]
    model = project.active_model()
    predictions = {} if model is None else _predictions(project, pool, model)
    if not pool:
        return Ranking((), strategy or config.strategy)
    if model is None or not predictions:
        ranked = active.cold_start(pool, seed)
        return Ranking(tuple(_as_score(one, "", None) for one in ranked), "cold start", ("No scan is predicted yet.",))
    key = f"uncertainty_{method.region or config.region}"
    candidates = [_candidate(name, predictions.get(name), key) for name in pool]
    ranked = active.rank(candidates, strategy or config.strategy, beta=config.beta, seed=seed)
    scores = tuple(_as_score(one, model.id, predictions.get(one.case)) for one in ranked)
    return Ranking(scores, strategy or config.strategy, _notes(scores, config.beta))


def rank_and_store(project: Project) -> Ranking:
    """Rank the unlabelled scans and keep the list in the project, for the window."""
    ranking = rank_pool(project)
    model = project.active_model()
    project.save_scores(model.id if model else "", list(ranking.scores))
    return ranking


def _predictions(project: Project, pool: Sequence[str], model: Model) -> dict[str, Prediction]:
    found = ((name, project.prediction(name, model.id)) for name in pool)
    return {name: prediction for name, prediction in found if prediction is not None}


def _candidate(case: str, prediction: Prediction | None, key: str) -> active.Candidate:
    if prediction is None:
        return active.Candidate(case)
    scores: dict[str, Any] = prediction.scores
    return active.Candidate(
        case,
        uncertainty=scores[key],
        signature=prediction.signature,
        empty=bool(scores["empty"]),
        max_foreground=scores["max_foreground"],
        uncertain_regions=scores["uncertain_regions"],
        undecided_spots=scores["undecided_spots"],
        largest_region_ml=scores["largest_region_ml"],
    )


def _as_score(one: active.Ranked, model: str, prediction: Prediction | None) -> Score:
    parts = dict(one.parts)
    if prediction is not None:
        parts |= {name: value for name, value in prediction.scores.items() if name.startswith("uncertainty_")}
    return Score(
        case=one.case,
        model=model,
        rank=one.rank,
        score=one.score,
        uncertainty=parts.get("uncertainty", parts.get("uncertainty_volume")),
        similarity=parts.get("similarity"),
        difficulty=None,
        parts=parts,
        words=one.words,
    )


def _notes(scores: Sequence[Score], beta: float) -> tuple[str, ...]:
    """What the similarity did, where the strategy used it."""
    seen = [(one.uncertainty, one.similarity) for one in scores if one.similarity is not None]
    if not seen:
        return ()
    uncertainty, similarity = np.array(seen, dtype=np.float64).T
    sentence = active.diagnose(uncertainty, similarity, beta=beta).sentence
    return (sentence,) if sentence else ()
