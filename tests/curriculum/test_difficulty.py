"""What makes a sample hard: every measure against its definition, and which end of it is hard."""

from __future__ import annotations

import math
import subprocess
import sys
from itertools import product

import numpy as np
import pytest
from scipy import ndimage

from napari_dasl.curriculum import (
    SCORERS,
    arrange,
    fisher_contrast,
    gradient_difficulty,
    lesion_size,
    reader_agreement,
    signal_intensity,
    slice_sizes,
)
from napari_dasl.curriculum.difficulty import difficulty
from napari_dasl.errors import InputError

NAN = math.nan


def scan(seed: int = 0, shape=(7, 9, 11)):
    rng = np.random.default_rng(seed)
    label = np.zeros(shape, np.uint8)
    label[2:5, 3:6, 4:6] = 1
    label[4, 5, 6] = 2
    return rng.normal(size=shape).astype(np.float32), label


# The scorers


def test_there_are_the_eight_scorers_of_the_papers():
    assert set(SCORERS) == {
        *("size", "contrast", "gradient", "bootstrapping"),
        *("self-paced", "intensity", "agreement", "uncertainty"),
    }
    for name, scorer in SCORERS.items():
        assert scorer.name == name
        assert scorer.sentence.endswith(".")
        assert scorer.needs <= {"label", "model", "losses", "readers"}


def test_size_contrast_and_intensity_can_be_measured_on_a_prediction():
    assert {name for name, scorer in SCORERS.items() if scorer.on_prediction} == {"size", "contrast", "intensity"}


@pytest.mark.parametrize("name", list(SCORERS))
def test_difficulty_rises_with_hardness_and_keeps_what_is_unknown(name):
    values = np.array([3.0, 1.0, NAN, 2.0])
    hardest = 1 if SCORERS[name].harder == "low" else 0
    found = difficulty(values, name)
    assert np.isnan(found[2])
    assert np.nanargmax(found) == hardest
    assert np.array_equal(difficulty(values, SCORERS[name]), found, equal_nan=True)
    assert np.array_equal(np.abs(found), values, equal_nan=True)
    assert arrange(found, "easy").tolist()[-2:] == [hardest, 2]


def test_low_is_hard_for_what_lesions_show_and_high_for_losses_and_doubt():
    low = {name for name, scorer in SCORERS.items() if scorer.harder == "low"}
    assert low == {"size", "contrast", "gradient", "intensity", "agreement"}


def test_difficulty_does_not_change_what_it_was_given():
    values = np.array([1.0, 2.0])
    difficulty(values, "uncertainty")[0] = 5
    assert values.tolist() == [1, 2]


def test_an_unknown_scorer_names_the_nearest_and_a_table_is_refused():
    with pytest.raises(InputError, match="Did you mean 'contrast'"):
        difficulty([1.0], "contrst")
    with pytest.raises(InputError, match="2 axes"):
        difficulty([[1.0]], "size")


# Size


def test_size_is_voxels_times_their_volume():
    _, label = scan()
    assert lesion_size(label, (3, 0.5, 0.5)) == pytest.approx(19 * 0.75)
    assert lesion_size(label[4], (0.5, 0.5)) == pytest.approx(7 * 0.25)
    assert math.isnan(lesion_size(label * 0, (3, 0.5, 0.5)))


def test_slice_sizes_are_areas_and_add_up_to_the_volume():
    _, label = scan()
    areas = slice_sizes(label, (3, 0.5, 0.5))
    assert areas[2:5] == pytest.approx([1.5, 1.5, 1.75])
    assert np.isnan(areas[[0, 1, 5, 6]]).all()
    assert np.nansum(areas) * 3 == pytest.approx(lesion_size(label, (3, 0.5, 0.5)))


def test_a_spacing_that_does_not_fit_is_refused():
    _, label = scan()
    for spacing in ((1, 1), (1, 0, 1), (1, NAN, 1)):
        with pytest.raises(InputError, match="does not fit"):
            lesion_size(label, spacing)
    with pytest.raises(InputError, match="no slices"):
        slice_sizes(label[0], (1, 1))


# Contrast


def brute_force(image, label, spacing, body, shell_mm):
    """The Fisher ratio with every distance written out."""
    lesion = np.argwhere(label > 0)
    healthy = [
        voxel
        for voxel in product(*map(range, label.shape))
        if not label[voxel]
        and body[voxel]
        and min(np.sqrt((((lesion - voxel) * spacing) ** 2).sum(axis=1))) <= shell_mm
    ]
    h, lesion = np.array([image[voxel] for voxel in healthy], np.float64), image[label > 0].astype(np.float64)
    return (h.mean() - lesion.mean()) ** 2 / (h.std() ** 2 + lesion.std() ** 2)


@pytest.mark.parametrize("spacing", [(1, 1, 1), (3, 0.7, 0.7), (1, 2, 0.3)])
@pytest.mark.parametrize("shell_mm", [1.0, 2.0, 50.0])
def test_contrast_is_the_fisher_ratio_against_a_shell_within_the_body(spacing, shell_mm):
    image, label = scan(1)
    body = np.random.default_rng(2).random(label.shape) < 0.7
    expected = brute_force(image, label, spacing, body, shell_mm)
    assert fisher_contrast(image, label, spacing, body=body, shell_mm=shell_mm) == pytest.approx(expected, rel=1e-9)
    plain = brute_force(image, label, spacing, np.ones_like(body), shell_mm)
    assert fisher_contrast(image, label, spacing, shell_mm=shell_mm) == pytest.approx(plain, rel=1e-9)


def test_contrast_works_on_slices():
    image, label = scan(3)
    expected = brute_force(image[3], label[3], (0.7, 0.7), np.ones_like(label[3]), 1.5)
    assert fisher_contrast(image[3], label[3], (0.7, 0.7), shell_mm=1.5) == pytest.approx(expected)


def test_contrast_does_not_depend_on_the_unit_of_the_image_and_rises_with_the_step():
    image, label = scan(4)
    found = [fisher_contrast(image + step * (label > 0), label, (1, 1, 1)) for step in (0, 2, 4)]
    assert found == sorted(found)
    image = image + 2 * (label > 0)
    scaled = fisher_contrast(image.astype(np.float64) * 40 - 1000, label, (1, 1, 1))
    assert scaled == pytest.approx(found[1], rel=1e-4)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("mirrored", [False, True])
def test_with_a_side_healthy_tissue_is_that_of_the_lesions_half_of_the_body(axis, mirrored):
    image, label = scan(5, (12, 12, 12))
    label[:] = 0
    label[2:4, 2:4, 2:4] = 1
    body = np.zeros(label.shape, bool)
    body[1:11, 1:11, 1:11] = True
    half = np.zeros_like(body)
    np.moveaxis(half, axis, 0)[1:6] = True  # the middle of 1…10 is 5.5
    if mirrored:
        image, label, body, half = (np.flip(one, axis) for one in (image, label, body, half))
    h, lesion = image[half & body & (label == 0)].astype(float), image[label > 0].astype(float)
    expected = (h.mean() - lesion.mean()) ** 2 / (h.var() + lesion.var())
    assert fisher_contrast(image, label, (1, 1, 1), body=body, side=axis) == pytest.approx(expected)


def test_contrast_without_noise_is_infinite_or_nothing():
    _, label = scan()
    assert fisher_contrast((label > 0) * 1.0, label, (1, 1, 1)) == math.inf
    assert fisher_contrast(np.ones(label.shape), label, (1, 1, 1)) == 0


def test_contrast_is_unknown_without_a_lesion_or_without_healthy_tissue():
    image, label = scan()
    assert math.isnan(fisher_contrast(image, label * 0, (1, 1, 1)))
    assert math.isnan(fisher_contrast(image, label, (1, 1, 1), body=label))
    assert math.isnan(fisher_contrast(image, label, (1, 1, 1), shell_mm=0.5))


def test_what_contrast_cannot_use_is_refused():
    image, label = scan()
    for change, said in (({"shell_mm": 0}, "0 mm"), ({"side": 3}, "Axis 3"), ({"body": label[1:]}, "body mask")):
        with pytest.raises(InputError, match=said):
            fisher_contrast(image, label, (1, 1, 1), **change)
    with pytest.raises(InputError, match="image has shape"):
        fisher_contrast(image[1:], label, (1, 1, 1))


# Intensity, agreement


def test_intensity_is_the_mean_within_the_lesions():
    image, label = scan()
    assert signal_intensity(image, label) == pytest.approx(image[label > 0].mean(dtype=float))
    assert math.isnan(signal_intensity(image, label * 0))


def test_agreement_is_the_mean_dice_over_all_pairs():
    masks = np.random.default_rng(0).random((4, 5, 6, 7)) < 0.4
    dice = [2 * (a & b).sum() / (a.sum() + b.sum()) for i, a in enumerate(masks) for b in masks[i + 1 :]]
    assert len(dice) == 6
    assert reader_agreement(list(masks)) == pytest.approx(np.mean(dice))


def test_readers_who_both_drew_nothing_agree_and_one_reader_says_nothing():
    empty, full = np.zeros((2, 3, 4), int), np.ones((2, 3, 4), int)
    assert reader_agreement([empty, empty]) == 1
    assert reader_agreement([empty, full]) == 0
    assert reader_agreement([full * 2, full]) == 1
    assert math.isnan(reader_agreement([full]))
    assert math.isnan(reader_agreement([]))
    with pytest.raises(InputError, match="another reader"):
        reader_agreement([full, full[1:]])


# Gradient difficulty


def test_gradient_difficulty_averages_decreases_over_epochs_and_repeats_and_scales_them():
    changes = np.random.default_rng(0).normal(size=(5, 100, 8))
    decrease = -changes.reshape(500, 8).mean(axis=0)
    expected = (decrease - decrease.min()) / (decrease.max() - decrease.min())
    assert gradient_difficulty(changes) == pytest.approx(expected)


def test_a_large_decrease_is_easy():
    changes = np.tile([-0.1, -0.5, 0.2], (5, 100, 1))
    assert arrange(difficulty(gradient_difficulty(changes), "gradient"), "easy").tolist() == [1, 0, 2]


def test_samples_that_were_not_used_are_left_out_of_the_mean_or_unknown():
    changes = np.array([[[-1.0, 0.0, NAN, -3.0], [NAN, 0.0, NAN, -1.0]]])
    assert gradient_difficulty(changes) == pytest.approx([0.5, 0, NAN, 1], nan_ok=True)
    assert gradient_difficulty(np.ones((2, 3, 2))).tolist() == [0, 0]
    assert np.isnan(gradient_difficulty(np.full((1, 1, 2), NAN))).all()
    with pytest.raises(InputError, match="2 axes"):
        gradient_difficulty(np.ones((2, 3)))


def test_the_curricula_load_no_torch():
    script = "import sys, napari_dasl.curriculum; sys.exit(any(m in sys.modules for m in ('torch', 'monai', 'scipy')))"
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=120).returncode == 0


@pytest.mark.parametrize("share", [0.0005, 0.02])
def test_the_shell_of_scattered_lesions_is_that_of_all_of_them_at_once(share):
    """Few small lesions are measured one by one, many together; the tissue around them is the same."""
    rng = np.random.default_rng(3)
    image, lesion = rng.normal(0, 10, (14, 40, 30)), rng.random((14, 40, 30)) < share
    steps = (2.5, 1.0, 0.7)
    shell = (ndimage.distance_transform_edt(~lesion, sampling=steps) <= 5.0) & ~lesion
    expected = (image[shell].mean() - image[lesion].mean()) ** 2 / (image[shell].var() + image[lesion].var())
    assert fisher_contrast(image, lesion.astype(np.uint8), steps, shell_mm=5.0) == pytest.approx(expected, rel=1e-12)
