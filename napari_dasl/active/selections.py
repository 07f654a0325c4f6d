"""From one number per scan to an order: six ways to select, each a function of arrays.

``value`` is what an aggregation gave each scan, larger for a scan more worth labelling; ``noise`` is standard Gumbel
noise, one number per scan. Two of them, :func:`k_centre` and :func:`stratified`, compose a batch of ``count`` scans, in
which the choice of one scan depends on the others.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from napari_dasl.active.similarity import Signatures, blocks, mean_similarity, similarity_factor

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

CLASS_SHARE = 0.66
"""Share of a class-stratified batch that is drawn by class (ClaSP PE, arXiv 2601.13677)."""
LAST_EXPONENT = 100.0
SCHEDULE_ROUNDS = 5
"""Queries until power sampling reaches its last exponent: those of nnActive (TMLR 2025)."""

_TINY = 1e-12
_MOST_NUMBERS = 100_000_000  # of float32 signatures held at a time
_PROJECTED = 512
_LEAST_SPREAD = 0.1


@dataclass(frozen=True, slots=True)
class Selection:
    """What a selection makes of a pool.

    Attributes
    ----------
    score : array, (D,)
        What the selection compared, larger first.
    parts : dict of str to array (D,)
        The numbers that it is made of.
    order : array, int, (D,), or None
        Positions in the pool, the scan to label first at the front. None where the score alone says it.
    """

    score: NDArray[np.float64]
    parts: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    order: NDArray[np.intp] | None = None


def top(value: NDArray[np.float64]) -> Selection:
    """Largest value first."""
    return Selection(value)


def density(value: NDArray[np.float64], signatures: Signatures, beta: float) -> Selection:
    """Value times mean similarity to the rest of the pool to the power β: Eq. 3 of Wang et al. (MICCAI 2018)."""
    similarity = mean_similarity(signatures)
    factor = similarity_factor(similarity, beta)
    return Selection(value * factor, {"similarity": similarity, "factor": factor})


def power(value: NDArray[np.float64], exponent: float, noise: NDArray[np.float64]) -> Selection:
    """Power sampling: ``value · exp(g / β_t)`` with Gumbel noise g.

    The first N in this order are N scans drawn without replacement with probabilities proportional to
    ``value ** β_t`` (Kirsch et al., "Stochastic batch acquisition", TMLR 2023): near copies rarely come together, at
    the cost of a sort. β_t → ∞ gives the largest values, β_t → 0 a random order.
    """
    shift = noise / exponent
    parts = {"noise": shift, "exponent": np.full(value.size, exponent)}
    return Selection(np.maximum(value, _TINY) * np.exp(shift), parts)


def power_exponent(round: int, first: float, last: float = LAST_EXPONENT, rounds: int = SCHEDULE_ROUNDS) -> float:
    """β_t of the exponential schedule ``first · (last / first)^(t / (T − 1))``: explore first, exploit last.

    ClaSP PE goes from 1 to 100 over the rounds of a benchmark. With batches of 8 of 192 a first exponent of 1 is nearly
    a random draw, so the project's default starts at 8.

    Parameters
    ----------
    round : int
        t, 0 for the first query; constant from T − 1 on.
    first, last : float
        Above 0. A *first* above *last* stays as it is.
    rounds : int
        T, at least 2.
    """
    share = min(max(round, 0), rounds - 1) / (rounds - 1)
    return first if first >= last else float(first * (last / first) ** share)


def foreground_draw(
    mass: NDArray[np.float64], empty: NDArray[np.bool_], noise: NDArray[np.float64], chance: NDArray[np.float64]
) -> Selection:
    """Draw without replacement, in proportion to the predicted foreground; scans without any follow, at random.

    ``ln mass + g`` with Gumbel noise g orders scans as such a draw does (Efraimidis and Spirakis, 2006). It is the
    control *random among scans with foreground* of nnActive, for queries of whole scans: there a random foreground
    voxel decides, and a voxel of the whole pool lies in a scan with a probability proportional to its foreground.
    nnActive takes the foreground from the truth; here it is what the network predicts.

    Parameters
    ----------
    mass : array, (D,)
        Expected foreground of each scan, in any unit.
    empty : array, bool, (D,)
        The network drew nothing in the scan.
    noise, chance : array, (D,)
        Gumbel noise, and numbers in [0, 1) for the empty ones.
    """
    score = np.log(np.maximum(mass, _TINY)) + noise
    floor = float(score[~empty].min()) if (~empty).any() else 0.0
    return Selection(np.where(empty, floor - 2 + chance, score))


def k_centre(
    value: NDArray[np.float64],
    signatures: Signatures,
    taken: Signatures | None,
    count: int,
    chosen: Collection[int] = (),
) -> Selection:
    """Greedy k-centre, weighted: again and again the scan with the largest ``value · distance``.

    The distance is the Euclidean one to the nearest scan that is labelled or already in the batch (Sener and Savarese,
    "Active learning for convolutional neural networks: a core-set approach", ICLR 2018; here with the value as a
    weight), between standardised signatures: mean 0 over all of them, each number divided by its standard deviation
    or a tenth of the largest one, so that cells in which nothing happens do not count like the others. A copy of a
    scan in the batch has distance 0, so it comes after all that differ.

    Parameters
    ----------
    value : array, (D,)
        At least 0.
    signatures : array (D, F) or collection of D arrays (F,)
    taken : array (L, F) or collection of L arrays (F,), or None
        Signatures of the labelled scans.
    count : int
        Scans in the batch. The others follow by what is left of their product.
    chosen : collection of int
        Positions that are in the batch already.

    Returns
    -------
    Selection
        Its score never rises along the order. Above about 10^8 numbers, distances are those of a fixed random
        projection to 512 numbers, right to some percent; those of copies stay exactly 0.
    """
    points, centres = _standardised(signatures, taken)
    # Without anything labelled all scans are equally far: twice the largest norm, which no distance exceeds.
    distance = np.full(value.size, 2 * float(np.sqrt(np.einsum("ij,ij->i", points, points).max(initial=0.0))))
    for centre in [*centres, *(points[index] for index in chosen)]:
        np.minimum(distance, _distances(points, centre), out=distance)
    free = np.ones(value.size, dtype=np.bool_)
    score: NDArray[np.float64] = np.zeros(value.size)
    order: list[int] = []
    for _ in range(min(count, value.size)):
        gain = np.where(free, value * distance, -np.inf)
        best = int(np.lexsort((np.arange(value.size), -value, -gain))[0])
        score[best], free[best] = gain[best], False
        order.append(best)
        np.minimum(distance, _distances(points, points[best]), out=distance)
    left = np.flatnonzero(free)
    score[left] = value[left] * distance[left]
    rest = left[np.lexsort((left, -value[left], -score[left]))]
    return Selection(score, order=np.array([*order, *rest], dtype=np.intp))


def stratified(
    value: NDArray[np.float64],
    class_scores: NDArray[np.float64],
    empty: NDArray[np.bool_],
    count: int,
    exponent: float,
    noise: NDArray[np.float64],
    chosen: Collection[int] = (),
) -> Selection:
    """ClaSP (arXiv 2601.13677): 66 % of a batch split evenly over the classes, the rest by value; all with power noise.

    Parameters
    ----------
    value : array, (D,)
        Predictive entropy of each scan.
    class_scores : array, (D, C)
        Of each foreground class in each scan, see :func:`~napari_dasl.active.aggregations.per_class`.
    empty : array, bool, (D,)
        Scans in which the network drew nothing are drawn by value alone.
    count : int
        Scans in the batch.
    exponent : float
        β_t of the power noise.
    noise : array, (1 + C, D)
        Gumbel noise, first that of the value.
    chosen : collection of int
        Positions that are not to be drawn.

    Returns
    -------
    Selection
        Its score is that of the draw by value. ``parts["stratum"]`` is the class that a scan was drawn for, 0 for the
        draw by value.
    """
    plain = power(value, exponent, noise[0])
    classes = class_scores.shape[1]
    by_class = round(CLASS_SHARE * count)
    free = np.ones(value.size, dtype=np.bool_)
    free[list(chosen)] = False
    stratum: NDArray[np.float64] = np.zeros(value.size)
    order: list[int] = []
    for index in range(classes):
        share = by_class // classes + (index < by_class % classes)
        drawn = power(class_scores[:, index], exponent, noise[1 + index]).score
        able = np.flatnonzero(free & ~empty)
        picked = able[np.lexsort((able, -drawn[able]))][:share]
        stratum[picked] = index + 1
        free[picked] = False
        order.extend(picked.tolist())
    left = np.flatnonzero(free)
    rest = left[np.lexsort((left, -plain.score[left]))]
    order = [*order, *rest.tolist(), *sorted(chosen)]
    return Selection(plain.score, {**plain.parts, "stratum": stratum}, np.array(order, dtype=np.intp))


def _standardised(signatures: Signatures, taken: Signatures | None) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The signatures (D, F) and the taken ones (L, F), standardised over all of them; projected where they are many."""
    sources = [signatures] if taken is None else [signatures, taken]
    total, squares, counts = np.zeros(0), np.zeros(0), [0] * len(sources)
    for position, source in enumerate(sources):
        for block in blocks(source):
            if not total.size:
                total, squares = np.zeros(block.shape[1]), np.zeros(block.shape[1])
            total += block.sum(axis=0)
            squares += (block**2).sum(axis=0)
            counts[position] += len(block)
    rows = sum(counts)
    mean = total / rows
    spread = np.sqrt(np.maximum(squares / rows - mean**2, 0))
    largest = float(spread.max(initial=0.0))
    scale = np.maximum(spread, _LEAST_SPREAD * largest) if largest > 0 else np.ones_like(spread)
    turn = None
    if rows * total.size > _MOST_NUMBERS:
        turn = np.random.default_rng(0).standard_normal((total.size, _PROJECTED)) / np.sqrt(_PROJECTED)
    width = total.size if turn is None else _PROJECTED
    found = []
    for source, count in zip(sources, counts, strict=True):
        made = np.empty((count, width), dtype=np.float32)
        start = 0
        for block in blocks(source):
            block -= mean
            block /= scale
            made[start : start + len(block)] = block if turn is None else block @ turn
            start += len(block)
        found.append(made)
    return found[0], found[1] if len(found) > 1 else np.empty((0, width), dtype=np.float32)


def _distances(points: NDArray[np.float32], centre: NDArray[np.float32]) -> NDArray[np.float64]:
    """Euclidean distance of each point (D, F) to *centre* (F,); exactly 0 for a copy."""
    away = points - centre
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", away, away, dtype=np.float64)))
