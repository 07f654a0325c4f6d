"""What identifies the content of a scan on disk."""

from __future__ import annotations

import hashlib
import os

import pytest

from napari_dasl.errors import VolumeError
from napari_dasl.volumes import fingerprint_file, quick_stamp


def test_a_file_is_known_by_size_time_and_hash(tmp_path):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(b"content")
    os.utime(path, ns=(1, 123456789))
    stamp = fingerprint_file(path)
    assert (stamp.size, stamp.mtime_ns) == (7, path.stat().st_mtime_ns)
    assert stamp.sha256 == hashlib.sha256(b"content").hexdigest()
    quick = quick_stamp(path)
    assert (quick.size, quick.mtime_ns, quick.sha256) == (stamp.size, stamp.mtime_ns, "")


def test_touching_changes_the_time_and_not_the_hash(tmp_path):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(b"content")
    before = fingerprint_file(path)
    os.utime(path, ns=(1, 1))
    after = fingerprint_file(path)
    assert before.sha256 == after.sha256
    assert before != after


@pytest.mark.parametrize("change", ["content", "rename", "add", "remove"])
def test_a_folder_is_known_by_the_names_and_contents_of_its_files(tmp_path, change):
    folder = tmp_path / "series"
    (folder / "sub").mkdir(parents=True)
    for n in range(3):
        (folder / "sub" / f"{n}.dcm").write_bytes(bytes([n]) * 10)
    before = fingerprint_file(folder)
    assert before == fingerprint_file(folder)
    assert before.size == 30
    if change == "content":
        (folder / "sub" / "1.dcm").write_bytes(bytes([9]) * 10)
    elif change == "rename":
        (folder / "sub" / "1.dcm").rename(folder / "sub" / "7.dcm")
    elif change == "add":
        (folder / "3.dcm").write_bytes(b"x")
    else:
        (folder / "sub" / "1.dcm").unlink()
    assert fingerprint_file(folder).sha256 != before.sha256


def test_the_hash_of_a_folder_does_not_depend_on_where_it_lies(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.dcm").write_bytes(b"x")
    assert fingerprint_file(tmp_path / "one").sha256 == fingerprint_file(tmp_path / "two").sha256


def test_voxels_beside_a_header_count(tmp_path):
    (tmp_path / "a.mhd").write_text("ElementDataFile = a.raw\n")
    (tmp_path / "a.raw").write_bytes(b"one")
    before = fingerprint_file(tmp_path / "a.mhd")
    (tmp_path / "a.raw").write_bytes(b"two")
    assert fingerprint_file(tmp_path / "a.mhd").sha256 != before.sha256


@pytest.mark.parametrize("stamp", [fingerprint_file, quick_stamp])
def test_a_missing_scan_is_named(tmp_path, stamp):
    with pytest.raises(VolumeError, match=r"gone\.nii"):
        stamp(tmp_path / "gone.nii")
