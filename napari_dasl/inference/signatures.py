"""The signature of a prediction: a vector of the same length for scans of any shape, to compare them by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_dasl.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def signature(
    probability: NDArray[np.floating], grid: int = 32, region: NDArray[np.bool_] | None = None
) -> NDArray[np.float32]:
    """The foreground channels on a grid³, one after the other, as a unit vector.

    P_d of Eq. 3 of DASL (Wang et al., MICCAI 2018). Each cell of the grid holds the *area average* of the probability
    over its share of the volume: exact box averaging along each axis, so that no small lesion falls between sampling
    points. The background is left out: with it, all scans are 0.97 alike.

    Parameters
    ----------
    probability : array, (K, z, y, x)
        Background first, K ≥ 2; may be float16 or memory-mapped.
    grid : int
        Cells per axis.
    region : array, bool, (z, y, x), optional
        The analysed region: its bounding box is what the grid covers. The whole volume when not given or empty.

    Returns
    -------
    array, float32, ((K − 1)·grid³,)
        L2-normalised, or all zero when there is no foreground probability at all.

    Raises
    ------
    InputError
        When the shapes do not fit, the grid is below 1, or a probability is not finite.
    """
    if probability.ndim != 4 or probability.shape[0] < 2 or 0 in probability.shape:
        raise InputError(
            f"A signature needs a probability (K, z, y, x), K at least 2; this has shape {tuple(probability.shape)}.",
            "Give all channels of the softmax, the background first.",
        )
    if grid < 1:
        raise InputError(f"The grid of a signature has {grid} cells per axis.", "Give at least 1; 32 is usual.")
    box = _box(region, probability.shape[1:])
    parts = []
    for channel in probability[1:]:
        values: NDArray[np.floating] = channel[box]
        # The last axis first: it is contiguous, and each step leaves less for the next.
        for axis in (2, 1, 0):
            averages = _area_averages(values.shape[axis], grid)
            values = np.moveaxis(
                np.tensordot(values.astype(np.float32, copy=False), averages, axes=(axis, 1)), -1, axis
            )
        parts.append(values.ravel())
    vector = np.concatenate(parts).astype(np.float64)
    length = float(np.sqrt(vector @ vector))
    if not np.isfinite(length):
        raise InputError("The probability holds values that are no numbers.", "Predict this scan again.")
    return (vector / length if length > 0 else vector).astype(np.float32)


def _box(region: NDArray[np.bool_] | None, shape: Sequence[int]) -> tuple[slice, ...]:
    if region is None:
        return tuple(slice(0, length) for length in shape)
    if region.shape != tuple(shape):
        raise InputError(
            f"The region has shape {region.shape} and the probability {tuple(shape)}.", "Give both on the scan's grid."
        )
    box = []
    for axis in range(3):
        found = np.flatnonzero(region.any(axis=tuple(other for other in range(3) if other != axis)))
        if not found.size:
            return tuple(slice(0, length) for length in shape)
        box.append(slice(int(found[0]), int(found[-1]) + 1))
    return tuple(box)


def _area_averages(length: int, grid: int) -> NDArray[np.float32]:
    """Matrix (grid, length): row i holds the share of each voxel in cell i, and adds up to 1."""
    edges = np.arange(grid + 1) * (length / grid)
    starts, ends = edges[:-1, np.newaxis], edges[1:, np.newaxis]
    voxels = np.arange(length)
    overlap = np.clip(np.minimum(ends, voxels + 1) - np.maximum(starts, voxels), 0, None)
    return np.asarray(overlap / (length / grid), dtype=np.float32)
