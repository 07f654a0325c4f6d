"""Replace a file in one step, or not at all.

A reader (and a machine that loses power) sees the old file or the new one, never half of either: the new content goes
into a temporary file beside the target, is forced to disk, and takes the target's name by one rename.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from napari_dasl.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

TEMPORARY_PREFIX = ".part-"
"""How the names of temporary files begin; a killed process may leave one behind, and it is safe to delete."""

_ABANDONED_SECONDS = 24 * 3600
"""After which a temporary file is taken for that of a killed process."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EROFS, errno.EACCES, errno.EPERM}
_GONE = {errno.ENOENT, errno.ENOTDIR, errno.EIO, errno.ESTALE, errno.ENODEV, errno.ENXIO}


@contextmanager
def atomic_path(target: Path | str) -> Iterator[Path]:
    """Write a file through a temporary one in the same folder.

    The block writes to the path it is given. When it ends well the content is forced to disk (``fsync`` of the file),
    the temporary file takes the target's name (``os.replace``) and the rename is forced to disk too (``fsync`` of the
    folder). When it ends badly the temporary file is removed and the target is as it was.

    Parameters
    ----------
    target : pathlib.Path or str
        The file to make or replace. Its folder must exist.

    Yields
    ------
    pathlib.Path
        An existing empty file whose name ends like the target's, so that writers that look at the suffix behave.

    Raises
    ------
    StorageError
        The disk is full, the folder is read-only or gone, or any other ``OSError`` inside the block.
    """
    target = Path(target)
    temporary = target.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(4)}-{target.name}")
    try:
        _make_like(temporary, target)
        yield temporary
        _sync(temporary)
        os.replace(temporary, target)
        _sync_folder(target.parent)
    except OSError as error:
        raise storage_error(error, target) from error
    finally:
        # After the rename there is nothing left here; a disk that fails the removal has already failed the write.
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_bytes_atomic(target: Path | str, content: bytes) -> None:
    """Make or replace `target` with `content`, in one step.

    Parameters
    ----------
    target : pathlib.Path or str
        The file to make or replace. Its folder must exist.
    content : bytes
        The whole new content.

    Raises
    ------
    StorageError
        The content could not be stored; the old file is untouched.
    """
    with atomic_path(target) as temporary:
        temporary.write_bytes(content)


def storage_error(error: OSError, target: Path | str) -> StorageError:
    """Put an ``OSError`` into words.

    Parameters
    ----------
    error : OSError
        What the system said.
    target : pathlib.Path or str
        The file that was to be written.

    Returns
    -------
    StorageError
        With the reason, and what to do next.
    """
    target = Path(target)
    if error.errno in _FULL:
        return StorageError(f"The disk is full: {target} could not be written.", "Free some space and try again.")
    if error.errno in _REFUSED:
        return StorageError(
            f"{target} could not be written: the folder or the file is read-only.",
            "Give yourself write permission, close other programs that hold the file, or choose another folder.",
        )
    if error.errno in _GONE:
        return StorageError(
            f"{target} could not be written: its folder {target.parent} is missing or its disk does not answer.",
            "Check that the folder exists and that its disk is connected.",
        )
    reason = error.strerror or str(error) or type(error).__name__
    return StorageError(f"{target} could not be written: {reason}.", "Check the disk and try again.")


def _make_like(temporary: Path, target: Path) -> None:
    """Make the empty temporary file with the mode that the target has, or that a new file here would get."""
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    with contextlib.suppress(OSError):  # some network drives have no modes to set
        os.chmod(temporary, os.stat(target).st_mode & 0o777)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_folder(folder: Path) -> None:
    """Force the rename to disk, where the system can open folders at all (Windows and some network drives cannot)."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        with contextlib.suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)


def sweep(folder: Path, prefix: str = TEMPORARY_PREFIX) -> None:
    """Remove temporary files and folders, by their *prefix*, that killed processes left in *folder* a day or more ago.

    Other processes may be at work there: what they take away meanwhile, and what cannot be removed, is passed over.
    Hidden files of other programs stay.
    """
    with contextlib.suppress(OSError):
        for path in folder.glob(f"{prefix}*"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime <= _ABANDONED_SECONDS:
                    continue
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()
