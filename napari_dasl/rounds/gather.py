"""Cases of a project as training sees them: which scan, which label revision, under which content hash."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from napari_dasl.errors import ProjectError
from napari_dasl.training.cases import CaseData

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from napari_dasl.project import Case, Project
    from napari_dasl.project.instances import Box

    Boxes = Mapping[str, Sequence[Box]]
    """Findings that the annotator rejected, by case."""
    Label = NDArray[np.uint8] | NDArray[np.uint16]


def case_data(
    project: Project,
    case: Case,
    revision: int | None = None,
    weight: float = 1.0,
    rejected: Sequence[Box] = (),
) -> CaseData:
    """Return *case* with one of its label revisions.

    Parameters
    ----------
    project : Project
        Read only when the arrays are asked for.
    case : Case
    revision : int, optional
        The label revision; without one the case has no label.
    weight : float
        Multiplies the case's loss.
    rejected : sequence of boxes
        Findings in it that the annotator rejected; a network that detects learns that there is nothing.
    """

    def image() -> NDArray[np.float32]:
        return project.read_image_array(case.id)

    def label() -> NDArray[np.uint8] | NDArray[np.uint16] | None:
        return None if revision is None else project.read_label(case.id, revision)

    scans = hashlib.sha256("\n".join(f"{one.channel} {one.stamp.sha256}" for one in case.series).encode())
    return CaseData(
        id=case.id,
        image=image,
        spacing=case.spacing,
        label=label,
        key=scans.hexdigest(),
        weight=weight,
        label_key="" if revision is None else f"{case.id}/{revision}",
        instances=project.config.instances,
        negatives=tuple(rejected),
    )


def current_revisions(project: Project, cases: Iterable[Case]) -> dict[str, int]:
    """Return the newest human revision of every case that has one."""
    found = {}
    for case in cases:
        human = [one.number for one in project.labels(case.id) if one.human]
        if human:
            found[case.id] = human[-1]
    return found


def rejected_boxes(project: Project) -> dict[str, list[Box]]:
    """Return the boxes of the findings that the annotator rejected, by case; no guard case is among them."""
    reviewed = {one.case for one in project.finding_reviews()}
    cases = (case for case in project.cases() if case.id in reviewed and case.readable and not case.guard)
    return {case.id: list(boxes) for case in cases if (boxes := project.rejected_boxes(case.id))}


def labelled_data(project: Project, revisions: Mapping[str, int], rejected: Boxes | None = None) -> list[CaseData]:
    """Return the cases of *revisions*, each with exactly that label, in the order of their ids."""
    cases = _known(project, revisions)
    boxes = rejected or {}
    return [
        case_data(project, cases[name], revisions[name], rejected=boxes.get(name, ())) for name in sorted(revisions)
    ]


def rejected_data(project: Project, rejected: Boxes, besides: Collection[str]) -> list[CaseData]:
    """Return the cases that have rejected findings and no label, but those in *besides*, in the order of their ids.

    Nothing is known about them but that there is no lesion at these places, so they are learned from there alone.
    """
    names = sorted(set(rejected) - set(besides))
    cases = _known(project, names)
    return [case_data(project, cases[name], rejected=rejected[name]) for name in names]


def pseudo_data(
    project: Project,
    model: str,
    weights: Mapping[str, float],
    rejected: Boxes | None = None,
    *,
    detector: bool = False,
) -> list[CaseData]:
    """Return cases with the stored prediction of *model* as their label, each with its weight, ordered by id.

    Parameters
    ----------
    project : Project
        Read only when the arrays are asked for.
    model : str
        A model id.
    weights : mapping
        Case to weight.
    rejected : mapping, optional
        Findings that the annotator rejected: they are no part of the label.
    detector : bool
        Whether the network learns from rejected findings as such.
    """
    cases = _known(project, weights)
    boxes = rejected or {}

    def label(name: str) -> Callable[[], Label]:
        def read() -> Label:
            stored = project.prediction(name, model)
            if stored is None:
                raise ProjectError(
                    f"The prediction of case {name} by model {model}, a pseudo-label of this round, is gone.",
                    "Start a new round instead of resuming it.",
                )
            return project.label_from(stored, boxes.get(name, ()))

        return read

    return [
        replace(
            case_data(project, cases[name], weight=weights[name], rejected=boxes.get(name, ()) if detector else ()),
            label=label(name),
            label_key=f"pseudo/{model}/{name}{_mark(boxes.get(name, ()))}",
            human=False,
        )
        for name in sorted(weights)
    ]


def _mark(boxes: Sequence[Box]) -> str:
    """What changes a pseudo-label beside its model."""
    if not boxes:
        return ""
    told = repr(sorted(tuple(float(value) for value in box) for box in boxes))
    return f"/{hashlib.sha256(told.encode()).hexdigest()[:12]}"


def _known(project: Project, names: Iterable[str]) -> dict[str, Case]:
    """The cases of the project by id; ProjectError where one of *names* is not among them."""
    cases = {case.id: case for case in project.cases()}
    missing = sorted(set(names) - set(cases))
    if missing:
        raise ProjectError(
            f"Case {missing[0]} of this round is no longer in the project.", "Start a new round instead of resuming it."
        )
    return cases
