"""A round: what it trains on, what it leaves behind, when it promotes, and how it survives interruptions."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from napari_dasl import rounds
from napari_dasl.errors import Cancelled, ProjectError
from napari_dasl.events import Log, Metric, Phase, Progress
from napari_dasl.project import CaseState, Project
from napari_dasl.rounds import RoundPlan

SHORT = RoundPlan(steps=4, device="cpu")


@pytest.fixture
def heard():
    return []


@pytest.fixture(scope="module")
def played(short_round):
    """The project after its first round, to be read."""
    with Project.open(short_round.folder) as project:
        yield project


@pytest.fixture
def second(short_round, tmp_path):
    """A copy of that project, to go on."""
    with Project.open(short_round.copy(tmp_path)) as project:
        yield project


def weights(project: Project, model: str) -> bytes:
    return (project.model(model).folder / "weights.safetensors").read_bytes()


class TestARound:
    def test_trains_on_human_labels_only_and_never_on_the_guard_set(self, played, short_round):
        fixed = played.rounds()[-1].plan
        guard = {case.id for case in played.guard_cases()}
        assert short_round.result.trained_on == {"human": 6, "pseudo": 0}
        assert set(fixed["train"]) == {case.id for case in played.training_cases()}
        assert set(fixed["guard_set"]) == guard
        assert not guard & set(fixed["train"])

    def test_leaves_a_model_predictions_and_a_ranked_list(self, played, short_round):
        result = short_round.result
        assert played.active_model().id == result.model
        assert result.promoted
        assert result.predicted == len(played.pool()) == 6
        ranked = played.scores()
        assert [one.rank for one in ranked] == list(range(1, 7))
        assert {one.case for one in ranked} == {case.id for case in played.pool()}
        assert all(one.words for one in ranked)
        prediction = played.prediction(ranked[0].case)
        assert prediction.label().shape == played.case(ranked[0].case).shape

    def test_never_predicts_the_guard_set_so_that_it_is_drawn_blind(self, second):
        rounds.predict(second, all=True)
        assert all(second.prediction(case.id) is None for case in second.guard_cases())

    def test_reports_phases_progress_and_a_loss_curve(self, short_round):
        heard = short_round.heard
        phases = [event.name for event in heard if isinstance(event, Phase)]
        assert list(dict.fromkeys(phases)) == ["prepare", "train", "guard", "predict", "rank"]
        assert any(isinstance(event, Progress) and event.name == "train" for event in heard)
        curves = {event.name for event in heard if isinstance(event, Metric)}
        assert curves == {"loss", "guard_dice"}

    def test_keeps_its_plan_events_and_curves_on_disk(self, played):
        folder = played.rounds()[-1].folder
        plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
        assert plan["steps"] == 4
        assert set(plan["train"]) == {case.id for case in played.training_cases()}
        with (folder / "curves.csv").open(encoding="utf-8") as file:
            assert {row["name"] for row in csv.DictReader(file)} >= {"loss"}
        lines = [json.loads(line) for line in (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()]
        assert lines[-1]["event"]["text"] == played.rounds()[-1].result["sentence"]
        assert not (folder / "state").exists()

    def test_needs_a_label(self, balls, tmp_path):
        from napari_dasl.project import setup

        setup.make(tmp_path / "bare", images=balls / "images", modality="MR")
        with Project.open(tmp_path / "bare") as project, pytest.raises(ProjectError, match="no labelled scan"):
            rounds.run(project, SHORT)

    def test_uses_an_edited_training_plan_and_names_a_wrong_key(self, second):
        path = second.folder / "plan.toml"
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("batch = ", "batch = 1 # was "), encoding="utf-8")
        assert rounds.training_plan(second).batch == 1
        path.write_text(text.replace("learning_rate = ", "learning_rat = "), encoding="utf-8")
        with pytest.raises(ProjectError, match="learning_rat"):
            rounds.run(second, SHORT)

    def test_records_a_case_that_cannot_be_predicted_and_goes_on(self, project, heard):
        lost = project.pool()[0]
        moved = lost.reference.with_suffix(".away")
        lost.reference.rename(moved)
        try:
            result = rounds.run(project, SHORT, report=heard.append)
        finally:
            moved.rename(lost.reference)
        assert result.predicted == 5
        assert any(isinstance(event, Log) and event.level == "warning" and lost.id in event.text for event in heard)


class TestTheSecondRound:
    def test_compares_with_the_first_on_the_same_guard_set(self, second, short_round):
        again = rounds.run(second, SHORT)
        assert again.guard.before == short_round.result.guard.dice
        assert second.model(again.model).parent == short_round.result.model

    def test_learns_from_a_new_label(self, second, balls):
        case = second.scores()[0].case
        second.record_label(case, balls / "labels" / f"{case}.nii.gz", author="ann")
        rounds.run(second, SHORT)
        assert case in second.rounds()[-1].plan["train"]
        assert case not in {one.case for one in second.scores()}

    def test_goes_on_from_the_active_model_unless_its_network_has_changed(self, second, heard):
        plan = SHORT.model_copy(update={"predict": False})
        rounds.run(second, plan)
        assert second.rounds()[-1].plan["start"] == "active"
        path = second.folder / "plan.toml"
        path.write_text(path.read_text(encoding="utf-8").replace("res_units = 2", "res_units = 1"), encoding="utf-8")
        rounds.run(second, plan, report=heard.append)
        assert second.rounds()[-1].plan["start"] == "scratch"
        assert any(isinstance(event, Log) and "trains anew" in event.text for event in heard)

    def test_keeps_a_worse_model_as_a_candidate(self, long_round, tmp_path):
        good = long_round.result
        with Project.open(long_round.copy(tmp_path)) as project:
            bad = rounds.run(project, RoundPlan(steps=1, start="scratch", device="cpu"))
            assert bad.guard.dice < good.guard.dice - 0.01
            assert not bad.promoted
            assert project.active_model().id == good.model
            assert "old model stays active" in bad.sentence

    def test_can_be_rolled_back_to_bit_identical_predictions(self, second, short_round):
        case = second.pool()[0].id
        before = second.prediction(case).probability()
        rounds.run(second, RoundPlan(steps=6, device="cpu", seed=9))
        second.use(short_round.result.model)
        rounds.predict(second, [case])
        np.testing.assert_array_equal(second.prediction(case, short_round.result.model).probability(), before)


class TestInterruption:
    def test_a_cancelled_round_resumes_to_the_same_weights(self, project, project_folder, tmp_path):
        plan = RoundPlan(phase="al", start="scratch", steps=12, device="cpu", seed=3, predict=False)
        whole = rounds.run(project, plan)
        expected = weights(project, whole.model)
        steps = []

        def stop_in_the_middle() -> bool:
            return bool(steps) and steps[-1] >= 4

        def count(event: object) -> None:
            if isinstance(event, Progress) and event.name == "train":
                steps.append(event.done)

        with pytest.raises(Cancelled):
            rounds.run(project, plan, report=count, cancelled=stop_in_the_middle)
        assert project.rounds()[-1].state == "cancelled"
        assert 4 <= steps[-1] < 12
        resumed = rounds.run(project, resume=True)
        assert resumed.round == 2
        assert weights(project, resumed.model) == expected

    def test_a_resumed_round_trains_on_the_labels_it_began_with(self, project, balls):
        plan = RoundPlan(steps=4, device="cpu", predict=False)
        with pytest.raises(Cancelled):
            rounds.run(project, plan, cancelled=lambda: True)
        began_with = project.rounds()[-1].plan["train"]
        case = project.pool()[0].id
        project.record_label(case, balls / "labels" / f"{case}.nii.gz", author="ann")
        rounds.run(project, resume=True)
        assert project.rounds()[-1].plan["train"] == began_with

    def test_nothing_to_resume_is_said(self, project):
        with pytest.raises(ProjectError, match="no unfinished round"):
            rounds.run(project, resume=True)

    def test_a_killed_round_resumes(self, project, project_folder):
        script = (
            "import sys\n"
            "from pathlib import Path\n"
            "from napari_dasl import rounds\n"
            "from napari_dasl.project import Project\n"
            "with Project.open(Path(sys.argv[1])) as project:\n"
            "    rounds.run(project, rounds.RoundPlan(steps=100000, device='cpu'))\n"
        )
        process = subprocess.Popen([sys.executable, "-c", script, str(project_folder)])
        try:
            curves = project_folder / "rounds" / "0001" / "curves.csv"
            deadline = time.monotonic() + 120
            while not (curves.exists() and curves.stat().st_size > 40):
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        record = project.last_unfinished_round()
        assert record.state == "running"
        assert all(case.state is not CaseState.UNREADABLE for case in project.cases())
        with pytest.raises(Cancelled):
            rounds.run(project, resume=True, cancelled=lambda: True)
        assert project.rounds()[-1].state == "cancelled"
