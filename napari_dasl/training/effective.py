"""The effective range of a scan: the box of the body, or of all above a value, which is all that a network sees.

Source: Li et al., "A new three-stage curriculum learning approach for deep network based liver tumor segmentation",
2020, extracts it before it tiles a scan. The box lies on the scan's own grid, so that a prediction of it can be put
back voxel by voxel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from napari_dasl.active.regions import body_level

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_dasl.training.plan import TrainingPlan

Box = tuple[slice, slice, slice]

MARGIN = 5.0
"""Millimetres that are kept around it."""

LOOKED_AT = 2_000_000
"""At most about so many voxels are looked at to find the body, evenly spread."""


def effective_box(image: NDArray[Any], spacing: Sequence[float], plan: TrainingPlan) -> Box:
    """The part of a scan that the network of *plan* sees; all of it where the plan says so, or where nothing is found.

    Parameters
    ----------
    image : (C, z, y, x)
        In stored units; the first series decides.
    spacing : sequence of float
        (z, y, x) in mm.
    plan : TrainingPlan
    """
    shape = image.shape[1:]
    everything = tuple(slice(0, n) for n in shape)
    if plan.effective_range == "whole":
        return _three(everything)
    scan = image[0]
    if plan.effective_range == "body":
        step = max(1, int(np.ceil((scan.size / LOOKED_AT) ** (1 / 3))))
        found = _largest(scan[::step, ::step, ::step] > body_level(scan))
    else:
        step, found = 1, _bounds(scan > plan.effective_range)
    if found is None:
        return _three(everything)
    sides = []
    for side, n, size in zip(found, shape, spacing, strict=True):
        # Between two voxels that were looked at the body may go on for all but one step.
        more = int(np.ceil(MARGIN / float(size))) + step - 1
        sides.append(slice(max(0, side.start * step - more), min(n, (side.stop - 1) * step + 1 + more)))
    return _three(sides)


def put_back(probability: NDArray[np.float32], box: Box, shape: Sequence[int]) -> NDArray[np.float32]:
    """The probabilities (K, …) of a *box* as those of the whole scan of *shape*; outside it all is background."""
    if probability.shape[1:] == tuple(shape):
        return probability
    whole = np.zeros((probability.shape[0], *shape), np.float32)
    whole[0] = 1
    whole[(slice(None), *box)] = probability
    return whole


def _largest(mask: NDArray[np.bool_]) -> Box | None:
    """The bounding box of the largest connected part: the body, without the table."""
    parts, count = ndimage.label(mask)
    if not count:
        return None
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return _three(ndimage.find_objects(parts)[int(sizes.argmax()) - 1])


def _bounds(mask: NDArray[np.bool_]) -> Box | None:
    found = ndimage.find_objects(mask.astype(np.uint8))
    return _three(found[0]) if found else None


def _three(sides: Sequence[slice]) -> Box:
    z, y, x = sides
    return (z, y, x)
