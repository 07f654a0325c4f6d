"""Anatomy that the PET head and the MR brain share."""

from __future__ import annotations

import math

import numpy as np

from napari_dasl.phantoms.shapes import Array, Grid, Point, ellipsoid


def cerebrum(grid: Grid, centre: Point, radii: Point) -> Array:
    """Signed distance to the brain, cut below by the skull base.

    The base lies high under the frontal lobes, deeper under the temporal lobes, and behind it opens to the posterior
    fossa where the cerebellum is.
    """
    z, y, x = (axis - c for axis, c in zip(grid.axes, centre, strict=True))
    temporal = 19.0 * np.exp(-(((np.abs(x) - 38.0) / 19.0) ** 2) - ((y + 2.0) / 27.0) ** 2)
    behind = 46.0 / (1.0 + np.exp(-(y - 22.0) / 5.0))
    base = z - (18.0 + temporal + behind)
    return np.maximum(ellipsoid(grid, centre, radii), 1.3 * base)


def cerebellum(grid: Grid, centre: Point) -> Array:
    """Signed distance to the two hemispheres of the cerebellum and the vermis; `centre` is between them."""
    z, y, _ = centre
    left = ellipsoid(grid, (z, y, 20.0), (18.0, 25.0, 27.0))
    right = ellipsoid(grid, (z, y, -20.0), (18.0, 25.0, 27.0))
    vermis = ellipsoid(grid, (z - 2.0, y - 4.0, 0.0), (17.0, 18.0, 12.0))
    return np.minimum(np.minimum(left, right), vermis)


def folds(rng: np.random.Generator, grid: Grid, scale: float) -> Array:
    """Distance in mm, about, to a labyrinth of random folding surfaces `4.4 · scale` mm apart.

    The surfaces are the zero crossings of a smooth random field; near one, the distance to it is the field's magnitude
    divided by its mean slope 1/(√2·scale).
    """
    return np.abs(grid.field(rng, scale)) * scale * math.sqrt(2.0)
