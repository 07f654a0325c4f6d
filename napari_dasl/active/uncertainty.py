"""How unsure a network is: voxel maps, and the mean of a map over a scan (Eq. 2 of DASL).

Source: Wang et al., "Deep active self-paced learning for accurate pulmonary nodule segmentation", MICCAI 2018.

A probability comes in one of three shapes:

``(n,)`` or ``(z, y, x)``
    The foreground probability p of n voxels; the background is 1 − p.
``(K, z, y, x)``
    One channel per class, background first, adding up to 1 at every voxel. With K = 1 the channel is the foreground.

Arrays may be float16 and memory-mapped; they are read in slabs, so that no copy of a whole scan is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from napari_dasl.errors import InputError

VoxelMap = Callable[[NDArray[np.floating]], NDArray[np.float32]]
"""A map from a probability to one number per voxel, larger where the network is less sure."""

_SLAB = 4_000_000  # numbers held in float32 at a time
_TOLERANCE = 0.02  # float16 storage of many classes


def least_confident(probability: NDArray[np.floating]) -> float:
    """Mean distance to certainty of a scan, ``U_d = (1/n) Σ_i (1 − max_c p_ic)``.

    Eq. 2 of Wang et al. (MICCAI 2018). With two classes it lies in [0, 0.5], with K classes in [0, 1 − 1/K].

    Parameters
    ----------
    probability : array, (n,) or (z, y, x) or (K, z, y, x)
        Foreground probability, or one channel per class with the background first.

    Returns
    -------
    float
        U_d; dimensionless.

    Raises
    ------
    InputError
        When the array is empty, is not a probability, or its channels do not add up to 1.
    """
    total, voxels = 0.0, 0
    for slab in _slabs(probability):
        values = _least_confident(slab)
        total += float(values.sum(dtype=np.float64))
        voxels += values.size
    return total / voxels


def least_confident_map(probability: NDArray[np.floating]) -> NDArray[np.float32]:
    """``1 − max_c p_c`` at every voxel.

    Parameters
    ----------
    probability : array, (n,) or (z, y, x) or (K, z, y, x)

    Returns
    -------
    array, float32, (n,) or (z, y, x)
        0 where the network is certain, 1 − 1/K where all classes are as likely.

    Raises
    ------
    InputError
        As for :func:`least_confident`.
    """
    return _mapped(probability, _least_confident)


def entropy_map(probability: NDArray[np.floating]) -> NDArray[np.float32]:
    """``− Σ_c p_c ln p_c`` at every voxel, in nats.

    Parameters
    ----------
    probability : array, (n,) or (z, y, x) or (K, z, y, x)

    Returns
    -------
    array, float32, (n,) or (z, y, x)
        0 where the network is certain, ln K where all classes are as likely.

    Raises
    ------
    InputError
        As for :func:`least_confident`.
    """
    return _mapped(probability, _entropy)


VOXEL_MAPS: Mapping[str, VoxelMap] = MappingProxyType({"least_confident": least_confident_map, "entropy": entropy_map})
"""The voxel maps by name."""


def foreground(probability: NDArray[np.floating]) -> NDArray[np.floating]:
    """The probability that a voxel belongs to any class but the background.

    Parameters
    ----------
    probability : array, (z, y, x) or (K, z, y, x)

    Returns
    -------
    array, (z, y, x)
        A view for a foreground probability or two classes, otherwise ``1 − p_0``.
    """
    if probability.ndim != 4:
        return probability
    if probability.shape[0] <= 2:
        return np.asarray(probability[-1])
    return np.asarray(1 - probability[0])


def _mapped(
    probability: NDArray[np.floating], measure: Callable[[NDArray[np.float32]], NDArray[np.float32]]
) -> NDArray[np.float32]:
    parts = [measure(slab) for slab in _slabs(probability)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _slabs(probability: NDArray[np.floating]) -> Iterator[NDArray[np.float32]]:
    """Checked float32 pieces along the first spatial axis, each ``(K, …)`` with K = 1 for a foreground probability."""
    if probability.ndim not in (1, 3, 4) or probability.size == 0:
        raise InputError(
            f"A probability has shape (n,), (z, y, x) or (K, z, y, x), and this one has {tuple(probability.shape)}.",
            "Give the network's output for one whole scan.",
        )
    channels = probability if probability.ndim == 4 else probability[np.newaxis]
    length = channels.shape[1]
    rows = max(1, _SLAB * length // channels.size)
    for start in range(0, length, rows):
        slab = np.asarray(channels[:, start : start + rows], dtype=np.float32)
        _check(slab)
        yield slab


def _check(slab: NDArray[np.float32]) -> None:
    low, high = float(slab.min()), float(slab.max())
    if not (low >= -_TOLERANCE and high <= 1 + _TOLERANCE):  # also true for NaN
        raise InputError(
            f"A probability lies between 0 and 1, and this one holds values from {low:g} to {high:g}.",
            "Give the network's output after its softmax or sigmoid.",
        )
    if slab.shape[0] > 1:
        worst = float(np.abs(slab.sum(axis=0) - 1).max())
        if worst > _TOLERANCE:
            raise InputError(
                f"The {slab.shape[0]} channels of a probability add up to 1 at every voxel; these are {worst:.2f} off.",
                "Give all channels of the softmax, the background first.",
            )


def _least_confident(slab: NDArray[np.float32]) -> NDArray[np.float32]:
    best = slab.max(axis=0) if slab.shape[0] > 1 else np.maximum(slab[0], 1 - slab[0])
    # Rounding of float16 storage may leave a probability a hair above 1.
    return np.asarray(np.maximum(np.float32(1) - best, np.float32(0)))


def _entropy(slab: NDArray[np.float32]) -> NDArray[np.float32]:
    classes = slab if slab.shape[0] > 1 else np.concatenate([1 - slab, slab])
    classes = np.clip(classes, 0, 1)
    # p ln p tends to 0 with p, and the logarithm of the smallest normal number keeps it finite on the way.
    terms = classes * np.log(np.maximum(classes, np.finfo(np.float32).tiny))
    return np.asarray(np.maximum(-terms.sum(axis=0), np.float32(0)))
