"""How hard the cases of a project are: on labels, on predictions in their place, marked, and never measured twice."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from napari_dasl import rounds
from napari_dasl.errors import Cancelled, InputError, ProjectError
from napari_dasl.project import Difficulty, Project
from napari_dasl.rounds import correlating, difficulty_training
from napari_dasl.rounds.correlating import Correlation, correlations
from napari_dasl.rounds.difficulty import CHEAP, keep_current, measure_difficulties, rank_by_difficulty
from napari_dasl.rounds.measuring import measure
from napari_dasl.rounds.ranking import rank_pool
from napari_dasl.scoring import measure_label
from napari_dasl.training.plan import TrainingPlan

SPACING = (1.5, 1.2, 1.0)


def predict(project: Project, boxes: dict[str, int], model: str = "r0001-a", doubt: float = 0.1, **scores) -> None:
    """Store predictions of a box of so many voxels a side, 0 for nothing, by a model that is then active."""
    if model not in {one.id for one in project.models()}:
        project.add_model(model, promoted=True)
    project.use(model)
    for case, side in boxes.items():
        front = np.zeros(project.case(case).shape, np.float32)
        front[4 : 4 + side, 5 : 5 + side, 6 : 6 + side] = 0.9
        others = [np.zeros_like(front)] * (len(project.config.classes) - 1)
        probability = np.stack([1 - front, front, *others])
        facts = {"empty": not side, "max_foreground": 0.9, "uncertain_regions": 0, "undecided_spots": 0}
        told = {f"uncertainty_{kind}": doubt for kind in ("volume", "body", "lesion")}
        project.save_prediction(
            case, model, probability, np.ones(4), facts | told | {"largest_region_ml": 1.0, "self_loss": 0.3} | scores
        )


def rows(project: Project, scorer: str) -> dict[str, Difficulty]:
    return {row.case: row for row in project.difficulties(scorer)}


@pytest.fixture
def reads(monkeypatch):
    """Names of the scans that are read, in order."""
    seen = []
    read = Project.read_image_array

    def counted(self, case):
        seen.append(case)
        return read(self, case)

    monkeypatch.setattr(Project, "read_image_array", counted)
    return seen


def test_labels_are_measured_where_there_are_any_and_predictions_elsewhere_marked(project, pool):
    predict(project, {pool[0]: 3, pool[1]: 0})
    measured = measure_difficulties(project)
    assert measured == project.difficulties()
    sizes = rows(project, "size")
    for case in project.cases():
        if case.labelled:
            label = project.read_label(case.id)
            row = sizes[case.id]
            assert (row.source, row.revision, row.model) == ("label", 1, None)
            assert row.value == pytest.approx(np.count_nonzero(label) * math.prod(SPACING))
            expected = measure_label(("contrast",), project.read_image_array(case.id), label, case.spacing)["contrast"]
            assert rows(project, "contrast")[case.id].value == pytest.approx(expected)
    assert sizes[pool[0]].value == pytest.approx(27 * math.prod(SPACING))
    assert [(sizes[c].source, sizes[c].model, sizes[c].revision) for c in pool[:2]] == [
        ("prediction", "r0001-a", None)
    ] * 2
    assert math.isnan(sizes[pool[1]].value)
    assert set(sizes) == {case.id for case in project.cases() if case.labelled} | set(pool[:2])


def test_what_the_network_says_of_itself_is_read_from_its_scores(project, pool):
    predict(project, {pool[0]: 3}, doubt=0.25)
    measure_difficulties(project, ["uncertainty", "self-paced"])
    (unsure,), (own,) = project.difficulties("uncertainty"), project.difficulties("self-paced")
    assert (unsure.case, unsure.value, unsure.source, unsure.model) == (pool[0], 0.25, "model", "r0001-a")
    assert (own.case, own.value) == (pool[0], 0.3)


def test_nothing_is_measured_twice_and_what_changed_is(project, pool, reads):
    predict(project, {pool[0]: 3, pool[1]: 4})
    measure_difficulties(project)
    labelled = [case.id for case in project.cases() if case.labelled]
    assert sorted(reads) == sorted([*labelled, *pool[:2]])
    before = project.difficulties()
    reads.clear()
    measure_difficulties(project)
    assert (reads, project.difficulties()) == ([], before)
    # A corrected label, a label in the place of a prediction, and a new model's prediction.
    project.record_label(labelled[0], project.read_label(labelled[1]), author="Anna")
    project.record_label(pool[0], project.read_label(labelled[1]), author="Anna")
    predict(project, {pool[1]: 5}, model="r0002-b")
    measure_difficulties(project)
    assert sorted(reads) == sorted([labelled[0], *pool[:2]])
    assert [(one.source, one.revision) for one in (rows(project, "size")[c] for c in (labelled[0], pool[0]))] == [
        ("label", 2),
        ("label", 1),
    ]
    assert rows(project, "size")[pool[1]].value == pytest.approx(125 * math.prod(SPACING))


def test_what_was_measured_while_predicting_needs_no_scan(project, pool, reads):
    predict(project, {pool[0]: 3}, lesion_size=81.0, lesion_contrast=1.5, lesion_intensity=None)
    labelled = [case.id for case in project.cases() if case.labelled]
    measure_difficulties(project)
    assert sorted(reads) == sorted(labelled)
    found = [rows(project, name)[pool[0]].value for name in ("size", "contrast", "intensity")]
    assert found[:2] == [81.0, 1.5]
    assert math.isnan(found[2])


def test_a_prediction_is_measured_like_a_label_while_it_is_in_memory():
    rng = np.random.default_rng(0)
    image = rng.normal(100, 20, (1, 6, 12, 12)).astype(np.float32)
    front = np.zeros((6, 12, 12), np.float32)
    front[2:4, 3:7, 3:7] = 0.8
    scores = measure(np.stack([1 - front, front]), image, SPACING)
    expected = measure_label(("size", "contrast", "intensity"), image, (front > 0.5).astype(np.uint8), SPACING)
    assert {name: scores[f"lesion_{name}"] for name in expected} == pytest.approx(expected)
    nothing = measure(np.stack([1 - 0 * front, 0 * front]), image, SPACING)
    assert [nothing[f"lesion_{name}"] for name in expected] == [None] * 3


def test_readers_agree_where_two_people_labelled(project):
    first, second = (case.id for case in project.training_cases()[:2])
    label = project.read_label(first)
    other = label.copy()
    other[:10] = 0
    project.record_label(first, other, author="Anna")
    project.record_label(second, project.read_label(second), author="import")
    measure_difficulties(project, ["agreement"])
    (row,) = project.difficulties("agreement")
    expected = 2 * np.count_nonzero(other) / (np.count_nonzero(label) + np.count_nonzero(other))
    assert (row.case, row.revision, row.source) == (first, 2, "label")
    assert row.value == pytest.approx(expected)


def test_a_scan_that_is_gone_is_told_and_the_others_are_measured(project, pool):
    gone = next(case for case in project.cases() if case.labelled)
    gone.reference.rename(gone.reference.with_suffix(".gone"))
    told = []
    try:
        keep_current(project, told.append)
    finally:
        gone.reference.with_suffix(".gone").rename(gone.reference)
    assert any(getattr(event, "level", "") == "warning" and gone.id in event.text for event in told)
    assert gone.id not in rows(project, "contrast")
    assert len(rows(project, "size")) == sum(case.labelled for case in project.cases()) - 1


def test_stopped_between_two_cases_it_keeps_what_it_has(project):
    told = []
    with pytest.raises(Cancelled):
        measure_difficulties(
            project, ["size"], report=told.append, cancelled=lambda: sum(hasattr(e, "done") for e in told) == 3
        )
    first = [case.id for case in project.cases()][:3]
    assert set(rows(project, "size")) == {c for c in first if project.case(c).labelled}


class TestTheList:
    def test_is_the_hardest_first_and_says_what_was_measured(self, project, pool):
        predict(project, {pool[0]: 4, pool[1]: 2, pool[2]: 0, pool[3]: 3})
        measure_difficulties(project)
        listed = rank_by_difficulty(project, "size")
        assert [one.case for one in listed] == [pool[1], pool[3], pool[0], pool[2], pool[4], pool[5]]
        assert [one.rank for one in listed] == [1, 2, 3, 4, 5, 6]
        assert listed[0].score == listed[0].difficulty == pytest.approx(-8 * math.prod(SPACING))
        assert listed[0].words == "Lesion size 14.4 mm³, on the prediction."
        assert listed[3].words == "Lesion size: nothing is drawn."
        assert listed[4].words == "Not measured: not predicted yet."
        assert [one.score for one in listed[3:]] == [None] * 3

    def test_of_unlabelled_scans_cannot_go_by_what_needs_a_label(self, project):
        for scorer in ("bootstrapping", "agreement"):
            with pytest.raises(InputError, match="known of labelled cases alone"):
                rank_by_difficulty(project, scorer)
        with pytest.raises(InputError, match="Did you mean 'contrast'"):
            rank_by_difficulty(project, "contrat")

    def test_to_label_shows_the_difficulty_of_the_projects_curriculum_or_the_size(self, project, pool):
        predict(project, {pool[0]: 4, pool[1]: 2}, lesion_contrast=1.5)
        measure_difficulties(project)
        shown = {one.case: one.difficulty for one in rank_pool(project).scores}
        assert shown[pool[0]] == pytest.approx(-64 * math.prod(SPACING))
        assert shown[pool[2]] is None
        project.update_config(curriculum__scorer="contrast")
        assert {one.case: one.difficulty for one in rank_pool(project).scores}[pool[0]] == -1.5
        # Numbers of a model that was replaced say nothing about the predictions that are shown.
        predict(project, {pool[0]: 4}, model="r0002-b")
        assert {one.case: one.difficulty for one in rank_pool(project).scores}[pool[0]] is None


class TestTrained:
    @pytest.fixture
    def trained(self, project, monkeypatch):
        """Two scorers that train nothing and say what they were asked."""
        asked = []

        def score(name):
            def scored(plan, cases, folder, **keys):
                asked.append((name, [case.id for case in cases], folder, keys))
                folder.mkdir(parents=True, exist_ok=True)
                return np.arange(len(cases)) / 10

            return scored

        plan = TrainingPlan(
            modality="MR",
            channels=("image",),
            classes=project.config.classes,
            spacing=SPACING,
            patch=(16, 16, 16),
            batch=2,
            steps=100,
            network_options={"channels": [4, 8, 8], "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2]]},
            normalisation=({"channel": "image", "rule": "mr", "lower": 0.5, "upper": 99.5},),
        )
        plan.to_file(project.folder / "plan.toml")
        monkeypatch.setattr(difficulty_training, "bootstrapping", score("bootstrapping"))
        monkeypatch.setattr(difficulty_training, "gradient", score("gradient"))
        return asked

    def test_cases_are_scored_once_for_the_same_labels_and_no_guard_case_is(self, project, trained):
        names = sorted(case.id for case in project.training_cases())
        measure_difficulties(project, ["bootstrapping"])
        found = rows(project, "bootstrapping")
        assert [(c, found[c].value, found[c].source, found[c].revision) for c in names] == [
            (c, n / 10, "model", 1) for n, c in enumerate(names)
        ]
        assert set(found) == set(names)
        ((_, _, folder, keys),) = trained
        assert keys["budget"].steps == round(project.config.curriculum.effort * 100)
        assert not folder.exists()
        measure_difficulties(project, ["bootstrapping"])
        assert len(trained) == 1
        project.record_label(names[0], project.read_label(names[1]), author="Anna")
        measure_difficulties(project, ["bootstrapping"])
        assert len(trained) == 2

    def test_what_a_case_still_teaches_is_asked_of_the_active_model(self, project, trained):
        with pytest.raises(ProjectError, match="no model yet"):
            measure_difficulties(project, ["gradient"])
        project.add_model("r0001-a", active=True)
        TrainingPlan.from_file(project.folder / "plan.toml").to_file(project.model_folder("r0001-a") / "plan.toml")
        measure_difficulties(project, ["gradient"])
        assert trained[0][3]["weights"] == project.model_folder("r0001-a") / "weights.safetensors"
        assert {row.model for row in project.difficulties("gradient")} == {"r0001-a"}

    def test_they_are_no_part_of_what_every_round_measures(self, project, trained):
        keep_current(project)
        assert (trained, set(CHEAP) & {"bootstrapping", "gradient"}) == ([], set())


class TestDoesItTell:
    def test_the_guard_set_and_corrected_predictions_are_compared_by_rank(self, project, pool):
        guard = [case.id for case in project.guard_cases()]
        seen = next(case.id for case in project.training_cases())
        project.add_model(
            "r0001-a",
            promoted=True,
            guard={"cases": {guard[0]: 0.9, guard[1]: 0.2}},
            config={"trained_on": {seen: 1}},
        )
        predict(project, {seen: 3, pool[0]: 4, pool[1]: 4}, doubt=0.1)
        predict(project, {pool[2]: 4}, doubt=0.4)
        for case, side in ((pool[0], 4), (pool[1], 3), (pool[2], 2)):
            label = np.zeros(project.case(case).shape, np.uint8)
            label[4 : 4 + side, 5 : 5 + side, 6 : 6 + side] = 1
            project.record_label(case, label, author="Anna", source="corrected")
        project.set_difficulties(
            [
                *(Difficulty(case, "size", 100.0 - 10 * n, "label", revision=1) for n, case in enumerate(pool[:3])),
                Difficulty(guard[0], "size", 200.0, "label", revision=1),
                Difficulty(guard[1], "size", 5.0, "label", revision=1),
                Difficulty(seen, "size", 1.0, "label", revision=1),
                Difficulty(pool[3], "size", 1.0, "prediction", "r0001-a"),
            ]
        )
        # By hand: Dice 1, 2·27/91, 2·8/72 of the corrected ones, 0.9 and 0.2 of the guard set.
        dice = [1.0, 54 / 91, 16 / 72, 0.9, 0.2]
        size = [100.0, 90.0, 80.0, 200.0, 5.0]
        a, b = (np.argsort(np.argsort(values)) for values in (dice, [-value for value in size]))
        found = correlations(project)
        assert found["size"] == (pytest.approx(1 - 6 * ((a - b) ** 2).sum() / (5 * 24)), 5)
        assert found["size"].rho == pytest.approx(-0.9, abs=0.11)
        assert found["uncertainty"] == Correlation(pytest.approx(-np.sqrt(3) / 2), 3)
        assert "self-paced" not in found  # the same for all of them
        assert "contrast" not in found  # of nobody

    def test_a_comparison_is_made_once(self, project, pool, monkeypatch):
        predict(project, {pool[0]: 4})
        label = np.zeros(project.case(pool[0]).shape, np.uint8)
        label[4:8, 5:9, 6:9] = 1
        project.record_label(pool[0], label, author="Anna", source="corrected")
        correlations(project)
        kept = json.loads((project.folder / "cache" / "difficulty" / "dice.json").read_text())
        assert kept == {f"{pool[0]}/1/r0001-a": pytest.approx(2 * 48 / (64 + 48))}
        monkeypatch.setattr(correlating, "mean_dice", lambda *maps: pytest.fail("compared again"))
        correlations(project)


def test_predicting_leaves_the_difficulties_up_to_date(project, pool, monkeypatch):
    from napari_dasl.rounds import predicting

    monkeypatch.setattr(predicting, "predict_cases", lambda project, cases, **keys: predict(project, {pool[0]: 3}))
    rounds.predict(project)
    assert rows(project, "size")[pool[0]].source == "prediction"
    assert {one.case: one.difficulty for one in project.scores()}[pool[0]] is not None


def test_a_round_leaves_them_too(project, pool, script):
    script.dice = [0.5]
    rounds.run(project)
    found = rows(project, "size")
    assert {found[case].source for case in pool} == {"prediction"}
    assert len(found) == len(project.cases())


def test_sizes_are_of_the_lesions_and_measured_anew_when_these_change(project, pool):
    project.update_config(classes=("liver", "tumour"))
    case = next(one for one in project.cases() if one.labelled)
    both = np.zeros(case.shape, np.uint8)
    both[2:8, 2:8, 2:8] = 1
    both[3:5, 3:5, 3:5] = 2
    project.record_label(case.id, both, author="ann")
    predict(project, {pool[0]: 4}, lesion_size=123.0)
    voxel = float(np.prod(case.spacing))
    measure_difficulties(project, ["size"])
    assert rows(project, "size")[case.id].value == pytest.approx(216 * voxel)
    assert rows(project, "size")[pool[0]].value == 123.0
    project.update_config(curriculum__lesions=("tumour",))
    measure_difficulties(project, ["size"])
    assert rows(project, "size")[case.id].value == pytest.approx(8 * voxel)
    assert np.isnan(rows(project, "size")[pool[0]].value)  # the first class was drawn, and it is no lesion
