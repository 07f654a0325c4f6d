"""What the similarity factor of Eq. 3 did to a ranking: nothing, something, or harm.

The factor is easily inert: with the background channel in the signature, all outputs of a pool are 0.97 ± 0.005 alike
and Eq. 3 ranks like Eq. 2. And where it acts it may act against the purpose: on real MR it was lowest for the scans
that the network got most wrong. So every ranking by Eq. 3 says what the factor did.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_dasl.active.similarity import similarity_factor
from napari_dasl.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_FEWEST = 5  # rank correlations of fewer scans say nothing
_INERT = 0.99
_AGAINST = -0.3


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What the similarity factor did to the ranking of a pool.

    Attributes
    ----------
    agreement : float or None
        Spearman correlation of ``U·D^β`` with U: 1 when the factor changed no rank. None when it is undefined (a
        constant, or fewer than two scans).
    against : float or None
        Spearman correlation of D with U: negative when the factor pushes uncertain scans down.
    variation : float or None
        Standard deviation of D divided by its mean; None when the mean is 0.
    sentence : str
        One sentence for the annotator when the factor did nothing or pushes hard scans down; "" otherwise.
    """

    agreement: float | None
    against: float | None
    variation: float | None
    sentence: str


def diagnose(uncertainty: ArrayLike, similarity: ArrayLike, beta: float = 1.0) -> Diagnosis:
    """Say what the similarity factor of Eq. 3 did.

    Parameters
    ----------
    uncertainty : array, (D,)
        U of each scan, Eq. 2.
    similarity : array, (D,)
        Mean similarity D of each scan to the others.
    beta : float
        The exponent of D in the ranking.

    Returns
    -------
    Diagnosis

    Raises
    ------
    InputError
        When the two arrays differ in length.
    """
    u = np.asarray(uncertainty, dtype=np.float64)
    d = np.asarray(similarity, dtype=np.float64)
    if u.shape != d.shape or u.ndim != 1:
        raise InputError(f"There are {u.size} uncertainties and {d.size} similarities.", "Give one of each per scan.")
    agreement = spearman(u * similarity_factor(d, beta), u)
    against = spearman(d, u)
    mean = float(d.mean()) if d.size else 0.0
    variation = float(d.std() / abs(mean)) if mean else None
    return Diagnosis(agreement, against, variation, _sentence(u.size, agreement, against, beta))


def _sentence(count: int, agreement: float | None, against: float | None, beta: float) -> str:
    if count < _FEWEST or agreement is None or beta == 0:
        return ""
    if agreement >= _INERT:
        return (
            "Similarity changed almost nothing: the order is that of uncertainty alone "
            f"(rank correlation {agreement:.3f})."
        )
    if against is not None and against <= _AGAINST:
        return (
            "Similarity moves the scans that the network is least sure of down the list, in favour of typical ones "
            f"(rank correlation with uncertainty {against:.2f}); ranking.beta = 0 leaves it out."
        )
    return ""


def spearman(first: ArrayLike, second: ArrayLike) -> float | None:
    """Spearman's rank correlation, ties at their mean rank; None where one side is constant.

    Parameters
    ----------
    first, second : array, (n,)

    Returns
    -------
    float in [-1, 1] or None
    """
    from scipy.stats import rankdata  # takes half a second to load, and the window starts without it

    a, b = np.asarray(rankdata(first), dtype=np.float64), np.asarray(rankdata(second), dtype=np.float64)
    if a.size < 2:
        return None
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(np.clip((a @ b) / scale, -1, 1)) if scale > 0 else None
