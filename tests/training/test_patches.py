"""Patches: where they lie, what they hold, and that they depend on the seed alone."""

from __future__ import annotations

import numpy as np
import pytest

from napari_dasl.training.augment import MARGIN, random_affine, sample_patch
from napari_dasl.training.patches import cut, draw_place, generator
from napari_dasl.training.plan import Augmentation
from napari_dasl.training.prepare import Prepared, foreground_index

STILL = Augmentation(mirror=(), affine=0, intensity=0, noise=0)


def prepared(shape=(20, 24, 22), classes=2, seed=0):
    rng = np.random.default_rng(seed)
    label = np.zeros(shape, np.uint8)
    label[3:6, 4:8, 5:9] = 1
    if classes > 1:
        label[15, 20, 18] = 2
    image = rng.normal(size=(1, *shape)).astype(np.float16)
    return Prepared("a", image, label, foreground_index(label, classes), 1.0)


@pytest.mark.parametrize("start", [(0, 0, 0), (-3, 2, -20), (5, 30, 9), (-30, 0, 50), (9, 9, 9)])
@pytest.mark.parametrize("size", [(4, 4, 4), (12, 3, 15)])
def test_outside_a_scan_its_border_goes_on(start, size):
    array = np.random.default_rng(0).normal(size=(2, 10, 12, 8))
    places = [np.clip(np.arange(s, s + n), 0, full - 1) for s, n, full in zip(start, size, (10, 12, 8), strict=True)]
    expected = array[:, places[0][:, None, None], places[1][:, None], places[2]]
    assert np.array_equal(cut(array, start, size), expected)


def test_a_patch_lies_inside_a_scan_that_is_larger():
    case = prepared()
    for step in range(50):
        place = draw_place([case], (8, 8, 8), 0.5, generator(0, step, 0))
        assert all(0 <= s <= n - 8 for s, n in zip(place.start, (20, 24, 22), strict=True))


def test_a_patch_larger_than_the_scan_is_centred_on_it():
    place = draw_place([prepared(shape=(20, 24, 22))], (26, 24, 40), 0.5, generator(0, 0, 0))
    assert place.start == (-3, 0, -9)


def test_foreground_patches_hold_every_class_equally_often():
    case = prepared()
    held = [0, 0, 0]
    for step in range(200):
        start = draw_place([case], (6, 6, 6), 1.0, generator(1, step, 0)).start
        found = np.unique(cut(case.label, start, (6, 6, 6)))
        assert found.max() > 0
        for k in found:
            held[k] += 1
    # 48 voxels of one class and a single one of the other: by voxels the second would come 4 times in 200.
    assert held[2] == pytest.approx(100, abs=25)


def test_without_foreground_a_case_still_gives_patches():
    empty = Prepared("a", np.zeros((1, 9, 9, 9), np.float16), None, np.zeros((0, 4), np.int16), 1.0)
    image, label = sample_patch(empty, (1, 1, 1), (8, 8, 8), (1, 1, 1), STILL, generator(0, 0, 0))
    assert image.shape == (1, 8, 8, 8)
    assert not label.any()


def test_cases_are_drawn_equally_often_whatever_their_size():
    cases = [prepared((10, 10, 10), 1), prepared((40, 40, 40), 1)]
    drawn = [draw_place(cases, (8, 8, 8), 0.4, generator(0, step, 0)).case for step in range(300)]
    assert sum(drawn) == pytest.approx(150, abs=40)


def test_every_slice_of_a_lesion_is_drawn_equally_often_for_a_network_of_slices():
    label = np.zeros((7, 32, 32), np.uint8)
    for z, side in enumerate((1, 2, 10, 20)):
        label[z, :side, :side] = 1
    case = Prepared("a", np.zeros((1, *label.shape), np.float16), label, foreground_index(label, 1), 1.0)
    none = Prepared("b", case.image, np.zeros_like(label), np.zeros((0, 4), np.int16), 1.0)
    places = [draw_place([none, case, none], (1, 16, 16), 1.0, generator(0, step, 0)) for step in range(400)]
    assert {place.case for place in places} == {1}
    assert np.bincount([place.start[0] for place in places]) == pytest.approx([100] * 4, abs=30)
    assert draw_place([none], (1, 16, 16), 1.0, generator(0, 0, 0)).case == 0
    assert {draw_place([none, case], (1, 16, 16), 0.9, generator(0, step, 0)).case for step in range(20)} == {0, 1}


def test_a_sample_is_a_function_of_seed_step_and_number():
    case, rules = prepared(), Augmentation(mirror=("z", "y", "x"))

    def draw(*key):
        return sample_patch(case, (2, 2, 2), (12, 12, 12), (1, 1, 1), rules, generator(*key))[0]

    assert np.array_equal(draw(0, 5, 1), draw(0, 5, 1))
    for other in [(1, 5, 1), (0, 6, 1), (0, 5, 2)]:
        assert not np.array_equal(draw(0, 5, 1), draw(*other))


def test_without_augmentation_the_voxels_are_the_scans():
    case = prepared()
    image, label = sample_patch(case, (1, 2, 3), (12, 12, 12), (1, 1, 1), STILL, generator(0, 0, 0))
    assert np.array_equal(image, case.image[:, 1:13, 2:14, 3:15].astype(np.float32))
    assert np.array_equal(label, case.label[1:13, 2:14, 3:15])


def test_turning_by_nothing_changes_nothing():
    case = prepared()
    rules = STILL.model_copy(update={"affine": 1.0, "degrees": 0.0, "zoom": 0.0})
    image, label = sample_patch(case, (4, 4, 4), (12, 12, 12), (1, 1, 1), rules, generator(0, 0, 0))
    np.testing.assert_allclose(image, case.image[:, 4:16, 4:16, 4:16].astype(np.float32), atol=1e-4)
    assert np.array_equal(label, case.label[4:16, 4:16, 4:16])


def test_image_and_label_turn_together():
    z, y, x = np.indices((40, 40, 40))
    label = (((z - 20) / 9.0) ** 2 + ((y - 20) / 5.0) ** 2 + ((x - 20) / 7.0) ** 2 < 1).astype(np.uint8)
    case = Prepared("a", label[None].astype(np.float16), label, foreground_index(label, 1), 1.0)
    rules = STILL.model_copy(update={"affine": 1.0, "mirror": ("z", "y", "x")})
    for step in range(5):
        image, turned = sample_patch(case, (8, 8, 8), (24, 24, 24), (2.0, 1.0, 1.5), rules, generator(0, step, 0))
        assert (np.abs(image[0] - turned) > 0.75).mean() < 0.002  # linear against nearest
        assert not np.array_equal(turned, label[8:32, 8:32, 8:32])


def test_only_allowed_axes_are_mirrored():
    ramp = np.broadcast_to(np.arange(8, dtype=np.float16)[:, None, None], (8, 8, 8))
    case = Prepared("a", ramp[None], np.zeros((8, 8, 8), np.uint8), np.zeros((0, 4), np.int16), 1.0)
    seen = set()
    for axis in ("z", "x"):
        rules = STILL.model_copy(update={"mirror": (axis,)})
        for step in range(20):
            image, _ = sample_patch(case, (0, 0, 0), (8, 8, 8), (1, 1, 1), rules, generator(0, step, 0))
            seen.add((axis, float(image[0, 0, 0, 0])))
    assert seen == {("z", 0.0), ("z", 7.0), ("x", 0.0)}


def test_thick_slices_turn_within_themselves():
    rules = Augmentation(degrees=30, zoom=0)
    flat = random_affine(rules, (5.0, 1.0, 1.0), generator(0, 0, 0))
    assert np.array_equal(flat[0], [1, 0, 0])
    assert np.array_equal(flat[:, 0], [1, 0, 0])
    assert abs(flat[1, 2]) > 0
    free = random_affine(rules, (1.0, 1.0, 1.0), generator(0, 0, 0))
    np.testing.assert_allclose(free @ free.T, np.eye(3), atol=1e-12)


def test_the_margin_holds_the_corners_of_most_turns():
    rules = Augmentation()
    reach = []
    for step in range(300):
        matrix = random_affine(rules, (1.0, 1.0, 1.0), generator(0, step, 0))
        reach.append(np.abs(matrix).sum(1).max())
    assert np.mean(np.array(reach) <= 1 + 2 * MARGIN) > 0.9


def test_noise_and_contrast_leave_the_label_alone():
    case = prepared()
    rules = STILL.model_copy(update={"intensity": 1.0, "noise": 1.0})
    image, label = sample_patch(case, (0, 0, 0), (20, 24, 22), (1, 1, 1), rules, generator(0, 1, 0))
    assert np.array_equal(label, case.label)
    assert not np.array_equal(image, case.image.astype(np.float32))
    assert np.isfinite(image).all()
