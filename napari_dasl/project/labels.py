"""The label history of a case: every revision is kept, none is ever changed.

A revision is a file ``labels/<case>/0003.nii.gz`` on the grid of the scan and a row that knows who, when and from what.
The file is complete and on the disk before its row is. A process that dies between the two leaves a file without a row:
it is ignored, and its number is not used again.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import sqlalchemy as sa

from napari_dasl.errors import GridMismatch, LabelError, ProjectError, StorageError
from napari_dasl.project import store
from napari_dasl.project.instances import HIGHEST_ID
from napari_dasl.project.records import LABEL_SOURCES, LabelSource, Revision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_dasl.project.records import Case

    Also = Callable[[sa.Connection, Revision], None]

FOLDER = "labels"
_SUFFIX = ".nii.gz"
_NUMBERED = re.compile(r"(\d{4,})\.nii\.gz")
_TEMPORARY = ".new-"
_RECORDED = tuple(source for source in LABEL_SOURCES if source != "pseudo")  # pseudo-labels are kept apart


@dataclass(frozen=True)
class Origin:
    """Where a new revision comes from; the fields are those of `Revision`."""

    author: str
    source: LabelSource = "human"
    seconds: float = 0.0
    model: str | None = None
    round: int | None = None
    image_sha256: str = ""


def checked(
    mask: NDArray[Any], case: Case, classes: Sequence[str], *, instances: bool = False
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Turn *mask* into the label map of a case: whole numbers 0 … len(classes) on the grid of its scan.

    Parameters
    ----------
    mask : array (z, y, x)
        Any integer or boolean type.
    case : Case
        Whose scan gives the grid.
    classes : sequence of str
        Label k is the k-th name.
    instances : bool
        The values number lesions of the one class: any up to 65535 is allowed.

    Returns
    -------
    array (z, y, x)
        uint8, or uint16 where there are more than 255 classes, or values that number lesions. The values are those
        of *mask*.

    Raises
    ------
    GridMismatch
        The shape is not the scan's.
    LabelError
        The type is not whole numbers, or a value is no class of the project and no number of a lesion.
    """
    if mask.shape != case.shape:
        raise GridMismatch(
            f"The label has shape {mask.shape}, but the scan of case {case.id} has {case.shape} (z, y, x).",
            "Draw or resample it on the grid of that scan.",
        )
    if mask.dtype.kind not in "bui":
        raise LabelError(f"The label of case {case.id} is {mask.dtype}, not whole numbers.", "Convert it to uint8.")
    lowest, highest = int(mask.min(initial=0)), int(mask.max(initial=0))
    if instances:
        if lowest < 0 or highest > HIGHEST_ID:
            raise LabelError(
                f"The label of case {case.id} holds the value {lowest if lowest < 0 else highest}, but lesions are "
                f"numbered from 1 to {HIGHEST_ID}.",
                "Number the lesions anew.",
            )
        return np.ascontiguousarray(mask, dtype=np.uint16)
    if lowest < 0 or highest > len(classes):
        wrong = lowest if lowest < 0 else highest
        allowed = ", ".join(["0 background", *(f"{k} {name}" for k, name in enumerate(classes, 1))])
        raise LabelError(
            f"The label of case {case.id} holds the value {wrong}, but the project knows {allowed}.",
            "Change the label, or add the class to `classes` in project.toml.",
        )
    whole = np.ascontiguousarray(mask, dtype=np.uint8 if len(classes) <= 255 else np.uint16)
    return cast("NDArray[np.uint8] | NDArray[np.uint16]", whole)


def history(database: store.Store, folder: Path, case_id: str) -> list[Revision]:
    """All revisions of a case, oldest first."""
    query = sa.select(store.revisions).where(store.revisions.c.case_id == case_id).order_by(store.revisions.c.number)
    with database.read() as connection:
        return [_revision(row, folder) for row in connection.execute(query)]


def newest_human(database: store.Store) -> dict[str, int]:
    """The newest human revision of every case that has one, by one question to the database."""
    rows = store.revisions.c
    query = sa.select(rows.case_id, sa.func.max(rows.number)).where(rows.source != "pseudo").group_by(rows.case_id)
    with database.read() as connection:
        return {case: int(number) for case, number in connection.execute(query)}


def record(
    database: store.Store,
    folder: Path,
    case: Case,
    mask: NDArray[np.uint8] | NDArray[np.uint16],
    origin: Origin,
    also: Also | None = None,
) -> Revision:
    """Add *mask* (already `checked`) as the newest revision of *case*.

    *also* runs in the transaction that adds the row, before the file has its name: what it writes is there with the
    revision or not at all, and what it refuses refuses the revision.

    Raises
    ------
    ProjectError
        The origin is not one that a revision can have.
    StorageError
        It could not be stored; nothing has changed.
    """
    from napari_dasl.volumes import write_mask

    _check_origin(origin)
    with _temporary(folder, case.id) as temporary:
        write_mask(temporary, mask, case.geometry)
        before = history(database, folder, case.id)
        changed = _voxels_changed(before[-1], case, mask) if before else None
        return _publish(database, folder, case.id, temporary, origin, changed, also)


def restore(database: store.Store, folder: Path, case: Case, number: int, author: str, image_sha256: str) -> Revision:
    """Add the content of an old revision as the newest one; the bytes are the same.

    Raises
    ------
    LabelError
        There is no such revision, or its file was lost or changed.
    StorageError
        It could not be stored; nothing has changed.
    """
    from napari_dasl.volumes.atomic import storage_error

    before = history(database, folder, case.id)
    old = chosen(before, case.id, number)
    assert old is not None
    mask = load(old, case)
    origin = Origin(author, "restored", 0.0, old.model, old.round, image_sha256)
    _check_origin(origin)
    with _temporary(folder, case.id) as temporary:
        try:
            shutil.copyfile(old.path, temporary)
            _sync(temporary)
        except OSError as error:
            raise storage_error(error, old.path.parent) from error
        return _publish(database, folder, case.id, temporary, origin, _voxels_changed(before[-1], case, mask))


def chosen(revisions: Sequence[Revision], case_id: str, number: int | None) -> Revision | None:
    """Pick revision *number*, or with None the newest human one (None where there is none); LabelError if unknown."""
    if number is None:
        return next((revision for revision in reversed(revisions) if revision.human), None)
    for revision in revisions:
        if revision.number == number:
            return revision
    known = ", ".join(str(revision.number) for revision in revisions) or "none"
    raise LabelError(f"Case {case_id} has no label revision {number}.", f"Revisions of this case: {known}.")


def load(revision: Revision, case: Case) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Read the label map (z, y, x) of a revision and check that it is the one that was recorded.

    Raises
    ------
    LabelError
        The file is missing or its content is not what was recorded.
    GridMismatch
        The scan of the case has another grid now.
    """
    from napari_dasl.volumes import read_mask

    hint = "Restore the file from a backup, or restore another revision of this case."
    try:
        found = _sha256(revision.path)
    except OSError as error:
        raise LabelError(f"The label {revision.path} cannot be read: {error.strerror}.", hint) from error
    if found != revision.sha256:
        raise LabelError(f"The label {revision.path} was changed after it was recorded.", hint)
    return cast("NDArray[np.uint8]", read_mask(revision.path, case.geometry))


def _check_origin(origin: Origin) -> None:
    if origin.source not in _RECORDED:
        raise ProjectError(f"A label cannot come from {origin.source!r}.", f"Allowed: {', '.join(_RECORDED)}.")
    if not origin.author.strip():
        raise ProjectError("A label needs an author.", "Give a name.")
    if not 0 <= origin.seconds < float("inf"):
        raise ProjectError(f"A label cannot have taken {origin.seconds} seconds.", "Give seconds from 0 up.")


def _voxels_changed(before: Revision, case: Case, mask: NDArray[Any]) -> int | None:
    try:
        return int(np.count_nonzero(load(before, case) != mask))
    except (LabelError, GridMismatch):
        return None  # a lost old revision must not stop a new one


@contextmanager
def _temporary(folder: Path, case_id: str) -> Iterator[Path]:
    """Name of a new file in the label folder of a case, removed at the end unless it was renamed."""
    from napari_dasl.volumes.atomic import TEMPORARY_PREFIX, storage_error, sweep

    home = folder / FOLDER / case_id
    path = home / f"{_TEMPORARY}{secrets.token_hex(4)}{_SUFFIX}"
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, home) from error
    for prefix in (_TEMPORARY, TEMPORARY_PREFIX):
        sweep(home, prefix)
    try:
        yield path
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _publish(
    database: store.Store,
    folder: Path,
    case_id: str,
    temporary: Path,
    origin: Origin,
    changed: int | None,
    also: Also | None = None,
) -> Revision:
    """Give the complete file its number and write its row, as the only writer of the project."""
    from napari_dasl.volumes.atomic import storage_error

    home = temporary.parent
    digest = _sha256(temporary)
    path = home
    try:
        with database.write() as connection:
            # Locks the case where the database has row locks; SQLite's transaction is the only writer anyway.
            connection.execute(sa.select(store.cases.c.id).where(store.cases.c.id == case_id).with_for_update())
            query = sa.select(store.revisions).where(store.revisions.c.case_id == case_id)
            before = [_revision(row, folder) for row in connection.execute(query)]
            number = 1 + max([0, *(revision.number for revision in before), *_numbers_on_disk(home)])
            path = home / f"{number:04d}{_SUFFIX}"
            revision = Revision(
                case=case_id,
                number=number,
                sha256=digest,
                author=origin.author,
                source=origin.source,
                model=origin.model,
                round=origin.round,
                seconds=float(origin.seconds),
                created=store.now(),
                image_sha256=origin.image_sha256,
                voxels_changed=changed,
                path=path,
            )
            if also is not None:
                also(connection, revision)
            os.rename(temporary, path)
            _sync_folder(home)
            connection.execute(sa.insert(store.revisions).values(_row(revision)))
    except OSError as error:
        raise storage_error(error, path) from error
    except StorageError:
        _drop_unrecorded(database, folder, case_id, path)
        raise
    return revision


def _drop_unrecorded(database: store.Store, folder: Path, case_id: str, path: Path) -> None:
    """Take back the file of a row that could not be stored, if the database can tell that there is no such row."""
    with suppress(StorageError, OSError):
        if path.is_file() and all(revision.path != path for revision in history(database, folder, case_id)):
            path.unlink()


def _row(revision: Revision) -> dict[str, Any]:
    row = {column: getattr(revision, column) for column in store.revisions.c.keys() if column != "case_id"}  # noqa: SIM118
    return {**row, "case_id": revision.case, "created": revision.created.isoformat()}


def _numbers_on_disk(home: Path) -> list[int]:
    return [int(match[1]) for name in os.listdir(home) if (match := _NUMBERED.fullmatch(name))]


def _revision(row: sa.Row[Any], folder: Path) -> Revision:
    values = dict(row._mapping)
    case_id, created = values.pop("case_id"), values.pop("created")
    path = folder / FOLDER / case_id / f"{values['number']:04d}{_SUFFIX}"
    return Revision(case=case_id, created=datetime.fromisoformat(created), path=path, **values)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_folder(folder: Path) -> None:
    with suppress(PermissionError):  # Windows opens no folders; there the rename is in the journal of NTFS
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
