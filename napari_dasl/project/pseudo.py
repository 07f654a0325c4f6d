"""Pseudo-labels and what annotators said about them, as rows of their own: they never mix with labels.

A pseudo-label is a row that points at a model's stored prediction; the mask is not copied. All candidates of a round
are kept, those of weight 0 too. Reviews are only ever added: the newest of a case says where it stands.
"""

from __future__ import annotations

import math
from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from napari_dasl.errors import ProjectError
from napari_dasl.project import cases, standing, store
from napari_dasl.project.records import PseudoLabel, PseudoReview, Revision

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from napari_dasl.project.records import ReviewVerdict

_LABELS, _REVIEWS = store.pseudo_labels, store.pseudo_reviews


def save(
    database: store.Store, round_number: int, rows: Sequence[PseudoLabel], predicted: Mapping[str, Collection[str]]
) -> None:
    """Replace the candidates of a round.

    Parameters
    ----------
    database : Store
        Of the project.
    round_number : int
        The round; every row has it.
    rows : sequence of PseudoLabel
        All candidates, weight 0 too; their verdicts are ignored.
    predicted : mapping of str to collection of str
        The cases that each known model predicted.

    Raises
    ------
    ProjectError
        A row is of another round, a guard case, an unknown case or model, a case without that prediction, or twice
        there; or a number of it is impossible. Nothing has changed.
    """
    for row in rows:
        _check(row, round_number, predicted)
    twice = [case for case, count in Counter(row.case for row in rows).items() if count > 1]
    if twice:
        raise ProjectError(f"Case {twice[0]} has two pseudo-labels in one round.", "Give each case once.")
    values = [
        {
            "round": round_number,
            "case_id": row.case,
            "model": row.model,
            "weight": float(row.weight),
            "loss": float(row.loss),
            "pace": float(row.pace),
            "created": row.created.isoformat(),
        }
        for row in rows
    ]
    with database.write() as connection:
        guard = {
            row.id: bool(row.guard) for row in connection.execute(sa.select(store.cases.c.id, store.cases.c.guard))
        }
        for row in rows:
            if row.case not in guard:
                raise ProjectError(f"The project has no case {row.case}.", cases.near_miss(row.case, [*guard], "cases"))
            if guard[row.case]:
                raise ProjectError(
                    f"Case {row.case} is in the guard set and is never pseudo-labelled.",
                    "Leave the guard set out of the candidates.",
                )
        connection.execute(sa.delete(_LABELS).where(_LABELS.c.round == round_number))
        if values:
            connection.execute(sa.insert(_LABELS), values)


def every(database: store.Store, round_number: int | None = None) -> list[PseudoLabel]:
    """Candidates of a round (the newest that has any) by falling weight, then rising loss."""
    number = standing.newest_round() if round_number is None else round_number
    query = _selected().where(_LABELS.c.round == number)
    with database.read() as connection:
        found = connection.execute(query.order_by(_LABELS.c.weight.desc(), _LABELS.c.loss, _LABELS.c.case_id))
        return [_label(row) for row in found]


def newest(database: store.Store, case_id: str) -> PseudoLabel | None:
    """Return the newest row of a case, of whatever round; None where it has none."""
    query = _selected().where(_LABELS.c.case_id == case_id).order_by(_LABELS.c.round.desc())
    with database.read() as connection:
        row = connection.execute(query.limit(1)).first()
    return None if row is None else _label(row)


def candidate(database: store.Store, case_id: str) -> PseudoLabel | None:
    """Return the row of a case in the newest round that has any; None where it is no candidate of it."""
    query = _selected().where(_LABELS.c.case_id == case_id, _LABELS.c.round == standing.newest_round())
    with database.read() as connection:
        row = connection.execute(query).first()
    return None if row is None else _label(row)


def rejected(database: store.Store) -> frozenset[str]:
    """Ids of the cases that were rejected and not allowed again."""
    with database.read() as connection:
        return frozenset(connection.scalars(standing.rejected()))


def reviews(database: store.Store) -> list[PseudoReview]:
    """All reviews, oldest first."""
    with database.read() as connection:
        return [_review(row) for row in connection.execute(sa.select(_REVIEWS).order_by(_REVIEWS.c.id))]


def accept(connection: sa.Connection, label: PseudoLabel, revision: Revision) -> None:
    """Note that *revision*, which this transaction is about to add, is the accepted pseudo-label.

    Raises
    ------
    ProjectError
        The case was rejected, labelled or put into the guard set meanwhile.
    """
    _refuse_settled(connection, label.case, "accepted")
    _insert(connection, label.case, "accepted", revision.author, (label.round, label.model), revision.number)


def reject(database: store.Store, label: PseudoLabel, author: str) -> None:
    """Note that a case is never to be pseudo-labelled again; nothing new where that is known.

    Raises
    ------
    ProjectError
        The case is labelled or in the guard set.
    """
    with database.write() as connection:
        if _verdict(connection, label.case) != "rejected":
            _refuse_settled(connection, label.case, "rejected")
            _insert(connection, label.case, "rejected", author, (label.round, label.model))


def allow(database: store.Store, case_id: str, author: str) -> None:
    """Take the rejection of a case back; ProjectError where it was not rejected."""
    with database.write() as connection:
        about = _newest_review(connection, case_id, "rejected")
        if about is None or _verdict(connection, case_id) != "rejected":
            raise ProjectError(f"The pseudo-label of case {case_id} was not rejected.", "There is nothing to undo.")
        _insert(connection, case_id, "allowed", author, (about.round, about.model))


def audit(database: store.Store, case_id: str, revision: int, dice: float, author: str) -> None:
    """Keep the Dice of a blind check of the pseudo-label that was accepted last, or else weighed last.

    Raises
    ------
    ProjectError
        The case never had a pseudo-label, or *dice* is not in [0, 1].
    """
    if not 0 <= dice <= 1:
        raise ProjectError(f"A Dice of {dice} for case {case_id} is impossible.", "Give a number from 0 to 1.")
    with database.write() as connection:
        query = sa.select(_LABELS).where(_LABELS.c.case_id == case_id).order_by(_LABELS.c.round.desc())
        about = _newest_review(connection, case_id, "accepted") or connection.execute(query).first()
        if about is None:
            raise ProjectError(f"Case {case_id} never had a pseudo-label.", "Check cases that had one.")
        _insert(connection, case_id, "audited", author, (about.round, about.model), revision, float(dice))


def refused(case_id: str, verdict: str, *, guard: bool) -> ProjectError:
    """Say why a review of a case that is in the guard set, or else has a human label, is refused."""
    if guard:
        return ProjectError(
            f"Case {case_id} is in the guard set: its pseudo-label cannot be {verdict}.", "Label it from nothing."
        )
    return ProjectError(
        f"Case {case_id} has a human label: its pseudo-label cannot be {verdict}.",
        "The human label counts; open the case to change it.",
    )


def _check(row: PseudoLabel, round_number: int, predicted: Mapping[str, Collection[str]]) -> None:
    if row.round != round_number:
        raise ProjectError(
            f"The pseudo-label of case {row.case} is of round {row.round}, not {round_number}.",
            "Save the pseudo-labels of one round at a time.",
        )
    if row.model not in predicted:
        raise ProjectError(
            f"The project has no model {row.model}, whose pseudo-label case {row.case} should have.",
            cases.near_miss(row.model, [*predicted], "models"),
        )
    if row.case not in predicted[row.model]:
        raise ProjectError(
            f"Model {row.model} has not predicted case {row.case}.", "Predict a case before it is pseudo-labelled."
        )
    if not 0 <= row.weight <= 1 or math.isnan(row.loss) or math.isnan(row.pace):
        raise ProjectError(
            f"The pseudo-label of case {row.case} has weight {row.weight}, loss {row.loss} and pace {row.pace}.",
            "Give a weight from 0 to 1, and numbers.",
        )


def _refuse_settled(connection: sa.Connection, case_id: str, verdict: str) -> None:
    """Refuse what a review can no longer change; inside the transaction, so that nobody gets in between."""
    # Locks the case where the database has row locks; SQLite's transaction is the only writer anyway.
    query = sa.select(store.cases.c.guard).where(store.cases.c.id == case_id).with_for_update()
    if connection.scalar(query):
        raise refused(case_id, verdict, guard=True)
    human = sa.exists().where(store.revisions.c.case_id == case_id, store.revisions.c.source != "pseudo")
    if connection.scalar(sa.select(human)):
        raise refused(case_id, verdict, guard=False)
    if _verdict(connection, case_id) == "rejected":
        raise ProjectError(
            f"The pseudo-label of case {case_id} was rejected.", "Allow it again first, or label the case."
        )


def _verdict(connection: sa.Connection, case_id: str) -> str | None:
    now = standing.decisions()
    return connection.scalar(sa.select(now.c.verdict).where(now.c.case_id == case_id))


def _newest_review(connection: sa.Connection, case_id: str, verdict: ReviewVerdict) -> sa.Row[Any] | None:
    chosen = sa.select(_REVIEWS).where(_REVIEWS.c.case_id == case_id, _REVIEWS.c.verdict == verdict)
    return connection.execute(chosen.order_by(_REVIEWS.c.id.desc())).first()


def _insert(
    connection: sa.Connection,
    case_id: str,
    verdict: ReviewVerdict,
    author: str,
    about: tuple[int, str],
    revision: int | None = None,
    dice: float | None = None,
) -> None:
    """Add a review; *about* is the round and model of the pseudo-label."""
    if not author.strip():
        raise ProjectError("A review needs an author.", "Give a name.")
    connection.execute(
        sa.insert(_REVIEWS).values(
            case_id=case_id,
            verdict=verdict,
            author=author,
            created=store.now().isoformat(),
            round=about[0],
            model=about[1],
            revision=revision,
            dice=dice,
        )
    )


def _selected() -> sa.Select[Any]:
    now = standing.decisions()
    return sa.select(_LABELS, now.c.verdict).select_from(_LABELS.outerjoin(now, now.c.case_id == _LABELS.c.case_id))


def _label(row: sa.Row[Any]) -> PseudoLabel:
    return PseudoLabel(
        case=row.case_id,
        round=row.round,
        model=row.model,
        weight=row.weight,
        loss=row.loss,
        pace=row.pace,
        created=datetime.fromisoformat(row.created),
        verdict=standing.VERDICTS.get(row.verdict, ""),
    )


def _review(row: sa.Row[Any]) -> PseudoReview:
    return PseudoReview(
        case=row.case_id,
        verdict=row.verdict,
        author=row.author,
        created=datetime.fromisoformat(row.created),
        round=row.round,
        model=row.model,
        revision=row.revision,
        dice=row.dice,
    )
