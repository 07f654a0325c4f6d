"""How hard the cases of a project are to segment: one number per case and scorer, as it was last measured.

The numbers are kept in the scorer's own unit. Which end of it is hard is the scorer's to say
(`napari_dasl.curriculum.SCORERS`), and `napari_dasl.curriculum.difficulty.difficulty` turns them into numbers that
rise with hardness.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, get_args

import sqlalchemy as sa

from napari_dasl.errors import ProjectError
from napari_dasl.project import store

if TYPE_CHECKING:
    from collections.abc import Sequence

DifficultySource = Literal["label", "prediction", "model"]
"""What was measured: a human label; a prediction, in the place of a label that is missing; or the network itself (how
unsure it is, or what it loses on a case)."""

SOURCES: tuple[DifficultySource, ...] = get_args(DifficultySource)
_ROWS = store.difficulties


@dataclass(frozen=True)
class Difficulty:
    """How hard a case is by one scorer.

    Attributes
    ----------
    case : str
        Case id.
    scorer : str
        A key of `napari_dasl.curriculum.SCORERS`.
    value : float
        In the scorer's own unit. NaN: it was measured, and there was nothing to measure, such as no lesion. May be
        infinite.
    source : {"label", "prediction", "model"}
        See `DifficultySource`.
    model : str or None
        The model whose prediction or answer it is; None for a label, and for networks that were trained only to
        measure.
    revision : int or None
        The label that went into it, where one did.
    created : datetime or None
        UTC; None until it is stored.
    """

    case: str
    scorer: str
    value: float
    source: DifficultySource
    model: str | None = None
    revision: int | None = None
    created: datetime | None = None

    @property
    def on_prediction(self) -> bool:
        """Whether a prediction stood in for a label that is missing; such a number must be marked."""
        return self.source == "prediction"


def save(database: store.Store, rows: Sequence[Difficulty]) -> None:
    """Store *rows*, each in place of what the same scorer said about the case before.

    Raises
    ------
    ProjectError
        A row names no case of the project, no scorer, or an unknown source; nothing is stored.
    """
    for row in rows:
        if row.source not in SOURCES or not row.scorer:
            raise ProjectError(
                f"The difficulty of case {row.case} by {row.scorer!r} comes from {row.source!r}.",
                f"Name the scorer, and one of {', '.join(SOURCES)}.",
            )
    if not rows:
        return
    moment = store.now()
    # A list may hold a case and scorer twice; the later row is the newer one.
    values = {(row.case, row.scorer): _values(row, moment) for row in rows}
    with database.write() as connection:
        known = set(connection.scalars(sa.select(store.cases.c.id)))
        strange = sorted({case for case, _ in values} - known)
        if strange:
            raise ProjectError(f"The project has no case {strange[0]}.", "Measure the difficulties again.")
        here = _ROWS.c.case_id == sa.bindparam("b_case"), _ROWS.c.scorer == sa.bindparam("b_scorer")
        connection.execute(
            sa.delete(_ROWS).where(*here), [{"b_case": case, "b_scorer": scorer} for case, scorer in values]
        )
        connection.execute(sa.insert(_ROWS), list(values.values()))


def newest(database: store.Store, scorer: str | None = None) -> list[Difficulty]:
    """What was last measured, by one scorer or by all, in the order of scorer and case id."""
    query = sa.select(_ROWS).order_by(_ROWS.c.scorer, _ROWS.c.case_id)
    if scorer is not None:
        query = query.where(_ROWS.c.scorer == scorer)
    with database.read() as connection:
        return [
            Difficulty(
                case=row.case_id,
                scorer=row.scorer,
                value=math.nan if row.value is None else row.value,
                source=row.source,
                model=row.model,
                revision=row.revision,
                created=datetime.fromisoformat(row.created),
            )
            for row in connection.execute(query)
        ]


def _values(row: Difficulty, moment: datetime) -> dict[str, Any]:
    value = float(row.value)
    return {
        "case_id": row.case,
        "scorer": row.scorer,
        "value": None if math.isnan(value) else value,  # SQLite has no NaN
        "source": row.source,
        "model": row.model,
        "revision": row.revision,
        "created": (row.created or moment).isoformat(),
    }
