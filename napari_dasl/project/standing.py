"""Where the pseudo-labels of the cases stand: the questions to the database that lists and reviews share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from napari_dasl.project import store

if TYPE_CHECKING:
    from napari_dasl.project.records import PseudoVerdict

VERDICTS: dict[str, PseudoVerdict] = {"accepted": "accepted", "rejected": "rejected", "allowed": ""}
"""Where a case stands after each verdict; a blind check changes nothing."""


def newest_round() -> sa.ScalarSelect[int]:
    """Return the newest round that has pseudo-labels."""
    return sa.select(sa.func.max(store.pseudo_labels.c.round)).scalar_subquery()


def decisions() -> sa.Subquery:
    """Table (case_id, verdict) of the newest decision about each case that has one."""
    reviews = store.pseudo_reviews
    newest = sa.select(sa.func.max(reviews.c.id)).where(reviews.c.verdict.in_(tuple(VERDICTS)))
    return (
        sa.select(reviews.c.case_id, reviews.c.verdict)
        .where(reviews.c.id.in_(newest.group_by(reviews.c.case_id)))
        .subquery("decisions")
    )


def rejected() -> sa.Select[tuple[str]]:
    """Ids of the cases that were rejected and not allowed again."""
    newest = decisions()
    return sa.select(newest.c.case_id).where(newest.c.verdict == "rejected")


def counting() -> sa.Subquery:
    """Table (case_id) of the cases whose pseudo-label counts, unless a human labelled them meanwhile."""
    labels = store.pseudo_labels
    return (
        sa.select(labels.c.case_id)
        .where(labels.c.round == newest_round(), labels.c.weight > 0, labels.c.case_id.not_in(rejected()))
        .subquery("counting")
    )
