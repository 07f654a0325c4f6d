"""The values that a ranking takes and gives: a candidate scan, and its place in the worklist."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from napari_dasl.errors import InputError

SignatureSource = NDArray[np.floating] | Callable[[], NDArray[np.floating]]
"""A signature (F,), or a function that reads it: of ten thousand scans not all fit into memory."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An unlabelled scan, with what the network's prediction says about it.

    Attributes
    ----------
    case : str
        Case id.
    uncertainty : float or None
        U of the scan: a voxel map averaged over a region. None when no model has seen the scan.
    signature : array (F,), or a function that returns it, or None
        Only read by strategies that compare scans.
    empty : bool
        The network predicted no foreground voxel.
    max_foreground : float or None
        Largest foreground probability in the scan; orders the empty predictions.
    uncertain_regions : int or None
        Connected uncertain regions at the edge of what the network drew.
    undecided_spots : int or None
        Connected uncertain regions that it left out.
    largest_region_ml : float or None
        Volume of the largest region that it drew, in millilitres.
    scores : mapping of str to float
        Other numbers that a strategy may go by, such as ``mutual_information``.
    class_scores : tuple of float
        One per foreground class, see :func:`~napari_dasl.active.aggregations.per_class`.
    like_unlabelled, like_labelled : float or None
        Percentile (0 to 100) of the scan's mean similarity to the other unlabelled scans, and to the labelled ones,
        among the candidates. Computed by the ranking where signatures allow.
    """

    case: str
    uncertainty: float | None = None
    signature: SignatureSource | None = field(default=None, compare=False, repr=False)
    empty: bool = False
    max_foreground: float | None = None
    uncertain_regions: int | None = None
    undecided_spots: int | None = None
    largest_region_ml: float | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    class_scores: tuple[float, ...] = ()
    like_unlabelled: float | None = None
    like_labelled: float | None = None


@dataclass(frozen=True, slots=True)
class Ranked:
    """One line of the worklist.

    Attributes
    ----------
    case : str
        Case id.
    rank : int
        From 1, the scan to label next.
    score : float or None
        What the order follows, larger first; None for a scan that no model has seen. Where a selection draws part of
        the batch by another rule (``stratum`` or ``explored`` among the parts), it is not the only thing.
    parts : dict of str to float
        The numbers the score is made of.
    words : str
        Why the scan is here, in one sentence for a radiologist.
    """

    case: str
    rank: int
    score: float | None
    parts: dict[str, float]
    words: str


class CandidateSignatures:
    """The signatures of a pool, read one at a time and as often as a formula walks through them.

    Parameters
    ----------
    candidates : sequence of Candidate

    Raises
    ------
    InputError
        On the first step, when a candidate has no signature.
    """

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        self._candidates = candidates

    def __len__(self) -> int:
        return len(self._candidates)

    def __iter__(self) -> Iterator[NDArray[np.floating]]:
        for candidate in self._candidates:
            source = candidate.signature
            if source is None:
                raise InputError(
                    f"Case {candidate.case} has no signature, and this ranking compares scans by theirs.",
                    "Predict the case again, or rank by uncertainty.",
                )
            yield np.ravel(source() if callable(source) else source)
