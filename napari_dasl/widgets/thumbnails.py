"""Small pictures of cases: a maximum-intensity projection of PET, the slice through the lesion's middle of CT and MR.

The label's outline is drawn solid, that of a prediction dotted. No Qt here: pictures are made on another thread, and
kept in ``cache/thumbnails`` of the project, which may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import logging
import os
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_dasl import volumes
from napari_dasl.errors import DaslError
from napari_dasl.widgets.display_cache import read_picture, scan_key
from napari_dasl.widgets.windowing import Windowing

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_dasl.project import Case, Project

log = logging.getLogger(__name__)

SIDE = 112
"""Pixels; twice what the list shows, for screens with fine pixels."""
_FORMAT = 2
_LINE = 2
_LABEL, _PREDICTION = (240, 228, 66), (86, 180, 233)  # Okabe and Ito's yellow and sky blue
_ROOM = 3.0
_LEAST_MM = 70.0
Kind = Literal["label", "prediction", ""]


def read_thumbnail(project: Project, case: Case, *, blind: bool = False) -> NDArray[np.uint8] | None:
    """Return the picture of *case*, from the disk where it is fresh; None where the scan cannot be read.

    Parameters
    ----------
    blind : bool
        Whether a prediction must not be seen: only a label is outlined.

    Returns
    -------
    array (rows, columns, 3) uint8 or None
    """
    key = scan_key(case)
    if key is None or not case.readable:
        return None
    revisions = project.labels(case.id) if case.labelled else []
    model = project.active_model() if not revisions and not blind else None
    kind: Kind = "label" if revisions else "prediction" if model is not None else ""
    name = str(revisions[-1].number) if revisions else model.id if model is not None else ""
    made = f"{_FORMAT} {SIDE} {key} {kind} {name} {project.config.modality}"
    path = project.folder / "cache" / "thumbnails" / case.id / f"{hashlib.sha256(made.encode()).hexdigest()[:24]}.npy"
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        pass
    try:
        mask = _mask(project, case, kind)
        picture = read_picture(project, case, keep=False)
    except DaslError as error:
        log.info("no picture of %s: %s", case.id, error)
        return None
    channel = picture.channels[0]
    if mask is not None and picture.oblique:
        mask = volumes.to_straight(mask, case.geometry, order=0)
    limits = Windowing().limits(channel)
    found = draw(
        channel.array, mask, channel.spacing, limits, projection=channel.modality == "PET", dotted=kind != "label"
    )
    try:
        _store(path, found)
    except OSError as error:  # full or read-only disk: slower next time, nothing else
        log.info("picture of %s not kept: %s", case.id, error)
    return found


def draw(
    array: NDArray[Any],
    mask: NDArray[Any] | None,
    spacing: tuple[float, float, float],
    limits: tuple[float, float],
    *,
    projection: bool,
    dotted: bool = False,
    side: int = SIDE,
) -> NDArray[np.uint8]:
    """Draw a case in a square of at most *side* pixels.

    Parameters
    ----------
    array, mask : (z, y, x) array
        Scan and label map (0 is background) in the window's orientation: z to inferior, y to posterior, x to patient
        left. Without a mask, or an empty one, the middle slice is shown whole.
    spacing : (float, float, float)
        Voxel size in mm.
    limits : (float, float)
        What is black and what is white; the other way round in a projection, as PET is read.
    projection : bool
        A coronal maximum-intensity projection instead of an axial slice.
    dotted : bool
        Whether the outline is dotted, in another colour.

    Returns
    -------
    array (rows, columns, 3) uint8
    """
    lesion = None if mask is None or not mask.any() else np.asarray(mask) > 0
    if projection:
        plane = array.max(axis=1)
        outline = None if lesion is None else lesion.any(axis=1)
        steps = (spacing[0], spacing[2])
    else:
        z = array.shape[0] // 2 if lesion is None else middle_slice(lesion)
        plane = array[z]
        outline = None if lesion is None else lesion[z]
        steps = (spacing[1], spacing[2])
    box = (slice(None), slice(None)) if projection or outline is None else _around(outline, steps)
    rows, columns = _resampled(plane[box].shape, steps, side)
    low, high = limits
    grey = np.clip((plane[box].astype(np.float32)[np.ix_(rows, columns)] - low) / max(high - low, 1e-6), 0, 1)
    shade = (255 * (1 - grey if projection else grey)).astype(np.uint8)
    found = np.repeat(shade[..., None], 3, axis=2)
    if outline is not None:
        edge = _edge(outline[box][np.ix_(rows, columns)])
        if dotted:
            i, j = np.indices(edge.shape)
            edge &= (i + j) // 5 % 2 == 0
        found[edge] = _PREDICTION if dotted else _LABEL
    return found


def middle_slice(lesion: NDArray[np.bool_]) -> int:
    """Return the axial slice that has half of the lesion above it, or the nearest one that shows some of it."""
    area = lesion.sum(axis=(1, 2))
    at = int(np.searchsorted(np.cumsum(area), area.sum() / 2))
    shown = np.flatnonzero(area)
    return int(shown[np.argmin(np.abs(shown - at))])


def _mask(project: Project, case: Case, kind: Kind) -> NDArray[Any] | None:
    if kind == "label":
        return project.read_label(case.id)
    prediction = project.prediction(case.id) if kind == "prediction" else None
    return prediction.label() if prediction is not None else None


def _around(outline: NDArray[np.bool_], steps: tuple[float, float]) -> tuple[slice, slice]:
    """Return a square (in mm) round the lesion, so that a small one can be seen and its surroundings too."""
    places = [np.flatnonzero(outline.any(axis=1 - axis)) for axis in range(2)]
    extent = [(int(one[-1]) + 1 - int(one[0])) * step for one, step in zip(places, steps, strict=True)]
    half = max(_LEAST_MM, _ROOM * max(extent)) / 2
    box = []
    for one, step, size in zip(places, steps, outline.shape, strict=True):
        reach = round(half / step)
        centre = (int(one[0]) + int(one[-1]) + 1) // 2
        first = max(0, min(centre - reach, size - 2 * reach))
        box.append(slice(first, min(size, first + 2 * reach)))
    return box[0], box[1]


def _resampled(
    shape: tuple[int, ...], steps: tuple[float, float], side: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return which rows and columns make a picture with square pixels that fits *side*."""
    extent = [size * step for size, step in zip(shape, steps, strict=True)]
    pixel = max(extent) / side
    chosen = []
    for size, length in zip(shape, extent, strict=True):
        count = max(1, round(length / pixel))
        chosen.append(((np.arange(count) + 0.5) * size / count).astype(np.intp))
    return chosen[0], chosen[1]


def _edge(outline: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels just outside the lesion, so that a small one stays visible inside."""
    near = outline
    for _ in range(_LINE):
        wide = np.pad(near, 1)
        near = near | wide[:-2, 1:-1] | wide[2:, 1:-1] | wide[1:-1, :-2] | wide[1:-1, 2:]
    return near & ~outline


def _store(path: Path, picture: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        np.save(file, picture)
    for older in path.parent.glob("*.npy"):
        older.unlink(missing_ok=True)
    temporary.replace(path)
