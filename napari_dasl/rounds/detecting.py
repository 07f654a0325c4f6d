"""How well a model finds lesions one by one, on scans whose lesions are known: FROC, CPM and average precision."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dasl.metrics import detection
from napari_dasl.project.instances import describe, number_lesions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_dasl.inference.predictor import Predicted
    from napari_dasl.project.instances import Instance
    from napari_dasl.training.cases import CaseData

IOU = 0.1
"""How far the boxes of a finding and of a lesion must overlap for average precision."""


class Findings:
    """Collects what a model found and what is there, scan by scan.

    Called with a case and its prediction; a case without a label is left out.
    """

    def __init__(self) -> None:
        self.scans: list[str] = []
        self.detections: list[detection.Detection] = []
        self.lesions: list[detection.Lesion] = []

    def __call__(self, case: CaseData, predicted: Predicted) -> None:
        """Take one case."""
        truth = lesions(case)
        if truth is None:
            return
        self.scans.append(case.id)
        self.detections += detection.detections_of(case.id, predicted.instances)
        self.lesions += detection.lesions_of(case.id, truth)

    def document(self, classes: Sequence[str], seed: int = 0) -> dict[str, Any]:
        """Return the figures of all classes together and of each, as plain JSON values.

        Parameters
        ----------
        classes : sequence of str
        seed : int
            Of the bootstrap.

        Returns
        -------
        dict
            ``scans``, ``lesions``, ``cpm`` with its 95 % ``interval``, ``sensitivity`` (a list of ``false_positives``
            per scan, ``value``, ``interval``), ``ap`` (average precision at ``iou``), ``froc`` (the curve:
            ``thresholds``, ``sensitivity``, ``false_positives`` per scan) and ``per_class`` with ``lesions``, ``cpm``
            and ``ap``. What has no lesions is None.
        """
        labels = range(1, len(classes) + 1)
        return {
            **_figures(self.scans, self.detections, self.lesions, seed),
            "per_class": {
                classes[label - 1]: _short(
                    self.scans,
                    [one for one in self.detections if one.label == label],
                    [one for one in self.lesions if one.label == label],
                )
                for label in labels
            },
        }


def brief(document: dict[str, Any]) -> dict[str, Any]:
    """Return :meth:`Findings.document` with the corners of its curve alone: the same steps, in a few points."""
    curve = document["froc"]
    reached = curve["sensitivity"]
    last = len(reached) - 1
    # Between two hits only false positives are added: the first and the last point of each height say it all.
    corners = [
        place
        for place in range(len(reached))
        if place in (0, last) or not reached[place - 1] == reached[place] == reached[place + 1]
    ]
    return {**document, "froc": {name: [values[place] for place in corners] for name, values in curve.items()}}


def lesions(case: CaseData) -> tuple[Instance, ...] | None:
    """Return the true lesions of a case one by one; None where it has no label.

    A label that names classes has one lesion per connected component.
    """
    truth = case.label()
    if truth is None:
        return None
    if case.instances:
        return describe(truth, {int(number): 1 for number in np.unique(truth) if number}, None, case.spacing)
    ids, classes = number_lesions(truth)
    return describe(ids, classes, None, case.spacing)


def _figures(
    scans: Sequence[str], found: Sequence[detection.Detection], true: Sequence[detection.Lesion], seed: int
) -> dict[str, Any]:
    curve = detection.froc(found, true, scans)
    cpm = detection.cpm(curve, seed=seed)
    return {
        "scans": curve.scans,
        "lesions": curve.lesions,
        "cpm": _number(cpm.value),
        "interval": _pair(cpm.low, cpm.high),
        "sensitivity": [
            {"false_positives": rate, "value": _number(value), "interval": _pair(*interval)}
            for rate, value, interval in zip(cpm.rates, cpm.sensitivities, cpm.intervals, strict=True)
        ],
        "ap": _number(detection.average_precision(found, true, scans, iou=IOU)),
        "iou": IOU,
        "froc": {
            "thresholds": curve.thresholds.tolist(),
            "sensitivity": [_number(value) for value in curve.sensitivity.tolist()],
            "false_positives": curve.false_positives.tolist(),
        },
    }


def _short(
    scans: Sequence[str], found: Sequence[detection.Detection], true: Sequence[detection.Lesion]
) -> dict[str, Any]:
    curve = detection.froc(found, true, scans)
    rates = [curve.at(rate) for rate in detection.RATES]
    return {
        "lesions": curve.lesions,
        "cpm": _number(float(np.mean(rates))),
        "ap": _number(detection.average_precision(found, true, scans, iou=IOU)),
    }


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _pair(low: float, high: float) -> tuple[float, float] | None:
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None
