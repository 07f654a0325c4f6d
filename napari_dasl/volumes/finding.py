"""The scans in a folder, found by reading headers only."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_dasl.errors import VolumeError
from napari_dasl.volumes import dicom, itk, nifti
from napari_dasl.volumes.dicom_header import MODALITIES, WITHOUT_PIXELS, Header
from napari_dasl.volumes.formats import READABLE, Kind, as_id, foreign_format, kind_of, stem

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class Found:
    """One scan, or one file that should be a scan and is not.

    Parameters
    ----------
    path : pathlib.Path
        What to give to :func:`napari_dasl.volumes.read`: the file, or the folder of a DICOM series.
    name : str
        A name that a case id can be made of. Not unique: ``patient1/ct.nii.gz`` and ``patient2/ct.nii.gz`` are both
        ``ct``.
    kind : {"nifti", "nrrd", "meta", "dicom"} or ""
        The format; "" for a scan in a format that is not supported.
    modality : str or None
        "CT", "MR" or "PET" where the file says so.
    shape : tuple of int or None
        Number of voxels (z, y, x).
    spacing : tuple of float or None
        Voxel size (z, y, x) in mm.
    series_uid : str or None
        SeriesInstanceUID of a DICOM series; give it to ``read`` together with the path.
    reason : str
        "" where the scan can be read; else why not, and what to do.
    """

    path: Path
    name: str
    kind: Kind | str
    modality: str | None = None
    shape: tuple[int, int, int] | None = None
    spacing: tuple[float, float, float] | None = None
    series_uid: str | None = None
    reason: str = ""


def find_series(folder: Path | str) -> list[Found]:
    """Find the scans in a folder and its subfolders.

    Files that are no scans (tables, texts, pictures, contours, reports) are passed over in silence; files that claim to
    be scans and cannot be read are listed with the reason.

    Parameters
    ----------
    folder : pathlib.Path or str
        A folder, or one file.

    Returns
    -------
    list of Found
        Ordered by path. DICOM files are grouped by series; a series spread over several folders is one scan, a copy of
        a series in another folder is another.

    Raises
    ------
    VolumeError
        The folder does not exist.
    """
    folder = Path(folder)
    if not folder.exists():
        raise VolumeError(f"{folder} does not exist.", "Check the path, or whether its disk is connected.")
    files = [folder] if folder.is_file() else list(dicom.files_below(folder))
    found, slices = [], []
    for file in files:
        kind = kind_of(file)
        if kind == "dicom":
            slices.append(file)
        elif kind is not None and not _voxels_of_a_pair(file):
            found.append(_file(file, kind))
        elif kind is None and _worth_a_word(file):
            reason = f"{foreign_format(file)} files are not supported. Convert it to NIfTI; {READABLE} can be read."
            found.append(Found(file, stem(file), "", reason=reason))
    found += _dicom(slices)
    return sorted(found, key=lambda scan: (str(scan.path), scan.name))


def _voxels_of_a_pair(file: Path) -> bool:
    """Whether this is the ``.img`` beside a ``.hdr``, which stands for both."""
    name = file.name.lower().removesuffix(".gz")
    return name.endswith(".img") and any(file.with_name(stem(file) + end).exists() for end in (".hdr", ".hdr.gz"))


def _worth_a_word(file: Path) -> bool:
    """Whether the suffix is a medical one for certain; ``.head``, ``.par`` and ``.v`` also belong to other trades."""
    return foreign_format(file) != "" and not file.name.lower().endswith((".head", ".par", ".v"))


def _file(file: Path, kind: Kind) -> Found:
    try:
        geometry = nifti.read_head(file).geometry if kind == "nifti" else itk.read_geometry(file)
    except VolumeError as error:
        return Found(file, stem(file), kind, reason=str(error))
    return Found(file, stem(file), kind, shape=geometry.canonical_shape, spacing=geometry.spacing)


# -- DICOM -------------------------------------------------------------------------------------------------------------


def _dicom(files: list[Path]) -> list[Found]:
    if not files:
        return []
    try:
        headers, problems = dicom.read_headers(files)
    except VolumeError as error:  # pydicom is missing
        return [Found(files[0].parent, stem(files[0].parent), "dicom", reason=str(error))]
    found = [Found(file, stem(file), "dicom", reason=str(error)) for file, error in problems.items()]
    headers = [header for header in headers if header.modality not in WITHOUT_PIXELS]
    crowded = _crowded(headers)
    for uid, group in dicom.by_series(headers).items():
        for copy in _copies(group):
            folder = _common_folder(copy)
            found.append(_series(folder, uid, copy, crowded=folder in crowded))
    return found


def _crowded(headers: Iterable[Header]) -> set[Path]:
    """The folders that directly hold files of more than one series, whose name alone names none of them."""
    series: dict[Path, set[str]] = defaultdict(set)
    for header in headers:
        series[header.path.parent].add(header.series)
    return {folder for folder, uids in series.items() if len(uids) > 1}


def _copies(group: list[Header]) -> list[list[Header]]:
    """Split a series by folder where the folders hold copies of the same images; else keep it whole."""
    folders: dict[Path, list[Header]] = defaultdict(list)
    for header in group:
        folders[header.path.parent].append(header)
    images = [{str(header.dataset.get("SOPInstanceUID")) for header in part} for part in folders.values()]
    if len(folders) > 1 and sum(map(len, images)) > len(set().union(*images)):
        return list(folders.values())
    return [group]


def _common_folder(group: list[Header]) -> Path:
    return Path(os.path.commonpath([header.path.parent for header in group]))


def _series(folder: Path, uid: str, group: list[Header], *, crowded: bool) -> Found:
    single = len(group) == 1
    path = group[0].path if single else folder
    name = stem(path) if single else stem(folder)
    if crowded and not single:
        name = as_id(f"{name}-{dicom.describe(group[0])}")
    modality = MODALITIES.get(group[0].modality)
    try:
        geometry = dicom.Series(path, uid, tuple(group)).stack().geometry
    except VolumeError as error:
        return Found(path, name, "dicom", modality, series_uid=uid, reason=str(error))
    return Found(path, name, "dicom", modality, geometry.canonical_shape, geometry.spacing, uid)
