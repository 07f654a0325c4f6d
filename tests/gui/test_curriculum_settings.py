"""The way of training: what is offered, in which words, and what goes with the round."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import BaseModel

from napari_dasl.project import presets
from napari_dasl.project.config import load
from napari_dasl.project.curriculum_config import CurriculumConfig, Recipe
from napari_dasl.rounds.curricula import of_preset
from napari_dasl.rounds.plan import RoundPlan
from napari_dasl.widgets.curriculum_settings import ORDER, CurriculumSettings
from napari_dasl.widgets.curriculum_words import curriculum_words, ways
from napari_dasl.widgets.learning import LearningWidget
from napari_dasl.widgets.settings_form import SettingsForm
from napari_dasl.widgets.snapshot import Snapshot

GROUPS = {"scorer": "contrast", "pacing": "quantile-groups"}


class Open(BaseModel):
    """Choices that may be left to the plan."""

    yes: bool | None = None
    which: Literal["a", "b"] | None = None


@pytest.fixture
def settings(qtbot):
    """The settings of a project that says nothing special."""
    widget = CurriculumSettings()
    qtbot.addWidget(widget)
    widget.show_snapshot(Snapshot(folder="one"))
    return widget


def fields_shown(settings):
    return {name for name, field in settings.curriculum.fields.items() if not field.isHidden()}


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({}, ""),
        (GROUPS, "Easy cases first, by contrast; six groups."),
        (GROUPS | {"order": "hard", "groups": 4}, "Hard cases first, by contrast; four groups."),
        (GROUPS | {"order": "random"}, "Cases in random order; six groups."),
        (
            {"scorer": "size", "pacing": "single-step", "start": 0.25},
            "Easy cases first, by lesion size; 25% of them to begin with, then all.",
        ),
        ({"stages": "three-stage"}, "Whole scans, then lesions close up, then whole scans again."),
        (
            {"stages": "growth"},
            "Small pieces of the scans first, then larger ones, in less time.",
        ),
    ],
)
def test_a_curriculum_is_one_sentence(choices, words):
    assert curriculum_words(CurriculumConfig(**choices)) == words


def test_every_preset_has_words_that_the_window_can_show():
    for name in presets.names():
        config, _ = of_preset(name)
        assert config.plain == (curriculum_words(config) == "")


def test_the_projects_own_way_comes_first_and_then_every_preset(settings):
    names = [settings.choice.itemData(place) for place in range(settings.choice.count())]
    assert names == ["", *presets.names()]
    assert names[1] == "default"
    assert settings.fields() == {"preset": "", "curriculum": None, "recipe": None}
    assert settings.words() == ""


def test_a_way_of_choosing_cases_says_that_it_changes_nothing_of_the_training(settings):
    settings.choose("dasl-paper")
    said = settings.sentence.text()
    assert said.startswith(presets.about("dasl-paper").sentence)
    assert "It is a way of choosing cases: a round trains as usual" in said
    assert settings.fields() == {"preset": "dasl-paper", "curriculum": None, "recipe": None}
    for name in ("default", "stroke-contrast", "patch-growth-resource"):
        settings.choose(name)
        assert "a way of choosing cases" not in settings.sentence.text()


def test_a_way_says_that_the_network_stays(settings):
    settings.choose("stroke-contrast")
    assert settings.sentence.text().startswith(presets.about("stroke-contrast").sentence)
    assert "this round keeps yours (U-Net)" in settings.sentence.text()
    assert "Moreau" in settings.sentence.toolTip()
    assert settings.words() == "Easy cases first, by contrast; six groups."
    assert settings.fields() == {"preset": "stroke-contrast", "curriculum": None, "recipe": None}


def test_what_is_changed_goes_with_the_round_and_can_be_undone(settings):
    settings.choose("stroke-contrast")
    settings.curriculum.fields["order"].setCurrentIndex(settings.curriculum.fields["order"].findData("hard"))
    settings.recipe.fields["batch"].setValue(3)
    fields = settings.fields()
    plan = RoundPlan().model_copy(update=fields)
    assert RoundPlan.model_validate(plan.model_dump()) == plan
    assert (plan.curriculum.order, plan.curriculum.groups, plan.recipe.batch) == ("hard", 6, 3)
    assert plan.recipe.optimiser == "rmsprop"
    assert settings.sentence.text().endswith("Changed by you under Advanced.")
    settings.undo.click()
    assert settings.fields() == {"preset": "stroke-contrast", "curriculum": None, "recipe": None}


def test_only_the_numbers_that_a_choice_uses_are_shown(settings):
    assert fields_shown(settings) == {"pacing", "stages"}
    settings.choose("stroke-contrast")
    assert fields_shown(settings) == {
        "pacing", "stages", "scorer", "lesions", "order", "groups", "lengths", "passes",
    }  # fmt: skip
    settings.choose("pet-bootstrapping")
    assert "effort" in fields_shown(settings)
    settings.choose("patch-growth-resource")
    assert fields_shown(settings) == {"pacing", "stages", "mode", "growth", "bottleneck"}
    assert set(ORDER) == set(CurriculumConfig.model_fields)
    settings.choose("liver-three-stage")
    assert "lesions" in fields_shown(settings)
    settings.curriculum.fields["lesions"].setText("cyst, large tumour")
    assert settings.fields()["curriculum"].lesions == ("cyst", "large tumour")


def test_groups_without_a_measure_are_refused_in_words(settings):
    pacing = settings.curriculum.fields["pacing"]
    pacing.setCurrentIndex(pacing.findData("linear"))
    assert not settings.is_valid()
    assert "choose what hard means" in settings.problem.text()
    settings.curriculum.fields["scorer"].setCurrentIndex(1)
    assert settings.is_valid()
    settings.curriculum.fields["start"].setText("7")
    assert not settings.is_valid()


def test_groups_of_equal_steps_show_and_ask_for_a_measure_in_random_order_too(settings):
    settings.curriculum.set_value(CurriculumConfig(pacing="equal-steps", order="random"))
    settings._edited()
    assert "scorer" in fields_shown(settings)
    assert not settings.is_valid()
    settings.curriculum.set_value(CurriculumConfig(pacing="linear", order="random"))
    settings._edited()
    assert "scorer" not in fields_shown(settings)
    assert settings.is_valid()


def test_a_refresh_keeps_what_was_chosen_and_another_project_begins_anew(settings):
    settings.choose("stroke-contrast")
    settings.recipe.fields["batch"].setValue(3)
    settings.show_snapshot(Snapshot(folder="one", curriculum=CurriculumConfig(**GROUPS)))
    assert settings.fields()["preset"] == "stroke-contrast"
    assert settings.fields()["recipe"].batch == 3
    settings.show_snapshot(Snapshot(folder="two", curriculum=CurriculumConfig(**GROUPS), recipe=Recipe(batch=2)))
    assert settings.fields() == {"preset": "", "curriculum": None, "recipe": None}
    assert settings.sentence.text() == "Easy cases first, by contrast; six groups."


def test_a_project_that_changed_is_followed_where_nobody_changed_anything(settings):
    config = CurriculumConfig(**GROUPS)
    settings.show_snapshot(Snapshot(folder="one", curriculum=config))
    assert settings.curriculum.value() == config
    assert ways(Snapshot(curriculum=config))[0].curriculum == config


@pytest.mark.parametrize("value", [Open(), Open(yes=True), Open(yes=False, which="b")], ids=str)
def test_a_choice_that_is_left_to_the_plan_survives_the_form(qtbot, value):
    form = SettingsForm(Open)
    qtbot.addWidget(form)
    form.set_value(value)
    assert form.value() == value


def test_the_chosen_way_starts_with_the_round(session, qtbot, monkeypatch):
    widget = LearningWidget(session.viewer)
    qtbot.addWidget(widget)
    widget.show()
    qtbot.waitUntil(lambda: widget.start.isEnabled())
    started = []
    monkeypatch.setattr(widget.runner, "start_round", started.append)
    widget.way.choose("stroke-contrast")
    assert "Easy cases first, by contrast; six groups." in widget.details.text()
    widget.start.click()
    assert started[0].preset == "stroke-contrast"
    widget.way.curriculum.fields["scorer"].setCurrentIndex(0)
    assert not widget.start.isEnabled()


@pytest.mark.parametrize("name", ["pet-self-paced", "patch-growth-resource"])
def test_a_way_is_kept_for_the_project_with_what_was_changed_of_it(session, study, qtbot, name):
    widget = LearningWidget(session.viewer)
    qtbot.addWidget(widget)
    widget.show()
    qtbot.waitUntil(lambda: widget.start.isEnabled())
    assert not widget.way.stay.isEnabled()
    widget.way.choose(name)
    widget.way.recipe.set_value(widget.way.recipe.value().model_copy(update={"foreground": 0.25}))
    curriculum, recipe = widget.way.curriculum.value(), widget.way.recipe.value()
    widget.way.stay.click()
    qtbot.waitUntil(lambda: widget.way.way().name == "" and widget.way.way().recipe == recipe)
    assert load(study.folder / "project.toml").curriculum == curriculum
    assert load(study.folder / "project.toml").training.recipe == recipe
    assert widget.way.curriculum.value() == curriculum  # what the next round follows
    assert not widget.way.stay.isEnabled()
