"""One case as training sees it: where its image and label come from, and which content they have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

Spacing = tuple[float, float, float]
Shape = tuple[int, int, int]
Box6 = tuple[float, float, float, float, float, float]
"""Corners (z0, y0, x0, z1, y1, x1) in millimetres, where voxel (i, j, k) is centred on (i·sz, j·sy, k·sx)."""


@dataclass(frozen=True)
class CaseData:
    """A case to learn from, or to predict.

    The arrays are read only when they are needed, so that a list of a thousand cases costs no memory.

    Parameters
    ----------
    id : str
        The case's name, as the project knows it.
    image : callable
        Returns the image, (C, z, y, x) float32, in stored units (HU, SUV, or the scanner's own for MR).
    spacing : tuple of float
        Voxel size (sz, sy, sx) in millimetres.
    label : callable
        Returns the label map, (z, y, x), 0 background and ``k`` the k-th class, or None where there is none. With
        *instances* its values number the lesions of the one class instead.
    key : str
        A hash of the image's content; the cache is keyed by it.
    weight : float
        Multiplies the loss of every patch of this case. A case of weight 0 is not sampled.
    label_key : str
        A hash of the label's content, so that a corrected label does not prepare the image again.
    human : bool
        A person drew or confirmed the label; False for a pseudo-label, which gets its own part of the batches only.
    instances : bool
        The label map numbers lesions, and all of them are of the first class.
    negatives : tuple of Box6
        Findings that a person rejected. A detector is shown these places as background; where there is no label, it
        learns from these places alone.
    """

    id: str
    image: Callable[[], NDArray[np.float32]]
    spacing: Spacing
    label: Callable[[], NDArray[Any] | None]
    key: str
    weight: float = 1.0
    label_key: str = ""
    human: bool = True
    instances: bool = False
    negatives: tuple[Box6, ...] = ()
