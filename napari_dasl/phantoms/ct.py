"""A crop of a chest CT with lung nodules, in HU.

One lung from its hilum to the chest wall: parenchyma with a gravity gradient and fine texture, arteries, veins and
airways as branching tubes, a fissure, ribs that slope as ribs do, muscle, fat and skin, heart border, aorta, vertebra,
and in some cases the diaphragm. Nodules are solid, part-solid or ground-glass, and lie free, on a vessel or on the
pleura. A threshold does not find them: vessels and chest wall are as dense.

Harder cases have smaller and fainter nodules, more often on a vessel or the pleura, and more noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_dasl.phantoms.shapes import (
    Array,
    Grid,
    Point,
    Segment,
    branch,
    curve,
    ellipsoid,
    grade,
    lump,
    mix,
    pick,
    tubes,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

AIR, LUNG, FAT, SOFT, BLOOD, MARROW, CORTEX = -1000.0, -865.0, -95.0, 45.0, 130.0, 260.0, 850.0
"""HU of the materials; blood is that of a scan with a little contrast medium."""


@dataclass(frozen=True)
class _Chest:
    """Signed distances of the large structures, mm; `lung` is negative inside the lung."""

    lung: Array
    wall: Array
    midline: Array
    diaphragm: Array
    hilum: Point


def scene(rng: np.random.Generator, grid: Grid, difficulty: float) -> tuple[Array, NDArray[np.uint8], str]:
    """Image in HU, label map (1 = nodule) and a description in words. Shapes are (z, y, x)."""
    chest = _chest(rng, grid)
    vessels, airways = _trees(rng, grid, chest)
    vessel_distance, lumen = tubes(grid, vessels), tubes(grid, airways)
    image = _parenchyma(rng, grid, difficulty)
    image = mix(image, -40.0, grid.cover(lumen - 0.9) * 0.8)
    image = mix(image, AIR, grid.cover(lumen))
    image = mix(image, BLOOD, grid.cover(vessel_distance))
    image, label, words = _nodules(rng, grid, difficulty, chest, vessel_distance, vessels, image)
    image = _chest_wall(rng, grid, chest, image)
    label[chest.lung > 0] = 0

    image = grid.blur(image, 1.5)
    image = image + _noise(rng, grid, grade(difficulty, 14.0, 42.0))
    if rng.random() < 0.5:  # the other lung
        image, label = image[..., ::-1], label[..., ::-1]
    return np.clip(image, -1024.0, 3071.0), label, words


def _chest(rng: np.random.Generator, grid: Grid) -> _Chest:
    z, y, x = grid.axes
    shift_x, shift_y = (float(v) for v in rng.uniform(-5.0, 5.0, 2))
    wide = float(rng.uniform(90.0, 97.0))
    wall = ellipsoid(grid, (12.0, shift_y, -54.0 + shift_x), (190.0, float(rng.uniform(66.0, 74.0)), wide))
    bulge = float(rng.uniform(10.0, 20.0)) * np.exp(-(((y + 20.0) / 24.0) ** 2) - ((z - 22.0) / 26.0) ** 2)
    edge = -41.0 + bulge + 2.0 * np.sin(z / 9.0 + float(rng.uniform(0, 6.0))) + 0.0 * x
    midline = edge - x
    dome = float(rng.uniform(16.0, 26.0)) if rng.random() < 0.45 else -40.0
    floor = 40.0 - dome * np.exp(-(((x + 8.0) / 42.0) ** 2) - ((y + 6.0) / 45.0) ** 2)
    diaphragm = z - floor
    lung = np.maximum(np.maximum(wall, midline), diaphragm)
    hilum = (float(rng.uniform(-8.0, 4.0)), float(rng.uniform(2.0, 10.0)), -43.0)
    return _Chest(lung=lung, wall=wall, midline=midline, diaphragm=diaphragm, hilum=hilum)


def _trees(rng: np.random.Generator, grid: Grid, chest: _Chest) -> tuple[list[Segment], list[Segment]]:
    """Arteries and veins, and the airways that run beside the arteries."""
    bounds = [float(axis.max()) + 4.0 for axis in grid.axes]
    lung = chest.lung

    def inside(point: Point) -> bool:
        if any(abs(v) > limit for v, limit in zip(point, bounds, strict=True)):
            return False
        index = tuple(
            min(max(round(v / step + (n - 1) / 2.0), 0), n - 1)
            for v, step, n in zip(point, grid.spacing, grid.shape, strict=True)
        )
        return bool(lung[index] < -1.5) or point[2] < chest.hilum[2] + 14.0

    vessels: list[Segment] = []
    airways: list[Segment] = []
    headings = [
        (-0.9, -0.3, 0.7),
        (-0.2, -0.5, 1.0),
        (0.2, 0.5, 1.0),
        (0.9, 0.2, 0.8),
        (0.5, -0.7, 0.8),
        (-0.6, 0.7, 0.8),
    ]
    for number, heading in enumerate(headings):
        z, y, x = chest.hilum
        start = (z + 10.0 * heading[0], y + 10.0 * heading[1], x - 2.0)
        vessels += branch(rng, start, heading, float(rng.uniform(2.7, 4.2)), smallest=0.45, inside=inside)
        if number % 2 == 0:
            beside = (start[0] + 3.0, start[1] - 6.5, start[2])
            airways += branch(rng, beside, heading, float(rng.uniform(2.4, 3.2)), smallest=1.3, inside=inside)
    return vessels, airways


def _parenchyma(rng: np.random.Generator, grid: Grid, difficulty: float) -> Array:
    """Lung: denser where gravity pulls, mottled, with a fissure; patches of emphysema in harder cases."""
    _, y, _ = grid.axes
    image = LUNG + 0.55 * y + 11.0 * grid.field(rng, 6.0) + 14.0 * grid.field(rng, 1.6)
    holes = grid.field(rng, 5.0)
    image = image - grade(difficulty, 10.0, 55.0) * np.clip(holes - 1.0, 0.0, 1.0)
    z, y, x = grid.axes
    plane = z + float(rng.uniform(0.8, 1.3)) * y + 2.5 * np.sin(x / 17.0) + float(rng.uniform(-12.0, 12.0))
    return mix(image, -640.0, grid.cover(np.abs(plane) / 1.45 - 0.35) * 0.9)


def _nodules(
    rng: np.random.Generator,
    grid: Grid,
    difficulty: float,
    chest: _Chest,
    vessel_distance: Array,
    vessels: list[Segment],
    image: Array,
) -> tuple[Array, NDArray[np.uint8], str]:
    """Put one to four nodules where their kind belongs; the list of kinds goes into the words."""
    label = np.zeros(grid.shape, dtype=np.uint8)
    depth: Array = ndimage.distance_transform_edt(chest.lung < 0, sampling=grid.spacing)
    z, y, x = grid.axes
    frame = 8.0
    inner = np.broadcast_to(
        (np.abs(z) < z.max() - frame) & (np.abs(y) < y.max() - frame) & (np.abs(x) < x.max() - frame), grid.shape
    )
    free = depth.copy()
    words: list[str] = []
    for _ in range(1 + int(rng.random() < 0.7) + int(rng.random() < 0.2 + 0.3 * difficulty)):
        radius = grade(difficulty, 9.5, 4.0) * float(rng.uniform(0.8, 1.25))
        company = float(rng.random()) + grade(difficulty, -0.35, 0.1)
        place = ("free", "on a vessel", "on the pleura")[int(np.searchsorted((0.45, 0.75), company))]
        if place == "on the pleura":
            allowed = inner & (np.abs(depth - 0.55 * radius) < 1.5) & (np.abs(chest.lung - chest.wall) < 1.0)
        elif place == "on a vessel":
            allowed = inner & (free > radius + 2.0) & (np.abs(vessel_distance - 0.5 * radius) < 1.0)
        else:
            allowed = inner & (free > radius + 3.0) & (vessel_distance > min(0.8 * radius, 4.5))
        centre = pick(rng, grid, allowed & (free > 0.4 * radius))
        if centre is None:
            centre, place = pick(rng, grid, inner & (free > 0.8 * radius)), "free"
        if centre is None:
            continue
        firmness = float(rng.random()) + grade(difficulty, -0.3, 0.12)
        kind = ("solid", "part-solid", "ground-glass")[int(np.searchsorted((0.62, 0.83), firmness))]
        image, inside = _nodule(rng, grid, difficulty, centre, radius, kind, image, vessels)
        label[inside & (chest.lung < 0)] = 1
        free = np.minimum(free, np.maximum(ellipsoid(grid, centre, (radius,) * 3) - 6.0, 0.0))
        words.append(f"{kind} {2 * radius:.0f} mm {place}")
    return image, label, "; ".join(words)


def _nodule(
    rng: np.random.Generator,
    grid: Grid,
    difficulty: float,
    centre: Point,
    radius: float,
    kind: str,
    image: Array,
    vessels: list[Segment],
) -> tuple[Array, NDArray[np.bool_]]:
    """Draw one nodule; return the image and the voxels whose centre lies in it."""
    radii = tuple(radius * float(v) for v in rng.uniform(0.85, 1.15, 3))
    rough = float(rng.uniform(0.04, 0.14))
    body = lump(rng, grid, centre, (radii[0], radii[1], radii[2]), rough)
    mottle = grid.field(rng, 1.8)
    if kind == "solid":
        if rng.random() < 0.35:  # spicules
            ends = [np.array(centre) + v / np.linalg.norm(v) * radius * 1.7 for v in rng.standard_normal((7, 3))]
            rays = [s for end in ends for s in curve([centre, (end[0], end[1], end[2])], [1.1, 0.3])]
            image = mix(image, -250.0, grid.cover(tubes(grid, rays)) * 0.8)
        density = grade(difficulty, 45.0, 15.0) + float(rng.uniform(-15.0, 15.0)) + 10.0 * mottle
        image = mix(image, density, grid.cover(body, edge=0.6))
    else:
        haze = grade(difficulty, -480.0, -610.0) + float(rng.uniform(-40.0, 40.0)) + 35.0 * mottle
        share = grid.cover(body, edge=2.0)
        image = np.maximum(image, mix(image, haze, share))  # vessels stay visible in the haze
        if kind == "part-solid":
            shift = np.array(centre) + rng.uniform(-0.25, 0.25, 3) * radius
            core = lump(rng, grid, (shift[0], shift[1], shift[2]), (radius * 0.5,) * 3, 0.15)
            image = mix(image, 20.0, grid.cover(core, edge=1.0))
    return image, body < 0


def _chest_wall(rng: np.random.Generator, grid: Grid, chest: _Chest, image: Array) -> Array:
    """Everything that is not lung: mediastinum, upper abdomen, then ribs, muscle, fat, skin and the air outside."""
    z, y, _ = grid.axes
    mottle = 8.0 * grid.field(rng, 2.5)
    middle = SOFT + 5.0 + mottle
    fat_here = np.clip(grid.field(rng, 5.0) - 0.6, 0.0, 1.0)
    middle = mix(middle, FAT, fat_here * grid.cover(np.abs(chest.midline - 5.0) - 4.0))
    aorta = np.hypot(y - float(rng.uniform(24.0, 32.0)) + 0.0 * z, grid.axes[2] + 52.0) - float(rng.uniform(9.0, 12.0))
    middle = mix(middle, BLOOD + 30.0 + mottle, grid.cover(aorta + 0.0 * z))
    hilum = ellipsoid(grid, (chest.hilum[0], chest.hilum[1], -52.0), (16.0, 12.0, 12.0))
    middle = mix(middle, BLOOD + mottle, grid.cover(hilum, edge=2.0))
    image = mix(image, middle, grid.cover(-chest.midline))
    vertebra = np.hypot((y - 52.0) / 1.0 + 0.0 * z, grid.axes[2] + 68.0) - 19.0
    disc = np.abs(np.mod(z + float(rng.uniform(0.0, 24.0)), 24.0) - 12.0) - 9.5
    bone = np.minimum(MARROW + 0.0 * vertebra, np.where(disc > 0, 90.0, MARROW))
    image = mix(image, bone + 25.0 * grid.field(rng, 1.8), grid.cover(vertebra))
    image = mix(image, CORTEX - 300.0, grid.cover(np.abs(vertebra) - 0.8) * (disc < 0))
    image = mix(image, SOFT + 15.0 + mottle, grid.cover(-chest.diaphragm))

    wall = chest.wall
    image = mix(image, SOFT + 10.0 + mottle, grid.cover(-wall))
    strand = grid.field(rng, 3.0)
    image = mix(image, FAT, grid.cover(np.abs(wall - 10.5 - strand) - 0.9) * 0.85)
    spread = np.mod(z + 0.38 * y + float(rng.uniform(0.0, 25.0)), 25.0) - 12.5
    rib = (np.hypot((wall - 5.6) / 3.4, spread / 6.0) - 1.0) * 3.4
    image = mix(image, CORTEX, grid.cover(rib))
    image = mix(image, MARROW + 40.0 * strand, grid.cover(rib + 1.3))
    fat_from = float(rng.uniform(12.0, 16.0))
    image = mix(image, FAT + 0.8 * mottle, grid.cover(fat_from + 1.2 * strand - wall))
    skin_at = fat_from + float(rng.uniform(9.0, 20.0))
    image = mix(image, 10.0, grid.cover(np.abs(wall - skin_at) - 1.0))
    return mix(image, AIR, grid.cover(skin_at + 1.0 - wall))


def _noise(rng: np.random.Generator, grid: Grid, sigma: float) -> Array:
    """Noise with the grainy texture of filtered back-projection: little at low spatial frequencies."""
    white = rng.standard_normal(grid.shape)
    fine: Array = ndimage.gaussian_filter(white, (0.35, 0.6, 0.6))
    coarse: Array = ndimage.gaussian_filter(white, (0.7, 1.8, 1.8))
    grain = fine - 0.9 * coarse
    return sigma * grain / float(grain.std())
