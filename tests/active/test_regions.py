"""Regions: where uncertainty counts, compared with distance transforms and phantoms with a known body."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from napari_dasl.active import least_confident, region_mask, regional_uncertainty
from napari_dasl.active.regions import grow
from napari_dasl.errors import InputError

ISOTROPIC = (1.0, 1.0, 1.0)


@given(
    hnp.arrays(np.bool_, hnp.array_shapes(min_dims=3, max_dims=3, max_side=9), elements=st.booleans()),
    st.floats(0, 6),
    st.tuples(*[st.sampled_from([0.7, 1.0, 2.5, 5.0])] * 3),
)
@settings(max_examples=200)
def test_growing_is_exact_in_millimetres(mask, reach, spacing):
    grown = grow(mask, reach, spacing)
    if mask.any():
        distance = ndimage.distance_transform_edt(~mask, sampling=spacing)
        close = np.abs(distance - reach) < 1e-6  # rounding decides about those
        np.testing.assert_array_equal(grown[~close], (distance <= reach)[~close])
    else:
        assert not grown.any()


def test_the_whole_volume_is_the_formula_of_the_paper():
    p = np.random.default_rng(0).random((4, 5, 6))
    assert region_mask(p, None, "volume", ISOTROPIC).all()
    assert regional_uncertainty(p, None, "volume", ISOTROPIC) == pytest.approx(least_confident(p), abs=1e-7)


def ct_body() -> tuple[np.ndarray, np.ndarray]:
    """A trunk with two lungs, a table beside it, and air around."""
    z, y, x = np.ogrid[:6, :40, :40]
    trunk = ((y - 18) / 14) ** 2 + ((x - 20) / 17) ** 2 + 0 * z <= 1
    lungs = ((y - 18) / 7) ** 2 + ((np.abs(x - 20) - 8) / 5) ** 2 + 0 * z <= 1
    scan = np.where(trunk, 40.0, -1000.0)
    scan[lungs] = -850
    scan[:, 38, 5:35] = 100
    return scan.astype(np.float32), trunk


def test_the_body_in_ct_holds_the_lungs_and_neither_air_nor_table():
    scan, trunk = ct_body()
    p = np.zeros(scan.shape)
    np.testing.assert_array_equal(region_mask(p, scan, "body", ISOTROPIC), trunk)
    np.testing.assert_array_equal(region_mask(p, scan[np.newaxis], "body", ISOTROPIC), trunk)


def test_lungs_that_a_crop_opens_at_its_border_are_body_and_the_air_of_the_room_is_not():
    scan, trunk = ct_body()
    inside = scan[:, 12:25, 8:19]  # within the trunk: lung, opened on one side, and tissue
    assert set(np.unique(inside)) == {-850, 40}
    assert region_mask(np.zeros(inside.shape), inside, "body", ISOTROPIC).all()
    skin = (slice(None), slice(14, 22), slice(0, 10))  # room air, chest wall, and lung up to the crop's border
    assert {-1000, -850, 40} <= set(np.unique(scan[skin]))
    found = region_mask(np.zeros(scan[skin].shape), scan[skin], "body", ISOTROPIC)
    np.testing.assert_array_equal(found, trunk[skin])


def test_the_body_in_pet_and_mr_is_what_stands_out_of_the_noise():
    rng = np.random.default_rng(0)
    scan = rng.random((6, 20, 20)).astype(np.float32)
    scan[:, 5:15, 5:15] += 100
    body = region_mask(np.zeros(scan.shape), scan, "body", ISOTROPIC)
    assert body.sum() == 6 * 100
    assert body[:, 5:15, 5:15].all()


def test_a_scan_of_one_value_is_all_body():
    assert region_mask(np.zeros((2, 3, 4)), np.zeros((2, 3, 4)), "body", ISOTROPIC).all()


def test_a_larger_field_of_view_dilutes_the_volume_but_neither_body_nor_lesion():
    def scan_and_probability(pad: int) -> tuple[np.ndarray, np.ndarray]:
        scan = np.full((12, 30, 30), 40.0)
        p = np.zeros(scan.shape)
        p[4:8, 10:20, 10:20] = 0.6
        width = [(0, 0), (pad, pad), (pad, pad)]
        return np.pad(scan, width, constant_values=-1000.0), np.pad(p, width)

    def scores(kind: str) -> tuple[float, float]:
        near, far = (scan_and_probability(pad) for pad in (2, 30))
        return (
            regional_uncertainty(near[1], near[0], kind, ISOTROPIC),
            regional_uncertainty(far[1], far[0], kind, ISOTROPIC),
        )

    near, far = scores("volume")
    assert near > 6 * far
    for kind in ("body", "lesion"):
        near, far = scores(kind)
        assert near == pytest.approx(far)


def test_a_lesion_is_what_may_be_foreground_and_a_margin_of_two_voxels():
    p = np.zeros((9, 9, 9))
    p[4, 4, 4] = 0.2
    mask = region_mask(p, None, "lesion", ISOTROPIC)
    z, y, x = np.ogrid[:9, :9, :9]
    np.testing.assert_array_equal(mask, (z - 4) ** 2 + (y - 4) ** 2 + (x - 4) ** 2 <= 4)
    assert region_mask(p, None, "lesion", ISOTROPIC, margin_mm=0).sum() == 1
    assert region_mask(p, None, "lesion", ISOTROPIC, threshold=0.05, margin_mm=1).sum() == 7


def test_thick_slices_do_not_grow_into_their_neighbours():
    p = np.zeros((5, 9, 9))
    p[2, 4, 4] = 0.9
    mask = region_mask(p, None, "lesion", (5.0, 1.0, 1.0))
    assert mask[2].sum() == 13
    assert mask.sum() == 13


def test_all_classes_count_as_lesion():
    p = np.zeros((3, 4, 4, 4))
    p[1, 0, 0, 0] = 0.06
    p[2, 0, 0, 0] = 0.06
    p[0] = 1 - p[1] - p[2]
    assert region_mask(p, None, "lesion", ISOTROPIC, margin_mm=0).sum() == 1


def test_without_a_lesion_the_most_uncertain_hundredth_counts():
    p = np.linspace(0, 0.09, 1000).reshape(10, 10, 10)
    mask = region_mask(p, None, "lesion", ISOTROPIC)
    assert mask.sum() == 10
    assert mask.ravel()[-10:].all()
    assert region_mask(np.zeros((10, 10, 10)), None, "lesion", ISOTROPIC).sum() == 10
    assert region_mask(np.zeros((2, 2, 2)), None, "lesion", ISOTROPIC).sum() == 1


def test_the_mean_is_taken_over_the_region_with_the_map_that_was_asked_for():
    rng = np.random.default_rng(3)
    p = rng.random((6, 6, 6)) * 0.3
    mask = region_mask(p, None, "lesion", ISOTROPIC)
    assert regional_uncertainty(p, None, "lesion", ISOTROPIC) == pytest.approx(p[mask].mean(), abs=1e-6)
    entropy = -(p * np.log(p) + (1 - p) * np.log(1 - p))
    found = regional_uncertainty(p, None, "lesion", ISOTROPIC, voxel_map="entropy")
    assert found == pytest.approx(entropy[mask].mean(), abs=1e-5)


def test_what_does_not_fit_is_refused_in_words():
    p = np.zeros((2, 3, 4))
    with pytest.raises(InputError, match="needs the scan"):
        region_mask(p, None, "body", ISOTROPIC)
    with pytest.raises(InputError, match=r"shape \(2, 2, 2\)"):
        region_mask(p, np.zeros((2, 2, 2)), "body", ISOTROPIC)
    with pytest.raises(InputError, match="no region named 'liver'"):
        region_mask(p, None, "liver", ISOTROPIC)
    with pytest.raises(InputError, match="no voxel map"):
        regional_uncertainty(p, None, "volume", ISOTROPIC, voxel_map="magic")
    with pytest.raises(InputError, match="whole scan"):
        region_mask(np.zeros(5), None, "volume", ISOTROPIC)


@pytest.mark.data
def test_the_body_of_a_real_chest_holds_both_lungs_and_little_air(data_dir):
    folder = data_dir / "lung_ct" / "LUNG1-001"

    def read(name: str) -> np.ndarray:
        return np.asarray(nibabel.load(folder / name).dataobj).T

    # Every fourth slice is plenty: the holes are filled slice by slice.
    scan = read("ct.nii.gz")[::4].astype(np.float32)
    body = region_mask(np.zeros(scan.shape), scan, "body", (12.0, 0.98, 0.98))
    for side in ("Left", "Right"):
        lung = read(f"mask_Lung-{side}.nii.gz")[::4] > 0
        assert body[lung].mean() > 0.99
    assert 0.15 < body.mean() < 0.5
