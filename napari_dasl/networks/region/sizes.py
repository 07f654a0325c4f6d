"""Anchor diameters from the lesions that a network will learn from; no torch here, for plans are made without it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from napari_dasl.errors import ProjectError

if TYPE_CHECKING:
    from collections.abc import Iterable

# Diameters added around too few different ones stand this far apart: cubes of neighbouring sizes then overlap by 0.30.
_APART = 1.5


def cluster_sizes(diameters: Iterable[float], count: int = 3) -> tuple[float, ...]:
    """Find *count* anchor diameters for lesions of these *diameters*: k-means on their logarithm.

    On the logarithm, because the overlap of two cubes with one centre depends on the ratio of their sides. The start is
    at evenly spaced ranks of the different diameters, so that the same lesions always give the same anchors.

    Parameters
    ----------
    diameters : iterable of float
        Longest side of each lesion's box, in any unit; the answer has the same. Numbers that are not above 0 or not
        finite are left out.
    count : int
        How many anchors.

    Returns
    -------
    tuple of *count* floats, rising
        Not rounded. With fewer different diameters than *count*, those, and steps of 1.5 above and below them.

    Raises
    ------
    ProjectError
        Where there is no lesion to measure.
    """
    values = np.asarray(list(diameters), dtype=np.float64)
    values = np.log(values[np.isfinite(values) & (values > 0)])
    different = np.unique(values)
    if not len(different):
        raise ProjectError(
            "The size of the boxes cannot be found: no lesion is labelled yet.",
            "Label at least one lesion, then train.",
        )
    if len(different) <= count:
        return tuple(float(s) for s in np.exp(_filled(different, count)))
    centres = different[((np.arange(count) + 0.5) / count * len(different)).astype(int)]
    while True:
        nearest = np.searchsorted((centres[1:] + centres[:-1]) / 2, values)
        members = np.bincount(nearest, minlength=count)
        sums = np.bincount(nearest, weights=values, minlength=count)
        moved = np.where(members > 0, sums / np.maximum(members, 1), centres)
        if np.allclose(moved, centres, rtol=0, atol=1e-9):
            return tuple(float(s) for s in np.exp(moved))
        centres = moved


def _filled(different: np.ndarray, count: int) -> np.ndarray:
    """Few *different* logarithms (rising), with steps above and below in turn until there are *count*."""
    filled = list(different)
    while len(filled) < count:
        above = (len(filled) - len(different)) % 2 == 0
        filled.append(max(filled) + math.log(_APART) if above else min(filled) - math.log(_APART))
    return np.sort(np.asarray(filled))
