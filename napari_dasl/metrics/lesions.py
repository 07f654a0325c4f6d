"""Lesion by lesion: which ones were detected, how well those were drawn, what was missed, what was invented.

A *lesion* is a connected component of the mask; voxels that touch by a face, an edge or a corner are connected
(26-connectivity). Where the truth numbers its lesions (`ids`), each number is one lesion, whether it touches another
one or falls into pieces.

**Detected.** A true lesion is detected if the prediction covers at least one of its voxels and at least the share
`coverage` of them. The default, 0, asks for one voxel. *Detection rate* = detected / true lesions.

**TP Dice** (Wang et al. 2018: "Dice over truly detected nodules"), here precisely: each detected lesion L gets the part
P(L) of the prediction that belongs to it, and its Dice is 2 |L ∩ P(L)| / (|L| + |P(L)|); TP Dice is the mean over
detected lesions, of all cases together. P(L) consists of the predicted components that overlap L. If such a component
overlaps several detected lesions, each of its voxels belongs to the one that is nearest to it in mm (a voxel inside a
lesion is at distance 0; of two equally near the one with the lower number), so that one blob over two nodules is not
charged twice.

**Miss**: a true lesion that is not detected. **False positive**: a predicted component that overlaps no detected
lesion.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from napari_dasl.errors import InputError
from napari_dasl.metrics.overlap import as_masks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["LesionMatch", "components", "detection_rate", "match", "slice_detection_rate", "tp_dice"]


@dataclass(frozen=True)
class LesionMatch:
    """What became of the lesions of one case.

    Attributes
    ----------
    volumes_ml : tuple of float
        Volume of each true lesion, in the order of `components`.
    dice : tuple of (float or None)
        Dice of each true lesion with its own part of the prediction; None where it was missed.
    false_positives : int
        Predicted components that overlap no detected lesion.
    """

    volumes_ml: tuple[float, ...]
    dice: tuple[float | None, ...]
    false_positives: int

    @property
    def lesions(self) -> int:
        """Number of true lesions."""
        return len(self.dice)

    @property
    def detected(self) -> int:
        """Number of detected true lesions."""
        return sum(value is not None for value in self.dice)

    @property
    def misses(self) -> int:
        """Number of true lesions that were not detected."""
        return self.lesions - self.detected

    @property
    def detection_rate(self) -> float:
        """Detected / true lesions; NaN if there is none."""
        return self.detected / self.lesions if self.lesions else math.nan

    @property
    def tp_dice(self) -> float:
        """Mean Dice over detected lesions; NaN if none was detected."""
        found = [value for value in self.dice if value is not None]
        return sum(found) / len(found) if found else math.nan


def components(mask: NDArray[Any]) -> tuple[NDArray[np.int32], int]:
    """Number the lesions of a mask.

    Parameters
    ----------
    mask : (z, y, x) array
        Every non-zero voxel is inside. Arrays of other dimensions work alike.

    Returns
    -------
    labels : int32 array of the same shape
        0 outside, 1 … n for the components, numbered in reading order of their first voxel.
    n : int
    """
    inside = np.asarray(mask).astype(bool, copy=False)
    neighbours = ndimage.generate_binary_structure(inside.ndim, inside.ndim)
    labels, count = ndimage.label(inside, structure=neighbours, output=np.int32)
    return labels, int(count)


def match(
    truth: NDArray[Any],
    prediction: NDArray[Any],
    spacing: Sequence[float],
    *,
    label: int | None = None,
    coverage: float = 0.0,
    ids: bool = False,
) -> LesionMatch:
    """Match the lesions of a prediction with those of the truth, as the module's page defines it.

    Parameters
    ----------
    truth, prediction : (z, y, x) array
        Masks of one shape, or label maps if `label` is given.
    spacing : sequence of float
        Voxel size in mm, one per axis.
    label : int, optional
        The class to look at.
    coverage : float
        Share of a lesion's voxels in [0, 1] that the prediction must cover for it to be detected.
    ids : bool
        The truth numbers its lesions instead of showing a mask. The order is then that of the numbers.

    Returns
    -------
    LesionMatch

    Raises
    ------
    GridMismatch
        The shapes differ.
    InputError
        `coverage` is not in [0, 1], or numbers and a class are asked for at once.
    """
    if not 0.0 <= coverage <= 1.0:
        raise InputError(f"The coverage {coverage} is not a share.", "Give a number from 0 to 1.")
    if ids and label is not None:
        raise InputError("A map of numbered lesions has no classes.", "Leave the class out, or the numbers.")
    true_mask, predicted_mask = as_masks(truth, prediction, label)
    true, n_true = _numbered(truth) if ids else components(true_mask)
    predicted, n_predicted = components(predicted_mask)
    sizes = np.bincount(true.ravel(), minlength=n_true + 1)
    covered = np.bincount(true[predicted_mask], minlength=n_true + 1)
    detected = (covered > 0) & (covered >= coverage * sizes)
    detected[0] = False

    both = true_mask & predicted_mask
    pairs = np.unique(np.stack((predicted[both], true[both]), axis=1), axis=0)
    pairs = pairs[detected[pairs[:, 1]]]
    own = _own_voxels(true, predicted, pairs, n_true, spacing)
    voxel_ml = float(np.prod(np.asarray(spacing, dtype=np.float64))) / 1000.0
    return LesionMatch(
        volumes_ml=tuple(float(size) * voxel_ml for size in sizes[1:]),
        dice=tuple(float(2 * covered[k] / (sizes[k] + own[k])) if detected[k] else None for k in range(1, n_true + 1)),
        false_positives=n_predicted - len(np.unique(pairs[:, 0])),
    )


def detection_rate(
    truth: NDArray[Any], prediction: NDArray[Any], *, label: int | None = None, coverage: float = 0.0
) -> float:
    """Detected / true lesions of one case, in [0, 1]; NaN if the truth has none. Arguments as in `match`."""
    return match(truth, prediction, (1.0,) * np.ndim(truth), label=label, coverage=coverage).detection_rate


def tp_dice(
    truth: NDArray[Any],
    prediction: NDArray[Any],
    spacing: Sequence[float],
    *,
    label: int | None = None,
    coverage: float = 0.0,
) -> float:
    """Mean Dice over the detected lesions of one case; NaN if none was. Arguments as in `match`."""
    return match(truth, prediction, spacing, label=label, coverage=coverage).tp_dice


def slice_detection_rate(truth: NDArray[Any], prediction: NDArray[Any], label: int | None = None) -> float:
    """The detection rate of 2D work: slices with any prediction among the slices (axis 0) that hold a lesion.

    As in the stroke paper (SCIENCE.md section 4), a prediction anywhere in the slice counts.

    Parameters
    ----------
    truth, prediction : (z, y, x) array
        Masks of one shape, or label maps if `label` is given.
    label : int, optional
        The class to look at.

    Returns
    -------
    float
        In [0, 1]; NaN if no slice holds a lesion.
    """
    true, predicted = as_masks(truth, prediction, label)
    flat = tuple(range(1, true.ndim))
    ill = np.asarray(true.any(axis=flat))
    found = np.asarray(predicted.any(axis=flat))
    return float(found[ill].mean()) if ill.any() else math.nan


def _numbered(ids: NDArray[Any]) -> tuple[NDArray[np.int32], int]:
    """The lesions of an id map, renumbered 1 … n without gaps."""
    present, places = np.unique(ids, return_inverse=True)
    first = int(present.size > 0 and present[0] == 0)
    return (places.reshape(ids.shape) + (1 - first)).astype(np.int32), int(present.size) - first


def _own_voxels(
    true: NDArray[np.int32],
    predicted: NDArray[np.int32],
    pairs: NDArray[Any],
    n_true: int,
    spacing: Sequence[float],
) -> NDArray[np.int64]:
    """Number of predicted voxels that belong to each true lesion, (n_true + 1,).

    `pairs` lists (predicted component, detected lesion) that overlap, sorted by component.
    """
    own = np.zeros(n_true + 1, dtype=np.int64)
    boxes, regions = ndimage.find_objects(predicted), ndimage.find_objects(true)
    for component in np.unique(pairs[:, 0]):
        lesions = [int(lesion) for owner, lesion in pairs if owner == component]
        box = boxes[component - 1]
        mask = predicted[box] == component
        if len(lesions) == 1:
            own[lesions[0]] += np.count_nonzero(mask)
            continue
        best = np.full(mask.shape, np.inf)
        nearest = np.zeros(mask.shape, dtype=np.int32)
        for lesion in lesions:
            distance = _distance(true, lesion, box, regions[lesion - 1], spacing)
            closer = distance < best
            best[closer], nearest[closer] = distance[closer], lesion
        own += np.bincount(nearest[mask], minlength=n_true + 1)
    return own


def _distance(
    true: NDArray[np.int32], lesion: int, box: tuple[slice, ...], region: tuple[slice, ...], spacing: Sequence[float]
) -> NDArray[np.float64]:
    """Distance in mm of every voxel of `box` to the lesion in `region`, measured in the box that holds both."""
    both = tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(box, region, strict=True))
    distance: NDArray[np.float64] = ndimage.distance_transform_edt(
        true[both] != lesion, sampling=tuple(float(step) for step in spacing)
    )
    inner = tuple(slice(a.start - c.start, a.stop - c.start) for a, c in zip(box, both, strict=True))
    return distance[inner]
