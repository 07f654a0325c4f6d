"""The simulated annotator: answers with the truth, or carelessly where the simulation says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from napari_dasl.active.strategies import chance
from napari_dasl.rounds.simulation.spec import AUTHOR, Careless

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_dasl.project import Project

    Mask = NDArray[np.uint8] | NDArray[np.uint16]

Mistake = Literal["", "shifted", "missing", "swapped"]


def answer(
    project: Project,
    case: str,
    truth: Mapping[str, Path],
    *,
    query: int,
    seed: int,
    careless: Careless | None = None,
) -> tuple[int, Mistake]:
    """Record the truth of a case as its human label, and say how large it is and what is wrong with it.

    Parameters
    ----------
    project : Project
        Of the run; never the annotator's own.
    case : str
    truth : mapping
        Case id to mask file.
    query : int
        0 for the initial labels, then 1, 2, ….
    seed : int
        Of the run.
    careless : Careless, optional

    Returns
    -------
    (int, str)
        Foreground voxels recorded, and the mistake ("" for none).
    """
    found = project.case(case)
    mask = project.read_label_file(truth[case], found.geometry)
    mistake: Mistake = "" if careless is None or query < careless.since else mistake_of(case, seed, careless)
    if careless is not None and mistake:
        mask = spoilt(mask, mistake, careless.voxels, len(project.config.classes))
    project.record_label(case, mask, author=AUTHOR)
    return int(np.count_nonzero(mask)), mistake


def mistake_of(case: str, seed: int, careless: Careless) -> Mistake:
    """Draw what goes wrong with a case, by the seed and its id alone."""
    lot = chance(f"careless {case}", seed)
    for kind, share in (("shifted", careless.shifted), ("missing", careless.missing), ("swapped", careless.swapped)):
        if lot < share:
            return kind  # type: ignore[return-value]
        lot -= share
    return ""


def spoilt(mask: Mask, mistake: Mistake, voxels: int, classes: int) -> Mask:
    """Return a label with the mistake in it, on the same grid.

    Parameters
    ----------
    mask : (z, y, x)
    mistake : {"shifted", "missing", "swapped"}
        Moved by *voxels* towards the high end of every axis, what leaves the scan being lost; empty; or every class
        under the next one's number. With a single class, swapping is taking the other eraser: foreground and background
        change places.
    voxels : int
    classes : int
        Without the background.
    """
    if mistake == "missing":
        return np.zeros_like(mask)
    if mistake == "swapped":
        if classes == 1:
            return cast("Mask", (mask == 0).astype(mask.dtype))
        return cast("Mask", np.where(mask > 0, mask % classes + 1, 0).astype(mask.dtype))
    moved = np.zeros_like(mask)
    by = [min(voxels, n - 1) for n in mask.shape]
    into = tuple(slice(b, None) for b in by)
    out_of = tuple(slice(None, n - b) for n, b in zip(mask.shape, by, strict=True))
    moved[into] = mask[out_of]
    return moved
