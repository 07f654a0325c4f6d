"""The scans that are most like a scan, by the cosine of their signatures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_dasl.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from napari_dasl.active.candidates import SignatureSource

_BLOCK = 4_000_000  # numbers held in float64 at a time


def nearest(
    queries: Mapping[str, SignatureSource], others: Mapping[str, SignatureSource], count: int = 3
) -> dict[str, list[tuple[str, float]]]:
    """The *count* scans of *others* that are most like each scan of *queries*.

    Takes O(Q·D·F) time, and memory for the Q signatures and a block of the others.

    Parameters
    ----------
    queries, others : mapping of case id to a signature (F,), or to a function that reads it
        A case that is in both is not its own neighbour.
    count : int

    Returns
    -------
    dict of case id to a list of (case id, cosine)
        The most alike first; ties go by case id. The cosine with an all-zero signature is 0.

    Raises
    ------
    InputError
        When signatures differ in length or are no numbers.
    """
    names = list(queries)
    best: dict[str, list[tuple[str, float]]] = {name: [] for name in names}
    if not names or not others:
        return best
    asked = np.stack([_unit(queries[name]) for name in names])
    rest = list(others)
    rows = max(1, _BLOCK // asked.shape[1])
    for start in range(0, len(rest), rows):
        block = rest[start : start + rows]
        # Rounded, so that equal scans tie whatever order their products were added up in.
        cosines = np.round(np.stack([_of_length(others[name], asked.shape[1]) for name in block]) @ asked.T, 9)
        for column, name in enumerate(names):
            found = [(other, float(cosines[row, column])) for row, other in enumerate(block) if other != name]
            best[name] = _first(best[name] + found, count)
    return best


def _first(found: Sequence[tuple[str, float]], count: int) -> list[tuple[str, float]]:
    return sorted(found, key=lambda pair: (-pair[1], pair[0]))[:count]


def _of_length(source: SignatureSource, length: int) -> NDArray[np.float64]:
    vector = _unit(source)
    if vector.size != length:
        raise InputError(
            f"A signature has {vector.size} numbers where the others have {length}.",
            "Predict all scans with the same model and the same signature grid.",
        )
    return vector


def _unit(source: SignatureSource) -> NDArray[np.float64]:
    vector = np.ravel(source() if callable(source) else source).astype(np.float64)
    norm = float(np.sqrt(vector @ vector))
    if not np.isfinite(norm):
        raise InputError("A signature holds NaN or infinity.", "Predict this scan again.")
    return vector / norm if norm > 0 else vector
