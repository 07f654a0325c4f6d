"""What is measured and stored when a case is predicted, by networks with random weights."""

from __future__ import annotations

import numpy as np
import pytest

from napari_dasl.active import pairwise_dice
from napari_dasl.errors import InputError
from napari_dasl.rounds import labelled_signatures
from napari_dasl.rounds.measuring import measure, measure_passes, measure_previous
from napari_dasl.rounds.models import PLAN, STUDENT, WEIGHTS, predictor
from napari_dasl.rounds.plan import RoundPlan
from napari_dasl.rounds.planning import training_plan
from napari_dasl.rounds.predicting import predict_cases
from napari_dasl.rounds.ranking import rank_and_store, rank_pool
from napari_dasl.selfpaced import self_loss
from napari_dasl.training.weights import build_network, save_network

SINGLE = {
    *(f"{name}_{kind}" for name in ("uncertainty", "entropy") for kind in ("volume", "body", "lesion")),
    *(f"{name}_{kind}" for name in ("uncertainty", "entropy") for kind in ("topq", "per_foreground")),
    *("class_scores", "foreground_ml", "self_loss", "empty", "max_foreground"),
}
PASSES = {"mutual_information", "disagreement", "pairwise_dice", "passes"}


def make_model(project, name: str, *, seed: int = 0, dropout: float = 0.1, student: bool = False) -> None:
    """A model that was never trained, and is now active."""
    plan = training_plan(project, RoundPlan()).model_copy(update={"precision": "fp32", "patch": (16, 16, 16)})
    options = plan.network_options | {
        "dropout": dropout,
        "channels": (4, 8, 8),
        "strides": ((1, 1, 1), (2, 2, 2), (2, 2, 2)),
    }
    plan = plan.model_copy(update={"network_options": options})
    folder = project.model_folder(name)
    plan.to_file(folder / PLAN)
    save_network(build_network(plan, seed=seed), folder / WEIGHTS)
    if student:
        save_network(build_network(plan, seed=seed + 50), folder / STUDENT)
    project.add_model(name, promoted=True)
    project.use(name)


def by(project, strategy: str) -> None:
    project.update_config(ranking__strategy=strategy)


@pytest.fixture
def case(project) -> str:
    return project.pool()[0].id


class TestOnePass:
    def test_holds_the_numbers_of_every_single_pass_strategy(self, project, case):
        make_model(project, "r0001-a")
        predict_cases(project, [case])
        scores = project.prediction(case).scores
        assert set(scores) >= SINGLE
        assert not set(scores) & PASSES
        assert "loss_previous" not in scores
        assert "loss_teacher" not in scores
        assert len(scores["class_scores"]) == len(project.config.classes)

    def test_self_loss_is_that_of_the_probabilities(self, project, case):
        make_model(project, "r0001-a")
        network = predictor(project.active_model().folder)
        probability = network.case(project.read_image_array(case), project.case(case).spacing)
        predict_cases(project, [case])
        assert project.prediction(case).scores["self_loss"] == pytest.approx(self_loss(probability), rel=1e-6)


class TestTheModelBefore:
    def test_is_compared_with_where_it_predicted_the_case(self, project, case):
        make_model(project, "r0001-a", seed=1)
        predict_cases(project, [case])
        before = project.prediction(case).label()
        make_model(project, "r0002-b", seed=2)
        predict_cases(project, [case])
        found = project.prediction(case)
        network = predictor(project.active_model().folder)
        probability = network.case(project.read_image_array(case), project.case(case).spacing)
        assert found.scores["loss_previous"] == pytest.approx(self_loss(probability, before), rel=1e-6)
        assert found.scores["agreement_previous"] == pytest.approx(pairwise_dice([found.label(), before]))

    def test_is_the_newest_that_did(self, project, case):
        for number, name in enumerate(("r0001-a", "r0002-b", "r0003-c", "r0004-d")):
            make_model(project, name, seed=number)
            if number != 2:
                predict_cases(project, [case])
        second = project.prediction(case, "r0002-b").label()
        expected = pairwise_dice([project.prediction(case).label(), second])
        assert project.prediction(case).scores["agreement_previous"] == pytest.approx(expected)

    def test_a_prediction_of_itself_agrees(self):
        rng = np.random.default_rng(0)
        front = rng.random((1, 6, 7, 8)).astype(np.float32)
        probability = np.concatenate([1 - front, front])
        found = measure_previous(probability, probability.argmax(axis=0).astype(np.uint8))
        assert found["agreement_previous"] == 1
        assert found["loss_previous"] == pytest.approx(self_loss(probability))


def test_the_last_weights_are_asked_only_where_the_project_looks_at_them(project, case):
    make_model(project, "r0001-a", student=True)
    predict_cases(project, [case])
    assert "loss_teacher" not in project.prediction(case).scores
    project.update_config(selfpaced__view="teacher")
    predict_cases(project, [case])
    scores = project.prediction(case).scores
    assert scores["loss_teacher"] > scores["self_loss"] * 0.5
    assert scores["loss_teacher"] != pytest.approx(scores["self_loss"], rel=1e-3)


class TestSeveralPasses:
    def test_only_where_the_strategy_needs_them_and_the_same_again(self, project, case):
        make_model(project, "r0001-a", dropout=0.3)
        by(project, "bald")
        predict_cases(project, [case])
        first = project.prediction(case).scores
        assert set(first) >= PASSES
        assert first["passes"] == project.config.ranking.samples
        assert first["mutual_information"] > 0
        predict_cases(project, [case])
        assert project.prediction(case).scores == first

    def test_predictions_without_them_are_made_again_and_only_those(self, project):
        make_model(project, "r0001-a")
        pool = [one.id for one in project.pool()]
        predict_cases(project)
        predict_cases(project, [pool[0]], strategy="bald")
        with pytest.raises(InputError, match="5 of 6 predictions lack what the order") as caught:
            rank_pool(project, strategy="bald")
        assert f"napari-dasl predict {project.folder} --for bald" in caught.value.hint
        assert predict_cases(project, strategy="bald").predicted == pool[1:]
        assert rank_pool(project, strategy="bald").strategy == "bald"
        assert predict_cases(project, strategy="bald").predicted == []

    def test_a_model_without_dropout_is_refused_where_they_are_asked_for(self, project, case):
        make_model(project, "r0001-a", dropout=0.0)
        with pytest.raises(InputError, match="r0001-a has no dropout") as caught:
            predict_cases(project, [case], strategy="disagreement")
        assert "plan.toml" in caught.value.hint
        assert project.prediction(case) is None

    def test_a_round_goes_on_without_them_and_the_list_says_so(self, project):
        make_model(project, "r0001-a", dropout=0.0)
        by(project, "bald")
        lines: list[str] = []
        done = predict_cases(project, report=lambda event: lines.append(getattr(event, "text", "")))
        assert len(done.predicted) == 6
        assert any("has no dropout" in line for line in lines)
        assert predict_cases(project).predicted == []
        ranking = rank_and_store(project)
        assert ranking.strategy == "default"
        assert "Ranked by default instead" in ranking.notes[0]


class TestLabelledScans:
    def test_give_their_signatures_and_nothing_else_and_never_those_of_the_guard_set(self, project):
        make_model(project, "r0001-a")
        predict_cases(project)
        learn = {one.id for one in project.training_cases()}
        assert set(labelled_signatures.sources(project, "r0001-a")) == learn
        assert not {one.id for one in project.guard_cases()} & learn
        assert project.predicted("r0001-a") == {one.id for one in project.pool()}

    def test_have_the_signature_of_their_prediction(self, project):
        make_model(project, "r0001-a")
        predict_cases(project)
        name = project.training_cases()[0].id
        cached = labelled_signatures.sources(project, "r0001-a")[name]()
        predict_cases(project, [name])
        np.testing.assert_array_equal(cached, project.prediction(name).signature())

    def test_are_left_out_when_single_cases_are_predicted(self, project, case):
        make_model(project, "r0001-a")
        predict_cases(project, [case])
        assert labelled_signatures.sources(project, "r0001-a") == {}

    def test_a_damaged_file_or_another_grid_is_made_anew(self, project):
        make_model(project, "r0001-a")
        predict_cases(project)
        name = project.training_cases()[0].id
        path = project.folder / "cache" / "signatures" / "r0001-a" / f"{name}.npy"
        path.write_bytes(b"not a signature")
        assert [one.id for one in labelled_signatures.lacking(project, "r0001-a")] == [name]
        predict_cases(project)
        assert labelled_signatures.lacking(project, "r0001-a") == []
        project.update_config(ranking__signature=8)
        assert len(labelled_signatures.lacking(project, "r0001-a")) == len(project.training_cases())

    def test_of_very_many_a_fixed_lot_is_drawn(self, project, monkeypatch):
        monkeypatch.setattr(labelled_signatures, "MOST", 3)
        drawn = labelled_signatures.compared(project)
        assert len(drawn) == 3
        assert drawn == labelled_signatures.compared(project)


def test_the_region_numbers_of_a_scan_do_not_change_with_its_field_of_view():
    z, y, x = np.mgrid[:16, :18, :20]
    distance = np.sqrt((z - 8) ** 2 + (y - 9) ** 2 + (x - 10) ** 2)
    front = np.where(distance < 6, 0.95 / (1 + np.exp(distance - 2)), 0).astype(np.float32)
    small = np.stack([1 - front, front])
    large = np.stack([1 - np.pad(front, 10), np.pad(front, 10)])
    image = np.random.default_rng(0).normal(100, 5, (1, *front.shape)).astype(np.float32)
    one = measure(small, image, (1.0, 1.0, 1.0))
    two = measure(large, np.pad(image, [(0, 0), (10, 10), (10, 10), (10, 10)]), (1.0, 1.0, 1.0))
    local = ("_lesion", "_topq", "_per_foreground", "foreground_ml")
    kept = [name for name in one if name.endswith(local)]
    assert len(kept) == 7
    assert {name: two[name] for name in kept} == pytest.approx({name: one[name] for name in kept}, rel=1e-4)
    assert two["class_scores"] == pytest.approx(one["class_scores"], rel=1e-4)
    assert two["uncertainty_volume"] < one["uncertainty_volume"] / 5
    passes = [measure_passes([p, np.roll(p, 1, axis=1)]) for p in (small, large)]
    assert passes[1] == pytest.approx(passes[0], rel=1e-4)
