"""Findings that the annotator rejected, and labels that number their lesions, on their way into a round."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest

from napari_dasl import rounds
from napari_dasl.errors import ProjectError
from napari_dasl.project import Project, setup
from napari_dasl.project.instances import describe
from napari_dasl.rounds import conductor, evaluating
from napari_dasl.rounds.comparing import class_map
from napari_dasl.rounds.detecting import Findings, lesions
from napari_dasl.rounds.gather import (
    current_revisions,
    labelled_data,
    pseudo_data,
    rejected_boxes,
    rejected_data,
)
from napari_dasl.rounds.plan import RoundPlan
from napari_dasl.training.cases import CaseData

SPACING = (1.0, 1.2, 1.5)
SHAPE = (20, 24, 28)
SHORT = RoundPlan(steps=2, device="cpu")


def two_lesions() -> np.ndarray:
    """Lesion 1 and lesion 2, far apart."""
    ids = np.zeros(SHAPE, np.uint16)
    ids[2:6, 3:8, 3:8] = 1
    ids[10:16, 12:20, 15:22] = 2
    return ids


def predict(project: Project, case: str, model: str, *, kept=(1, 2)) -> None:
    """Store a prediction that found both of them, and kept some."""
    ids = two_lesions()
    found = describe(ids, {1: 1, 2: 1}, {1: 0.6, 2: 0.9}, SPACING, kept)
    probability = np.zeros((2, *SHAPE), np.float32)
    probability[1] = np.where(np.isin(ids, kept), 0.9, 0.0)
    probability[0] = 1 - probability[1]
    project.save_prediction(case, model, probability, np.ones(8), {"self_loss": 0.1}, instances=found, ids=ids)


@pytest.fixture
def model(project, script) -> str:
    """A first model, and its prediction of every unlabelled case."""
    script.dice = [0.8] * 4
    name = rounds.run(project, SHORT).model
    for case in project.pool():
        predict(project, case.id, name)
    return name


@pytest.fixture(scope="module")
def numbered(tmp_path_factory):
    """Eight scans whose masks number two balls each 3 and 7."""
    folder = tmp_path_factory.mktemp("numbered")
    rng = np.random.default_rng(1)
    z, y, x = np.mgrid[:20, :24, :28]
    for number in range(8):
        ids = np.zeros(SHAPE, np.uint8)
        for value, middle in ((3, (6, 7, 8)), (7, (13, 16, 20))):
            centre = np.array(middle) + rng.uniform(-1, 1, 3)
            ids[(z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 < 3.0**2] = value
        image = 100 + 20 * rng.standard_normal(SHAPE) + 120 * (ids > 0)
        for kind, array in (("images", image.astype(np.int16)), ("labels", ids)):
            (folder / kind).mkdir(exist_ok=True)
            nibabel.save(
                nibabel.Nifti1Image(array.T, np.diag((1.5, 1.2, 1.0, 1.0))), folder / kind / f"n{number}.nii.gz"
            )
    return folder


@pytest.fixture
def lesion_project(numbered, tmp_path):
    made = setup.make(
        tmp_path / "numbered",
        images=numbered / "images",
        labels=numbered / "labels",
        modality="MR",
        instances=True,
        annotated=6,
    )
    with Project.open(made.folder) as project:
        yield project


class TestRejectedFindings:
    def test_are_gathered_by_case_but_never_of_the_guard_set(self, project, model, pool):
        project.review_finding(pool[0], 1, "rejected", author="ann")
        project.review_finding(pool[1], 2, "accepted", author="ann")
        project.review_finding(pool[2], 2, "rejected", author="ann")
        project.review_finding(pool[2], 2, "cleared", author="ann")
        found = rejected_boxes(project)
        assert set(found) == {pool[0]}
        assert found[pool[0]] == [project.prediction(pool[0]).instances()[0].box]

    def test_are_frozen_in_the_plan_of_the_round(self, project, model, pool):
        project.review_finding(pool[0], 1, "rejected", author="ann")
        rounds.run(project, SHORT)
        fixed = project.rounds()[-1].plan["rejected"]
        assert {case: [tuple(box) for box in boxes] for case, boxes in fixed.items()} == rejected_boxes(project)

    def test_teach_a_voxel_network_nothing(self, project, model, pool, script):
        project.review_finding(pool[0], 1, "rejected", author="ann")
        result = rounds.run(project, RoundPlan(phase="al", steps=2, device="cpu"))
        assert result.trained_on == {"human": 6, "pseudo": 0}
        assert {case.id for case in script.trained[-1]} == {case.id for case in project.training_cases()}
        assert not any(case.negatives for case in script.trained[-1])

    def test_of_an_unlabelled_case_are_all_that_is_known_of_it(self, project, model, pool):
        project.review_finding(pool[0], 1, "rejected", author="ann")
        (case,) = rejected_data(project, rejected_boxes(project), besides=())
        assert case.id == pool[0]
        assert case.label() is None
        assert case.negatives == (project.prediction(pool[0]).instances()[0].box,)
        assert rejected_data(project, rejected_boxes(project), besides={pool[0]}) == []

    def test_go_with_the_label_of_a_labelled_case(self, project, model, pool, balls):
        project.review_finding(pool[0], 1, "rejected", author="ann")
        project.record_label(pool[0], balls / "labels" / f"{pool[0]}.nii.gz", author="ann")
        cases = labelled_data(project, current_revisions(project, project.training_cases()), rejected_boxes(project))
        assert [len(case.negatives) for case in cases if case.id == pool[0]] == [1]
        assert sum(len(case.negatives) for case in cases) == 1

    def test_are_no_part_of_a_pseudo_label(self, project, model, pool):
        project.review_finding(pool[0], 1, "rejected", author="ann")
        weights = dict.fromkeys(pool[:2], 1.0)
        first, second = pseudo_data(project, model, weights, rejected_boxes(project))
        assert np.array_equal(first.label() > 0, two_lesions() == 2)
        assert np.array_equal(second.label() > 0, two_lesions() > 0)
        assert np.array_equal(
            project.label_from(project.prediction(pool[0]), rejected_boxes(project)[pool[0]]), first.label()
        )
        assert first.label_key != pseudo_data(project, model, weights)[0].label_key
        assert first.negatives == ()
        detector = pseudo_data(project, model, weights, rejected_boxes(project), detector=True)
        assert [len(case.negatives) for case in detector] == [1, 0]

    def test_of_an_older_model_count_for_a_newer_one_in_the_same_place(self, project, model, pool):
        project.review_finding(pool[0], 1, "rejected", author="ann")
        newer = rounds.run(project, RoundPlan(phase="al", steps=2, device="cpu")).model
        predict(project, pool[0], newer)
        (case,) = pseudo_data(project, newer, {pool[0]: 1.0}, rejected_boxes(project))
        assert np.array_equal(case.label() > 0, two_lesions() == 2)


class TestProjectsThatNumberLesions:
    def test_hand_the_numbers_to_training_and_say_so(self, lesion_project):
        cases = labelled_data(lesion_project, current_revisions(lesion_project, lesion_project.training_cases()))
        assert all(case.instances for case in cases)
        assert set(np.unique(cases[0].label())) == {0, 3, 7}

    def test_are_compared_class_by_class(self, lesion_project):
        (case, *_) = labelled_data(lesion_project, current_revisions(lesion_project, lesion_project.guard_cases()))
        assert set(np.unique(class_map(case, case.label()))) == {0, 1}

    def test_learn_from_the_numbers_of_a_prediction_and_not_from_what_is_below_the_threshold(
        self, lesion_project, script
    ):
        script.dice = [0.8]
        model = rounds.run(lesion_project, SHORT).model
        case = lesion_project.pool()[0].id
        predict(lesion_project, case, model)
        assert np.array_equal(lesion_project.label_from(lesion_project.prediction(case)), two_lesions())
        predict(lesion_project, case, model, kept=(2,))
        label = lesion_project.label_from(lesion_project.prediction(case))
        assert np.array_equal(label, np.where(two_lesions() == 2, 2, 0))

    def test_go_through_a_whole_round(self, lesion_project):
        result = rounds.run(lesion_project, SHORT)
        assert 0 <= result.guard.dice <= 1
        document = evaluating.evaluate_split(lesion_project, "all")
        assert document["n"] == 6
        assert "detection" not in document
        case = lesion_project.pool()[0].id
        stored = lesion_project.prediction(case)
        assert {one.id for one in stored.instances()} == set(np.unique(stored.instance_map())) - {0}


class TestDetectionFigures:
    def case(self, label, instances=True) -> CaseData:
        return CaseData("a", lambda: None, SPACING, lambda: label, "k", instances=instances)

    def test_lesions_are_the_numbers_or_the_separate_pieces(self):
        touching = np.zeros(SHAPE, np.uint8)
        touching[2:6, 2:6, 2:6], touching[2:6, 2:6, 6:10] = 1, 2
        assert len(lesions(self.case(touching))) == 2
        assert len(lesions(self.case((touching > 0).astype(np.uint8), instances=False))) == 1
        assert lesions(self.case(None)) is None

    def test_a_finding_in_place_is_found_and_another_is_a_false_positive(self):
        ids = two_lesions()
        wrong = np.zeros(SHAPE, np.uint16)
        wrong[17:19, 1:4, 1:4] = 3

        class Said:
            instances = (
                *describe(np.where(ids == 1, 1, 0).astype(np.uint16), {1: 1}, {1: 0.9}, SPACING),
                *describe(wrong, {3: 1}, {3: 0.4}, SPACING),
            )

        figures = Findings()
        figures(self.case(ids), Said())
        found = figures.document(("nodule",))
        assert (found["scans"], found["lesions"]) == (1, 2)
        assert [one["value"] for one in found["sensitivity"]] == [0.5] * 7
        assert found["ap"] == pytest.approx(0.5)
        assert found["interval"] is None
        assert found["per_class"]["nodule"]["cpm"] == found["cpm"] == 0.5

    def test_nothing_to_find_is_no_figure(self):
        class Said:
            instances = ()

        figures = Findings()
        figures(self.case(np.zeros(SHAPE, np.uint8)), Said())
        found = figures.document(("nodule",))
        assert (found["lesions"], found["cpm"], found["ap"]) == (0, None, None)


def test_an_unknown_network_is_refused_with_those_there_are(project):
    project.update_config(network="nodule-rnn")
    with pytest.raises(ProjectError, match="nodule-rnn") as refused:
        conductor.run(project, SHORT)
    assert "nodule-rcnn" in refused.value.hint
    assert not project.rounds()
