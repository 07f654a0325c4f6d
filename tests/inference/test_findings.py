"""What a prediction found, counted on phantoms with known answers."""

from __future__ import annotations

import numpy as np
import pytest

from napari_dasl.errors import InputError
from napari_dasl.inference import facts

CUBIC_CM = (10.0, 10.0, 10.0)  # one voxel is one millilitre


def two_classes(foreground: np.ndarray) -> np.ndarray:
    return np.stack([1 - foreground, foreground])


def test_regions_volumes_and_the_largest_probability():
    p = np.zeros((10, 10, 10))
    p[1:3, 1:3, 1:3] = 0.9
    p[6:9, 6:9, 6:9] = 0.99
    found = facts(two_classes(p), None, CUBIC_CM)
    assert not found.empty
    assert found.regions == 2
    assert found.largest_region_ml == pytest.approx(27)
    assert found.volume_ml == pytest.approx({1: 35})
    assert found.max_foreground == pytest.approx(0.99)
    assert (found.uncertain_regions, found.undecided_spots) == (0, 0)


def test_volumes_follow_the_voxel_size():
    p = np.zeros((4, 4, 4))
    p[1:3, 1:3, 1:3] = 1
    assert facts(two_classes(p), None, (2.5, 0.7, 0.7)).largest_region_ml == pytest.approx(8 * 2.5 * 0.49 / 1000)


def test_each_class_has_its_volume_and_touching_classes_are_one_region():
    label = np.zeros((6, 6, 6), dtype=np.uint8)
    label[0:2], label[2:3] = 1, 3
    p = np.stack([label == k for k in range(4)]).astype(np.float32)
    found = facts(p, label, CUBIC_CM)
    assert found.volume_ml == pytest.approx({1: 72, 3: 36})
    assert found.regions == 1


def test_corners_touch():
    p = np.zeros((4, 4, 4))
    p[0, 0, 0] = p[1, 1, 1] = 1
    assert facts(two_classes(p), None, CUBIC_CM).regions == 1


def test_doubt_at_an_edge_and_doubt_that_was_left_out_are_told_apart():
    p = np.zeros((12, 12, 12))
    p[1:5, 1:5, 1:5] = 0.6
    p[2:4, 2:4, 2:4] = 0.95
    p[8, 8, 8] = 0.4
    p[8, 8, 2] = 0.3
    p[2, 9, 9] = 0.1
    found = facts(two_classes(p), None, CUBIC_CM)
    assert found.uncertain_regions == 1
    assert found.undecided_spots == 2


def test_doubt_smaller_than_a_two_millimetre_sphere_is_noise():
    p = np.zeros((12, 12, 12))
    p[2, 2, 2] = 0.4
    p[6:9, 6:9, 6:9] = 0.4
    assert facts(two_classes(p), None, (1.0, 1.0, 1.0)).undecided_spots == 1


def test_nothing_found_is_empty():
    found = facts(two_classes(np.full((3, 3, 3), 0.2)), None, CUBIC_CM)
    assert found.empty
    assert found.regions == 0
    assert found.largest_region_ml == 0
    assert found.volume_ml == {}
    assert found.max_foreground == pytest.approx(0.2)


def test_the_largest_foreground_probability_counts_all_classes():
    p = np.zeros((3, 2, 2, 2), dtype=np.float32)
    p[0] = 1
    p[:, 0, 0, 0] = 0.4, 0.35, 0.25
    assert facts(p, None, CUBIC_CM).max_foreground == pytest.approx(0.6)


def test_grids_that_differ_are_refused():
    with pytest.raises(InputError, match="label map"):
        facts(np.zeros((2, 3, 3, 3)), np.zeros((3, 3, 4), dtype=np.uint8), CUBIC_CM)
