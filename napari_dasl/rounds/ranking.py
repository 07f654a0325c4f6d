"""The list of unlabelled scans, the one worth labelling next first, from stored predictions; no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dasl import active
from napari_dasl.active.candidates import CandidateSignatures
from napari_dasl.curriculum.difficulty import difficulty
from napari_dasl.errors import InputError
from napari_dasl.project import Score
from napari_dasl.rounds import labelled_signatures
from napari_dasl.rounds.difficulty import of_pool

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_dasl.active.candidates import SignatureSource
    from napari_dasl.active.strategies import Strategy
    from napari_dasl.project import Model, Prediction, Project

EVENT = "ranking"
"""Kind of the project event under which every stored list is kept, to be audited and replayed."""

COLD_START = "cold start"
_SIMILAR = 3
_COMPARED, _AT_ONCE = 1000, 200  # scans that are given their most similar ones, and how many of them at a time


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
    query : tuple of str
        The batch: the first cases of the list, as many as the project asks for at a time.
    diagnosis : Diagnosis or None
        What the similarity did, where the strategy used it.
    round : int
        Queries made before this one; moves schedules on.
    """

    scores: tuple[Score, ...]
    strategy: str
    notes: tuple[str, ...] = ()
    query: tuple[str, ...] = ()
    diagnosis: active.Diagnosis | None = None
    round: int = 0


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
        There is no strategy of that name, or stored predictions lack what it goes by; the hint is the command that
        measures it.
    """
    config = project.config.ranking
    name = strategy or config.strategy
    method = active.find_strategy(name)
    seed = project.config.seed if seed is None else seed
    pool = [case.id for case in project.pool()]
    model = project.active_model()
    predictions = {} if model is None else _predictions(project, pool, model)
    if not pool:
        return Ranking((), name)
    if model is None or not predictions:
        cold = tuple(_as_score(one, "", None, "") for one in active.cold_start(pool, seed))
        batch = tuple(one.case for one in cold[: config.query])
        return Ranking(cold, COLD_START, ("No scan is predicted yet.",), batch)
    _complain(project, predictions, name, method)
    region = f"uncertainty_{method.region or config.region}"
    labelled = labelled_signatures.sources(project, model.id)
    candidates = [_candidate(case, predictions.get(case), region) for case in pool]
    turn = queries_before(project)
    ranked = active.rank(
        candidates,
        name,
        beta=config.beta,
        seed=seed,
        labelled=_collection(labelled) if labelled else None,
        query=config.query,
        round=turn,
        power=config.power,
        explore=config.explore,
    )
    similar = _similar([one.case for one in ranked], predictions, labelled)
    hard = _difficulties(project, [one.case for one in ranked])
    scores = tuple(
        _as_score(one, model.id, predictions.get(one.case), region, similar.get(one.case, ()), hard.get(one.case))
        for one in ranked
    )
    diagnosis = _diagnosis(scores, config.beta)
    notes = (diagnosis.sentence,) if diagnosis is not None and diagnosis.sentence else ()
    return Ranking(scores, name, notes, tuple(one.case for one in scores[: config.query]), diagnosis, turn)


def rank_and_store(project: Project) -> Ranking:
    """Rank the unlabelled scans, keep the list in the project for the window, and write it into the diary.

    Where the model cannot give what the strategy of the project goes by (several passes of a model without dropout),
    the list is ordered by default, and a note says so: a finished round is not lost for it.
    """
    try:
        ranking = rank_pool(project)
    except LackingScores as problem:
        ordered = rank_pool(project, strategy="default")
        ranking = Ranking(**{**_fields(ordered), "notes": (f"{problem} Ranked by default instead.", *ordered.notes)})
    model = project.active_model()
    project.save_scores(model.id if model else "", list(ranking.scores))
    _log(project, ranking, model.id if model else "")
    return ranking


def queries_before(project: Project) -> int:
    """Return how many queries were answered by a round before this one: finished rounds on human labels, less one."""
    done = sum(1 for one in project.rounds() if one.state == "done" and one.phase != "spl")
    return max(0, done - 1)


def lacks(prediction: Prediction, strategy: Strategy) -> list[str]:
    """Return the scores that *strategy* goes by and *prediction* does not hold."""
    return [name for name in strategy.needs if prediction.scores.get(name) is None]


class LackingScores(InputError):
    """Stored predictions do not hold what a strategy goes by."""


def _complain(project: Project, predictions: Mapping[str, Prediction], name: str, method: Strategy) -> None:
    lacking = [case for case, one in predictions.items() if lacks(one, method)]
    if lacking:
        title = method.title[0].lower() + method.title[1:]
        raise LackingScores(
            f"{len(lacking)} of {len(predictions)} predictions lack what the order “{title}” ({name}) needs.",
            f"Run `napari-dasl predict {project.folder} --for {name}`.",
        )


def _predictions(project: Project, pool: Sequence[str], model: Model) -> dict[str, Prediction]:
    found = ((name, project.prediction(name, model.id)) for name in pool)
    return {name: prediction for name, prediction in found if prediction is not None}


def _candidate(case: str, prediction: Prediction | None, region: str) -> active.Candidate:
    if prediction is None:
        return active.Candidate(case)
    scores: dict[str, Any] = prediction.scores
    return active.Candidate(
        case,
        uncertainty=scores[region],
        signature=prediction.signature,
        empty=bool(scores["empty"]),
        max_foreground=scores["max_foreground"],
        uncertain_regions=scores["uncertain_regions"],
        undecided_spots=scores["undecided_spots"],
        largest_region_ml=scores["largest_region_ml"],
        scores=_numbers(scores),
        class_scores=tuple(scores.get("class_scores") or ()),
    )


def _numbers(scores: Mapping[str, Any]) -> dict[str, float]:
    """Every number of a prediction by a name of its own; those per class end in their class."""
    found: dict[str, float] = {}
    for name, value in scores.items():
        if isinstance(value, bool | int | float):
            found[name] = float(value)
        elif isinstance(value, list):
            stem = name.removesuffix("s")
            found |= {f"{stem}_{index + 1}": float(one) for index, one in enumerate(value)}
        elif isinstance(value, dict):
            found |= {f"{name}_{key}": float(one) for key, one in value.items()}
    return found


def _collection(labelled: Mapping[str, SignatureSource]) -> CandidateSignatures:
    return CandidateSignatures([active.Candidate(case, signature=source) for case, source in labelled.items()])


def _similar(
    order: Sequence[str], predictions: Mapping[str, Prediction], labelled: Mapping[str, SignatureSource]
) -> dict[str, tuple[tuple[str, float, bool], ...]]:
    """The three most similar labelled and the three most similar unlabelled scans of the first ones of the list."""
    unlabelled = {case: one.signature for case, one in predictions.items()}
    asked = [case for case in order if case in unlabelled][:_COMPARED]
    found: dict[str, tuple[tuple[str, float, bool], ...]] = {}
    for start in range(0, len(asked), _AT_ONCE):
        queries = {case: unlabelled[case] for case in asked[start : start + _AT_ONCE]}
        known = active.nearest(queries, labelled, _SIMILAR)
        others = active.nearest(queries, unlabelled, _SIMILAR)
        found |= {
            case: tuple(
                [(other, cosine, True) for other, cosine in known[case]]
                + [(other, cosine, False) for other, cosine in others[case]]
            )
            for case in queries
        }
    return found


def _as_score(
    one: active.Ranked,
    model: str,
    prediction: Prediction | None,
    region: str,
    similar: tuple[tuple[str, float, bool], ...] = (),
    hard: float | None = None,
) -> Score:
    parts = dict(one.parts)
    if prediction is not None:
        parts = {**_numbers(prediction.scores), **parts}
    return Score(
        case=one.case,
        model=model,
        rank=one.rank,
        score=one.score,
        uncertainty=parts.get(region, parts.get("uncertainty")),
        similarity=parts.get("similarity"),
        difficulty=hard,
        parts=parts,
        words=one.words,
        similar=similar,
    )


def _difficulties(project: Project, cases: Sequence[str]) -> dict[str, float]:
    """How hard cases are by the scorer of the project's curriculum, or by lesion size, as far as it is known."""
    rows = of_pool(project)
    known = [rows[case] for case in cases if case in rows]
    if not known:
        return {}
    values = difficulty([row.value for row in known], known[0].scorer)
    return {row.case: float(value) for row, value in zip(known, values, strict=True) if np.isfinite(value)}


def _diagnosis(scores: Sequence[Score], beta: float) -> active.Diagnosis | None:
    """What the similarity did, where the strategy used it."""
    seen = [(one.uncertainty, one.similarity) for one in scores if one.similarity is not None]
    if not seen:
        return None
    uncertainty, similarity = np.array(seen, dtype=np.float64).T
    return active.diagnose(uncertainty, similarity, beta=beta)


def _fields(ranking: Ranking) -> dict[str, Any]:
    return {name: getattr(ranking, name) for name in Ranking.__dataclass_fields__}


def _log(project: Project, ranking: Ranking, model: str) -> None:
    """Write the list into the diary, unless it is the one that stands there last."""
    config = project.config.ranking
    payload: dict[str, Any] = {
        "strategy": ranking.strategy,
        "model": model,
        "round": ranking.round,
        "seed": project.config.seed,
        "beta": config.beta,
        "region": config.region,
        "power": config.power,
        "explore": config.explore,
        "query": list(ranking.query),
        "notes": list(ranking.notes),
        "diagnosis": None if ranking.diagnosis is None else asdict(ranking.diagnosis),
        "scores": [[one.case, one.score] for one in ranking.scores],
    }
    known = project.events(EVENT)
    if not known or known[-1].payload != payload:
        project.log_event(EVENT, payload)
