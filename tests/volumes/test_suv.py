"""SUVbw = activity [Bq/ml] × weight [g] / injected activity decayed to the start of the scan [Bq]."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose

from napari_dasl.errors import VolumeError
from napari_dasl.volumes import read, suv

pydicom = pytest.importorskip("pydicom")
HALF_LIFE = 6586.2
WEIGHT = 70.0
DOSE = 3.5e8


def pet(**changes):
    """Tags of an FDG scan one hour after injection; ``None`` leaves a tag out."""
    tracer = pydicom.Dataset()
    tracer.RadiopharmaceuticalStartTime = "103000.00"
    tracer.RadionuclideTotalDose, tracer.RadionuclideHalfLife = DOSE, HALF_LIFE
    tags = {
        "SeriesDate": "20200102",
        "SeriesTime": "113000",
        "AcquisitionDate": "20200102",
        "AcquisitionTime": "113000",
        "PatientWeight": WEIGHT,
        "Units": "BQML",
        "DecayCorrection": "START",
        "CorrectedImage": ["DECY", "ATTN"],
    }
    for name, value in changes.items():
        if name.startswith("Radio"):
            if value is None:
                delattr(tracer, name)
            else:
                with warnings.catch_warnings(action="ignore"):  # pydicom's, about a time that is none
                    setattr(tracer, name, value)
        else:
            tags[name] = value
    tags["RadiopharmaceuticalInformationSequence"] = [tracer]
    return {name: value for name, value in tags.items() if value is not None}


def factor(make_series, pixels, slopes=(1, 1, 1, 1, 1), **changes):
    """Read a series; return SUV per stored value, and the notes."""
    volume = read(make_series(pixels + 1, modality="PT", slopes=slopes, tags=pet(**changes)))
    assert volume.unit == "SUVbw"
    assert volume.modality == "PET"
    assert volume.array.dtype == np.float32
    stored = (pixels + 1) * np.array(slopes)[:, None, None]
    ratio = volume.geometry.to_native(volume.array).transpose() / stored
    assert_allclose(ratio, ratio.flat[0], rtol=1e-6)
    return float(ratio.flat[0]), volume.notes


def after(seconds):
    return WEIGHT * 1000 / (DOSE * 2 ** (-seconds / HALF_LIFE))


def test_a_dose_decays_by_half_in_a_half_life():
    assert suv.decayed(8.0, 0, 10) == 8
    assert suv.decayed(8.0, 10, 10) == 4
    assert suv.decayed(8.0, 30, 10) == 1


def test_the_formula(make_series, pixels):
    value, notes = factor(make_series, pixels)
    assert value == pytest.approx(after(3600))
    assert notes == ()


def test_every_slice_with_its_own_slope(make_series, pixels):
    assert factor(make_series, pixels, slopes=(1.7, 0.3, 2.2, 1.1, 0.9))[0] == pytest.approx(after(3600))


@pytest.mark.parametrize(
    ("changes", "seconds"),
    [
        ({"RadiopharmaceuticalStartTime": "113000"}, 0),
        ({"RadiopharmaceuticalStartTime": "112959.5"}, 0.5),
        ({"RadiopharmaceuticalStartTime": "233000", "SeriesTime": "003000", "AcquisitionTime": "003000"}, 3600),
        ({"RadiopharmaceuticalStartDateTime": "20200102094500.00"}, 6300),
        ({"RadiopharmaceuticalStartDateTime": "20200102094500.00+0100"}, 6300),
        ({"AcquisitionTime": "120000"}, 3600),  # later bed positions do not move the start
        ({"AcquisitionDate": None, "AcquisitionTime": None}, 3600),
    ],
)
def test_which_times_count(make_series, pixels, changes, seconds):
    value, notes = factor(make_series, pixels, **changes)
    assert value == pytest.approx(after(seconds))
    assert notes == ()


@pytest.mark.parametrize(
    ("changes", "seconds", "words"),
    [
        ({"SeriesTime": "150000"}, 3600, "first acquisition"),
        ({"RadiopharmaceuticalStartDateTime": "19000101103000"}, 3600, "injection date does not fit"),
        ({"CorrectedImage": ["DECY"]}, 3600, "not corrected for attenuation"),
        ({"RadionuclideTotalDose": 350.0}, 3600, "350 MBq"),
    ],
)
def test_what_is_forgiven_is_said(make_series, pixels, changes, seconds, words):
    value, notes = factor(make_series, pixels, **changes)
    assert value == pytest.approx(after(seconds))
    assert words in notes[0]


def test_a_dose_that_is_decayed_already(make_series, pixels):
    """DecayCorrection ADMIN: the values are decayed to the injection, so the dose is not."""
    assert factor(make_series, pixels, DecayCorrection="ADMIN")[0] == pytest.approx(after(0))


def test_values_that_are_suv_already(make_series, pixels):
    assert factor(make_series, pixels, Units="GML", PatientWeight=None)[0] == pytest.approx(1)


@pytest.mark.parametrize(("element", "expected"), [(0x1000, 0.25), (0x1009, 0.25 * after(3600))])
def test_philips_counts_with_a_private_factor(make_series, pixels, element, expected):
    def private(n, dataset):
        dataset.add_new((0x7053, 0x0010), "LO", "Philips PET Private Group")
        dataset.add_new((0x7053, element), "DS", "0.25")

    volume = read(make_series(pixels + 1, modality="PT", tags=pet(Units="CNTS"), per_slice=private))
    ratio = volume.geometry.to_native(volume.array).transpose() / (pixels + 1)
    assert_allclose(ratio, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"PatientWeight": None}, "the patient's weight is missing"),
        ({"PatientWeight": 0.0}, "the patient's weight is missing"),
        ({"RadionuclideTotalDose": None}, "the injected dose is missing"),
        ({"RadionuclideHalfLife": None, "PatientWeight": None}, "weight, the half-life is missing"),
        ({"RadiopharmaceuticalStartTime": None}, "the injection time is missing"),
        ({"RadiopharmaceuticalStartTime": "9x"}, "no time"),
        ({"SeriesTime": None, "AcquisitionTime": None}, "the time of the scan is missing"),
        ({"Units": "CNTS"}, "values in CNTS, not Bq/ml"),
        ({"Units": "PROPCPS"}, "values in PROPCPS"),
        ({"Units": None}, "unknown units"),
        ({"Units": "GML", "SUVType": "LBM"}, "GML of type LBM"),
        ({"DecayCorrection": "NONE"}, "decay correction is NONE"),
        ({"RadionuclideHalfLife": 60.0}, "half-lives"),
    ],
)
def test_what_is_missing_is_named(make_series, pixels, changes, words):
    with pytest.raises(VolumeError, match=words) as caught:
        read(make_series(pixels, modality="PT", tags=pet(**changes)))
    assert "SUV" in caught.value.hint
