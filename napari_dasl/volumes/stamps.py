"""What identifies the content of a scan on disk, so that a changed scan is noticed and not guessed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from napari_dasl.errors import VolumeError
from napari_dasl.volumes.dicom import files_below


@dataclass(frozen=True)
class FileStamp:
    """Size, time and hash of a file, or of all files of a folder.

    Parameters
    ----------
    size : int
        In bytes; the sum for a folder.
    mtime_ns : int
        Time of the last change in nanoseconds; the latest for a folder.
    sha256 : str
        Of the content, in hexadecimal; for a folder of the names and hashes of its files. "" where it was not asked
        for.
    """

    size: int
    mtime_ns: int
    sha256: str


def fingerprint_file(path: Path | str) -> FileStamp:
    """Stamp a scan, reading all of it.

    Parameters
    ----------
    path : pathlib.Path or str
        A file, or the folder of a DICOM series. The voxel file beside an ``.mhd``, ``.nhdr`` or ``.hdr`` counts too.

    Returns
    -------
    FileStamp
        With the hash.

    Raises
    ------
    VolumeError
        The scan is missing or cannot be read.
    """
    return _stamp(Path(path), with_hash=True)


def quick_stamp(path: Path | str) -> FileStamp:
    """Stamp a scan by size and time alone, without reading it; otherwise as :func:`fingerprint_file`."""
    return _stamp(Path(path), with_hash=False)


def _stamp(path: Path, *, with_hash: bool) -> FileStamp:
    try:
        if not path.exists():
            raise VolumeError(f"{path} does not exist.", "Check whether the scan was moved or its disk is missing.")
        files = list(files_below(path)) if path.is_dir() else _with_voxels(path)
        facts = [file.stat() for file in files]
        digest = ""
        if with_hash and files == [path]:
            digest = _hash(path)
        elif with_hash:
            folder = path if path.is_dir() else path.parent
            lines = [f"{_hash(file)}  {file.relative_to(folder).as_posix()}\n" for file in files]
            digest = hashlib.sha256("".join(lines).encode()).hexdigest()
    except OSError as error:
        raise VolumeError(
            f"{path} cannot be read: {error.strerror or error}.", "Check the file and its rights."
        ) from error
    return FileStamp(sum(f.st_size for f in facts), max((f.st_mtime_ns for f in facts), default=0), digest)


def _with_voxels(path: Path) -> list[Path]:
    """The file, and the one that holds its voxels where the format keeps them apart."""
    if path.suffix.lower() not in (".mhd", ".nhdr", ".hdr"):
        return [path]
    endings = (".raw", ".zraw", ".raw.gz", ".img", ".img.gz")
    return [path, *(other for end in endings if (other := path.with_suffix(end)).exists())]


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
