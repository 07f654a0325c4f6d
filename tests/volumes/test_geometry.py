"""Stored axes and the program's (z, y, x): exact both ways, for every axis order and for oblique grids."""

from __future__ import annotations

import json
from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from napari_dasl.errors import GridMismatch, VolumeError
from napari_dasl.volumes import Geometry

ALL_48 = list(product(permutations(range(3)), product((1, -1), repeat=3)))
SPACING = (0.7, 1.3, 2.5)


def ordered_affine(order, signs, spacing=SPACING):
    """Stored axis n runs along RAS axis order[n], in the direction signs[n]."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for n in range(3):
        affine[order[n], n] = signs[n] * spacing[n]
    affine[:3, 3] = (-11.5, 22.25, -33.125)
    return affine


def rotation(x, y, z):
    """Rotation matrix from three angles in degrees."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(np.radians([x, y, z])), np.sin(np.radians([x, y, z]))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def turned(order=(0, 1, 2), signs=(1, 1, 1), angles=(0, 0, 0), spacing=SPACING):
    affine = ordered_affine(order, signs, spacing)
    affine[:3, :3] = rotation(*angles) @ affine[:3, :3]
    return affine


@pytest.fixture(scope="module")
def stored():
    return np.random.default_rng(0).integers(0, 1000, (3, 4, 5)).astype(np.int16)


@pytest.mark.parametrize(("order", "signs"), ALL_48)
def test_there_and_back_is_exact_for_all_48_axis_orders(order, signs, stored):
    geometry = Geometry(stored.shape, ordered_affine(order, signs))
    canonical = geometry.to_canonical(stored)
    assert canonical.shape == geometry.canonical_shape
    assert np.shares_memory(canonical, stored)
    assert_array_equal(geometry.to_native(canonical), stored)


@pytest.mark.parametrize(("order", "signs"), ALL_48)
def test_canonical_is_what_nibabel_calls_lpi(order, signs, stored):
    affine = ordered_affine(order, signs)
    geometry = Geometry(stored.shape, affine)
    target = nib.orientations.axcodes2ornt("LPI")
    change = nib.orientations.ornt_transform(nib.orientations.io_orientation(affine), target)
    expected = nib.Nifti1Image(stored, affine).as_reoriented(change)
    assert_array_equal(geometry.to_canonical(stored), np.asarray(expected.dataobj).transpose(2, 1, 0))
    assert_allclose(geometry.canonical_affine[:, [2, 1, 0, 3]], expected.affine, atol=1e-12)


@pytest.mark.parametrize(("order", "signs"), ALL_48)
def test_canonical_is_what_simpleitk_calls_lpi(order, signs, stored):
    sitk = pytest.importorskip("SimpleITK")
    affine = ordered_affine(order, signs)
    lps = np.diag([-1, -1, 1, 1]) @ affine
    image = sitk.GetImageFromArray(stored.transpose())
    image.SetSpacing(SPACING)
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((lps[:3, :3] / SPACING).ravel().tolist())
    expected = sitk.GetArrayFromImage(sitk.DICOMOrient(image, "LPI"))
    assert_array_equal(Geometry(stored.shape, affine).to_canonical(stored), expected)


@pytest.mark.parametrize(("order", "signs"), ALL_48)
def test_one_patient_stored_in_any_order_is_one_canonical_array(order, signs):
    """The same voxels at the same places, stored 48 ways, are seen as the same array, spacing and origin."""
    canonical = np.arange(60).reshape(3, 4, 5)
    reference = Geometry((5, 4, 3), turned(signs=(-1, -1, -1)))  # stored as (x, y, z): left, posterior, inferior
    size = {0: 5, 1: 4, 2: 3}
    spacing = [SPACING[axis] for axis in order]
    affine = ordered_affine(order, signs, spacing)
    for n in range(3):  # move the origin so that both grids cover the same box
        axis = order[n]
        start = -33.0 * (axis + 1)
        affine[axis, 3] = start if signs[n] == -1 else start - (size[axis] - 1) * SPACING[axis]
    moved = reference.affine.copy()
    moved[:3, 3] = [-33.0, -66.0, -99.0]
    reference = Geometry((5, 4, 3), moved)
    other = Geometry(tuple(size[axis] for axis in order), affine)
    assert reference.matches(other)
    assert_array_equal(other.to_canonical(other.to_native(canonical)), canonical)
    assert_allclose(other.spacing, reference.spacing)
    assert_allclose(other.origin, reference.origin)
    assert_allclose(other.origin, (99, 66, 33))


def test_axes_grow_to_inferior_posterior_and_left():
    geometry = Geometry((10, 20, 30), turned(spacing=(1, 2, 3)))  # stored RAS
    assert geometry.canonical_shape == (30, 20, 10)
    assert_allclose(geometry.spacing, (3, 2, 1))
    right, anterior, superior = (geometry.canonical_affine @ [0, 0, 0, 1])[:3]
    assert_allclose((right, anterior, superior), (-11.5 + 9, 22.25 + 38, -33.125 + 87))  # the R, A, S corner
    assert_allclose(geometry.origin, (-superior, -anterior, -right))


angle = st.floats(-180, 180)
spacings = st.tuples(*[st.floats(0.2, 8)] * 3)


@settings(max_examples=60, deadline=None)
@given(angles=st.tuples(angle, angle, angle), spacing=spacings, which=st.integers(0, 47), shear=st.floats(-0.3, 0.3))
def test_oblique_and_sheared_grids_go_there_and_back_exactly(angles, spacing, which, shear):
    stored = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    affine = turned(*ALL_48[which], angles, spacing)
    affine[:3, 2] += shear * affine[:3, 1]
    geometry = Geometry(stored.shape, affine)
    canonical = geometry.to_canonical(stored)
    assert_array_equal(geometry.to_native(canonical), stored)
    # every canonical voxel lies where its stored voxel lies
    for index in np.ndindex(2, 3, 4):
        z, y, x = np.argwhere(canonical == stored[index])[0]
        assert_allclose(geometry.canonical_affine @ [z, y, x, 1], affine @ [*index, 1], atol=1e-9)
    assert geometry.matches(geometry)
    assert geometry.difference(geometry) == ""


@settings(max_examples=50, deadline=None)
@given(angles=st.tuples(*[st.floats(-44, 44)] * 3), which=st.integers(0, 47))
def test_obliquity_is_the_angle_to_the_nearest_patient_axes(angles, which):
    small = tuple(a / 4 for a in angles)
    geometry = Geometry((2, 3, 4), turned(*ALL_48[which], small))
    cosines = np.abs(np.diag(rotation(*small)))
    assert geometry.obliquity == pytest.approx(np.degrees(np.arccos(np.clip(cosines, 0, 1))).max(), abs=1e-4)


@pytest.mark.parametrize(("degrees", "oblique"), [(0, False), (0.001, False), (0.05, False), (0.2, True), (30, True)])
def test_header_rounding_is_not_oblique(degrees, oblique):
    geometry = Geometry((2, 3, 4), turned(angles=(degrees, 0, 0)))
    assert geometry.obliquity == pytest.approx(degrees, abs=1e-9)
    assert geometry.is_oblique is oblique


def test_at_45_degrees_rounding_does_not_choose_the_axes():
    exact = turned(angles=(45, 0, 0), spacing=(1, 1, 1))
    for seed in range(20):
        noisy = exact + np.random.default_rng(seed).normal(scale=1e-7, size=(4, 4)) * [[1], [1], [1], [0]]
        assert Geometry((5, 6, 7), exact).matches(Geometry((5, 6, 7), noisy))


class TestMatching:
    base = Geometry((40, 50, 60), turned(angles=(5, 3, 2)))

    def changed(self, shape=(40, 50, 60), shift=(0, 0, 0), zoom=1.0, turn=0.0):
        affine = self.base.affine.copy()
        affine[:3, :3] = rotation(0, 0, turn) @ affine[:3, :3] * zoom
        affine[:3, 3] += shift
        return Geometry(shape, affine)

    def test_a_float32_header_matches(self):
        assert self.base.matches(Geometry(self.base.shape, self.base.affine.astype(np.float32)))

    @pytest.mark.parametrize(
        ("change", "word"),
        [
            ({"shape": (40, 50, 61)}, "shape 61 × 50 × 40 instead of 60 × 50 × 40"),
            ({"shift": (0, 0, 5)}, "origin"),
            ({"shift": (0, 0, 0.1)}, "origin"),
            ({"zoom": 1.01}, "spacing"),
            ({"turn": 1.0}, "direction turned by"),
        ],
    )
    def test_the_difference_is_named(self, change, word):
        other = self.changed(**change)
        assert not self.base.matches(other)
        assert word in self.base.difference(other)

    def test_a_mirrored_grid_of_the_same_shape_does_not_match(self):
        affine = self.base.affine.copy()
        affine[:3, 0] *= -1
        assert not self.base.matches(Geometry(self.base.shape, affine))

    def test_the_tolerance_can_be_given(self):
        other = self.changed(shift=(0, 0, 0.3))
        assert self.base.matches(other, tolerance_mm=0.31)
        assert not self.base.matches(other, tolerance_mm=0.29)

    @settings(max_examples=60, deadline=None)
    @given(st.tuples(*[st.floats(-3, 3)] * 3), st.floats(0.98, 1.02), st.floats(-2, 2))
    def test_words_are_given_exactly_where_the_grids_do_not_match(self, shift, zoom, turn):
        other = self.changed(shift=shift, zoom=zoom, turn=turn)
        assert self.base.matches(other) == (self.base.difference(other) == "")


@pytest.mark.parametrize(
    "damage",
    [
        lambda a: a * np.nan,
        lambda a: np.where(np.eye(4) == 1, 0, a),
        lambda a: a * [[1, 1, 0, 1]] * 1.0,
        lambda a: a @ [[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]],
    ],
)
def test_an_affine_without_volume_is_refused(damage):
    with pytest.raises(VolumeError):
        Geometry((2, 3, 4), damage(np.diag([2.0, 2.0, 2.0, 1.0])))


@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 3), (2, 3, -1)])
def test_a_shape_without_volume_is_refused(shape):
    with pytest.raises(VolumeError):
        Geometry(shape, np.eye(4))


def test_an_array_of_another_shape_is_refused():
    geometry = Geometry((2, 3, 4), np.eye(4))
    with pytest.raises(GridMismatch, match="4 × 3 × 2"):
        geometry.to_native(np.zeros((2, 3, 4)))
    with pytest.raises(GridMismatch):
        geometry.to_canonical(np.zeros((4, 3, 2)))


def test_a_grid_survives_json_exactly():
    geometry = Geometry((2, 3, 4), turned(angles=(11.1, 22.2, 33.3)))
    again = Geometry.from_dict(json.loads(json.dumps(geometry.as_dict())))
    assert again.shape == geometry.shape
    assert_array_equal(again.affine, geometry.affine)
    assert again.form is None
