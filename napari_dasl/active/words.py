"""Why a scan stands where it stands, in one sentence that a radiologist can check against the picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_dasl.active.candidates import Candidate

NOT_SEEN = "No model has looked at this scan yet."
COLD_START = "No model is trained yet; drawn at random, so that the first scans are a fair sample."
BY_FINDING = "Drawn at random among the scans in which the network found something, large findings more often."
EXPLORED = "Drawn at random, so that the labelled scans stay a fair sample."
BY_LOT = "It was drawn by lot, in which scans that the network is less sure of have better chances."
AT_RANDOM = "Drawn at random, whatever the network thinks of it."

_HIGH, _LOW = 90.0, 10.0  # percentiles worth a word
_SURE, _UNSURE = 20.0, 80.0
_HINT = 0.2  # a foreground probability below this is no hint


def reason(candidate: Candidate, unsure: float | None) -> str:
    """One sentence about a scan that was ranked by the network's uncertainty.

    Parameters
    ----------
    candidate : Candidate
        With the similarity percentiles filled in where they are known.
    unsure : float or None
        Percentile (0 to 100) of the scan's uncertainty among the candidates.

    Returns
    -------
    str
        Ends with a full stop; never empty.
    """
    if candidate.empty:
        hint = candidate.max_foreground or 0.0
        if hint < _HINT:
            return "The network found nothing here."
        return f"The network found nothing here, but came close at one place ({hint:.0%} sure)."
    clauses = [clause for clause in (_where(candidate), _how_much(unsure), _likeness(candidate)) if clause]
    if not clauses:
        return "About as unsure here as on most other unlabelled scans."
    # A sentence carries three thoughts at most; without a place the first one leads.
    sentence = "; ".join(clauses[:3])
    return sentence[0].upper() + sentence[1:] + "."


def _where(candidate: Candidate) -> str:
    edges, spots = candidate.uncertain_regions or 0, candidate.undecided_spots or 0
    size = _volume(candidate.largest_region_ml)
    places = []
    if edges:
        largest = f" ({size})" if size and edges == 1 else f" (the largest {size})" if size else ""
        places.append(f"at the edge of {_count(edges, 'region')}{largest}")
    if spots:
        places.append(f"about {_count(spots, 'spot')} it left out")
    return f"unsure {' and '.join(places)}" if places else ""


def _how_much(unsure: float | None) -> str:
    if unsure is None:
        return ""
    if unsure >= _UNSURE:
        return f"less sure than on {min(99, round(unsure))} % of the unlabelled scans"
    if unsure <= _SURE:
        return f"surer than on {min(99, round(100 - unsure))} % of the unlabelled scans"
    return ""


def _likeness(candidate: Candidate) -> str:
    pool, labelled = candidate.like_unlabelled, candidate.like_labelled
    if labelled is not None and labelled <= _LOW:
        return "unlike the scans labelled so far"
    if pool is not None and pool <= _LOW:
        return "unlike most other unlabelled scans"
    if pool is not None and pool >= _HIGH:
        return "typical of the unlabelled scans"
    if labelled is not None and labelled >= _HIGH:
        return "much like the scans labelled so far"
    return ""


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _volume(millilitres: float | None) -> str:
    if millilitres is None or millilitres <= 0:
        return ""
    if millilitres < 0.1:
        return f"{millilitres:.2f} ml" if millilitres >= 0.005 else "under 0.01 ml"
    return f"{millilitres:.1f} ml" if millilitres < 10 else f"{millilitres:.0f} ml"
