"""Patch growth: the published lists, and what holds for every one of them."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from napari_dasl.curriculum import mean_voxels, patch_growth, random_patch, stage_steps
from napari_dasl.errors import InputError

PLANS = (  # patch, step, batch, stages of 2024, of 2025
    ((128, 128, 128), (32, 32, 32), 2, 9, 10),
    ((40, 56, 40), (8, 8, 8), 9, 14, 15),
    ((96, 96, 96), (16, 16, 16), 2, 15, 16),
    ((64, 64, 64), (16, 16, 16), 2, 9, 10),
    ((28, 256, 256), (4, 64, 64), 2, 12, 13),
)
EVERY = [(plan, order) for plan in PLANS for order in ("2024", "2025")]


def volume(stage) -> int:
    return math.prod(stage[0])


def test_the_published_list_of_2025_for_a_128_cube_with_5_poolings():
    assert patch_growth((128, 128, 128), (32, 32, 32), 2, "performance", "2025") == [
        ((32, 32, 32), 128),
        ((64, 32, 32), 64),
        ((64, 64, 32), 32),
        ((64, 64, 64), 16),
        ((96, 64, 64), 10),
        ((96, 96, 64), 7),
        ((96, 96, 96), 4),
        ((128, 96, 96), 3),
        ((128, 128, 96), 2),
        ((128, 128, 128), 2),
    ]


def test_the_list_of_2024_for_a_128_cube_grows_the_axes_1_2_0_in_turn():
    assert patch_growth((128, 128, 128), (32, 32, 32), 2, "performance", "2024") == [
        ((64, 32, 32), 24),
        ((64, 64, 32), 12),
        ((64, 64, 64), 6),
        ((96, 64, 64), 4),
        ((96, 96, 64), 3),
        ((96, 96, 96), 2),
        ((128, 96, 96), 2),
        ((128, 128, 96), 2),
        ((128, 128, 128), 2),
    ]


@pytest.mark.parametrize(("patch", "step", "batch", "old", "new"), PLANS)
def test_the_number_of_stages_is_the_published_formula(patch, step, batch, old, new):
    for order, first, stages in (("2024", (2 * step[0], *step[1:]), old), ("2025", step, new)):
        found = patch_growth(patch, step, batch, "resource", order)
        assert found[0][0] == first
        assert len(found) == stages == 1 + sum(-(-(p - f) // s) for p, f, s in zip(patch, first, step, strict=True))


@pytest.mark.parametrize(("plan", "order"), EVERY)
def test_each_stage_grows_one_axis_by_one_step_and_the_last_is_the_plan(plan, order):
    patch, step, batch, *_ = plan
    found = patch_growth(patch, step, batch, "resource", order)
    assert found[-1] == (patch, batch)
    for (before, _), (after, _) in pairwise(found):
        grown = [k for k in range(3) if after[k] != before[k]]
        assert len(grown) == 1
        assert after[grown[0]] - before[grown[0]] == step[grown[0]]


def test_in_2025_the_axis_grows_whose_next_side_is_smallest():
    for patch, step, *_ in PLANS:
        for (before, _), (after, _) in pairwise(patch_growth(patch, step)):
            nexts = {k: before[k] + step[k] for k in range(3) if before[k] < patch[k]}
            assert after[min(nexts, key=nexts.get)] != before[min(nexts, key=nexts.get)]


def test_in_2024_a_finished_axis_is_skipped():
    sizes = [size for size, _ in patch_growth((16, 32, 16), (8, 8, 8), 2, "resource", "2024")]
    assert sizes == [(16, 8, 8), (16, 16, 8), (16, 16, 16), (16, 24, 16), (16, 32, 16)]


def test_the_hippocampus_starts_with_1575_patches_of_8_cubed():
    assert patch_growth((40, 56, 40), (8, 8, 8), 9, "performance", "2025")[0] == ((8, 8, 8), 1575)


@pytest.mark.parametrize(("plan", "order"), EVERY)
def test_resource_mode_keeps_the_batch(plan, order):
    patch, step, batch, *_ = plan
    assert {each for _, each in patch_growth(patch, step, batch, "resource", order)} == {batch}


@pytest.mark.parametrize(("plan", "order"), EVERY)
def test_performance_mode_never_holds_more_voxels_than_the_last_stage_and_never_fewer_patches(plan, order):
    patch, step, batch, *_ = plan
    found = patch_growth(patch, step, batch, "performance", order)
    assert found[-1][1] == batch
    assert all(each >= batch for _, each in found)
    assert all(volume(stage) * stage[1] <= volume(found[-1]) * batch for stage in found)
    if order == "2025":  # the largest batch that fits
        assert all(volume(stage) * (stage[1] + 1) > volume(found[-1]) * batch for stage in found)
    else:  # the voxels of a step only rise
        voxels = [volume(stage) * stage[1] for stage in found]
        assert voxels == sorted(voxels)


@pytest.mark.parametrize(("patch", "step", "batch", "old", "new"), PLANS[:4])  # thick slices come to 0.25 and 0.96
def test_the_mean_voxels_are_the_published_ones(patch, step, batch, old, new):
    assert 0.26 <= round(mean_voxels(patch_growth(patch, step, batch, "resource", "2025")), 2) <= 0.34
    assert 0.94 <= round(mean_voxels(patch_growth(patch, step, batch, "performance", "2025")), 2) <= 0.98


def test_training_at_one_size_has_the_voxels_of_one_size():
    assert mean_voxels([((8, 8, 8), 2)] * 3) == 1


def test_a_side_that_is_no_multiple_is_reached_by_a_shorter_last_step():
    sizes = [size for size, _ in patch_growth((20, 8, 8), (8, 8, 8), 2)]
    assert sizes == [(8, 8, 8), (16, 8, 8), (20, 8, 8)]


def test_a_patch_of_one_slice_grows_within_the_slice():
    sizes = [size for size, _ in patch_growth((1, 32, 32), (1, 16, 16), 2, "resource", "2024")]
    assert sizes == [(1, 16, 16), (1, 32, 16), (1, 32, 32)]


def test_sizes_with_one_voxel_at_the_bottleneck_can_be_left_out_and_nothing_else_changes():
    full = patch_growth((128, 128, 128), (32, 32, 32), 2, "performance")
    assert patch_growth((128, 128, 128), (32, 32, 32), 2, "performance", bottleneck=2) == full[1:]
    assert patch_growth((32, 32, 32), (32, 32, 32), 2, bottleneck=2) == [((32, 32, 32), 2)]


@pytest.mark.parametrize(("total", "stages"), [(100, 9), (10, 10), (5, 9), (0, 3), (250_000, 15)])
def test_stages_have_equally_many_steps_and_the_last_one_the_remainder(total, stages):
    steps = stage_steps(total, stages)
    assert sum(steps) == total
    assert len(steps) == stages
    assert set(steps[:-1]) <= {total // stages}
    assert steps[-1] - total // stages == total % stages


def test_the_random_patch_draws_every_stage_with_the_same_chance():
    stages, rng = patch_growth((64, 64, 64), (16, 16, 16)), np.random.default_rng(0)
    drawn = [random_patch(stages, rng) for _ in range(5000)]
    counts = [drawn.count(stage) for stage in stages]
    assert min(counts) > 400
    assert max(counts) < 600


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (((0, 8, 8), (8, 8, 8)), "patch"),
        (((8, 8), (8, 8)), "patch"),
        (((8, 8, 8), (8, 0, 8)), "step"),
        (((8, 8, 8), (8, 8, 8), 0), "batch"),
        (((8, 8, 8), (8, 8, 8), 2, "fast"), "mode 'fast'"),
        (((8, 8, 8), (8, 8, 8), 2, "resource", "2026"), "order '2026'"),
    ],
)
def test_what_cannot_grow_is_refused(arguments, said):
    with pytest.raises(InputError, match=said):
        patch_growth(*arguments)


def test_no_stages_are_refused():
    for call in (lambda: stage_steps(5, 0), lambda: mean_voxels([]), lambda: random_patch([], np.random.default_rng())):
        with pytest.raises(InputError, match="stage"):
            call()
