"""The fingerprint: what is measured, and that it does not depend on the order of reading."""

from __future__ import annotations

import numpy as np
import pytest

from napari_dasl.errors import Cancelled, InputError
from napari_dasl.training.fingerprint import measure


def test_it_measures_shapes_extent_and_the_labelled_voxels(make_case):
    image = np.zeros((1, 10, 12, 14), np.float32)
    label = np.zeros((10, 12, 14), np.uint8)
    label[2:5, 3:7, 4:9] = 1
    label[5, 3, 4] = 2
    image[0][label == 1] = 50
    image[0][label == 2] = 70
    found = measure([make_case("a", image, label, spacing=(2.0, 1.0, 0.5))], channels=["ct"], classes=["x", "y", "z"])
    assert found.shapes == ((10, 12, 14),)
    assert found.spacings == ((2.0, 1.0, 0.5),)
    assert found.class_voxels == (60, 1, 0)
    assert found.lesion_extent == (4, 4, 5)
    assert found.intensities[0].median == 50
    assert found.intensities[0].scan_maximum == 70
    assert found.intensities[0].zero_fraction == pytest.approx(1 - 61 / 1680)


def test_samples_estimate_the_percentiles_of_all_labelled_voxels(make_case):
    rng = np.random.default_rng(0)
    images = [rng.normal(40, 12, (1, 30, 30, 30)).astype(np.float32) for _ in range(3)]
    label = np.ones((30, 30, 30), np.uint8)
    found = measure([make_case(str(i), im, label) for i, im in enumerate(images)], channels=["ct"], classes=["x"])
    everything = np.concatenate([image.ravel() for image in images])
    assert found.intensities[0].percentile_99_5 == pytest.approx(np.percentile(everything, 99.5), abs=1)
    assert found.intensities[0].std == pytest.approx(everything.std(), rel=0.02)


def test_the_order_of_the_cases_changes_nothing(balls):
    asked = {"channels": ["image"], "classes": ["lesion"]}
    assert measure(balls, **asked) == measure(balls[::-1], **asked)


def test_where_nothing_is_labelled_the_scan_speaks(make_case):
    image = np.full((1, 5, 5, 5), 9.0, np.float32)
    found = measure([make_case("a", image, None)], channels=["ct"], classes=["x"])
    assert found.intensities[0].median == 9
    assert found.class_voxels == (0,)


def test_no_case_and_other_channels_are_refused(balls):
    with pytest.raises(InputError, match="no labelled case"):
        measure([], channels=["image"], classes=["lesion"])
    with pytest.raises(InputError, match=r"case0.*2 channel"):
        measure(balls, channels=["pet", "ct"], classes=["lesion"])


def test_it_stops_between_two_cases(balls):
    with pytest.raises(Cancelled):
        measure(balls, channels=["image"], classes=["lesion"], cancelled=lambda: True)
