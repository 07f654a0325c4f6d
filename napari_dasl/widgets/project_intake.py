"""What the new-project dialog looks up on a thread: scans, cases, labels. No Qt here.

The project itself is made by :func:`napari_dasl.project.setup.make`, as on the command line.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_dasl.errors import InputError, VolumeError
from napari_dasl.networks.families import FAMILIES
from napari_dasl.project import discovery, names, truth
from napari_dasl.volumes import find_series, read_mask

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_dasl.networks.families import Family
    from napari_dasl.project.discovery import Candidate
    from napari_dasl.volumes import Found

MODALITIES = ("CT", "PET", "MR")
TASKS = (("Organs or regions", False), ("Separate lesions (nodules, metastases)", True))
"""What may be labelled, and whether a network finds it one by one."""
DRAWING = "unet"
"""The network that draws organs and regions."""
_MASKS_READ = 3
_NAMED_PROBLEMS = 2


@dataclass(frozen=True)
class Findings:
    """What a folder of scans holds.

    Attributes
    ----------
    folder : Path
        That was searched.
    series : tuple of Found
        Everything that looks like a scan.
    modality : str or None
        The most frequent one that files or names tell; None where none does.
    """

    folder: Path
    series: tuple[Found, ...]
    modality: str | None

    @property
    def readable(self) -> tuple[Found, ...]:
        """Series that can be read."""
        return tuple(found for found in self.series if not found.reason)

    @property
    def unreadable(self) -> tuple[Found, ...]:
        """Series that cannot, each with its reason."""
        return tuple(found for found in self.series if found.reason)

    def words(self) -> str:
        """Return ``128 series, 3 cannot be read: …``."""
        if not self.series:
            return "No scan was found there. A scan is a NIfTI, NRRD or MHA file, or a folder of DICOM files."
        words = f"{len(self.series)} series"
        broken = self.unreadable
        if not broken:
            return words + "."
        told = " ".join(_told(found) for found in broken[:_NAMED_PROBLEMS])
        more = f" And {len(broken) - _NAMED_PROBLEMS} more." if len(broken) > _NAMED_PROBLEMS else ""
        return f"{words}, {len(broken)} cannot be read: {told}{more}"


@dataclass(frozen=True)
class Cases:
    """The cases that a folder makes for a modality: their ids, channels, and matched labels."""

    candidates: tuple[Candidate, ...]
    channels: tuple[str, ...]
    skipped: tuple[tuple[Path, str], ...]
    labels: dict[str, Path]
    unclear: dict[str, str]
    highest_label: int

    def words(self) -> str:
        """Return what was grouped, such as ``54 cases with CT + PET; 3 series are left out``."""
        if not self.candidates:
            return "No case of this modality."
        count = len(self.candidates)
        words = f"{count} case{'' if count == 1 else 's'}"
        if len(self.channels) > 1:
            words += " with " + " + ".join(self.channels)
        left_out = len(self.skipped)
        return words + (f"; {left_out} series {'is' if left_out == 1 else 'are'} left out." if left_out else ".")

    def label_words(self) -> str:
        """Return how many of the cases have a label in the chosen folder."""
        words = f"{len(self.labels)} of {len(self.candidates)} cases have a label there"
        return words + (f"; {len(self.unclear)} are unclear." if self.unclear else ".")


def _told(found: Found) -> str:
    """Return why a series cannot be read, with its short name in front."""
    reason = found.reason.replace(str(found.path), found.path.name)
    return reason if found.path.name in reason else f"{found.path.name}: {reason}"


def look(folder: Path) -> Findings:
    """Find the scans under *folder*.

    Raises
    ------
    InputError
        There is no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder.", "Choose the folder that holds the scans.")
    series = tuple(find_series(discovery.image_root(folder)))
    told = Counter(modality for found in series if not found.reason and (modality := _modality(found)))
    return Findings(folder, series, told.most_common(1)[0][0] if told else None)


def _modality(found: Found) -> str | None:
    if found.modality:
        known = names.modality_of(found.modality)
        if known in MODALITIES:
            return known
    for text in (found.name, found.path.parent.name):
        known = names.modality_of(text)
        if known in MODALITIES:
            return known
    return None


def cases_of(findings: Findings, modality: str, labels: Path | None = None) -> Cases:
    """Group what was found into cases of *modality*, and match the label files under *labels*."""
    root = discovery.image_root(findings.folder)
    found, skipped = discovery.candidates(root, list(findings.series), modality)
    matched: dict[str, Path] = {}
    unclear: dict[str, str] = {}
    if labels is not None:
        wanted = [truth.Wanted(one.id, one.reference) for one in found]
        scans = [member.found.path for one in found for member in one.members]
        matched, unclear = truth.match(labels, wanted, scans)
    highest = _highest_value(list(matched.values())[:_MASKS_READ])
    return Cases(tuple(found), discovery.common_channels(found), tuple(skipped), matched, unclear, highest)


def _highest_value(masks: Sequence[Path]) -> int:
    highest = 0
    for path in masks:
        try:
            highest = max(highest, int(np.max(read_mask(path))))
        except (InputError, VolumeError):
            continue  # the import says what is wrong with it, case by case
    return highest


def detectors() -> tuple[Family, ...]:
    """Return the networks that find lesions one by one, those that look at volumes first."""
    found = [one for one in FAMILIES.values() if one.detector]
    return tuple(sorted(found, key=lambda one: -one.spatial_dims))


def class_names(text: str, highest_label: int = 0) -> tuple[str, ...]:
    """Return the classes that a line of names means; unnamed ones up to *highest_label* are numbered."""
    given = [part.strip() for part in re.split(r"[,;]", text) if part.strip()]
    return tuple(given + [f"class {number}" for number in range(len(given) + 1, highest_label + 1)])


def free_folder(scans: Path) -> Path:
    """Return where the project of the scans in *scans* may be made: beside them, under a name that is free."""
    base = scans.parent / f"{scans.name}-dasl"
    number, folder = 1, base
    while folder.exists() and any(folder.iterdir()):
        number += 1
        folder = base.with_name(f"{base.name}-{number}")
    return folder
