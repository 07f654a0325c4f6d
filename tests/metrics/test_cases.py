"""What each case counts for, and that a summary hides nothing."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from napari_dasl.errors import GridMismatch, InputError, LabelError
from napari_dasl.metrics import Status, evaluate_case, overlap, summarise, surface

SHAPE, SPACING = (10, 12, 14), (3.0, 1.0, 0.5)
DIAGONAL = math.sqrt(30.0**2 + 12.0**2 + 7.0**2)
TWO = ("organ", "tumour")


def label_map(*boxes):
    made = np.zeros(SHAPE, dtype=np.uint8)
    for label, box in boxes:
        made[box] = label
    return made


ORGAN = (1, np.s_[1:9, 1:9, 1:9])
TUMOUR = (2, np.s_[3:6, 3:6, 3:6])
SHIFTED = (2, np.s_[3:6, 3:6, 5:8])


def test_a_case_with_both_structures_measures_them():
    truth, prediction = label_map(ORGAN, TUMOUR), label_map(ORGAN, SHIFTED)
    case = evaluate_case(truth, prediction, TWO, SPACING, case="P-014")
    assert case.case == "P-014"
    assert [row.name for row in case.classes] == list(TWO)
    for label, row in enumerate(case.classes, start=1):
        assert row.status is Status.OK
        assert row.dice == overlap.dice(truth, prediction, label)
        assert row.rvd == overlap.rvd(truth, prediction, label)
        assert row.hd95 == surface.hd95(truth, prediction, SPACING, label)
        assert row.msd == surface.msd(truth, prediction, SPACING, label)
        assert row.truth_ml == pytest.approx(np.sum(truth == label) * 1.5e-3)
    assert case.dice == pytest.approx((case.classes[0].dice + case.classes[1].dice) / 2)


def test_a_miss_counts_zero_and_the_diagonal():
    row = evaluate_case(label_map(ORGAN), label_map(), ("organ",), SPACING).classes[0]
    assert row.status == "miss"
    assert (row.dice, row.jaccard, row.voe, row.rvd) == (0, 0, 1, -1)
    assert row.assd == row.rmsd == row.msd == row.hd95 == pytest.approx(DIAGONAL)
    assert row.lesions.misses == 1


def test_a_false_positive_on_an_empty_truth_counts_as_well():
    row = evaluate_case(label_map(), label_map(ORGAN), ("organ",), SPACING).classes[0]
    assert row.status == "false_positive"
    assert (row.dice, row.voe, row.rvd) == (0, 1, None)
    assert row.hd95 == pytest.approx(DIAGONAL)
    assert row.lesions.false_positives == 1


def test_both_empty_is_a_class_of_its_own_with_no_figure():
    case = evaluate_case(label_map(), label_map(), ("organ",), SPACING)
    row = case.classes[0]
    assert row.status == "both_empty"
    assert {row.dice, row.jaccard, row.voe, row.rvd, row.assd, row.rmsd, row.msd, row.hd95, case.dice} == {None}


def test_drawn_in_the_wrong_place_is_measured_not_called_a_miss():
    row = evaluate_case(label_map(TUMOUR), label_map((2, np.s_[8:9, 9:10, 9:10])), TWO, SPACING).classes[1]
    assert (row.status, row.dice) == ("ok", 0)
    assert 0 < row.hd95 < DIAGONAL


def test_no_distance_inside_the_scan_exceeds_the_diagonal():
    corners = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    corners[0][0, 0, 0], corners[1][-1, -1, -1] = 1, 1
    row = evaluate_case(*corners, ("organ",), SPACING).classes[0]
    assert row.msd < DIAGONAL


def four_cases():
    hit = evaluate_case(label_map(TUMOUR), label_map(SHIFTED), TWO, SPACING, case="hit")
    miss = evaluate_case(label_map(ORGAN, TUMOUR), label_map(ORGAN), TWO, SPACING, case="miss")
    invented = evaluate_case(label_map(ORGAN), label_map(ORGAN, TUMOUR), TWO, SPACING, case="invented")
    empty = evaluate_case(label_map(), label_map(), TWO, SPACING, case="empty")
    return [hit, miss, invented, empty]


def test_the_mean_holds_misses_and_inventions_and_leaves_out_only_both_empty():
    cases = four_cases()
    summary = summarise(cases)
    tumour = summary["per_class"]["tumour"]
    hit = cases[0].classes[1]
    assert tumour["mean"]["dice"] == pytest.approx((hit.dice + 0 + 0) / 3)
    assert tumour["mean"]["hd95"] == pytest.approx((hit.hd95 + 2 * DIAGONAL) / 3)
    assert tumour["std"]["dice"] == pytest.approx(np.std([hit.dice, 0, 0], ddof=1))
    assert (tumour["counted"], tumour["misses"], tumour["false_positives"], tumour["both_empty"]) == (3, 1, 1, 1)
    assert tumour["mean"]["rvd"] == pytest.approx((hit.rvd - 1) / 2)
    assert (tumour["defined"]["dice"], tumour["defined"]["rvd"]) == (3, 2)
    organ = summary["per_class"]["organ"]["mean"]["dice"]
    assert summary["mean"]["dice"] == pytest.approx((organ + tumour["mean"]["dice"]) / 2)
    assert (summary["n"], summary["counted"], summary["misses"], summary["both_empty"]) == (4, 5, 1, 3)


def test_the_pooled_figures_are_pooled():
    tumour = summarise(four_cases())["per_class"]["tumour"]
    truths = [label_map(TUMOUR), label_map(ORGAN, TUMOUR), label_map(ORGAN), label_map()]
    predictions = [label_map(SHIFTED), label_map(ORGAN), label_map(ORGAN, TUMOUR), label_map()]
    assert tumour["dice_global"] == pytest.approx(overlap.dice_global(zip(truths, predictions, strict=True), label=2))
    found = tumour["lesions"]
    assert (found["lesions"], found["detected"], found["misses"], found["false_positives"]) == (2, 1, 1, 1)
    assert found["detection_rate"] == 0.5
    assert found["tp_dice"] == pytest.approx(overlap.dice(label_map(TUMOUR), label_map(SHIFTED), 2))


def test_the_summary_is_strict_json_even_where_nothing_is_defined():
    for cases in (four_cases(), four_cases()[3:], []):
        text = json.dumps(summarise(cases), allow_nan=False)
        assert json.loads(text)["n"] == len(cases)
    assert summarise([])["mean"]["dice"] is None


def test_bad_input_is_refused_in_words():
    with pytest.raises(GridMismatch):
        evaluate_case(label_map(), label_map()[1:], TWO, SPACING)
    with pytest.raises(LabelError, match="prediction of case 'P-1' holds label 2"):
        evaluate_case(label_map(), label_map(TUMOUR), ("organ",), SPACING, case="P-1")
    with pytest.raises(InputError, match="no class"):
        evaluate_case(label_map(), label_map(), (), SPACING)
    other = evaluate_case(label_map(), label_map(), ("organ",), SPACING)
    with pytest.raises(InputError, match="different classes"):
        summarise([*four_cases(), other])
