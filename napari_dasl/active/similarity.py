"""How alike the scans of a pool are, and the similarity-weighted uncertainty of DASL (Eq. 3).

Source: Wang et al., "Deep active self-paced learning for accurate pulmonary nodule segmentation", MICCAI 2018.

The mean cosine of one scan to all others is linear in the normalised outputs, ``Σ_j cos(P_d, P_j) = p̂_d · Σ_j p̂_j``.
So it is exact in O(D·F) time: one pass adds up the normalised signatures, a second multiplies each with the sum. No
D × D matrix is made, and only a block of signatures is in memory at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_dasl.errors import InputError

Signatures = NDArray[np.floating] | Iterable[NDArray[np.floating]]
"""D signatures of length F: an array (D, F), memory-mapped or not, or a collection that can be walked through twice."""

_BLOCK = 4_000_000  # numbers held in float64 at a time


def mean_similarity(signatures: Signatures) -> NDArray[np.float64]:
    """Mean cosine of each signature to all others, ``(Σ_j cos(P_d, P_j) − 1) / (D − 1)``.

    The factor of Eq. 3 of Wang et al. (MICCAI 2018), exact, in O(D·F) time and two passes.

    Parameters
    ----------
    signatures : array (D, F), or a collection of D arrays (F,)
        Need not be normalised. A memory-mapped array or a collection that loads its items one by one is read in
        blocks. An all-zero signature has similarity 0 to everything but itself.

    Returns
    -------
    array, float64, (D,)
        In [−1, 1], and in [0, 1] for signatures without negative values. 1 when there is a single signature.

    Raises
    ------
    InputError
        When signatures differ in length, hold NaN or infinity, or can be walked through only once.
    """
    _check_repeatable(signatures)
    total, count = _sum_of_directions(signatures)
    if count == 1:
        return np.ones(1)
    parts = []
    for block in blocks(signatures):
        norms = _norms(block)
        # A zero signature is like nothing but itself, and that 1 is what the formula takes away.
        cosines = np.divide(block @ total, norms, out=np.ones(len(block)), where=norms > 0)
        parts.append((cosines - 1) / (count - 1))
    return np.clip(np.concatenate(parts), -1, 1) if parts else np.empty(0)


def mean_similarity_to(signatures: Signatures, others: Signatures) -> NDArray[np.float64]:
    """Mean cosine of each signature to a second set, such as the scans that have a label already.

    Parameters
    ----------
    signatures : array (D, F), or a collection of D arrays (F,)
    others : array (L, F), or a collection of L arrays (F,)

    Returns
    -------
    array, float64, (D,)
        In [−1, 1]; 0 for an all-zero signature.

    Raises
    ------
    InputError
        As for :func:`mean_similarity`, and when *others* is empty or of another length.
    """
    _check_repeatable(signatures)
    _check_repeatable(others)
    total, count = _sum_of_directions(others)
    if count == 0:
        raise InputError("There is no signature to compare with.", "Give at least one.")
    parts = []
    for block in blocks(signatures):
        if block.shape[1] != total.size:
            raise _length_error(block.shape[1], total.size)
        norms = _norms(block)
        parts.append(np.divide(block @ total, norms, out=np.zeros(len(block)), where=norms > 0) / count)
    return np.clip(np.concatenate(parts), -1, 1) if parts else np.empty(0)


def similarity_weighted(uncertainty: ArrayLike, signatures: Signatures, beta: float = 1.0) -> NDArray[np.float64]:
    """Similarity-weighted uncertainty, ``U_d · ((Σ_j sim(P_d, P_j) − 1) / (D − 1))^β``.

    Eq. 3 of Wang et al. (MICCAI 2018); β = 1 in the paper. With β = 0 it is Eq. 2, exactly. Signatures of features
    may have a negative mean similarity s, which the paper does not foresee: there the power is ``−|s|^β``, which keeps
    the order of s for every β > 0.

    Parameters
    ----------
    uncertainty : array, (D,)
        U_d of each scan, Eq. 2.
    signatures : array (D, F), or a collection of D arrays (F,)
        See :func:`mean_similarity`. Not read at all when β = 0.
    beta : float
        Weight of the similarity, at least 0.

    Returns
    -------
    array, float64, (D,)

    Raises
    ------
    InputError
        When β is negative, the numbers of scans differ, or an uncertainty is not finite.
    """
    values = np.asarray(uncertainty, dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise InputError(
            f"Uncertainty is one finite number per scan, and this has shape {values.shape}.", "Predict the scans again."
        )
    check_beta(beta)
    if beta == 0:
        return values.copy()
    similarity = mean_similarity(signatures)
    if similarity.shape != values.shape:
        raise InputError(
            f"There are {values.size} uncertainties and {similarity.size} signatures.", "Give one of each per scan."
        )
    return values * similarity_factor(similarity, beta)


def similarity_factor(similarity: NDArray[np.float64], beta: float) -> NDArray[np.float64]:
    """The factor of Eq. 3, ``s^β``; ``−|s|^β`` for a negative s, and 1 for β = 0.

    Parameters
    ----------
    similarity : array, (D,)
        Mean similarity s of each scan, from :func:`mean_similarity`.
    beta : float
        At least 0.

    Returns
    -------
    array, float64, (D,)
    """
    if beta == 0:
        return np.ones_like(similarity)
    return np.sign(similarity) * np.abs(similarity) ** beta


def check_beta(beta: float) -> None:
    """Raise :class:`InputError` unless *beta* is a finite number of at least 0."""
    if not (np.isfinite(beta) and beta >= 0):
        raise InputError(
            f"The weight of the similarity, beta, is {beta:g}.", "Give a number of at least 0; 0 switches it off."
        )


def _check_repeatable(signatures: Signatures) -> None:
    if isinstance(signatures, Iterator):
        raise InputError(
            "The signatures can be walked through only once, and their mean similarity takes two passes.",
            "Give an array, a list, or an object that starts anew at each loop.",
        )


def _sum_of_directions(signatures: Signatures) -> tuple[NDArray[np.float64], int]:
    """First pass: the sum (F,) of all unit vectors, and how many signatures there are."""
    total: NDArray[np.float64] = np.zeros(0)
    count = 0
    for block in blocks(signatures):
        if count == 0:
            total = np.zeros(block.shape[1])
        norms = _norms(block)
        total += np.divide(1, norms, out=np.zeros(len(block)), where=norms > 0) @ block
        count += len(block)
    return total, count


def _norms(block: NDArray[np.float64]) -> NDArray[np.float64]:
    """Norm of each row; rows whose squares leave the range of float64 are first divided by their largest number."""
    with np.errstate(over="ignore", under="ignore"):
        squares = np.einsum("ij,ij->i", block, block)
    for row in np.flatnonzero(~((squares > 1e-250) & (squares < 1e250))):
        largest = float(np.abs(block[row]).max(initial=0.0))
        if not np.isfinite(largest):
            raise InputError("A signature holds NaN or infinity.", "Predict this scan again.")
        if largest > 0:
            block[row] /= largest
            squares[row] = block[row] @ block[row]
    return np.asarray(np.sqrt(squares))


def blocks(signatures: Signatures) -> Iterator[NDArray[np.float64]]:
    """The signatures as float64 arrays (rows, F) of a bounded size; each block is a copy.

    Raises
    ------
    InputError
        When they differ in length.
    """
    if isinstance(signatures, np.ndarray):
        if signatures.ndim != 2:
            raise InputError(
                f"Signatures are an array (scans, length), and this one has shape {signatures.shape}.",
                "Flatten each signature.",
            )
        rows = max(1, _BLOCK // max(1, signatures.shape[1]))
        for start in range(0, signatures.shape[0], rows):
            yield np.array(signatures[start : start + rows], dtype=np.float64)
        return
    items = (np.asarray(item) for item in signatures)
    first = next(items, None)
    if first is None:
        return
    rows = max(1, _BLOCK // max(1, first.size))
    pending = [first, *islice(items, rows - 1)]
    while pending:
        for item in pending:
            if item.ndim != 1 or item.size != first.size:
                raise _length_error(item.size, first.size)
        yield np.array(pending, dtype=np.float64)
        pending = list(islice(items, rows))


def _length_error(found: int, expected: int) -> InputError:
    return InputError(
        f"A signature has {found} numbers where the others have {expected}.",
        "Predict all scans with the same model and the same signature grid.",
    )
