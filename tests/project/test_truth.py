"""Which label file belongs to which case."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_dasl.project.truth import Wanted, label_files, match


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def matched(folder, wanted, scans=()):
    found, unclear = match(folder, [Wanted(name, Path(path)) for name, path in wanted.items()], scans)
    return {name: str(path.relative_to(folder)) for name, path in found.items()}, unclear


@pytest.mark.parametrize(
    "name",
    [
        *("p1.nii.gz", "p1_mask.nii.gz", "p1_seg.nii.gz", "p1_segmentation.nrrd", "p1-label.mha", "p1.nii"),
        *("p1/anything.nii.gz", "deep/p1/tumour_mask.nii.gz", "labelsTr/p1.nii.gz"),
    ],
)
def test_a_label_is_found_by_the_name_of_its_case(tmp_path, name):
    touch(tmp_path / "labels", name, "other.nii.gz", "._p1.nii.gz")
    found, unclear = matched(tmp_path / "labels", {"p1": "/images/p1.nii.gz"})
    assert (found, unclear) == ({"p1": name}, {})


def test_p1_is_not_p10(tmp_path):
    touch(tmp_path, "p1_mask.nii.gz", "p10_mask.nii.gz")
    wanted = {"p1": "/images/p1.nii.gz", "p10": "/images/p10.nii.gz", "p100": "/images/p100.nii.gz"}
    assert matched(tmp_path, wanted)[0] == {"p1": "p1_mask.nii.gz", "p10": "p10_mask.nii.gz"}


def test_the_exact_name_goes_before_the_name_with_a_word(tmp_path):
    touch(tmp_path, "p1.nii.gz", "p1_seg.nii.gz")
    assert matched(tmp_path, {"p1": "/images/p1.nii.gz"})[0] == {"p1": "p1.nii.gz"}


def test_nnunet_labels_have_no_channel_number(tmp_path):
    touch(tmp_path, "p1.nii.gz")
    assert matched(tmp_path, {"p1": "/images/p1_0000.nii.gz"})[0] == {"p1": "p1.nii.gz"}


def test_in_a_case_folder_the_mask_named_after_the_reference_is_taken(tmp_path):
    touch(tmp_path, "A/PET_image.nii.gz", "A/CT_image.nii.gz", "A/PET_mask.nii.gz", "A/CT_mask.nii.gz")
    scans = [tmp_path / "A/PET_image.nii.gz", tmp_path / "A/CT_image.nii.gz"]
    assert matched(tmp_path, {"A": scans[0]}, scans)[0] == {"A": "A/PET_mask.nii.gz"}
    assert matched(tmp_path, {"A": scans[1]}, scans)[0] == {"A": "A/CT_mask.nii.gz"}


def test_a_scan_is_never_a_label_even_in_the_same_folder(tmp_path):
    touch(tmp_path, "p1.nii.gz", "p1_mask.nii.gz", "p2.nii.gz")
    scans = [tmp_path / "p1.nii.gz", tmp_path / "p2.nii.gz"]
    assert matched(tmp_path, {"p1": scans[0], "p2": scans[1]}, scans)[0] == {"p1": "p1_mask.nii.gz"}


def test_several_that_fit_equally_are_named_and_none_is_taken(tmp_path):
    touch(tmp_path, "A/ct.nii.gz", "A/mask_GTV.nii.gz", "A/mask_lung.nii.gz")
    found, unclear = matched(tmp_path, {"A": tmp_path / "A/ct.nii.gz"}, [tmp_path / "A/ct.nii.gz"])
    assert found == {}
    assert "mask_GTV.nii.gz, mask_lung.nii.gz" in unclear["A"]


def test_words_for_image_and_label_may_stand_in_each_others_place(tmp_path):
    touch(tmp_path, "liver_07_label.nii.gz", "liver_08_label.nii.gz")
    assert matched(tmp_path, {"liver_07_img": "/i/liver_07_img.nii.gz"})[0] == {"liver_07_img": "liver_07_label.nii.gz"}


def test_label_files_are_all_volumes_below(tmp_path):
    touch(tmp_path, "b.nii.gz", "a/c.nrrd", "notes.txt", "._b.nii.gz")
    assert [path.name for path in label_files(tmp_path)] == ["c.nrrd", "b.nii.gz"]
