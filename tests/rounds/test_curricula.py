"""Rounds that follow a curriculum: every preset trains, a resumed one has the same bits, and what cannot be is said."""

from __future__ import annotations

import json
import shutil
from typing import get_args

import numpy as np
import pytest

from napari_dasl import rounds
from napari_dasl.curriculum import PACINGS, SCORERS, patch_growth
from napari_dasl.curriculum.stages import Kind
from napari_dasl.errors import Cancelled, InputError, ProjectError
from napari_dasl.events import Log, Phase
from napari_dasl.project import Difficulty, Project, presets, setup
from napari_dasl.project.curriculum_config import CurriculumConfig, PacingName, Recipe, ScorerName, StagesName
from napari_dasl.rounds import RoundPlan, curricula
from napari_dasl.rounds.ordering import spread
from napari_dasl.training.plan import Augmentation, TrainingPlan
from tests.rounds.conftest import write_balls

SHORT = RoundPlan(steps=3, device="cpu", predict=False, phase="al", start="scratch", seed=1)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project of five labelled scans, whose U-Net is as small as one can be."""
    folder = tmp_path_factory.mktemp("curricula")
    write_balls(folder, 6)
    setup.make(
        folder / "study",
        images=folder / "images",
        labels=folder / "labels",
        modality="MR",
        annotated=["p00", "p01", "p02", "p03", "p04"],
        guard=0.0,
    )
    with Project.open(folder / "study") as project:
        plan = rounds.training_plan(project)
        small = {"channels": [4, 8], "strides": [[2, 2, 2], [2, 2, 2]], "res_units": 1}
        changed = {"network_options": small, "patch": (16, 16, 16), "batch": 2, "precision": "fp32"}
        TrainingPlan.model_validate(plan.model_dump() | changed).to_file(project.folder / "plan.toml")
    return folder / "study"


@pytest.fixture(scope="module")
def used(made, tmp_path_factory):
    """A copy of it that rounds have been run in."""
    return shutil.copytree(made, tmp_path_factory.mktemp("used") / "study")


@pytest.fixture
def study(made, tmp_path):
    """A copy of it that no other test sees."""
    shutil.copytree(made, tmp_path / "study")
    with Project.open(tmp_path / "study") as project:
        yield project


def frozen(project, name="curriculum.json"):
    return json.loads((project.rounds()[-1].folder / name).read_text(encoding="utf-8"))


def weights(project, result):
    return (project.model(result.model).folder / "weights.safetensors").read_bytes()


def test_the_words_of_the_configuration_are_those_of_the_curricula():
    assert set(get_args(ScorerName)) == {"none", *SCORERS}
    assert set(get_args(PacingName)) == set(PACINGS)
    assert set(get_args(StagesName)) == set(get_args(Kind))
    assert set(Recipe.model_fields) <= {"window", *TrainingPlan.model_fields, *Augmentation.model_fields}


@pytest.mark.parametrize("name", presets.names())
def test_a_round_trains_with_every_preset(used, name):
    heard = []
    with Project.open(used) as project:
        result = rounds.run(project, SHORT.model_copy(update={"preset": name}), report=heard.append)
        fixed = frozen(project, "plan.json")
        config, recipe = curricula.of_preset(name, "unet")
        assert fixed["preset"] == name
        assert CurriculumConfig.model_validate(fixed["curriculum"]) == config
        assert Recipe.model_validate(fixed["recipe"]) == recipe
        for key, value in recipe.given.items():
            if key == "window":  # these scans are of MR
                continue
            stored = fixed["training"].get(key, fixed["training"]["augmentation"].get(key))
            assert (tuple(stored) if isinstance(stored, list) else stored) == value
        assert weights(project, result)
        assert (project.rounds()[-1].folder / "curriculum.json").exists() == (not config.plain)
        other = presets.network(name) not in ("", "unet")
        assert any("this round keeps unet" in e.text for e in heard if isinstance(e, Log)) == other
        if not config.plain:
            _follows(config, frozen(project))
            assert any("follows a curriculum" in event.text for event in heard if isinstance(event, Log))
        if config.scorer in ("bootstrapping", "gradient"):
            held = {row.case: row.value for row in project.difficulties(config.scorer)}
            sign = 1 if config.scorer == "bootstrapping" else -1
            assert [sign * held[case] for case in frozen(project)["cases"]] == frozen(project)["difficulty"]


def _follows(config, found):
    """The frozen schedule is the one that the preset says."""
    schedule = found["schedule"]
    if config.ordered:
        assert schedule["order"] == np.argsort(found["difficulty"], kind="stable").tolist()
        assert schedule["pacing"]["name"] == config.pacing
        assert len(schedule["stages"]) == 1
    if config.stages == "three-stage":
        assert [stage["sampling"] for stage in schedule["stages"]] == ["whole", "tumour-patches", "whole"]
        assert [stage["rate"] for stage in schedule["stages"]] == pytest.approx([1, 0.1, 0.01])
        assert schedule["stages"][0]["patch"] == found["sizes"]["whole"] == [20, 24, 28]
    if config.stages == "growth":
        batches = [stage["batch"] for stage in schedule["stages"]]
        assert schedule["stages"][0]["patch"] < schedule["stages"][-1]["patch"] == [16, 16, 16]
        assert (batches[0] > batches[-1]) == (config.mode == "performance")


def test_a_resumed_round_follows_the_very_same_curriculum(study):
    plan = SHORT.model_copy(update={"preset": "stroke-contrast", "steps": 8})
    expected = weights(study, rounds.run(study, plan))
    before = frozen(study)
    begun, asked = [], []

    def watch(event):
        begun.extend([event] if isinstance(event, Phase) and event.name == "train" else [])

    def after_three_steps():
        asked.extend(begun[:1])
        return len(asked) > 3

    with pytest.raises(Cancelled, match="after step 3"):
        rounds.run(study, plan, report=watch, cancelled=after_three_steps)
    # Whatever is changed now is for the next round.
    study.update_config(curriculum__scorer="size", curriculum__order="hard", training__loss="weighted-dice")
    resumed = rounds.run(study, resume=True)
    assert frozen(study) == before
    assert weights(study, resumed) == expected


def test_scans_prepared_in_another_way_than_for_the_active_model_are_said(study):
    heard = []
    rounds.run(study, SHORT)
    rounds.run(study, SHORT.model_copy(update={"start": "active"}), report=heard.append)
    assert not any("in another way" in event.text for event in heard if isinstance(event, Log))
    recipe = Recipe(effective_range="body")
    rounds.run(study, SHORT.model_copy(update={"start": "active", "recipe": recipe}), report=heard.append)
    assert any("in another way" in event.text for event in heard if isinstance(event, Log))


def test_a_plain_curriculum_has_the_bits_of_none(study):
    first = rounds.run(study, SHORT)
    second = rounds.run(study, SHORT.model_copy(update={"curriculum": CurriculumConfig(), "recipe": Recipe()}))
    assert weights(study, first) == weights(study, second)
    assert not (study.rounds()[-1].folder / "curriculum.json").exists()


def test_what_is_asked_for_goes_before_the_preset_and_that_before_the_project(study):
    study.update_config(curriculum__stages="growth", training__batch=3)
    own, recipe = curricula.resolve(study, RoundPlan())
    assert (own.stages, recipe.given) == ("growth", {"batch": 3})
    named, recipe = curricula.resolve(study, RoundPlan(preset="default"))
    assert (named.plain, recipe.given) == (True, {})
    asked, recipe = curricula.resolve(study, RoundPlan(preset="liver-three-stage", curriculum=CurriculumConfig()))
    assert (asked.plain, recipe.loss) == (True, "weighted-dice")
    rounds.run(study, SHORT.model_copy(update={"batch": 1}))
    assert frozen(study, "plan.json")["training"]["batch"] == 1


class TestScorers:
    def test_without_a_model_self_paced_asks_networks_that_have_not_seen_the_case(self, study):
        config = CurriculumConfig(scorer="self-paced", pacing="linear")
        heard = []
        rounds.run(study, SHORT.model_copy(update={"curriculum": config}), report=heard.append)
        assert any("part 3 of 3" in getattr(event, "text", "") for event in heard)
        assert len(set(frozen(study)["difficulty"])) == 5
        # With one, its own answers count.
        heard.clear()
        rounds.run(study, SHORT.model_copy(update={"curriculum": config}), report=heard.append)
        assert any("Asking the active model" in getattr(event, "text", "") for event in heard)

    def test_uncertainty_needs_a_model_and_says_so(self, study):
        config = CurriculumConfig(scorer="uncertainty", pacing="root")
        plan = SHORT.model_copy(update={"curriculum": config})
        heard = []
        rounds.run(study, plan, report=heard.append)
        assert any("no model yet" in e.text and "from the beginning" in e.text for e in heard if isinstance(e, Log))
        assert frozen(study)["schedule"] is None
        rounds.run(study, plan)
        assert len(set(frozen(study)["difficulty"])) == 5

    def test_agreement_goes_by_the_newest_label_of_each_reader(self, study):
        mine = study.read_label("p00", 1)
        study.record_label("p00", np.roll(mine, 2, axis=2), author="ben")
        study.record_label("p01", study.read_label("p01", 1), author="ben")
        heard = []
        config = CurriculumConfig(scorer="agreement", pacing="single-step")
        rounds.run(study, SHORT.model_copy(update={"curriculum": config}), report=heard.append)
        found = frozen(study)["difficulty"]
        assert found[1] == -1 < found[0] < 0
        assert found[2:] == [None] * 3
        assert any("3 of 5 labelled cases" in event.text for event in heard if isinstance(event, Log))

    def test_what_the_project_holds_of_the_same_labels_is_not_measured_again(self, study):
        rows = [Difficulty(f"p0{n}", "bootstrapping", float(9 - n), "model", revision=1) for n in range(5)]
        study.set_difficulties(rows)
        plan = SHORT.model_copy(update={"curriculum": CurriculumConfig(scorer="bootstrapping", pacing="linear")})
        rounds.run(study, plan)
        assert frozen(study)["difficulty"] == [9, 8, 7, 6, 5]
        study.record_label("p02", study.read_label("p02", 1), author="ben")
        rounds.run(study, plan)
        assert frozen(study)["difficulty"] != [9, 8, 7, 6, 5]

    def test_a_round_with_pseudo_labels_takes_both_kinds_in_at_the_same_pace(self, project, script, pool):
        script.losses = {name: 0.1 * number for number, name in enumerate(pool, 1)}
        script.dice = [0.8, 0.8]
        rounds.run(project, RoundPlan(phase="al", device="cpu"))
        project.update_config(selfpaced__quantile=0.8, curriculum__scorer="size", curriculum__pacing="linear")
        rounds.run(project, RoundPlan(phase="spl", device="cpu"))
        found = dict(zip(frozen(project)["cases"], frozen(project)["difficulty"], strict=True))
        human = {found[case.id] for case in project.training_cases()}
        taken = [found[name] for name in pool if name in found]
        assert len(taken) == len(found) - 6 > 2
        assert taken == sorted(taken)
        assert set(taken) <= human

    def test_pseudo_labels_are_spread_among_human_labels_by_their_own_loss(self):
        human = np.array([30.0, 10.0, np.nan, 20.0])
        assert spread(human, np.array([0.3, 0.1, 0.2])).tolist() == [30, 10, 20]
        assert spread(human, np.array([])).size == 0
        assert spread(np.array([-np.inf, 1.0]), np.array([5.0, 6.0])).tolist() == [-np.inf, 1]


class TestWhatCannotBe:
    def test_an_order_without_a_scorer_is_refused_before_anything_begins(self, study):
        with pytest.raises(InputError, match="no scorer says which"):
            rounds.run(study, SHORT.model_copy(update={"curriculum": CurriculumConfig(pacing="linear")}))
        assert study.rounds() == []

    def test_lengths_that_are_no_groups_are_refused_before_anything_begins(self, study):
        config = CurriculumConfig(scorer="size", pacing="quantile-groups", groups=3, lengths=(1, 2))
        with pytest.raises(InputError, match="3 groups has 2 lengths"):
            rounds.run(study, SHORT.model_copy(update={"curriculum": config}))
        assert study.rounds() == []

    def test_without_any_lesion_every_case_is_there_from_the_beginning(self, study):
        for case in study.training_cases():
            study.record_label(case.id, np.zeros(case.shape, np.uint8), author="ann")
        heard = []
        rounds.run(study, SHORT.model_copy(update={"preset": "stroke-contrast"}), report=heard.append)
        assert any("is there a lesion?" in event.text for event in heard if isinstance(event, Log))
        with pytest.raises(InputError, match="size of the largest tumour"):
            rounds.run(study, SHORT.model_copy(update={"preset": "liver-three-stage"}))

    def test_fewer_cases_than_groups_are_said(self, study):
        heard = []
        config = CurriculumConfig(scorer="size", pacing="quantile-groups")
        rounds.run(study, SHORT.model_copy(update={"curriculum": config}), report=heard.append)
        assert any("5 cases for 6 groups" in event.text for event in heard if isinstance(event, Log))

    def test_a_whole_scan_that_memory_does_not_hold_becomes_a_part_of_it(self, study, monkeypatch):
        from napari_dasl.rounds import ordering

        plan = rounds.training_plan(study)
        enough = ordering.estimate_memory_mb(plan.model_copy(update={"patch": (20, 24, 20), "batch": 1}))
        monkeypatch.setattr(ordering.devices, "available_memory_mb", lambda place: enough)
        heard = []
        config = CurriculumConfig(stages="whole")
        rounds.run(study, SHORT.model_copy(update={"curriculum": config}), report=heard.append)
        assert frozen(study)["sizes"]["whole"] == [20, 24, 20]
        assert any("does not fit into the memory" in event.text for event in heard if isinstance(event, Log))


class TestTheRecipe:
    def test_a_detector_keeps_its_loss_and_scans_are_not_mixed_for_it(self, study):
        plan = rounds.training_plan(study)
        detector = plan.model_copy(
            update={
                "network": "nodule-rcnn",
                "network_options": {"anchor_sizes": [4.0, 8.0, 12.0]},
                "spacing": (1, 1, 1),
            }
        )
        heard = []
        recipe = Recipe(loss="weighted-dice", mixup=0.5, optimiser="adam", effective_range="body")
        found = curricula.cooked(detector, recipe, heard.append)
        assert (found.loss, found.optimiser, found.effective_range) == ("dice-ce", "adam", "whole")
        said = ("loss of its own", "not mixed", "effective range")
        assert all(words in event.text for words, event in zip(said, heard, strict=True))

    def test_a_window_is_of_ct_alone(self, study):
        plan = rounds.training_plan(study)
        assert curricula.cooked(plan, Recipe(window=(-150, 250))).normalisation == plan.normalisation
        rule = plan.normalisation[0].model_copy(update={"rule": "ct"})
        found = curricula.cooked(plan.model_copy(update={"normalisation": (rule,)}), Recipe(window=(-150, 250)))
        assert [(one.rule, one.lower, one.upper) for one in found.normalisation] == [("window", -150, 250)]

    def test_a_value_that_does_not_go_with_the_network_is_refused(self, study):
        plan = normalised_over_the_batch(rounds.training_plan(study))
        with pytest.raises(InputError, match="batch of 1"):
            curricula.cooked(plan, Recipe(batch=1))


def normalised_over_the_batch(plan):
    """The plan of a network that normalises over the batch."""
    options = {"channels": [4, 8], "strides": [1, 2], "norm": "batch"}
    return TrainingPlan.model_validate(plan.model_dump() | {"network": "residual-se-unet", "network_options": options})


def test_a_network_that_normalises_over_the_batch_gets_two_whole_scans(study):
    plan = normalised_over_the_batch(rounds.training_plan(study))
    sizes = curricula.Sizes((4, 4, 4), (20, 24, 28))
    config = curricula.of_preset("liver-three-stage")[0]
    made = curricula.schedule_of(config, plan, [None] * 3, None, sizes, 0, 9)
    assert [stage.batch >= 2 for stage in made.stages] == [True, True, True]
    assert made.stages[0].batch == 2


def test_patches_that_a_network_would_normalise_to_nothing_are_left_out(study):
    plan = normalised_over_the_batch(rounds.training_plan(study))
    config = CurriculumConfig(stages="growth")
    by_batch = curricula.schedule_of(config, plan, [None] * 3, None, None, 0, 100)
    options = plan.network_options | {"norm": "se"}
    by_instance = curricula.schedule_of(
        config, plan.model_copy(update={"network_options": options}), [None] * 3, None, None, 0, 100
    )
    assert by_batch.stages[0].patch == (2, 2, 2)
    assert [stage.patch for stage in by_instance.stages] == [stage.patch for stage in by_batch.stages[1:]]


def test_a_preset_of_slices_does_not_ask_for_as_many_volumes():
    assert curricula.of_preset("stroke-contrast", "unet-2d")[1].batch == 12
    assert curricula.of_preset("stroke-contrast", "unet")[1].batch is None
    assert curricula.of_preset("pet-bootstrapping", "unet")[1].batch == 2


def test_a_random_order_needs_no_scorer_and_keeps_the_pacing(study):
    plan = rounds.training_plan(study)
    config = CurriculumConfig(order="random", pacing="quantile-groups", groups=2)
    made = curricula.schedule_of(config, plan, [None] * 8, None, None, 3, 100)
    assert sorted(made.order) == list(range(8)) != list(made.order)
    assert [len(made.at(p).available) for p in (0, 0.4, 0.6)] == [4, 4, 8]


def test_the_random_control_of_equal_steps_has_the_groups_of_what_it_controls(study):
    plan = rounds.training_plan(study)
    config = CurriculumConfig(scorer="contrast", pacing="equal-steps", groups=2, passes=False)
    hard = np.array([0, 0, 0, 0, 0, 1, 2, 10.0])
    random = config.model_copy(update={"order": "random"})
    easy, control = (curricula.schedule_of(each, plan, [None] * 8, hard, None, 3, 100) for each in (config, random))
    assert control.pacing == easy.pacing
    assert [len(control.at(p).available) for p in (0, 0.9)] == [7, 8]
    assert sorted(control.order) == list(range(8)) != list(control.order)
    assert curricula.schedule_of(random, plan, [None] * 8, None, None, 3, 100) is None


def test_groups_of_equal_steps_need_a_scorer_in_random_order_too(study):
    config = CurriculumConfig(pacing="equal-steps", order="random")
    with pytest.raises(InputError, match="in random order, too, and no scorer"):
        rounds.run(study, SHORT.model_copy(update={"curriculum": config}))
    scored = config.model_copy(update={"scorer": "size"})
    rounds.run(study, SHORT.model_copy(update={"curriculum": scored, "steps": 1}))
    assert len([value for value in frozen(study)["difficulty"] if value is not None]) == 5


def test_a_round_knows_which_classes_are_lesions_and_refuses_what_is_no_class(study):
    plan = rounds.training_plan(study)
    both = TrainingPlan.model_validate(plan.model_dump() | {"classes": ("liver", "tumour")})
    assert curricula.with_lesions(both, CurriculumConfig(lesions=("tumour",))).lesion_values == (2,)
    assert curricula.with_lesions(both, CurriculumConfig(lesions=("tumour", "liver"))) == both
    assert curricula.with_lesions(plan, CurriculumConfig()) == plan
    with pytest.raises(InputError, match="no class 'tumor': the classes are liver, tumour"):
        curricula.with_lesions(both, CurriculumConfig(lesions=("tumor",)))
    with pytest.raises(ProjectError, match="no class 'tumour'"):
        study.update_config(curriculum__lesions=("tumour",))


def test_the_faster_growth_begins_where_it_was_measured_and_promises_no_more_than_it_holds():
    config = curricula.of_preset("patch-growth-resource")[0]
    grown = patch_growth((40, 56, 40), (8, 8, 8), 4, config.mode, config.growth, bottleneck=config.bottleneck)
    assert grown[0] == ((16, 16, 16), 4)
    assert "in short rounds some Dice less" in presets.about("patch-growth-resource").sentence
