"""What labelling a case took, as the record that is kept: time, strokes, and what was changed of which draft."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dasl.project.records import Effort

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from napari_dasl.project import Project
    from napari_dasl.widgets.prefetch import OpenCase

LEAST_SECONDS = 1.0
"""A case that was left sooner than this was passed by, not inspected."""


def voxels_changed(mask: NDArray[Any], draft: NDArray[Any]) -> int:
    """Return how many voxels of *mask* (z, y, x) differ from *draft*, section by section to spare memory."""
    return sum(int(np.count_nonzero(now != before)) for now, before in zip(mask, draft, strict=True))


def draft_shown(project: Project, opened: OpenCase, model: str | None, written: NDArray[Any] | None) -> Any:
    """Return the mask (z, y, x), on the display grid, that the label was begun from; called in a worker.

    Parameters
    ----------
    model : str or None
        The model whose prediction was copied in; None where none was.
    written : (z, y, x) array or None
        A label of this case that is just being written and newer than the one of *opened*.

    Returns
    -------
    array or None
        The prediction of *model*, else the label that was there before; None where the model's prediction is gone.
    """
    from napari_dasl.widgets.prefetch import to_display

    if model is None:
        return opened.base if written is None else written
    if opened.shown is not None and opened.shown.model == model:
        return opened.shown.mask
    prediction = project.prediction(opened.case.id, model)
    return None if prediction is None else to_display(project.label_from(prediction), opened.picture, opened.case)


def add_effort(
    project: Project,
    opened: OpenCase,
    mask: NDArray[Any],
    meta: Mapping[str, Any],
    revision: int,
    author: str,
    written: NDArray[Any] | None,
) -> None:
    """Keep with label *revision* what it took; called in a worker, parameters as in `draft_shown` and `effort_of`."""
    model = meta.get("model")
    nothing = model is None and written is None and opened.revision is None
    draft = None if nothing else draft_shown(project, opened, model, written)
    changed = None if draft is None else voxels_changed(mask, draft)
    project.add_effort(
        effort_of(opened.case.id, meta, author=author, revision=revision, changed=changed, from_nothing=nothing)
    )


def add_inspection(project: Project, case: str, meta: Mapping[str, Any], author: str) -> None:
    """Keep that a case was looked at and left without a label, unless it was only passed by; called in a worker."""
    if meta["seconds"] >= LEAST_SECONDS:
        project.add_effort(effort_of(case, meta, author=author, revision=None))


def effort_of(
    case: str,
    meta: Mapping[str, Any],
    *,
    author: str,
    revision: int | None,
    changed: int | None = None,
    from_nothing: bool = False,
) -> Effort:
    """Return the record of one opening of a case.

    Parameters
    ----------
    meta : mapping
        What the clock and the draft kept: ``inspect``, ``edit``, ``strokes``, ``undos``, ``opened``, ``first_edit``,
        and ``model``, ``round``, ``blind``, ``audit`` where they apply.
    revision : int or None
        The label that was saved; None where the case was only looked at.
    changed : int or None
        Voxels that differ from the draft shown; None where there was none.
    from_nothing : bool
        Whether there was neither a prediction copied in nor an earlier label.
    """
    now = datetime.now(UTC)
    model = meta.get("model") if revision is not None else None
    first = meta.get("first_edit")
    return Effort(
        case=case,
        revision=revision,
        author=author,
        inspect_seconds=float(meta.get("inspect", 0.0)),
        edit_seconds=float(meta.get("edit", meta.get("seconds", 0.0))),
        strokes=int(meta.get("strokes", 0)),
        undos=int(meta.get("undos", 0)),
        voxels_changed=changed,
        draft_model=model,
        draft_round=meta.get("round") if model is not None else None,
        drawn_from_nothing=from_nothing,
        accepted_unchanged=changed == 0,
        blind=bool(meta.get("blind", False)),
        audit=bool(meta.get("audit", False)),
        opened=datetime.fromisoformat(meta["opened"]) if meta.get("opened") else now,
        first_edit=datetime.fromisoformat(first) if first else None,
        saved=now,
    )
