"""Size, contrast, signal and agreement of a case, against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from napari_dasl.errors import InputError
from napari_dasl.scoring import label_scores, measure_label

SPACING = (2.0, 1.0, 0.5)


@pytest.fixture
def label():
    values = np.zeros((3, 6, 6), np.uint8)
    values[1, 2:4, 2:4] = 2
    return values


def test_the_size_of_a_volume_is_its_volume(label):
    assert label_scores("size", None, label, SPACING) == 4 * 2.0 * 1.0 * 0.5


def test_a_case_of_one_slice_is_measured_by_area_whatever_the_slice_distance(label):
    assert label_scores("size", None, label[1:2], SPACING) == 4 * 1.0 * 0.5
    assert label_scores("size", None, label[1:2], (9.0, 1.0, 0.5)) == 4 * 1.0 * 0.5


def test_signal_is_the_mean_of_the_first_channel_within(label):
    image = np.stack([np.arange(label.size, dtype=np.float32).reshape(label.shape), np.full(label.shape, 1e6)])
    inside = [36 + 12 + 2, 36 + 12 + 3, 36 + 18 + 2, 36 + 18 + 3]
    assert label_scores("intensity", image, label, SPACING) == np.mean(inside)


def test_contrast_is_the_fisher_ratio_with_the_body_around(label):
    image = np.zeros(label.shape)
    image[:] = np.where(np.arange(6) % 2, 10.0, 20.0)  # healthy: mean 15, variance 25, in every row
    image[label > 0] = np.resize([90.0, 110.0], 4)  # lesion: mean 100, variance 100
    body = np.ones(label.shape, bool)
    healthy = image[label == 0]
    expected = (healthy.mean() - 100) ** 2 / (healthy.var() + 100)
    assert label_scores("contrast", image, label, SPACING, body=body) == pytest.approx(expected, rel=1e-12)
    one = slice(1, 2)
    healthy = image[one][label[one] == 0]
    expected = (healthy.mean() - 100) ** 2 / (healthy.var() + 100)
    assert label_scores("contrast", image[None, one], label[one], SPACING, body=body[one]) == pytest.approx(expected)


def test_air_beside_the_patient_is_no_healthy_tissue():
    rng = np.random.default_rng(0)
    image = np.full((4, 20, 20), -1000.0)
    image[:, 4:16, 4:16] = 40 + rng.normal(0, 5, (4, 12, 12))
    label = np.zeros(image.shape, np.uint8)
    label[1:3, 4:7, 8:12] = 1  # at the skin
    image[label > 0] += 50
    found = label_scores("contrast", image, label, (1.0, 1.0, 1.0))
    tissue, lesion = image[(image > -500) & (label == 0)], image[label > 0]
    assert found == pytest.approx((tissue.mean() - lesion.mean()) ** 2 / (tissue.var() + lesion.var()), rel=0.02)
    with_air = label_scores("contrast", image, label, (1.0, 1.0, 1.0), body=np.ones(image.shape))
    assert abs(found - with_air) > 10


def test_readers_agree_by_dice(label):
    other = label.copy()
    other[1, 2, 2:4] = 0
    found = measure_label(("agreement", "size"), None, label, SPACING, readers=(label, other))
    assert found == {"agreement": 2 * 2 / (4 + 2), "size": 4.0}
    assert math.isnan(label_scores("agreement", None, label, SPACING, readers=(label,)))


def test_without_a_lesion_nothing_is_measured(label):
    found = measure_label(("size", "contrast", "intensity"), np.ones(label.shape), np.zeros_like(label), SPACING)
    assert all(math.isnan(value) for value in found.values())


@pytest.mark.parametrize(
    ("scorer", "words"),
    [("uncertainty", "not measured on a label"), ("sise", "Did you mean 'size'"), ("contrast", "there is none")],
)
def test_what_cannot_be_measured_is_said(label, scorer, words):
    with pytest.raises(InputError, match=words):
        label_scores(scorer, None, label, SPACING)


def test_scan_and_label_must_share_a_grid(label):
    with pytest.raises(InputError, match="on the grid of the scan"):
        label_scores("intensity", np.zeros((2, 4, 6, 6)), label, SPACING)


def test_an_organ_is_no_lesion_where_lesions_are_named():
    both = np.zeros((4, 6, 6), np.uint8)
    both[1:3, 1:5, 1:5] = 1
    both[1:3, 2:4, 2:4] = 2
    image = np.random.default_rng(0).normal(size=both.shape) + (both == 2) * 5
    told = measure_label(("size", "contrast"), image, both, SPACING, body=both > 0, lesions=(2,))
    alone = measure_label(("size", "contrast"), image, (both == 2).astype(np.uint8), SPACING, body=both > 0)
    assert told == alone
    assert told["size"] == 8 * 2.0 * 1.0 * 0.5
    readers = (both, np.where(both == 2, 1, both))  # they agree on the organ, and one saw no tumour
    assert measure_label(("agreement",), None, both, SPACING, readers, lesions=(2,))["agreement"] == 0
