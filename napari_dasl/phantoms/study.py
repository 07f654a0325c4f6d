"""A folder of phantoms, as a hospital would hand it over: images, labels, and a table of the truth."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np

from napari_dasl.errors import InputError, StorageError
from napari_dasl.phantoms.phantom import Phantom, make

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_ORDER = 7
"""Keeps the stream that shuffles a study's difficulties apart from those that draw its cases."""


@dataclass(frozen=True)
class StudyCase:
    """One case of a written study.

    Attributes
    ----------
    case : str
        Its id: the stem of both files.
    image, label : Path
    difficulty : float
        0 (easy) to 1 (hard).
    notes : str
        What was put in, in words.
    """

    case: str
    image: Path
    label: Path
    difficulty: float
    notes: str


def phantoms(kind: str, n: int, seed: int = 0, *, size: str = "standard") -> Iterator[tuple[str, Phantom]]:
    """The cases of a study one by one, as (id, phantom); difficulties are spread evenly over 0 … 1 and shuffled."""
    if n < 1:
        raise InputError(f"A study of {n} cases is empty.", "Ask for at least one case.")
    graded = np.linspace(0.0, 1.0, n) if n > 1 else np.array([0.5])
    shuffled = np.random.default_rng([_ORDER, seed]).permutation(graded)
    for number, difficulty in enumerate(shuffled):
        yield f"{kind}-{number + 1:03d}", make(kind, (seed, number), float(difficulty), size=size)


def write_study(folder: Path | str, kind: str, n: int, seed: int = 0, *, size: str = "standard") -> list[StudyCase]:
    """Write a study: ``images/<case>.nii.gz``, ``labels/<case>.nii.gz`` and ``truth.csv``.

    Parameters
    ----------
    folder : path
        Made if it is not there; files of the same names are replaced.
    kind : str
        "ct", "pet" or "mr".
    n : int
        Number of cases, graded evenly from easy to hard in shuffled order.
    seed : int
        Same seed, same voxels.
    size : str
        As in `napari_dasl.phantoms.make`.

    Returns
    -------
    list of StudyCase
        In the order of their ids.

    Raises
    ------
    InputError
        Unknown kind or size, or fewer than one case.
    StorageError
        The folder cannot be written.
    """
    root = Path(folder)
    written: list[StudyCase] = []
    rows: list[dict[str, str]] = []
    try:
        for name in ("images", "labels"):
            (root / name).mkdir(parents=True, exist_ok=True)
        for case, phantom in phantoms(kind, n, seed, size=size):
            image, label = root / "images" / f"{case}.nii.gz", root / "labels" / f"{case}.nii.gz"
            _write_nifti(image, phantom.image, phantom.spacing)
            _write_nifti(label, phantom.label, phantom.spacing)
            written.append(StudyCase(case, image, label, phantom.difficulty, phantom.notes))
            volume_ml = float(np.count_nonzero(phantom.label)) * float(np.prod(phantom.spacing)) / 1000.0
            rows.append(
                {
                    "case": case,
                    "difficulty": f"{phantom.difficulty:.4f}",
                    "volume_ml": f"{volume_ml:.3f}",
                    "notes": phantom.notes,
                }
            )
        with (root / "truth.csv").open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, ["case", "difficulty", "volume_ml", "notes"], lineterminator="\n")
            table.writeheader()
            table.writerows(rows)
    except OSError as error:
        raise StorageError(
            f"The study cannot be written to {root}: {error.strerror or error}.", "Choose a folder with room to write."
        ) from error
    return written


def _write_nifti(path: Path, array: NDArray[Any], spacing: tuple[float, float, float]) -> None:
    """Write a (z, y, x) array that grows to inferior, posterior and left: stored as x, y, z with axis codes L, P, I."""
    native = np.transpose(array, (2, 1, 0))
    steps = -np.array(spacing[::-1])
    # Index -> RAS mm: all three axes run against R, A and S; the centre of the volume is the origin.
    affine = np.diag([*steps, 1.0])
    affine[:3, 3] = -steps * (np.array(native.shape) - 1) / 2.0
    image = nibabel.Nifti1Image(native, affine)
    image.header.set_xyzt_units("mm")
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    nibabel.save(image, path)
