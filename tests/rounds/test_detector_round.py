"""A network that finds lesions one by one, through whole rounds: thresholds, findings, verdicts, the round after."""

from __future__ import annotations

import json

import numpy as np
import pytest

from napari_dasl import rounds
from napari_dasl.events import Log, never
from napari_dasl.project import Project, setup
from napari_dasl.rounds import evaluating, fitting, planning
from napari_dasl.rounds.comparing import compare
from napari_dasl.rounds.gather import current_revisions, labelled_data
from napari_dasl.rounds.models import predictor
from napari_dasl.rounds.plan import RoundPlan
from napari_dasl.rounds.tuning import best

TINY = {"growth": 4, "blocks": [1, 1, 1], "stem": 8, "width": 16, "features": 8, "mask_size": 12, "mask_layers": 1}
SLICES = {"layers": [1, 1, 1, 1], "planes": 8, "width": 16, "features": 8, "mask_size": 12, "mask_layers": 1}


def study(balls, folder, network: str, options: dict, **changes) -> Project:
    """A project of the balls, six labelled, two of these the guard set, with a plan small enough for a test."""
    made = setup.make(
        folder,
        images=balls / "images",
        labels=balls / "labels",
        modality="MR",
        classes=["ball"],
        network=network,
        annotated=6,
    )
    project = Project.open(made.folder)
    for case in project.pool()[3:]:
        project.skip(case.id)
    plan = rounds.training_plan(project)
    small = {"network_options": {**plan.network_options, **options}, "precision": "fp32", "learning_rate": 1e-2}
    plan.model_copy(update=small | changes).to_file(project.folder / planning.PLAN_FILE)
    return project


@pytest.fixture(scope="module")
def first(balls, tmp_path_factory):
    """The project after its first round, the result, and what the round said."""
    said = []
    folder = tmp_path_factory.mktemp("detector") / "study"
    with study(balls, folder, "nodule-rcnn", TINY, patch=(32, 32, 32), batch=2) as project:
        result = rounds.run(project, RoundPlan(steps=60, device="cpu"), report=said.append)
        yield project, result, said


class TestTheFirstRound:
    def test_finds_what_it_learned_and_takes_over(self, first):
        _, result, _ = first
        assert result.promoted
        assert result.guard.dice > 0.6
        assert result.predicted == 3

    def test_chooses_the_thresholds_before_the_comparison_and_keeps_them_with_the_model(self, first):
        project, result, said = first
        stored = json.loads((project.model(result.model).folder / "detection.json").read_text(encoding="utf-8"))
        network = predictor(project.model(result.model).folder, "cpu")
        assert network.thresholds.score == stored["score"]
        assert network.thresholds.nms == stored["nms"]
        texts = [event.text for event in said if hasattr(event, "text")]
        chosen = next(n for n, text in enumerate(texts) if text.startswith("Choosing the threshold"))
        compared = next(n for n, text in enumerate(texts) if text.startswith("Comparing on the 2 scans"))
        assert chosen < compared
        assert any(isinstance(e, Log) and e.text.startswith("Findings count from a score of") for e in said)

    def test_stores_findings_whose_kept_ones_are_the_label(self, first):
        project, _, _ = first
        for case in project.pool():
            stored = project.prediction(case.id)
            assert stored.instances()
            assert np.array_equal(stored.instance_map(kept=True) > 0, stored.label() > 0)

    def test_measures_the_loss_of_its_own_findings(self, first):
        project, result, _ = first
        case = project.pool()[0]
        network = predictor(project.model(result.model).folder, "cpu")
        predicted = network.predict(project.read_image_array(case.id), case.spacing)
        assert predicted.self_loss is not None
        assert project.prediction(case.id).scores["self_loss"] == pytest.approx(predicted.self_loss)

    def test_ranks_by_what_it_found(self, first):
        project, _, _ = first
        ranking = rounds.rank(project)
        assert {one.case for one in ranking.scores} == {case.id for case in project.pool()}
        assert all(np.isfinite(one.score) for one in ranking.scores)

    def test_is_evaluated_by_detection_too(self, first):
        project, _, _ = first
        document = evaluating.evaluate_split(project, "all")
        found = document["detection"]
        assert (found["scans"], found["lesions"]) == (6, 6)
        assert 0 < found["cpm"] <= 1
        assert [one["false_positives"] for one in found["sensitivity"]] == [0.125, 0.25, 0.5, 1, 2, 4, 8]
        assert found["interval"][0] <= found["cpm"] <= found["interval"][1]
        json.dumps(document, allow_nan=False)


class TestTheGuardSet:
    def test_is_judged_by_detection_too_in_a_few_points(self, first):
        project, result, _ = first
        judged = result.guard.detection
        whole = evaluating.evaluate_split(project, "guard")["detection"]
        assert (judged["scans"], judged["lesions"]) == (2, 2)
        assert judged["threshold"] == predictor(project.model(result.model).folder, "cpu").thresholds.score
        for name in ("cpm", "ap", "per_class"):
            assert judged[name] == whole[name]
        long, short = whole["froc"], judged["froc"]
        assert len(short["sensitivity"]) <= len(long["sensitivity"])
        area, same = (np.trapezoid(curve["sensitivity"], curve["false_positives"]) for curve in (long, short))
        assert same == pytest.approx(area)
        assert project.rounds()[0].result["guard"]["detection"] == judged

    def test_is_not_predicted_again_where_its_findings_are_known(self, first, monkeypatch):
        project, result, _ = first
        network = predictor(project.model(result.model).folder, "cpu")
        cases = labelled_data(project, current_revisions(project, project.guard_cases()))
        _, found = best(network, cases, never)
        anew = compare(network, cases, project.config.classes)
        monkeypatch.setattr(network, "candidates", None)
        again = compare(network, cases, project.config.classes, found=found)
        assert [row.dice for row in again] == [row.dice for row in anew]
        assert found == {}


def test_the_next_round_learns_from_a_rejected_finding_and_leaves_it_out_of_pseudo_labels(first, monkeypatch):
    project, result, _ = first
    project.update_config(selfpaced__quantile=1.0, selfpaced__ceiling=1.0)
    case = project.pool()[0].id
    finding = project.findings(case)[0].instance
    project.review_finding(case, finding.id, "rejected", author="ann")
    kept = project.findings(project.pool()[1].id)[0].instance
    project.review_finding(project.pool()[1].id, kept.id, "accepted", author="ann")
    given = []
    train = fitting.train
    monkeypatch.setattr(
        fitting, "train", lambda plan, cases, *rest, **more: (given.extend(cases), train(plan, cases, *rest, **more))[1]
    )
    second = rounds.run(project, RoundPlan(steps=4, device="cpu", phase="spl"))
    assert second.trained_on["rejected"] == 1
    assert "1 rejected finding is no lesion" in second.sentence
    learned = [one for one in given if one.id == case]
    assert [one.negatives for one in learned] == [(finding.box,)]
    (negative,) = learned
    if negative.human:  # it was not sure enough to be a pseudo-label: only the place is known
        assert negative.label() is None
    else:
        drawn = project.prediction(case, result.model).instance_map()
        assert not negative.label()[drawn == finding.id].any()
    assert project.model(second.model).parent == result.model


def test_other_anchors_are_another_network(first):
    project, result, _ = first
    folder = project.model(result.model).folder
    plan = rounds.training_plan(project)
    assert planning.same_network(plan, folder)
    options = {**plan.network_options, "anchor_sizes": [4.0, 9.0, 20.0]}
    assert not planning.same_network(plan.model_copy(update={"network_options": options}), folder)
    options = {**plan.network_options, "dropout": 0.3}
    assert planning.same_network(plan.model_copy(update={"network_options": options}), folder)


def test_a_network_of_slices_goes_the_same_way(balls, tmp_path):
    with study(balls, tmp_path / "study", "mask-rcnn", SLICES) as project:
        result = rounds.run(project, RoundPlan(steps=3, device="cpu"))
        assert result.state == "done"
        assert result.predicted == 3
        assert "detection" in evaluating.evaluate_split(project, "guard")


def test_changing_the_network_needs_another_plan(first):
    from napari_dasl.errors import ProjectError

    project, _, _ = first
    project.update_config(network="unet")
    try:
        with pytest.raises(ProjectError, match="made for nodule-rcnn") as refused:
            rounds.training_plan(project)
        assert "Delete it" in refused.value.hint
    finally:
        project.update_config(network="nodule-rcnn")
