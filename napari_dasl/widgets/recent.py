"""The projects opened last, kept in the user's state folder; a broken or missing file only means an empty list."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from platformdirs import user_state_path

from napari_dasl.errors import StorageError
from napari_dasl.volumes.atomic import write_bytes_atomic

log = logging.getLogger(__name__)

KEPT = 8


def recent_file() -> Path:
    """Return where the list is kept."""
    return user_state_path("napari-dasl", appauthor=False) / "recent.json"


def recent_projects(file: Path | None = None) -> list[Path]:
    """Return the folders of the projects opened last that still hold one, newest first."""
    return [folder for folder in _read(file or recent_file()) if _is_project(folder)]


def remember_project(folder: Path, file: Path | None = None) -> None:
    """Put *folder* at the top of the list; a disk that refuses is no reason to disturb anybody."""
    file = file or recent_file()
    folder = folder.resolve()
    folders = [folder, *(other for other in _read(file) if other != folder)][:KEPT]
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_bytes_atomic(file, json.dumps([str(one) for one in folders], indent=1).encode())
    except (OSError, StorageError) as error:
        log.info("the list of recent projects was not written: %s", error)


def _read(file: Path) -> list[Path]:
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [Path(entry) for entry in entries if isinstance(entry, str)] if isinstance(entries, list) else []


def _is_project(folder: Path) -> bool:
    try:
        return (folder / "project.toml").is_file()
    except OSError:
        return False
