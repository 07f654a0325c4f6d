"""One synthetic case: image, truth, spacing, and how hard it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dasl.errors import InputError
from napari_dasl.phantoms import ct, mr, pet
from napari_dasl.phantoms.shapes import Array, Grid

Scene = Callable[[np.random.Generator, Grid, float], tuple[Array, NDArray[np.uint8], str]]


@dataclass(frozen=True)
class Phantom:
    """A synthetic scan with its truth.

    Attributes
    ----------
    image : (z, y, x) array
        int16 HU (CT), float32 SUV (PET) or int16 signal (MR); z to inferior, y to posterior, x to the patient's left.
    label : (z, y, x) uint8 array
        0 background, k = ``classes[k - 1]``; never empty.
    spacing : (z, y, x) mm
    modality : str
        "CT", "PET" or "MR".
    classes : tuple of str
    difficulty : float
        0 (easy) to 1 (hard): the one knob behind size, contrast, noise and neighbourhood.
    notes : str
        What was put in, in words.
    """

    image: NDArray[Any]
    label: NDArray[np.uint8]
    spacing: tuple[float, float, float]
    modality: str
    classes: tuple[str, ...]
    difficulty: float
    notes: str


@dataclass(frozen=True)
class _Kind:
    number: int  # goes into the seed: fixed for ever
    scene: Scene
    modality: str
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    step: float  # values are stored as multiples of it


_KINDS = {
    "ct": _Kind(1, ct.scene, "CT", ("nodule",), (48, 96, 96), (1.5, 1.2, 1.2), 1.0),
    "pet": _Kind(2, pet.scene, "PET", ("tumour",), (48, 80, 72), (4.0, 2.8, 2.8), 2.0**-10),
    "mr": _Kind(3, mr.scene, "MR", ("lesion",), (48, 96, 80), (3.0, 2.1, 2.1), 1.0),
}
KINDS = tuple(_KINDS)
"""The kinds that `make` knows."""
SIZES = {"standard": 1.0, "small": 1.5}
"""Grids to choose from: the factor by which the standard voxel is enlarged. The field of view is the same."""


def make(
    kind: str, seed: int | Sequence[int] = 0, difficulty: float | None = None, *, size: str = "standard"
) -> Phantom:
    """Make one case.

    Parameters
    ----------
    kind : str
        "ct" (lung nodules), "pet" (head and neck tumours) or "mr" (FLAIR brain lesions).
    seed : int or sequence of int
        Not negative. Same seed, same voxels, on every machine.
    difficulty : float, optional
        0 (easy) to 1 (hard). By default drawn from the seed.
    size : str
        "standard" (about 48 × 96 × 96 voxels) or "small" (about 32 × 64 × 64, the same field of view).

    Returns
    -------
    Phantom

    Raises
    ------
    InputError
        Unknown kind or size, or a difficulty outside [0, 1].
    """
    if kind not in _KINDS:
        raise InputError(f"There is no phantom of kind {kind!r}.", f"Use one of {', '.join(KINDS)}.")
    if size not in SIZES:
        raise InputError(f"There is no phantom of size {size!r}.", f"Use one of {', '.join(SIZES)}.")
    recipe, factor = _KINDS[kind], SIZES[size]
    entropy = [seed] if isinstance(seed, int) else list(seed)
    if any(part < 0 for part in entropy):
        raise InputError(f"The seed {seed} is negative.", "Give a whole number from 0 up.")
    rng = np.random.default_rng([recipe.number, *entropy])
    drawn = float(rng.uniform(0.0, 1.0))
    hard = drawn if difficulty is None else float(difficulty)
    if not 0.0 <= hard <= 1.0:
        raise InputError(f"The difficulty {difficulty} is not between 0 and 1.", "0 is easy, 1 is hard.")
    z, y, x = (round(n / factor) for n in recipe.shape)
    dz, dy, dx = (round(step * n / m, 4) for step, n, m in zip(recipe.spacing, recipe.shape, (z, y, x), strict=True))
    grid = Grid((z, y, x), (dz, dy, dx))
    image, label, notes = recipe.scene(rng, grid, hard)
    # Rounding makes the last bits of floating-point arithmetic, which differ between processors, irrelevant.
    stored = np.round(image / recipe.step) * recipe.step
    return Phantom(
        image=np.ascontiguousarray(stored.astype(np.int16 if recipe.step == 1.0 else np.float32)),
        label=np.ascontiguousarray(label),
        spacing=grid.spacing,
        modality=recipe.modality,
        classes=recipe.classes,
        difficulty=hard,
        notes=notes,
    )
