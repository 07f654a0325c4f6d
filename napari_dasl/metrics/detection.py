"""Were the lesions found, and at how many false alarms: FROC, CPM and average precision of scored detections.

**The hit rule of LUNA16** (Setio et al. 2017, Med Image Anal 42:1, and its evaluation script): a detection hits a
lesion if its centre is less than the lesion's radius (half its diameter) away from the lesion's centre. A lesion is
found with the highest score among its hits; further hits on it are neither found lesions nor false positives. A
detection that hits only *excluded* lesions counts for nothing. Every other detection is a false positive. One detection
that hits two lesions finds both.

**FROC**: for every score as the threshold, the share of lesions found (sensitivity) over the mean number of false
positives per scan; between two thresholds the curve is a straight line, before the first it begins at (0, 0), and
after the last it stays where it ended, as in LUNA16. **CPM** is the mean sensitivity at 1/8, 1/4, 1/2, 1, 2, 4 and 8
false positives per scan.

**Average precision** is about boxes instead: a detection is right if the IoU of its box with a lesion's, not yet taken
by one of a higher score, reaches the threshold (0.1 where not told otherwise, as nnDetection does, because the boxes of
small lesions rarely overlap more). It is the area under precision over recall, precision made falling from right to
left, at every recall that was reached (COCO samples the same curve at 101 recalls).

All positions are in mm, axes (z, y, x). Detections and lesions meet only within one case and one class (`label`).
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from napari_dasl.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

__all__ = [
    "RATES",
    "Cpm",
    "Detection",
    "Froc",
    "Lesion",
    "average_precision",
    "box_iou",
    "cpm",
    "detections_of",
    "froc",
    "lesions_of",
]

RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""False positives per scan at which CPM reads the sensitivity."""

Point = tuple[float, float, float]
Box = tuple[float, float, float, float, float, float]


class Described(Protocol):
    """What an instance of a prediction or of a truth says about itself, as :mod:`napari_dasl.project` stores it."""

    @property
    def label(self) -> int: ...
    @property
    def score(self) -> float: ...
    @property
    def box(self) -> Box: ...
    @property
    def centre(self) -> Point: ...
    @property
    def diameter(self) -> float: ...


@dataclass(frozen=True)
class Detection:
    """One scored finding of a model.

    Attributes
    ----------
    case : str
    centre : 3 floats
        mm, (z, y, x).
    score : float
        The higher, the surer.
    box : 6 floats, optional
        Corners in mm, (z0, y0, x0, z1, y1, x1). Average precision needs it.
    label : int
        Its class.
    """

    case: str
    centre: Point
    score: float
    box: Box | None = None
    label: int = 1


@dataclass(frozen=True)
class Lesion:
    """One true lesion. `diameter` in mm; an `excluded` one need not be found, and finding it is no mistake."""

    case: str
    centre: Point
    diameter: float
    box: Box | None = None
    label: int = 1
    excluded: bool = False


Found = TypeVar("Found", bound=Detection | Lesion)


@dataclass(frozen=True)
class Froc:
    """The curve, one point per distinct score, from the highest score down, and what a bootstrap needs.

    Attributes
    ----------
    thresholds, sensitivity, false_positives : (n,) arrays
        Detections of at least the threshold are counted; false positives are a mean per scan. Without lesions the
        sensitivity is NaN.
    scans, lesions : int
        How many scans, and how many lesions that are not excluded.
    score, found, scan : (e,) arrays
        One entry per found lesion (True, the score it was found with) and per false positive (False), highest first,
        and the scan it was in.
    per_scan : (scans,) int array
        Lesions of each scan.
    """

    thresholds: NDArray[np.float64]
    sensitivity: NDArray[np.float64]
    false_positives: NDArray[np.float64]
    scans: int
    lesions: int
    score: NDArray[np.float64]
    found: NDArray[np.bool_]
    scan: NDArray[np.intp]
    per_scan: NDArray[np.int64]

    def at(self, rate: float) -> float:
        """Sensitivity at a mean of *rate* false positives per scan, read from the curve as LUNA16 does."""
        return float(_read(self.false_positives, self.sensitivity, (rate,))[0]) if self.lesions else math.nan

    def threshold(self, rate: float) -> float:
        """The lowest score that, as threshold, gives at most *rate* false positives per scan; inf if none does."""
        allowed = self.thresholds[self.false_positives <= rate]
        return float(allowed[-1]) if allowed.size else math.inf

    def rate(self, rate: float) -> float:
        """Detection rate at :meth:`threshold`: what a user gets who allows *rate* false positives per scan.

        Unlike :meth:`at` it is a point of the curve and never between two.
        """
        if not self.lesions:
            return math.nan
        allowed = self.sensitivity[self.false_positives <= rate]
        return float(allowed[-1]) if allowed.size else 0.0


@dataclass(frozen=True)
class Cpm:
    """The competition performance metric with 95 % percentile intervals of a bootstrap over scans.

    Attributes
    ----------
    value, low, high : float
        NaN without lesions. The interval is NaN for a single scan.
    rates, sensitivities : tuple of float
        The seven sensitivities, and where they were read.
    intervals : tuple of (float, float)
        Of each sensitivity.
    """

    value: float
    low: float
    high: float
    rates: tuple[float, ...]
    sensitivities: tuple[float, ...]
    intervals: tuple[tuple[float, float], ...]


def froc(detections: Iterable[Detection], lesions: Iterable[Lesion], scans: Sequence[str]) -> Froc:
    """The FROC curve by the hit rule of LUNA16.

    Parameters
    ----------
    detections : iterable of Detection
    lesions : iterable of Lesion
    scans : sequence of str
        Every case that was looked at, those without lesions and detections too.

    Raises
    ------
    InputError
        There is no scan, a case is named twice or is not among the scans, or a score or a diameter is not a number.
    """
    number = _numbered(scans)
    found = _grouped(detections, number, lambda one: one.score)
    true = _grouped(lesions, number, lambda one: one.diameter)
    per_scan = np.zeros(len(number), np.int64)
    events: list[tuple[float, bool, int]] = []
    for key in {**true, **found}:
        scan = number[key[0]]
        candidates, nodules = found.get(key, []), true.get(key, [])
        per_scan[scan] += sum(not nodule.excluded for nodule in nodules)
        events += [(score, hit, scan) for score, hit in _hits(candidates, nodules)]
    events.sort(key=lambda event: -event[0])
    score = np.array([event[0] for event in events], np.float64)
    right = np.array([event[1] for event in events], bool)
    scan_of = np.array([event[2] for event in events], np.intp)
    last = _last_of_ties(score)
    weight = np.ones(len(number))
    sensitivity, rate = _curve(right, scan_of, last, weight, per_scan)
    return Froc(score[last], sensitivity, rate, len(number), int(per_scan.sum()), score, right, scan_of, per_scan)


def cpm(curve: Froc, *, rates: Sequence[float] = RATES, resamples: int = 1000, seed: int = 0) -> Cpm:
    """Mean sensitivity at the *rates*, with intervals from scans drawn with replacement.

    Parameters
    ----------
    curve : Froc
    rates : sequence of float
        False positives per scan.
    resamples, seed : int
        A draw without any lesion has no sensitivity and is left out.
    """
    values = np.array([curve.at(rate) for rate in rates])
    last, rng = _last_of_ties(curve.score), np.random.default_rng(seed)
    drawn = []
    for _ in range(resamples if curve.scans > 1 else 0):
        weight = np.bincount(rng.integers(0, curve.scans, curve.scans), minlength=curve.scans).astype(np.float64)
        if weight @ curve.per_scan > 0:
            sensitivity, rate = _curve(curve.found, curve.scan, last, weight, curve.per_scan)
            drawn.append(_read(rate, sensitivity, rates))
    if drawn:
        many = np.array(drawn)
        low, high = np.percentile(many.mean(axis=1), (2.5, 97.5))
        each = np.percentile(many, (2.5, 97.5), axis=0).T
    else:
        low, high, each = math.nan, math.nan, np.full((len(rates), 2), math.nan)
    return Cpm(
        float(values.mean()),
        float(low),
        float(high),
        tuple(float(one) for one in rates),
        tuple(float(one) for one in values),
        tuple((float(a), float(b)) for a, b in each),
    )


def average_precision(
    detections: Iterable[Detection], lesions: Iterable[Lesion], scans: Sequence[str], *, iou: float = 0.1
) -> float:
    """Area under precision over recall, boxes matched at *iou*; NaN without lesions.

    Detections of equal score are taken in the order in which they are given. One that fits no free lesion but an
    excluded one, at the same IoU, is left out.

    Raises
    ------
    InputError
        As :func:`froc`; or *iou* is not in (0, 1], or something has no box.
    """
    if not 0.0 < iou <= 1.0:
        raise InputError(f"An IoU of {iou} matches nothing sensible.", "Give a number above 0, at most 1.")
    number = _numbered(scans)
    found = _grouped(detections, number, lambda one: one.score)
    true = _grouped(lesions, number, lambda one: one.diameter)
    total = sum(not lesion.excluded for group in true.values() for lesion in group)
    if not total:
        return math.nan
    rows = [row for key, group in found.items() for row in _right(group, true.get(key, []), iou)]
    rows.sort(key=lambda row: -row[0])
    right = np.array([row[1] for row in rows], np.float64)
    hits = np.cumsum(right)
    precision = hits / np.arange(1, len(right) + 1)
    falling = np.maximum.accumulate(precision[::-1])[::-1]
    return float((falling * right).sum() / total)


def box_iou(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """IoU of every box of *a* (n, 6) with every one of *b* (m, 6), (n, m); corners as in :class:`Detection`."""
    lower = np.maximum(a[:, None, :3], b[None, :, :3])
    upper = np.minimum(a[:, None, 3:], b[None, :, 3:])
    shared = np.clip(upper - lower, 0.0, None).prod(axis=2)
    union = _volume(a)[:, None] + _volume(b)[None] - shared
    iou: NDArray[np.float64] = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return iou


def detections_of(case: str, instances: Iterable[Described]) -> list[Detection]:
    """The instances of a prediction as detections, those below the score threshold too: FROC needs them."""
    return [Detection(case, one.centre, one.score, one.box, one.label) for one in instances]


def lesions_of(case: str, instances: Iterable[Described], excluded: Iterable[int] = ()) -> list[Lesion]:
    """The instances of a truth as lesions; *excluded* lists positions in the sequence, from 0."""
    out = set(excluded)
    return [
        Lesion(case, one.centre, one.diameter, one.box, one.label, place in out) for place, one in enumerate(instances)
    ]


def _numbered(scans: Sequence[str]) -> dict[str, int]:
    number = {name: place for place, name in enumerate(scans)}
    if not scans or len(number) != len(scans):
        raise InputError(
            f"{len(scans)} scans, {len(number)} of them different, cannot be counted.",
            "Name every scan that was looked at, once.",
        )
    return number


def _grouped(
    items: Iterable[Found], number: dict[str, int], number_of: Callable[[Found], float]
) -> dict[tuple[str, int], list[Found]]:
    """Detections or lesions by (case, class), after a look at their places and at the one number that each has."""
    groups: dict[tuple[str, int], list[Found]] = defaultdict(list)
    for item in items:
        if item.case not in number:
            raise InputError(f"{item.case} is not among the scans.", "Name every scan that was looked at.")
        if not np.isfinite((number_of(item), *item.centre)).all():
            raise InputError(f"A finding of {item.case} is not a number: {item}.", "Leave it out, or measure it anew.")
        groups[item.case, item.label].append(item)
    return groups


def _hits(detections: Sequence[Detection], lesions: Sequence[Lesion]) -> list[tuple[float, bool]]:
    """(score, True) per found lesion and (score, False) per false positive of one case and class."""
    if not detections:
        return []
    scores = np.array([one.score for one in detections])
    if not lesions:
        return [(float(score), False) for score in scores]
    centres = np.array([one.centre for one in detections])
    apart = ((centres[:, None] - np.array([one.centre for one in lesions])[None]) ** 2).sum(axis=2)
    hit = apart < np.array([(one.diameter / 2) ** 2 for one in lesions])[None]
    events = [
        (float(scores[hit[:, place]].max()), True)
        for place, lesion in enumerate(lesions)
        if not lesion.excluded and hit[:, place].any()
    ]
    return events + [(float(score), False) for score in scores[~hit.any(axis=1)]]


def _right(detections: Sequence[Detection], lesions: Sequence[Lesion], iou: float) -> list[tuple[float, bool]]:
    """(score, right or not) per detection of one case and class, without those on excluded lesions."""
    ordered = sorted(detections, key=lambda one: -one.score)
    if not lesions:
        return [(one.score, False) for one in ordered]
    overlap = box_iou(_boxes(ordered), _boxes(lesions))
    fits = overlap >= iou
    excluded = np.array([lesion.excluded for lesion in lesions])
    free = ~excluded
    rows = []
    for place, one in enumerate(ordered):
        choice = np.where(free & fits[place], overlap[place], -1.0)
        best = int(choice.argmax())
        if choice[best] >= 0:
            free[best] = False
            rows.append((one.score, True))
        elif not (fits[place] & excluded).any():
            rows.append((one.score, False))
    return rows


def _boxes(items: Sequence[Detection] | Sequence[Lesion]) -> NDArray[np.float64]:
    boxes = [item.box for item in items if item.box is not None]
    if len(boxes) != len(items):
        raise InputError("A finding has no box, so there is no IoU.", "Give every detection and lesion its box in mm.")
    return np.array(boxes, np.float64).reshape(-1, 6)


def _volume(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    volume: NDArray[np.float64] = np.clip(boxes[:, 3:] - boxes[:, :3], 0.0, None).prod(axis=1)
    return volume


def _last_of_ties(score: NDArray[np.float64]) -> NDArray[np.intp]:
    """Where each run of equal scores ends: no threshold lies within one."""
    return np.flatnonzero(np.append(score[1:] != score[:-1], [True] * bool(score.size)))


def _curve(
    found: NDArray[np.bool_],
    scan: NDArray[np.intp],
    last: NDArray[np.intp],
    weight: NDArray[np.float64],
    per_scan: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sensitivity and false positives per scan at each threshold, every scan counted *weight* times."""
    counted, lesions = weight[scan], float(weight @ per_scan)
    true = np.cumsum(counted * found)[last]
    false = np.cumsum(counted * ~found)[last]
    sensitivity = true / lesions if lesions else np.full(true.shape, math.nan)
    return sensitivity, false / weight.sum()


def _read(rate: NDArray[np.float64], sensitivity: NDArray[np.float64], rates: Sequence[float]) -> NDArray[np.float64]:
    """The curve, begun at (0, 0), at *rates*: of points above each other the highest, beyond its end the last."""
    values: NDArray[np.float64] = np.interp(rates, np.append(0.0, rate), np.append(0.0, sensitivity))
    return values
