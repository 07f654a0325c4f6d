"""The work of annotators: what each label cost, as rows and in sums."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, get_args

import sqlalchemy as sa

from napari_dasl.errors import ProjectError
from napari_dasl.project import cases, store
from napari_dasl.project.records import Effort

if TYPE_CHECKING:
    from collections.abc import Iterable

EffortKind = Literal["drawn", "corrected", "accepted", "blind", "audit"]
KINDS: tuple[EffortKind, ...] = get_args(EffortKind)
_TIMES = ("opened", "first_edit", "saved")


@dataclass(frozen=True)
class EffortSummary:
    """Sums over the work of a project; each number over kinds has the kinds of `kind`, and only those that occur.

    Attributes
    ----------
    labels, cases : int
        Pieces of work, and cases they were done on.
    seconds, inspect_seconds, edit_seconds : float
        Active time: all, looking, drawing.
    median_seconds : float or None
        Median over cases of the active time a case took in all; None without any work.
    seconds_by_kind, median_by_kind : dict of str to float
        Active time of each kind, and its median over cases.
    labels_by_kind : dict of str to int
        Pieces of work of each kind.
    """

    labels: int
    cases: int
    seconds: float
    inspect_seconds: float
    edit_seconds: float
    median_seconds: float | None
    seconds_by_kind: dict[EffortKind, float]
    median_by_kind: dict[EffortKind, float]
    labels_by_kind: dict[EffortKind, int]


def kind(effort: Effort) -> EffortKind:
    """What kind of work it was; the first that holds.

    ``audit``, a blind check of a pseudo-label; ``blind``, the draft was hidden (guard set); ``accepted``, the draft
    was right as it was; ``drawn`` from nothing; ``corrected`` from a draft.
    """
    if effort.audit:
        return "audit"
    if effort.blind:
        return "blind"
    if effort.accepted_unchanged:
        return "accepted"
    return "drawn" if effort.drawn_from_nothing else "corrected"


def summary(efforts: Iterable[Effort]) -> EffortSummary:
    """Add up the work of a project, or of any part of it."""
    given = list(efforts)
    by_kind: dict[EffortKind, list[Effort]] = {name: [] for name in KINDS}
    for effort in given:
        by_kind[kind(effort)].append(effort)
    per_case = _per_case(given)
    return EffortSummary(
        labels=len(given),
        cases=len(per_case),
        seconds=sum(effort.seconds for effort in given),
        inspect_seconds=sum(effort.inspect_seconds for effort in given),
        edit_seconds=sum(effort.edit_seconds for effort in given),
        median_seconds=statistics.median(per_case) if per_case else None,
        seconds_by_kind={name: sum(e.seconds for e in found) for name, found in by_kind.items() if found},
        median_by_kind={name: statistics.median(_per_case(found)) for name, found in by_kind.items() if found},
        labels_by_kind={name: len(found) for name, found in by_kind.items() if found},
    )


def _per_case(efforts: Iterable[Effort]) -> list[float]:
    seconds: defaultdict[str, float] = defaultdict(float)
    for effort in efforts:
        seconds[effort.case] += effort.seconds
    return list(seconds.values())


def add(database: store.Store, effort: Effort) -> None:
    """Store a piece of work.

    Raises
    ------
    ProjectError
        The case or revision is unknown, the author is missing, a number is negative or a time has no zone.
    """
    _check(effort)
    row = {field.name: getattr(effort, field.name) for field in fields(effort) if field.name != "case"}
    for name in _TIMES:
        row[name] = row[name].astimezone(UTC).isoformat() if row[name] else None
    revisions = store.revisions.c
    with database.write() as connection:
        known = list(connection.scalars(sa.select(store.cases.c.id).order_by(store.cases.c.position)))
        if effort.case not in known:
            raise ProjectError(f"The project has no case {effort.case}.", cases.near_miss(effort.case, known, "cases"))
        query = sa.select(revisions.number).where(revisions.case_id == effort.case)
        if effort.revision is not None and effort.revision not in connection.scalars(query).all():
            raise ProjectError(
                f"Case {effort.case} has no label revision {effort.revision}.", "Record the label before its effort."
            )
        connection.execute(sa.insert(store.efforts).values(case_id=effort.case, **row))


def every(database: store.Store, case_id: str | None = None) -> list[Effort]:
    """All work, or that on one case, in the order it was stored."""
    query = sa.select(store.efforts).order_by(store.efforts.c.id)
    if case_id is not None:
        query = query.where(store.efforts.c.case_id == case_id)
    with database.read() as connection:
        return [_effort(row) for row in connection.execute(query)]


def active_seconds(database: store.Store) -> float:
    """Active time of all annotators: the stored work, and the time of human labels that came without any."""
    done, made = store.efforts.c, store.revisions.c
    work = sa.select(sa.func.sum(done.inspect_seconds + done.edit_seconds))
    same = sa.exists().where(done.case_id == made.case_id, done.revision == made.number)
    others = sa.select(sa.func.sum(made.seconds)).where(made.source != "pseudo", ~same)
    with database.read() as connection:
        return float(connection.scalar(work) or 0.0) + float(connection.scalar(others) or 0.0)


def _check(effort: Effort) -> None:
    if not effort.author.strip():
        raise ProjectError("Annotation effort needs an author.", "Give a name.")
    counted = ("inspect_seconds", "edit_seconds", "strokes", "undos", "voxels_changed")
    for name in counted:
        value = getattr(effort, name)
        if value is not None and not 0 <= value < math.inf:
            raise ProjectError(
                f"The effort on case {effort.case} has {name} = {value}.", "Give a finite number from 0 up."
            )
    for name in _TIMES:
        moment: datetime | None = getattr(effort, name)
        if moment is not None and moment.tzinfo is None:
            raise ProjectError(f"The effort on case {effort.case} has {name} without a time zone.", "Give UTC times.")


def _effort(row: sa.Row[Any]) -> Effort:
    values = dict(row._mapping)
    del values["id"]
    for name in _TIMES:
        values[name] = datetime.fromisoformat(values[name]) if values[name] else None
    for name in ("drawn_from_nothing", "accepted_unchanged", "blind", "audit"):
        values[name] = bool(values[name])
    return Effort(case=values.pop("case_id"), **values)
