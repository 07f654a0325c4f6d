"""Lesions: connection, detection, TP Dice, misses and false positives."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from napari_dasl.errors import InputError
from napari_dasl.metrics import lesions, overlap

ISO = (1.0, 1.0, 1.0)


def canvas():
    return np.zeros((8, 12, 30), dtype=bool)


def flood(mask):
    """Connected components with all 26 neighbours, by hand."""
    todo = {tuple(i) for i in np.argwhere(mask)}
    found = []
    while todo:
        lesion, front = set(), [todo.pop()]
        while front:
            at = front.pop()
            lesion.add(at)
            near = [(at[0] + a, at[1] + b, at[2] + c) for a in (-1, 0, 1) for b in (-1, 0, 1) for c in (-1, 0, 1)]
            front += [n for n in near if n in todo]
            todo -= set(near)
        found.append(frozenset(lesion))
    return set(found)


def test_components_are_26_connected():
    rng = np.random.default_rng(0)
    for share in (0.03, 0.08, 0.15):
        mask = rng.random((6, 9, 10)) < share
        labels, count = lesions.components(mask)
        expected = flood(mask)
        assert count == len(expected)
        assert {frozenset(map(tuple, np.argwhere(labels == k))) for k in range(1, count + 1)} == expected


def test_one_voxel_of_overlap_detects_by_default_and_coverage_asks_for_more():
    truth, prediction = canvas(), canvas()
    truth[2:4, 2:4, 2:7] = True  # 20 voxels
    prediction[2:4, 2:4, 6:9] = True  # covers 4 of them
    found = lesions.match(truth, prediction, ISO)
    assert (found.lesions, found.detected, found.misses, found.false_positives) == (1, 1, 0, 0)
    assert lesions.match(truth, prediction, ISO, coverage=0.2).detected == 1
    strict = lesions.match(truth, prediction, ISO, coverage=0.21)
    assert (strict.detected, strict.misses, strict.false_positives) == (0, 1, 1)
    assert math.isnan(strict.tp_dice)


def test_counts_of_a_mixed_case():
    truth, prediction = canvas(), canvas()
    truth[1:3, 1:3, 1:3] = True  # hit exactly
    truth[1:3, 1:3, 10:12] = True  # missed
    truth[5:7, 8:10, 20:24] = True  # hit in part
    prediction[1:3, 1:3, 1:3] = True
    prediction[5:7, 8:10, 22:26] = True
    prediction[6, 1, 1] = True  # invented
    found = lesions.match(truth, prediction, (3.0, 1.0, 1.0))
    assert found.dice == (1.0, None, 0.5)
    assert (found.detected, found.misses, found.false_positives) == (2, 1, 1)
    assert found.detection_rate == pytest.approx(2 / 3)
    assert found.tp_dice == pytest.approx(0.75)
    assert found.volumes_ml == pytest.approx((0.024, 0.024, 0.048))
    assert lesions.detection_rate(truth, prediction) == found.detection_rate
    assert lesions.tp_dice(truth, prediction, (3.0, 1.0, 1.0)) == found.tp_dice


def test_tp_dice_is_not_lowered_by_misses_or_inventions_elsewhere():
    truth, prediction = canvas(), canvas()
    truth[1:3, 1:3, 1:5], prediction[1:3, 1:3, 2:6] = True, True
    alone = lesions.tp_dice(truth, prediction, ISO)
    assert alone == pytest.approx(overlap.dice(truth, prediction))
    truth[6, 6, 20], prediction[6, 6, 25] = True, True
    assert lesions.tp_dice(truth, prediction, ISO) == alone


def test_one_blob_over_two_lesions_is_shared_out_to_the_nearest():
    truth, prediction = canvas(), canvas()
    truth[4, 5, 2:6] = True
    truth[4, 5, 12:16] = True
    prediction[4, 5, 2:16] = True  # 6 voxels between them: 3 nearest to each
    found = lesions.match(truth, prediction, ISO)
    assert found.dice == pytest.approx((2 * 4 / (4 + 7), 2 * 4 / (4 + 7)))
    assert found.false_positives == 0


def test_nearest_is_measured_in_mm():
    truth, prediction = np.zeros((10, 10, 3), bool), np.zeros((10, 10, 3), bool)
    truth[0, 9, 1], truth[5, 5, 1] = True, True
    prediction[0:6, 5, 1] = True  # the upright
    prediction[0, 5:10, 1] = True  # and the arm that meets it at [0, 5]
    upright = lesions.match(truth, prediction, (0.1, 1.0, 1.0)).dice
    arm = lesions.match(truth, prediction, (10.0, 1.0, 1.0)).dice
    assert upright[1] < arm[1]
    assert upright[0] > arm[0]


def test_several_components_on_one_lesion_all_belong_to_it():
    truth, prediction = canvas(), canvas()
    truth[3, 3, 2:12] = True
    prediction[3, 3, 2:5], prediction[3, 3, 8:14] = True, True
    found = lesions.match(truth, prediction, ISO)
    assert found.dice == pytest.approx((2 * 7 / (10 + 9),))
    assert found.false_positives == 0


def test_own_parts_agree_with_a_voxel_by_voxel_assignment():
    spacing = (2.0, 0.8, 1.1)
    for seed in range(4):
        rng = np.random.default_rng(seed)
        field = ndimage.gaussian_filter(rng.standard_normal((10, 16, 18)), 1.2)
        other = field + 0.5 * ndimage.gaussian_filter(rng.standard_normal(field.shape), 1.2)
        truth, prediction = field > np.quantile(field, 0.9), other > np.quantile(other, 0.75)
        true, n_true = lesions.components(truth)
        predicted, n_predicted = lesions.components(prediction)
        own = dict.fromkeys(range(1, n_true + 1), 0)
        invented = 0
        for component in range(1, n_predicted + 1):
            touched = sorted(set(true[predicted == component]) - {0})
            invented += not touched
            for voxel in np.argwhere(predicted == component) if touched else ():
                away = [
                    min(np.linalg.norm((voxel - other) * spacing) for other in np.argwhere(true == k)) for k in touched
                ]
                own[touched[int(np.argmin(away))]] += 1
        expected = tuple(
            2 * np.sum((true == k) & prediction) / (np.sum(true == k) + own[k]) if own[k] else None for k in own
        )
        found = lesions.match(truth, prediction, spacing)
        assert found.dice == pytest.approx(expected)
        assert found.false_positives == invented


def test_nothing_true_and_nothing_found():
    empty, full = canvas(), ~canvas()
    assert lesions.match(empty, empty, ISO).lesions == 0
    assert math.isnan(lesions.detection_rate(empty, full))
    assert lesions.match(empty, full, ISO).false_positives == 1
    assert lesions.detection_rate(full, empty) == 0


def test_numbered_lesions_may_touch_and_fall_into_pieces():
    truth, prediction = np.zeros((8, 12, 30), np.uint16), canvas()
    truth[2, 2, 2:6], truth[2, 2, 6:10] = 7, 300  # touching
    truth[5, 5, 2:4], truth[5, 5, 8:10] = 9, 9  # in two pieces
    prediction[2, 2, 2:6] = True
    prediction[5, 5, 2:4] = True
    found = lesions.match(truth, prediction, ISO, ids=True)
    assert found.dice == (1.0, 2 * 2 / (4 + 2), None)
    assert found.volumes_ml == pytest.approx((0.004, 0.004, 0.004))
    assert lesions.match(truth, prediction, ISO).lesions == 3
    assert lesions.match(np.zeros_like(truth), prediction, ISO, ids=True).false_positives == 2
    with pytest.raises(InputError, match="no classes"):
        lesions.match(truth, prediction, ISO, ids=True, label=1)


def test_slice_detection_counts_ill_slices_with_any_prediction():
    truth, prediction = canvas(), canvas()
    truth[1:5, 4, 4] = True
    prediction[1, 4, 4], prediction[2, 9, 9], prediction[7, 0, 0] = True, True, True
    assert lesions.slice_detection_rate(truth, prediction) == 0.5
    assert math.isnan(lesions.slice_detection_rate(canvas(), prediction))


def test_a_coverage_that_is_no_share_is_refused():
    with pytest.raises(InputError, match=r"coverage 1\.5"):
        lesions.match(canvas(), canvas(), ISO, coverage=1.5)
