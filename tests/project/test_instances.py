"""Lesions one by one: their numbers, boxes, diameters and volumes, and what counts as the same place."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest

from napari_dasl.errors import LabelError
from napari_dasl.project.instances import (
    HIGHEST_ID,
    axial_diameter,
    describe,
    from_dict,
    ids_of,
    iou,
    number_lesions,
    same_place,
)

SPACING = (3.0, 1.0, 0.5)


@pytest.fixture
def classes():
    """Two pieces of class 1 that touch at a corner, a third piece of it, and a piece of class 2 against the first."""
    label = np.zeros((8, 12, 10), np.uint8)
    label[1, 1, 1] = label[2, 2, 2] = 1
    label[5:7, 4:9, 3:5] = 1
    label[1, 1, 2] = 2
    return label


class TestNumbering:
    def test_pieces_of_one_class_that_touch_anywhere_are_one_lesion(self, classes):
        ids, class_of = number_lesions(classes)
        assert class_of == {1: 1, 2: 1, 3: 2}
        assert ids.dtype == np.uint16
        assert ids[1, 1, 1] == ids[2, 2, 2] == 1
        assert (ids[5, 4, 3], ids[1, 1, 2]) == (2, 3)
        assert np.array_equal(ids > 0, classes > 0)

    def test_only_the_largest_where_so_many_are_asked_for(self, classes):
        ids, class_of = number_lesions(classes, most=2)
        assert class_of == {1: 1, 2: 1}
        assert np.array_equal(np.bincount(ids.ravel())[1:], [2, 20])

    def test_nothing_has_no_lesions(self):
        ids, class_of = number_lesions(np.zeros((3, 4, 5), np.uint8))
        assert (class_of, ids.shape, ids.any()) == ({}, (3, 4, 5), False)

    def test_more_lesions_than_16_bits_can_number_keep_their_numbers(self):
        label = np.zeros((52, 104, 104), np.uint8)
        label[::2, ::2, ::2] = 1
        ids, class_of = number_lesions(label)
        assert len(class_of) == ids.max() == 26 * 52 * 52 > HIGHEST_ID
        with pytest.raises(LabelError, match="70304 separate pieces"):
            ids_of(label)


class TestMasksFromFiles:
    @pytest.mark.parametrize("value", [1, 255])
    def test_a_mask_that_tells_no_lesions_apart_is_numbered(self, classes, value):
        mask = (classes == 1).astype(np.uint8) * value
        assert np.array_equal(ids_of(mask), number_lesions(mask)[0])
        assert ids_of(mask).max() == 2

    @pytest.mark.parametrize("values", [(1, 2), (3, 3), (1, 255), (40000, 7)])
    def test_numbers_of_lesions_are_kept_as_they_are(self, classes, values):
        mask = np.zeros(classes.shape, np.uint16)
        mask[1, 1, 1], mask[7, 7, 7] = values
        assert ids_of(mask) is mask

    def test_an_empty_mask_stays_empty(self):
        assert not ids_of(np.zeros((2, 2, 2), np.uint8)).any()


class TestDescribing:
    def test_boxes_centres_and_volumes_are_in_mm_about_the_voxels_centres(self):
        ids = np.zeros((8, 12, 10), np.uint16)
        ids[5:7, 4:9, 3:5] = 7
        (one,) = describe(ids, {7: 2}, {7: 0.25}, SPACING, kept=())
        assert (one.id, one.label, one.score, one.kept) == (7, 2, 0.25, False)
        assert one.box == (4.5 * 3, 3.5, 2.5 * 0.5, 6.5 * 3, 8.5, 4.5 * 0.5)
        assert one.centre == (5.5 * 3, 6.0, 3.5 * 0.5)
        assert one.volume_ml == pytest.approx(20 * 1.5 / 1000)

    def test_a_centre_is_that_of_the_voxels_not_of_the_box(self):
        ids = np.zeros((1, 1, 6), np.uint8)
        ids[0, 0, [0, 1, 5]] = 1
        assert describe(ids, {1: 1}, None, (1, 1, 1))[0].centre == (0, 0, 2)

    def test_numbers_may_have_gaps_and_those_that_nobody_named_are_left_out(self):
        ids = np.zeros((2, 5, 5), np.uint16)
        ids[0, 0, 0], ids[0, 2, 2], ids[1, 4, 4] = 900, 3, 5
        found = describe(ids, {900: 1, 3: 1, 4: 1}, {3: 0.5}, SPACING, kept={900})
        assert [(one.id, one.score, one.kept) for one in found] == [(3, 0.5, False), (900, 1.0, True)]

    def test_it_is_read_back_from_json_as_it_was(self):
        ids = np.zeros((3, 4, 5), np.uint8)
        ids[1, 1:3, 2] = 1
        (one,) = describe(ids, {1: 1}, {1: 1 / 3}, (1.1, 0.7, 0.7))
        assert from_dict(json.loads(json.dumps(one.as_dict()))) == one

    @pytest.mark.parametrize("wrong", [{"id": 0}, {"box": [1, 2]}, {"centre": None}, {"score": "high"}])
    def test_json_that_is_no_finding_is_refused(self, wrong):
        ids = np.ones((1, 1, 1), np.uint8)
        whole = describe(ids, {1: 1}, None, SPACING)[0].as_dict()
        with pytest.raises((ValueError, TypeError, KeyError)):
            from_dict(whole | wrong)


class TestDiameters:
    def test_one_pixel_is_as_long_as_its_longer_side(self):
        assert axial_diameter(np.ones((1, 1, 1), bool), (0.7, 0.5)) == pytest.approx(0.7)

    def test_a_row_of_pixels_is_as_long_as_it_is(self):
        assert axial_diameter(np.ones((1, 1, 9), bool), (2.0, 0.5)) == pytest.approx(4.5)

    def test_it_is_the_longest_within_a_slice_not_through_slices(self):
        mask = np.zeros((3, 20, 20), bool)
        mask[0, :4, 0] = mask[1, :3, :7] = mask[2, 12:, 12:14] = True
        alone = [axial_diameter(mask[k : k + 1], (1, 1)) for k in range(3)]
        assert axial_diameter(mask, (1, 1)) == max(alone)
        assert alone[0] == pytest.approx(4)

    def test_it_is_the_distance_of_the_farthest_points_of_all_pixel_sides(self):
        rng = np.random.default_rng(1)
        for _ in range(20):
            plane = rng.random((9, 11)) < 0.2
            plane[4, 5] = True
            y, x = np.nonzero(plane)
            sides = np.concatenate([np.stack([y + a, x + b], 1) for a, b in ((0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5))])
            sides = sides * (0.8, 1.3)
            brute = np.sqrt(((sides[:, None] - sides[None]) ** 2).sum(-1)).max()
            assert axial_diameter(plane[None], (0.8, 1.3)) == pytest.approx(brute)

    def test_a_drawn_disc_is_as_wide_as_it_was_drawn(self):
        y, x = np.mgrid[-20:21, -20:21] * 0.5
        errors = []
        for radius in (2.0, 4.0, 8.0):
            disc = (y**2 + x**2 <= radius**2)[None]
            errors.append(abs(axial_diameter(disc, (0.5, 0.5)) - 2 * radius))
        assert max(errors) <= 0.5

    def test_a_rotated_lesion_keeps_its_diameter(self):
        y, x = np.mgrid[-40:41, -40:41] * 0.25
        found = []
        for turn in np.linspace(0, np.pi / 2, 5):
            u, v = y * np.cos(turn) + x * np.sin(turn), x * np.cos(turn) - y * np.sin(turn)
            found.append(axial_diameter(((u / 8) ** 2 + (v / 3) ** 2 <= 1)[None], (0.25, 0.25)))
        assert max(abs(one - two) for one, two in pairwise(found)) < 0.25


class TestPlaces:
    def test_overlap_is_measured_in_volume(self):
        assert iou((0, 0, 0, 2, 2, 2), (0, 0, 1, 2, 2, 3)) == pytest.approx(4 / 12)
        assert iou((0, 0, 0, 2, 2, 2), (2, 0, 0, 4, 2, 2)) == 0
        assert iou((0, 0, 0, 0, 0, 0), (0, 0, 0, 0, 0, 0)) == 0

    @pytest.mark.parametrize(
        ("box", "same"),
        [
            ((1, 1, 1, 9, 9, 9), True),  # its centre is the known one's
            ((0, 0, 3, 10, 10, 20), True),  # IoU 7/20, its centre outside
            ((0, 0, 6, 10, 10, 16), False),  # IoU 4/16
            ((2, 2, 2, 7, 7, 7), True),  # inside, half as long each way
            ((4, 4, 4, 5, 5, 5), False),  # inside, but another thing by its size
            ((-10, -10, -10, 20, 20, 20), False),  # around it, with the same centre
            ((0, 0, 11, 10, 10, 20), False),
            ((-40, -40, -40, 30, 30, 30), False),  # large, around it, centred elsewhere
        ],
    )
    def test_the_same_place_is_much_overlap_or_a_centre_inside_and_a_like_size(self, box, same):
        assert same_place(box, (0, 0, 0, 10, 10, 10)) is same
