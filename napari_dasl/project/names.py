"""What the names of files and folders say about scans: case, channel, modality, mask or image.

Radiology keeps its bookkeeping in file names. These are the words that data sets use; nothing here opens a file.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")

_MODALITY_WORDS = {
    "CT": ("ct", "cect", "ncct", "cta", "ldct"),
    "PET": ("pet", "pt", "suv", "suvbw", "fdg"),
    "MR": (
        *("mr", "mri", "t1", "t1w", "t1c", "t1ce", "t1gd", "t1n", "t2", "t2w", "t2f", "flair", "pd", "pdw"),
        *("adc", "dwi", "swi", "dce", "stir", "bold", "mra"),
    ),
}
_IMAGE_WORDS = frozenset(
    (
        *("image", "images", "imagestr", "img", "scan", "scans", "volume", "vol", "data", "series", "dicom", "anat"),
        *("orig", "raw", "reg", "registered", "resampled", "preproc", "preprocessed", "contrast", "post", "pre", "gd"),
    )
)
_LABEL_WORD = re.compile(
    r"(mask|label|seg)[a-z]*|[a-z]+(mask|masks|label|labels|seg)|"
    r"gt|groundtruth|truth|gold|consensus|rois?|rtstruct|annotations?|contours?"
)


def stem(path: Path) -> str:
    """File name without the extensions of a volume; other dots stay."""
    for suffix in SUFFIXES:
        if path.name.casefold().endswith(suffix):
            return path.name[: -len(suffix)]
    return path.stem if path.suffix.casefold() == ".dcm" else path.name


def is_volume(path: Path) -> bool:
    """Whether the name is that of a NIfTI, NRRD or MetaImage file, and not of a hidden one (macOS leaves ``._x``)."""
    return path.name.casefold().endswith(SUFFIXES) and not path.name.startswith(".")


def words(name: str) -> list[str]:
    """Words of a name: ``PETMask_v2`` is PET, Mask, v2; ``T1w``, ``FLAIR`` and ``BraTS`` stay whole."""
    split = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return [word for word in re.split(r"[^A-Za-z0-9]+", split) if word]


def says_label(name: str) -> bool:
    """Whether a name has a word for a label, such as ``mask``, ``seg`` or ``labelsTr``."""
    return any(_LABEL_WORD.fullmatch(word.lower()) for word in words(name))


def modality_of(name: str) -> str | None:
    """CT, PET or MR if the name has a word for exactly one of them."""
    found = {m for m, known in _MODALITY_WORDS.items() for word in words(name) if word.lower() in known}
    return found.pop() if len(found) == 1 else None


def says_channel(name: str) -> bool:
    """Whether a name consists only of words for a modality or for "image", not of a patient."""
    found = [word.lower() for word in words(name)]
    known = {word for group in _MODALITY_WORDS.values() for word in group} | _IMAGE_WORDS
    return bool(found) and all(word in known for word in found)


def channel(name: str) -> str:
    """Name of the channel in a series' name: ``PET_image`` is PET, ``MR_T1_mask`` is MR_T1, ``scan`` is image."""
    kept = [
        word for word in words(name) if word.lower() not in _IMAGE_WORDS and not _LABEL_WORD.fullmatch(word.lower())
    ]
    return "_".join(kept) or "image"


def without(name: str, prefix: str) -> str:
    """Take the case's name off the front of a series' name: ``BraTS_01_t1`` in the folder ``BraTS_01`` is ``t1``."""
    rest = name[len(prefix) :] if name.casefold().startswith(prefix.casefold()) else name
    return rest.strip(" ._-")


def case_id(name: str) -> str:
    """Turn a name into a case id: ``[A-Za-z0-9._-]``, not hidden."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._") or "case"


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sorting key in which case2 comes before case10."""
    parts = re.findall(r"\d+|\D+", name.casefold())
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts)
