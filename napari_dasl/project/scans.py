"""Reading the scans of a case, and noticing when one is missing or is not what it was."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_dasl.errors import GridMismatch, VolumeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_dasl.project.records import Case, Series
    from napari_dasl.volumes import FileStamp, Volume


def difference(series: Series) -> tuple[str, FileStamp | None]:
    """Say what happened to a scan since it was added.

    Size and time of change are compared first; only where the time alone differs is the content hashed.

    Returns
    -------
    (str, FileStamp or None)
        "" or the change in words; and a stamp to remember where only the time differs (the file was copied or touched).
    """
    from napari_dasl.volumes import fingerprint_file, quick_stamp

    path, known = series.path, series.stamp
    if not path.exists():
        return f"The scan {path} is missing.", None
    try:
        found = quick_stamp(path)
        if found.size != known.size:
            return f"The scan {path} has changed: {found.size} bytes instead of {known.size}.", None
        if found.mtime_ns == known.mtime_ns:
            return "", None
        stamp = fingerprint_file(path)
    except VolumeError as error:
        return error.message, None
    if stamp.sha256 != known.sha256:
        return f"The scan {path} has changed: its content differs from the one that was added.", None
    return "", None if stamp == known else stamp


def refreshed(case: Case) -> tuple[str, tuple[Series, ...]]:
    """Check every series of a case; give back what changed in words ("" if nothing), and the series with new stamps."""
    words, series = [], []
    for one in case.series:
        change, stamp = difference(one)
        if change:
            words.append(change)
        series.append(replace(one, stamp=stamp) if stamp else one)
    return " ".join(words), tuple(series)


def current_sha256(series: Series) -> str:
    """Hash of the scan as it is now; the one from when it was added where it cannot be read now."""
    from napari_dasl.volumes import fingerprint_file

    change, _ = difference(series)
    if not change or not series.path.exists():
        return series.stamp.sha256
    try:
        return fingerprint_file(series.path).sha256
    except VolumeError:
        return series.stamp.sha256


def read_series(case: Case, series: Series) -> Volume:
    """Read one series of a case.

    Raises
    ------
    VolumeError
        It is missing or cannot be read.
    GridMismatch
        It is the reference and its grid is not the one it had when the case was added.
    """
    from napari_dasl.volumes import read

    if not series.path.exists():
        raise VolumeError(
            f"The scan of case {case.id} is missing: {series.path} is not there.",
            "Connect its disk or put the file back; the labels of the case are safe.",
        )
    volume = read(series.path, series_uid=series.series_uid)
    if series is case.series[0]:
        change = case.geometry.difference(volume.geometry)
        if change:
            raise GridMismatch(
                f"The scan of case {case.id} was replaced by one on another grid ({change}): {series.path}.",
                "Put the original scan back, or add the new one as a new case.",
            )
    return volume


def chosen(case: Case, channels: Sequence[str]) -> list[Series]:
    """Series of a case that the project's *channels* name; the reference is the first channel under any name.

    Raises
    ------
    VolumeError
        The case lacks a channel.
    """
    named = {series.channel.casefold(): series for series in case.series[1:]}
    missing = [channel for channel in channels[1:] if channel.casefold() not in named]
    if missing:
        raise VolumeError(
            f"Case {case.id} has no series {', '.join(missing)}.",
            "Add the case again with that series, or take it out of `channels` in project.toml.",
        )
    return [case.series[0], *(named[channel.casefold()] for channel in channels[1:])]


def stack(case: Case, channels: Sequence[str]) -> NDArray[np.float32]:
    """Read the *channels* of a case as one array (C, z, y, x) float32 on the grid of the reference.

    Raises
    ------
    VolumeError
        As `read_series`, or the case lacks a channel.
    """
    from napari_dasl.volumes import resample_onto

    wanted = chosen(case, channels)
    array = np.empty((len(wanted), *case.shape), dtype=np.float32)
    for index, series in enumerate(wanted):
        volume = read_series(case, series)
        same = case.geometry.matches(volume.geometry)
        array[index] = volume.array if same else resample_onto(volume, case.geometry)
    return array
