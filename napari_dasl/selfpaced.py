r"""Self-paced learning: how sure a network must be of its own label before it may learn from it, and how sure it is.

Sources: Wang et al., "Deep active self-paced learning for accurate pulmonary nodule segmentation", MICCAI 2018
(Eqs. 4 to 9); Jiang et al., "Easy samples first: self-paced reranking for zero-example multimedia search", ACM MM
2014, for the hard, logarithmic and mixture regularisers.

Eq. 4 of Wang et al. minimises over the network's weights, the pseudo-labels :math:`y_i` and the sample weights
:math:`v_i \in [0, 1]`

.. math::

    \sum_i v_i\,C\,l_i + f(v_i; \lambda)

where :math:`l_i` is the training loss of scan *i* on its pseudo-label. With the weights fixed, the best pseudo-label
is the class that the network prefers (Eqs. 6 and 7), and the best :math:`v_i` has a closed form (Eqs. 5 and 8), here
:func:`weights`. The pace :math:`\lambda` grows from round to round (Eq. 9): :func:`next_pace`.

Pure functions of numbers and arrays; no torch.
"""

from __future__ import annotations

import difflib
import math
from typing import TYPE_CHECKING

import numpy as np

from napari_dasl.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    Array = NDArray[np.float64]
    Weighting = Callable[[Array, float], Array]

_SMOOTH = 1e-5  # of losses.dice_ce
_SMALLEST = float(np.finfo(np.float32).tiny)  # a probability that was rounded to 0 has a finite logarithm
_SLAB = 4_000_000  # numbers held in float64 at a time


def weights(
    losses: ArrayLike, pace: float | tuple[float, float], regularizer: str = "linear", c: float = 1.0
) -> NDArray[np.float64]:
    r"""The weight of each pseudo-labelled scan, :math:`v_i = \arg\min_{v \in [0,1]} v\,C l_i + f(v; \lambda)`.

    With :math:`l = C l_i`, Eq. 8 of Wang et al. and the closed forms of Jiang et al.:

    ``linear``
        :math:`v = \max(0, 1 - l/\lambda)`, from :math:`f = \lambda(\frac12 v^2 - v)`: the paper's.
    ``hard``
        :math:`v = 1` where :math:`l < \lambda`, else 0, from :math:`f = -\lambda v`.
    ``logarithmic``
        :math:`v = \ln(l + \zeta)/\ln\zeta` where :math:`l < \lambda`, else 0; :math:`\zeta = 1 - \lambda`,
        :math:`0 < \lambda < 1`, from :math:`f = \zeta v - \zeta^v/\ln\zeta`.
    ``mixture``
        1 where :math:`l \le \lambda_2`, 0 where :math:`l \ge \lambda_1`, else :math:`\zeta/l - \zeta/\lambda_1`;
        :math:`\zeta = \lambda_1\lambda_2/(\lambda_1 - \lambda_2)`, from :math:`f = -\zeta\ln(v + \zeta/\lambda_1)`.
    ``rescaled``
        :math:`v = (\lambda - l)/(\lambda - m)` clipped to [0, 1], *m* the smallest of the losses: the linear form of
        losses and pace that both begin at *m*, so that the easiest scan has weight 1 whatever the scale of the losses.

    Parameters
    ----------
    losses : array (n,)
        Training loss of each scan on its pseudo-label, at least 0; 0 is certain. See :func:`self_loss`.
    pace : float, or (float, float) for the mixture
        :math:`\lambda`, in the unit of the losses, above 0. The mixture takes :math:`(\lambda_1, \lambda_2)`, or
        :math:`\lambda_1` alone and half of it for :math:`\lambda_2`.
    regularizer : str
        One of :data:`REGULARIZERS`.
    c : float
        C of Eq. 4, above 0; it multiplies the losses. 1 in the paper.

    Returns
    -------
    array (n,) float64
        In [0, 1]; 0 is a scan not to learn from.

    Raises
    ------
    InputError
        When a loss is negative or no number, the pace or *c* is not positive, or there is no such regulariser.
    """
    if regularizer not in _WEIGHTINGS and regularizer != "mixture":
        near = difflib.get_close_matches(str(regularizer), REGULARIZERS, n=1, cutoff=0.5)
        hint = f"Did you mean {near[0]!r}?" if near else f"Choose one of {', '.join(REGULARIZERS)}."
        raise InputError(f"There is no self-paced regulariser named {regularizer!r}.", hint)
    scaled = _positive(c, "C of self-paced learning") * _checked(losses)
    if regularizer == "mixture":
        return _mixture(scaled, pace)
    if isinstance(pace, tuple):
        raise InputError(
            f"The regulariser {regularizer} takes one pace, not {pace}.", "Give one number, or choose mixture."
        )
    return _WEIGHTINGS[regularizer](scaled, _positive(pace, "The pace λ"))


def _linear(losses: Array, pace: float) -> Array:
    """Eq. 8 of Wang et al."""
    return np.maximum(0.0, 1.0 - losses / pace)


def _hard(losses: Array, pace: float) -> Array:
    return (losses < pace).astype(np.float64)


def _logarithmic(losses: Array, pace: float) -> Array:
    if not pace < 1:
        raise InputError(
            f"The pace λ of the logarithmic regulariser is {pace:g}, and must be below 1.",
            "Choose a smaller pace, or another regulariser.",
        )
    zeta = 1.0 - pace
    if zeta == 1.0:  # a pace below the precision of numbers: nothing but a loss of 0 lies under it
        return (losses < pace).astype(np.float64)
    return np.where(losses < pace, np.log(np.minimum(losses, pace) + zeta) / math.log(zeta), 0.0).clip(0.0, 1.0)


def _mixture(losses: Array, pace: float | tuple[float, float]) -> Array:
    upper, lower = pace if isinstance(pace, tuple) else (pace, pace / 2)
    upper, lower = _positive(upper, "The pace λ1"), _positive(lower, "The pace λ2")
    if not upper > lower:
        raise InputError(
            f"The mixture regulariser needs λ1 above λ2, and found {upper:g} and {lower:g}.",
            "Give the larger pace first.",
        )
    # ζ/l − ζ/λ1 with ζ = λ1 λ2/(λ1 − λ2), written without a product that a tiny pace would round to 0.
    between = (upper / np.maximum(losses, lower) - 1.0) * (lower / (upper - lower))
    return np.where(losses >= upper, 0.0, between).clip(0.0, 1.0)


def _rescaled(losses: Array, pace: float) -> Array:
    easiest = float(losses.min(initial=np.inf))
    if not pace > easiest:
        return np.zeros_like(losses)
    return ((pace - losses) / (pace - easiest)).clip(0.0, 1.0)


_WEIGHTINGS: dict[str, Weighting] = {
    "linear": _linear,
    "hard": _hard,
    "logarithmic": _logarithmic,
    "rescaled": _rescaled,
}

REGULARIZERS: tuple[str, ...] = ("linear", "hard", "logarithmic", "mixture", "rescaled")
"""The regularisers that :func:`weights` knows; ``linear`` is the one of Wang et al."""


def next_pace(pace: float, accuracy: float, iteration: int, alpha: float, stop: int) -> float:
    r"""The pace of iteration *t*, :math:`\lambda_t = \lambda_{t-1} + \alpha\,\eta_t` for :math:`1 \le t < \tau`.

    Eq. 9 of Wang et al.: at :math:`t = 0` the pace is :math:`\lambda_0`, and from :math:`\tau` on it stays.

    Parameters
    ----------
    pace : float
        :math:`\lambda_{t-1}`, above 0.
    accuracy : float
        :math:`\eta_t` in [0, 1]: how good the current model is, by its mean Dice on the guard set.
    iteration : int
        *t*, from 0.
    alpha : float
        :math:`\alpha`, at least 0; 0.002 in the paper.
    stop : int
        :math:`\tau`.

    Raises
    ------
    InputError
        When a number is outside these ranges.
    """
    return _positive(pace, "The pace λ") + _growth(accuracy, iteration, alpha, stop)


def next_quantile(
    quantile: float, accuracy: float, iteration: int, growth: float, stop: int, ceiling: float = 1.0
) -> float:
    r"""The share of the pool to take in iteration *t*: Eq. 9 of Wang et al. applied to a quantile, up to *ceiling*.

    A quantile has a meaning that the scale of :math:`\lambda` lacks, and :func:`quantile_pace` gives the
    :math:`\lambda` that is equivalent.

    Parameters
    ----------
    quantile : float
        The share of iteration *t* − 1, in [0, 1].
    accuracy, iteration, stop
        As for :func:`next_pace`.
    growth : float
        What a perfect model adds to the share, at least 0.
    ceiling : float
        The largest share, in [0, 1].

    Raises
    ------
    InputError
        When a number is outside these ranges.
    """
    share, largest = _share(quantile, "The quantile"), _share(ceiling, "The ceiling of the quantile")
    return min(largest, share + _growth(accuracy, iteration, growth, stop))


def quantile_pace(losses: ArrayLike, quantile: float) -> float:
    r"""The pace :math:`\lambda` under which about that share of the losses lies, :math:`l_i < \lambda`.

    It lies halfway between the last loss that is taken and the first that is not. At least one loss is taken, and never
    all of them unless the quantile is 1, or all are equal (then one cannot be taken without the others).

    Parameters
    ----------
    losses : array (n,)
        At least one, each at least 0.
    quantile : float
        The share to take, in [0, 1]: the nearest number of losses that equal losses allow.

    Returns
    -------
    float
        :math:`\lambda`, above 0, in the unit of the losses.

    Raises
    ------
    InputError
        When there is no loss, a loss is negative or no number, or the quantile is not in [0, 1].
    """
    ordered = np.sort(_checked(losses))
    share = _share(quantile, "The quantile")
    if ordered.size == 0:
        raise InputError("A pace by quantile needs at least one loss.", "Predict the unlabelled scans first.")
    distinct, first = np.unique(ordered, return_index=True)
    if share == 1 or distinct.size == 1:
        last = float(distinct[-1])
        gap = last - float(distinct[-2]) if distinct.size > 1 else 2 * last
        return max(last + gap / 2, float(np.nextafter(last, np.inf)))
    taken = first[1:]  # as many losses lie below the second, the third, … distinct one
    best = int(np.argmin(np.abs(taken - share * ordered.size)))
    below, above = float(distinct[best]), float(distinct[best + 1])
    middle = below + (above - below) / 2
    return middle if middle > below else above


def self_loss(probability: NDArray[np.floating], label: NDArray[np.integer] | None = None) -> float:
    r"""The training loss of a prediction against a label, by default the label that it prefers itself.

    :math:`l_i` of Eqs. 4 to 8 of Wang et al., shifted to be at least 0 so that 0 means certain: the mean cross-entropy,
    and 1 less the mean soft Dice over the foreground classes that the label holds. It is
    :func:`napari_dasl.losses.dice_ce` of a batch of one, ``dice_ce(log p, label)``. Against the network's own label,
    the argmax (Eqs. 6 and 7), it is a confidence; against the label of another view of the scan, an agreement.

    Parameters
    ----------
    probability : array (K, …)
        One channel per class, the background first, over (z, y, x) or (y, x); memory-mapped or not. Channels that do
        not add up to 1 are divided by their sum.
    label : array (…) of integers from 0 to K − 1, optional
        On the same grid.

    Raises
    ------
    InputError
        When the arrays are empty, do not belong together, or hold a value out of range.
    """
    shape = probability.shape
    if probability.ndim < 2 or shape[0] < 2 or 0 in shape:
        raise InputError(
            f"A prediction has the shape {shape}; one channel per class is expected, the background first.",
            "Predict the scan again.",
        )
    if label is not None and label.shape != shape[1:]:
        raise InputError(
            f"The label has the shape {label.shape}, and the prediction {shape[1:]}.",
            "Give both on the grid of the scan.",
        )
    classes = shape[0]
    entropy, voxels = 0.0, 0
    overlap, size, true_size = np.zeros(classes), np.zeros(classes), np.zeros(classes)
    thickness = max(1, _SLAB * shape[1] // probability.size)
    for start in range(0, shape[1], thickness):
        part = np.asarray(probability[:, start : start + thickness], np.float64).reshape(classes, -1)
        total = part.sum(0)
        if not (np.isfinite(total).all() and part.min() >= 0 and total.min() > 0):
            raise InputError("A prediction holds values that are no probabilities.", "Predict the scan again.")
        part = np.maximum(part / total, _SMALLEST)
        if label is None:
            truth = part.argmax(0)
        else:
            truth = np.asarray(label[start : start + thickness]).reshape(-1)
            if not (np.issubdtype(truth.dtype, np.integer) and truth.min() >= 0 and truth.max() < classes):
                raise InputError(
                    f"The label holds a value that is none of the {classes} classes of the prediction.",
                    "Give a label map with 0 for the background and 1, 2, … for the classes.",
                )
        own = np.take_along_axis(part, truth[None].astype(np.intp), axis=0)[0]
        entropy -= float(np.log(own).sum())
        voxels += own.size
        size += part.sum(1)
        true_size += np.bincount(truth, minlength=classes)
        overlap += np.bincount(truth, weights=own, minlength=classes)
    present = np.flatnonzero(true_size[1:] > 0) + 1
    dice = (2 * overlap[present] + _SMOOTH) / (size[present] + true_size[present] + _SMOOTH)
    missing = 1.0 - float(dice.mean()) if present.size else 0.0
    return max(0.0, entropy / voxels + missing)


def _growth(accuracy: float, iteration: int, rate: float, stop: int) -> float:
    """What Eq. 9 adds in an iteration."""
    good, step = _share(accuracy, "The accuracy"), float(rate)
    if not (math.isfinite(step) and step >= 0):
        raise InputError(f"The growth of the pace is {rate}, and must be a number of at least 0.", "Correct it.")
    if iteration < 0 or stop < 0:
        raise InputError(
            f"The iteration is {iteration} and the last one {stop}; both count from 0.", "Correct the settings."
        )
    return step * good if 1 <= iteration < stop else 0.0


def _checked(losses: ArrayLike) -> Array:
    """The losses as float64, (n,)."""
    values = np.asarray(losses, np.float64)
    if values.ndim != 1:
        raise InputError(f"Losses of shape {values.shape} are given; one per scan is expected.", "Give a list.")
    wrong = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
    if wrong.size:
        raise InputError(
            f"The loss of scan number {wrong[0] + 1} is {values[wrong[0]]:g}, and must be a number of at least 0.",
            "Predict the scan again.",
        )
    return values


def _positive(value: float, what: str) -> float:
    number = float(value)
    if not (math.isfinite(number) and number > 0):
        raise InputError(f"{what} is {value}, and must be above 0.", "Give a positive number.")
    return number


def _share(value: float, what: str) -> float:
    number = float(value)
    if not 0 <= number <= 1:
        raise InputError(f"{what} is {value}, and must be between 0 and 1.", "Give a number from 0 to 1.")
    return number
