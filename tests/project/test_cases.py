"""A project's cases: adding scans, states, the pool, the guard, and scans that change on disk."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime

import numpy as np
import pytest

from napari_dasl.errors import Cancelled, GridMismatch, ProjectError, VolumeError
from napari_dasl.project import CaseState, Project, ProjectConfig, PseudoLabel
from napari_dasl.project.cases import derive_state

AFFINE = np.diag([1.5, 1.5, 3.0, 1.0])  # of the scans of conftest.py


def test_scans_are_referred_to_and_described(project, scans):
    cases = project.cases()
    assert [case.id for case in cases] == [f"p{n}" for n in range(1, 13)]
    case = cases[0]
    assert case.reference == scans / "p1.nii.gz"
    assert (case.shape, case.spacing) == ((7, 6, 5), (3.0, 1.5, 1.5))
    assert case.geometry.canonical_shape == case.shape
    assert case.state is CaseState.UNLABELLED
    assert not (project.folder / "scans").exists()
    assert project.counts() == {
        "cases": 12,
        "annotated": 0,
        "pseudo": 0,
        "guard": 0,
        "pool": 12,
        "skipped": 0,
        "unreadable": 0,
        "drafts": 0,
    }


def test_a_project_is_the_same_after_it_was_closed(project, mask_of):
    project.record_label("p3", mask_of(project, "p3"), author="Anna")
    cases, config = project.cases(), project.config
    project.close()
    with Project.open(project.folder) as again:
        assert again.config == config
        assert [(c.id, c.series, c.shape, c.state) for c in again.cases()] == [
            (c.id, c.series, c.shape, c.state) for c in cases
        ]
        assert all(a.geometry.matches(b.geometry) for a, b in zip(again.cases(), cases, strict=True))


def test_the_same_scan_is_added_once_and_a_taken_name_is_refused(project, scans, tmp_path, write_scan):
    write_scan(tmp_path / "more" / "p1.nii.gz", seed=99)
    write_scan(tmp_path / "more" / "new.nii.gz", seed=98)
    added, skipped = project.add_cases([scans / "p2.nii.gz", tmp_path / "more", tmp_path / "nowhere"])
    assert added == ("new",)
    reasons = {path.name: reason for path, reason in skipped}
    assert "in the project already, as case p2" in reasons["p2.nii.gz"]
    assert "has a case p1 already" in reasons["p1.nii.gz"]
    assert "no such file" in reasons["nowhere"]


def test_bad_scans_are_left_out_with_their_reason_and_the_others_come_in(make, scans):
    (scans / "empty.nii.gz").touch()
    whole = (scans / "p1.nii.gz").read_bytes()
    (scans / "cut.nii.gz").write_bytes(whole[: len(whole) // 2])
    (scans / "notes.txt").write_text("nothing")
    project = make()
    added, skipped = project.add_cases([scans])
    assert len(added) == 12
    assert sorted(path.name for path, _ in skipped) == ["cut.nii.gz", "empty.nii.gz"]
    assert all(reason for _, reason in skipped)


def test_a_folder_without_a_scan_is_refused(make, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ProjectError, match="No scan could be added"):
        make().add_cases([tmp_path / "empty"])


def test_scans_that_all_lack_a_channel_are_refused_together(make, scans):
    with pytest.raises(ProjectError, match=r"None of the 12 scans .* It has no series PET"):
        make(channels=("CT", "PET")).add_cases([scans])


def test_the_project_folder_may_lie_among_its_scans(make, tmp_path, scans, mask_of):
    project = make("images/study", images=scans)
    project.record_label("p1", mask_of(project, "p1") > 0, author="A")
    added, skipped = project.add_cases([scans])
    assert added == ()
    assert len(skipped) == 12
    assert len(project.cases()) == 12


def test_copied_scans_make_the_project_movable(make, scans, tmp_path):
    project = make(images=scans, copy_scans=True)
    before = project.read_image_array("p4")
    project.close()
    shutil.rmtree(scans)
    shutil.move(project.folder, tmp_path / "elsewhere")
    with Project.open(tmp_path / "elsewhere") as moved:
        assert moved.config.copy_scans
        assert moved.check_scan("p4") == ""
        assert np.array_equal(moved.read_image_array("p4"), before)


def test_adding_can_be_stopped_and_adds_nothing_then(make, scans):
    project = make()
    with pytest.raises(Cancelled):
        project.add_cases([scans], cancelled=lambda: True)
    assert project.cases() == []


def test_adding_reports_its_progress(make, scans):
    heard = []
    make().add_cases([scans], report=heard.append)
    assert [event.done for event in heard] == list(range(13))


def test_several_series_become_channels_where_every_case_has_them(make, tmp_path, write_scan):
    for case in ("A", "B"):
        write_scan(tmp_path / "images" / case / "CT_image.nii.gz", seed=1)
        write_scan(tmp_path / "images" / case / "PET_image.nii.gz", (4, 4, 4), seed=2, affine=np.diag([2, 2, 5, 1.0]))
    project = make(images=tmp_path / "images", modality="PET")
    assert project.config.channels == ("PET", "CT")
    assert Project.open(project.folder).config.channels == ("PET", "CT")
    case = project.case("A")
    volumes = project.read_image("A")
    array = project.read_image_array("A")
    assert [series.channel for series in case.series] == ["PET", "CT"]
    assert [volume.array.shape for volume in volumes] == [(4, 4, 4), (7, 6, 5)]
    assert (array.shape, array.dtype) == ((2, 4, 4, 4), np.float32)
    assert np.array_equal(array[0], volumes[0].array)


def test_an_extra_series_of_some_cases_is_kept_but_is_no_channel(make, tmp_path, write_scan):
    write_scan(tmp_path / "images" / "A" / "CT_image.nii.gz")
    for case in ("A", "B"):
        write_scan(tmp_path / "images" / case / "PET_image.nii.gz")
    project = make(images=tmp_path / "images", modality="PET")
    assert project.config.channels == ("image",)
    assert len(project.case("A").series) == 2
    assert len(project.read_image("A")) == 2
    assert project.read_image_array("A").shape == (1, 7, 6, 5)


def test_a_case_that_lacks_a_channel_is_left_out(make, tmp_path, write_scan):
    write_scan(tmp_path / "images" / "A" / "CT_image.nii.gz")
    for case in ("A", "B"):
        write_scan(tmp_path / "images" / case / "PET_image.nii.gz")
    project = make(modality="PET", channels=("PET", "CT"))
    added, skipped = project.add_cases([tmp_path / "images"])
    assert added == ("A",)
    assert skipped == ((tmp_path / "images" / "B" / "PET_image.nii.gz", "It has no series CT."),)


def test_an_unknown_case_is_named_with_a_near_miss(project):
    with pytest.raises(ProjectError, match=r"no case p13\. Did you mean p\d+\?"):
        project.case("p13")


NONE = dict.fromkeys(("unreadable", "draft", "guard", "labelled", "pseudo", "skipped"), False)


@pytest.mark.parametrize(
    ("known", "state"),
    [
        ((), CaseState.UNLABELLED),
        (("skipped",), CaseState.SKIPPED),
        (("skipped", "pseudo"), CaseState.PSEUDO),
        (("pseudo", "labelled", "skipped"), CaseState.LABELLED),
        (("labelled", "guard"), CaseState.GUARD),
        (("guard",), CaseState.UNLABELLED),
        (("labelled", "guard", "draft"), CaseState.DRAFT),
        (("labelled", "draft", "unreadable"), CaseState.UNREADABLE),
    ],
)
def test_the_state_is_the_first_that_holds(known, state):
    assert derive_state(**{**NONE, **dict.fromkeys(known, True)}) is state


def test_who_is_in_the_pool_and_who_is_learned_from(project, mask_of):
    label = lambda case, **keys: project.record_label(case, mask_of(project, case), author="A", **keys)  # noqa: E731
    label("p1")
    project.add_model("m")
    project.save_prediction("p2", "m", np.full((3, *project.case("p2").shape), 1 / 3), np.zeros(3), {})
    project.save_pseudo_labels(1, [PseudoLabel("p2", 1, "m", 0.5, 0.1, 0.2, datetime.now(UTC))])
    label("p3", source="imported")
    project.skip("p4", "breathing artefact")
    project.save_draft("p5", mask_of(project, "p5"), meta={})
    state = {case.id: case.state for case in project.cases()}
    assert (state["p1"], state["p2"], state["p4"], state["p5"]) == ("labelled", "pseudo", "skipped", "draft")
    assert project.case("p4").reason == "breathing artefact"
    assert {c.id for c in project.pool()} == {f"p{n}" for n in range(1, 13)} - {"p1", "p3", "p4"}
    assert [case.id for case in project.training_cases()] == ["p1", "p3"]
    counts = project.counts()
    assert (counts["annotated"], counts["pseudo"], counts["skipped"], counts["drafts"]) == (2, 1, 1, 1)
    project.unskip("p4")
    assert project.case("p4").state is CaseState.UNLABELLED


@pytest.mark.parametrize(("labelled", "size"), [(0, 0), (2, 0), (3, 2), (12, 2)])
def test_the_guard_is_a_share_of_the_labelled_but_at_least_two_and_never_all(project, labelled, size, mask_of):
    for number in range(1, labelled + 1):
        project.record_label(f"p{number}", mask_of(project, f"p{number}"), author="A")
    guard = project.choose_guard(0.15, seed=4)
    assert len(guard) == size == len(project.guard_cases()) == project.counts()["guard"]
    assert len(project.training_cases()) == labelled - size


def test_the_guard_never_moves_and_does_not_depend_on_the_order_of_labelling(make, scans, mask_of):
    chosen = []
    for name, order in (("one", range(1, 11)), ("two", range(10, 0, -1))):
        project = make(name, images=scans)
        for number in order:
            project.record_label(f"p{number}", mask_of(project, f"p{number}") > 0, author="A")
        chosen.append(project.choose_guard(0.3, seed=1))
    assert chosen[0] == chosen[1]
    assert len(chosen[0]) == 3
    project.record_label("p11", mask_of(project, "p11") > 0, author="A")
    assert set(project.choose_guard(0.9, seed=2)) == set(chosen[0])


def test_no_guard_where_the_share_is_zero(project, mask_of):
    for number in range(1, 9):
        project.record_label(f"p{number}", mask_of(project, f"p{number}"), author="A")
    assert project.choose_guard(0.0) == ()


def test_a_scan_that_stays_the_same_is_not_reported_even_when_it_was_touched(project, scans):
    assert project.check_scan("p1") == ""
    os.utime(scans / "p1.nii.gz", (1, 1))
    assert project.check_scan("p1") == ""
    assert project.case("p1").series[0].stamp.mtime_ns == 10**9


def test_a_scan_that_changed_or_went_away_is_reported(project, scans):
    stamp = (scans / "p1.nii.gz").stat()
    content = bytearray((scans / "p1.nii.gz").read_bytes())
    content[-20] ^= 1
    (scans / "p1.nii.gz").write_bytes(content)
    assert (scans / "p1.nii.gz").stat().st_size == stamp.st_size
    assert "content differs" in project.check_scan("p1")
    (scans / "p2.nii.gz").write_bytes(b"x")
    assert "1 bytes instead of" in project.check_scan("p2")
    (scans / "p3.nii.gz").unlink()
    assert "p3.nii.gz is missing" in project.check_scan("p3")


def test_a_missing_scan_is_one_clear_error_and_does_not_condemn_the_case(project, scans):
    (scans / "p3.nii.gz").rename(scans / "away")
    with pytest.raises(VolumeError, match=r"scan of case p3 is missing.*labels of the case are safe"):
        project.read_image("p3")
    assert project.case("p3").readable
    assert len(project.cases()) == 12


def test_a_scan_that_cannot_be_read_any_more_leaves_the_pool_until_it_can(project, scans):
    good = (scans / "p3.nii.gz").read_bytes()
    (scans / "p3.nii.gz").write_bytes(good[:100])
    with pytest.raises(VolumeError):
        project.read_image_array("p3")
    case = project.case("p3")
    assert case.state is CaseState.UNREADABLE
    assert "p3.nii.gz" in case.reason
    assert "p3" not in {case.id for case in project.pool()}
    (scans / "p3.nii.gz").write_bytes(good)
    project.read_image("p3")
    assert project.case("p3").state is CaseState.UNLABELLED


def test_a_scan_replaced_by_one_on_another_grid_is_not_read_as_the_old_one(project, scans, write_scan):
    write_scan(scans / "p3.nii.gz", (5, 6, 8))
    with pytest.raises(GridMismatch, match="replaced by one on another grid"):
        project.read_image("p3")


def test_a_folder_with_a_project_is_not_made_into_another(project):
    with pytest.raises(ProjectError, match="already"):
        Project.create(project.folder, ProjectConfig(name="x", modality="CT"))
    (project.folder / "project.toml").unlink()
    with pytest.raises(ProjectError, match="already"):
        Project.create(project.folder, ProjectConfig(name="x", modality="CT"))
    assert (project.folder / "project.sqlite").exists()


def test_a_file_is_no_place_for_a_project(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ProjectError, match="is a file"):
        Project.create(tmp_path / "file", ProjectConfig(name="x", modality="CT"))


class TestImport:
    def test_all_labels_that_fit_are_imported_and_the_others_are_named(self, project, tmp_path, write_mask):
        labels = tmp_path / "labels"
        write_mask(labels / "p1.nii.gz")
        write_mask(labels / "p2_mask.nii.gz", value=2)
        write_mask(labels / "p3.nii.gz", value=3)
        write_mask(labels / "p4.nii.gz", shape=(5, 6, 8))
        write_mask(labels / "p5.nii.gz", affine=np.diag([1.5, 1.5, 3.5, 1]))
        (labels / "p6.nii.gz").write_bytes(b"rubbish")
        write_mask(labels / "p7.nii.gz", value=0.5, dtype=np.float32)
        write_mask(labels / "stranger.nii.gz")
        imported, skipped = project.import_labels(labels, author="Bruno")
        assert imported == ("p1", "p2")
        reasons = {path.name: reason for path, reason in skipped}
        assert sorted(reasons) == ["p3.nii.gz", "p4.nii.gz", "p5.nii.gz", "p6.nii.gz", "p7.nii.gz"]
        assert "1 liver, 2 tumour" in reasons["p3.nii.gz"]
        assert "8 × 6 × 5 instead of 7 × 6 × 5" in reasons["p4.nii.gz"]
        (revision,) = project.labels("p2")
        assert (revision.source, revision.author, revision.number) == ("imported", "Bruno", 1)
        assert project.read_label("p2").max() == 2

    def test_a_number_is_drawn_by_lot_from_the_cases_that_have_a_label_that_fits(
        self, make, scans, tmp_path, write_mask
    ):
        for number in range(3, 12):
            write_mask(tmp_path / "labels" / f"p{number}.nii.gz", value=9 if number == 5 else 1)
        drawn = []
        for name, seed in (("a", 1), ("b", 1), ("c", 2), ("d", 3)):
            imported, _ = make(name, images=scans).import_labels(tmp_path / "labels", 4, seed=seed)
            assert len(imported) == 4
            assert not set(imported) & {"p1", "p2", "p5", "p12"}
            drawn.append(imported)
        assert drawn[0] == drawn[1]
        assert len(set(drawn)) > 1

    def test_named_cases_alone_are_imported(self, project, tmp_path, write_mask):
        write_mask(tmp_path / "labels" / "p1.nii.gz")
        write_mask(tmp_path / "labels" / "p2.nii.gz")
        imported, skipped = project.import_labels(tmp_path / "labels", ["p2", "p3"])
        assert imported == ("p2",)
        assert skipped == ((tmp_path / "labels" / "p3", "the folder has no label for it"),)
        with pytest.raises(ProjectError, match="no case p99"):
            project.import_labels(tmp_path / "labels", ["p99"])

    def test_a_human_label_is_not_replaced(self, project, tmp_path, mask_of, write_mask):
        project.record_label("p1", mask_of(project, "p1"), author="Anna")
        write_mask(tmp_path / "labels" / "p1.nii.gz")
        imported, skipped = project.import_labels(tmp_path / "labels")
        assert imported == ()
        assert "has a human label already" in skipped[0][1]
        assert len(project.labels("p1")) == 1

    def test_a_folder_without_any_label_of_a_case_is_refused(self, project, tmp_path, write_mask):
        write_mask(tmp_path / "labels" / "stranger.nii.gz")
        with pytest.raises(ProjectError, match=r"stranger\.nii\.gz, and a case is called p1"):
            project.import_labels(tmp_path / "labels")
        with pytest.raises(ProjectError, match="no folder"):
            project.import_labels(tmp_path / "nowhere")

    def test_a_label_stored_in_another_axis_order_is_the_same_label(self, project, tmp_path, write_mask):
        import nibabel as nib

        values = np.zeros((5, 6, 7), np.uint8)
        values[1, 2, 3] = 2
        image = nib.Nifti1Image(values, AFFINE)
        write_mask(tmp_path / "labels" / "p1.nii.gz")
        nib.save(image.as_reoriented(np.array([[2, -1], [0, 1], [1, -1]])), tmp_path / "labels" / "p1.nii.gz")
        project.import_labels(tmp_path / "labels")
        stored = nib.load(project.labels("p1")[0].path)
        assert np.array_equal(np.asarray(stored.dataobj), values)
        assert np.array_equal(stored.affine, AFFINE)
