"""FROC, CPM and average precision: curves worked out by hand, and MONAI's matching beside ours."""

from __future__ import annotations

import math

import numpy as np
import pytest
from monai.apps.detection.metrics.coco import COCOMetric
from monai.apps.detection.metrics.matching import matching_batch
from monai.data.box_utils import box_iou as monai_iou

from napari_dasl.errors import InputError
from napari_dasl.metrics.detection import RATES, Detection, Lesion, average_precision, box_iou, cpm, froc


def at(x, score, case="a", label=1):
    return Detection(case, (0.0, 0.0, x), score, label=label)


def nodule(x, case="a", diameter=10.0, **more):
    return Lesion(case, (0.0, 0.0, x), diameter, **more)


def box(x, side=10.0):
    return (0.0, 0.0, x, side, side, x + side)


def boxed(x, score, case="a"):
    return Detection(case, (5.0, 5.0, x + 5.0), score, box(x))


def true_box(x, case="a", **more):
    return Lesion(case, (5.0, 5.0, x + 5.0), 10.0, box(x), **more)


def test_a_curve_by_hand():
    """Two scans, three lesions. By falling score: found, false, found, false, and one lesion that nobody found."""
    lesions = [nodule(0), nodule(100), nodule(0, "b")]
    detections = [at(1, 0.9), at(50, 0.8), at(0, 0.7, "b"), at(50, 0.6, "b")]
    curve = froc(detections, lesions, ["a", "b"])
    np.testing.assert_allclose(curve.thresholds, [0.9, 0.8, 0.7, 0.6])
    np.testing.assert_allclose(curve.sensitivity, [1 / 3, 1 / 3, 2 / 3, 2 / 3])
    np.testing.assert_allclose(curve.false_positives, [0, 0.5, 0.5, 1])
    # Flat at 1/3 up to half a false positive per scan, from there on 2/3.
    assert [curve.at(rate) for rate in RATES] == pytest.approx([1 / 3, 1 / 3, 2 / 3, 2 / 3, 2 / 3, 2 / 3, 2 / 3])
    assert cpm(curve).value == pytest.approx((2 * 1 / 3 + 5 * 2 / 3) / 7)


def test_between_two_thresholds_the_curve_is_straight_and_a_detection_rate_is_not():
    """One scan. A tie of a false positive and a hit makes one step from (0, 0) to (1, 1)."""
    curve = froc([at(0, 0.5), at(50, 0.5)], [nodule(0)], ["a"])
    assert curve.thresholds.tolist() == [0.5]
    assert curve.at(0.25) == pytest.approx(0.25)
    assert curve.rate(0.25) == 0.0
    assert curve.threshold(0.25) == math.inf
    assert (curve.rate(1), curve.threshold(1)) == (1.0, 0.5)


def test_a_hit_is_nearer_than_the_radius():
    assert froc([at(4.99, 1.0)], [nodule(0)], ["a"]).sensitivity.tolist() == [1.0]
    missed = froc([at(5.0, 1.0)], [nodule(0)], ["a"])
    assert (missed.sensitivity.tolist(), missed.false_positives.tolist()) == ([0.0], [1.0])
    oblique = Detection("a", (3.0, 3.0, 3.0), 1.0)
    assert froc([oblique], [nodule(0)], ["a"]).sensitivity.tolist() == [0.0]


def test_further_hits_on_a_found_lesion_count_for_nothing():
    curve = froc([at(0, 0.3), at(1, 0.9), at(2, 0.5)], [nodule(0)], ["a"])
    assert curve.thresholds.tolist() == [0.9]
    assert (curve.sensitivity.tolist(), curve.false_positives.tolist()) == ([1.0], [0.0])


def test_one_detection_finds_both_lesions_that_it_hits():
    assert froc([at(0, 0.9)], [nodule(-2), nodule(2)], ["a"]).sensitivity.tolist() == [1.0]


def test_hits_on_excluded_lesions_are_neither_right_nor_wrong():
    curve = froc([at(0, 0.9), at(50, 0.8)], [nodule(0, excluded=True), nodule(50)], ["a"])
    assert curve.lesions == 1
    assert (curve.thresholds.tolist(), curve.false_positives.tolist()) == ([0.8], [0.0])


def test_another_class_or_another_scan_is_not_hit():
    curve = froc([at(0, 0.9, label=2), at(0, 0.8, "b")], [nodule(0)], ["a", "b"])
    assert curve.sensitivity.tolist() == [0.0, 0.0]
    assert curve.false_positives.tolist() == [0.5, 1.0]


def test_scans_without_anything_lower_the_false_positives():
    assert froc([at(50, 0.9)], [nodule(0)], list("abcd")).false_positives.tolist() == [0.25]


def test_nothing_found_is_zero_and_nothing_to_find_is_not_a_number():
    assert cpm(froc([], [nodule(0), nodule(0, "b")], ["a", "b"])).value == 0.0
    nothing = froc([], [], ["a", "b"])
    assert math.isnan(cpm(nothing).value)
    assert math.isnan(nothing.rate(1.0))
    assert math.isnan(froc([at(0, 1.0)], [], ["a"]).at(1.0))


def test_intervals_are_over_scans_and_repeat():
    rng = np.random.default_rng(0)
    scans = [f"s{number}" for number in range(40)]
    lesions = [nodule(0, scan) for scan in scans]
    detections = [at(0 if rng.random() < 0.7 else 50, float(rng.random()), scan) for scan in scans]
    found = cpm(froc(detections, lesions, scans))
    assert found == cpm(froc(detections, lesions, scans))
    assert found.low < found.value < found.high
    # The last sensitivity is a plain share of 40 scans, so its interval is the binomial one.
    share = found.sensitivities[-1]
    spread = 1.96 * math.sqrt(share * (1 - share) / 40)
    assert found.intervals[-1] == pytest.approx((share - spread, share + spread), abs=0.05)
    alone = cpm(froc([at(0, 1.0)], [nodule(0)], ["a"]))
    assert alone.value == 1.0
    assert math.isnan(alone.low)


def test_precision_by_hand():
    """Right, wrong, right, and one lesion missed: precision 1, 1/2, 2/3, made falling 1, 2/3, 2/3."""
    lesions = [true_box(0), true_box(40), true_box(80)]
    detections = [boxed(2, 0.9), boxed(200, 0.8), boxed(40, 0.7)]
    assert average_precision(detections, lesions, ["a"]) == pytest.approx((1 + 2 / 3) / 3)
    # The second one on a taken lesion is wrong; at IoU 0.9 the first does not fit (it overlaps by 2/3).
    assert average_precision([boxed(0, 0.9), boxed(1, 0.8)], [true_box(0)], ["a"]) == 1.0
    assert average_precision([boxed(1, 0.9), boxed(0, 0.8)], [true_box(0), true_box(40)], ["a"]) == 0.5
    assert average_precision(detections, lesions, ["a"], iou=0.9) == pytest.approx(1 / 3 / 3)
    assert average_precision([], lesions, ["a"]) == 0.0
    assert math.isnan(average_precision(detections, [], ["a"]))


def test_boxes_on_excluded_lesions_are_left_out():
    lesions = [true_box(0), true_box(40, excluded=True)]
    assert average_precision([boxed(40, 0.9), boxed(41, 0.8), boxed(0, 0.7)], lesions, ["a"]) == 1.0


def test_boxes_and_matches_are_those_of_monai():
    """The same IoU; the same detections right; COCO's 101 recalls come within a hundredth of the exact area."""
    rng = np.random.default_rng(3)

    def boxes(count):
        corner = rng.uniform(0, 60, (count, 3))
        return np.hstack([corner, corner + rng.uniform(8, 30, (count, 3))])

    scans = [f"s{number}" for number in range(30)]
    truth = {scan: boxes(3) for scan in scans}
    found = {scan: np.vstack([truth[scan][:2] + rng.normal(0, 3, (2, 6)), boxes(4)]) for scan in scans}
    scores = {scan: rng.random(6) for scan in scans}
    for scan in scans:
        np.testing.assert_allclose(box_iou(found[scan], truth[scan]), monai_iou(found[scan], truth[scan]), atol=1e-6)

    detections = [
        Detection(scan, (0.0, 0.0, 0.0), float(score), tuple(corners))
        for scan in scans
        for corners, score in zip(found[scan], scores[scan], strict=True)
    ]
    lesions = [Lesion(scan, (0.0, 0.0, 0.0), 1.0, tuple(corners)) for scan in scans for corners in truth[scan]]
    matched = matching_batch(
        monai_iou,
        [0.1],
        pred_boxes=[found[scan] for scan in scans],
        pred_classes=[np.zeros(6, int) for _ in scans],
        pred_scores=[scores[scan] for scan in scans],
        gt_boxes=[truth[scan] for scan in scans],
        gt_classes=[np.zeros(3, int) for _ in scans],
    )
    theirs, _ = COCOMetric(["lesion"], iou_list=[0.1], iou_range=(0.1, 0.1, 0.05), max_detection=(100,))(matched)
    expected = next(float(value) for name, value in theirs.items() if name.startswith("AP_IoU_0.10_MaxDet_100"))
    ours = average_precision(detections, lesions, scans)
    assert 0.2 < ours < 0.95
    assert ours == pytest.approx(expected, abs=0.01)


def test_what_cannot_be_counted_is_refused():
    with pytest.raises(InputError, match="b is not among the scans"):
        froc([at(0, 0.9, "b")], [], ["a"])
    with pytest.raises(InputError, match="2 scans, 1 of them different"):
        froc([], [], ["a", "a"])
    with pytest.raises(InputError, match="not a number"):
        froc([at(0, math.nan)], [], ["a"])
    with pytest.raises(InputError, match="no box"):
        average_precision([at(0, 0.9)], [true_box(0)], ["a"])
    with pytest.raises(InputError, match=r"IoU of 0\.0"):
        average_precision([], [], ["a"], iou=0.0)
