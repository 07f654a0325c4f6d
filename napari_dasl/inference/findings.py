"""What a prediction found, in numbers that a radiologist can check: regions, millilitres, places of doubt. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_dasl.active.uncertainty import foreground, least_confident_map
from napari_dasl.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_UNSURE = 0.25  # 1 − max p: with two classes, a foreground probability between 1/4 and 3/4
_SMALLEST_ML = 0.005  # a doubt smaller than a 2 mm sphere is noise
_NEIGHBOURS = np.ones((3, 3, 3), dtype=np.bool_)  # corners touch


@dataclass(frozen=True, slots=True)
class Facts:
    """What a prediction found.

    Attributes
    ----------
    empty : bool
        No voxel is labelled.
    max_foreground : float
        Largest probability of any class but the background.
    regions : int
        Connected labelled regions; corners touch, classes are not told apart.
    largest_region_ml : float
        Volume of the largest of them, 0 when there is none.
    volume_ml : dict of int to float
        Volume of each label value that occurs.
    uncertain_regions : int
        Connected uncertain places that reach into the labelled regions: their edges. None under 0.005 ml counts.
    undecided_spots : int
        Connected uncertain places without a labelled voxel: what the network nearly drew.
    """

    empty: bool
    max_foreground: float
    regions: int
    largest_region_ml: float
    volume_ml: dict[int, float]
    uncertain_regions: int
    undecided_spots: int


def facts(probability: NDArray[np.floating], label: NDArray[np.integer] | None, spacing: Sequence[float]) -> Facts:
    """Count what a prediction found and where it hesitates.

    Parameters
    ----------
    probability : array, (K, z, y, x)
        Background first; may be float16 or memory-mapped.
    label : array, int, (z, y, x), optional
        The predicted label map; the most probable class of each voxel when not given.
    spacing : sequence of 3 floats
        Voxel size (z, y, x) in mm.

    Returns
    -------
    Facts

    Raises
    ------
    InputError
        When the shapes do not fit together or the probability is none.
    """
    if probability.ndim != 4 or (label is not None and label.shape != probability.shape[1:]):
        shape = None if label is None else label.shape
        raise InputError(
            f"The probability has shape {tuple(probability.shape)} and the label map {shape}.",
            "Give (K, z, y, x) and (z, y, x) on one grid.",
        )
    voxel_ml = float(np.prod(np.asarray(spacing, dtype=np.float64))) / 1000
    uncertain = least_confident_map(probability) >= _UNSURE
    drawn = np.argmax(probability, axis=0) if label is None else label
    counts = np.bincount(drawn.ravel())
    labelled = drawn > 0
    sizes = _sizes(labelled)
    edges, spots = _doubts(uncertain, labelled, _SMALLEST_ML / voxel_ml)
    return Facts(
        empty=not sizes.size,
        max_foreground=float(foreground(probability).max()),
        regions=int(sizes.size),
        largest_region_ml=float(sizes.max(initial=0)) * voxel_ml,
        volume_ml={value: float(counts[value]) * voxel_ml for value in range(1, counts.size) if counts[value]},
        uncertain_regions=edges,
        undecided_spots=spots,
    )


def _sizes(mask: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Voxels of each connected region of a mask."""
    box = _box(mask)
    if box is None:
        return np.zeros(0, dtype=np.intp)
    parts, count = ndimage.label(mask[box], structure=_NEIGHBOURS)
    return np.bincount(parts.ravel(), minlength=count + 1)[1:]


def _doubts(uncertain: NDArray[np.bool_], labelled: NDArray[np.bool_], smallest: float) -> tuple[int, int]:
    """How many uncertain places of at least *smallest* voxels hold a labelled voxel, and how many hold none."""
    box = _box(uncertain)
    if box is None:
        return 0, 0
    parts, count = ndimage.label(uncertain[box], structure=_NEIGHBOURS)
    large = np.bincount(parts.ravel(), minlength=count + 1) >= smallest
    touching = np.zeros(count + 1, dtype=np.bool_)
    touching[np.unique(parts[labelled[box]])] = True
    return int(np.sum(large[1:] & touching[1:])), int(np.sum(large[1:] & ~touching[1:]))


def _box(mask: NDArray[np.bool_]) -> tuple[slice, ...] | None:
    """The bounding box of a mask, so that a small finding in a large scan costs little; None when it is empty."""
    box = []
    for axis in range(mask.ndim):
        found = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        if not found.size:
            return None
        box.append(slice(int(found[0]), int(found[-1]) + 1))
    return tuple(box)
