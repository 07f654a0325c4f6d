"""The report of a project: one HTML page with everything in it, to keep, to print and to hand on.

:func:`write` is what the command line calls; :func:`build` returns the page as text. Each section of the page is a
module of its own: a function that gathers the numbers into a frozen dataclass, functions that draw figures and tables
from it, and ``section``, which puts them into words. Nothing here needs torch or Qt; matplotlib is imported when a page
is made.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from napari_dasl.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from napari_dasl.project import Project

__all__ = ["build", "write"]


def build(project: Project, *, now: datetime, simulations: Sequence[Path] = ()) -> str:
    """Return the report of *project* as one HTML page that needs no network.

    Parameters
    ----------
    project : Project
        Only read.
    now : datetime
        When the report is made; it stands in the footer, and everything else follows from the project alone.
    simulations : sequence of Path
        Folders of simulations beside those under ``simulations`` of the project.

    Raises
    ------
    InputError
        matplotlib is not installed, or a folder of *simulations* holds no result of one.
    """
    _need_matplotlib()
    from napari_dasl.reports import detection, effort, learning_curve, page, pool, rounds, selfpaced, simulated, summary

    sections = (
        summary.section(project),
        rounds.section(project),
        detection.section(project),
        selfpaced.section(project),
        pool.section(project),
        effort.section(project),
        learning_curve.section(project),
        simulated.section(project.folder, simulations),
    )
    there = [section for section in sections if section is not None]
    return page.render(f"{project.config.name}: report", there, now=now)


def write(project: Project, out: Path | None = None, *, now: datetime, simulations: Sequence[Path] = ()) -> Path:
    """Write the report of *project* and return its absolute path.

    Parameters
    ----------
    out : Path, optional
        ``reports/report.html`` of the project when left out. An older file there is replaced in one step.
    now, simulations
        As in :func:`build`.

    Raises
    ------
    InputError
        As in :func:`build`, or *out* is a folder.
    StorageError
        It could not be written; an older report is untouched.
    """
    from napari_dasl.volumes.atomic import storage_error, write_bytes_atomic

    target = (out or project.folder / "reports" / "report.html").expanduser().resolve()
    if target.is_dir():
        raise InputError(f"{target} is a folder.", "Name a file for the report.")
    text = build(project, now=now, simulations=simulations)
    if out is None:
        try:
            target.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise storage_error(error, target) from error
    write_bytes_atomic(target, text.encode())
    return target


def _need_matplotlib() -> None:
    if find_spec("matplotlib") is None:
        raise InputError("A report needs matplotlib.", 'Install it with `pip install "napari-dasl[report]"`.')
