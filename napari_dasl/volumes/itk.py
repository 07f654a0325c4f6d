"""NRRD and MetaImage files, through SimpleITK; and where ITK's LPS millimetres meet nibabel's RAS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dasl.errors import StorageError, VolumeError
from napari_dasl.volumes.extras import simpleitk
from napari_dasl.volumes.geometry import Geometry
from napari_dasl.volumes.volume import Volume, canonical_copy, without_nonfinite

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Array = NDArray[Any]

_WHAT = "NRRD and MetaImage files"
_LPS_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read(path: Path) -> Volume:
    """Read a ``.nrrd``, ``.nhdr``, ``.mha`` or ``.mhd`` file.

    Parameters
    ----------
    path : pathlib.Path
        The file; detached voxel files are found by ITK.

    Returns
    -------
    Volume
        In the stored type.

    Raises
    ------
    VolumeError
        Not readable, not three-dimensional, several values per voxel, or SimpleITK is missing.
    """
    sitk = simpleitk(_WHAT)
    geometry = read_geometry(path)
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise _unreadable(path, error) from error
    voxels = sitk.GetArrayViewFromImage(image)  # (k, j, i), behind it a time axis of length one perhaps
    array = canonical_copy(voxels.reshape(geometry.shape[::-1]).transpose(), geometry, path)
    array, notes = without_nonfinite(array)
    return Volume(array, geometry, path, notes=notes)


def read_geometry(path: Path) -> Geometry:
    """Read the header alone.

    Parameters
    ----------
    path : pathlib.Path
        As for :func:`read`.

    Raises
    ------
    VolumeError
        As for :func:`read`.
    """
    sitk = simpleitk(_WHAT)
    if not path.is_file():
        raise VolumeError(f"{path} does not exist.", "Check the path.")
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise _unreadable(path, error) from error
    if reader.GetNumberOfComponents() != 1:
        raise VolumeError(
            f"{path} holds {reader.GetNumberOfComponents()} values per voxel (colours or vectors), not one.",
            "Export it as a scan with one grey value per voxel.",
        )
    dimension, size = reader.GetDimension(), tuple(reader.GetSize())
    if dimension not in (2, 3) and set(size[3:]) != {1}:
        raise VolumeError(
            f"{path} has {dimension} dimensions ({' × '.join(map(str, size))}): several volumes in one file.",
            "Split it and give each volume its own file.",
        )
    direction = np.array(reader.GetDirection()).reshape(dimension, dimension)
    try:
        return Geometry(*_as_three(size, direction, np.array(reader.GetSpacing()), np.array(reader.GetOrigin())))
    except VolumeError as error:
        raise VolumeError(f"{path}: {error.message}", error.hint) from error


def _as_three(
    size: tuple[int, ...], direction: Array, spacing: Array, origin: Array
) -> tuple[tuple[int, int, int], NDArray[np.float64]]:
    """Shape and RAS affine of an ITK grid of two, three or more dimensions (those behind the third are dropped)."""
    n = min(len(size), 3)
    affine = np.eye(4)
    affine[:n, :n] = direction[:n, :n] * spacing[:n]
    affine[:n, 3] = origin[:n]
    i, j, k = (*size[:n], 1)[:3]
    return (i, j, k), _LPS_RAS @ affine


def write(path: Path, native: Array, geometry: Geometry, target: Path) -> None:
    """Write an array to a file in the format that the suffix of `path` names.

    Parameters
    ----------
    path : pathlib.Path
        The file to write, now.
    native : array, shape (i, j, k)
        The voxels.
    geometry : Geometry
        Their grid.
    target : pathlib.Path
        The name that the file will have in the end, for messages.

    Raises
    ------
    VolumeError
        SimpleITK is missing.
    StorageError
        The file could not be written.
    """
    sitk = simpleitk(_WHAT)
    affine = _LPS_RAS @ geometry.affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image = sitk.GetImageFromArray(np.ascontiguousarray(native.transpose()))
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    try:
        sitk.WriteImage(image, str(path), useCompression=True)
    except RuntimeError as error:
        raise StorageError(
            f"{target} could not be written: {_last_line(error)}", "Check the disk and its space."
        ) from error


def _unreadable(path: Path, error: RuntimeError) -> VolumeError:
    reason = _last_line(error)
    if "Unable to determine ImageIO" in reason:
        return VolumeError(
            f"{path} is not a {path.suffix} file: it does not begin like one.", "Replace it by the scan."
        )
    if "No such file" in reason:  # what ITK says when MetaImage voxels end too early
        reason = "its voxels are missing or end too early."
    return VolumeError(f"{path} cannot be read: {reason}", "It may be cut short; export or copy it again.")


def _last_line(error: RuntimeError) -> str:
    """ITK's own reason, without its file names and line numbers."""
    text = str(error).strip().splitlines()[-1]
    return text.split("): ")[-1].split("ERROR: ")[-1].rstrip(".") + "."
