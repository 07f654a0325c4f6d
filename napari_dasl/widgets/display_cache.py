"""The scans of a case as the screen shows them, and their uncompressed copies in ``cache/display``.

A copy is used only while the scan file has the size and time of change that it had when it was copied. The folder
``cache`` may be deleted at any time; a cache that cannot be written is not an error, only slower.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dasl import volumes
from napari_dasl.errors import VolumeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_dasl.project import Case, Project

log = logging.getLogger(__name__)
_FORMAT = 1


@dataclass(frozen=True, eq=False)
class Channel:
    """One scan, ready for an image layer.

    Attributes
    ----------
    name : str
        Channel name of the project.
    array : (z, y, x) array
        Stored type where napari shows it well; z to inferior, y to posterior, x to patient left.
    spacing : (float, float, float)
        (sz, sy, sx) in mm: the layer's scale.
    origin : (float, float, float)
        Centre of voxel 0 in mm along the same axes: the layer's translate.
    modality, unit : str
        ``CT``, ``PET``, ``MR`` or empty; ``HU``, ``SUVbw`` or empty.
    span : (float, float)
        0.5th and 99.5th percentile.
    """

    name: str
    array: NDArray[Any]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    modality: str
    unit: str
    span: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Picture:
    """The channels of a case, reference first; whether they were straightened; remarks in words; and `scan_key`."""

    channels: tuple[Channel, ...]
    oblique: bool
    notes: tuple[str, ...]
    key: str | None = None


def read_picture(project: Project, case: Case, *, keep: bool = True) -> Picture:
    """Read the scans of *case*: from ``cache/display`` where it is fresh, else from the files.

    Parameters
    ----------
    keep : bool
        Whether what was read from the files is copied into the cache; not for a glance at a case.

    Raises
    ------
    VolumeError
        A scan is missing, unreadable, or not the file that was added.
    """
    folder = project.folder / "cache" / "display" / case.id
    key = scan_key(case)
    if key is not None and case.readable:  # the project should hear when an unreadable scan can be read again
        try:
            picture = _load(folder, key)
        except (OSError, ValueError, KeyError, TypeError) as error:  # a torn or foreign cache: read the scan instead
            log.info("display cache of %s not used: %s", case.id, error)
        else:
            if picture is not None:
                return picture
    problem = project.check_scan(case.id)
    if problem:
        raise VolumeError(problem, "Put the scan back, or add the changed one as a new case.")
    picture = replace(_read(project, case), key=key)
    if key is not None and keep:
        try:
            _store(folder, key, picture)
        except OSError as error:  # full or read-only disk: slower next time, nothing else
            log.info("display cache of %s not written: %s", case.id, error)
    return picture


def display_array(array: NDArray[Any]) -> NDArray[Any]:
    """Return *array* contiguous, in native byte order and in a type that napari draws without converting it."""
    kind, size = array.dtype.kind, array.dtype.itemsize
    target: Any = array.dtype.newbyteorder("=")
    if kind == "f" and size != 4:
        target = np.float32
    elif kind == "b":
        target = np.uint8
    elif kind in "iu" and size > 2:
        low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
        info = np.iinfo(np.int16)
        target = np.int16 if info.min <= low and high <= info.max else np.float32
    return np.ascontiguousarray(array, dtype=target)


def span_of(array: NDArray[Any]) -> tuple[float, float]:
    """Return the 0.5th and 99.5th percentile of (a sample of) the finite values, never of zero width."""
    step = max(1, round((array.size / 500_000) ** (1 / 3)))
    values = array[::step, ::step, ::step].ravel()
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(values, (0.5, 99.5)))
    if high <= low:
        low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low, low + 1.0)


def _read(project: Project, case: Case) -> Picture:
    channels, notes, oblique = [], [], False
    for number, volume in enumerate(project.read_image(case.id)):
        array, geometry = volume.array, volume.geometry
        if geometry.is_oblique:
            oblique = oblique or number == 0
            array, geometry = volumes.to_straight(array, geometry, order=1), volumes.straight_grid(geometry)
        array = display_array(array)
        name = case.series[number].channel if number < len(case.series) else project.config.channels[number]
        notes += [f"{name}: {note}" if number else note for note in volume.notes]
        channels.append(
            Channel(
                name=name,
                array=array,
                spacing=tuple(float(value) for value in geometry.spacing),
                origin=tuple(float(value) for value in geometry.origin),
                modality=_modality(project, volume.modality, name, first=number == 0),
                unit=volume.unit,
                span=span_of(array),
            )
        )
    return Picture(tuple(channels), oblique, tuple(notes))


def _modality(project: Project, found: str | None, name: str, *, first: bool) -> str:
    """Return what the file says, else what the channel is called, else (for the reference) what the project says."""
    known = {"PT": "PET", "MRI": "MR"}
    for guess in (found or "", name.upper()):
        guess = known.get(guess, guess)
        if guess in {"CT", "PET", "MR"}:
            return guess
    return project.config.modality if first else ""


def scan_key(case: Case) -> str | None:
    """Return a hash of the scans' places, sizes and times of change; None where one cannot be looked at."""
    facts: list[object] = [_FORMAT, list(case.shape)]
    for series in case.series:
        path = Path(series.path)
        try:
            files = sorted(path.iterdir()) if path.is_dir() else [path]
            stats = [file.stat() for file in files]
        except OSError:
            return None
        facts.append([series.channel, str(path), series.series_uid, series.stamp.sha256])
        facts.append([[stat.st_size, stat.st_mtime_ns] for stat in stats])
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _load(folder: Path, key: str) -> Picture | None:
    sheet = folder / "picture.json"
    if not sheet.is_file():
        return None
    facts = json.loads(sheet.read_text(encoding="utf-8"))
    if facts["key"] != key:
        return None
    channels = []
    for record in facts["channels"]:
        array = np.load(folder / record.pop("file"), allow_pickle=False)
        channels.append(
            Channel(
                array=array,
                **{name: tuple(value) if isinstance(value, list) else value for name, value in record.items()},
            )
        )
    return Picture(tuple(channels), bool(facts["oblique"]), tuple(facts["notes"]), key)


def _store(folder: Path, key: str, picture: Picture) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "picture.json").unlink(missing_ok=True)  # never a sheet beside arrays of another scan
    records = []
    for number, channel in enumerate(picture.channels):
        name = f"{number}.npy"
        temporary = folder / f".{name}.{os.getpid()}"
        with temporary.open("wb") as file:
            np.save(file, channel.array)
        temporary.replace(folder / name)
        facts = {field.name: getattr(channel, field.name) for field in fields(channel) if field.name != "array"}
        records.append({**facts, "file": name})
    sheet = folder / f".picture.json.{os.getpid()}"
    text = json.dumps({"key": key, "oblique": picture.oblique, "notes": picture.notes, "channels": records})
    sheet.write_text(text, encoding="utf-8")
    sheet.replace(folder / "picture.json")
