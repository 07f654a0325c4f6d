"""How much two masks overlap: Dice, Jaccard, VOE and RVD, per mask, per class and pooled over cases.

A *mask* is an array of any shape; every non-zero voxel is inside. With ``label=k`` only the voxels equal to k are
inside, so that a whole label map can be given. The axis order does not matter here.

With p = predicted voxels, t = true voxels and i = voxels in both:

=========  ==============================  ==========================================================
Dice       2 i / (p + t)                   1 is perfect
Jaccard    i / (p + t − i)                 also called intersection over union
VOE        1 − Jaccard                     volumetric overlap error, 0 is perfect (Heimann et al. 2009)
RVD        (p − t) / t                     signed relative volume difference; positive: drawn too large
=========  ==============================  ==========================================================

Where a denominator is zero the value is undefined and is NaN here: both masks empty, or RVD of an empty truth. What
such a case counts for is decided in one place, `napari_dasl.metrics.cases`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dasl.errors import GridMismatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

__all__ = [
    "Confusion",
    "as_masks",
    "confusion",
    "confusion_matrix",
    "dice",
    "dice_global",
    "jaccard",
    "per_class",
    "rvd",
    "voe",
]


def as_masks(
    truth: NDArray[Any], prediction: NDArray[Any], label: int | None = None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Both arguments as boolean masks of one shape.

    Parameters
    ----------
    truth, prediction : array
        Masks, or label maps if `label` is given.
    label : int, optional
        Voxels equal to it are inside. By default every non-zero voxel is.

    Returns
    -------
    tuple of bool arrays

    Raises
    ------
    GridMismatch
        The shapes differ.
    """
    true, predicted = np.asarray(truth), np.asarray(prediction)
    if true.shape != predicted.shape:
        raise GridMismatch(
            f"The truth has {' × '.join(map(str, true.shape))} voxels and the prediction "
            f"{' × '.join(map(str, predicted.shape))}.",
            "Compare masks that lie on one grid.",
        )
    if label is None:
        return true.astype(bool, copy=False), predicted.astype(bool, copy=False)
    return true == label, predicted == label


@dataclass(frozen=True)
class Confusion:
    """Voxel counts of one mask against another. Counts of several cases add up with ``+``.

    Attributes
    ----------
    tp, fp, fn, tn : int
        True positive, false positive, false negative and true negative voxels.
    """

    tp: int
    fp: int
    fn: int
    tn: int

    def __add__(self, other: Confusion) -> Confusion:
        return Confusion(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn)

    @property
    def truth(self) -> int:
        """Voxels of the truth."""
        return self.tp + self.fn

    @property
    def prediction(self) -> int:
        """Voxels of the prediction."""
        return self.tp + self.fp

    @property
    def dice(self) -> float:
        """Dice of the counts; NaN if both masks are empty."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def jaccard(self) -> float:
        """Jaccard index of the counts; NaN if both masks are empty."""
        return _ratio(self.tp, self.tp + self.fp + self.fn)

    @property
    def voe(self) -> float:
        """Volumetric overlap error of the counts; NaN if both masks are empty."""
        return 1.0 - self.jaccard

    @property
    def rvd(self) -> float:
        """Signed relative volume difference of the counts; NaN if the truth is empty."""
        return _ratio(self.prediction - self.truth, self.truth)

    @property
    def sensitivity(self) -> float:
        """The share of the truth that was found; NaN if the truth is empty."""
        return _ratio(self.tp, self.truth)

    @property
    def precision(self) -> float:
        """The share of the prediction that is true; NaN if the prediction is empty."""
        return _ratio(self.tp, self.prediction)


def confusion(truth: NDArray[Any], prediction: NDArray[Any], label: int | None = None) -> Confusion:
    """Voxel counts of `prediction` against `truth`.

    Parameters
    ----------
    truth, prediction : array
        Masks of one shape, or label maps if `label` is given.
    label : int, optional
        The class to look at.

    Returns
    -------
    Confusion

    Raises
    ------
    GridMismatch
        The shapes differ.
    """
    true, predicted = as_masks(truth, prediction, label)
    both = int(np.count_nonzero(true & predicted))
    fp = int(np.count_nonzero(predicted)) - both
    fn = int(np.count_nonzero(true)) - both
    return Confusion(tp=both, fp=fp, fn=fn, tn=int(true.size) - both - fp - fn)


def confusion_matrix(truth: NDArray[Any], prediction: NDArray[Any], classes: int) -> NDArray[np.int64]:
    """Voxel counts of every pair of labels.

    Parameters
    ----------
    truth, prediction : integer array
        Label maps of one shape with values 0 … `classes`.
    classes : int
        Number of classes without the background.

    Returns
    -------
    (classes + 1, classes + 1) int64 array
        Entry [t, p] is the number of voxels with truth t and prediction p.

    Raises
    ------
    GridMismatch
        The shapes differ.
    """
    as_masks(truth, prediction)
    size = classes + 1
    pairs = np.asarray(truth).ravel().astype(np.int64) * size + np.asarray(prediction).ravel()
    return np.bincount(pairs, minlength=size * size).reshape(size, size)


def dice(truth: NDArray[Any], prediction: NDArray[Any], label: int | None = None) -> float:
    """Dice coefficient in [0, 1]; NaN if both are empty. Arguments as in `confusion`."""
    return confusion(truth, prediction, label).dice


def jaccard(truth: NDArray[Any], prediction: NDArray[Any], label: int | None = None) -> float:
    """Jaccard index in [0, 1]; NaN if both are empty. Arguments as in `confusion`."""
    return confusion(truth, prediction, label).jaccard


def voe(truth: NDArray[Any], prediction: NDArray[Any], label: int | None = None) -> float:
    """Volumetric overlap error in [0, 1], 0 is perfect; NaN if both are empty. Arguments as in `confusion`."""
    return confusion(truth, prediction, label).voe


def rvd(truth: NDArray[Any], prediction: NDArray[Any], label: int | None = None) -> float:
    """Signed relative volume difference ≥ −1, 0 is perfect; NaN if the truth is empty. Arguments as in `confusion`."""
    return confusion(truth, prediction, label).rvd


def per_class(truth: NDArray[Any], prediction: NDArray[Any], classes: Sequence[str]) -> dict[str, Confusion]:
    """Voxel counts per class of a label map, each class against the rest.

    Parameters
    ----------
    truth, prediction : integer array
        Label maps of one shape; k stands for ``classes[k - 1]``.
    classes : sequence of str
        Names of labels 1, 2, ….

    Returns
    -------
    dict
        Class name to `Confusion`.

    Raises
    ------
    GridMismatch
        The shapes differ.
    """
    return {name: confusion(truth, prediction, label) for label, name in enumerate(classes, start=1)}


def dice_global(pairs: Iterable[tuple[NDArray[Any], NDArray[Any]]], label: int | None = None) -> float:
    """Dice of all cases pooled into one volume ("DG" of the LiTS challenge).

    Large lesions weigh more than small ones, and a false positive on an empty truth counts.

    Parameters
    ----------
    pairs : iterable of (truth, prediction)
        One pair per case; read one at a time, so a generator keeps memory low.
    label : int, optional
        The class to look at.

    Returns
    -------
    float
        NaN if every mask of every case is empty.
    """
    total = Confusion(0, 0, 0, 0)
    for truth, prediction in pairs:
        total = total + confusion(truth, prediction, label)
    return total.dice


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else math.nan
