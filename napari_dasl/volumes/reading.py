"""Any scan, whatever its format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_dasl.errors import DaslError, VolumeError
from napari_dasl.volumes import dicom, itk, nifti
from napari_dasl.volumes.formats import READABLE, Kind, foreign_format, kind_of

if TYPE_CHECKING:
    from napari_dasl.volumes.geometry import Geometry
    from napari_dasl.volumes.volume import Volume


def read(path: Path | str, *, series_uid: str | None = None) -> Volume:
    """Read a scan.

    Parameters
    ----------
    path : pathlib.Path or str
        A NIfTI (``.nii``, ``.nii.gz``, ``.hdr`` + ``.img``), NRRD (``.nrrd``, ``.nhdr``), MetaImage (``.mha``,
        ``.mhd``) or DICOM file, or a folder with a DICOM series.
    series_uid : str, optional
        Which series, where a folder holds several.

    Returns
    -------
    Volume
        The voxels in (z, y, x), and where they lie.

    Raises
    ------
    VolumeError
        The scan cannot be read, or is not what it claims to be.
    """
    path = Path(path)
    kind = _kind(path)
    if kind == "dicom":
        return dicom.read(path, series_uid)
    return nifti.read(path) if kind == "nifti" else itk.read(path)


def read_geometry(path: Path | str, *, series_uid: str | None = None) -> Geometry:
    """Read where the voxels of a scan lie, from its headers alone; parameters and errors as for :func:`read`."""
    path = Path(path)
    kind = _kind(path)
    if kind == "dicom":
        return dicom.read_geometry(path, series_uid)
    return nifti.read_head(path).geometry if kind == "nifti" else itk.read_geometry(path)


def verify(path: Path | str, *, series_uid: str | None = None) -> str:
    """Read a scan to its last byte and say what is wrong with it.

    Parameters
    ----------
    path, series_uid
        As for :func:`read`.

    Returns
    -------
    str
        "" where the scan can be read; else the reason and what to do, in words.
    """
    try:
        read(path, series_uid=series_uid)
    except DaslError as error:
        return str(error)
    return ""


def _kind(path: Path) -> Kind:
    """The format of a path that exists."""
    if path.is_dir():
        return "dicom"
    if not path.exists():
        raise VolumeError(f"{path} does not exist.", "Check whether the scan was moved or its disk is missing.")
    kind = kind_of(path)
    if kind is None:
        foreign = foreign_format(path)
        what = f"is a {foreign} file, which is not supported" if foreign else "is in no format that is known here"
        raise VolumeError(f"{path} {what}.", f"Convert it to NIfTI; {READABLE} can be read.")
    return kind
