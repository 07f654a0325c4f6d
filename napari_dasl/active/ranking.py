"""The order in which unlabelled scans are offered to the annotator, and why each stands where it stands."""

from __future__ import annotations

import difflib
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_dasl.active import words
from napari_dasl.active.candidates import Candidate, CandidateSignatures, Ranked
from napari_dasl.active.similarity import Signatures, check_beta, mean_similarity, mean_similarity_to
from napari_dasl.active.strategies import STRATEGIES, Pool, Settings, Strategy, chance
from napari_dasl.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_dasl.active.selections import Selection

_LUCKY = 60.0  # percentile of doubt below which it was luck
_FEWEST = 5  # a percentile among fewer scans says nothing


def rank(
    candidates: Sequence[Candidate],
    strategy: str = "default",
    *,
    beta: float = 1.0,
    seed: int = 0,
    labelled: Signatures | None = None,
    query: int = 20,
    round: int = 0,
    power: float = 8.0,
    explore: float = 0.0,
) -> list[Ranked]:
    """Order a pool of scans, the one to label next first; the first *query* of them are the batch.

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
        Of everything random, and of the scans that no model has seen.
    labelled : array (L, F) or collection of L arrays (F,), optional
        Signatures of the labelled scans under the same model, for the words and for ``"k-centre"``.
    query : int
        Scans in the batch; the strategies that compose a batch look at it.
    round : int
        How many queries came before; moves the schedule of power sampling on, and draws its noise anew.
    power : float
        First exponent of power sampling.
    explore : float
        Share of the batch, at its end, that is drawn at random from the whole pool, whatever the strategy says.

    Returns
    -------
    list of Ranked
        One per candidate, ranks 1 to D.

    Raises
    ------
    InputError
        When the strategy is unknown, a setting is out of its range, a case comes twice, an uncertainty is not a finite
        number, or a signature or score that the strategy needs is missing or of another length.
    """
    method = find_strategy(strategy)
    check_beta(beta)
    _check_settings(query, power, explore)
    _check(candidates)
    pool = sorted(candidates, key=lambda candidate: candidate.case)
    settings = Settings(beta=beta, seed=seed, query=query, round=round, power=power, labelled=labelled)
    if not method.uses_prediction:
        chosen = method.select(Pool(pool, np.zeros(len(pool)), np.zeros(len(pool), dtype=np.bool_), settings))
        return _numbered(_in_order(pool, chosen, [method.words] * len(pool)))
    drawn = _drawn_at_random([candidate.case for candidate in pool], settings, explore)
    seen = [candidate for candidate in pool if candidate.uncertainty is not None]
    unseen = [candidate.case for candidate in pool if candidate.uncertainty is None]
    settings = replace(settings, chosen=frozenset(k for k, one in enumerate(seen) if one.case in drawn))
    tail = [replace(item, score=None, parts={}, words=words.NOT_SEEN) for item in cold_start(unseen, seed)]
    return _numbered(_with_drawn([*_by_model(seen, method, settings), *tail], drawn, query))


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
    from scipy.stats import rankdata  # takes half a second to load, and the window starts without it

    return np.asarray(100 * (rankdata(values) - 1) / (values.size - 1), dtype=np.float64)


def _by_model(candidates: list[Candidate], method: Strategy, settings: Settings) -> list[Ranked]:
    if not candidates or method.value is None:
        return []
    value = np.array([method.value(candidate) for candidate in candidates], dtype=np.float64)
    for candidate, one in zip(candidates, value, strict=True):
        if not np.isfinite(one):
            raise InputError(
                f"The {method.part.replace('_', ' ')} of case {candidate.case} is not a finite number.",
                "Predict the case again.",
            )
    empty = np.array([candidate.empty for candidate in candidates], dtype=np.bool_)
    found = method.select(Pool(candidates, value, empty, settings))
    found = replace(found, parts={method.part: value, **found.parts})
    described = _with_likeness(candidates, found.parts.get("similarity"), settings.labelled)
    if method.words:
        sentences = [method.words if not one.empty else words.reason(one, None) for one in described]
    else:
        unsure = percentiles(value[~empty])
        known = iter(unsure.tolist() if unsure.size >= _FEWEST else [None] * unsure.size)
        percentile = [None if item.empty else next(known) for item in described]
        sentences = [words.reason(item, one) for item, one in zip(described, percentile, strict=True)]
        if "noise" in found.parts:
            # Where luck and not doubt put a scan first, its doubt is no reason.
            lucky = [one is not None and one < _LUCKY for one in percentile]
            sentences = [
                f"{said} {words.BY_LOT}" if luck else said for said, luck in zip(sentences, lucky, strict=True)
            ]
    return _in_order(described, found, sentences)


def _drawn_at_random(cases: Sequence[str], settings: Settings, share: float) -> list[str]:
    """The part of a batch that chance decides, anew in each round."""
    wanted = math.floor(share * min(settings.query, len(cases)) + 0.5)
    keyed = [(-chance(f"explore:{settings.round}:{case}", settings.seed), case) for case in cases]
    return [case for _, case in sorted(keyed)[:wanted]]


def _with_drawn(items: list[Ranked], drawn: Sequence[str], query: int) -> list[Ranked]:
    """Put the scans drawn at random at the end of the batch."""
    if not drawn:
        return items
    by_case = {item.case: item for item in items}
    marked = [
        replace(by_case[case], parts={**by_case[case].parts, "explored": 1.0}, words=words.EXPLORED) for case in drawn
    ]
    others = [item for item in items if item.case not in set(drawn)]
    batch = min(query, len(items)) - len(marked)
    return [*others[:batch], *marked, *others[batch:]]


def _with_likeness(
    candidates: list[Candidate], pool: NDArray[np.float64] | None, labelled: Signatures | None
) -> list[Candidate]:
    """Fill in how like the other scans each one is, where signatures allow and nobody has said so already."""
    if len(candidates) < _FEWEST:
        return candidates
    complete = all(candidate.signature is not None for candidate in candidates)
    signatures = CandidateSignatures(candidates)
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


def _in_order(candidates: Sequence[Candidate], found: Selection, sentences: Sequence[str]) -> list[Ranked]:
    """The selection's own order, or its largest score first.

    At equal scores a found lesion goes before nothing found, then the case id decides.
    """
    if found.order is not None:
        order = [int(position) for position in found.order]
    else:
        order = sorted(range(len(candidates)), key=lambda i: (-found.score[i], candidates[i].empty, candidates[i].case))
    return [
        Ranked(
            case=candidates[i].case,
            rank=0,
            score=float(found.score[i]),
            parts=_parts(candidates[i], {name: float(values[i]) for name, values in found.parts.items()}),
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
    return {**candidate.scores, **parts, "empty": float(candidate.empty), **known}


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


def _check_settings(query: int, power: float, explore: float) -> None:
    if query < 1:
        raise InputError(f"A batch of {query} scans cannot be ranked for.", "Ask for at least 1.")
    if not (np.isfinite(power) and power > 0):
        raise InputError(f"The first exponent of power sampling is {power:g}.", "Give a number above 0, such as 8.")
    if not 0 <= explore <= 1:
        raise InputError(f"The share drawn at random is {explore:g}.", "Give a share from 0 to 1.")
