"""One process at a time: what several runs share is made by the first that needs it, and the others wait for it."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

from napari_dasl.errors import Cancelled, StorageError
from napari_dasl.events import CancelCheck, never

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WAIT_SECONDS = 0.5


@contextmanager
def alone(folder: Path, cancelled: CancelCheck = never) -> Iterator[None]:
    """Be the only process in the block that names *folder*, which is made; the others wait.

    The door is a lock of SQLite's, which the system opens when its holder dies, however it dies.

    Raises
    ------
    Cancelled
        While waiting.
    StorageError
        The folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        door = sqlite3.connect(folder / "turn.sqlite", timeout=WAIT_SECONDS, isolation_level=None)
    except (OSError, sqlite3.OperationalError) as error:
        raise StorageError(f"{folder} cannot be written: {error}.", "Choose another folder.") from error
    try:
        _enter(door, folder, cancelled)
        yield
    finally:
        door.close()


def _enter(door: sqlite3.Connection, folder: Path, cancelled: CancelCheck) -> None:
    while True:
        try:
            door.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise StorageError(f"{folder} cannot be locked: {error}.", "Choose another folder.") from error
            if cancelled():
                raise Cancelled("Stopped while another run makes what is shared.", "What is there is kept.") from None
        else:
            return
