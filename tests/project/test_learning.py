"""Models, predictions, scores, rounds and the diary."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from napari_dasl.errors import GridMismatch, LabelError, ProjectError, StorageError
from napari_dasl.project import Score


@pytest.fixture
def model(project):
    return project.add_model("r0001-ab", active=True)


def probability(project, case="p1", seed=0):
    """A smooth-free probability (3, z, y, x) that sums to 1."""
    values = np.random.default_rng(seed).random((3, *project.case(case).shape), dtype=np.float32) ** 8
    return values / values.sum(axis=0)


class TestModels:
    def test_a_model_knows_how_it_came_to_be(self, project):
        guard = {"dice": np.float32(0.75), "per_class": {"liver": 0.9, "tumour": float("nan")}, "cases": {"p1": 0.75}}
        project.add_model("r0001-ab", round=1, promoted=True, guard=guard, config={"steps": 100})
        project.add_model("r0002-cd", parent="r0001-ab", round=2)
        first, second = project.models()
        assert (first.id, first.round, first.promoted, first.active) == ("r0001-ab", 1, True, False)
        assert first.guard == {"dice": 0.75, "per_class": {"liver": 0.9, "tumour": None}, "cases": {"p1": 0.75}}
        assert first.config == {"steps": 100}
        assert second.parent == "r0001-ab"
        assert first.folder == project.model_folder("r0001-ab") == project.folder / "models" / "r0001-ab"
        assert first.folder.is_dir()
        assert project.model("r0002-cd") == second

    def test_one_at_most_is_active_and_any_can_be_again(self, project):
        assert project.active_model() is None
        for number in (1, 2, 3):
            project.add_model(f"r{number}", active=number < 3)
        assert project.active_model().id == "r2"
        project.use("r1")
        assert [model.id for model in project.models() if model.active] == ["r1"]

    def test_unknown_taken_and_unsafe_ids_are_refused(self, project):
        project.add_model("r0001-ab")
        with pytest.raises(ProjectError, match=r"no model r0001-ac\. Did you mean r0001-ab\?"):
            project.use("r0001-ac")
        with pytest.raises(ProjectError, match="has a model r0001-ab already"):
            project.add_model("r0001-ab")
        for name in ("../x", "", ".hidden", "a/b"):
            with pytest.raises(ProjectError, match="cannot name a model"):
                project.model_folder(name)


class TestPredictions:
    def test_what_is_stored_is_read_back_to_float16(self, project, model):
        given = probability(project)
        signature = np.arange(5, dtype=np.float32)
        project.save_prediction("p1", model.id, given, signature, {"uncertainty": np.float32(0.25), "parts": {"a": 1}})
        stored = project.prediction("p1")
        assert (stored.case, stored.model) == ("p1", model.id)
        assert stored.scores == {"uncertainty": 0.25, "parts": {"a": 1}}
        assert stored.created.tzinfo is not None
        assert np.array_equal(stored.signature(), signature)
        assert stored.probability().shape == (2, 7, 6, 5)
        assert np.abs(stored.probability() - given[1:]).max() <= 1 / 4096
        assert np.array_equal(stored.label(), given.argmax(axis=0))
        assert np.abs(stored.uncertainty() - (1 - given.max(axis=0))).max() <= 2 / 4096
        assert stored.uncertainty().dtype == np.float32

    def test_a_slice_is_read_alone(self, project, model):
        given = probability(project)
        project.save_prediction("p1", model.id, given, np.zeros(3), {})
        lazy = project.prediction("p1").lazy("probability")
        assert lazy.chunks == (1, 1, 6, 5)
        assert np.array_equal(lazy[1, 4], project.prediction("p1").probability()[1, 4])

    def test_a_prediction_of_nothing_is_not_a_lost_one(self, project, model):
        given = np.zeros((3, 7, 6, 5), np.float32)
        given[0] = 1
        project.save_prediction("p1", model.id, given, np.zeros(3), {})
        stored = project.prediction("p1")
        assert not stored.label().any()
        assert not stored.probability().any()
        assert not stored.uncertainty().any()

    def test_lost_voxels_are_noticed_and_not_taken_for_background(self, project, model):
        project.save_prediction("p1", model.id, probability(project), np.zeros(3), {})
        stored = project.prediction("p1")
        shard = next(path for path in (stored.folder / "maps.zarr" / "label" / "c").rglob("*") if path.is_file())
        shard.unlink()
        with pytest.raises(StorageError, match=r"damaged.*Predict this case again"):
            stored.label()
        (stored.folder / "scores.json").write_text("{")
        with pytest.raises(StorageError, match="damaged"):
            project.prediction("p1")

    def test_each_model_has_its_own_and_none_is_none(self, project, model):
        assert project.prediction("p1") is None
        project.add_model("other")
        project.save_prediction("p1", "other", probability(project), np.zeros(3), {})
        assert project.prediction("p1") is None
        assert project.prediction("p1", "other") is not None
        assert project.predicted("other") == {"p1"}
        assert project.predicted(model.id) == frozenset()

    def test_a_new_one_takes_the_place_of_the_old_and_leaves_nothing_behind(self, project, model):
        for seed in (1, 2):
            project.save_prediction("p1", model.id, probability(project, seed=seed), np.zeros(3), {"seed": seed})
        assert project.prediction("p1").scores == {"seed": 2}
        assert os.listdir(project.folder / "predictions" / model.id) == ["p1"]

    @pytest.mark.parametrize(
        ("shape", "error"), [((3, 6, 6, 5), GridMismatch), ((2, 7, 6, 5), LabelError), ((7, 6, 5), GridMismatch)]
    )
    def test_another_grid_or_number_of_classes_is_refused(self, project, model, shape, error):
        with pytest.raises(error):
            project.save_prediction("p1", model.id, np.zeros(shape, np.float32), np.zeros(3), {})
        assert project.prediction("p1") is None

    def test_a_diverged_model_is_refused(self, project, model):
        given = probability(project)
        given[1, 0, 0, 0] = np.nan
        with pytest.raises(LabelError, match="not numbers"):
            project.save_prediction("p1", model.id, given, np.zeros(3), {})

    def test_a_full_disk_leaves_the_one_before(self, project, model, monkeypatch):
        project.save_prediction("p1", model.id, probability(project), np.zeros(3), {"first": 1})

        def full(handle):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(StorageError, match="disk is full"):
                project.save_prediction("p1", model.id, probability(project, seed=1), np.zeros(3), {"second": 1})
        assert project.prediction("p1").scores == {"first": 1}
        assert os.listdir(project.folder / "predictions" / model.id) == ["p1"]


def test_scores_come_by_rank_and_are_replaced_as_a_whole(project, model):
    project.save_scores(model.id, [Score("p2", model.id, 2, 0.1, 0.2, 0.3), Score("p1", model.id, 1, 0.9, 0.8, 0.7)])
    assert [score.case for score in project.scores()] == ["p1", "p2"]
    best = Score("p3", model.id, 1, 0.5, 0.4, 0.3, 0.2, {"beta": 2.0}, "most uncertain at the border")
    project.save_scores(model.id, [best])
    assert project.scores(model.id) == [best]
    assert project.scores("another") == []


def test_a_ranking_before_the_first_model_has_neither_model_nor_measures(project):
    cold = Score("p5", "", 1, None, None, None, words="drawn by lot")
    project.save_scores("", [cold])
    assert project.scores() == [cold]
    project.add_model("r1", active=True)
    assert project.scores() == []


def test_scores_of_an_unknown_case_are_refused(project, model):
    with pytest.raises(StorageError, match="FOREIGN KEY"):
        project.save_scores(model.id, [Score("stranger", model.id, 1, 0.1, 0.2, 0.3)])
    assert project.scores() == []


class TestRounds:
    def test_a_round_has_a_number_a_folder_and_its_plan(self, project):
        made = project.new_round("al", {"steps": 10, "patch": (1, 2, 3)})
        assert (made.number, made.phase, made.state) == (1, "al", "running")
        assert made.folder == project.folder / "rounds" / "0001"
        assert json.loads((made.folder / "plan.json").read_text()) == made.plan == {"steps": 10, "patch": [1, 2, 3]}
        assert made == project.rounds()[0] == project.last_unfinished_round()

    def test_a_finished_round_is_not_resumed_and_a_cancelled_one_is(self, project):
        project.new_round("al", {})
        project.finish_round(1, "done", {"dice": 0.5})
        assert project.last_unfinished_round() is None
        project.new_round("al", {})
        project.finish_round(2, "cancelled", {"reason": "stopped"})
        assert project.last_unfinished_round().number == 2
        project.resume_round(2)
        resumed = project.rounds()[1]
        assert (resumed.state, resumed.finished, resumed.result) == ("running", None, {"reason": "stopped"})
        project.finish_round(2, "done", {})
        assert [one.state for one in project.rounds()] == ["done", "done"]
        assert all(one.finished >= one.started for one in project.rounds())

    def test_a_folder_left_by_a_killed_process_is_not_used_again(self, project):
        (project.folder / "rounds" / "0007").mkdir(parents=True)
        assert project.new_round("al", {}).number == 8

    def test_an_unknown_round_or_state_is_refused(self, project):
        project.new_round("al", {})
        with pytest.raises(ProjectError, match="no round 3"):
            project.finish_round(3, "done", {})
        with pytest.raises(ProjectError, match="cannot be 'over'"):
            project.finish_round(1, "over", {})

    def test_a_plan_that_json_cannot_hold_is_refused(self, project):
        with pytest.raises(ProjectError, match="cannot be stored"):
            project.new_round("al", {"network": object()})
        assert project.rounds() == []


def test_the_diary_keeps_its_order_and_kinds(project):
    project.log_event("opened", {"case": "p1"})
    project.log_event("saved")
    project.log_event("opened", {"case": "p2"})
    assert [event.payload.get("case") for event in project.events("opened")] == ["p1", "p2"]
    assert [event.kind for event in project.events()] == ["opened", "saved", "opened"]
