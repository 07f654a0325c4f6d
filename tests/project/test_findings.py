"""What a network found, one lesion at a time: stored with the prediction, judged by people, remembered by place."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from napari_dasl.errors import LabelError, ProjectError, StorageError
from napari_dasl.project import FindingReview, Project, findings
from napari_dasl.project.instances import describe

CASE = "p1"  # (7, 6, 5) voxels of 3 × 1.5 × 1.5 mm
PLACES = {
    "sure": (slice(1, 3), slice(0, 2), slice(0, 2)),
    "unsure": (slice(4, 6), slice(0, 2), slice(3, 5)),
    "other": (slice(5, 7), slice(4, 6), slice(1, 3)),
}


def predict(project, model, places, scores, threshold=0.5, numbers=None, case=CASE, value=1):
    """Store a prediction of a class with a finding at each of *places*; those below *threshold* are in no label map."""
    if model not in {one.id for one in project.models()}:
        project.add_model(model, active=True)
    project.use(model)
    shape = project.case(case).shape
    ids = np.zeros(shape, np.uint16)
    probability = np.zeros((1 + len(project.config.classes), *shape), np.float32)
    numbers = list(numbers or range(1, len(places) + 1))
    for number, place, score in zip(numbers, places, scores, strict=True):
        ids[place] = number
        probability[value][place] = score if score >= threshold else 0.4
    probability[0] = 1 - probability[value]
    found = describe(
        ids,
        dict.fromkeys(numbers, value),
        dict(zip(numbers, scores, strict=True)),
        project.case(case).spacing,
        {number for number, score in zip(numbers, scores, strict=True) if score >= threshold},
    )
    project.save_prediction(case, model, probability, np.zeros(3), {}, instances=found, ids=ids)
    return found


def where(project, model=None, case=CASE):
    return {one.instance.id: one.state for one in project.findings(case, model)}


@pytest.fixture
def study(project):
    """Model m found two lesions in case p1, and a third that is below its threshold."""
    predict(project, "m", PLACES.values(), (0.9, 0.6, 0.2))
    return project


class TestStoredWithThePrediction:
    def test_what_is_stored_is_read_back(self, study):
        stored = study.prediction(CASE)
        given = predict(study, "m", PLACES.values(), (0.9, 0.6, 0.2))
        assert stored.instances() == given
        assert [one.kept for one in given] == [True, True, False]
        ids = stored.instance_map()
        assert ids.dtype == np.uint16
        assert all((ids[place] == number).all() for number, place in enumerate(PLACES.values(), 1))
        assert np.array_equal(stored.lazy("instances")[1], ids[1])

    def test_the_map_of_what_was_kept_is_where_the_label_map_is(self, study):
        stored = study.prediction(CASE)
        assert np.array_equal(stored.instance_map(kept=True) > 0, stored.label() > 0)
        assert set(np.unique(stored.instance_map(kept=True))) == {0, 1, 2}

    def test_predicting_again_leaves_nothing_of_before(self, study):
        predict(study, "m", [PLACES["other"]], [0.7], numbers=[12])
        assert where(study) == {12: "proposed"}
        study.save_prediction(CASE, "m", study.prediction(CASE).probability()[[0, 0, 1]], np.zeros(3), {})
        assert not (study.prediction(CASE).folder / "instances.json").exists()

    def test_one_without_findings_has_the_pieces_of_its_label_map(self, study):
        probability = np.zeros((3, *study.case(CASE).shape), np.float32)
        probability[1][PLACES["sure"]] = 0.75
        probability[2][PLACES["unsure"]] = 0.5
        probability[2][4, 0, 3] = 1.0
        probability[0] = 1 - probability[1:].sum(axis=0) - 1e-3
        study.save_prediction(CASE, "m", probability, np.zeros(3), {})
        stored = study.prediction(CASE)
        first, second = stored.instances()
        assert (first.id, first.label, first.score, first.kept) == (1, 1, pytest.approx(0.75, abs=1e-3), True)
        assert (second.label, second.score) == (2, pytest.approx((7 * 0.5 + 1) / 8, abs=1e-3))
        assert first.volume_ml == pytest.approx(8 * np.prod(study.case(CASE).spacing) / 1000)
        assert np.array_equal(stored.instance_map() > 0, stored.label() > 0)

    def test_a_case_without_any_has_none(self, study):
        shape = study.case("p2").shape
        probability = np.zeros((3, *shape), np.float32)
        probability[0] = 1
        study.save_prediction("p2", "m", probability, np.zeros(3), {}, instances=(), ids=np.zeros(shape, np.uint16))
        assert study.prediction("p2").instances() == study.findings("p2") == study.findings("p3") == ()
        assert not study.prediction("p2").instance_map().any()

    def test_a_map_that_is_not_of_the_findings_is_refused_and_changes_nothing(self, study):
        before = study.prediction(CASE)
        ids, found = before.instance_map(), before.instances()
        probability = np.full((3, *ids.shape), 1 / 3)
        for some, numbers, words in (
            (found, None, "without their map"),
            (None, ids, "the map without them"),
            (found[:2], ids, "holds 3, which is none of them"),
            (found, ids[1:], r"uint16 \(6, 6, 5\), not whole numbers \(7, 6, 5\)"),
            (found, ids.astype(float), "not whole numbers"),
            (found + found[:1], ids, "twice there"),
        ):
            with pytest.raises(LabelError, match=words):
                study.save_prediction(CASE, "m", probability, np.zeros(3), {}, instances=some, ids=numbers)
        assert study.prediction(CASE).instances() == found

    @pytest.mark.parametrize("text", ["", "{}", '{"instances": [{"id": 1}]}', '{"instances": 7}', "[]"])
    def test_a_damaged_list_is_said(self, study, text):
        stored = study.prediction(CASE)
        (stored.folder / "instances.json").write_text(text, encoding="utf-8")
        with pytest.raises(StorageError, match="is damaged"):
            stored.instances()


class TestWhereEachStands:
    def test_the_surest_come_first_and_those_below_the_threshold_are_said_to_be(self, study):
        assert list(where(study).items()) == [(1, "proposed"), (2, "proposed"), (3, "below")]

    def test_a_verdict_is_kept_and_can_be_taken_back(self, study):
        study.review_finding(CASE, 1, "accepted", author="Anna")
        study.review_finding(CASE, 2, "rejected", author="Anna")
        study.review_finding(CASE, 3, "accepted", author="Anna")
        assert where(study) == {1: "accepted", 2: "rejected", 3: "accepted"}
        study.review_finding(CASE, 2, "cleared", author="Bruno")
        study.review_finding(CASE, 1, "rejected", author="Bruno")
        assert where(study) == {1: "rejected", 2: "proposed", 3: "accepted"}
        assert [(one.instance, one.verdict) for one in study.finding_reviews(CASE)] == [
            (3, "accepted"),
            (1, "rejected"),
        ]

    def test_what_a_human_drew_is_labelled_whatever_was_said(self, study):
        study.review_finding(CASE, 1, "rejected", author="Anna")
        mask = np.zeros(study.case(CASE).shape, np.uint8)
        mask[1, 0, 0] = 1  # one voxel of the first
        mask[PLACES["unsure"]] = 2  # another class than the second
        study.record_label(CASE, mask, author="Anna")
        assert where(study) == {1: "labelled", 2: "proposed", 3: "below"}

    def test_only_the_newest_label_counts(self, study):
        mask = np.zeros(study.case(CASE).shape, np.uint8)
        mask[PLACES["sure"]] = 1
        study.record_label(CASE, mask, author="Anna")
        study.record_label(CASE, np.zeros_like(mask), author="Anna")
        assert where(study)[1] == "proposed"

    def test_a_review_knows_who_when_and_where(self, study):
        review = study.review_finding(CASE, 2, "rejected", author="Anna")
        box = study.prediction(CASE).instances()[1].box
        assert (review.case, review.model, review.instance, review.verdict) == (CASE, "m", 2, "rejected")
        assert (review.author, review.box, review.created.tzinfo) == ("Anna", box, UTC)
        assert study.rejected_boxes(CASE) == (box,)
        assert study.finding_reviews() == [review]
        assert (study.finding_reviews("p2"), study.rejected_boxes("p2")) == ([], ())

    def test_another_program_sees_it(self, study):
        study.review_finding(CASE, 2, "rejected", author="Anna")
        study.close()
        with Project.open(study.folder) as again:
            assert where(again)[2] == "rejected"

    def test_what_makes_no_sense_is_refused(self, study):
        for case, number, verdict, author, words in (
            ("p99", 1, "rejected", "Anna", "no case p99"),
            ("p2", 1, "rejected", "Anna", "p2 has no findings"),
            (CASE, 4, "rejected", "Anna", "no finding 4. Findings of m: 1, 2, 3"),
            (CASE, 1, "wrong", "Anna", "'wrong' is no verdict on a finding. Allowed: accepted, rejected, cleared"),
            (CASE, 1, "rejected", " ", "needs an author"),
        ):
            with pytest.raises(ProjectError, match=words):
                study.review_finding(case, number, verdict, author=author)
        with pytest.raises(ProjectError, match="p1 has no findings by old"):
            study.review_finding(CASE, 1, "rejected", author="Anna", model="old")
        assert study.finding_reviews() == []


class TestLaterModels:
    """They number anew what they find; the place is what an annotator's word is about."""

    def test_what_was_rejected_stays_rejected_at_its_place(self, study):
        study.review_finding(CASE, 1, "rejected", author="Anna")
        shifted = (slice(1, 3), slice(0, 2), slice(1, 3))  # half of it there: IoU 1/3
        predict(study, "m2", [PLACES["unsure"], shifted], (0.9, 0.8))
        assert where(study) == {1: "proposed", 2: "rejected"}
        assert where(study, "m") == {1: "rejected", 2: "proposed", 3: "below"}

    def test_a_small_finding_within_it_counts_as_rejected_too(self, study):
        study.review_finding(CASE, 1, "rejected", author="Anna")
        predict(study, "m2", [(slice(1, 2), slice(0, 1), slice(0, 1))], [0.8])
        assert where(study) == {1: "rejected"}

    def test_a_large_box_that_was_rejected_says_nothing_about_what_is_small_in_it(self, study):
        whole = (slice(1, 7), slice(0, 6), slice(0, 5))
        predict(study, "m", [whole], [0.9])
        study.review_finding(CASE, 1, "rejected", author="Anna")
        inner = (slice(3, 5), slice(2, 4), slice(2, 4))
        predict(study, "m2", [inner], [0.8])
        assert where(study) == {1: "proposed"}
        taken = study.label_from(study.prediction(CASE), study.rejected_boxes(CASE))
        assert (taken[inner] == 1).all()

    def test_another_class_at_its_place_is_another_matter(self, study):
        study.review_finding(CASE, 1, "rejected", author="Anna")
        predict(study, "m2", [PLACES["sure"]], [0.8], numbers=[40], value=2)
        assert where(study) == {40: "proposed"}
        assert where(study, "m")[1] == "rejected"
        box = study.prediction(CASE).instances()[0].box
        assert study.rejected_boxes(CASE) == (box,)
        study.review_finding(CASE, 40, "accepted", author="Anna")  # there is a lesion after all, of this class
        assert (where(study), where(study, "m")[1]) == ({40: "accepted"}, "rejected")
        assert study.rejected_boxes(CASE) == ()

    def test_one_beside_it_does_not(self, study):
        study.review_finding(CASE, 1, "rejected", author="Anna")
        predict(study, "m2", [(slice(1, 3), slice(2, 4), slice(0, 2))], [0.8])
        assert where(study) == {1: "proposed"}

    @pytest.mark.parametrize(("verdict", "state"), [("accepted", "accepted"), ("cleared", "proposed")])
    def test_a_later_word_about_the_place_takes_the_rejection_away(self, study, verdict, state):
        study.review_finding(CASE, 1, "rejected", author="Anna")
        predict(study, "m2", [PLACES["sure"]], [0.8], numbers=[40])
        study.review_finding(CASE, 40, verdict, author="Bruno")
        assert where(study) == {40: state}
        assert where(study, "m")[1] == state
        assert study.rejected_boxes(CASE) == ()

    def test_findings_of_one_model_that_lie_in_each_other_keep_their_own_verdicts(self, study):
        large, small = (slice(1, 6), slice(0, 5), slice(0, 5)), (slice(3, 4), slice(2, 3), slice(2, 3))
        predict(study, "m2", [large, small], (0.9, 0.8))
        study.review_finding(CASE, 1, "rejected", author="Anna")
        assert where(study) == {1: "rejected", 2: "proposed"}
        study.review_finding(CASE, 2, "accepted", author="Anna")
        assert where(study) == {1: "rejected", 2: "accepted"}

    def test_the_same_model_that_numbers_them_anew_keeps_the_verdicts(self, study):
        study.review_finding(CASE, 2, "rejected", author="Anna")
        predict(study, "m", [PLACES["unsure"], PLACES["sure"]], (0.95, 0.9))
        assert where(study) == {1: "rejected", 2: "proposed"}

    def test_another_case_has_nothing_to_do_with_it(self, study):
        study.review_finding(CASE, 1, "rejected", author="Anna")
        predict(study, "m2", [PLACES["sure"]], [0.8], case="p2")
        assert where(study, case="p2") == {1: "proposed"}


@pytest.mark.parametrize("box", [(0, 0, 0, 1, 1), (0, 0, 2, 1, 1, 1), (0, 0, 0, 1, 1, float("nan"))])
def test_a_verdict_without_a_place_is_not_kept(study, box):
    review = FindingReview(CASE, "m", 1, "rejected", box, "Anna", datetime.now(UTC))
    with pytest.raises(ProjectError, match="has the box"):
        findings.add(study._store, review)
    assert study.finding_reviews() == []
