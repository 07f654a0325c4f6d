"""The training plan: derived from a fingerprint, kept as a file that one can edit, and read without torch."""

from __future__ import annotations

import subprocess
import sys
import tomllib

import numpy as np
import pytest

from napari_dasl.errors import ProjectError, StorageError
from napari_dasl.training.fingerprint import Fingerprint, Intensity
from napari_dasl.training.plan import TrainingPlan, derive


def fingerprint(shape, spacing, classes=("lesion",), channels=("image",), cases=5):
    values = {
        "percentile_00_5": -900, "median": 40, "percentile_99_5": 180, "mean": 20, "std": 90,
        "scan_minimum": -1024, "scan_median": -700, "scan_percentile_99_5": 300,
        "scan_maximum": 2000, "zero_fraction": 0,
    }  # fmt: skip
    return Fingerprint(
        channels=channels,
        classes=classes,
        shapes=(shape,) * cases,
        spacings=(spacing,) * cases,
        intensities=tuple(Intensity(channel=name, **values) for name in channels),
        class_voxels=(100.0,) * len(classes),
        lesion_extent=(5, 5, 5),
    )


HIPPOCAMPUS = fingerprint((36, 50, 35), (1.0, 1.0, 1.0), classes=("anterior", "posterior"))


def test_it_needs_no_torch():
    code = "import sys, napari_dasl.training.plan, napari_dasl.training.prepare; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_small_organ_is_seen_whole():
    plan = derive(HIPPOCAMPUS, modality="MR")
    assert plan.patch == (40, 56, 40)
    assert plan.batch == 4
    assert plan.out_channels == 3
    assert plan.normalisation[0].rule == "mr"


def test_thin_crops_of_thick_slices_keep_their_slices():
    plan = derive(fingerprint((6, 44, 44), (2.0, 0.7, 0.7)), modality="CT")
    assert plan.patch == (6, 48, 48)
    assert {stride[0] for stride in plan.network_options["strides"]} == {1}
    assert plan.normalisation[0].rule == "ct"


def test_a_whole_body_scan_is_seen_in_patches_that_fit():
    plan = derive(fingerprint((134, 512, 512), (3.0, 0.98, 0.98)), modality="CT")
    assert np.prod(plan.patch) * plan.batch <= 400_000
    assert plan.batch >= 2


def test_less_memory_makes_a_smaller_step_and_a_gpu_a_larger_one():
    case = fingerprint((134, 512, 512), (3.0, 0.98, 0.98))
    usual, small = derive(case, modality="CT"), derive(case, modality="CT", memory_mb=700)
    large = derive(case, modality="CT", memory_mb=24_000, compute="cuda")
    voxels = [plan.batch * np.prod(plan.patch) for plan in (small, usual, large)]
    assert voxels[0] < voxels[1] < voxels[2]
    assert large.network_options["strides"][0] == [1, 1, 1]
    assert small.memory_estimate_mb < usual.memory_estimate_mb < large.memory_estimate_mb


def test_sides_are_mirrored_only_where_anatomy_allows_it():
    def mirror(*classes):
        return derive(fingerprint((40, 40, 40), (1.0, 1.0, 1.0), classes=classes), modality="CT").augmentation.mirror

    assert mirror("lesion") == ("z", "y", "x")
    assert mirror("anterior", "posterior") == ("x",)
    assert mirror("kidney_left", "kidney_right") == ()
    assert mirror("Left lung") == ()


def test_the_file_comes_back_as_it_was(tmp_path):
    plan = derive(HIPPOCAMPUS, modality="MR", seed=7)
    plan.to_file(tmp_path / "plan.toml")
    assert TrainingPlan.from_file(tmp_path / "plan.toml") == plan


def test_every_key_of_the_file_stands_under_a_comment(tmp_path):
    path = tmp_path / "plan.toml"
    derive(HIPPOCAMPUS, modality="MR").to_file(path)
    lines, table = path.read_text().splitlines(), ""
    for before, line in zip(["", *lines], lines, strict=False):
        table = line if line.startswith("[") else table
        if "=" in line and not line.startswith("#") and table != "[network_options]":
            assert before.startswith("#"), line
    assert "[network_options]\n# Arguments of the network." in path.read_text()


def test_the_file_explains_itself_and_an_edit_is_honoured(tmp_path):
    path = tmp_path / "plan.toml"
    derive(HIPPOCAMPUS, modality="MR").to_file(path)
    text = path.read_text()
    assert "# Optimiser steps" in text
    assert "may be edited" in text
    path.write_text(text.replace("batch = 4", "batch = 2").replace("degrees = 15.0", "degrees = 5"))
    plan = TrainingPlan.from_file(path)
    assert (plan.batch, plan.augmentation.degrees) == (2, 5)


@pytest.mark.parametrize(
    ("found", "edited", "said"),
    [
        ("batch = 4", "batch = 0", r"wrong at batch: .*greater than or equal to 1.*found 0"),
        ("batch = 4", "batches = 4", r"wrong at batch"),
        ("patch = [40, 56, 40]", "patch = [40, 50, 40]", r"patch \[40, 50, 40\] must be a multiple of \[8, 8, 8\]"),
        ("batch = 4", "batch = ", r"no valid TOML"),
        ('rule = "mr"', 'rule = "x-ray"', r"normalisation.0.rule: .*'ct', 'mr', 'pet' or 'window'"),
        ('rule = "mr"', 'rule = "mr"\ncolour = "red"', r"normalisation.0.colour"),
    ],
)
def test_a_wrong_edit_is_refused_by_the_name_of_its_key(tmp_path, found, edited, said):
    path = tmp_path / "plan.toml"
    derive(HIPPOCAMPUS, modality="MR").to_file(path)
    text = path.read_text()
    assert found in text
    path.write_text(text.replace(found, edited))
    with pytest.raises(ProjectError, match=said) as caught:
        TrainingPlan.from_file(path)
    assert "delete it to have it derived anew" in caught.value.hint


def test_a_missing_file_and_folder_are_named(tmp_path):
    with pytest.raises(ProjectError, match=r"plan\.toml"):
        TrainingPlan.from_file(tmp_path / "plan.toml")
    with pytest.raises(StorageError, match=r"plan\.toml"):
        derive(HIPPOCAMPUS, modality="MR").to_file(tmp_path / "none" / "plan.toml")


def test_only_grid_and_normalisation_decide_about_prepared_scans(tmp_path):
    plan = derive(HIPPOCAMPUS, modality="MR")
    assert plan.model_copy(update={"batch": 9, "seed": 3}).prepared_hash == plan.prepared_hash
    assert plan.model_copy(update={"spacing": (2.0, 1.0, 1.0)}).prepared_hash != plan.prepared_hash


def test_a_fingerprint_of_other_classes_is_refused():
    with pytest.raises(ProjectError, match="Measure the labelled scans again"):
        derive(HIPPOCAMPUS, modality="MR", classes=("lesion",))
    with pytest.raises(ProjectError, match="channel"):
        derive(HIPPOCAMPUS, modality="MR", in_channels=2)


def test_every_value_is_plain_toml(tmp_path):
    path = tmp_path / "plan.toml"
    derive(fingerprint((40, 40, 40), (1.0,) * 3, channels=("pet", "ct")), modality="PET").to_file(path)
    values = tomllib.loads(path.read_text())
    assert [rule["rule"] for rule in values["normalisation"]] == ["pet", "ct"]


def test_more_labelled_scans_are_learnt_from_for_longer_unless_the_plan_says_how_long():
    plan = derive(HIPPOCAMPUS, modality="MR")
    assert plan.steps_for(20) < plan.steps_for(136) < plan.steps_for(100_000) == plan.steps_for(1_000_000)
    assert derive(HIPPOCAMPUS, modality="MR", steps=77).steps_for(136) == 77
