"""Intensity rules: what each promises for the numbers of its own modality."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from napari_dasl.training.fingerprint import Intensity
from napari_dasl.training.normalise import Normalisation, derive_normalisation, normalise_channel, rule_for


def intensity(channel="image", **values):
    default = {
        "percentile_00_5": -900, "median": 40, "percentile_99_5": 180, "mean": 20, "std": 90,
        "scan_minimum": -1024, "scan_median": -700, "scan_percentile_99_5": 300,
        "scan_maximum": 2000, "zero_fraction": 0,
    }  # fmt: skip
    return Intensity(channel=channel, **(default | values))


@pytest.mark.parametrize(
    ("channel", "modality", "rule"),
    [
        ("image", "CT", "ct"),
        ("image", "PET", "pet"),
        ("image", "MR", "mr"),
        ("ct", "PET", "ct"),
        ("PET", "CT", "pet"),
        ("T1", "PET", "mr"),
        ("flair", "MR", "mr"),
        ("pet_suv", "PET", "pet"),
        ("suction", "CT", "ct"),
    ],
)
def test_a_channels_name_goes_before_the_projects_modality(channel, modality, rule):
    assert rule_for(channel, modality) == rule


def test_ct_is_clipped_to_the_lesions_percentiles_and_scaled_by_their_mean_and_spread():
    rule = derive_normalisation(intensity(), "CT")
    found = normalise_channel(np.array([-5000, -900, 20, 110, 180, 5000], np.float32), rule)
    np.testing.assert_allclose(found, [-920 / 90, -920 / 90, 0, 1, 160 / 90, 160 / 90], rtol=1e-5)


def test_ct_of_one_value_falls_back_to_the_scans_range():
    rule = derive_normalisation(intensity(percentile_00_5=5, percentile_99_5=5, std=0), "CT")
    assert (rule.lower, rule.upper, rule.scale) == (-1024, 2000, 1)


def test_pet_maps_the_threshold_of_suspicion_to_zero_and_needs_no_data():
    rule = derive_normalisation(intensity(percentile_99_5=12), "PET")
    found = normalise_channel(np.array([-1, 0, 2.5, 10, 30, 500], np.float32), rule)
    np.testing.assert_allclose(found[2], 0, atol=1e-4)
    np.testing.assert_allclose(found[3], np.log(11 / 3.5) / 0.6, rtol=1e-4)
    assert found[0] == found[1] < found[2] < found[3] < found[4] == found[5]


def test_pet_in_becquerel_is_scaled_scan_by_scan():
    assert derive_normalisation(intensity(percentile_99_5=25_000), "PET").rule == "mr"


def test_mr_does_not_depend_on_the_scanners_scale():
    rule = derive_normalisation(intensity(), "MR")
    scan = np.random.default_rng(0).gamma(3, 100, (8, 9, 10)).astype(np.float32)
    np.testing.assert_allclose(normalise_channel(scan, rule), normalise_channel(scan * 7 + 50, rule), atol=1e-4)


def test_mr_has_median_zero_and_a_normal_spread_of_one():
    rule = derive_normalisation(intensity(), "MR")
    scan = np.random.default_rng(0).normal(500, 80, (20, 20, 20)).astype(np.float32)
    found = normalise_channel(scan, rule)
    assert abs(np.median(found)) < 1e-5
    assert found.std() == pytest.approx(1, abs=0.05)


def test_mr_ignores_a_background_of_zeros():
    rule = derive_normalisation(intensity(), "MR")
    scan = np.random.default_rng(0).normal(500, 80, (20, 20, 20)).astype(np.float32)
    alone = normalise_channel(scan, rule)
    padded = np.zeros((20, 20, 40), np.float32)
    padded[:, :, :20] = scan
    np.testing.assert_allclose(normalise_channel(padded, rule)[:, :, :20], alone, atol=1e-5)


def test_a_constant_scan_and_missing_values_stay_finite():
    rule = derive_normalisation(intensity(), "MR")
    assert np.all(normalise_channel(np.full((3, 3, 3), 7.0, np.float32), rule) == 0)
    broken = np.full((3, 3, 3), np.nan, np.float32)
    broken[0] = 4
    for modality in ("CT", "PET", "MR"):
        assert np.isfinite(
            normalise_channel(broken, derive_normalisation(intensity(percentile_99_5=5), modality))
        ).all()


def test_a_rule_that_makes_no_sense_is_refused():
    with pytest.raises(ValidationError, match="must be below upper"):
        Normalisation(channel="image", rule="ct", lower=5, upper=5)
    with pytest.raises(ValidationError, match="percentiles"):
        Normalisation(channel="image", rule="mr", lower=-5, upper=99)
