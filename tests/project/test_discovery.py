"""Which scans make which case, for each layout that data sets come in."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_dasl.project import names
from napari_dasl.project.discovery import candidates, common_channels, image_root
from napari_dasl.volumes import Found

ROOT = Path("/data/set")


def found(*paths, shape=(7, 6, 5), **keys):
    return [
        Found(ROOT / path, names.stem(Path(path)), "nifti", shape=shape, spacing=(1, 1, 1), **keys) for path in paths
    ]


def grouped(scans, modality="CT"):
    cases, skipped = candidates(ROOT, scans, modality)
    return {case.id: [member.channel for member in case.members] for case in cases}, skipped


def test_a_flat_folder_has_a_case_per_scan_in_natural_order():
    cases, skipped = grouped(found("p10.nii.gz", "p2.nrrd", "p1.mha"))
    assert list(cases) == ["p1", "p2", "p10"]
    assert set(map(tuple, cases.values())) == {("image",)}
    assert skipped == []


def test_decathlon_keeps_its_scans_in_imagestr(tmp_path):
    (tmp_path / "imagesTr").mkdir()
    assert image_root(tmp_path) == tmp_path / "imagesTr"
    assert image_root(tmp_path / "imagesTr") == tmp_path / "imagesTr"


def test_hidden_files_of_macos_are_no_scans():
    cases, _ = grouped(found("._p1.nii.gz", "p1.nii.gz", ".trash/p2.nii.gz"))
    assert list(cases) == ["p1"]


def test_nnunet_channels_of_a_case_belong_together():
    cases, _ = grouped(found("a_0000.nii.gz", "a_0001.nii.gz", "b_0000.nii.gz", "b_0001.nii.gz"))
    assert cases == {"a": ["0000", "0001"], "b": ["0000", "0001"]}


def test_nnunet_with_one_channel_loses_the_number():
    assert list(grouped(found("a_0000.nii.gz", "b_0000.nii.gz"))[0]) == ["a", "b"]


@pytest.mark.parametrize("numbers", [("0001", "0002"), ("0000", "0002")])
def test_four_digits_alone_are_not_nnunet(numbers):
    paths = [f"scan_{number}.nii.gz" for number in numbers]
    assert list(grouped(found(*paths))[0]) == [f"scan_{number}" for number in numbers]


def test_patients_numbered_from_0000_with_different_grids_are_not_channels():
    scans = [*found("scan_0000.nii.gz"), *found("scan_0001.nii.gz", shape=(9, 9, 9))]
    assert list(grouped(scans)[0]) == ["scan_0000", "scan_0001"]


STS = ("CT_image", "CT_mask", "MR_T1_image", "MR_T1_mask", "PET_image", "PET_mask")


@pytest.mark.parametrize(
    ("modality", "first", "rest"),
    [("PET", "PET", ["CT", "MR_T1"]), ("CT", "CT", ["MR_T1", "PET"]), ("MR", "MR_T1", ["CT", "PET"])],
)
def test_a_folder_per_case_has_the_projects_modality_first_and_no_masks(modality, first, rest):
    scans = found(*(f"STS_00{k}/{name}.nii.gz" for k in (1, 2) for name in STS))
    assert grouped(scans, modality)[0] == {"STS_001": [first, *rest], "STS_002": [first, *rest]}


def test_a_case_without_the_projects_modality_is_left_out_and_said_so():
    cases, skipped = grouped(found("A/PET_image.nii.gz", "A/CT_image.nii.gz", "B/CT_image.nii.gz"), "PET")
    assert list(cases) == ["A"]
    assert skipped == [(ROOT / "B", "it has no PET series (it has CT)")]


def test_series_named_after_their_case_and_told_apart_by_siblings():
    scans = found(*(f"BraTS_0{k}/BraTS_0{k}_{name}.nii.gz" for k in (1, 2) for name in ("flair", "t1", "t1ce", "seg")))
    assert grouped(scans, "MR")[0] == {"BraTS_01": ["flair", "t1", "t1ce"], "BraTS_02": ["flair", "t1", "t1ce"]}


def test_a_level_named_after_the_series_belongs_to_the_case_above():
    scans = found("p1/PET/image.nii.gz", "p1/CT/image.nii.gz", "p2/PET/image.nii.gz", "p2/CT/image.nii.gz")
    assert grouped(scans, "PET")[0] == {"p1": ["PET", "CT"], "p2": ["PET", "CT"]}


def test_folders_of_scans_are_not_cases():
    cases, _ = grouped(found("siteA/001.nii.gz", "siteA/002.nii.gz", "siteB/001.nii.gz", "siteB/003.nii.gz"))
    assert sorted(cases) == ["002", "003", "siteA_001", "siteB_001"]


def test_one_scan_in_a_folder_with_several_masks():
    cases, _ = grouped(found("LUNG1-001/ct.nii.gz", "LUNG1-001/mask_GTV-1.nii.gz", "LUNG1-001/mask_Lung-Left.nii.gz"))
    assert cases == {"LUNG1-001": ["ct"]}


def test_masks_beside_scans_in_one_folder_or_the_next_are_no_scans():
    assert list(grouped(found("p1.nii.gz", "p1_mask.nii.gz", "p1_seg.nii.gz"))[0]) == ["p1"]
    assert list(grouped(found("image/p1.nii.gz", "nodule_mask/p1.nii.gz"))[0]) == ["p1"]
    assert list(grouped(found("labels/mask_1.nii.gz", "labels/mask_2.nii.gz"))[0]) == ["mask_1", "mask_2"]


def test_ids_are_safe_for_folders_and_differ_also_where_case_does_not_count():
    cases, _ = grouped(found("Müller, Ä (2).nii.gz", "a.nii.gz", "x/A.nii.gz"))
    assert all(set(name) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") for name in cases)
    assert len({name.casefold() for name in cases}) == 3


def test_an_unreadable_scan_is_passed_on_with_its_reason():
    scans = [*found("p1.nii.gz"), *found("p2.nii.gz", reason="cut short")]
    cases, skipped = grouped(scans)
    assert list(cases) == ["p1"]
    assert skipped == [(ROOT / "p2.nii.gz", "cut short")]


def test_each_dicom_series_of_the_modality_is_a_case():
    scans = [
        Found(ROOT / "p1" / "CT", "CT", "dicom", "CT", (9, 9, 9), (1, 1, 1), "1.2"),
        Found(ROOT / "p1" / "PT", "PT", "dicom", "PET", (9, 9, 9), (1, 1, 1), "1.3"),
        Found(ROOT / "p2", "p2", "dicom", "CT", (9, 9, 9), (1, 1, 1), "1.4"),
    ]
    cases, skipped = grouped(scans, "CT")
    assert cases == {"p1": ["image"], "p2": ["image"]}
    assert skipped == [(ROOT / "p1" / "PT", "it is PET, and this project is about CT")]


def test_common_channels_are_those_of_every_case():
    scans = found(
        *(f"A/{name}.nii.gz" for name in ("PET", "CT", "T1")), *(f"B/{name}.nii.gz" for name in ("PET", "CT"))
    )
    cases, _ = candidates(ROOT, scans, "PET")
    assert common_channels(cases) == ("PET", "CT")
