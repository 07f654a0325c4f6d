"""Which of the scans in a folder belong to which case.

Known layouts: a flat folder; Decathlon (``imagesTr``); nnU-Net (``case_0000``, ``case_0001``); a folder per case with
several series (``STS_001/PET_image``, ``STS_001/CT_image``), also one level deeper; DICOM series. Everything here works
on names and headers.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_dasl.project import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from napari_dasl.volumes import Found

_NNUNET = re.compile(r"(.+)_(\d{4})")
_MOST_SERIES = 16


@dataclass(frozen=True)
class Member:
    """One scan of a candidate and the name of its channel."""

    channel: str
    found: Found


@dataclass(frozen=True)
class Candidate:
    """What may become a case: *members* in order, the one that labels are drawn on first."""

    id: str
    members: tuple[Member, ...]
    folder: Path

    @property
    def reference(self) -> Path:
        """Path of the first member."""
        return self.members[0].found.path


@dataclass(frozen=True)
class _Group:
    name: str
    folder: Path
    members: tuple[tuple[str, Found], ...]


Skips = list[tuple[Path, str]]


def image_root(folder: Path) -> Path:
    """Folder of the training images in a data set's root (Decathlon, nnU-Net), or *folder* itself."""
    inner = folder / "imagesTr"
    return inner if inner.is_dir() else folder


def candidates(root: Path, scans: Sequence[Found], modality: str) -> tuple[list[Candidate], Skips]:
    """Group the scans under *root* into cases.

    Parameters
    ----------
    root : Path
        The folder that was searched.
    scans : sequence of Found
        What was found there; those with a *reason* are passed on as skipped.
    modality : str
        CT, PET or MR: the modality that labels are drawn on.

    Returns
    -------
    (list of Candidate, list of (path, reason))
        Candidates in natural order with ids that differ, also on disks that ignore case; and what was left out and why.
    """
    skipped: Skips = [(scan.path, scan.reason) for scan in scans if scan.reason]
    good = _without_labels(root, [scan for scan in scans if not scan.reason and not _hidden(root, scan.path)])
    homes: dict[Path, list[Found]] = defaultdict(list)
    for scan in good:
        homes[_home(root, scan.path)].append(scan)
    shared = _shared_channels(homes)
    groups: list[_Group] = []
    for home, members in homes.items():
        files = [scan for scan in members if scan.kind != "dicom"]
        series = [scan for scan in members if scan.kind == "dicom"]
        groups += _numbered(home, files) or _one_case(root, home, files, shared) or _each_alone(home, files)
        groups += _dicom(root, home, series, modality, skipped)
    chosen = [_candidate(group, modality, skipped) for group in groups]
    return _with_ids([candidate for candidate in chosen if candidate], root), skipped


def common_channels(found: Iterable[Candidate]) -> tuple[str, ...]:
    """Channels that every candidate has, in the order of the first one."""
    every = [tuple(member.channel for member in candidate.members) for candidate in found]
    return tuple(channel for channel in every[0] if all(channel in other for other in every)) if every else ()


def _hidden(root: Path, path: Path) -> bool:
    return any(part.startswith(".") for part in _parts(root, path))


def _parts(root: Path, path: Path) -> tuple[str, ...]:
    return path.relative_to(root).parts if path.is_relative_to(root) else (path.name,)


def _without_labels(root: Path, scans: list[Found]) -> list[Found]:
    """Leave out what the names call masks, unless the names call everything so."""
    images = [
        scan
        for scan in scans
        if not any(names.says_label(part) for part in (*_parts(root, scan.path)[:-1], names.stem(scan.path)))
    ]
    return images or scans


def _home(root: Path, path: Path) -> Path:
    """Folder that may stand for a case: the one that holds the scan, above folders named after a channel (``PET``)."""
    folder = path.parent
    while folder != root and folder.is_relative_to(root) and names.says_channel(folder.name):
        folder = folder.parent
    return folder if path != root else root


def _token(home: Path, scan: Found) -> str:
    """Name of a scan inside its case folder, without the name of the case."""
    parts = [*_parts(home, scan.path)[:-1], names.stem(scan.path)]
    return "_".join(filter(None, (names.without(part, home.name) for part in parts))) or "image"


def _shared_channels(homes: Mapping[Path, Sequence[Found]]) -> set[str]:
    """Names that several folders use for a scan; numbers tell patients apart, so a name with one is not a channel."""
    seen: dict[str, set[Path]] = defaultdict(set)
    for home, scans in homes.items():
        for scan in scans:
            token = _token(home, scan)
            if not any(word.isdecimal() for word in names.words(token)):
                seen[token].add(home)
    return {token for token, folders in seen.items() if len(folders) > 1}


def _numbered(home: Path, files: Sequence[Found]) -> list[_Group]:
    """Cases of the nnU-Net layout, or [] where the folder is not in it."""
    cases: dict[str, list[tuple[int, Found]]] = defaultdict(list)
    for scan in files:
        match = _NNUNET.fullmatch(names.stem(scan.path))
        if match is None:
            return []
        cases[match[1]].append((int(match[2]), scan))
    for members in cases.values():
        members.sort(key=lambda member: member[0])
        in_order = [number for number, _ in members] == list(range(len(members)))
        # Channels of a case share a grid; scans of patients who happen to be numbered from 0000 hardly do.
        if not in_order or len(members) > _MOST_SERIES or len({scan.shape for _, scan in members}) > 1:
            return []
    if len({len(members) for members in cases.values()}) > 1:
        return []
    return [_Group(name, home, tuple((f"{n:04d}", scan) for n, scan in members)) for name, members in cases.items()]


def _one_case(root: Path, home: Path, files: Sequence[Found], shared: set[str]) -> list[_Group]:
    """Read the folder as one case with its series, or [] where its names do not look like channels."""
    tokens = [_token(home, scan) for scan in files]
    channels = [names.channel(token) for token in tokens]
    by_word = all(names.says_channel(token) for token in tokens)
    by_siblings = home != root and any(token in shared for token in tokens)
    distinct = len({channel.casefold() for channel in channels}) == len(files)
    if not files or len(files) > _MOST_SERIES or not distinct or not (by_word or by_siblings):
        return []
    return [_Group(home.name, home, tuple(zip(channels, files, strict=True)))]


def _each_alone(home: Path, files: Sequence[Found]) -> list[_Group]:
    return [_Group(names.stem(scan.path), home, (("image", scan),)) for scan in files]


def _dicom(root: Path, home: Path, series: Sequence[Found], modality: str, skipped: Skips) -> list[_Group]:
    """Take each series of the right modality as a case: whether others are registered to it, names cannot tell."""
    groups = []
    for scan in series:
        if scan.modality and names.modality_of(scan.modality) not in (modality, None):
            skipped.append((scan.path, f"it is {scan.modality}, and this project is about {modality}"))
            continue
        groups.append(_Group(scan.name, home, (("image", scan),)))
    alone = len(groups) == 1 and home != root
    return [_Group(home.name, home, groups[0].members)] if alone and names.says_channel(groups[0].name) else groups


def _candidate(group: _Group, modality: str, skipped: Skips) -> Candidate | None:
    """Put the series that labels are drawn on first; None where the case has no series of the project's modality."""
    told = [names.modality_of(channel) for channel, _ in group.members]
    if None not in told and modality not in told and told:
        channels = ", ".join(channel for channel, _ in group.members)
        skipped.append((group.folder, f"it has no {modality} series (it has {channels})"))
        return None
    first = min(
        range(len(told)),
        key=lambda index: (told[index] != modality, told[index] is not None, _order(group.members[index][0])),
    )
    rest = sorted((m for i, m in enumerate(group.members) if i != first), key=lambda member: _order(member[0]))
    ordered = (group.members[first], *rest)
    return Candidate(group.name, tuple(Member(channel, scan) for channel, scan in ordered), group.folder)


def _order(channel: str) -> tuple[tuple[int, int, str], ...]:
    return names.natural(channel)


def _with_ids(found: list[Candidate], root: Path) -> list[Candidate]:
    """Give every candidate an id that no other has; equal names get the folder above, then a number."""
    found = sorted(found, key=lambda candidate: (names.natural(candidate.id), str(candidate.reference)))
    named = [names.case_id(candidate.id) for candidate in found]
    counted = _count(named)
    for index, candidate in enumerate(found):
        if counted[named[index].casefold()] > 1:
            above = candidate.folder.parent if candidate.folder.name == candidate.id else candidate.folder
            if above.is_relative_to(root) or above == root:
                named[index] = names.case_id(f"{above.name}_{candidate.id}")
    taken: set[str] = set()
    result = []
    for candidate, name in zip(found, named, strict=True):
        number, unique = 1, name
        while unique.casefold() in taken:
            number += 1
            unique = f"{name}_{number}"
        taken.add(unique.casefold())
        result.append(Candidate(unique, candidate.members, candidate.folder))
    return result


def _count(named: Iterable[str]) -> dict[str, int]:
    counted: dict[str, int] = defaultdict(int)
    for name in named:
        counted[name.casefold()] += 1
    return counted
