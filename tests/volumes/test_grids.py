"""Arrays from one grid onto another, and the edits of an oblique scan back to its own voxels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from napari_dasl.errors import GridMismatch
from napari_dasl.volumes import Geometry, Volume, from_straight, resample_onto, straight_grid, to_straight


def grid(shape=(20, 22, 18), spacing=(1.0, 1.2, 2.0), angles=(0, 0, 0), origin=(-10, 5, 20), shear=0.0):
    a, b, c = np.radians(angles)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = about_z @ about_y @ about_x @ np.diag(spacing)
    affine[:3, 2] += shear * affine[:3, 1]
    affine[:3, 3] = origin
    return Geometry(shape, affine)


def places(geometry):
    """RAS mm of every canonical voxel, shape (3, z, y, x)."""
    index = np.indices(geometry.canonical_shape).reshape(3, -1)
    ras = geometry.canonical_affine[:3, :3] @ index + geometry.canonical_affine[:3, 3:]
    return ras.reshape(3, *geometry.canonical_shape)


def ramp(geometry):
    """A function that linear interpolation reproduces exactly."""
    right, anterior, superior = places(geometry)
    return (3 * right - 2 * anterior + superior + 100).astype(np.float32)


def ball(geometry, radius, offset=(0, 0, 0)):
    where = places(geometry)
    centre = where.reshape(3, -1).mean(axis=1) + offset
    return (((where - centre[:, None, None, None]) ** 2).sum(axis=0) <= radius**2).astype(np.uint8)


def brute_nearest(array, source, target):
    """Order 0 by its definition: the voxel whose cell a point falls in, 0 outside."""
    out = np.zeros(target.canonical_shape, array.dtype)
    into = np.linalg.inv(source.canonical_affine) @ target.canonical_affine
    for index in np.ndindex(target.canonical_shape):
        found = np.floor((into @ [*index, 1])[:3] + 0.5).astype(int)
        if (found >= 0).all() and (found < array.shape).all():
            out[index] = array[tuple(found)]
    return out


OBLIQUE = grid(angles=(12, -7, 20))


class TestStraightening:
    def test_a_straight_scan_is_left_alone(self):
        straight = grid()
        array = ramp(straight)
        assert straight_grid(straight) is straight
        assert to_straight(array, straight) is array
        assert_array_equal(from_straight(ball(straight, 5), ball(straight, 3), straight), ball(straight, 5))

    def test_the_straight_grid_is_straight_and_keeps_the_voxel_size(self):
        straight = straight_grid(OBLIQUE)
        assert straight.obliquity == 0
        assert_allclose(straight.spacing, OBLIQUE.spacing)
        assert straight.canonical_shape == straight.shape[::-1]

    @settings(max_examples=50, deadline=None)
    @given(st.tuples(*[st.floats(-60, 60)] * 3), st.floats(-0.3, 0.3))
    def test_the_straight_grid_covers_every_voxel(self, angles, shear):
        geometry = grid((6, 7, 8), angles=angles, shear=shear)
        straight = straight_grid(geometry)
        index = np.linalg.inv(straight.canonical_affine)[:3, :3] @ places(geometry).reshape(3, -1)
        index += np.linalg.inv(straight.canonical_affine)[:3, 3:]
        limit = np.array(straight.canonical_shape)[:, None] - 1
        assert (index >= -1e-6).all()
        assert (index <= limit + 1e-6).all()

    def test_values_keep_their_place_in_the_patient(self):
        straight = straight_grid(OBLIQUE)
        shown, truth = to_straight(ramp(OBLIQUE), OBLIQUE), ramp(straight)
        inside = to_straight(np.ones(OBLIQUE.canonical_shape, np.float32) + 1, OBLIQUE, 0) == 2
        core = inside[2:-2, 2:-2, 2:-2]
        assert shown.dtype == np.float32
        error = np.abs(shown - truth)[2:-2, 2:-2, 2:-2][core]
        assert np.median(error) < 1e-3  # exact inside; at the rim a half voxel is taken from the edge

    def test_masks_follow_the_definition_of_nearest(self):
        small = grid((5, 6, 7), angles=(12, -7, 20))
        mask = np.random.default_rng(0).integers(0, 4, small.canonical_shape).astype(np.uint8)
        assert_array_equal(to_straight(mask, small, order=0), brute_nearest(mask, small, straight_grid(small)))

    def test_an_array_of_another_shape_is_refused(self):
        with pytest.raises(GridMismatch):
            to_straight(np.zeros((2, 2, 2)), OBLIQUE)
        with pytest.raises(GridMismatch):
            from_straight(np.zeros((2, 2, 2), np.uint8), ball(OBLIQUE, 3), OBLIQUE)


class TestEditsGoBack:
    def test_no_edit_changes_no_voxel_however_often(self):
        mask = np.random.default_rng(0).integers(0, 4, OBLIQUE.canonical_shape).astype(np.uint8)
        again = mask
        for _ in range(5):
            again = from_straight(to_straight(again, OBLIQUE, order=0), again, OBLIQUE)
        assert_array_equal(again, mask)

    def test_only_voxels_nearest_to_an_edited_one_change(self):
        small = grid((6, 7, 8), angles=(12, -7, 20))
        rng = np.random.default_rng(1)
        before = rng.integers(0, 3, small.canonical_shape).astype(np.uint8)
        shown = to_straight(before, small, order=0)
        edited = shown.copy()
        edited[3:6, 4:7, 2:6] = 3
        edited[7:9, 2:4, 3:5] = 0
        expected = before.copy()
        changed = brute_nearest((edited != shown).astype(np.uint8), straight_grid(small), small) > 0
        expected[changed] = brute_nearest(edited, straight_grid(small), small)[changed]
        result = from_straight(edited, before, small)
        assert changed.any()
        assert_array_equal(result, expected)
        assert_array_equal(result[~changed], before[~changed])

    @pytest.mark.parametrize("angles", [(3, 0, 0), (12, -7, 20), (40, 10, 30)])
    def test_a_painted_ball_arrives_where_it_was_painted_with_its_volume(self, angles):
        geometry = grid((30, 30, 30), (1, 1, 1), angles)
        painted = ball(straight_grid(geometry), 7)
        stored = from_straight(painted, np.zeros(geometry.canonical_shape, np.uint8), geometry)
        truth = ball(geometry, 7)
        overlap = 2 * (stored & truth).sum() / (stored.sum() + truth.sum())
        assert overlap > 0.94  # two roundings to the nearest voxel of a surface with a seventh of the volume per voxel
        assert int(stored.sum()) == pytest.approx(int(painted.sum()), rel=0.03)
        centres = [places(geometry)[:, mask > 0].mean(axis=1) for mask in (stored, truth)]
        assert_allclose(centres[0], centres[1], atol=0.1)

    def test_painting_and_erasing_again_leaves_what_was_there(self):
        before = ball(OBLIQUE, 5)
        painted = np.maximum(to_straight(before, OBLIQUE, 0), 2 * ball(straight_grid(OBLIQUE), 3, (6, 0, 0)))
        after = from_straight(painted, before, OBLIQUE)
        shown = to_straight(after, OBLIQUE, 0)
        erased = from_straight(np.where(shown == 2, 0, shown).astype(np.uint8), after, OBLIQUE)
        assert (after == 2).any()
        # An erased voxel is background; what was never painted over is as before.
        assert_array_equal(erased[after != 2], before[after != 2])

    def test_the_result_can_hold_the_new_values(self):
        before = ball(OBLIQUE, 4)
        edited = to_straight(before, OBLIQUE, 0).astype(np.uint16)
        edited[5:12, 5:12, 5:12] = 300
        assert from_straight(edited, before, OBLIQUE).max() == 300

    def test_a_tilted_gantry_works_the_same_way(self):
        sheared = grid(shear=0.3)
        assert sheared.is_oblique
        painted = ball(straight_grid(sheared), 6)
        stored = from_straight(painted, np.zeros(sheared.canonical_shape, np.uint8), sheared)
        truth = ball(sheared, 6, straight_centre_offset(sheared))
        assert 2 * (stored & truth).sum() / (stored.sum() + truth.sum()) > 0.95


def straight_centre_offset(geometry):
    """From the middle of a grid to the middle of its straight grid, in RAS mm."""
    middle = [places(g).reshape(3, -1).mean(axis=1) for g in (straight_grid(geometry), geometry)]
    return middle[0] - middle[1]


class TestResampling:
    def volume(self, geometry, array):
        return Volume(array, geometry, Path("x"))

    def test_the_same_grid_costs_nothing(self):
        volume = self.volume(grid(), ramp(grid()))
        assert resample_onto(volume, grid()) is volume.array

    def test_another_grid_gets_the_values_of_the_same_places(self):
        source, target = grid((40, 40, 40), (1, 1, 1)), grid((20, 20, 20), (0.9, 0.8, 1), (5, 0, 3), (-6, 8, 24))
        out = resample_onto(self.volume(source, ramp(source)), target)
        assert out.dtype == np.float32
        assert_allclose(out, ramp(target), atol=1e-3)

    def test_coarser_voxels_are_means_and_not_single_noisy_ones(self):
        fine, coarse = grid((80, 80, 80), (1, 1, 1)), grid((20, 20, 20), (4, 4, 4), origin=(-8.5, 6.5, 21.5))
        noise = np.random.default_rng(0).normal(size=fine.canonical_shape).astype(np.float32)
        assert resample_onto(self.volume(fine, noise), coarse)[2:-2, 2:-2, 2:-2].std() < 0.2

    def test_outside_the_field_of_view_is_air(self):
        source, target = grid((10, 10, 10), (1, 1, 1)), grid((30, 10, 10), (1, 1, 1))
        array = np.full((10, 10, 10), 50, np.int16)
        array[0, 0, 0] = -1000
        out = resample_onto(self.volume(source, array), target)
        assert (out[:, :, :15] == -1000).all()  # x grows to the left; the source lies at the right end of it
        assert out[5, 5, 25] == 50

    def test_rounding_in_a_header_does_not_cost_the_first_slice(self):
        source = grid((10, 10, 10), (1, 1, 1))
        nudged = source.affine.copy()
        nudged[:3, 3] -= 1e-7
        target = Geometry((10, 10, 5), nudged)
        out = resample_onto(self.volume(source, np.full((10, 10, 10), 7, np.int16)), target)
        assert_allclose(out, 7)

    def test_labels_keep_their_values_and_type(self):
        source, target = grid((10, 11, 12), (1, 1, 1)), grid((6, 6, 6), (1.5, 1.5, 1.5), (10, 5, 0))
        labels = np.random.default_rng(0).integers(0, 5, source.canonical_shape).astype(np.uint8)
        out = resample_onto(self.volume(source, labels), target, order=0)
        assert out.dtype == np.uint8
        assert_array_equal(out, brute_nearest(labels, source, target))
