"""Elastic deformation of a patch: a smooth random displacement of every voxel, as a cubic B-spline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_dasl.training.cases import Shape, Spacing

CELLS = 3
"""Control points lie a patch's longest side, in mm, over this apart."""

STRENGTH = 0.16
"""A control point moves by at most this part of the distance between two, along every axis. Its slopes along the three
axes then add up to less than 1 (6 · 0.16), so that a patch is bent and never folded."""

LEAST = 0.4
"""The weakest bend, as a part of the strongest."""


def random_bend(
    patch: Shape, spacing: Spacing, rng: np.random.Generator, flat: int | None = None
) -> NDArray[np.float32]:
    """A displacement (3, z, y, x) in mm of every voxel of a patch, along (z, y, x).

    It is at most :data:`STRENGTH` times the distance between control points. Along the axis
    *flat* (thick slices, or a patch that is a slice) nothing moves.
    """
    sides = np.asarray(patch, float) * spacing
    cell = float(sides.max()) / CELLS
    bases = [_basis(n, step / cell) for n, step in zip(patch, spacing, strict=True)]
    points = [basis.shape[1] for basis in bases]
    strength = rng.uniform(LEAST * STRENGTH, STRENGTH) * cell
    control = rng.uniform(-strength, strength, (3, *points)).astype(np.float32)
    if flat is not None:
        control[flat] = 0
    for basis in bases:  # each turn contracts the first axis in space and puts the new one last
        control = np.tensordot(control, basis, axes=(1, 1))
    return control


def _basis(count: int, step: float) -> NDArray[np.float32]:
    """The weight of every control point, (count, points), for voxels *step* cells apart (uniform cubic B-spline)."""
    place = (np.arange(count) + 0.5) * step
    first = np.floor(place).astype(int)
    t = place - first
    weights = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    basis = np.zeros((count, int(first[-1]) + 4), np.float32)
    for offset, weight in enumerate(weights):
        basis[np.arange(count), first + offset] = weight / 6
    return basis
