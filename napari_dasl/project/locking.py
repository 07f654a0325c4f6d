"""``training.lock``: one engine at a time trains on a project.

The file says which process on which host trains, since when and for whom. It outlives a killed process; whoever comes
next on the same host sees that the process is gone and takes the file over. Whether a process of another host still
lives cannot be seen from here, so that such a file is refused and its removal left to a person.
"""

from __future__ import annotations

import getpass
import os
import secrets
import socket
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from napari_dasl.errors import ProjectError
from napari_dasl.project.store import now

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_dasl.project.store import Store

FILE_NAME = "training.lock"
_SAME_PROCESS_SECONDS = 60.0
"""How far two readings of one process's start may lie apart (a clock that was set); pids are not reused so soon."""


class Holder(BaseModel):
    """Who trains, as the file says it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pid: int = Field(gt=0)
    process_started: float  # seconds since 1970
    host: str
    user: str
    since: AwareDatetime
    token: str


@contextmanager
def held(database: Store, folder: Path) -> Iterator[Holder]:
    """Hold the lock of the project in *folder* for the length of the block.

    Raises
    ------
    ProjectError
        Somebody trains on the project, or did on another host and left the lock behind.
    StorageError
        The file cannot be written.
    """
    from napari_dasl.volumes.atomic import write_bytes_atomic

    path = folder / FILE_NAME
    with database.alone():  # nobody else looks at the file, or breaks it, between our look and our write
        other = _read(path)
        if other is not None and _alive(other):
            raise _busy(other, path)
        mine = _this_process()
        write_bytes_atomic(path, mine.model_dump_json().encode())
    try:
        yield mine
    finally:
        with suppress(OSError, ProjectError):
            if _read(path) == mine:
                path.unlink()


def _this_process() -> Holder:
    import psutil

    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # no entry for this user, as in some containers
        user = "somebody"
    return Holder(
        pid=os.getpid(),
        process_started=psutil.Process().create_time(),
        host=socket.gethostname(),
        user=user,
        since=now(),
        token=secrets.token_hex(8),
    )


def _read(path: Path) -> Holder | None:
    try:
        return Holder.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise ProjectError(
            f"The training lock {path} is damaged.", "Delete that file if nothing trains on this project."
        ) from error


def _alive(holder: Holder) -> bool:
    """Whether the holder may still train: it does, or it runs where we cannot see."""
    import psutil

    if holder.host != socket.gethostname():
        return True
    try:
        process = psutil.Process(holder.pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return bool(abs(process.create_time() - holder.process_started) < _SAME_PROCESS_SECONDS)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def _busy(holder: Holder, path: Path) -> ProjectError:
    since = f"{holder.since:%Y-%m-%d %H:%M} UTC"
    who = f"process {holder.pid} of {holder.user} on {holder.host} since {since}"
    if holder.host == socket.gethostname():
        return ProjectError(
            f"This project is being trained on by {who}.", "Wait until it is done, or stop it and try again."
        )
    return ProjectError(
        f"This project is being trained on by {who}, which cannot be looked at from here.",
        f"Wait until it is done; if that process is gone, delete {path}.",
    )
