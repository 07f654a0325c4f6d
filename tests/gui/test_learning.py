"""*Learning*: before, during and after a round, and every way in which one can end."""

from __future__ import annotations

import os
import signal
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from qtpy.QtWidgets import QPushButton

from napari_dasl.events import Phase
from napari_dasl.project.records import Model, Round
from napari_dasl.rounds import phases
from napari_dasl.rounds.plan import RoundPlan
from napari_dasl.widgets.history import history_lines
from napari_dasl.widgets.learning import LearningWidget
from napari_dasl.widgets.learning_curve import smoothed
from napari_dasl.widgets.learning_words import before_words, cost_words, plan_words
from napari_dasl.widgets.round_runner import memory_words, runner_for
from napari_dasl.widgets.snapshot import Snapshot, snapshots_for

FAKE = Path(__file__).with_name("fake_engine.py")


@pytest.fixture
def learning_with(study, make_session, qtbot):
    """Open the study with an engine that behaves in the given way, and show *Learning*."""
    runners = []

    def make(how: str, **options) -> LearningWidget:
        study.project.update_config(**{"engine.command": (sys.executable, str(FAKE), how)})
        session = make_session(study.folder)
        runner = runner_for(session)
        for name, value in options.items():
            setattr(runner, name, value)
        runners.append(runner)
        widget = LearningWidget(session.viewer)
        qtbot.addWidget(widget)
        widget.show()
        qtbot.waitUntil(lambda: widget.keeper.snapshot is not None)
        return widget

    yield make
    for runner in runners:
        runner.shutdown()


def reaches(widget, state):
    return lambda: widget.runner.state == state


# -- before ---------------------------------------------------------------------------------------------------------


def test_before_a_round_it_says_what_the_network_will_learn_from(learning_with):
    widget = learning_with("works")
    assert widget.words.text() == phases.preview(widget.session.project).sentence
    assert widget.start.text() == "Start round"
    assert widget.start.isEnabled()
    assert not widget.cancel.isVisible()
    assert not widget.resume.isVisible()


def test_without_labels_it_says_what_to_do(learning_with):
    widget = learning_with("works")
    widget.keeper._set(Snapshot(labelled=2, guard=2))
    assert widget.words.text().startswith("Nothing to learn from yet (2 are kept to judge models)")
    assert not widget.start.isEnabled()
    assert "Label and save" in widget.start.toolTip()


def test_a_refused_setting_cannot_be_started(learning_with):
    widget = learning_with("works")
    widget.form.fields["minutes"].setText("-3")
    assert not widget.start.isEnabled()
    widget.form.fields["minutes"].setText("3")
    assert widget.start.isEnabled()
    assert widget.plan() == RoundPlan(minutes=3)


def test_words_of_plan_and_cost():
    snapshot = Snapshot(labelled=54, guard=9, network="unet", minutes=5.0)
    before = "The next round learns from 45 labels. It is judged on the 9 cases of the guard set."
    assert before_words(snapshot) == before
    assert plan_words(snapshot, RoundPlan(steps=300)) == "U-Net, trained anew for 300 steps."
    assert plan_words(snapshot, RoundPlan(epochs=2)) == "U-Net, trained anew for 2 passes."
    assert cost_words(snapshot, RoundPlan()) == "Training takes 5 min, predictions come on top."
    assert cost_words(Snapshot(labelled=5), RoundPlan()).startswith("Time and memory are measured")


def test_it_says_what_the_next_round_takes_and_asks_for_each_phase():
    previews = {
        "auto": phases.PhasePreview("spl", 45, pseudo=61, sentence="Takes 61."),
        "al": phases.PhasePreview("al", 45, sentence="Your 45 labels."),
    }
    snapshot = Snapshot(labelled=54, guard=9, previews=previews)
    assert before_words(snapshot).startswith("Takes 61. It is judged on")
    assert before_words(snapshot, "al").startswith("Your 45 labels. It is judged on")


@pytest.fixture
def asking(study):
    """A project whose next round waits for P-0 and P-1."""
    study.project.update_config(**{"selfpaced.phases": ["al"]})
    number = study.project.new_round("al", {"slot": 0}).number
    study.project.finish_round(number, "done", {"phase": "al", "asked": ["P-0", "P-1"]})
    return study


def test_where_the_network_asked_for_cases_it_names_them_and_a_click_starts_without_waiting(
    learning_with, asking, qtbot, monkeypatch
):
    widget = learning_with("works")
    assert "P-0, P-1" in widget.words.text()
    assert "You can also start now" in widget.words.text()
    assert widget.start.text() == "Start now with what is labelled"
    started = []
    monkeypatch.setattr(widget.runner, "start_round", started.append)
    widget.start.click()
    assert started == [RoundPlan(phase="al")]


def test_once_they_are_labelled_the_round_starts_as_usual(learning_with, asking, qtbot):
    for case in ("P-0", "P-1"):
        asking.project.record_label(case, asking.truth[case], author="me")
    widget = learning_with("works")
    assert widget.start.text() == "Start round"


def test_pseudo_labels_that_were_switched_off_say_why_and_come_back_by_one_button(learning_with, study, qtbot):
    phases.switch(study.project, enabled=False, why="two rounds with them made the model worse")
    widget = learning_with("works")
    assert "Pseudo-labels are off: two rounds with them made the model worse." in widget.words.text()
    assert not widget.off.isVisible()  # said once
    form = widget.form.fields["phase"]
    form.setCurrentIndex(form.findData("al"))
    assert "switched off: two rounds with them made the model worse." in widget.off.text()
    assert widget.off.isVisible()
    widget.again.click()
    qtbot.waitUntil(lambda: not widget.again.isVisible(), timeout=5000)
    assert phases.standing(study.project).off == ""
    assert not widget.off.isVisible()


def test_advice_is_said_and_changes_nothing(learning_with, study, qtbot):
    number = study.project.new_round("al", {}).number
    study.project.finish_round(number, "done", {"phase": "al", "advice": "The predictions hardly change any more."})
    widget = learning_with("works")
    assert widget.advice.text() == "The predictions hardly change any more."
    assert widget.start.isEnabled()


def test_what_is_changed_under_advanced_goes_to_the_project_file(learning_with, study, qtbot):
    widget = learning_with("works")
    form = widget.pseudo.form
    form.fields["view"].setCurrentIndex(form.fields["view"].findData("previous"))
    form.fields["quantile"].setText("0.35")
    qtbot.waitUntil(lambda: 'view = "previous"' in (study.folder / "project.toml").read_text(), timeout=5000)
    qtbot.waitUntil(lambda: widget.keeper.snapshot.selfpaced.quantile == 0.35, timeout=5000)
    assert widget.keeper.snapshot.selfpaced.regularizer == "rescaled"
    form.fields["quantile"].setText("7")
    assert form.problem.isVisibleTo(form)
    qtbot.wait(500)
    assert "quantile = 0.35" in (study.folder / "project.toml").read_text()


# -- during and after -----------------------------------------------------------------------------------------------


def test_a_round_runs_and_ends_in_one_sentence(learning_with, qtbot):
    widget = learning_with("works")
    with qtbot.waitSignal(widget.session.cases_changed):
        widget.start.click()
        assert widget.runner.state == "starting"  # asking returned before the child lives
        assert widget.cancel.isVisible()
        assert not widget.start.isVisible()
        qtbot.waitUntil(reaches(widget, "done"), timeout=10_000)
    assert widget.words.text() == "Guard Dice 0.500. The new model is active."
    assert widget.runner.curves["loss"][-1] == (5, 0.2)
    assert widget.runner.curves["guard_dice"] == [(5, 0.5)]
    assert "Training …" in widget.log.toPlainText()
    assert widget.start.isVisible()


def test_the_curve_is_drawn_while_it_runs(learning_with, qtbot):
    widget = learning_with("slow")
    widget.start.click()
    qtbot.waitUntil(lambda: widget.curve.isVisible(), timeout=10_000)
    assert "Guard Dice 0.500 at step 5" in widget.curve.toolTip()
    assert widget.bar.maximum() == 5
    assert "2 s left" in widget.left.text()
    assert not widget.settings_part.isEnabled()


def test_while_it_runs_no_older_model_can_be_chosen(learning_with, qtbot, study, add_model):
    add_model(study.project, study.truth, model="r0002-test")
    widget = learning_with("slow")
    said = []
    widget.session.message.connect(lambda text, severity: said.append((text, severity)))
    widget.start.click()
    qtbot.waitUntil(reaches(widget, "running"), timeout=10_000)
    widget.history.use_model.emit("r0001-test")
    assert said[-1][1] == "warning"
    assert "A round is running" in said[-1][0]
    assert study.project.active_model().id == "r0002-test"


def test_while_it_runs_it_says_what_was_taken_as_pseudo_labels(learning_with, qtbot):
    widget = learning_with("slow")
    widget.start.click()
    qtbot.waitUntil(lambda: "guard_dice" in widget.runner.curves, timeout=10_000)
    words = "Taking 4 of 9 predictions as pseudo-labels (mean weight 0.44)."
    widget.runner._event(Phase(name="prepare", text=words))
    widget.runner._event(Phase(name="train", text="Training."))
    assert widget.details.text() == f"{words} Go on labelling meanwhile."


def test_a_widget_opened_late_shows_the_same_round(learning_with, qtbot):
    widget = learning_with("slow")
    widget.start.click()
    qtbot.waitUntil(lambda: "guard_dice" in widget.runner.curves, timeout=10_000)
    second = LearningWidget(widget.session.viewer)
    qtbot.addWidget(second)
    second.show()
    assert second.runner is widget.runner
    assert second.words.text() == widget.words.text()
    assert second.log.toPlainText() == widget.log.toPlainText()
    assert second.cancel.isVisible()


def test_cancel_keeps_the_state(learning_with, qtbot):
    widget = learning_with("slow")
    widget.start.click()
    qtbot.waitUntil(lambda: "guard_dice" in widget.runner.curves, timeout=10_000)
    widget.cancel.click()
    assert widget.runner.state == "cancelling"
    qtbot.waitUntil(reaches(widget, "cancelled"), timeout=10_000)
    assert widget.words.text() == "Cancelled; the state is saved."


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals")
def test_a_killed_engine_is_noticed_and_said_and_resume_is_offered(learning_with, qtbot):
    widget = learning_with("slow")
    widget.start.click()
    qtbot.waitUntil(lambda: "guard_dice" in widget.runner.curves, timeout=10_000)
    os.kill(widget.runner.engine.pid, signal.SIGKILL)
    qtbot.waitUntil(reaches(widget, "died"), timeout=10_000)
    assert "killed (signal 9)" in widget.words.text()
    assert "Your labels are safe." in widget.words.text()
    assert widget.resume.isVisible()
    widget.resume.click()
    qtbot.waitUntil(reaches(widget, "running"), timeout=10_000)


def test_out_of_memory_offers_a_smaller_round_with_one_button(learning_with, qtbot):
    widget = learning_with("fails")
    widget.start.click()
    qtbot.waitUntil(reaches(widget, "failed"), timeout=10_000)
    assert widget.words.text() == (
        "The training process ran out of memory and stopped. Your labels are safe. "
        "Start the round again with a smaller patch (96 × 96 × 96) and 1 patch at a time:"
    )
    assert widget.smaller.isVisible()
    widget.smaller.click()
    qtbot.waitUntil(reaches(widget, "done"), timeout=10_000)
    assert not widget.smaller.isVisible()


def test_a_silent_engine_is_said_and_can_be_stopped(learning_with, qtbot):
    widget = learning_with("silent", _silence=0.5)
    widget.start.click()
    qtbot.waitUntil(lambda: "not answering" in widget.warning.text(), timeout=10_000)
    assert widget.cancel.text() == "Stop it"
    widget.cancel.click()
    qtbot.waitUntil(reaches(widget, "cancelled"), timeout=10_000)
    assert not widget.warning.isVisible()


def test_an_engine_that_cannot_start_says_what_to_change(learning_with, study, qtbot):
    widget = learning_with("works")
    widget.session.project.update_config(**{"engine.command": ("/no/such/engine",)})
    widget.start.click()
    qtbot.waitUntil(reaches(widget, "died"), timeout=10_000)
    assert "/no/such/engine" in widget.words.text()


def test_leaving_the_project_stops_its_round(learning_with, qtbot):
    widget = learning_with("slow")
    widget.start.click()
    qtbot.waitUntil(reaches(widget, "running"), timeout=10_000)
    widget.session.close_project()
    qtbot.waitUntil(reaches(widget, "idle"), timeout=10_000)
    assert widget.words.text() == "Open a project to train on it."


def test_predict_now_appears_when_predictions_are_missing(learning_with, qtbot, study, tmp_path, write_scan, cube_scan):
    widget = learning_with("works")
    assert not widget.predict.isVisible()
    write_scan(tmp_path / "P-7.nii.gz", cube_scan(7)[0])
    study.project.add_cases([tmp_path / "P-7.nii.gz"])
    widget.session.cases_changed.emit()
    qtbot.waitUntil(lambda: widget.predict.isVisible())
    assert widget.predict.text() == "Predict now (1)"
    widget.predict.click()
    qtbot.waitUntil(reaches(widget, "done"), timeout=10_000)
    assert widget.words.text() == "2 predictions refreshed."


# -- history --------------------------------------------------------------------------------------------------------


def test_one_click_goes_back_to_an_older_model(learning_with, study, add_model, qtbot):
    add_model(study.project, study.truth, model="r0002-test")
    widget = learning_with("works")
    assert [line.title for line in widget.history.lines] == ["2", "1"]
    assert [line.active for line in widget.history.lines] == [True, False]
    button = widget.history.table.cellWidget(1, 4)
    assert isinstance(button, QPushButton)
    button.click()
    qtbot.waitUntil(lambda: widget.history.lines[1].active)
    assert study.project.active_model().id == "r0001-test"
    assert snapshots_for(widget.session).snapshot.active_model.id == "r0001-test"


def test_the_history_holds_rounds_that_made_no_model(tmp_path):
    now = datetime.now(UTC)
    guard = {"dice": 0.8, "before": 0.78, "interval": [0.01, 0.03], "worst": ["P-7", -0.04]}
    guard["lesions"] = {"P-7": {"found": [True, False], "volumes_ml": [0.2, 0.1], "false": 3}}
    first = {
        "trained_on": {"human": 4, "pseudo": 2},
        "sentence": "Fine.",
        "lambda": 0.31,
        "pseudo": {"taken": 2, "candidates": 9, "mean_weight": 0.44},
    }
    models = [
        Model("r0001-a", None, 1, now, True, True, guard, {}, tmp_path),
        Model("r0003-c", None, 3, now + timedelta(2), False, False, {"dice": 0.7}, {}, tmp_path),
    ]
    rounds = [
        Round(1, "spl", "done", {}, first, now, now, tmp_path),
        Round(2, "al", "failed", {}, {"message": "Out of memory."}, now + timedelta(1), None, tmp_path),
        Round(3, "al", "done", {}, {}, now + timedelta(2), None, tmp_path),
        Round(4, "al", "running", {}, {}, now + timedelta(3), None, tmp_path),
    ]
    lines = history_lines(models, rounds)
    assert [(line.title, line.note, line.dice) for line in lines] == [
        ("3", "candidate", 0.7),
        ("2", "failed", None),
        ("1", "active", 0.8),
    ]
    assert lines[2].labels == "4 + 2"
    assert lines[2].change == pytest.approx(0.02)
    assert (
        "changed by +0.020 (95 % of resamples between +0.010 and +0.030); most lost: P-7, -0.040. "
        "Found 1 of 2 guard lesions, 3.0 false a scan." in lines[2].tooltip
    )
    assert "Pseudo-labels: 2 of 9, mean weight 0.44, pace λ 0.31." in lines[2].tooltip
    assert lines[0].title_words.startswith("A candidate")
    assert "Fine." in lines[2].tooltip
    assert lines[1].tooltip == "Out of memory."


def test_an_interrupted_round_is_offered_when_the_project_opens(study, make_session, qtbot):
    study.project.new_round("al", {})
    session = make_session(study.folder)
    widget = LearningWidget(session.viewer)
    qtbot.addWidget(widget)
    widget.show()
    qtbot.waitUntil(lambda: widget.keeper.snapshot is not None)
    assert widget.words.text().startswith("Round 2 was interrupted. Your labels are safe;")
    assert widget.resume.isVisible()


def test_the_running_mean_is_unbiased_at_its_start():
    assert smoothed([(1, 4.0)]) == [4.0]
    assert smoothed([(n, 3.0) for n in range(5)]) == pytest.approx([3.0] * 5)


def test_memory_reads_as_people_say_it():
    assert memory_words(812.4) == "812 MB"
    assert memory_words(3482) == "3.4 GB"
