"""The geometry that phantoms are made of: grids in mm, blobs, branching tubes, folded and smooth random fields.

Everything is float64 and drawn from one `numpy.random.Generator`, so that a seed gives the same voxels everywhere.
Shapes are *signed distances* in mm, negative inside; `cover` turns one into the share of each voxel that it fills,
which is the partial-volume effect.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Array = NDArray[np.float64]
Point = tuple[float, float, float]
FWHM = 2.0 * math.sqrt(2.0 * math.log(2.0))
"""Full width at half maximum of a Gaussian with standard deviation 1."""


@dataclass(frozen=True)
class Grid:
    """Voxel centres in mm, with the origin at the centre of the volume.

    Attributes
    ----------
    shape : (z, y, x) voxels
    spacing : (z, y, x) mm
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]

    @property
    def axes(self) -> tuple[Array, Array, Array]:
        """Coordinates z (to inferior), y (to posterior) and x (to the left) in mm, shaped to broadcast."""
        z, y, x = (
            (np.arange(n, dtype=np.float64) - (n - 1) / 2.0) * step
            for n, step in zip(self.shape, self.spacing, strict=True)
        )
        return z[:, None, None], y[None, :, None], x[None, None, :]

    @property
    def voxel(self) -> float:
        """Edge of a cube as large as a voxel, mm."""
        return math.prod(self.spacing) ** (1.0 / 3.0)

    def point(self, index: Sequence[int] | NDArray[np.int64]) -> Point:
        """The centre of a voxel in mm."""
        z, y, x = (
            (float(i) - (n - 1) / 2.0) * step for i, n, step in zip(index, self.shape, self.spacing, strict=True)
        )
        return z, y, x

    def window(self, centre: Point, reach: float) -> tuple[tuple[slice, slice, slice], tuple[Array, Array, Array]]:
        """The box of voxels within `reach` mm of a point along each axis, and its `axes`."""
        z, y, x = (
            slice(*(int(i) for i in np.searchsorted(axis.ravel(), (c - reach, c + reach))))
            for axis, c in zip(self.axes, centre, strict=True)
        )
        lines = self.axes
        return (z, y, x), (lines[0][z], lines[1][:, y], lines[2][:, :, x])

    def blur(self, values: Array, fwhm: float) -> Array:
        """Blur with a Gaussian point-spread function of `fwhm` mm."""
        blurred: Array = ndimage.gaussian_filter(
            values, [fwhm / FWHM / step for step in self.spacing], mode="nearest", truncate=3.0
        )
        return blurred

    def cover(self, distance: Array, edge: float = 0.0) -> Array:
        """Share of each voxel inside a shape, from its signed distance; `edge` mm make the border softer."""
        return np.clip(0.5 - distance / (self.voxel + edge), 0.0, 1.0)

    def field(self, rng: np.random.Generator, scale: float) -> Array:
        """A smooth random field of standard deviation 1 whose features are about `scale` mm wide."""
        noise = rng.standard_normal(self.shape)
        sigma = [scale / step for step in self.spacing]
        smooth: Array = ndimage.gaussian_filter(noise, sigma, mode="reflect", truncate=3.0)
        smooth = smooth - smooth.mean()
        return smooth / max(float(smooth.std()), 1e-12)


def ellipsoid(grid: Grid, centre: Point, radii: Point) -> Array:
    """Signed distance to an ellipsoid, in the usual approximation: exact on the surface, monotonic elsewhere."""
    unit = [(axis - c) / r for axis, c, r in zip(grid.axes, centre, radii, strict=True)]
    squared = [(axis - c) / r**2 for axis, c, r in zip(grid.axes, centre, radii, strict=True)]
    k0 = np.sqrt(unit[0] ** 2 + unit[1] ** 2 + unit[2] ** 2)
    k1 = np.sqrt(squared[0] ** 2 + squared[1] ** 2 + squared[2] ** 2)
    return k0 * (k0 - 1.0) / np.maximum(k1, 1e-9)


def lump(rng: np.random.Generator, grid: Grid, centre: Point, radii: Point, roughness: float) -> Array:
    """Signed distance to a lobulated, randomly turned ellipsoid.

    `roughness` is the relative height of the lobes: 0.05 a smooth nodule, 0.25 an irregular tumour. Further than 8 mm
    away the distance is just 8.
    """
    turn = _rotation(rng)
    waves = [(rng.standard_normal(3) * 2.2, float(rng.uniform(0.0, 2.0 * math.pi))) for _ in range(6)]
    margin = 8.0
    box, axes = grid.window(centre, max(radii) * (1.0 + 4.0 * roughness) + margin)
    offsets = [axis - c for axis, c in zip(axes, centre, strict=True)]
    size = tuple(part.stop - part.start for part in box)
    p, q, r = (  # along the turned axes, in units of the radii
        sum((turn[k, axis] * offsets[axis] for axis in range(3)), start=np.zeros(size)) / radii[k] for k in range(3)
    )
    length: Array = np.sqrt(p**2 + q**2 + r**2)
    safe = np.maximum(length, 1e-9)
    lobes = np.zeros(size)
    for (a, b, c), phase in waves:
        lobes += np.cos((a * p + b * q + c * r) / safe + phase) / 6.0**0.5
    distance = np.full(grid.shape, margin)
    distance[box] = np.minimum((length - 1.0 - roughness * lobes) * math.prod(radii) ** (1.0 / 3.0), margin)
    return distance


@dataclass(frozen=True)
class Segment:
    """A straight piece of a tube: two ends in mm with a radius each."""

    start: Point
    end: Point
    radius_start: float
    radius_end: float


def tubes(grid: Grid, segments: Sequence[Segment], reach: float = 6.0) -> Array:
    """Signed distance to the union of tube segments; further than `reach` mm away it is just `reach`."""
    distance = np.full(grid.shape, reach)
    for segment in segments:
        middle = _as_point((np.array(segment.start) + segment.end) / 2.0)
        half = max(abs(b - a) for a, b in zip(segment.start, segment.end, strict=True)) / 2.0
        box, axes = grid.window(middle, half + max(segment.radius_start, segment.radius_end) + reach)
        gaps = [axis - a for axis, a in zip(axes, segment.start, strict=True)]
        along = [b - a for a, b in zip(segment.start, segment.end, strict=True)]
        length2 = max(sum(step * step for step in along), 1e-9)
        t = np.clip((gaps[0] * along[0] + gaps[1] * along[1] + gaps[2] * along[2]) / length2, 0.0, 1.0)
        away = np.sqrt(sum(((gap - t * step) ** 2 for gap, step in zip(gaps, along, strict=True)), start=np.zeros(())))
        radius = segment.radius_start + t * (segment.radius_end - segment.radius_start)
        distance[box] = np.minimum(distance[box], away - radius)
    return distance


def branch(
    rng: np.random.Generator,
    start: Point,
    heading: Point,
    radius: float,
    *,
    smallest: float,
    inside: Callable[[Point], bool],
) -> list[Segment]:
    """A branching tree of tubes, each branch bent at random, children thinner by Murray's law (r³ = r₁³ + r₂³).

    Parameters
    ----------
    start, heading : (z, y, x) in mm
        Where the trunk begins, and its direction (any length).
    radius, smallest : float
        Radius of the trunk, and the radius below which no branch starts, mm.
    inside : callable
        A branch ends where this says False.
    """
    segments: list[Segment] = []
    front = [(np.array(start), _unit(np.array(heading)), radius)]
    while front and len(segments) < 1500:
        at, direction, thick = front.pop()
        length = thick * rng.uniform(5.0, 8.0) + 3.0
        alive = True
        for _ in range(4):
            direction = _unit(direction + 0.16 * rng.standard_normal(3))
            to = at + direction * length / 4.0
            if not inside(_as_point(to)):
                alive = False
                break
            segments.append(Segment(_as_point(at), _as_point(to), thick, thick * 0.97))
            at = to
        share = rng.uniform(0.35, 0.65)
        sideways = _unit(np.cross(direction, rng.standard_normal(3)))
        if not alive:
            continue
        for part, sign in ((share, 1.0), (1.0 - share, -1.0)):
            child = thick * part ** (1.0 / 3.0)
            # The thinner child leaves at the wider angle.
            angle = math.radians(rng.uniform(45.0, 70.0)) * (1.0 - part)
            if child >= smallest:
                front.append((at, math.cos(angle) * direction + sign * math.sin(angle) * sideways, child))
    return segments


def curve(points: Sequence[Point], radii: Sequence[float]) -> list[Segment]:
    """A tube through given points."""
    return [Segment(a, b, r, s) for a, b, r, s in zip(points[:-1], points[1:], radii[:-1], radii[1:], strict=True)]


def pick(rng: np.random.Generator, grid: Grid, allowed: NDArray[np.bool_], jitter: float = 0.3) -> Point | None:
    """A random point in a mask, mm; None if the mask is empty."""
    found = np.flatnonzero(allowed)
    if not len(found):
        return None
    index = np.unravel_index(int(found[rng.integers(len(found))]), grid.shape)
    z, y, x = grid.point([int(i) for i in index])
    dz, dy, dx = (float(v) for v in rng.uniform(-jitter, jitter, 3) * np.array(grid.spacing))
    return z + dz, y + dy, x + dx


def mix(below: Array, above: float | Array, share: Array) -> Array:
    """Lay a material over another; `share` of each voxel becomes `above`."""
    return below + share * (above - below)


def grade(difficulty: float, easy: float, hard: float) -> float:
    """The value of a setting at a difficulty from 0 (easy) to 1 (hard)."""
    return easy + difficulty * (hard - easy)


def _rotation(rng: np.random.Generator) -> Array:
    """A uniformly random rotation matrix, from a random unit quaternion."""
    w, x, y, z = _unit(rng.standard_normal(4))
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def _unit(vector: Array) -> Array:
    return vector / max(float(np.linalg.norm(vector)), 1e-12)


def _as_point(vector: Array) -> Point:
    return float(vector[0]), float(vector[1]), float(vector[2])
