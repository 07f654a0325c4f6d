"""Patch, strides and spacing: the rules, on the data sets they were made for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_dasl.training import topology

sizes = st.tuples(*[st.integers(1, 300)] * 3)
spacings = st.tuples(*[st.floats(0.3, 6)] * 3)


@settings(max_examples=60, deadline=None)
@given(sizes, spacings, st.integers(1000, 400_000), st.booleans())
def test_a_patch_is_divided_by_its_strides_and_keeps_to_its_limit(typical, spacing, voxels, full):
    patch, strides = topology.plan_patch(typical, spacing, voxels, full_resolution=full)
    multiple = topology.divisor(strides)
    assert all(p % m == 0 for p, m in zip(patch, multiple, strict=True))
    assert np.prod(patch) <= voxels or all(p <= topology.SHORTEST_POOLED for p in patch)
    bottleneck = [p // m for p, m in zip(patch, multiple, strict=True)]
    assert all(b >= 3 for b, m in zip(bottleneck, multiple, strict=True) if m > 1)


def test_the_hippocampus_fits_whole():
    patch, strides = topology.plan_patch((36, 50, 35), (1, 1, 1), 100_000)
    assert patch == (40, 56, 40)
    assert strides == ((2, 2, 2),) * 3


def test_thick_slices_wait_until_the_other_axes_have_caught_up():
    assert topology.plan_strides((32, 128, 128), (3.0, 0.9, 0.9)) == ((1, 2, 2), (2, 2, 2), (2, 2, 2))


def test_a_crop_of_six_slices_is_never_halved_along_them():
    patch, strides = topology.plan_patch((6, 44, 44), (2.0, 0.7, 0.7), 100_000)
    assert patch == (6, 48, 48)
    assert all(stride[0] == 1 for stride in strides)


def test_a_patch_is_shortened_where_it_is_longest_in_millimetres():
    patch, _ = topology.plan_patch((40, 200, 200), (5.0, 1.0, 1.0), 40 * 64 * 64)
    assert patch[0] < 40
    assert 40 < patch[1] <= 200
    millimetres = [p * s for p, s in zip(patch, (5.0, 1.0, 1.0), strict=True)]
    assert max(millimetres) - min(millimetres) <= 40


def test_full_resolution_begins_without_a_stride():
    assert topology.plan_strides((64, 64, 64), (1, 1, 1), 4, full_resolution=True)[0] == (1, 1, 1)


def test_the_grid_is_the_median_spacing():
    spacing = topology.target_spacing([(1, 1, 1), (2, 1.5, 1), (3, 1.2, 1)], [(50, 50, 50)] * 3)
    assert spacing == (2, 1.2, 1)


def test_anisotropic_data_keep_their_thin_slices():
    measured = [(z, 0.8, 0.8) for z in (2, 5, 5, 5, 5, 5, 5, 5, 5, 5)]
    spacing = topology.target_spacing(measured, [(30, 300, 300)] * 10)
    assert spacing[0] == pytest.approx(np.percentile([m[0] for m in measured], 10))
    assert spacing[1:] == (0.8, 0.8)


def test_a_scan_keeps_its_extent_in_millimetres():
    assert topology.network_shape((10, 20, 30), (2, 1, 1), (1, 1, 1.5)) == (20, 20, 20)
    assert topology.network_shape((1, 1, 1), (1, 1, 1), (9, 9, 9)) == (1, 1, 1)
