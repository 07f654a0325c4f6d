"""What can be measured on a label, or on a prediction in its place: size, contrast, signal, agreement. No torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dasl.active import region_mask
from napari_dasl.curriculum.difficulty import (
    find_scorer,
    fisher_contrast,
    lesion_size,
    reader_agreement,
    signal_intensity,
)
from napari_dasl.curriculum.stages import lesion_mask
from napari_dasl.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

LABEL_SCORERS = ("size", "contrast", "intensity", "agreement")
"""The scorers that need no network."""

OF_THE_SCAN = frozenset({"contrast", "intensity"})
"""Those of them that look at the scan, too."""


def label_scores(
    scorer: str,
    image: NDArray[Any] | None,
    label: NDArray[Any],
    spacing: Sequence[float],
    readers: Sequence[NDArray[Any]] = (),
    *,
    body: NDArray[Any] | None = None,
    lesions: Sequence[int] = (),
) -> float:
    """One measure of one case; see :func:`measure_label` for several.

    Parameters
    ----------
    scorer : str
        One of :data:`LABEL_SCORERS`.
    image, label, spacing, readers, body, lesions
        See :func:`measure_label`.

    Returns
    -------
    float
        In the unit of the scorer; NaN where there is nothing to measure.
    """
    return measure_label((scorer,), image, label, spacing, readers, body=body, lesions=lesions)[scorer]


def measure_label(
    scorers: Iterable[str],
    image: NDArray[Any] | None,
    label: NDArray[Any],
    spacing: Sequence[float],
    readers: Sequence[NDArray[Any]] = (),
    *,
    body: NDArray[Any] | None = None,
    lesions: Sequence[int] = (),
) -> dict[str, float]:
    """Measures of one case, each in its own unit.

    A case of one slice, (1, y, x), is measured as a slice: its size is an area in mm², as in Moreau et al. (ISBI
    2023), whatever the distance to the slices that are not there.

    Parameters
    ----------
    scorers : iterable of str
        Of :data:`LABEL_SCORERS`.
    image : array (C, z, y, x) or (z, y, x), or None
        The scan; of several channels the first, on which labels are drawn, is measured. None will do where none of
        :data:`OF_THE_SCAN` is asked for.
    label : array (z, y, x)
        It may number classes or lesions.
    spacing : sequence of 3 floats
        Voxel size (z, y, x) in mm.
    readers : sequence of arrays (z, y, x)
        What each reader drew, for the agreement; with fewer than two of them it is not known.
    body : array (z, y, x), optional
        Where healthy tissue may lie, for the contrast; found in the image (:func:`napari_dasl.active.region_mask`)
        where it is not given, so that the air beside a patient is no tissue.
    lesions : sequence of int
        Values of the label, and of the readers', that are lesion; everything above 0 where it is empty.

    Returns
    -------
    dict
        By scorer; NaN where there is nothing to measure, such as no lesion.

    Raises
    ------
    InputError
        When a scorer needs a network, is none at all, or needs the scan and there is none; or shapes do not fit.
    """
    asked = tuple(scorers)
    for scorer in asked:
        if find_scorer(scorer).name not in LABEL_SCORERS:
            raise InputError(
                f"The difficulty {scorer!r} is not measured on a label.", f"Choose one of {', '.join(LABEL_SCORERS)}."
            )
    if label.ndim != 3:
        raise InputError(f"A label of {label.ndim} axes was given.", "Give a volume (z, y, x), or one slice (1, y, x).")
    scan = None if image is None else (image[0] if image.ndim == 4 else image)
    if scan is None and OF_THE_SCAN & set(asked):
        raise InputError("Contrast and signal are measured on the scan, and there is none.", "Give the image.")
    if scan is not None and scan.shape != label.shape:
        raise InputError(
            f"The label has the shape {label.shape}, and its scan {scan.shape}.", "Give both on the grid of the scan."
        )
    if lesions:
        label = lesion_mask(label, lesions)
        readers = [lesion_mask(one, lesions) for one in readers]
    if "contrast" in asked and body is None and np.any(label > 0):
        body = region_mask((label > 0).astype(np.float32), scan, "body", spacing)
    if label.shape[0] == 1:
        label, spacing = label[0], tuple(spacing)[1:]
        scan, body = (None if one is None else one[0] for one in (scan, body))
    found = {}
    for scorer in asked:
        if scorer == "size":
            found[scorer] = lesion_size(label, spacing)
        elif scorer == "agreement":
            found[scorer] = reader_agreement(readers)
        elif scan is not None and scorer == "contrast":
            found[scorer] = fisher_contrast(scan, label, spacing, body=body)
        elif scan is not None:
            found[scorer] = signal_intensity(scan, label)
    return found
