"""What an experiment learns from and is tested on: a folder of labelled scans, dealt to training and test by patient.

A folder is read as a project reads it (:mod:`napari_dasl.project.discovery`): images and labels in any of its layouts.
Of a case with several series the one that labels are drawn on is taken.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast, get_args

import numpy as np

from napari_dasl.errors import InputError
from napari_dasl.project import adding, names, truth
from napari_dasl.training.cases import CaseData
from napari_dasl.training.plan import Modality
from napari_dasl.volumes.masks import read_mask
from napari_dasl.volumes.reading import read, read_geometry

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

PHANTOMS = "phantoms"
"""What ``--data`` says to have scans made, instead of a folder."""

_AIR_HU = -200
_DEALING = 11
"""Keeps the stream that deals cases to training and test apart from every other use of the same seed."""


@dataclass(frozen=True)
class Sample:
    """One labelled scan on disk; plain values, so that it can be handed to another process.

    Attributes
    ----------
    id, group : str
        Its name, and who it is of: no group is on both sides of a split.
    image, label : Path
    spacing : (float, float, float)
        (z, y, x) mm.
    key, label_key : str
        Hashes of the files.
    values : tuple of int
        The values of the label file that are lesion, such as 2 where 1 is the organ; empty: each is a class.
    """

    id: str
    group: str
    image: Path
    label: Path
    spacing: tuple[float, float, float]
    key: str
    label_key: str
    values: tuple[int, ...] = ()

    def mask(self) -> NDArray[Any]:
        """The label, (z, y, x)."""
        label = read_mask(self.label, read_geometry(self.image))
        return np.isin(label, self.values).astype(np.uint8) if self.values else label

    def data(self) -> CaseData:
        """The scan as training takes it; the files are read when their arrays are asked for."""

        def image() -> NDArray[np.float32]:
            return np.asarray(read(self.image).array[None], np.float32)

        key = f"{self.label_key}/{self.values}" if self.values else self.label_key
        return CaseData(self.id, image, self.spacing, self.mask, self.key, label_key=key)


@dataclass(frozen=True)
class Study:
    """A folder of labelled scans.

    Attributes
    ----------
    folder : Path
    modality : {"CT", "PET", "MR"}
    classes : tuple of str
        Names of the label values 1, 2, ….
    samples : tuple of Sample
        In natural order of their ids.
    """

    folder: Path
    modality: Modality
    classes: tuple[str, ...]
    samples: tuple[Sample, ...]

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups, each once, in the order of the samples."""
        return tuple(dict.fromkeys(sample.group for sample in self.samples))

    @property
    def fingerprint(self) -> str:
        """A hash of what is in it: the same files and labels give the same."""
        parts = [self.modality, *self.classes, *(f"{s.id} {s.group} {s.key} {s.label_key}" for s in self.samples)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Split:
    """Who is learnt from and who is tested on; no group is in both."""

    train: tuple[Sample, ...]
    test: tuple[Sample, ...]


def read_study(folder: Path, *, modality: str | None = None, separator: str = "") -> Study:
    """Read the scans of *folder* that have a label.

    Parameters
    ----------
    folder : Path
        Images and labels, in one of the layouts of a project.
    modality : {"CT", "PET", "MR"}, optional
        Where neither the files nor their names say it. CT is also known by its air.
    separator : str
        The group of a case is what its name has before the last *separator*, such as the patient in ``P07_2``; each
        case is a group of its own where it is empty.

    Returns
    -------
    Study

    Raises
    ------
    InputError
        There is no labelled scan, or the modality is not known.
    """
    folder = folder.expanduser().resolve()
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder.", f"Name a folder of scans and labels, or say {PHANTOMS}.")
    if modality is not None and modality not in get_args(Modality):
        raise InputError(f"There is no modality {modality!r}.", f"Choose one of {', '.join(get_args(Modality))}.")
    found, _ = adding.search([folder], modality or "CT", folder / ".nothing")
    scans = [member.found.path for each in found for member in each.members]
    matched, _ = truth.match(folder, [truth.Wanted(each.id, each.reference) for each in found], scans)
    samples = []
    for each in found:
        if each.id not in matched:
            continue
        spacing = each.members[0].found.spacing or read(each.reference).spacing
        group = each.id.rpartition(separator)[0] if separator and separator in each.id else each.id
        label = matched[each.id]
        samples.append(Sample(each.id, group, each.reference, label, spacing, _hash(each.reference), _hash(label)))
    if not samples:
        raise InputError(f"No scan in {folder} has a label.", "Name label files after their scans.")
    told = modality or next((t for each in found for m in each.members if (t := m.found.modality)), None)
    known = told or names.modality_of(samples[0].image.name) or _by_air(samples[0])
    if known is None:
        raise InputError(
            f"Whether the scans in {folder} are PET or MR, neither the files nor their names say.",
            "Say it with --modality.",
        )
    return Study(folder, cast("Modality", known), _classes(folder, samples), tuple(samples))


def make_phantoms(folder: Path, kind: str, count: int, seed: int = 0, *, size: str = "standard") -> Study:
    """Write *count* phantoms of a *kind* below *folder*, unless the same ones are there, and read them.

    Parameters are those of :func:`napari_dasl.phantoms.write_study`.
    """
    from napari_dasl import phantoms

    told = {"kind": kind, "count": count, "seed": seed, "size": size}
    done = folder / "phantoms.json"
    if not done.is_file() or json.loads(done.read_text()) != told:
        phantoms.write_study(folder, kind, count, seed, size=size)
        done.write_text(json.dumps(told))
    study = read_study(folder, modality=kind.upper())
    return replace(study, classes={"ct": ("nodule",), "pet": ("tumour",)}.get(kind, study.classes))


def split(study: Study, seed: int, *, test: int, train: int = 0, test_seed: int = 0) -> Split:
    """Deal the groups of *study* to test and training.

    The test cases follow from *test_seed* alone: they are the same for every *seed*, which chooses among the others.

    Parameters
    ----------
    study : Study
    seed : int
    test, train : int
        Cases to test on and to learn from, at least, as whole groups are dealt; 0 to train: all the others.
    test_seed : int

    Raises
    ------
    InputError
        There are too few cases.
    """
    members = _members(study)
    order = np.random.default_rng((_DEALING, test_seed)).permutation(len(study.groups))
    shuffled = [study.groups[i] for i in order]
    tested, rest = _take(shuffled, members, test)
    again = np.random.default_rng((_DEALING, test_seed, 1, seed)).permutation(len(rest))
    learnt, _ = _take([rest[i] for i in again], members, train) if train else (rest, [])
    size = sum(len(members[group]) for group in learnt)
    if not tested or not learnt or size < train:
        raise InputError(
            f"{len(study.samples)} labelled scans of {len(study.groups)} patients are too few for {test} to test on "
            f"and {train or 'any'} to learn from.",
            "Ask for fewer, or give more scans.",
        )
    return Split(_samples(study, learnt), _samples(study, tested))


def fold(study: Study, number: int, folds: int, *, seed: int = 0) -> Split:
    """The split in which part *number* of *folds* is tested on; whole groups, as equal in cases as they allow.

    Raises
    ------
    InputError
        There are fewer groups than folds, or no fold of that number.
    """
    if not 0 <= number < folds or folds < 2 or len(study.groups) < folds:
        raise InputError(
            f"Fold {number} of {folds} cannot be made of {len(study.groups)} patients.", "Ask for fewer folds."
        )
    members = _members(study)
    order = np.random.default_rng((_DEALING, seed, 2)).permutation(len(study.groups))
    parts: list[list[str]] = [[] for _ in range(folds)]
    sizes = [0] * folds
    for group in (study.groups[i] for i in order):
        least = sizes.index(min(sizes))
        parts[least].append(group)
        sizes[least] += len(members[group])
    learnt = [group for other, part in enumerate(parts) if other != number for group in part]
    return Split(_samples(study, learnt), _samples(study, parts[number]))


def _members(study: Study) -> dict[str, list[Sample]]:
    members: dict[str, list[Sample]] = defaultdict(list)
    for sample in study.samples:
        members[sample.group].append(sample)
    return members


def _take(groups: Sequence[str], members: dict[str, list[Sample]], count: int) -> tuple[list[str], list[str]]:
    """The first *groups* that have *count* cases together, and the others."""
    taken, size = 0, 0
    while taken < len(groups) and size < count:
        size += len(members[groups[taken]])
        taken += 1
    return list(groups[:taken]), list(groups[taken:])


def _samples(study: Study, groups: Sequence[str]) -> tuple[Sample, ...]:
    chosen = set(groups)
    return tuple(sample for sample in study.samples if sample.group in chosen)


def _hash(path: Path) -> str:
    """Of a file's content; of a folder (a DICOM series): of the names and contents of its files."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    total = hashlib.sha256()
    for file in files:
        if file.is_file():
            total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


def _by_air(sample: Sample) -> Modality | None:
    return "CT" if float(read(sample.image).array.min()) < _AIR_HU else None


def of_lesions(study: Study, values: Sequence[int]) -> Study:
    """The *study* with one class, the lesion: voxels whose label is one of *values*; everything else is background.

    Raises
    ------
    InputError
        No label holds any of the values.
    """
    samples = tuple(replace(sample, values=tuple(values)) for sample in study.samples)
    if not any(sample.mask().any() for sample in samples):
        named = " or ".join(str(value) for value in values)
        raise InputError(f"No label in {study.folder} holds the value {named}.", "Name the values that are lesion.")
    return replace(study, classes=("lesion",), samples=samples)


def _classes(folder: Path, samples: Sequence[Sample]) -> tuple[str, ...]:
    """One name for each value up to the highest of the label files."""
    highest = max(int(read_mask(sample.label).max(initial=0)) for sample in samples)
    if not highest:
        raise InputError(f"Every label in {folder} is empty.", "Give labels with a lesion or an organ.")
    return ("lesion",) if highest == 1 else tuple(f"class {value}" for value in range(1, highest + 1))
