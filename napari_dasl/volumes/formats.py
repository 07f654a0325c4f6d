"""Which format a file is in, by its name, and by its first bytes where the name does not say."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

Kind = Literal["nifti", "nrrd", "meta", "dicom"]

_SUFFIXES: dict[str, Kind] = {
    ".nii.gz": "nifti",
    ".nii": "nifti",
    ".hdr.gz": "nifti",
    ".hdr": "nifti",
    ".img.gz": "nifti",
    ".img": "nifti",
    ".nrrd": "nrrd",
    ".nhdr": "nrrd",
    ".mha": "meta",
    ".mhd": "meta",
    ".dcm": "dicom",
    ".ima": "dicom",
}

_FOREIGN = {
    ".mgz": "FreeSurfer",
    ".mgh": "FreeSurfer",
    ".mnc": "MINC",
    ".brik": "AFNI",
    ".brik.gz": "AFNI",
    ".head": "AFNI",
    ".par": "Philips PAR/REC",
    ".rec": "Philips PAR/REC",
    ".v": "ECAT",
}

READABLE = "NIfTI, NRRD, MetaImage (.mha, .mhd) and DICOM"


def kind_of(path: Path) -> Kind | None:
    """The format of a file that can be read, or None.

    Parameters
    ----------
    path : pathlib.Path
        A file. Its name decides; a name that says nothing (DICOM files often have no suffix) leaves it to the content.

    Returns
    -------
    {"nifti", "nrrd", "meta", "dicom"} or None
        None where this is no scan that the program knows.
    """
    name = path.name.lower()
    for suffix, kind in _SUFFIXES.items():
        if name.endswith(suffix):
            return kind
    return "dicom" if not foreign_format(path) and looks_like_dicom(path) else None


def foreign_format(path: Path) -> str:
    """The name of the format where this is a scan in a format that the program does not read, else ""."""
    name = path.name.lower()
    return next((words for suffix, words in _FOREIGN.items() if name.endswith(suffix)), "")


def looks_like_dicom(path: Path) -> bool:
    """Whether the first bytes are those of a DICOM file, with the standard's 128 byte preamble or without it."""
    try:
        with path.open("rb") as file:
            head = file.read(132)
    except OSError:
        return False
    if head[128:132] == b"DICM":
        return True
    # Old files begin with the data set itself: group 0008 or 0002, then a type of two letters or a small length.
    if head[:2] not in (b"\x08\x00", b"\x02\x00") or len(head) < 132:
        return False
    return re.fullmatch(rb"[A-Z]{2}", head[4:6]) is not None or int.from_bytes(head[4:8], "little") < 1024


def stem(path: Path) -> str:
    """The file name without its suffixes, in letters that a case id may have.

    Parameters
    ----------
    path : pathlib.Path
        A file or a folder.

    Returns
    -------
    str
        Only ``A-Z a-z 0-9 . _ -``; never empty.
    """
    name = path.name
    for suffix in _SUFFIXES:
        if name.lower().endswith(suffix):
            name = name[: -len(suffix)]
            break
    return as_id(name)


def as_id(text: str) -> str:
    """A text in letters that a case id may have; runs of others become one ``-``."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.") or "scan"
