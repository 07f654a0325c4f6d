"""Drafts: the autosaved edit of a case, one file each, so that a crash costs no stroke.

``drafts/<case>.npz`` holds ``mask.npy`` and ``meta.json``; nothing in it is ever unpickled.
"""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dasl.errors import LabelError, StorageError
from napari_dasl.project.records import Draft
from napari_dasl.project.store import encode, now

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

FOLDER = "drafts"
_SUFFIX = ".npz"


def path_of(folder: Path, case_id: str) -> Path:
    """File of the draft of a case in the project *folder*."""
    return folder / FOLDER / f"{case_id}{_SUFFIX}"


def waiting(folder: Path) -> frozenset[str]:
    """Ids of the cases that have a draft, by one look into the folder."""
    try:
        names = os.listdir(folder / FOLDER)
    except FileNotFoundError:
        return frozenset()
    except OSError as error:
        raise StorageError(f"{folder / FOLDER} cannot be read: {error.strerror}.", "Check the disk.") from error
    return frozenset(n.removesuffix(_SUFFIX) for n in names if n.endswith(_SUFFIX) and not n.startswith("."))


def write(folder: Path, case_id: str, mask: NDArray[Any], meta: Mapping[str, Any]) -> None:
    """Replace the draft of a case in one step.

    Raises
    ------
    StorageError
        It could not be stored; the draft before it is untouched.
    """
    from napari_dasl.volumes.atomic import atomic_path, storage_error

    path = path_of(folder, case_id)
    note = encode({"saved": now().isoformat(), "meta": dict(meta)})
    try:
        path.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise storage_error(error, path) from error
    # Level 1: a label map is mostly zeros, and an autosave must not be felt.
    with (
        atomic_path(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
    ):
        with archive.open("mask.npy", "w", force_zip64=True) as file:
            np.lib.format.write_array(file, np.ascontiguousarray(mask), allow_pickle=False)
        archive.writestr("meta.json", note)


def read(folder: Path, case_id: str) -> Draft | None:
    """Read the draft of a case; None where there is none.

    Raises
    ------
    LabelError
        The file is damaged.
    """
    path = path_of(folder, case_id)
    try:
        with zipfile.ZipFile(path) as archive:
            with archive.open("mask.npy") as file:
                mask = np.lib.format.read_array(file, allow_pickle=False)
            note = json.loads(archive.read("meta.json"))
        return Draft(mask=mask, meta=dict(note["meta"]), saved=datetime.fromisoformat(note["saved"]))
    except FileNotFoundError:
        return None
    except (OSError, zipfile.BadZipFile, ValueError, KeyError, TypeError, EOFError, zlib.error) as error:
        raise LabelError(f"The draft {path} is damaged: {error}.", "Discard it and draw again.") from error


def remove(folder: Path, case_id: str) -> None:
    """Delete the draft of a case, if there is one."""
    from napari_dasl.volumes.atomic import storage_error

    path = path_of(folder, case_id)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(error, path) from error
