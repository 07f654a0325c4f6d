"""DICOM series of CT, MR and PET: files into one volume, in HU or SUVbw where the modality has such a unit."""

from __future__ import annotations

import os
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dasl.errors import VolumeError
from napari_dasl.volumes.dicom_header import (
    DAMAGE,
    MODALITIES,
    WHAT,
    WITHOUT_PIXELS,
    Header,
    damaged,
    read_header,
    slices,
    transfer_syntax,
)
from napari_dasl.volumes.dicom_stack import Stack, stack
from napari_dasl.volumes.extras import pydicom, quiet, simpleitk
from napari_dasl.volumes.formats import kind_of
from napari_dasl.volumes.suv import suv_factor
from napari_dasl.volumes.volume import Unit, Volume, canonical_copy

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from napari_dasl.volumes.geometry import Geometry

    Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Series:
    """The headers of one series.

    Parameters
    ----------
    path : pathlib.Path
        The folder, or the only file.
    uid : str
        SeriesInstanceUID.
    headers : tuple of Header
        One per file.
    """

    path: Path
    uid: str
    headers: tuple[Header, ...]

    @property
    def modality(self) -> str | None:
        """The program's word for it, "PET" for DICOM's "PT"; None for anything but a scan."""
        return MODALITIES.get(self.headers[0].modality)

    def stack(self) -> Stack:
        """The slices in order, after all checks; see :func:`napari_dasl.volumes.dicom_stack.stack`."""
        headers = _without_localisers(self.headers)
        result = stack([plane for header in headers for plane in slices(header)], self.path)
        dropped = len(self.headers) - len(headers)
        notes = (f"{dropped} localiser images were left out.",) if dropped else ()
        return Stack(result.slices, result.geometry, notes + result.notes)


def read(path: Path, series_uid: str | None = None) -> Volume:
    """Read a DICOM series.

    Parameters
    ----------
    path : pathlib.Path
        A folder, searched with its subfolders, or one file, which is then read alone.
    series_uid : str, optional
        Which series, where the folder holds several.

    Returns
    -------
    Volume
        CT in HU (int16 where the slope is 1), PET in SUVbw (float32), MR as stored or rescaled.

    Raises
    ------
    VolumeError
        No series, several of them, or one that is not a complete, regular volume.
    """
    series = one_series(path, series_uid)
    ordered = series.stack()
    factor, notes, unit = None, ordered.notes, _unit(series.modality)
    if unit == "SUVbw":
        factor, more = suv_factor(series.headers, path)
        notes += more
    if any(header.dataset.get("PhotometricInterpretation") == "MONOCHROME1" for header in series.headers):
        notes += ("The series asks to be shown inverted (MONOCHROME1); its values are as stored.",)
    array = canonical_copy(_values(ordered, factor), ordered.geometry, path)
    return Volume(array, ordered.geometry, path, series.modality, unit, notes)


def read_geometry(path: Path, series_uid: str | None = None) -> Geometry:
    """The grid of a series, from its headers alone; parameters and errors as for :func:`read`."""
    return one_series(path, series_uid).stack().geometry


def one_series(path: Path, series_uid: str | None = None) -> Series:
    """The headers of the series that :func:`read` would read; parameters and errors as there."""
    if path.is_file():
        header = read_header(path)
        if series_uid is not None and header.series != series_uid:
            raise VolumeError(f"{path} does not belong to the series {series_uid}.", "Add the scan again.")
        return Series(path, header.series, (header,))
    headers, problems = read_headers(file for file in files_below(path) if kind_of(file) == "dicom")
    groups = by_series(headers)
    if series_uid is not None:
        if series_uid not in groups:
            raise VolumeError(f"{path} holds no DICOM series {series_uid}.", "Check whether its files were moved.")
        return Series(path, series_uid, tuple(groups[series_uid]))
    if problems:  # it may be one of the slices
        raise next(iter(problems.values()))
    scans = {uid: group for uid, group in groups.items() if group[0].modality in MODALITIES}
    scans = scans or {uid: group for uid, group in groups.items() if group[0].modality not in WITHOUT_PIXELS}
    if not scans:
        raise VolumeError(f"The folder {path} holds no DICOM series.", "Give the folder with the slices of one series.")
    if len(scans) > 1:
        names = ", ".join(sorted(describe(group[0]) for group in scans.values()))
        raise VolumeError(f"The folder {path} holds {len(scans)} DICOM series: {names}.", "Choose one of them.")
    uid, group = next(iter(scans.items()))
    return Series(path, uid, tuple(group))


def slice_files(path: Path, series_uid: str | None = None) -> tuple[Path, ...]:
    """The files of a series in the order of the native slice axis; parameters and errors as for :func:`read`.

    A multi-frame file comes once per frame.
    """
    return tuple(one.path for one in one_series(path, series_uid).stack().slices)


def read_headers(paths: Iterable[Path]) -> tuple[list[Header], dict[Path, VolumeError]]:
    """The headers of files, and the errors of those that could not be read."""
    headers, problems = [], {}
    for path in paths:
        try:
            headers.append(read_header(path))
        except VolumeError as error:
            problems[path] = error
    return headers, problems


def by_series(headers: Sequence[Header]) -> dict[str, list[Header]]:
    """Headers grouped by SeriesInstanceUID, in the order found."""
    groups: dict[str, list[Header]] = defaultdict(list)
    for header in headers:
        groups[header.series].append(header)
    return dict(groups)


def describe(header: Header) -> str:
    """A series in a few words: modality, number, description."""
    number, words = header.dataset.get("SeriesNumber"), header.dataset.get("SeriesDescription")
    return " ".join(str(part) for part in (header.modality or "?", number, words) if part not in (None, ""))


def files_below(folder: Path) -> Iterator[Path]:
    """All files in a folder and its subfolders, in order, without hidden ones; links are followed, not in circles."""
    seen = set()
    for root, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(root, name)


def _unit(modality: str | None) -> Unit:
    return "HU" if modality == "CT" else "SUVbw" if modality == "PET" else ""


def _without_localisers(headers: tuple[Header, ...]) -> tuple[Header, ...]:
    """Scanners put the overview pictures that a scan was planned on into its series."""
    kept = tuple(h for h in headers if "LOCALIZER" not in (h.dataset.get("ImageType") or ()))
    return kept or headers


# -- pixels ------------------------------------------------------------------------------------------------------------


def _values(ordered: Stack, factor: float | None) -> Array:
    """The rescaled values in native order (column, row, slice): integers where the rescaling keeps them whole.

    A factor (PET's, to SUV) makes them float32.
    """
    planes = _stored(ordered)
    whole = factor is None and all(plane.slope == 1 and plane.intercept.is_integer() for plane in ordered.slices)
    if whole and not any(plane.intercept for plane in ordered.slices):
        return np.stack(planes).transpose(2, 1, 0)
    if whole:
        low = min(int(values.min()) + int(s.intercept) for values, s in zip(planes, ordered.slices, strict=True))
        high = max(int(values.max()) + int(s.intercept) for values, s in zip(planes, ordered.slices, strict=True))
        dtype = np.dtype(np.int16 if low >= -(2**15) and high < 2**15 else np.int32)
    else:
        dtype = np.dtype(np.float32)
    out = np.empty((len(planes), *planes[0].shape), dtype)
    for n, plane in enumerate(ordered.slices):
        # Wide arithmetic plane by plane, so that no product is rounded before it is stored.
        if whole:
            out[n] = planes[n].astype(np.int64) + int(plane.intercept)
        else:
            out[n] = (planes[n].astype(np.float64) * plane.slope + plane.intercept) * (factor or 1)
        planes[n] = out[n]  # frees the stored plane
    return out.transpose(2, 1, 0)


def _stored(ordered: Stack) -> list[Array]:
    """The stored pixels of every slice, in order; a multi-frame file is decoded once."""
    frames: dict[Path, Array] = {}
    planes = []
    counts: dict[Path, int] = defaultdict(int)
    for plane in ordered.slices:
        counts[plane.path] += 1
    with tempfile.TemporaryDirectory(prefix="dasl-dicom-") as folder:
        for plane in ordered.slices:
            if plane.path not in frames:
                frames[plane.path] = _decode(plane.path, Path(folder)).reshape(-1, *plane.size)
            planes.append(frames[plane.path][plane.frame])
            counts[plane.path] -= 1
            if not counts[plane.path]:
                del frames[plane.path]
    return planes


def _decode(path: Path, folder: Path) -> Array:
    """The stored pixels of one file, without any rescaling: pydicom where no codec is needed, SimpleITK where one is.

    The choice does not depend on what else is installed, so that a series has the same values on every machine.
    """
    module = pydicom(WHAT)
    try:
        with quiet():
            dataset = module.dcmread(path, force=True)
            syntax = transfer_syntax(dataset)
            if syntax.is_compressed and not syntax.is_deflated and syntax != module.uid.RLELossless:
                return _decode_with_itk(dataset, syntax, folder)
            if "TransferSyntaxUID" not in getattr(dataset, "file_meta", {}):
                dataset.ensure_file_meta()
                dataset.file_meta.TransferSyntaxUID = syntax
            return np.asarray(dataset.pixel_array)
    except (module.errors.InvalidDicomError, RuntimeError, *DAMAGE) as error:
        raise damaged(path, error) from error


def _decode_with_itk(dataset: Any, syntax: Any, folder: Path) -> Array:
    """Decompress through SimpleITK's codecs (JPEG, JPEG-LS, JPEG 2000).

    ITK rescales some kinds of image and not others, so it is given a copy that asks for no rescaling.
    """
    sitk = simpleitk(f"DICOM files in {syntax.name}")
    for name in (
        "RescaleSlope",
        "RescaleIntercept",
        "SharedFunctionalGroupsSequence",
        "PerFrameFunctionalGroupsSequence",
    ):
        if name in dataset:
            delattr(dataset, name)
    plain = folder / "plain.dcm"
    dataset.save_as(plain)
    return np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(str(plain))))
