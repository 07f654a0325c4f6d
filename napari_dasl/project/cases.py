"""The cases of a project as rows: read in one query, changed one by one."""

from __future__ import annotations

import difflib
import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from napari_dasl.errors import ProjectError
from napari_dasl.project import drafts, standing, store
from napari_dasl.project.records import Case, CaseState, Series

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from pathlib import Path

    from napari_dasl.volumes import Geometry


def derive_state(
    *, unreadable: bool, draft: bool, guard: bool, labelled: bool, pseudo: bool, skipped: bool
) -> CaseState:
    """Turn what is known about a case into its state; the first that holds, in the order of `CaseState`'s text."""
    if unreadable:
        return CaseState.UNREADABLE
    if draft:
        return CaseState.DRAFT
    if labelled:
        return CaseState.GUARD if guard else CaseState.LABELLED
    if pseudo:
        return CaseState.PSEUDO
    return CaseState.SKIPPED if skipped else CaseState.UNLABELLED


def every(database: store.Store, folder: Path, only: str | None = None) -> list[Case]:
    """Read all cases in the order they were added, or *only* one, by one query.

    Parameters
    ----------
    database : Store
        Of the project.
    folder : Path
        The project folder; scans inside it are stored relative to it.
    only : str, optional
        Id of the one case to read.
    """
    kinds = (
        sa.select(
            store.revisions.c.case_id,
            sa.func.max(sa.case((store.revisions.c.source != "pseudo", 1), else_=0)).label("human"),
        )
        .group_by(store.revisions.c.case_id)
        .subquery()
    )
    counting = standing.counting()
    query = (
        sa.select(store.cases, kinds.c.human, counting.c.case_id.label("pseudo"))
        .select_from(
            store.cases.outerjoin(kinds, kinds.c.case_id == store.cases.c.id).outerjoin(
                counting, counting.c.case_id == store.cases.c.id
            )
        )
        .order_by(store.cases.c.position)
    )
    if only is not None:
        query = query.where(store.cases.c.id == only)
    waiting = drafts.waiting(folder)
    with database.read() as connection:
        return [_case(row, folder, waiting) for row in connection.execute(query)]


def one(database: store.Store, folder: Path, case_id: str) -> Case:
    """Read one case; ProjectError for an unknown id."""
    found = every(database, folder, only=case_id)
    if found:
        return found[0]
    known = [case.id for case in every(database, folder)]
    raise ProjectError(f"The project has no case {case_id}.", near_miss(case_id, known, "cases"))


def near_miss(name: str, known: Sequence[str], what: str) -> str:
    """Say which of the *known* names was probably meant by *name*, or which there are."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if near:
        return f"Did you mean {near[0]}?"
    shown = ", ".join(known[:5]) + (" …" if len(known) > 5 else "")
    return f"Its {what}: {shown}." if known else f"It has no {what} yet."


def insert(
    database: store.Store, folder: Path, new: Iterable[tuple[str, Sequence[Series], Geometry]]
) -> list[tuple[str, Sequence[Series]]]:
    """Add cases (id, series, geometry of the reference); give back those whose id somebody else took meanwhile."""
    refused = []
    with database.write() as connection:
        taken = {name.casefold() for name in connection.scalars(sa.select(store.cases.c.id))}
        position = (connection.scalar(sa.select(sa.func.max(store.cases.c.position))) or 0) + 1
        for case_id, series, geometry in new:
            if case_id.casefold() in taken:
                refused.append((case_id, series))
                continue
            grid = {"shape": geometry.canonical_shape, "spacing": geometry.spacing, "grid": geometry.as_dict()}
            connection.execute(
                sa.insert(store.cases).values(
                    id=case_id,
                    position=position,
                    series=store.encode([_series_row(one, folder) for one in series]),
                    geometry=store.encode(grid),
                    guard=False,
                    created=store.now().isoformat(),
                )
            )
            position += 1
    return refused


def change(database: store.Store, case_ids: Collection[str], **columns: Any) -> None:
    """Set columns (``guard``, ``skipped``, ``unreadable``) of some cases."""
    with database.write() as connection:
        connection.execute(sa.update(store.cases).where(store.cases.c.id.in_(case_ids)).values(**columns))


def replace_series(database: store.Store, folder: Path, case_id: str, series: Sequence[Series]) -> None:
    """Store the series of a case anew."""
    change(database, [case_id], series=store.encode([_series_row(one, folder) for one in series]))


def _case(row: Any, folder: Path, waiting: Collection[str]) -> Case:
    labelled = bool(row.human)
    flags = {
        "labelled": labelled,
        "pseudo": row.pseudo is not None and not labelled,
        "skipped": row.skipped is not None,
        "guard": bool(row.guard),
    }
    state = derive_state(unreadable=row.unreadable is not None, draft=row.id in waiting, **flags)
    reason = {CaseState.UNREADABLE: row.unreadable, CaseState.SKIPPED: row.skipped}.get(state)
    shape, spacing, geometry = _grid(row.geometry)
    return Case(
        id=row.id,
        series=_all_series(row.series, folder),
        shape=shape,
        spacing=spacing,
        state=state,
        reason=reason or "",
        geometry=geometry,
        **flags,
    )


# The window reads the cases often, and what a case is made of hardly ever changes: the same text gives the same value.
@lru_cache(maxsize=8192)
def _grid(text: str) -> tuple[tuple[int, int, int], tuple[float, float, float], Geometry]:
    from napari_dasl.volumes import Geometry

    grid = json.loads(text)
    z, y, x = grid["shape"]
    sz, sy, sx = grid["spacing"]
    return (z, y, x), (sz, sy, sx), Geometry.from_dict(grid["grid"])


@lru_cache(maxsize=8192)
def _all_series(text: str, folder: Path) -> tuple[Series, ...]:
    return tuple(_series(one, folder) for one in json.loads(text))


def _series_row(series: Series, folder: Path) -> dict[str, Any]:
    """Store scans inside the project relative to it, so that the folder can be moved."""
    inside = series.path.is_relative_to(folder)
    return {
        "channel": series.channel,
        "path": series.path.relative_to(folder).as_posix() if inside else str(series.path),
        "uid": series.series_uid,
        "stamp": [series.stamp.size, series.stamp.mtime_ns, series.stamp.sha256],
    }


def _series(row: dict[str, Any], folder: Path) -> Series:
    from napari_dasl.volumes import FileStamp

    size, mtime_ns, sha256 = row["stamp"]
    stamp = FileStamp(size=size, mtime_ns=mtime_ns, sha256=sha256)
    return Series(channel=row["channel"], path=folder / row["path"], stamp=stamp, series_uid=row["uid"])
