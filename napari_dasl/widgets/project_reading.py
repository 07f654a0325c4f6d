"""What a session reads of project folders, off the window's thread. No Qt here."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_dasl.project import Project


def open_project(folder: str | Path) -> tuple[Project, list[str]]:
    """Open the project in *folder*; return it with its cases still to be labelled, best first."""
    from napari_dasl.project import Project

    project = Project.open(Path(folder))
    return project, waiting_cases(project)


def waiting_cases(project: Project) -> list[str]:
    """Return the cases that wait for a human label: those the last round asked for, then by rank, then the rest."""
    ranks = {score.case: score.rank for score in project.scores()}
    pool = [case.id for case in project.pool()]
    done = [item for item in project.rounds() if item.state == "done"]
    asked = frozenset(done[-1].result.get("asked") or ()) if done else frozenset()
    return sorted(pool, key=lambda case: (case not in asked, ranks.get(case, len(ranks) + 1)))


def class_volumes(mask: NDArray[np.integer], classes: int, spacing: Sequence[float]) -> list[float]:
    """Return the volume of each class in millilitres.

    Parameters
    ----------
    mask : (z, y, x) array
        Label map, 0 is background.
    classes : int
        Number of classes.
    spacing : (float, float, float)
        (sz, sy, sx) in mm.
    """
    counts = np.zeros(classes + 1, dtype=np.int64)
    for plane in mask:  # plane by plane, because bincount turns everything into 64 bit
        if plane.any():
            counts += np.bincount(plane.ravel(), minlength=classes + 1)[: classes + 1]
    voxel = float(np.prod(spacing)) / 1000
    return [float(count) * voxel for count in counts[1:]]


def account_name() -> str:
    """Return the name that goes with a saved label: that of the account."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # no account name on this system
        return "unknown"
