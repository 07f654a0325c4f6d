"""Surface distances against all pairs of points, against SimpleITK's distance maps, and against geometry."""

from __future__ import annotations

import math

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial.distance import cdist

from napari_dasl.errors import GridMismatch, InputError
from napari_dasl.metrics import surface

SPACINGS = [(1.0, 1.0, 1.0), (2.5, 0.7, 0.7), (0.8, 1.9, 1.3)]


def blobs(seed, shape=(14, 18, 16), cut=0.55):
    """Two random smooth shapes that overlap in part; some touch the border of the array."""
    rng = np.random.default_rng(seed)
    shared, a, b = (ndimage.gaussian_filter(rng.standard_normal(shape), 2.0) for _ in range(3))
    return tuple((field > np.quantile(field, cut)) for field in (shared + 0.6 * a, shared + 0.6 * b))


def surface_points(mask, spacing):
    """Surface voxels by looking at each neighbour of each voxel, in mm."""
    found = []
    for z, y, x in np.argwhere(mask):
        neighbours = [(z + 1, y, x), (z - 1, y, x), (z, y + 1, x), (z, y - 1, x), (z, y, x + 1), (z, y, x - 1)]
        outside = [
            any(i < 0 or i >= n for i, n in zip(at, mask.shape, strict=True)) or not mask[at] for at in neighbours
        ]
        if any(outside):
            found.append((z, y, x))
    return np.array(found) * np.array(spacing)


def brute_force(truth, prediction, spacing):
    table = cdist(surface_points(truth, spacing), surface_points(prediction, spacing))
    return table.min(axis=1), table.min(axis=0)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("seed", range(4))
def test_every_figure_is_what_all_pairs_of_surface_voxels_give(seed, spacing):
    truth, prediction = blobs(seed)
    there, back = brute_force(truth, prediction, spacing)
    pooled = np.concatenate([there, back])
    args = (truth, prediction, spacing)
    assert surface.assd(*args) == pytest.approx(pooled.mean())
    assert surface.rmsd(*args) == pytest.approx(np.sqrt((pooled**2).mean()))
    assert surface.msd(*args) == pytest.approx(pooled.max())
    assert surface.hausdorff(*args) == surface.msd(*args)
    assert surface.hd95(*args) == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)))


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("seed", range(4))
def test_an_independent_program_measures_the_same(seed, spacing):
    truth, prediction = (np.pad(mask, 1) for mask in blobs(10 + seed))

    def image(mask):
        made = sitk.GetImageFromArray(mask.astype(np.uint8))
        made.SetSpacing(spacing[::-1])
        return sitk.LabelContour(made, fullyConnected=False)

    def directed(a, b):
        away = sitk.Abs(sitk.SignedMaurerDistanceMap(b, squaredDistance=False, useImageSpacing=True))
        return sitk.GetArrayFromImage(away)[sitk.GetArrayFromImage(a) > 0]

    there, back = directed(image(truth), image(prediction)), directed(image(prediction), image(truth))
    pooled = np.concatenate([there, back])
    assert surface.assd(truth, prediction, spacing) == pytest.approx(pooled.mean(), rel=1e-5)
    assert surface.rmsd(truth, prediction, spacing) == pytest.approx(np.sqrt((pooled**2).mean()), rel=1e-5)
    assert surface.hd95(truth, prediction, spacing) == pytest.approx(
        max(np.percentile(there, 95), np.percentile(back, 95)), rel=1e-5
    )
    haus = sitk.HausdorffDistanceImageFilter()
    haus.Execute(image(truth), image(prediction))
    assert surface.msd(truth, prediction, spacing) == pytest.approx(haus.GetHausdorffDistance(), rel=1e-5)


def test_two_balls_lie_as_far_apart_as_geometry_says():
    z, y, x = np.ogrid[:20, :40, :40]
    spacing = (2.0, 1.0, 1.0)

    def ball(radius):
        return ((z - 10) * 2.0) ** 2 + (y - 20.0) ** 2 + (x - 20.0) ** 2 <= radius**2

    assert surface.assd(ball(12), ball(8), spacing) == pytest.approx(4.0, abs=0.4)
    assert surface.msd(ball(12), ball(8), spacing) == pytest.approx(4.0, abs=1.0)
    assert surface.assd(ball(12), np.roll(ball(12), 6, axis=2), spacing) == pytest.approx(3.0, abs=1.0)
    assert surface.msd(ball(12), np.roll(ball(12), 6, axis=2), spacing) == pytest.approx(6.0)


def test_distances_are_symmetric_zero_on_themselves_and_scale_with_the_spacing():
    a, b = blobs(5)
    spacing = (2.5, 0.7, 0.9)
    twice = tuple(2 * step for step in spacing)
    for figure in (surface.assd, surface.rmsd, surface.msd, surface.hd95):
        assert figure(a, b, spacing) == pytest.approx(figure(b, a, spacing))
        assert figure(a, a, spacing) == 0
        assert figure(a, b, twice) == pytest.approx(2 * figure(a, b, spacing))


def test_where_the_masks_lie_in_the_array_changes_nothing():
    a, b = blobs(6)
    wide = [np.pad(mask, ((3, 9), (0, 20), (7, 1))) for mask in (a, b)]
    assert surface.hd95(*wide, (2.0, 1.0, 1.0)) == pytest.approx(surface.hd95(a, b, (2.0, 1.0, 1.0)))


def test_surface_voxels_have_a_face_neighbour_outside():
    for seed in range(3):
        mask, _ = blobs(seed, shape=(6, 7, 8))
        np.testing.assert_array_equal(np.argwhere(surface.surface(mask)), surface_points(mask, (1, 1, 1)))


def test_a_label_picks_its_class():
    a, b = blobs(7)
    maps = [np.where(mask, 2, 1).astype(np.uint8) for mask in (a, b)]
    assert surface.assd(*maps, (1, 1, 1), 2) == surface.assd(a, b, (1, 1, 1))


def test_an_empty_mask_has_no_distance():
    a, _ = blobs(8)
    for figure in (surface.assd, surface.rmsd, surface.msd, surface.hd95):
        assert math.isnan(figure(a, np.zeros_like(a), (1, 1, 1)))
        assert math.isnan(figure(np.zeros_like(a), np.zeros_like(a), (1, 1, 1)))


def test_a_grid_that_does_not_fit_is_refused():
    a, b = blobs(9)
    with pytest.raises(GridMismatch):
        surface.assd(a, b[1:], (1, 1, 1))
    for spacing in ((1, 1), (1, 1, 0), (1, 1, float("nan"))):
        with pytest.raises(InputError, match="spacing"):
            surface.assd(a, b, spacing)
