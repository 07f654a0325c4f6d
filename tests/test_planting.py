"""Nodules planted in other scans: where they go, what they look like there, and what stays untouched."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_dasl.errors import InputError
from napari_dasl.phantoms.planting import Nodule, aerated_share, clear, pick_place, plant, room

LUNG = np.full((40, 60, 60), -850, np.int16)
SPACING = (1.0, 0.8, 0.8)


def ball(radius, spacing, density=40.0, around=-870.0):
    """A ball of *radius* mm in the middle of a crop."""
    half = [int(np.ceil((radius + 4) / step)) for step in spacing]
    axes = np.ogrid[tuple(slice(-n, n + 1) for n in half)]
    away = np.sqrt(sum((axis * step) ** 2 for axis, step in zip(axes, spacing, strict=True)))
    mask = away <= radius
    return Nodule(np.where(mask, density, around).astype(np.float32), mask, spacing)


@pytest.mark.parametrize("spacing", [SPACING, (2.5, 0.7, 0.7), (0.5, 0.5, 0.5)])
def test_a_ball_keeps_its_size_and_its_place_whatever_the_crops_voxels(spacing):
    scan, mask = plant(LUNG, SPACING, ball(6.0, spacing), (20, 30, 25))
    volume = np.count_nonzero(mask) * np.prod(SPACING)
    assert volume == pytest.approx(4 / 3 * np.pi * 6**3, rel=0.2)
    assert ndimage.center_of_mass(mask) == pytest.approx((20, 30, 25), abs=0.3)
    assert scan[20, 30, 25] == pytest.approx(40, abs=1)


def test_the_scan_far_away_is_as_it_was_and_the_given_one_is_not_changed():
    before = LUNG.copy()
    scan, mask = plant(LUNG, SPACING, ball(5.0, SPACING), (20, 30, 30), border=2.0)
    np.testing.assert_array_equal(LUNG, before)
    away = ndimage.distance_transform_edt(~mask, sampling=SPACING)
    np.testing.assert_array_equal(scan[away > 2.0], LUNG[away > 2.0])
    assert (scan[mask] > -300).mean() > 0.8
    assert scan.dtype == np.int16


def test_the_border_goes_over_gradually():
    """A crop of water in a lung of air: along a line out of the nodule the density falls, by small steps."""
    crop = Nodule(np.zeros((31, 31, 31), np.float32), np.zeros((31, 31, 31), bool), (1.0, 1.0, 1.0))
    crop.mask[12:19, 12:19, 12:19] = True
    scan, mask = plant(np.full((40, 40, 40), -1000.0), (1.0, 1.0, 1.0), crop, (20, 20, 20), border=4.0)
    line = scan[20, 20, 20:]
    assert line[mask[20, 20, 20:]] == pytest.approx(0.0)
    assert (np.diff(line) <= 0).all()
    assert np.abs(np.diff(line)).max() < 500
    assert line[-1] == -1000
    sharp, _ = plant(np.full((40, 40, 40), -1000.0), (1.0, 1.0, 1.0), crop, (20, 20, 20), border=0.0)
    assert set(np.unique(sharp)) == {-1000.0, 0.0}


def test_a_place_between_two_voxels_shares_the_nodule_out():
    _, mask = plant(LUNG, SPACING, ball(4.0, (0.4, 0.4, 0.4)), (20.5, 30.0, 30.0))
    assert np.array_equal(mask[10:21], mask[21:32][::-1])


def test_a_speck_smaller_than_a_voxel_is_still_there():
    speck = ball(0.6, (0.3, 0.3, 0.3))
    _, mask = plant(np.full((20, 30, 30), -850, np.int16), (3.0, 1.0, 1.0), speck, (10, 15, 15))
    assert np.argwhere(mask).tolist() == [[10, 15, 15]]


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="does not fit"):
        plant(LUNG, SPACING, ball(6.0, SPACING), (2, 30, 30))
    with pytest.raises(InputError, match="outside the scan"):
        plant(LUNG, SPACING, ball(6.0, SPACING), (200, 30, 30))
    with pytest.raises(InputError, match="empty mask"):
        plant(LUNG, SPACING, Nodule(LUNG, np.zeros_like(LUNG), SPACING), (20, 30, 30))


def test_room_is_the_distance_to_what_is_not_allowed_and_to_the_edge():
    allowed = np.ones((21, 21, 21), bool)
    allowed[10, 10, 10] = False
    depth = room(allowed, (2.0, 1.0, 1.0))
    assert depth[10, 10, 14] == 4.0
    assert depth[12, 10, 10] == 4.0
    assert depth[10, 10, 20] == 1.0
    assert depth[10, 10, 10] == 0.0


def test_planted_nodules_lie_inside_and_never_touch():
    rng = np.random.default_rng(0)
    allowed = np.zeros((40, 60, 60), bool)
    allowed[5:35, 5:55, 5:55] = True
    depth, whole, planted = room(allowed, SPACING), np.zeros(allowed.shape, int), 0
    nodule = ball(4.0, SPACING)
    while (place := pick_place(rng, depth, nodule.reach)) is not None:
        _, mask = plant(LUNG, SPACING, nodule, place)
        whole += mask
        clear(depth, SPACING, place, nodule.reach)
        planted += 1
    assert planted > 5
    assert whole.max() == 1
    assert not whole[~allowed].any()
    _, count = ndimage.label(whole, np.ones((3, 3, 3)))
    assert count == planted


def test_a_nodule_on_the_pleura_is_told_from_a_free_one():
    free = ball(4.0, (1.0, 1.0, 1.0))
    half = Nodule(free.image.copy(), free.mask, free.spacing)
    half.image[:, :, : half.image.shape[2] // 2] = 40.0
    assert aerated_share(free) == 1.0
    assert 0.3 < aerated_share(half) < 0.7
