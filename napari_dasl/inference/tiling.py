"""Where the windows lie that cover a volume, and how much each of their voxels counts. No torch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from napari_dasl.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Triple = tuple[int, int, int]

_FLOOR = 1e-3


def axis_starts(length: int, patch: int, overlap: float = 0.5) -> list[int]:
    """First voxel of each window along one axis.

    As few windows as overlap by at least *overlap*, spread evenly from the first voxel to the last (as nnU-Net does),
    so that no part of the scan is seen by more windows than another just because it comes last.

    Parameters
    ----------
    length : int
        Voxels along the axis, at least *patch*.
    patch : int
        Voxels of a window.
    overlap : float
        Share of a window that the next one covers again, in [0, 1).

    Returns
    -------
    list of int
        Rising; the first is 0, the last is ``length − patch``.

    Raises
    ------
    InputError
        When the overlap is out of range or the axis is shorter than the window.
    """
    if not 0 <= overlap < 1:
        raise InputError(f"The overlap of two windows is {overlap:g}.", "Give a share from 0 to below 1, such as 0.5.")
    if not 1 <= patch <= length:
        raise InputError(f"A window of {patch} voxels does not fit an axis of {length}.", "Pad the volume first.")
    last = length - patch
    # The small number keeps 0.1 + 0.2 style rounding from adding a window.
    count = math.ceil(last / max(1.0, patch * (1 - overlap)) - 1e-9) + 1
    if count == 1:
        return [0]
    return [round(index * last / (count - 1)) for index in range(count)]


def windows(shape: Sequence[int], patch: Sequence[int], overlap: float = 0.5) -> list[Triple]:
    """First voxel (z, y, x) of each window that a volume is predicted in.

    Parameters
    ----------
    shape : sequence of 3 ints
        Volume (z, y, x). An axis shorter than the patch is taken as padded to it.
    patch : sequence of 3 ints
        Window (z, y, x).
    overlap : float
        Share of a window that the next one covers again, in [0, 1).

    Returns
    -------
    list of (z, y, x)
        Ordered by z, then y, then x.

    Raises
    ------
    InputError
        See :func:`axis_starts`.
    """
    z, y, x = (axis_starts(max(length, size), size, overlap) for length, size in zip(shape, patch, strict=True))
    return [(a, b, c) for a in z for b in y for c in x]


def gaussian(patch: Sequence[int], sigma: float = 0.125) -> NDArray[np.float32]:
    """How much each voxel of a window counts: a Gaussian around its centre, never below 0.001.

    Predictions are worse at the border of a window, where the network sees less around them (Isensee et al., nnU-Net,
    2021). The floor keeps a corner that only one window sees from vanishing in rounding.

    Parameters
    ----------
    patch : sequence of 3 ints
        Window (z, y, x).
    sigma : float
        Standard deviation as a share of the window, per axis.

    Returns
    -------
    array, float32, (z, y, x)
    """
    profile = np.ones(())
    for size in patch:
        steps = np.arange(size) - (size - 1) / 2
        profile = profile[..., np.newaxis] * np.exp(-(steps**2) / (2 * (sigma * size) ** 2))
    return np.asarray(np.maximum(profile, _FLOOR), dtype=np.float32)


def pad_to(image: NDArray[np.floating], patch: Sequence[int]) -> tuple[NDArray[np.floating], Triple]:
    """Repeat the border voxels where the last three axes are shorter than the window, half on each side.

    Patches for training are padded in the same way. A volume that is large enough is returned as it is, not copied.

    Parameters
    ----------
    image : array, (C, z, y, x)
    patch : sequence of 3 ints

    Returns
    -------
    padded : array, (C, z', y', x')
    before : (z, y, x)
        How many voxels were put in front of each axis.
    """
    missing = [max(0, size - length) for length, size in zip(image.shape[-3:], patch, strict=True)]
    before = (missing[0] // 2, missing[1] // 2, missing[2] // 2)
    if not any(missing):
        return image, before
    widths = [(0, 0)] * (image.ndim - 3) + [(b, m - b) for b, m in zip(before, missing, strict=True)]
    return np.pad(image, widths, mode="edge"), before
