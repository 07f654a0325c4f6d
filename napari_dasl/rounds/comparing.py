"""A model against labels: the one way in which guard sets, test folders and pools are compared with the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_dasl.errors import Cancelled
from napari_dasl.events import PhaseName, Progress, never, silent
from napari_dasl.metrics.cases import CaseMetrics, evaluate_case

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from napari_dasl.events import CancelCheck, Report
    from napari_dasl.inference import Predictor
    from napari_dasl.inference.predictor import Predicted
    from napari_dasl.inference.region.candidates import Candidates
    from napari_dasl.training.cases import CaseData


def class_map(case: CaseData, label: NDArray[np.integer]) -> NDArray[np.integer]:
    """Return *label*, which may number the lesions of *case*, with the number of its class in every voxel (z, y, x)."""
    return (label > 0).astype(np.uint8) if case.instances else label


def label_map(probability: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return the most probable class per voxel, (z, y, x) uint8, of a probability (K, z, y, x)."""
    most: NDArray[np.uint8] = np.argmax(probability, axis=0).astype(np.uint8)
    return most


def compare(
    predictor: Predictor,
    cases: Sequence[CaseData],
    classes: Sequence[str],
    *,
    phase: PhaseName = "guard",
    report: Report = silent,
    cancelled: CancelCheck = never,
    seen: Callable[[CaseData, Predicted], None] | None = None,
    found: dict[str, Candidates] | None = None,
) -> list[CaseMetrics]:
    """Predict every case and compare it with its label, class by class.

    Where a label numbers its lesions, each number is one lesion.

    Parameters
    ----------
    predictor : Predictor
    cases : sequence of CaseData
        Each with a label.
    classes : sequence of str
    seen : callable, optional
        Told every prediction, with its findings.
    found : dict, optional
        What a detector found already, by case; taken out as it is used, and not predicted again.

    Returns
    -------
    list of CaseMetrics
        In the order of *cases*.

    Raises
    ------
    Cancelled
        Between two cases or two windows.
    """
    rows = []
    for done, case in enumerate(cases):
        if cancelled():
            raise Cancelled("Stopped between two comparisons.", "What was saved before is kept.")
        truth = case.label()
        if truth is None:
            continue
        known = (found or {}).pop(case.id, None)
        if known is None and seen is None:
            probability = predictor.case(case.image(), case.spacing, cancelled=cancelled)
        else:
            predicted = (
                predictor.predict(case.image(), case.spacing, cancelled=cancelled)
                if known is None
                else predictor.finished(known)
            )
            if seen is not None:
                seen(case, predicted)
            probability = predicted.probability
        drawn, ids = label_map(probability), truth if case.instances else None
        rows.append(evaluate_case(class_map(case, truth), drawn, classes, case.spacing, case=case.id, ids=ids))
        report(Progress(name=phase, done=done + 1, total=len(cases), text=case.id))
    return rows
