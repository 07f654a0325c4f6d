"""Adding scans to a project: find them, group them into cases, remember what they are, and store the rows."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_dasl.errors import Cancelled, InputError, ProjectError
from napari_dasl.events import Progress, never, silent
from napari_dasl.project import cases, discovery, names
from napari_dasl.project.config import CHANNEL_DEFAULT
from napari_dasl.project.records import AddResult, Case, Series

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from napari_dasl.events import CancelCheck, Report
    from napari_dasl.project import store
    from napari_dasl.project.config import ProjectConfig
    from napari_dasl.project.discovery import Candidate, Member, Skips
    from napari_dasl.volumes import Geometry

SCANS = "scans"


@dataclass(frozen=True)
class Shelf:
    """Where new cases go: the project's *folder*, *database* and *config*, and the cases it *has*."""

    folder: Path
    database: store.Store
    config: ProjectConfig
    has: Sequence[Case]


def search(paths: Sequence[Path], modality: str, inside: Path) -> tuple[list[Candidate], Skips]:
    """Find candidates under *paths* (files and folders), leaving out what lies in the project folder *inside*.

    Raises
    ------
    ProjectError
        There is no scan at all.
    """
    from napari_dasl.volumes import find_series

    found: list[Candidate] = []
    skipped: Skips = []
    for path in dict.fromkeys(Path(path).expanduser().resolve() for path in paths):
        if not path.exists():
            skipped.append((path, "there is no such file or folder"))
            continue
        root = discovery.image_root(path) if path.is_dir() else path.parent
        scans = [scan for scan in find_series(root if path.is_dir() else path) if not _within(scan.path, inside)]
        good, bad = discovery.candidates(root, scans, modality)
        if not good and not bad:
            skipped.append((path, "it holds no scan (NIfTI, NRRD, MetaImage or DICOM)"))
        found += good
        skipped += bad
    if not found:
        what = f": {skipped[0][0]}: {skipped[0][1]}" if skipped else ""
        more = f" (and {len(skipped) - 1} more)" if len(skipped) > 1 else ""
        raise ProjectError(f"No scan could be added{what}{more}.", "Name a folder of NIfTI, NRRD, MHA or DICOM scans.")
    return _distinct(found), skipped


def derived_channels(found: Sequence[Candidate], config: ProjectConfig) -> tuple[str, ...]:
    """Channels of a project that gets its first cases: those that all have, if several; else the config's own."""
    if config.channels != CHANNEL_DEFAULT:
        return config.channels
    common = discovery.common_channels(found)
    return common if len(common) > 1 else config.channels


def store_candidates(
    shelf: Shelf, found: Sequence[Candidate], skipped: Skips, report: Report = silent, cancelled: CancelCheck = never
) -> AddResult:
    """Read headers and hashes of the candidates and store those that can become cases.

    Raises
    ------
    Cancelled
        Nothing was added.
    StorageError
        The rows or the copies could not be written.
    """
    left = list(skipped)
    known = {series.path: case.id for case in shelf.has for series in case.series}
    taken = {case.id.casefold() for case in shelf.has}
    new: list[tuple[str, Sequence[Series], Geometry]] = []
    for number, candidate in enumerate(found):
        if cancelled():
            raise Cancelled("Adding scans was stopped; nothing was added.", "Add them again.")
        report(Progress(name="prepare", done=number, total=len(found), text=f"Reading {candidate.id}"))
        reason = _refusal(candidate, known, taken)
        if reason:
            left.append((candidate.reference, reason))
            continue
        try:
            new.append((candidate.id, *_described(candidate, shelf, left)))
        except InputError as error:
            left.append((candidate.reference, str(error)))
    refused = cases.insert(shelf.database, shelf.folder, new)
    left += [(series[0].path, f"the project has a case {case_id} already") for case_id, series in refused]
    gone = {case_id for case_id, _ in refused}
    report(Progress(name="prepare", done=len(found), total=len(found)))
    return AddResult(tuple(case_id for case_id, *_ in new if case_id not in gone), tuple(left))


def _within(path: Path, folder: Path) -> bool:
    return path.is_relative_to(folder) and folder != Path(path.anchor)


def _distinct(found: Sequence[Candidate]) -> list[Candidate]:
    """Drop candidates that a folder and a file inside it both named."""
    return list({candidate.reference: candidate for candidate in found}.values())


def _refusal(candidate: Candidate, known: dict[Path, str], taken: Collection[str]) -> str:
    if candidate.reference in known:
        return f"it is in the project already, as case {known[candidate.reference]}"
    if candidate.id.casefold() in taken:
        return f"the project has a case {candidate.id} already; rename the scan"
    return ""


def _described(candidate: Candidate, shelf: Shelf, skipped: Skips) -> tuple[Sequence[Series], Geometry]:
    """Series and grid of a candidate; InputError where the case cannot be used. A bad extra series is skipped alone."""
    needed = {channel.casefold() for channel in shelf.config.channels[1:]}
    missing = needed - {member.channel.casefold() for member in candidate.members[1:]}
    if missing:
        lacking = [channel for channel in shelf.config.channels[1:] if channel.casefold() in missing]
        raise ProjectError(f"It has no series {', '.join(lacking)}.")
    order = [channel.casefold() for channel in shelf.config.channels[1:]]
    first, *others = candidate.members
    others.sort(key=lambda member: (_place(member.channel, order), names.natural(member.channel)))
    one, geometry = _series(candidate, first, shelf)
    series = [one]
    for member in others:
        try:
            series.append(_series(candidate, member, shelf)[0])
        except InputError as error:
            if member.channel.casefold() in needed:
                raise
            skipped.append((member.found.path, str(error)))
    return tuple(series), geometry


def _place(channel: str, order: Sequence[str]) -> int:
    return order.index(channel.casefold()) if channel.casefold() in order else len(order)


def _series(candidate: Candidate, member: Member, shelf: Shelf) -> tuple[Series, Geometry]:
    from napari_dasl.volumes import fingerprint_file, read_geometry

    path = member.found.path
    geometry = read_geometry(path, series_uid=member.found.series_uid)
    if shelf.config.copy_scans:
        path = _copy(path, shelf.folder / SCANS / candidate.id)
    channel = member.channel
    stamp = fingerprint_file(path)
    return Series(channel=channel, path=path, stamp=stamp, series_uid=member.found.series_uid), geometry


def _copy(path: Path, home: Path) -> Path:
    """Copy a scan into the project, in one step."""
    from napari_dasl.volumes.atomic import atomic_path, storage_error

    target = home / path.name
    try:
        home.mkdir(parents=True, exist_ok=True)
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                copy = target / file.relative_to(path) if path.is_dir() else target
                copy.parent.mkdir(parents=True, exist_ok=True)
                with atomic_path(copy) as temporary:
                    shutil.copyfile(file, temporary)
    except OSError as error:
        raise storage_error(error, target) from error
    return target
