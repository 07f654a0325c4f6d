"""What the network found in a case, one lesion at a time, and what annotators said about each.

A verdict is a row that is only ever added, and it carries the class of the finding and its box in mm: later models
number their findings anew, but what was rejected at a place stays rejected there. A place is a class and a box, of like
position and size (`instances.same_place`). The newest verdict about a place counts.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import numpy as np
import sqlalchemy as sa

from napari_dasl.errors import ProjectError
from napari_dasl.project import store
from napari_dasl.project.instances import Box, same_place
from napari_dasl.project.records import FindingReview, FindingVerdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_dasl.project.instances import Instance

FindingState = Literal["proposed", "below", "accepted", "rejected", "labelled"]

_VERDICTS: tuple[FindingVerdict, ...] = get_args(FindingVerdict)
_ROWS = store.finding_reviews


@dataclass(frozen=True)
class Finding:
    """A lesion that a network found, and where it stands.

    Attributes
    ----------
    instance : Instance
        What was found.
    state : {"proposed", "below", "accepted", "rejected", "labelled"}
        The first of these that holds: it overlaps a lesion of the newest human label (``labelled``); a verdict on
        this place counts (``accepted``, ``rejected``); its score is below the network's threshold (``below``); nobody
        has looked at it (``proposed``).
    """

    instance: Instance
    state: FindingState


def add(database: store.Store, review: FindingReview) -> None:
    """Note a verdict.

    Raises
    ------
    ProjectError
        The verdict is unknown, nobody gave it, or the box is none.
    """
    if review.verdict not in _VERDICTS:
        raise ProjectError(f"{review.verdict!r} is no verdict on a finding.", f"Allowed: {', '.join(_VERDICTS)}.")
    if not review.author.strip():
        raise ProjectError("A verdict on a finding needs an author.", "Give a name.")
    box = review.box
    if len(box) != 6 or not all(map(math.isfinite, box)) or any(box[k] > box[k + 3] for k in range(3)):
        raise ProjectError(
            f"A finding of case {review.case} has the box {box}.", "Give (z0, y0, x0, z1, y1, x1) in mm."
        )
    with database.write() as connection:
        connection.execute(
            sa.insert(_ROWS).values(
                case_id=review.case,
                model=review.model,
                instance=review.instance,
                verdict=review.verdict,
                box=store.encode(box),
                author=review.author,
                created=review.created.isoformat(),
                class_value=review.label,
            )
        )


def standing(database: store.Store, case_id: str | None = None) -> list[FindingReview]:
    """Verdicts that count, of one case or all, oldest first: of those on one finding, the newest.

    A finding whose newest verdict is ``cleared`` has none.
    """
    query = sa.select(_ROWS).order_by(_ROWS.c.id)
    if case_id is not None:
        query = query.where(_ROWS.c.case_id == case_id)
    with database.read() as connection:
        rows = [_review(row) for row in connection.execute(query)]
    return newest(rows)


def newest(reviews: Iterable[FindingReview]) -> list[FindingReview]:
    """Drop from *reviews*, oldest first, each that a later one is about too, and what was cleared."""
    count: list[FindingReview] = []
    for review in reviews:
        count = [old for old in count if not _about(review.case, review.model, review.box, review.label, old)]
        count.append(review)
    return [review for review in count if review.verdict != "cleared"]


def verdict(
    case: str, model: str, box: Box, reviews: Sequence[FindingReview], label: int | None = None
) -> FindingVerdict | None:
    """Return the newest of the `standing` verdicts on a finding of *model* at *box*; None where there is none.

    A verdict on a finding of another class than *label* is none on this one, where both classes are known.
    """
    return next((one.verdict for one in reversed(reviews) if _about(case, model, box, label, one)), None)


def rejected(reviews: Sequence[FindingReview]) -> tuple[Box, ...]:
    """Return where the `standing` verdicts say that there is no lesion at all: not where another class was accepted."""
    accepted = [one for one in reviews if one.verdict == "accepted"]

    def another_class(no: FindingReview) -> bool:
        return any(
            no.case == yes.case
            and None not in (no.label, yes.label)
            and no.label != yes.label
            and same_place(yes.box, no.box)
            for yes in accepted
        )

    return tuple(one.box for one in reviews if one.verdict == "rejected" and not another_class(one))


def states(
    case: str,
    model: str,
    instances: Sequence[Instance],
    reviews: Sequence[FindingReview],
    labelled: frozenset[int] = frozenset(),
) -> tuple[Finding, ...]:
    """Say where each finding stands, the surest first.

    Parameters
    ----------
    case, model : str
        Whose findings they are.
    instances : sequence of Instance
        The findings.
    reviews : sequence of FindingReview
        Those that count (`standing`).
    labelled : frozenset of int
        Ids of those that overlap a lesion of the human label.
    """

    def state(one: Instance) -> FindingState:
        if one.id in labelled:
            return "labelled"
        said = verdict(case, model, one.box, reviews, one.label)
        if said in ("accepted", "rejected"):
            return cast("FindingState", said)
        return "proposed" if one.kept else "below"

    return tuple(Finding(one, state(one)) for one in sorted(instances, key=lambda one: (-one.score, one.id)))


def overlapping(ids: NDArray[Any], classes: Mapping[int, int], label: NDArray[Any]) -> frozenset[int]:
    """Ids of the findings that share a voxel with a lesion of their class.

    Parameters
    ----------
    ids : array (z, y, x)
        Id map of the findings.
    classes : mapping of int to int
        Class of each finding.
    label : array (z, y, x)
        Class map that a human drew.
    """
    both = (ids > 0) & (label > 0)
    pairs = np.unique(np.column_stack([ids[both], label[both]]).astype(np.int64), axis=0)
    return frozenset(int(number) for number, value in pairs if classes.get(int(number)) == value)


def _about(case: str, model: str, box: Box, label: int | None, review: FindingReview) -> bool:
    """Whether *review* is about the finding of *model* at *box*, of the class *label* (None: unknown).

    One model's findings are told apart by their very boxes, so that two that overlap keep their own verdicts; another
    model never finds the same box, so that there the place decides.
    """
    if review.case != case or (None not in (label, review.label) and label != review.label):
        return False
    if review.model == model:
        return bool(np.allclose(review.box, box, rtol=0, atol=1e-3))
    return same_place(box, review.box)


def _review(row: sa.Row[Any]) -> FindingReview:
    return FindingReview(
        case=row.case_id,
        model=row.model,
        instance=row.instance,
        verdict=row.verdict,
        box=cast("Box", tuple(float(value) for value in json.loads(row.box))),
        author=row.author,
        created=datetime.fromisoformat(row.created),
        label=row.class_value,
    )
