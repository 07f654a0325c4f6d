"""Cases of a project as training sees them: which scan, which label revision, under which content hash."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from napari_dasl.errors import ProjectError
from napari_dasl.training.cases import CaseData

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from napari_dasl.project import Case, Project


def case_data(project: Project, case: Case, revision: int | None = None, weight: float = 1.0) -> CaseData:
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
    )


def current_revisions(project: Project, cases: Iterable[Case]) -> dict[str, int]:
    """Return the newest human revision of every case that has one."""
    found = {}
    for case in cases:
        human = [one.number for one in project.labels(case.id) if one.human]
        if human:
            found[case.id] = human[-1]
    return found


def labelled_data(project: Project, revisions: Mapping[str, int]) -> list[CaseData]:
    """Return the cases of *revisions*, each with exactly that label, in the order of their ids."""
    cases = {case.id: case for case in project.cases()}
    missing = sorted(set(revisions) - set(cases))
    if missing:
        raise ProjectError(
            f"Case {missing[0]} of this round is no longer in the project.", "Start a new round instead of resuming it."
        )
    return [case_data(project, cases[name], revisions[name]) for name in sorted(revisions)]


def pseudo_data(project: Project, model: str, weights: Mapping[str, float]) -> list[CaseData]:
    """Return cases with the stored prediction of *model* as their label, each with its weight, ordered by id.

    Parameters
    ----------
    project : Project
        Read only when the arrays are asked for.
    model : str
        A model id.
    weights : mapping
        Case to weight.
    """
    cases = {case.id: case for case in project.cases()}

    def label(name: str) -> Callable[[], NDArray[np.uint8] | NDArray[np.uint16]]:
        def read() -> NDArray[np.uint8] | NDArray[np.uint16]:
            stored = project.prediction(name, model)
            if stored is None:
                raise ProjectError(
                    f"The prediction of case {name} by model {model}, a pseudo-label of this round, is gone.",
                    "Start a new round instead of resuming it.",
                )
            return stored.label()

        return read

    missing = sorted(set(weights) - set(cases))
    if missing:
        raise ProjectError(
            f"Case {missing[0]} of this round is no longer in the project.", "Start a new round instead of resuming it."
        )
    return [
        replace(
            case_data(project, cases[name], weight=weights[name]),
            label=label(name),
            label_key=f"pseudo/{model}/{name}",
            human=False,
        )
        for name in sorted(weights)
    ]
