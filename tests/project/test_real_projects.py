"""Projects of real data sets, one per layout."""

from __future__ import annotations

import numpy as np
import pytest

from napari_dasl.project import Project

pytestmark = pytest.mark.data


def test_decathlon(make, data_dir):
    project = make(modality="MR", classes=("anterior", "posterior"))
    added, skipped = project.add_cases([data_dir / "hippocampus"])
    assert (len(added), skipped) == (160, ())
    imported, skipped = project.import_labels(data_dir / "hippocampus", 24, seed=0)
    assert (len(imported), skipped) == (24, ())
    assert len(project.choose_guard()) == 4
    assert project.counts()["pool"] == 136
    assert set(np.unique(project.read_label(imported[0]))) == {0, 1, 2}


def test_a_folder_per_case_with_pet_ct_and_mr(make, data_dir):
    project = make(images=data_dir / "sts_pet_ct_mr", modality="PET")
    cases = {case.id: case for case in project.cases()}
    assert len(cases) == 33
    assert [series.channel for series in cases["STS_001"].series] == ["PET", "CT", "MR_T1"]
    assert all(case.reference.name == "PET_image.nii.gz" for case in cases.values())
    imported, skipped = project.import_labels(data_dir / "sts_pet_ct_mr")
    assert (len(imported), skipped) == (33, ())


def test_a_dicom_series(make, data_dir):
    project = make(images=data_dir / "pet_wholebody", modality="PET")
    (case,) = project.cases()
    assert case.shape == (267, 128, 128)
    assert project.check_scan(case.id) == ""
    assert project.read_image_array(case.id).shape == (1, 267, 128, 128)
    with Project.open(project.folder) as again:
        assert again.case(case.id).geometry.matches(case.geometry)


def test_a_folder_of_awkward_dicom_gives_reasons_and_no_traceback(make, data_dir):
    added, skipped = make().add_cases([data_dir / "awkward_dicom"])
    assert added
    assert skipped
    assert all(reason for _, reason in skipped)
