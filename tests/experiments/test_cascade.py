"""Regions of the cascade."""

from __future__ import annotations

import numpy as np

from napari_dasl.experiments.cascade import boxes, region


def test_a_region_is_what_lies_within_the_margin_in_millimetres():
    label = np.zeros((5, 9, 9), int)
    label[2, 4, 4] = 2
    found = region(label, (4.0, 1.0, 1.0), 2.0)
    assert found.sum() == 13  # a disc of radius 2 in its slice; the next slice is 4 mm away
    assert not region(np.zeros((2, 2, 2)), (1, 1, 1), 5.0).any()


def test_boxes_are_wider_by_the_margin_and_those_that_meet_are_one():
    mask = np.zeros((10, 10, 30), bool)
    mask[5, 5, [3, 8, 25]] = True
    assert boxes(mask, (1, 2, 3)) == [
        (slice(4, 7), slice(3, 8), slice(0, 12)),
        (slice(4, 7), slice(3, 8), slice(22, 29)),
    ]
    assert boxes(np.zeros((3, 3, 3), bool), (1, 1, 1)) == []


def test_boxes_at_the_border_stay_inside():
    mask = np.zeros((4, 4, 4), bool)
    mask[0, 3, 0] = True
    assert boxes(mask, (2, 2, 9)) == [(slice(0, 3), slice(1, 4), slice(0, 4))]
