"""A head and neck FDG PET with tumours, in SUV.

Cortex, deep grey nuclei and cerebellum burn as they do in FDG; salivary glands, tonsils, tongue, eye muscles and marrow
take up what they normally do. Tumours sit in the pharynx, the tongue base and the larynx, and nodes along the neck. The
image is counted (Poisson), then smoothed, with a point-spread of 5 to 7 mm in all. A threshold finds the brain.

Harder cases have smaller tumours with an uptake near that of tonsils and glands, and fewer counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_dasl.phantoms.head import cerebellum, cerebrum, folds
from napari_dasl.phantoms.shapes import Array, Grid, Point, curve, ellipsoid, grade, lump, mix, tubes

if TYPE_CHECKING:
    from numpy.typing import NDArray

BACKGROUND, MUSCLE, WHITE, GREY = 0.35, 0.75, 3.4, 9.5
"""SUV of the large tissues."""


def scene(rng: np.random.Generator, grid: Grid, difficulty: float) -> tuple[Array, NDArray[np.uint8], str]:
    """Image in SUV, label map (1 = tumour) and a description in words. Shapes are (z, y, x)."""
    body = _body(rng, grid)
    image = _tissues(rng, grid, body)
    image = _brain(rng, grid, image)
    image = _normal_uptake(rng, grid, image)
    image, label, words = _tumours(rng, grid, difficulty, body, image)

    detector = float(rng.uniform(4.2, 5.0))
    smoothing = float(rng.uniform(3.2, 4.6))
    seen = grid.blur(np.maximum(image, 0.0), detector)
    counts = grade(difficulty, 45.0, 9.0)
    scatter = 0.15
    counted = rng.poisson(counts * (seen + scatter)).astype(np.float64) / counts - scatter
    return np.maximum(grid.blur(counted, smoothing), 0.0), label, words


def _body(rng: np.random.Generator, grid: Grid) -> Array:
    """Signed distance to the skin of head, neck and the top of the shoulders."""
    z, y, x = grid.axes
    size = float(rng.uniform(0.95, 1.05))
    cranium = ellipsoid(grid, (-28.0, 4.0, 0.0), (64.0 * size, 97.0 * size, 77.0 * size))
    face = ellipsoid(grid, (28.0, -26.0, 0.0), (52.0, 66.0 * size, 61.0 * size))
    neck = np.hypot((y - 14.0) / 62.0, x / (58.0 + 0.05 * z)) * 60.0 - 60.0
    neck = np.maximum(neck, 5.0 - z)
    shoulders = ellipsoid(grid, (122.0, 18.0, 0.0), (46.0, 62.0, 120.0))
    return np.minimum(np.minimum(cranium, face), np.minimum(neck, shoulders)) - 1.5 * grid.field(rng, 12.0)


def _tissues(rng: np.random.Generator, grid: Grid, body: Array) -> Array:
    mottle = 1.0 + 0.12 * grid.field(rng, 5.0)
    image = mix(np.zeros(grid.shape), BACKGROUND * mottle, grid.cover(body))
    image = mix(image, MUSCLE * mottle, grid.cover(body + 5.0))
    spine = [(5.0, 44.0, 0.0), (35.0, 32.0, 0.0), (65.0, 30.0, 0.0), (100.0, 38.0, 0.0)]
    image = mix(image, 1.9, grid.cover(tubes(grid, curve(spine, [9.0, 9.0, 10.0, 11.0]), 12.0)))
    image = mix(image, 0.9, grid.cover(tubes(grid, curve([(z, y + 15.0, x) for z, y, x in spine], [6.0] * 4))))
    cord = [(z, y + 15.0, x) for z, y, x in spine]
    image = mix(image, 2.2, grid.cover(tubes(grid, curve(cord, [3.5] * 4))))
    airway = [(22.0, -55.0, 0.0), (26.0, -20.0, 0.0), (40.0, 8.0, 0.0), (70.0, 0.0, 0.0), (100.0, 4.0, 0.0)]
    image = mix(image, 0.05, grid.cover(tubes(grid, curve(airway, [9.0, 8.0, 7.0, 7.0, 8.0]), 10.0)))
    for side in (-1.0, 1.0):
        sinus = ellipsoid(grid, (12.0, -48.0, 26.0 * side), (14.0, 14.0, 11.0))
        image = mix(image, 0.1, grid.cover(sinus))
    return image


def _brain(rng: np.random.Generator, grid: Grid, image: Array) -> Array:
    """Cortex as a folded ribbon, white matter, deep nuclei, ventricles, cerebellum and brain stem."""
    z, _, x = grid.axes
    glow = float(rng.uniform(0.8, 1.15))
    brain = cerebrum(grid, (-26.0, 2.0, 0.0), (56.0, 86.0, 67.0))
    skull = np.abs(ellipsoid(grid, (-27.0, 3.0, 0.0), (60.0, 91.0, 72.0))) - 3.5
    image = mix(image, 0.5, grid.cover(np.maximum(skull, z - 10.0)))
    midline = np.maximum(np.abs(x) - 7.5, z + 36.0)
    deep = -brain - 24.0 - 5.0 * grid.field(rng, 10.0)
    ribbon = np.minimum(np.minimum(-brain - 6.0, midline), np.maximum(folds(rng, grid, 4.6) - 3.6, deep))
    image = mix(image, WHITE * glow, grid.cover(brain))
    grey = GREY * glow * (1.0 + 0.12 * grid.field(rng, 12.0))
    image = mix(image, grey, grid.cover(np.maximum(ribbon, brain), edge=1.0))
    cleft = np.maximum(np.maximum(np.abs(x) - 1.6, brain), z + 34.0)
    image = mix(image, 1.0, grid.cover(cleft))
    for side in (-1.0, 1.0):
        for centre, radii, uptake in (
            ((-22.0, -14.0, 15.0), (11.0, 13.0, 6.0), 10.5),
            ((-20.0, -4.0, 27.0), (11.0, 17.0, 6.0), 10.8),
            ((-20.0, 14.0, 11.0), (9.0, 14.0, 8.0), 9.8),
        ):
            nucleus = ellipsoid(grid, (centre[0], centre[1], centre[2] * side), radii)
            image = mix(image, uptake * glow, grid.cover(nucleus))
        horn = [(-30.0, -30.0, 9.0 * side), (-34.0, 0.0, 8.0 * side), (-28.0, 28.0, 17.0 * side)]
        image = mix(image, 0.9, grid.cover(tubes(grid, curve(horn, [4.0, 4.5, 4.0]))))
    lobes = cerebellum(grid, (17.0, 46.0, 0.0))
    image = mix(image, 1.5, grid.cover(lobes - 2.5))
    leaves = 5.2 + 2.2 * np.clip(2.0 - folds(rng, grid, 2.2), 0.0, 1.0)
    image = mix(image, leaves * glow, grid.cover(lobes))
    stem = curve([(-5.0, 16.0, 0.0), (18.0, 14.0, 0.0), (34.0, 34.0, 0.0)], [10.0, 9.0, 5.0])
    return mix(image, 4.6 * glow, grid.cover(tubes(grid, stem, 10.0)))


def _normal_uptake(rng: np.random.Generator, grid: Grid, image: Array) -> Array:
    """What is hot without being ill; each case has it in its own measure."""

    def level(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    tonsil, parotid, gland = level(2.6, 5.2), level(1.6, 3.4), level(2.0, 4.2)
    for side in (-1.0, 1.0):
        for centre, radii, uptake in (
            ((42.0, -2.0, 17.0), (9.0, 6.0, 5.0), tonsil * level(0.85, 1.15)),
            ((32.0, 4.0, 52.0), (20.0, 13.0, 7.0), parotid),
            ((60.0, -14.0, 27.0), (9.0, 12.0, 7.0), gland * level(0.9, 1.1)),
            ((92.0, -8.0, 14.0), (11.0, 6.0, 6.0), level(1.1, 2.0)),
            ((8.0, -72.0, 32.0), (11.0, 11.0, 11.0), 0.5),
        ):
            organ = lump(rng, grid, (centre[0], centre[1], centre[2] * side), radii, 0.08)
            image = mix(image, uptake, grid.cover(organ))
        for offset in (-7.0, 7.0):
            muscle = curve([(8.0, -45.0, 24.0 * side), (8.0, -68.0, (32.0 + offset) * side)], [2.0, 2.2])
            image = mix(image, 4.2, grid.cover(tubes(grid, muscle)))
        neck = curve([(30.0, 30.0, 48.0 * side), (95.0, -5.0, 25.0 * side)], [6.5, 5.5])
        strain = level(0.9, 2.6) if rng.random() < 0.35 else 0.9
        image = mix(image, strain, grid.cover(tubes(grid, neck, 8.0)))
    tongue = lump(rng, grid, (46.0, -38.0, 0.0), (13.0, 24.0, 18.0), 0.06)
    image = mix(image, level(1.5, 2.6), grid.cover(tongue))
    adenoid = lump(rng, grid, (24.0, 6.0, 0.0), (5.0, 5.0, 11.0), 0.08)
    image = mix(image, level(1.8, 3.2), grid.cover(adenoid))
    cords = lump(rng, grid, (76.0, -8.0, 0.0), (4.0, 8.0, 8.0), 0.05)
    return mix(image, level(1.6, 3.2), grid.cover(cords))


def _tumours(
    rng: np.random.Generator, grid: Grid, difficulty: float, body: Array, image: Array
) -> tuple[Array, NDArray[np.uint8], str]:
    """A primary tumour and up to three nodes."""
    label = np.zeros(grid.shape, dtype=np.uint8)
    sites: dict[str, Point] = {
        "tongue base": (52.0, -14.0, 10.0),
        "tonsil": (44.0, -4.0, 20.0),
        "nasopharynx": (24.0, 6.0, 10.0),
        "hypopharynx": (70.0, 8.0, 12.0),
        "larynx": (78.0, -6.0, 8.0),
    }
    names = list(sites)
    words: list[str] = []
    for number in range(1 + int(rng.random() < 0.75) + int(rng.random() < 0.4) + int(rng.random() < 0.2)):
        side = float(rng.choice((-1.0, 1.0)))
        if number == 0:
            name = names[int(rng.integers(len(names)))]
            z, y, x = sites[name]
            radius = grade(difficulty, 16.0, 8.5)
        else:
            # The jugular chain: from below the ear forward and down.
            t = float(rng.uniform(0.0, 1.0))
            name = f"node level {('II', 'III', 'IV')[min(int(3 * t), 2)]}"
            z, y, x = 44.0 + 50.0 * t, 18.0 - 22.0 * t, 42.0 - 14.0 * t
            radius = grade(difficulty, 11.5, 6.0)
        radius *= float(rng.uniform(0.85, 1.2))
        centre = (z + float(rng.uniform(-6, 6)), y + float(rng.uniform(-5, 5)), x * side + float(rng.uniform(-4, 4)))
        radii = tuple(radius * float(v) for v in rng.uniform(0.8, 1.2, 3))
        tumour = lump(rng, grid, centre, (radii[0], radii[1], radii[2]), float(rng.uniform(0.05, 0.16)))
        inside = (tumour < 0) & (body < -4.0)
        if not inside.any():
            inside = _nearest_voxel(grid, centre)
        uptake = grade(difficulty, 13.0, 5.0) * float(rng.uniform(0.8, 1.25)) * (1.0 if number == 0 else 0.85)
        uptake_map = uptake * (1.0 + 0.13 * grid.field(rng, 4.0))
        image = mix(image, uptake_map, grid.cover(np.maximum(tumour, body + 4.0)))
        if radius > 11.0 and rng.random() < 0.4:
            image = mix(image, 0.3 * uptake, grid.cover(tumour + 0.55 * radius, edge=2.0))
        label[inside] = 1
        words.append(f"{name} {2 * radius:.0f} mm SUV {uptake:.1f}")
    return image, label, "; ".join(words)


def _nearest_voxel(grid: Grid, centre: Point) -> NDArray[np.bool_]:
    z, y, x = grid.axes
    away: Array = (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2
    nearest: NDArray[np.bool_] = away <= away.min() + 1e-9
    return nearest
