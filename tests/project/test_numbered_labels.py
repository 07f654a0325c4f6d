"""Projects whose labels number the lesions: ids are kept as they are, and become the class where classes are meant."""

from __future__ import annotations

import json
import warnings
from datetime import UTC, datetime

import numpy as np
import pytest

from napari_dasl import volumes
from napari_dasl.errors import LabelError, ProjectError
from napari_dasl.project import Project, PseudoLabel, config, setup
from napari_dasl.project.export import export_project
from napari_dasl.project.instances import describe


@pytest.fixture
def study(make, scans):
    """Twelve scans whose labels number nodules."""
    return make(images=scans, classes=("nodule",), instances=True)


@pytest.fixture
def numbered(study):
    """A label (7, 6, 5) with lesion 3 in two pieces and lesion 700."""
    mask = np.zeros(study.case("p1").shape, np.uint16)
    mask[1, 1, 1] = mask[5, 5, 4] = 3
    mask[2:4, 1:3, 1:3] = 700
    return mask


@pytest.fixture
def write(study):
    """Write a mask (z, y, x) as a NIfTI file on the grid of the scans: ``write(path, mask)``."""

    def one(path, mask):
        path.parent.mkdir(parents=True, exist_ok=True)
        volumes.write_mask(path, mask, study.case("p1").geometry)
        return path

    return one


class TestTheSetting:
    def test_it_is_off_unless_it_is_set(self, project, tmp_path):
        assert project.config.instances is False
        (tmp_path / "old.toml").write_text('name = "old"\nmodality = "CT"\n', encoding="utf-8")
        assert config.load(tmp_path / "old.toml").instances is False

    def test_it_is_written_under_what_it_means_and_read_back(self, study):
        text = (study.folder / "project.toml").read_text(encoding="utf-8")
        assert "number the lesions of the one class, instead of naming it.\ninstances = true" in text
        study.close()
        with Project.open(study.folder) as again:
            assert again.config.instances is True

    def test_it_needs_exactly_one_class(self, tmp_path):
        path = tmp_path / "project.toml"
        path.write_text('name = "s"\nmodality = "CT"\nclasses = ["a", "b"]\ninstances = true\n', encoding="utf-8")
        with pytest.raises(ProjectError, match="instances is True, but must be false, or classes a list of one name"):
            config.load(path)

    def test_a_new_project_counts_no_classes_in_the_values(self, scans, tmp_path, numbered, write):
        for name in ("p1", "p2", "p3"):
            write(tmp_path / "masks" / f"{name}.nii.gz", numbered)
        made = setup.make(tmp_path / "new", images=scans, labels=tmp_path / "masks", modality="CT", instances=True)
        assert (made.classes, made.annotated, made.skipped) == (("lesion",), 3, ())
        with Project.open(made.folder) as project:
            assert project.config.instances
            assert np.array_equal(project.read_label("p2"), numbered)


class TestLabels:
    def test_what_a_person_draws_is_kept_as_it_is(self, study, numbered):
        single = np.zeros_like(numbered)
        single[1, 1, 1] = single[6, 5, 4] = 1  # one lesion in two pieces, because its author says so
        for mask in (numbered, single):
            study.record_label("p1", mask, author="Anna")
            assert np.array_equal(study.read_label("p1"), mask)
            study.save_draft("p1", mask, meta={})
            assert np.array_equal(study.read_draft("p1").mask, mask)

    def test_a_file_that_numbers_lesions_is_kept_as_it_is(self, study, numbered, tmp_path, write):
        write(tmp_path / "masks" / "p1.nii.gz", numbered)
        assert study.import_labels(tmp_path / "masks").imported == ("p1",)
        assert np.array_equal(study.read_label("p1"), numbered)

    def test_a_file_that_tells_no_lesions_apart_gets_numbers(self, study, numbered, tmp_path, write):
        path = write(tmp_path / "masks" / "p1.nii.gz", (numbered > 0).astype(np.uint8))
        study.import_labels(tmp_path / "masks")
        study.record_label("p2", path, author="Anna")
        for case in ("p1", "p2"):
            label = study.read_label(case)
            assert np.array_equal(label > 0, numbered > 0)
            assert (label[1, 1, 1], label[2, 1, 1], label[5, 5, 4]) == (1, 1, 2)  # the first touches the large one

    def test_in_a_project_of_classes_a_file_is_kept_as_it_is(self, make, scans, numbered, tmp_path, write):
        project = make("plain", images=scans)
        mask = (numbered > 0).astype(np.uint8)
        project.record_label("p1", write(tmp_path / "p1.nii.gz", mask), author="Anna")
        assert np.array_equal(project.read_label("p1"), mask)
        with pytest.raises(LabelError, match="holds the value 700, but the project knows 0 background, 1 lesion"):
            project.record_label("p1", numbered, author="Anna")

    @pytest.mark.parametrize("value", [-1, 65536])
    def test_what_no_number_can_be_is_refused(self, study, value):
        mask = np.zeros(study.case("p1").shape, np.int64)
        mask[0, 0, 0] = value
        with pytest.raises(LabelError, match=f"holds the value {value}, but lesions are numbered from 1 to 65535"):
            study.record_label("p1", mask, author="Anna")
        assert study.labels("p1") == []


class TestClassesAndLesions:
    def test_numbers_are_all_of_the_one_class(self, study, numbered):
        assert np.array_equal(study.class_map(numbered), numbered > 0)
        ids, classes = study.lesion_map(numbered)
        assert np.array_equal(ids, numbered)
        assert classes == {3: 1, 700: 1}

    def test_classes_are_what_they_are_and_their_pieces_are_lesions(self, project, mask_of):
        label = mask_of(project, "p1", 2)
        assert project.class_map(label) is label
        ids, classes = project.lesion_map(label)
        assert classes == {1: 1, 2: 2}
        assert np.array_equal(ids > 0, label > 0)


@pytest.fixture
def predicted(study, numbered):
    """Case p2 with a prediction of two lesions, 4 and 9, and another, 6, below the threshold."""
    study.add_model("m", round=1, active=True)
    ids = np.zeros(numbered.shape, np.uint16)
    ids[1:3, 1:3, 1:3], ids[5:7, 3:5, 0:2], ids[4, 0, 0] = 4, 9, 6
    foreground = np.isin(ids, (4, 9)).astype(np.float32)
    found = describe(ids, dict.fromkeys((4, 6, 9), 1), {6: 0.1}, study.case("p2").spacing, {4, 9})
    study.save_prediction("p2", "m", np.stack([1 - foreground, foreground]), np.zeros(3), {}, found, ids)
    return np.where(ids == 6, 0, ids)


class TestPredictions:
    def test_a_prediction_becomes_a_label_with_the_numbers_of_what_it_kept(self, study, predicted):
        stored = study.prediction("p2")
        assert np.array_equal(study.label_from(stored), predicted)
        assert np.array_equal(stored.label(), predicted > 0)

    def test_so_does_a_pseudo_label_that_is_accepted(self, study, predicted):
        study.save_pseudo_labels(2, [PseudoLabel("p2", 2, "m", 0.5, 0.1, 0.2, datetime.now(UTC))])
        assert np.array_equal(study.pseudo_mask("p2"), predicted)
        revision = study.accept_pseudo("p2", author="Anna")
        assert np.array_equal(study.read_label("p2"), predicted)
        assert study.accept_pseudo("p2", author="Anna") == revision

    def test_findings_that_are_drawn_already_are_said_to_be(self, study, predicted):
        study.record_label("p2", np.where(predicted == 9, 31, 0), author="Anna")
        assert {one.instance.id: one.state for one in study.findings("p2")} == {
            4: "proposed",
            9: "labelled",
            6: "below",
        }


class TestExport:
    def test_nifti_keeps_the_numbers(self, study, numbered, predicted, tmp_path):
        study.record_label("p1", numbered, author="Anna")
        export_project(study, tmp_path / "labels")
        export_project(study, tmp_path / "predictions", what="predictions")
        assert np.array_equal(volumes.read_mask(tmp_path / "labels" / "p1.nii.gz"), numbered)
        assert np.array_equal(volumes.read_mask(tmp_path / "predictions" / "p2.nii.gz"), predicted)

    def test_nnunet_which_knows_only_classes_gets_the_class(self, study, numbered, tmp_path):
        study.record_label("p1", numbered, author="Anna")
        export_project(study, tmp_path / "out", form="nnunet")
        assert np.array_equal(volumes.read_mask(tmp_path / "out" / "labelsTr" / "p1.nii.gz"), numbered > 0)
        described = json.loads((tmp_path / "out" / "dataset.json").read_text(encoding="utf-8"))
        assert described["labels"] == {"background": 0, "nodule": 1}


@pytest.mark.data
def test_dicom_seg_has_a_segment_per_lesion(data_dir, tmp_path):
    highdicom = pytest.importorskip("highdicom")
    series = data_dir / "pet_wholebody" / "dicom_STS_001" / "image"
    setup.make(tmp_path / "pet", images=series, modality="PET", classes=("tumour",), instances=True)
    with Project.open(tmp_path / "pet") as project, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the person names in this series
        case = project.cases()[0]
        mask = np.zeros(case.shape, np.uint16)
        mask[40:44, 50:70, 30:41], mask[100, 60:64, 60] = 300, 2
        project.record_label(case.id, mask, author="ann")
        segmentation = highdicom.seg.segread(export_project(project, tmp_path / "out", form="dicom-seg").written[0])
    assert [segmentation.get_segment_description(k).segment_label for k in (1, 2)] == ["tumour 2", "tumour 300"]
    numbers = [
        int(frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        for frame in segmentation.PerFrameFunctionalGroupsSequence
    ]
    voxels = segmentation.pixel_array.reshape(len(numbers), -1).sum(axis=1)
    sizes = {k: int(sum(n for n, number in zip(voxels, numbers, strict=True) if number == k)) for k in (1, 2)}
    assert sizes == {1: 4, 2: 4 * 20 * 11}


@pytest.mark.data
def test_masks_of_real_nodules_are_read_as_one_lesion_each(data_dir, tmp_path):
    crops = data_dir / "lidc_nodules"
    (tmp_path / "few").mkdir()
    for path in sorted((crops / "image").glob("*.nii.gz"))[:12]:
        (tmp_path / "few" / path.name).symlink_to(path)
    setup.make(tmp_path / "lidc", images=tmp_path / "few", labels=crops / "nodule_mask", modality="CT", instances=True)
    with Project.open(tmp_path / "lidc") as project:
        cases = project.training_cases() + project.guard_cases()
        assert len(cases) == 12
        for case in cases:
            label = project.read_label(case.id)
            given = volumes.read_mask(crops / "nodule_mask" / f"{case.id}.nii.gz", case.geometry)
            assert np.array_equal(label, given)
            ids, classes = project.lesion_map(label)
            (nodule,) = describe(ids, classes, None, case.spacing)
            assert nodule.volume_ml == pytest.approx(np.count_nonzero(given) * np.prod(case.spacing) / 1000)
            sides = np.subtract(nodule.box[3:], nodule.box[:3])
            area = (label > 0).sum(axis=(1, 2)).max() * case.spacing[1] * case.spacing[2]
            # No shape of that area is narrower than the disc (isodiametric inequality), none wider than its box.
            assert 2 * np.sqrt(area / np.pi) <= nodule.diameter <= np.hypot(*sides[1:])
