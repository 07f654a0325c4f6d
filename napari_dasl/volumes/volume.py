"""A scan in memory, and the small rules that every format shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_dasl.errors import VolumeError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_dasl.volumes.geometry import Geometry

    Array = NDArray[Any]

Unit = Literal["HU", "SUVbw", ""]

NOT_NUMBERS = "are not numbers (NaN or infinite)"
"""The words of the note about such voxels."""


@dataclass(frozen=True, eq=False)
class Volume:
    """One scan.

    Parameters
    ----------
    array : array, shape (z, y, x)
        C-contiguous, in this machine's byte order, and in the type that the file stores; float32 where the file asks
        for a slope and an intercept, and for PET in SUV.
    geometry : Geometry
        Where the voxels lie.
    path : pathlib.Path
        The file, or the folder of the DICOM series.
    modality : str or None
        "CT", "MR" or "PET" where the file says so.
    unit : {"HU", "SUVbw", ""}
        What the values mean, where the file says so.
    notes : tuple of str
        Sentences the reader of this scan should know.
    """

    array: Array
    geometry: Geometry
    path: Path
    modality: str | None = None
    unit: Unit = ""
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels (z, y, x)."""
        return self.geometry.canonical_shape

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size (z, y, x) in mm."""
        return self.geometry.spacing


def scan_type(dtype: np.dtype[Any], where: Path | str) -> np.dtype[Any]:
    """The type that voxels of a stored type are kept in.

    8, 16 and 32 bit types stay. float64 becomes float32, because no scanner measures to more than seven digits; 64 bit
    integers are decided by their values (:func:`canonical_copy`).

    Parameters
    ----------
    dtype : numpy.dtype
        As stored, in any byte order.
    where : pathlib.Path or str
        The file, for the message.

    Returns
    -------
    numpy.dtype
        In this machine's byte order.

    Raises
    ------
    VolumeError
        Colours, complex numbers, or anything else that is not one number per voxel.
    """
    if dtype.kind not in "uifb" or dtype.itemsize > 8:
        kind = "complex numbers" if dtype.kind == "c" else "colours" if dtype.fields else f"{dtype} values"
        raise VolumeError(
            f"{where} holds {kind}, not one plain number per voxel.",
            "Export it as a scan with one grey value per voxel.",
        )
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    return np.dtype(np.float32) if dtype.kind == "f" else dtype.newbyteorder("=")


def canonical_copy(native: Array, geometry: Geometry, where: Path | str) -> Array:
    """Stored voxels as a contiguous (z, y, x) array of the type that the program keeps.

    Parameters
    ----------
    native : array, shape (i, j, k)
        As stored; may be a memory map or a view into a buffer.
    geometry : Geometry
        The grid of `native`.
    where : pathlib.Path or str
        The file, for messages.

    Returns
    -------
    array, shape (z, y, x)
        A fresh, writable copy.
    """
    target = scan_type(native.dtype, where)
    view = geometry.to_canonical(native)
    if target.itemsize == 8 or target == np.uint32:
        target = _narrow(view)
    with np.errstate(over="ignore", invalid="ignore"):  # a float64 beyond float32 becomes inf and is reported as such
        return np.array(view, dtype=target, order="C")


def _narrow(array: Array) -> np.dtype[Any]:
    """The smallest type for wide integers: int32 holds every scanner's, float32 the rest to seven digits."""
    limits = np.iinfo(np.int32)
    fits = int(array.min()) >= limits.min and int(array.max()) <= limits.max
    return np.dtype(np.int32 if fits else np.float32)


def without_nonfinite(array: Array) -> tuple[Array, tuple[str, ...]]:
    """Replace NaN and infinite voxels by 0, in place, and say so.

    Parameters
    ----------
    array : array
        Any type; only floating types can hold such values.

    Returns
    -------
    array, tuple of str
        The same array, and one note or none.
    """
    if array.dtype.kind != "f":
        return array, ()
    finite = np.isfinite(array)
    bad = array.size - int(np.count_nonzero(finite))
    if not bad:
        return array, ()
    array[~finite] = 0
    return array, (f"{bad} of {array.size} voxels {NOT_NUMBERS} and are shown as 0.",)
