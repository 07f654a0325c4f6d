"""Tumour patches: one shows a lesion, the next shows none, whatever turns and scales them."""

from __future__ import annotations

import numpy as np
import pytest

from napari_dasl.curriculum import Stage, find_pacing
from napari_dasl.curriculum.schedule import Schedule
from napari_dasl.errors import InputError
from napari_dasl.training.alternating import _blocked, draw_beside, has_room, turns
from napari_dasl.training.batches import make_batch
from napari_dasl.training.following import Following, check
from napari_dasl.training.mixing import Mixing
from napari_dasl.training.plan import Augmentation, TrainingPlan
from napari_dasl.training.plan_text import as_toml
from napari_dasl.training.prepare import NO_VOXELS, Prepared, foreground_index


def prepared(name, label, *, human=True) -> Prepared:
    image = np.zeros((1, *label.shape), np.float16)
    return Prepared(name, image, label, foreground_index(label, 1), 1.0 if human else 0.5, human)


def with_ball(name, shape=(20, 22, 18), radius=4, **options) -> Prepared:
    away = sum((axis - n // 2) ** 2 for axis, n in zip(np.indices(shape), shape, strict=True))
    return prepared(name, (away < radius**2).astype(np.uint8), **options)


def changed(plan, **changes) -> TrainingPlan:
    return TrainingPlan.model_validate({**plan.model_dump(), **changes})


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_every_second_patch_of_a_run_shows_a_lesion_and_the_others_no_voxel_of_one(plan, batch):
    turned = Augmentation(affine=1.0, degrees=40, zoom=0.3)
    small = changed(plan, patch=(8, 8, 8), batch=batch, augmentation=turned.model_dump())
    cases = [with_ball("a"), with_ball("b"), prepared("no lesion", np.zeros((20, 20, 20), np.uint8))]
    steps = 24 // batch
    shown = [bool(each.any()) for step in range(steps) for each in make_batch(small, cases, step, alternate=True)[1]]
    assert shown == [True, False] * (steps * batch // 2)


@pytest.mark.parametrize("batch", [1, 2, 4])
def test_people_and_the_network_take_turns_each_by_themselves(plan, batch):
    cases = [with_ball("a"), with_ball("b", human=False)]
    small, seen = changed(plan, patch=(8, 8, 8), batch=batch), {1.0: [], 0.5: []}
    for step in range(24 // batch):
        _, label, weight = make_batch(small, cases, step, Mixing(human_share=0.5), alternate=True)
        for each, kind in zip(label, weight.tolist(), strict=True):
            seen[kind].append(bool(each.any()))
    assert seen[1.0] == seen[0.5] == [True, False] * 6
    assert turns(cases, 3, 4, Mixing(), human_only=True) == [True, False, True, False]


def test_the_last_place_without_a_lesion_is_found():
    label = np.ones((12, 12, 12), np.uint8)
    label[4:, :8, 2:10] = 0
    label[4:, :8, 10:] = 1
    case = prepared("dense", label)
    for seed in range(3):
        place = draw_beside([case], (8, 8, 8), np.random.default_rng(seed))
        assert place is not None
        assert place.start == (4, 0, 2)
    assert not has_room(case, (9, 8, 8))
    assert draw_beside([case], (9, 8, 8), np.random.default_rng(0)) is None


def test_places_that_meet_a_lesion_are_those_of_a_search_one_by_one():
    lesion = np.random.default_rng(0).random((7, 9, 8)) < 0.01
    patch = (2, 3, 9)
    expected = [[lesion[z : z + 2, y : y + 3].any() for y in range(7)] for z in range(6)]
    assert np.array_equal(_blocked(lesion, patch)[:, :, 0], expected)


def following(plan, cases, patch, order=(0, 1)) -> Following:
    stages = (Stage(patch, 2, 1.0, "tumour-patches", 1.0),)
    return Following(plan, cases, Schedule(order, find_pacing("linear"), stages), range(len(cases)))


def test_a_case_with_room_joins_early_where_the_first_ones_have_none(plan):
    full, roomy = with_ball("full", radius=30), with_ball("roomy")
    assert [case.id for case in following(plan, [full, roomy], (8, 8, 8)).at(0, 0).cases] == ["full", "roomy"]
    assert [case.id for case in following(plan, [roomy, full], (8, 8, 8)).at(0, 0).cases] == ["roomy"]
    assert following(plan, [roomy, full], (8, 8, 8)).at(0, 0).alternate
    with pytest.raises(InputError, match=r"No labelled scan has room for a patch of \[24, 24, 24\]"):
        following(plan, [full, roomy], (24, 24, 24)).check_room()


def test_a_scan_without_a_label_is_no_place_without_a_lesion():
    unknown = Prepared("unknown", np.zeros((1, 8, 8, 8), np.float16), None, NO_VOXELS, 1.0)
    assert draw_beside([unknown], (4, 4, 4), np.random.default_rng(0)) is None


def test_one_patch_a_step_is_refused_in_words_where_the_network_normalises_over_patches(plan, balls):
    normalising = changed(plan, network="residual-se-unet", network_options={})
    with pytest.raises(InputError, match="This round asks for a batch of 1, and residual-se-unet with batch") as found:
        normalising.changed({"batch": 1})
    assert "batch of 2" in found.value.hint
    assert changed(normalising, network_options={"norm": "group"}).changed({"batch": 1}).batch == 1
    with pytest.raises(InputError, match=r"wrong at learning_rate: .* \(found -1\)"):
        plan.changed({"learning_rate": -1})
    along = Schedule(range(4), find_pacing("all"), (Stage((32, 32, 32), 1, 1.0),))
    with pytest.raises(InputError, match="A stage of the curriculum asks for a batch of 1"):
        check(along, normalising, balls)


def test_beside_an_organ_patches_show_the_tumour_and_then_the_organ_alone(plan):
    label = np.zeros((24, 24, 24), np.uint8)
    label[2:22, 2:22, 2:22] = 1
    label[4:8, 4:8, 4:8] = 2
    case = Prepared("ct", np.zeros((1, *label.shape), np.float16), label, foreground_index(label, 2), 1.0)
    told = changed(plan, classes=("liver", "tumour"), lesions=("tumour",), patch=(8, 8, 8), batch=2)
    pairs = [make_batch(told, [case], step, alternate=True)[1] for step in range(8)]
    assert all((shown == 2).any() and not (beside == 2).any() for shown, beside in pairs)
    assert any((beside == 1).any() for _, beside in pairs)
    assert not has_room(case, (20, 20, 20))  # as before, where every class is a lesion
    assert has_room(case, (16, 16, 16), told.lesion_values)
    assert following(told, [case, case], (16, 16, 16)).room(case, (16, 16, 16))
    assert "lesions" not in as_toml(changed(told, lesions=()))
    assert 'lesions = ["tumour"]' in as_toml(told)
