"""The order in which unlabelled scans are offered to the annotator, and why each stands where it stands."""

from __future__ import annotations

import difflib
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_dasl.active import words
from napari_dasl.active.candidates import Candidate, CandidateSignatures, Ranked
from napari_dasl.active.diagnosis import mean_ranks
from napari_dasl.active.similarity import Signatures, check_beta, mean_similarity, mean_similarity_to
from napari_dasl.active.strategies import STRATEGIES, Scored, Settings, Strategy, chance
from napari_dasl.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_FEWEST = 5  # a percentile among fewer scans says nothing
_EMPTY_LOW, _EMPTY_HIGH = 0.1, 0.9


def rank(
    candidates: Sequence[Candidate],
    strategy: str = "default",
    *,
    beta: float = 1.0,
    seed: int = 0,
    labelled: Signatures | None = None,
) -> list[Ranked]:
    """Order a pool of scans, the one to label next first.

    Scans in which the network found nothing have an uncertainty that says nothing: it is near zero whether the scan
    is normal or the lesion was missed. They are placed by their largest foreground probability m instead, at the
    quantile 0.1 + 0.8·min(2m, 1) of the scores of the others, so they are neither the first nor the last; where
    all predictions are empty, the score is m. Scans that no model has seen follow at the end, in random order. Ties go
    by case id.

    Parameters
    ----------
    candidates : sequence of Candidate
    strategy : str
        A key of :data:`~napari_dasl.active.strategies.STRATEGIES`.
    beta : float
        Exponent of the similarity in Eq. 3; only ``"dasl"`` uses it.
    seed : int
        Of the random strategy and of the scans that no model has seen.
    labelled : array (L, F) or collection of L arrays (F,), optional
        Signatures of the labelled scans under the same model, for the words.

    Returns
    -------
    list of Ranked
        One per candidate, ranks 1 to D.

    Raises
    ------
    InputError
        When the strategy is unknown, a case comes twice, an uncertainty is not a finite number, or a signature that
        the strategy needs is missing or of another length.
    """
    method = find_strategy(strategy)
    check_beta(beta)
    _check(candidates)
    settings = Settings(beta=beta, seed=seed)
    if not method.uses_prediction:
        return _numbered(_in_order(candidates, method.score(candidates, settings), [words.AT_RANDOM] * len(candidates)))
    seen = [candidate for candidate in candidates if candidate.uncertainty is not None]
    unseen = [candidate.case for candidate in candidates if candidate.uncertainty is None]
    tail = [replace(item, score=None, parts={}, words=words.NOT_SEEN) for item in cold_start(unseen, seed)]
    return _numbered([*_by_model(seen, method, settings, labelled), *tail])


def cold_start(case_ids: Sequence[str], seed: int) -> list[Ranked]:
    """The order before any model is trained: random, the same for the same seed.

    No published way to choose the first scans is reliably better than chance (COLosSAL, MICCAI 2023), and a random
    sample keeps the guard set and the first learning curve honest.

    Parameters
    ----------
    case_ids : sequence of str
    seed : int

    Returns
    -------
    list of Ranked
    """
    drawn = [(chance(case, seed), case) for case in case_ids]
    return _numbered(
        [Ranked(case, 0, score, {}, words.COLD_START) for score, case in sorted(drawn, key=lambda d: (-d[0], d[1]))]
    )


def find_strategy(name: str) -> Strategy:
    """The strategy of that name.

    Parameters
    ----------
    name : str

    Returns
    -------
    Strategy

    Raises
    ------
    InputError
        When there is none; the hint names the nearest.
    """
    if name in STRATEGIES:
        return STRATEGIES[name]
    near = difflib.get_close_matches(name, STRATEGIES, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"Choose one of {', '.join(STRATEGIES)}."
    raise InputError(f"There is no ranking strategy named {name!r}.", hint)


def percentiles(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Percentile of each value among the others, 0 for the smallest and 100 for the largest; equal values share theirs.

    Parameters
    ----------
    values : array, (n,)

    Returns
    -------
    array, float64, (n,)
        50 for a single value.
    """
    if values.size < 2:
        return np.full(values.size, 50.0)
    return 100 * (mean_ranks(values) - 1) / (values.size - 1)


def _by_model(
    candidates: list[Candidate], method: Strategy, settings: Settings, labelled: Signatures | None
) -> list[Ranked]:
    if not candidates:
        return []
    scored = method.score(candidates, settings)
    described = _with_likeness(candidates, scored, labelled)
    empty = np.array([candidate.empty for candidate in candidates])
    score = scored.score.copy()
    score[empty] = _empty_scores(candidates, scored.score, empty)
    unsure = percentiles(np.array([candidate.uncertainty for candidate in candidates], dtype=np.float64)[~empty])
    known = iter(unsure.tolist() if unsure.size >= _FEWEST else [None] * unsure.size)
    sentences = [words.reason(item, None if item.empty else next(known)) for item in described]
    return _in_order(described, Scored(score, scored.parts), sentences)


def _empty_scores(
    candidates: list[Candidate], score: NDArray[np.float64], empty: NDArray[np.bool_]
) -> NDArray[np.float64]:
    hints = np.array([candidate.max_foreground or 0.0 for candidate in candidates], dtype=np.float64)[empty]
    if empty.all():
        return hints
    place = _EMPTY_LOW + (_EMPTY_HIGH - _EMPTY_LOW) * np.clip(2 * hints, 0, 1)
    return np.quantile(score[~empty], place)


def _with_likeness(candidates: list[Candidate], scored: Scored, labelled: Signatures | None) -> list[Candidate]:
    """Fill in how like the other scans each one is, where signatures allow and nobody has said so already."""
    if len(candidates) < _FEWEST:
        return candidates
    complete = all(candidate.signature is not None for candidate in candidates)
    signatures = CandidateSignatures(candidates)
    pool = scored.parts.get("similarity")
    if pool is None and complete and any(candidate.like_unlabelled is None for candidate in candidates):
        pool = mean_similarity(signatures)
    done = mean_similarity_to(signatures, labelled) if labelled is not None and complete else None
    return [
        replace(
            candidate,
            like_unlabelled=_first(candidate.like_unlabelled, among_pool),
            like_labelled=_first(candidate.like_labelled, among_labelled),
        )
        for candidate, among_pool, among_labelled in zip(
            candidates, _spread(pool, len(candidates)), _spread(done, len(candidates)), strict=True
        )
    ]


def _spread(similarity: NDArray[np.float64] | None, count: int) -> list[float] | list[None]:
    """Percentiles, or Nones where there is nothing to tell the scans apart by."""
    # Below a thousandth the differences are rounding and say nothing that a reader could see.
    if similarity is None or float(np.ptp(similarity)) < 1e-3:
        return [None] * count
    # Rounded, so that equal scans share a percentile whatever order they were added up in.
    found: list[float] = percentiles(similarity.round(9)).tolist()
    return found


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)


def _in_order(candidates: Sequence[Candidate], scored: Scored, sentences: Sequence[str]) -> list[Ranked]:
    """Largest score first; at equal scores a found lesion goes before nothing found, then the case id decides."""
    order = sorted(range(len(candidates)), key=lambda i: (-scored.score[i], candidates[i].empty, candidates[i].case))
    return [
        Ranked(
            case=candidates[i].case,
            rank=0,
            score=float(scored.score[i]),
            parts=_parts(candidates[i], {name: float(values[i]) for name, values in scored.parts.items()}),
            words=sentences[i],
        )
        for i in order
    ]


def _parts(candidate: Candidate, parts: dict[str, float]) -> dict[str, float]:
    facts = {
        "max_foreground": candidate.max_foreground,
        "uncertain_regions": candidate.uncertain_regions,
        "undecided_spots": candidate.undecided_spots,
        "largest_region_ml": candidate.largest_region_ml,
        "like_unlabelled": candidate.like_unlabelled,
        "like_labelled": candidate.like_labelled,
    }
    known = {name: float(value) for name, value in facts.items() if value is not None}
    return {**parts, "empty": float(candidate.empty), **known}


def _numbered(items: list[Ranked]) -> list[Ranked]:
    return [replace(item, rank=number) for number, item in enumerate(items, start=1)]


def _check(candidates: Sequence[Candidate]) -> None:
    names = [candidate.case for candidate in candidates]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"Case {twice} is in the list twice.", "Give each case once.")
    for candidate in candidates:
        if candidate.uncertainty is not None and not np.isfinite(candidate.uncertainty):
            raise InputError(
                f"The uncertainty of case {candidate.case} is not a finite number.", "Predict the case again."
            )
