"""Phantoms: the same everywhere, graded from easy to hard, plausible as scans, and not to be solved by a threshold."""

from __future__ import annotations

import csv
import functools
import shlex
from pathlib import Path

import nibabel
import numpy as np
import pytest
from scipy import ndimage, stats

from napari_dasl import phantoms, sample
from napari_dasl.errors import InputError, StorageError
from napari_dasl.phantoms.__main__ import main

made = functools.cache(phantoms.make)
SAMPLE_DATA = Path(__file__).resolve().parents[1] / "sample_data"


def threshold_dice(phantom):
    """Dice of the best of all global thresholds."""
    order = np.argsort(-phantom.image.ravel().astype(float), kind="stable")
    hits = np.cumsum(phantom.label.ravel()[order] > 0)
    drawn = np.arange(1, len(hits) + 1)
    return float(np.max(2 * hits / (drawn + hits[-1])))


def fisher(phantom):
    """Contrast of the lesions against the 8 mm round them (SCIENCE.md section 4)."""
    lesion = phantom.label > 0
    shell = (ndimage.distance_transform_edt(~lesion, sampling=phantom.spacing) < 8) & ~lesion
    a, b = phantom.image[lesion].astype(float), phantom.image[shell].astype(float)
    return (a.mean() - b.mean()) ** 2 / (a.var() + b.var())


def volume(phantom):
    return np.count_nonzero(phantom.label) * np.prod(phantom.spacing)


@pytest.mark.parametrize("kind", phantoms.KINDS)
def test_a_case_is_what_the_rest_of_the_program_expects(kind):
    case = phantoms.make(kind, 1, 0.4)
    expected = {
        "ct": ("CT", "nodule", np.int16),
        "pet": ("PET", "tumour", np.float32),
        "mr": ("MR", "lesion", np.int16),
    }
    assert (case.modality, case.classes[0], case.image.dtype) == expected[kind]
    assert case.image.shape == case.label.shape
    assert case.label.dtype == np.uint8
    assert set(np.unique(case.label)) == {0, 1}
    assert case.image.flags.c_contiguous
    assert case.difficulty == 0.4
    assert case.notes


@pytest.mark.parametrize("kind", phantoms.KINDS)
def test_a_seed_gives_the_same_voxels_and_another_seed_others(kind):
    one, again = (phantoms.make(kind, 4, size="small") for _ in range(2))
    np.testing.assert_array_equal(one.image, again.image)
    np.testing.assert_array_equal(one.label, again.label)
    assert (one.difficulty, one.notes) == (again.difficulty, again.notes)
    other = phantoms.make(kind, 5, size="small")
    assert not np.array_equal(one.label, other.label)
    assert not np.array_equal(one.image, other.image)


@pytest.mark.parametrize("kind", phantoms.KINDS)
def test_the_small_grid_shows_the_same_field_of_view(kind):
    small, standard = phantoms.make(kind, 2, size="small"), phantoms.make(kind, 2)
    assert small.label.size < standard.label.size / 3
    views = [np.array(case.label.shape) * case.spacing for case in (small, standard)]
    np.testing.assert_allclose(*views, rtol=1e-4)


@pytest.mark.parametrize("kind", phantoms.KINDS)
def test_every_case_has_a_lesion_however_hard(kind):
    for seed in range(8):
        assert made(kind, (60, seed), 1.0, size="small").label.any()


@pytest.mark.parametrize("kind", phantoms.KINDS)
def test_harder_cases_have_smaller_and_fainter_lesions(kind):
    grades = np.linspace(0, 1, 16)
    cases = [made(kind, (30, k), grade, size="small") for k, grade in enumerate(grades)]
    assert stats.spearmanr(grades, [volume(case) for case in cases]).statistic < -0.7
    assert stats.spearmanr(grades, [fisher(case) for case in cases]).statistic < -0.5


@pytest.mark.parametrize("kind", phantoms.KINDS)
def test_no_threshold_solves_a_hard_case(kind):
    for seed, difficulty in enumerate((0.7, 0.8, 0.9, 1.0)):
        assert threshold_dice(made(kind, (20, seed), difficulty)) < 0.3


def test_nodules_are_never_found_by_a_threshold_because_vessels_and_wall_are_as_dense():
    for seed in range(3):
        assert threshold_dice(made("ct", (1, seed), 0.0)) < 0.3


def test_a_chest_ct_has_the_densities_of_a_chest():
    for seed in range(3):
        image = made("ct", (1, seed), 0.0).image
        assert np.mean((image > -960) & (image < -700)) > 0.25, "lung"
        assert np.mean((image > 0) & (image < 110)) > 0.08, "soft tissue"
        assert np.mean((image > -140) & (image < -50)) > 0.01, "fat"
        assert np.mean(image > 250) > 0.005, "bone"
        assert image.min() >= -1024


def test_a_head_pet_is_hottest_in_the_brain_and_cold_in_the_air():
    case = phantoms.make("pet", 3, 1.0)
    top = case.image[: case.image.shape[0] // 2]
    assert np.percentile(top, 95) > 5
    assert case.image.min() >= 0
    assert np.median(case.image[:, :4, :4]) < 0.2
    assert np.percentile(case.image[case.label > 0], 50) < np.percentile(top, 95), "the brain outshines a faint tumour"


def test_pet_is_blurred_by_five_to_seven_millimetres():
    """Beyond the sharpest edges of the image nothing is steeper than a step seen through 5 mm FWHM."""
    case = phantoms.make("pet", 4, 0.0)
    steepest = np.max(np.abs(np.diff(case.image, axis=2))) / case.spacing[2]
    step_through = (case.image.max()) / (5.0 / 2.355 * np.sqrt(2 * np.pi))
    assert steepest < step_through


def test_flair_fluid_is_dark_lesions_are_bright_and_air_is_rician():
    case = phantoms.make("mr", 6, 0.0)
    lesion = np.median(case.image[case.label > 0])
    brain = np.median(case.image[20:28, 40:60, 30:50])
    assert lesion > 1.3 * brain
    corner = case.image[:6, :6, :6].astype(float)
    assert corner.mean() / corner.std() == pytest.approx(np.sqrt(np.pi / (4 - np.pi)), rel=0.15)


@pytest.mark.parametrize("kind", ["ct", "mr"])
def test_harder_cases_are_noisier(kind):
    def noise(difficulty):
        image = phantoms.make(kind, 9, difficulty).image.astype(float)
        return np.median(np.abs(image - ndimage.median_filter(image, 3)))

    assert noise(1.0) > 1.5 * noise(0.0)


def test_a_study_is_a_folder_of_nifti_files_on_one_grid_with_a_table(tmp_path):
    written = phantoms.write_study(tmp_path / "study", "pet", 3, seed=8, size="small")
    assert [case.case for case in written] == ["pet-001", "pet-002", "pet-003"]
    assert sorted(case.difficulty for case in written) == [0.0, 0.5, 1.0]
    for number, case in enumerate(written):
        image, label = nibabel.load(case.image), nibabel.load(case.label)
        np.testing.assert_array_equal(image.affine, label.affine)
        assert nibabel.aff2axcodes(image.affine) == ("L", "P", "I")
        assert image.header.get_xyzt_units()[0] == "mm"
        expected = phantoms.make("pet", (8, number), case.difficulty, size="small")
        np.testing.assert_allclose(image.header.get_zooms()[::-1], expected.spacing, rtol=1e-6)
        np.testing.assert_array_equal(np.asarray(image.dataobj).T, expected.image)
        np.testing.assert_array_equal(np.asarray(label.dataobj).T, expected.label)
    with (tmp_path / "study" / "truth.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["case"] for row in rows] == [case.case for case in written]
    assert [float(row["difficulty"]) for row in rows] == [case.difficulty for case in written]


def test_the_sample_data_are_what_their_readme_says_made_them(tmp_path, monkeypatch):
    """Each command line in sample_data/README.md, run again, gives the same voxels."""
    text = (SAMPLE_DATA / "README.md").read_text(encoding="utf-8")
    lines = [line.strip() for line in text.splitlines() if line.strip().startswith("python -m napari_dasl.phantoms")]
    assert len(lines) == len(phantoms.KINDS)
    monkeypatch.chdir(tmp_path)
    for line in lines:
        arguments = shlex.split(line)[3:]
        assert main(arguments) == 0
    shipped = sorted(path.relative_to(SAMPLE_DATA) for path in SAMPLE_DATA.rglob("*.nii.gz"))
    again = sorted(path.relative_to(tmp_path / "sample_data") for path in tmp_path.rglob("*.nii.gz"))
    assert again == shipped
    for path in shipped:
        ours, new = nibabel.load(SAMPLE_DATA / path), nibabel.load(tmp_path / "sample_data" / path)
        np.testing.assert_array_equal(np.asarray(ours.dataobj), np.asarray(new.dataobj), err_msg=str(path))
        np.testing.assert_array_equal(ours.affine, new.affine)
    for table in SAMPLE_DATA.rglob("truth.csv"):
        assert table.read_text() == (tmp_path / "sample_data" / table.relative_to(SAMPLE_DATA)).read_text()


def test_the_sample_data_stay_small():
    for kind in phantoms.KINDS:
        size = sum(path.stat().st_size for path in (SAMPLE_DATA / kind).rglob("*") if path.is_file())
        assert 0 < size < 1.5e6


@pytest.mark.parametrize("opened", [sample.ct_chest, sample.pet_head, sample.flair_brain])
def test_napari_gets_an_image_and_its_truth_in_millimetres(opened):
    from napari.layers import Layer

    image, truth = (Layer.create(*layer) for layer in opened())
    assert (image._type_string, truth._type_string) == ("image", "labels")
    assert truth.data.dtype == np.uint8
    assert truth.data.any()
    for layer in (image, truth):
        assert [str(unit) for unit in layer.units] == ["millimeter"] * 3
        assert layer.axis_labels == ("z", "y", "x")
        np.testing.assert_array_equal(layer.scale, image.scale)
        np.testing.assert_array_equal(layer.translate, image.translate)
    # The middle of the volume is the origin.
    np.testing.assert_allclose(image.extent.world.mean(axis=0), 0, atol=1e-6)


def test_bad_requests_are_refused_in_words(tmp_path, capsys):
    for call, words in (
        (lambda: phantoms.make("us"), "no phantom of kind 'us'"),
        (lambda: phantoms.make("ct", size="huge"), "no phantom of size 'huge'"),
        (lambda: phantoms.make("ct", -1), "negative"),
        (lambda: phantoms.make("ct", 1, 1.5), "not between 0 and 1"),
        (lambda: phantoms.write_study(tmp_path, "ct", 0), "empty"),
    ):
        with pytest.raises(InputError, match=words):
            call()
    occupied = tmp_path / "file"
    occupied.write_text("in the way")
    with pytest.raises(StorageError, match="cannot be written"):
        phantoms.write_study(occupied, "ct", 1, size="small")
    assert main([str(tmp_path), "--kind", "ct", "--cases", "0"]) == 2
    assert capsys.readouterr().err == "A study of 0 cases is empty. Ask for at least one case.\n"
