"""How good a segmentation is: overlap, surface distances, lesion detection, and honest averages over cases."""

from __future__ import annotations

from napari_dasl.metrics import cases, detection, lesions, overlap, surface
from napari_dasl.metrics.cases import CaseMetrics, ClassMetrics, Status, evaluate_case, summarise
from napari_dasl.metrics.overlap import dice

__all__ = [
    "CaseMetrics",
    "ClassMetrics",
    "Status",
    "cases",
    "detection",
    "dice",
    "evaluate_case",
    "lesions",
    "overlap",
    "summarise",
    "surface",
]
