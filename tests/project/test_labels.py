"""The label history: every revision is kept and checked, and nothing that does not fit gets in."""

from __future__ import annotations

import hashlib
import os

import numpy as np
import pytest

from napari_dasl.errors import GridMismatch, InputError, LabelError, ProjectError, StorageError

AFFINE = np.diag([1.5, 1.5, 3.0, 1.0])  # of the scans of conftest.py


def files(project, case="p1"):
    home = project.folder / "labels" / case
    return sorted(path.name for path in home.iterdir()) if home.exists() else []


def test_a_revision_knows_where_it_comes_from(project, mask_of):
    mask = mask_of(project, "p1")
    revision = project.record_label(
        "p1", mask, author="Anna", source="corrected", seconds=41.5, model="r0001-ab", round=1
    )
    assert revision == project.labels("p1")[0]
    assert (revision.case, revision.number, revision.author, revision.source) == ("p1", 1, "Anna", "corrected")
    assert (revision.model, revision.round, revision.seconds, revision.voxels_changed) == ("r0001-ab", 1, 41.5, None)
    assert revision.path == project.folder / "labels" / "p1" / "0001.nii.gz"
    assert revision.sha256 == hashlib.sha256(revision.path.read_bytes()).hexdigest()
    assert revision.image_sha256 == hashlib.sha256(project.case("p1").reference.read_bytes()).hexdigest()
    assert np.array_equal(project.read_label("p1"), mask)


def test_every_revision_stays_and_can_be_read(project, mask_of):
    masks = [mask_of(project, "p1", value) for value in (1, 2, 3)]
    for mask in masks:
        project.record_label("p1", mask, author="Anna")
    assert files(project) == ["0001.nii.gz", "0002.nii.gz", "0003.nii.gz"]
    assert all(np.array_equal(project.read_label("p1", n + 1), mask) for n, mask in enumerate(masks))
    assert [revision.voxels_changed for revision in project.labels("p1")] == [
        None,
        np.count_nonzero(masks[0] != masks[1]),
        np.count_nonzero(masks[1] != masks[2]),
    ]
    assert project.read_label("p2") is None


def test_going_back_makes_a_new_revision_with_the_same_bytes(project, mask_of):
    first = project.record_label("p1", mask_of(project, "p1", 1), author="Anna", model="m", round=3)
    project.record_label("p1", mask_of(project, "p1", 2), author="Anna")
    back = project.restore("p1", 1, "Bruno")
    assert (back.number, back.source, back.author, back.sha256) == (3, "restored", "Bruno", first.sha256)
    assert (back.model, back.round) == ("m", 3)
    assert np.array_equal(project.read_label("p1"), mask_of(project, "p1", 1))
    assert len(project.labels("p1")) == 3


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint16, np.int64])
def test_any_whole_number_type_is_taken(project, dtype, mask_of):
    mask = (mask_of(project, "p1") == 1).astype(dtype)
    project.record_label("p1", mask, author="A")
    assert project.read_label("p1").dtype == np.uint8
    assert np.array_equal(project.read_label("p1"), mask)


@pytest.mark.parametrize(
    ("spoil", "error", "words"),
    [
        (lambda mask: mask[1:], GridMismatch, r"\(6, 6, 5\).*\(7, 6, 5\)"),
        (lambda mask: mask.transpose(2, 1, 0), GridMismatch, r"\(5, 6, 7\)"),
        (lambda mask: mask + 2, LabelError, "the value 4, but the project knows 0 background, 1 liver, 2 tumour"),
        (lambda mask: mask.astype(int) - 1, LabelError, "the value -1"),
        (lambda mask: mask.astype(np.float32), LabelError, "float32, not whole numbers"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_changes(project, spoil, error, words, mask_of):
    with pytest.raises(error, match=words):
        project.record_label("p1", spoil(mask_of(project, "p1")), author="A")
    assert project.labels("p1") == []
    assert files(project) == []


def test_a_mask_file_is_taken_if_it_lies_on_the_grid_of_the_scan(project, tmp_path, write_mask):
    project.record_label("p1", write_mask(tmp_path / "m.nii.gz", value=2), author="A")
    assert project.read_label("p1").sum() == 2 * 8
    with pytest.raises(GridMismatch, match="does not lie on the grid"):
        project.record_label("p1", write_mask(tmp_path / "n.nii.gz", affine=2 * AFFINE), author="A")
    with pytest.raises(InputError, match="does not exist"):
        project.record_label("p1", tmp_path / "nowhere.nii.gz", author="A")
    assert len(project.labels("p1")) == 1


@pytest.mark.parametrize(
    "keys",
    [
        {"author": " "},
        {"author": "A", "source": "robot"},
        {"author": "A", "source": "pseudo"},
        {"author": "A", "seconds": -1},
    ],
)
def test_an_impossible_origin_is_refused(project, keys, mask_of):
    with pytest.raises(ProjectError):
        project.record_label("p1", mask_of(project, "p1"), **keys)
    assert files(project) == []


def test_a_label_file_that_was_changed_or_lost_is_noticed_and_does_not_stop_the_next(project, mask_of):
    first = project.record_label("p1", mask_of(project, "p1", 1), author="A")
    second = project.record_label("p1", mask_of(project, "p1", 2), author="A")
    second.path.write_bytes(first.path.read_bytes())
    with pytest.raises(LabelError, match=r"0002\.nii\.gz was changed"):
        project.read_label("p1")
    with pytest.raises(LabelError, match="was changed"):
        project.restore("p1", 2, "A")
    second.path.unlink()
    with pytest.raises(LabelError, match="cannot be read"):
        project.read_label("p1")
    assert project.record_label("p1", mask_of(project, "p1", 3), author="A").number == 3
    assert np.array_equal(project.read_label("p1", 1), mask_of(project, "p1", 1))


def test_an_unknown_revision_is_refused_with_the_known_ones(project, mask_of):
    project.record_label("p1", mask_of(project, "p1"), author="A")
    with pytest.raises(LabelError, match=r"no label revision 7\. Revisions of this case: 1\."):
        project.read_label("p1", 7)


def test_a_file_without_a_row_is_ignored_and_never_overwritten(project, mask_of):
    project.record_label("p1", mask_of(project, "p1", 1), author="A")
    orphan = project.folder / "labels" / "p1" / "0004.nii.gz"
    orphan.write_bytes(b"left by a killed process")
    assert len(project.labels("p1")) == 1
    assert project.record_label("p1", mask_of(project, "p1", 2), author="A").number == 5
    assert orphan.read_bytes() == b"left by a killed process"


def test_a_label_is_drawn_on_the_scan_as_it_is_now(project, scans, mask_of, write_scan):
    write_scan(scans / "p1.nii.gz", seed=77)
    revision = project.record_label("p1", mask_of(project, "p1"), author="A")
    assert revision.image_sha256 == hashlib.sha256((scans / "p1.nii.gz").read_bytes()).hexdigest()
    (scans / "p1.nii.gz").unlink()
    assert project.record_label("p1", mask_of(project, "p1"), author="A").number == 2


@pytest.mark.parametrize("name", ["fsync", "rename", "replace"])
def test_a_full_disk_changes_nothing(project, monkeypatch, name, mask_of):
    project.record_label("p1", mask_of(project, "p1", 1), author="A")

    def full(*args, **keys):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, name, full)
        with pytest.raises(StorageError, match="disk is full"):
            project.record_label("p1", mask_of(project, "p1", 2), author="A")
    assert len(project.labels("p1")) == 1
    assert files(project) == ["0001.nii.gz"]
    assert project.record_label("p1", mask_of(project, "p1", 2), author="A").number == 2


def test_more_than_255_classes_are_stored_in_16_bits(make, scans):
    project = make(images=scans, classes=tuple(f"organ {n}" for n in range(300)))
    mask = np.full(project.case("p1").shape, 299)
    project.record_label("p1", mask, author="A")
    assert np.array_equal(project.read_label("p1"), mask)


class TestDrafts:
    def test_a_draft_is_given_back_with_its_notes(self, project, mask_of):
        project.save_draft("p1", mask_of(project, "p1", 1), meta={"seconds": 3.5, "tool": "brush"})
        project.save_draft("p1", mask_of(project, "p1", 2), meta={"seconds": 9.5, "from": None})
        draft = project.read_draft("p1")
        assert np.array_equal(draft.mask, mask_of(project, "p1", 2))
        assert draft.meta == {"seconds": 9.5, "from": None}
        assert draft.saved.tzinfo is not None
        assert [path.name for path in (project.folder / "drafts").iterdir()] == ["p1.npz"]
        assert project.case("p1").state == "draft"

    def test_a_case_without_one_has_none(self, project):
        assert project.read_draft("p1") is None
        project.discard_draft("p1")

    def test_discarding_forgets_it(self, project, mask_of):
        project.save_draft("p1", mask_of(project, "p1"), meta={})
        project.discard_draft("p1")
        assert project.read_draft("p1") is None
        assert project.case("p1").state == "unlabelled"

    def test_recording_a_label_leaves_the_draft_to_whoever_drew_it(self, project, mask_of):
        project.save_draft("p1", mask_of(project, "p1"), meta={})
        project.record_label("p1", mask_of(project, "p1"), author="A")
        assert project.read_draft("p1") is not None

    def test_another_grid_is_refused(self, project):
        with pytest.raises(GridMismatch):
            project.save_draft("p1", np.zeros((2, 2, 2), np.uint8), meta={})
        assert project.read_draft("p1") is None

    def test_a_damaged_one_is_one_clear_error(self, project, mask_of):
        project.save_draft("p1", mask_of(project, "p1"), meta={})
        path = project.folder / "drafts" / "p1.npz"
        path.write_bytes(path.read_bytes()[:60])
        with pytest.raises(LabelError, match="is damaged"):
            project.read_draft("p1")

    def test_a_full_disk_leaves_the_one_before(self, project, monkeypatch, mask_of):
        project.save_draft("p1", mask_of(project, "p1", 1), meta={})

        def full(handle):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(StorageError, match="disk is full"):
                project.save_draft("p1", mask_of(project, "p1", 2), meta={})
        assert np.array_equal(project.read_draft("p1").mask, mask_of(project, "p1", 1))


def test_a_file_that_another_process_takes_away_meanwhile_does_not_fail_the_save(project, mask_of):
    home = project.folder / "labels" / "p1"
    home.mkdir(parents=True)
    (home / ".part-1.nii.gz").symlink_to(home / "gone")  # listed, and not there any more when it is looked at
    assert project.record_label("p1", mask_of(project, "p1"), author="Anna").number == 1
