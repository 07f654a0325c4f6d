"""Models, their scores, rounds and the diary of a project as rows."""

from __future__ import annotations

import json
import os
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from napari_dasl.errors import ProjectError
from napari_dasl.project import store
from napari_dasl.project.records import ROUND_STATES, LoggedEvent, Model, Round, RoundState, Score

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

MODELS = "models"
ROUNDS = "rounds"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def model_home(folder: Path, model_id: str) -> Path:
    """Folder of a model; ProjectError where the id is no safe folder name."""
    if not _NAME.fullmatch(model_id):
        raise ProjectError(f"{model_id!r} cannot name a model.", "Use letters, digits, dots, dashes and underscores.")
    return folder / MODELS / model_id


def add_model(database: store.Store, model: Model) -> None:
    """Store a model; where it is active, the others are not any more.

    Raises
    ------
    ProjectError
        There is a model of that id already.
    """
    with database.write() as connection:
        if connection.scalar(sa.select(store.models.c.id).where(store.models.c.id == model.id)):
            raise ProjectError(f"The project has a model {model.id} already.", "Give the new one another id.")
        if model.active:
            connection.execute(sa.update(store.models).values(active=False))
        connection.execute(
            sa.insert(store.models).values(
                id=model.id,
                parent=model.parent,
                round=model.round,
                created=model.created.isoformat(),
                active=model.active,
                promoted=model.promoted,
                guard=store.encode(model.guard),
                config=store.encode(model.config),
            )
        )


def models(database: store.Store, folder: Path) -> list[Model]:
    """All models, oldest first."""
    query = sa.select(store.models).order_by(store.models.c.created, store.models.c.id)
    with database.read() as connection:
        return [_model(row, folder) for row in connection.execute(query)]


def activate(database: store.Store, model_id: str) -> None:
    """Make one stored model the active one."""
    with database.write() as connection:
        connection.execute(sa.update(store.models).values(active=store.models.c.id == model_id))


def save_scores(database: store.Store, model_id: str, scores: Sequence[Score]) -> None:
    """Replace the scores of a model."""
    rows = [
        {
            "model": model_id,
            "case_id": score.case,
            "rank": score.rank,
            "score": _number(score.score),
            "uncertainty": _number(score.uncertainty),
            "similarity": _number(score.similarity),
            "difficulty": _number(score.difficulty),
            "parts": store.encode(score.parts),
            "words": score.words,
            "similar_cases": store.encode(score.similar),
        }
        for score in scores
    ]
    with database.write() as connection:
        connection.execute(sa.delete(store.scores).where(store.scores.c.model == model_id))
        if rows:
            connection.execute(sa.insert(store.scores), rows)


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)


def scores(database: store.Store, model_id: str) -> list[Score]:
    """Scores of a model by rank."""
    query = sa.select(store.scores).where(store.scores.c.model == model_id).order_by(store.scores.c.rank)
    with database.read() as connection:
        rows = list(connection.execute(query))
    return [
        Score(
            case=row.case_id,
            model=row.model,
            rank=row.rank,
            score=row.score,
            uncertainty=row.uncertainty,
            similarity=row.similarity,
            difficulty=row.difficulty,
            parts=json.loads(row.parts),
            words=row.words,
            similar=tuple((case, cosine, labelled) for case, cosine, labelled in json.loads(row.similar_cases or "[]")),
        )
        for row in rows
    ]


def new_round(database: store.Store, folder: Path, phase: str, plan: Mapping[str, Any]) -> Round:
    """Open the next round, with its folder and ``plan.json`` in it; StorageError where that cannot be written."""
    from napari_dasl.volumes.atomic import storage_error, write_bytes_atomic

    started = store.now()
    text = store.encode(dict(plan))
    with database.write() as connection:
        known = connection.scalar(sa.select(sa.func.max(store.rounds.c.number))) or 0
        number = 1 + max(known, *_numbers_on_disk(folder / ROUNDS))
        home = _round_home(folder, number)
        try:
            home.mkdir(parents=True)
        except OSError as error:
            raise storage_error(error, home) from error
        write_bytes_atomic(home / "plan.json", text.encode())
        connection.execute(
            sa.insert(store.rounds).values(
                number=number, phase=phase, state="running", plan=text, result="{}", started=started.isoformat()
            )
        )
    return Round(number, phase, "running", json.loads(text), {}, started, None, home)


def set_round(
    database: store.Store, number: int, state: RoundState, result: Mapping[str, Any] | None, finished: datetime | None
) -> None:
    """Change the state of a round, and its result unless that is None; ProjectError where there is no such round."""
    if state not in ROUND_STATES:
        raise ProjectError(f"A round cannot be {state!r}.", f"Allowed: {', '.join(ROUND_STATES)}.")
    values: dict[str, Any] = {"state": state, "finished": finished.isoformat() if finished else None}
    if result is not None:
        values["result"] = store.encode(dict(result))
    with database.write() as connection:
        changed = connection.execute(sa.update(store.rounds).where(store.rounds.c.number == number).values(**values))
        if changed.rowcount == 0:
            raise ProjectError(f"The project has no round {number}.", "Look at its rounds with `status`.")


def rounds(database: store.Store, folder: Path) -> list[Round]:
    """All rounds, oldest first."""
    with database.read() as connection:
        rows = list(connection.execute(sa.select(store.rounds).order_by(store.rounds.c.number)))
    return [
        Round(
            number=row.number,
            phase=row.phase,
            state=row.state,
            plan=json.loads(row.plan),
            result=json.loads(row.result),
            started=datetime.fromisoformat(row.started),
            finished=datetime.fromisoformat(row.finished) if row.finished else None,
            folder=_round_home(folder, row.number),
        )
        for row in rows
    ]


def log_event(database: store.Store, kind: str, payload: Mapping[str, Any]) -> None:
    """Add a line to the diary."""
    row = {"kind": kind, "payload": store.encode(dict(payload)), "created": store.now().isoformat()}
    with database.write() as connection:
        connection.execute(sa.insert(store.events).values(**row))


def events(database: store.Store, kind: str | None) -> list[LoggedEvent]:
    """The diary, oldest first; of one kind, or all."""
    query = sa.select(store.events).order_by(store.events.c.id)
    if kind is not None:
        query = query.where(store.events.c.kind == kind)
    with database.read() as connection:
        rows = list(connection.execute(query))
    return [LoggedEvent(row.kind, json.loads(row.payload), datetime.fromisoformat(row.created)) for row in rows]


def _model(row: sa.Row[Any], folder: Path) -> Model:
    return Model(
        id=row.id,
        parent=row.parent,
        round=row.round,
        created=datetime.fromisoformat(row.created),
        active=bool(row.active),
        promoted=bool(row.promoted),
        guard=json.loads(row.guard),
        config=json.loads(row.config),
        folder=folder / MODELS / row.id,
    )


def _round_home(folder: Path, number: int) -> Path:
    return folder / ROUNDS / f"{number:04d}"


def _numbers_on_disk(home: Path) -> list[int]:
    names = os.listdir(home) if home.is_dir() else []
    return [0, *(int(name) for name in names if name.isdecimal())]
