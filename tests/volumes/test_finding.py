"""The scans in a folder, by their headers."""

from __future__ import annotations

import gzip
import shutil

import nibabel as nib
import numpy as np
import pytest

from napari_dasl.errors import VolumeError
from napari_dasl.volumes import find_series, read


def nifti(path, shape=(6, 5, 4)):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.zeros(shape, np.int16), np.diag([1, 2, 3, 1])), path)
    return path


def test_an_empty_folder_holds_nothing(tmp_path):
    assert find_series(tmp_path) == []


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(VolumeError, match="does not exist"):
        find_series(tmp_path / "gone")


def test_nifti_files_in_subfolders(tmp_path):
    nifti(tmp_path / "b" / "ct one.nii.gz")
    nifti(tmp_path / "a.nii")
    first, second = find_series(tmp_path)
    assert (first.name, first.kind, first.shape, first.spacing) == ("a", "nifti", (4, 5, 6), (3, 2, 1))
    assert (first.modality, first.series_uid, first.reason) == (None, None, "")
    assert second.name == "ct-one"
    assert read(second.path).shape == second.shape


def test_a_single_file_may_be_given(tmp_path):
    path = nifti(tmp_path / "a.nii.gz")
    assert [found.path for found in find_series(path)] == [path]


def test_clutter_is_passed_over_in_silence(tmp_path):
    for name in ["dataset.json", "notes.txt", "table.csv", "list.xlsx", "shot.png", "README", ".DS_Store", "x.bval"]:
        (tmp_path / name).write_bytes(b"\x89PNG" * 50)
    (tmp_path / ".hidden").mkdir()
    nifti(tmp_path / ".hidden" / "a.nii.gz")
    nifti(tmp_path / "__MACOSX" / "a.nii.gz")
    (tmp_path / "._a.nii.gz").write_bytes(b"\0" * 200)
    (tmp_path / ".part-0123-mask.nii.gz").write_bytes(b"\0" * 200)
    assert find_series(tmp_path) == []


def test_files_that_claim_to_be_scans_are_listed_with_the_reason(tmp_path):
    (tmp_path / "text.nii.gz").write_text("hello\n" * 100)
    (tmp_path / "empty.nii").touch()
    (tmp_path / "b.nrrd").write_text("hello\n" * 100)
    (tmp_path / "c.dcm").write_text("hello\n" * 100)
    (tmp_path / "d.mgz").write_bytes(b"\0" * 300)
    nifti(tmp_path / "time.nii.gz", (3, 4, 5, 6))
    whole = nifti(tmp_path / "short.nii.gz", (20, 20, 20))
    noise = np.random.default_rng(0).integers(0, 255, 16000).astype(np.uint8).tobytes()
    whole.write_bytes(gzip.compress(gzip.decompress(whole.read_bytes())[:352] + noise)[:-500])
    reasons = {found.path.name: found.reason for found in find_series(tmp_path)}
    assert len(reasons) == 7
    assert "text file" in reasons["text.nii.gz"]
    assert "empty" in reasons["empty.nii"]
    assert "4 dimensions" in reasons["time.nii.gz"]
    assert "cut short" in reasons["short.nii.gz"]
    assert "FreeSurfer" in reasons["d.mgz"]
    assert all(reasons.values())


def test_a_pair_is_one_scan(tmp_path):
    nib.save(nib.Nifti1Pair(np.zeros((6, 5, 4), np.int16), np.eye(4)), tmp_path / "a.img")
    (found,) = find_series(tmp_path)
    assert (found.path.name, found.reason) == ("a.hdr", "")


class TestDicom:
    def test_one_series_is_one_scan_named_after_its_folder(self, make_series, pixels, tmp_path):
        folder = make_series(pixels, folder="patient 7/CT thorax")
        (found,) = find_series(tmp_path)
        assert (found.path, found.name, found.kind, found.modality) == (folder, "CT-thorax", "dicom", "CT")
        assert (found.shape, found.spacing, found.series_uid) == ((5, 4, 6), (2.0, 0.5, 0.75), "1.2.3")
        assert read(found.path, series_uid=found.series_uid).shape == found.shape

    def test_several_series_in_one_folder_are_told_apart(self, make_series, pixels, tmp_path):
        for uid, number, words in [("1.1", 1, "Arterial"), ("1.2", 2, "Portal phase")]:
            make_series(pixels + number, uid=uid, tags={"SeriesNumber": number, "SeriesDescription": words})
        found = find_series(tmp_path)
        assert [scan.name for scan in found] == ["series-CT-1-Arterial", "series-CT-2-Portal-phase"]
        assert {scan.series_uid for scan in found} == {"1.1", "1.2"}
        for scan, number in zip(found, (1, 2), strict=True):
            assert read(scan.path, series_uid=scan.series_uid).array.min() == number

    def test_a_series_spread_over_folders_is_one_scan(self, make_series, pixels, tmp_path):
        make_series(pixels[:2], folder="disc/A")
        make_series(pixels[2:], folder="disc/B", origin=(-10, -20, 34))
        (found,) = find_series(tmp_path)
        assert (found.path, found.shape, found.reason) == (tmp_path / "disc", (5, 4, 6), "")

    def test_a_copied_folder_is_a_scan_of_its_own(self, make_series, pixels, tmp_path):
        shutil.copytree(make_series(pixels, folder="one"), tmp_path / "two")
        assert [(scan.name, scan.reason) for scan in find_series(tmp_path)] == [("one", ""), ("two", "")]

    def test_a_gap_is_seen_in_the_headers(self, make_series, pixels, tmp_path):
        make_series(pixels, skip=(2,))
        (found,) = find_series(tmp_path)
        assert "missing" in found.reason
        assert found.shape is None

    def test_contours_and_reports_are_clutter_and_a_segmentation_is_not(self, make_series, pixels, tmp_path):
        make_series(pixels, folder="ct")
        for n, modality in enumerate(["RTSTRUCT", "SR", "PR", "KO", "REG", "SEG"]):
            make_series(pixels[:1], folder=modality, uid=f"1.5.{n}", tags={"Modality": modality})
        assert {(scan.path.parent.name, scan.reason[-60:] != "") for scan in find_series(tmp_path)} == {
            (tmp_path.name, False),
            ("SEG", True),
        }

    def test_files_without_a_suffix_are_recognised(self, make_series, pixels, tmp_path):
        folder = make_series(pixels)
        for n, file in enumerate(sorted(folder.iterdir())):
            file.rename(folder / f"IM{n:04d}")
        (found,) = find_series(tmp_path)
        assert (found.shape, found.reason) == ((5, 4, 6), "")

    def test_files_without_preamble_or_suffix_are_recognised(self, make_series, pixels, tmp_path):
        folder = make_series(pixels, meta=False)
        for n, file in enumerate(sorted(folder.iterdir())):
            file.rename(folder / f"IM{n:04d}")
        (found,) = find_series(tmp_path)
        assert (found.shape, found.reason) == ((5, 4, 6), "")


def test_links_in_a_circle_end(tmp_path):
    nifti(tmp_path / "a" / "a.nii.gz")
    (tmp_path / "a" / "up").symlink_to(tmp_path, target_is_directory=True)
    assert len(find_series(tmp_path)) == 1
