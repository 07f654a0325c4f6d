"""Stages and schedules: what a run does at every moment."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from napari_dasl.curriculum import (
    PACINGS,
    Pacing,
    Schedule,
    Stage,
    StageChoice,
    arrange,
    find_pacing,
    largest_lesion,
    make_schedule,
    patch_growth,
    plan_stages,
    stage_steps,
)
from napari_dasl.errors import InputError

PATCH, STEP, BATCH = (64, 96, 96), (8, 8, 8), 2
TUMOUR, WHOLE = (26, 56, 56), (60, 250, 256)


def stages(kind: str, steps: int = 0, **changes) -> tuple[Stage, ...]:
    return plan_stages(StageChoice(kind, **changes), PATCH, STEP, BATCH, TUMOUR, WHOLE, steps=steps)


# Stages


def test_constant_is_the_plan_from_beginning_to_end():
    assert stages("constant") == (Stage(PATCH, BATCH, 1.0, "usual", 1.0),)


@pytest.mark.parametrize(
    ("kind", "samplings"),
    [
        ("three-stage", ["whole", "tumour-patches", "whole"]),
        ("whole-patch", ["whole", "tumour-patches"]),
        ("patch-whole", ["tumour-patches", "whole"]),
        ("whole", ["whole"]),
    ],
)
def test_the_stages_of_the_liver_paper_and_a_tenth_of_the_rate_at_each_later_one(kind, samplings):
    found = stages(kind)
    assert [stage.sampling for stage in found] == samplings
    assert [stage.rate for stage in found] == pytest.approx([1, 0.1, 0.01][: len(found)])
    assert [stage.share for stage in found] == pytest.approx([1 / len(found)] * len(found))
    for stage in found:
        assert stage.patch == ((64, 256, 256) if stage.sampling == "whole" else (32, 56, 56))


def test_batches_hold_no_more_voxels_than_the_plan_but_one_scan_and_a_pair_of_patches_always():
    whole, tumour, _ = stages("three-stage")
    budget = math.prod(PATCH) * BATCH
    assert whole.batch == 1
    assert tumour.batch == budget // math.prod(tumour.patch)
    one_slice_plan = plan_stages(StageChoice("three-stage"), (8, 8, 8), STEP, 1, TUMOUR, WHOLE)
    assert [stage.batch for stage in one_slice_plan] == [1, 2, 1]


def test_batches_lengths_and_the_rate_can_be_those_of_the_paper():
    found = stages("three-stage", whole_batch=3, tumour_batch=32, shares=(2, 1, 1), decay=0.5)
    assert [stage.batch for stage in found] == [3, 32, 3]
    assert [stage.share for stage in found] == pytest.approx([0.5, 0.25, 0.25])
    assert [stage.rate for stage in found] == pytest.approx([1, 0.5, 0.25])


@pytest.mark.parametrize("mode", ["resource", "performance"])
@pytest.mark.parametrize("order", ["2024", "2025"])
@pytest.mark.parametrize("kind", ["growth", "random-patch"])
def test_growth_has_the_published_sizes_for_equal_parts_of_the_run(mode, order, kind):
    found = stages(kind, mode=mode, order=order)
    assert [(stage.patch, stage.batch) for stage in found] == patch_growth(PATCH, STEP, BATCH, mode, order)
    assert {stage.share for stage in found} == {1 / len(found)}
    assert {(stage.sampling, stage.rate) for stage in found} == {("usual", 1.0)}
    assert stages(kind, mode=mode, order="2025", bottleneck=2) == tuple(
        Stage(patch, batch, 1 / (len(patch_growth(PATCH, STEP, BATCH, mode, "2025")) - 1))
        for patch, batch in patch_growth(PATCH, STEP, BATCH, mode, "2025")[1:]
    )


@pytest.mark.parametrize("kind", ["three-stage", "whole-patch", "patch-whole"])
def test_a_size_that_is_not_known_is_asked_for(kind):
    with pytest.raises(InputError, match="largest tumour") as caught:
        plan_stages(StageChoice(kind), PATCH, STEP, BATCH, None, WHOLE)
    assert "Label at least one lesion" in caught.value.hint
    with pytest.raises(InputError, match="the scans"):
        plan_stages(StageChoice(kind), PATCH, STEP, BATCH, TUMOUR, None)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": "cascade"}, "'cascade'"),
        ({"decay": 0}, "multiplied by 0"),
        ({"tumour_batch": -1}, "negative"),
        ({"kind": "three-stage", "shares": (1, 1)}, "three-stage"),
        ({"kind": "growth", "shares": (1, 1)}, "growth"),
        ({"kind": "whole-patch", "shares": (1, 0)}, "whole-patch"),
    ],
)
def test_a_choice_that_makes_no_sense_is_refused(changes, said):
    with pytest.raises(InputError, match=said):
        StageChoice(**changes)


def test_the_largest_lesion_is_the_longest_side_of_any_along_each_axis():
    label = np.zeros((12, 12, 12), np.uint8)
    label[0:2, 0:7, 0] = 1
    label[5:9, 10, 3:5] = 2
    label[9, 11, 5] = 1  # touches by a corner
    assert largest_lesion(label) == (5, 7, 3)
    assert largest_lesion(label * 0) is None


def test_the_largest_lesion_is_none_of_the_organ_around_it():
    label = np.ones((20, 20, 20), np.uint8)
    label[4:8, 4:7, 4:6] = 2
    assert largest_lesion(label) == (20, 20, 20)
    assert largest_lesion(label, (2,)) == (4, 3, 2)


# Schedules


def schedule(kind: str = "constant", pacing: str = "all", samples: int = 12, order: str = "easy", **more) -> Schedule:
    values = np.random.default_rng(1).random(samples)
    planned = stages(kind, more.pop("steps", 0))
    return make_schedule(values, order, find_pacing(pacing), planned, drawn=StageChoice(kind).drawn, **more)


@pytest.mark.parametrize("total", [45, 100, 1000, 1237])
def test_every_stage_takes_its_number_of_steps_and_the_last_one_the_remainder(total):
    plan = schedule("growth", steps=total)
    counted = np.bincount([plan.at(step / total).stage for step in range(total)], minlength=len(plan.stages))
    assert counted.tolist() == stage_steps(total, len(plan.stages))


def test_a_run_shorter_than_its_stages_trains_at_the_last_one():
    plan = schedule("growth", steps=5)
    assert {plan.at(step / 5).patch for step in range(5)} == {PATCH}


def test_a_setting_is_what_its_stage_and_pacing_say():
    plan = schedule("three-stage", "quantile-groups")
    order = list(plan.order)
    for progress, stage, groups in (
        (0, 0, 1),
        (0.2, 0, 2),
        (0.34, 1, 3),
        (0.7, 2, 5),
        (0.9, 2, 6),
        (1, 2, 6),
        (2, 2, 6),
    ):
        found, expected = plan.at(progress), plan.stages[stage]
        assert (found.stage, found.patch, found.batch, found.sampling, found.rate) == (
            *(stage, expected.patch, expected.batch),
            *(expected.sampling, expected.rate),
        )
        assert found.available.tolist() == order[: 2 * groups]


@pytest.mark.parametrize("pacing", list(PACINGS))
@pytest.mark.parametrize("kind", ["constant", "growth", "random-patch"])
def test_a_resumed_run_draws_the_same(kind, pacing):
    first, total = schedule(kind, pacing, seed=3), 40
    again = Schedule.from_dict(json.loads(json.dumps(first.as_dict())))
    assert again == first
    for step in (*range(20, total), 0, 7):  # from the middle, in any order
        one, other = first.at(step / total), again.at(step / total)
        assert one.stage == other.stage
        assert one.available.tolist() == other.available.tolist()


def test_the_random_patch_draws_all_stages_about_equally_often_and_anew_at_every_step():
    plan, total = schedule("random-patch"), 20_000
    drawn = np.array([plan.at(step / total).stage for step in range(total)])
    count = len(plan.stages)
    assert np.bincount(drawn, minlength=count) == pytest.approx(total / count, rel=0.15)
    assert np.mean(drawn[1:] == drawn[:-1]) == pytest.approx(1 / count, abs=0.02)
    other = schedule("random-patch", seed=1)
    assert any(other.at(step / total).stage != drawn[step] for step in range(50))


def test_by_the_clock_the_random_patch_of_a_step_does_not_change_with_the_time_that_steps_take():
    plan = schedule("random-patch")
    for step in range(20):
        assert len({plan.at(progress, step).stage for progress in np.linspace(0, 1, 15)}) == 1
    assert len({plan.at(0.5, step).stage for step in range(1000)}) == len(plan.stages)


def test_random_order_is_the_control_under_the_same_pacing():
    easy, random = schedule(pacing="quantile-groups"), schedule(pacing="quantile-groups", order="random", seed=5)
    assert easy.order != random.order
    for progress in np.linspace(0, 1, 21):
        assert len(easy.at(progress).available) == len(random.at(progress).available)


def test_hard_to_easy_ends_with_what_easy_to_hard_begins_with():
    easy, hard = schedule(pacing="linear"), schedule(pacing="linear", order="hard")
    assert hard.order == easy.order[::-1]


def test_equal_steps_are_fitted_to_the_difficulties():
    values = [0, 0, 0, 1, 10]
    plan = make_schedule(values, "easy", find_pacing("equal-steps"), stages("constant"))
    assert plan.at(0).available.tolist() == arrange(values)[:4].tolist()


def test_a_minimum_of_samples_is_available():
    assert len(schedule(pacing="fixed-exponential", samples=20, minimum=5).at(0).available) == 5


@pytest.mark.parametrize("shares", [(), (0.5,), (1.0, 0.0), (1.5, -0.5), (0.7, 0.7)])
def test_stages_that_do_not_fill_a_run_are_refused(shares):
    with pytest.raises(InputError, match="of the run"):
        Schedule((0,), Pacing("all"), tuple(Stage(PATCH, 1, share) for share in shares))


@pytest.mark.parametrize("order", [(), (0, 0), (1, 2)])
def test_an_order_that_misses_a_sample_is_refused(order):
    with pytest.raises(InputError, match="every sample once"):
        Schedule(order, Pacing("all"), stages("constant"))


def test_a_progress_that_is_no_number_is_refused():
    with pytest.raises(InputError, match="not a number"):
        schedule().at(math.nan)
