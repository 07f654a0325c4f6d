"""A row per case and class with an explicit status, and the summary over cases.

The aggregation is that of SCIENCE.md section 7: nothing is dropped without being counted.

==================  ======  ==========  =====================================================================
status              truth   prediction  what it counts for
==================  ======  ==========  =====================================================================
``ok``              some    some        what was measured (Dice may be 0: drawn in the wrong place)
``miss``            some    none        Dice 0, Jaccard 0, VOE 1, RVD −1, every distance = the scan's diagonal
``false_positive``  none    some        Dice 0, Jaccard 0, VOE 1, no RVD, every distance = the scan's diagonal
``both_empty``      none    none        nothing: stays out of every mean, and is counted
==================  ======  ==========  =====================================================================

The *diagonal* is √Σ(voxels · spacing)², larger than any distance inside the scan. An undefined value is None, never
NaN, so that every row and every summary is valid JSON.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dasl.errors import InputError, LabelError
from napari_dasl.metrics import lesions as lesion_metrics
from napari_dasl.metrics.overlap import Confusion, as_masks, confusion
from napari_dasl.metrics.surface import distances

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_dasl.metrics.lesions import LesionMatch

__all__ = ["MEASURES", "CaseMetrics", "ClassMetrics", "Status", "evaluate_case", "summarise"]

MEASURES = ("dice", "jaccard", "voe", "rvd", "assd", "rmsd", "msd", "hd95")
"""The per-case figures that are averaged, in the order of the tables. Distances are in mm."""


class Status(StrEnum):
    """What a class of a case is, before any figure is read."""

    OK = "ok"
    MISS = "miss"
    FALSE_POSITIVE = "false_positive"
    BOTH_EMPTY = "both_empty"


@dataclass(frozen=True)
class ClassMetrics:
    """One class of one case.

    Attributes
    ----------
    name : str
        The class.
    status : Status
        See the module's table.
    confusion : Confusion
        Voxel counts; they add up to the pooled Dice.
    dice, jaccard, voe, rvd, assd, rmsd, msd, hd95 : float or None
        As `napari_dasl.metrics.overlap` and `napari_dasl.metrics.surface` define them, with the module's rule for empty
        masks. None where undefined. `msd` is the Hausdorff distance.
    truth_ml, prediction_ml : float
        Volumes.
    lesions : LesionMatch
        What became of each lesion.
    """

    name: str
    status: Status
    confusion: Confusion
    dice: float | None
    jaccard: float | None
    voe: float | None
    rvd: float | None
    assd: float | None
    rmsd: float | None
    msd: float | None
    hd95: float | None
    truth_ml: float
    prediction_ml: float
    lesions: LesionMatch

    def as_dict(self) -> dict[str, Any]:
        """The row as plain JSON values."""
        found = self.lesions
        return {
            "status": str(self.status),
            **{measure: getattr(self, measure) for measure in MEASURES},
            "truth_ml": self.truth_ml,
            "prediction_ml": self.prediction_ml,
            "voxels": asdict(self.confusion),
            "lesions": _lesion_figures([found]),
        }


@dataclass(frozen=True)
class CaseMetrics:
    """All classes of one case.

    Attributes
    ----------
    case : str
        The case's id, "" if none was given.
    diagonal : float
        Diagonal of the scan in mm: the distance a miss counts for.
    classes : tuple of ClassMetrics
        In the order of the project's classes.
    """

    case: str
    diagonal: float
    classes: tuple[ClassMetrics, ...]

    @property
    def dice(self) -> float | None:
        """Mean Dice over the classes that count; None if truth and prediction are both empty throughout."""
        return _mean([row.dice for row in self.classes])

    def as_dict(self) -> dict[str, Any]:
        """The case as plain JSON values; `dice` is the mean over its classes."""
        return {
            "case": self.case,
            "dice": self.dice,
            "diagonal": self.diagonal,
            "classes": {row.name: row.as_dict() for row in self.classes},
        }


def evaluate_case(
    truth: NDArray[Any],
    prediction: NDArray[Any],
    classes: Sequence[str],
    spacing: Sequence[float],
    *,
    case: str = "",
    coverage: float = 0.0,
    ids: NDArray[np.integer] | None = None,
) -> CaseMetrics:
    """Compare a predicted label map with the true one.

    Parameters
    ----------
    truth, prediction : (z, y, x) integer array
        Label maps of one shape: 0 background, k = ``classes[k - 1]``.
    classes : sequence of str
        Names of the labels 1, 2, ….
    spacing : (3,) sequence of float
        Voxel size in mm, (z, y, x).
    case : str
        Its id, kept in the row.
    coverage : float
        Share of a lesion that must be covered for it to be detected; see `napari_dasl.metrics.lesions`.
    ids : (z, y, x) integer array, optional
        Number of the true lesion in every voxel of `truth`: lesions that touch are then told apart, and one in pieces
        is one. Without it every connected component is a lesion.

    Returns
    -------
    CaseMetrics

    Raises
    ------
    GridMismatch
        The shapes differ.
    LabelError
        A label is larger than the number of classes.
    InputError
        There is no class, or the spacing does not fit.
    """
    as_masks(truth, prediction)
    if ids is not None:
        as_masks(truth, ids)
    if not classes:
        raise InputError("There is no class to evaluate.", "Name at least one class.")
    for what, labels in (("truth", truth), ("prediction", prediction)):
        highest = int(np.max(labels, initial=0))
        if highest > len(classes):
            raise LabelError(
                f"The {what} of case {case!r} holds label {highest}, but there are only {len(classes)} classes.",
                "Map the labels to 1 … the number of classes.",
            )
    extent = np.asarray(np.shape(truth), dtype=np.float64) * np.asarray(spacing, dtype=np.float64)
    diagonal = float(np.sqrt(np.sum(extent**2)))
    rows = tuple(
        _evaluate_class(truth, prediction, label, name, spacing, diagonal, coverage, ids)
        for label, name in enumerate(classes, start=1)
    )
    return CaseMetrics(case=case, diagonal=diagonal, classes=rows)


def summarise(cases: Sequence[CaseMetrics]) -> dict[str, Any]:
    """The table over cases, as plain JSON values without a NaN.

    Parameters
    ----------
    cases : sequence of CaseMetrics
        As `evaluate_case` returns them, all with the same classes.

    Returns
    -------
    dict
        ``n``: number of cases. ``counted``, ``misses``, ``false_positives``, ``both_empty``: rows (one per case and
        class) by status; `counted` is everything but `both_empty`. ``mean``: each measure, averaged over the cases
        that count within a class and then over classes, with ``dice_global``, ``detection_rate`` and ``tp_dice``.
        ``per_class``: for each class the same counts, ``mean``, ``std`` (n − 1), ``defined`` (how many cases are behind
        each mean: RVD of an empty truth is undefined), ``dice_global`` (pooled voxels) and ``lesions`` (pooled).
        ``lesions``: lesions of all classes. ``cases``: the rows.

    Raises
    ------
    InputError
        The cases have different classes.
    """
    names = [tuple(row.name for row in case.classes) for case in cases]
    if len(set(names)) > 1:
        raise InputError("The cases to summarise have different classes.", "Evaluate them with one list of classes.")
    columns = {name: [case.classes[k] for case in cases] for k, name in enumerate(names[0] if names else ())}
    per_class = {name: _summarise_class(rows) for name, rows in columns.items()}
    everything = [row for rows in columns.values() for row in rows]
    pooled = _lesion_figures([row.lesions for row in everything])
    mean = {measure: _mean([entry["mean"][measure] for entry in per_class.values()]) for measure in MEASURES}
    mean["dice_global"] = _mean([entry["dice_global"] for entry in per_class.values()])
    mean["detection_rate"] = pooled["detection_rate"]
    mean["tp_dice"] = pooled["tp_dice"]
    return {
        "n": len(cases),
        **_status_counts(everything),
        "mean": mean,
        "per_class": per_class,
        "lesions": pooled,
        "cases": [case.as_dict() for case in cases],
    }


def _evaluate_class(
    truth: NDArray[Any],
    prediction: NDArray[Any],
    label: int,
    name: str,
    spacing: Sequence[float],
    diagonal: float,
    coverage: float,
    ids: NDArray[np.integer] | None,
) -> ClassMetrics:
    true, predicted = as_masks(truth, prediction, label)
    counts = confusion(true, predicted)
    status = _status(counts)
    if status is Status.OK:
        far = distances(true, predicted, spacing)
        assd, rmsd, msd, hd95 = far.assd, far.rmsd, far.msd, far.hd95
    else:
        assd = rmsd = msd = hd95 = math.nan if status is Status.BOTH_EMPTY else diagonal
    voxel_ml = float(np.prod(np.asarray(spacing, dtype=np.float64))) / 1000.0
    lesions = true if ids is None else np.where(true, ids, 0)
    return ClassMetrics(
        name=name,
        status=status,
        confusion=counts,
        dice=_number(counts.dice),
        jaccard=_number(counts.jaccard),
        voe=_number(counts.voe),
        rvd=_number(counts.rvd),
        assd=_number(assd),
        rmsd=_number(rmsd),
        msd=_number(msd),
        hd95=_number(hd95),
        truth_ml=counts.truth * voxel_ml,
        prediction_ml=counts.prediction * voxel_ml,
        lesions=lesion_metrics.match(lesions, predicted, spacing, coverage=coverage, ids=ids is not None),
    )


def _status(counts: Confusion) -> Status:
    if counts.truth:
        return Status.OK if counts.prediction else Status.MISS
    return Status.FALSE_POSITIVE if counts.prediction else Status.BOTH_EMPTY


def _summarise_class(rows: Sequence[ClassMetrics]) -> dict[str, Any]:
    values = {measure: [getattr(row, measure) for row in rows] for measure in MEASURES}
    pooled = sum((row.confusion for row in rows), start=Confusion(0, 0, 0, 0))
    return {
        **_status_counts(rows),
        "mean": {measure: _mean(column) for measure, column in values.items()},
        "std": {measure: _std(column) for measure, column in values.items()},
        "defined": {measure: sum(value is not None for value in column) for measure, column in values.items()},
        "dice_global": _number(pooled.dice),
        "lesions": _lesion_figures([row.lesions for row in rows]),
    }


def _status_counts(rows: Sequence[ClassMetrics]) -> dict[str, int]:
    found = [row.status for row in rows]
    return {
        "counted": len(found) - found.count(Status.BOTH_EMPTY),
        "misses": found.count(Status.MISS),
        "false_positives": found.count(Status.FALSE_POSITIVE),
        "both_empty": found.count(Status.BOTH_EMPTY),
    }


def _lesion_figures(matches: Sequence[LesionMatch]) -> dict[str, Any]:
    total = lesion_metrics.LesionMatch(
        volumes_ml=tuple(volume for match in matches for volume in match.volumes_ml),
        dice=tuple(value for match in matches for value in match.dice),
        false_positives=sum(match.false_positives for match in matches),
    )
    return {
        "lesions": total.lesions,
        "detected": total.detected,
        "misses": total.misses,
        "false_positives": total.false_positives,
        "detection_rate": _number(total.detection_rate),
        "tp_dice": _number(total.tp_dice),
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def _std(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.std(known, ddof=1)) if len(known) > 1 else None
