"""A FLAIR brain with white-matter lesions, in arbitrary units.

Folded cortex between dark sulci, ventricles with their horns, interhemispheric and Sylvian fissures, deep grey nuclei,
cerebellum, dark skull and bright scalp; the cerebrospinal fluid is suppressed. Lesions are periventricular, deep or
juxtacortical, many of them long ovals that point away from the ventricle. Caps and bands along the ventricles are as
bright as faint lesions and are not lesions. Coil shading and Rician noise come on top.

Harder cases have smaller and fainter lesions, more shading and more noise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_dasl.phantoms.head import cerebellum, cerebrum, folds
from napari_dasl.phantoms.shapes import Array, Grid, curve, ellipsoid, grade, lump, mix, pick, tubes

if TYPE_CHECKING:
    from numpy.typing import NDArray

FLUID, WHITE, GREY, SKULL, SCALP, MUSCLE = 45.0, 290.0, 385.0, 35.0, 430.0, 190.0
"""Signal of the tissues."""
CEREBELLUM = (39.0, 46.0, 0.0)


def scene(rng: np.random.Generator, grid: Grid, difficulty: float) -> tuple[Array, NDArray[np.uint8], str]:
    """Image, label map (1 = lesion) and a description in words. Shapes are (z, y, x)."""
    size = float(rng.uniform(0.96, 1.03))
    brain = cerebrum(grid, (0.0, 0.0, 0.0), (62.0 * size, 84.0 * size, 66.0 * size)) - 0.8 * grid.field(rng, 8.0)
    ventricles = _ventricles(rng, grid)
    sulci, ribbon = _folds(rng, grid, brain)

    image = _head(rng, grid, size, brain)
    image = mix(image, FLUID, grid.cover(brain - 2.0))
    texture = 1.0 + 0.02 * grid.field(rng, 3.0)
    image = mix(image, WHITE * texture, grid.cover(brain))
    image = mix(image, GREY * texture, grid.cover(np.maximum(ribbon, brain), edge=0.8))
    image = _deep_grey(grid, image, texture)
    image = _bands(rng, grid, ventricles, image)
    white = (brain < -7.0) & (ribbon > 1.5) & (ventricles > 1.5) & (cerebellum(grid, CEREBELLUM) > 5.0)
    image, label, words = _lesions(rng, grid, difficulty, white, brain, ventricles, image)
    image = mix(image, FLUID, grid.cover(np.maximum(sulci, brain)))
    image = mix(image, FLUID, grid.cover(ventricles))
    image = _cerebellum(rng, grid, brain, image)

    shading = np.exp(grade(difficulty, 0.06, 0.18) * grid.field(rng, 45.0))
    image = grid.blur(image * shading, 0.9 * grid.voxel)
    sigma = grade(difficulty, 7.0, 19.0)
    noisy = np.hypot(image + sigma * rng.standard_normal(grid.shape), sigma * rng.standard_normal(grid.shape))
    return noisy, label, words


def _head(rng: np.random.Generator, grid: Grid, size: float, brain: Array) -> Array:
    """Air, scalp, skull, and below the skull base the face with the eyes: what lies round the brain."""
    z = grid.axes[0]
    skin = ellipsoid(grid, (4.0, 1.0, 0.0), (82.0 * size, 97.0 * size, 79.0 * size)) - 0.8 * grid.field(rng, 9.0)
    image = mix(np.zeros(grid.shape), MUSCLE, grid.cover(skin))
    image = mix(image, SCALP + 25.0 * grid.field(rng, 4.0), grid.cover(np.abs(skin + 3.4) - 2.4))
    image = mix(image, SKULL, grid.cover(skin + 6.5))
    image = mix(image, 150.0, grid.cover(np.abs(skin + 9.0) - 0.9) * 0.7)  # marrow between the tables
    face = np.maximum(np.maximum(skin + 7.5, 8.0 - brain), 14.0 - z)
    image = mix(image, MUSCLE * (1.0 + 0.15 * grid.field(rng, 7.0)), grid.cover(face, edge=2.0))
    nose = ellipsoid(grid, (42.0, -52.0, 0.0), (17.0, 32.0, 11.0))
    image = mix(image, 30.0, grid.cover(np.maximum(nose, face), edge=2.0))
    for side in (-1.0, 1.0):
        eye = ellipsoid(grid, (34.0, -64.0, 29.0 * side), (11.5, 11.5, 11.5))
        image = mix(image, SCALP * 0.8, grid.cover(np.maximum(eye - 4.0, skin), edge=3.0))
        image = mix(image, FLUID, grid.cover(eye))
    return image


def _folds(rng: np.random.Generator, grid: Grid, brain: Array) -> tuple[Array, Array]:
    """Signed distances to the sulci (with the fissures) and to the grey ribbon that lines them."""
    z, y, x = grid.axes
    depth = -brain
    reach = 17.0 + 5.0 * grid.field(rng, 9.0)
    width = 1.7 * np.clip(1.2 - depth / np.maximum(reach, 5.0), 0.0, 1.0)
    sulci = np.maximum(folds(rng, grid, 3.9) - width, depth - reach)
    cleft = np.maximum(np.abs(x + 1.5 * grid.field(rng, 12.0)) - 1.3, z + 6.0)
    cleft = np.maximum(cleft, np.maximum(-np.hypot((z - 10.0) / 1.2, y / 1.4) + 27.0, brain))
    sulci = np.minimum(sulci, cleft)
    for side in (-1.0, 1.0):
        line = [
            (12.0, -34.0, 34.0 * side),
            (8.0, -14.0, 44.0 * side),
            (0.0, 8.0, 52.0 * side),
            (-8.0, 24.0, 58.0 * side),
        ]
        sulci = np.minimum(sulci, tubes(grid, curve(line, [2.4, 2.8, 2.2, 1.5])))
    ribbon = np.minimum(depth - 3.0, sulci - 3.2)
    return sulci, ribbon


def _ventricles(rng: np.random.Generator, grid: Grid) -> Array:
    """Signed distance to lateral ventricles with three horns each, the third ventricle and the septum between them."""
    wide = float(rng.uniform(0.8, 1.35))
    found = tubes(grid, curve([(2.0, -6.0, 0.0), (10.0, 12.0, 0.0)], [1.6 * wide, 1.4 * wide]), 40.0)
    for side in (-1.0, 1.0):
        body = [(-4.0, -32.0, 11.0), (-9.0, -20.0, 7.5), (-12.0, 0.0, 8.0), (-9.0, 18.0, 13.0), (-2.0, 30.0, 21.0)]
        front = [(z, y, x * side) for z, y, x in body]
        found = np.minimum(
            found, tubes(grid, curve(front, [3.4 * wide, 4.4 * wide, 4.0 * wide, 4.6 * wide, 5.6 * wide]), 40.0)
        )
        back = curve([front[-1], (1.0, 48.0, 19.0 * side)], [4.6 * wide, 1.4])
        down = curve([front[-1], (12.0, 18.0, 31.0 * side), (20.0, -4.0, 31.0 * side)], [4.4 * wide, 2.4, 1.6])
        found = np.minimum(found, tubes(grid, back + down, 40.0))
    septum = np.abs(grid.axes[2]) - 0.8
    return np.maximum(found, np.where(grid.axes[0] < 0.0, -septum, -40.0))


def _deep_grey(grid: Grid, image: Array, texture: Array) -> Array:
    for side in (-1.0, 1.0):
        for centre, radii in (
            ((-4.0, -16.0, 15.5), (10.0, 11.0, 4.5)),
            ((2.0, -4.0, 26.0), (10.0, 16.0, 5.5)),
            ((2.0, 12.0, 11.0), (9.0, 14.0, 8.5)),
        ):
            nucleus = ellipsoid(grid, (centre[0], centre[1], centre[2] * side), radii)
            image = mix(image, (GREY - 22.0) * texture, grid.cover(nucleus, edge=1.0))
    return image


def _bands(rng: np.random.Generator, grid: Grid, ventricles: Array, image: Array) -> Array:
    """Periventricular caps and bands: normal, and as bright as a faint lesion."""
    _, y, _ = grid.axes
    strength = float(rng.uniform(0.08, 0.24))
    caps = np.clip((np.abs(y) - 18.0) / 14.0, 0.25, 1.0)
    width = 1.6 + 0.7 * grid.field(rng, 8.0)
    return image * (1.0 + strength * caps * grid.cover(ventricles - width, edge=1.5))


def _lesions(
    rng: np.random.Generator,
    grid: Grid,
    difficulty: float,
    white: NDArray[np.bool_],
    brain: Array,
    ventricles: Array,
    image: Array,
) -> tuple[Array, NDArray[np.uint8], str]:
    """Two to nine lesions; where each lies goes into the words."""
    label = np.zeros(grid.shape, dtype=np.uint8)
    free = white.copy()
    words: list[str] = []
    for number in range(2 + int(rng.integers(0, 5)) + int(rng.integers(0, 3) * difficulty)):
        radius = grade(difficulty, 9.5, 4.6) * float(rng.uniform(0.7, 1.25))
        place = ("periventricular", "deep", "juxtacortical")[int(np.searchsorted((0.45, 0.8), rng.random()))]
        zone = {
            "periventricular": (ventricles > 0.4 * radius) & (ventricles < radius + 2.5),
            "deep": (ventricles > radius + 3.0) & (brain < -radius - 12.0),
            "juxtacortical": (brain > -18.0),
        }[place]
        centre = pick(rng, grid, free & zone) or pick(rng, grid, free)
        if centre is None:
            if number == 0:
                centre = pick(rng, grid, white | (brain < -20.0))
            if centre is None:
                continue
        stretch = rng.uniform(0.7, 1.3, 3)
        radii = tuple(radius * float(v) for v in stretch / float(np.prod(stretch)) ** (1.0 / 3.0))
        lesion = lump(rng, grid, centre, (radii[0], radii[1], radii[2]), float(rng.uniform(0.06, 0.18)))
        inside = (lesion < 0) & (ventricles > 0) & (brain < -1.0)
        strength = grade(difficulty, 0.8, 0.42) * float(rng.uniform(0.85, 1.2))
        gain = 1.0 + strength * (1.0 + 0.1 * grid.field(rng, 3.0))
        image = mix(image, WHITE * gain, grid.cover(lesion, edge=1.2))
        label[inside] = 1
        free &= lesion > 4.0
        words.append(f"{place} {2 * radius:.0f} mm")
    return image, label, "; ".join(words)


def _cerebellum(rng: np.random.Generator, grid: Grid, brain: Array, image: Array) -> Array:
    """Cerebellum with its leaves, the tentorium above it, the brain stem and the fourth ventricle."""
    lobes = cerebellum(grid, CEREBELLUM) - 1.2 * grid.field(rng, 5.0)
    fossa = np.maximum(brain, 20.0 - grid.axes[0] - 0.25 * (grid.axes[1] - 30.0))
    image = mix(image, FLUID + 40.0, grid.cover(np.maximum(fossa, lobes - 3.0)))
    image = mix(image, WHITE - 10.0, grid.cover(lobes))
    leaves = folds(rng, grid, 1.9)
    image = mix(image, GREY - 30.0, grid.cover(np.maximum(lobes, -lobes - 9.0)))
    image = mix(image, 190.0, grid.cover(np.maximum(leaves - 0.5, np.maximum(lobes, -lobes - 9.0))) * 0.7)
    stem = curve([(14.0, 8.0, 0.0), (34.0, 4.0, 0.0), (70.0, 18.0, 0.0)], [11.0, 12.5, 7.5])
    stem_distance = tubes(grid, stem, 12.0)
    image = mix(image, FLUID, grid.cover(stem_distance - 3.5) * (grid.axes[0] > 18.0))
    image = mix(image, WHITE - 8.0, grid.cover(stem_distance))
    fourth = ellipsoid(grid, (40.0, 20.0, 0.0), (9.0, 4.0, 5.0))
    return mix(image, FLUID, grid.cover(fourth))
