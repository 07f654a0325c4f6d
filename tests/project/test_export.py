"""Export: labels and predictions on the grid of their scans, in three forms that other programs read."""

from __future__ import annotations

import json
import warnings

import nibabel
import numpy as np
import pytest

from napari_dasl import volumes
from napari_dasl.errors import InputError
from napari_dasl.project import Project, setup
from napari_dasl.project.export import export_project


@pytest.fixture
def study(tmp_path):
    """Two MR scans in an awkward axis order, one of them labelled."""
    rng = np.random.default_rng(0)
    affine = np.array([[0, 0, 2.0, -5], [-1.0, 0, 0, 3], [0, 1.5, 0, 7], [0, 0, 0, 1]])
    for name in ("a", "b"):
        (tmp_path / "images").mkdir(exist_ok=True)
        image = nibabel.Nifti1Image(rng.integers(0, 99, (6, 7, 8)).astype(np.int16), affine)
        nibabel.save(image, tmp_path / "images" / f"{name}.nii.gz")
    setup.make(tmp_path / "study", images=tmp_path / "images", modality="MR", classes=("core", "rim"))
    with Project.open(tmp_path / "study") as project:
        mask = np.zeros(project.case("a").shape, np.uint8)
        mask[1:3, 2:5, 1:4] = 1
        mask[3, 3, 3] = 2
        project.record_label("a", mask, author="ann")
        yield project, mask, affine


def test_nifti_lies_voxel_for_voxel_on_the_scan(study, tmp_path):
    project, mask, affine = study
    done = export_project(project, tmp_path / "out")
    assert [path.name for path in done.written] == ["a.nii.gz"]
    written = nibabel.load(done.written[0])
    np.testing.assert_array_equal(written.affine, affine)
    np.testing.assert_array_equal(project.case("a").geometry.to_canonical(np.asarray(written.dataobj)), mask)


def test_nnunet_has_images_labels_and_a_description(study, tmp_path):
    project, mask, _ = study
    export_project(project, tmp_path / "out", form="nnunet")
    described = json.loads((tmp_path / "out" / "dataset.json").read_text(encoding="utf-8"))
    assert described["labels"] == {"background": 0, "core": 1, "rim": 2}
    assert described["channel_names"] == {"0": "MR"}
    assert described["numTraining"] == 1
    image = nibabel.load(tmp_path / "out" / "imagesTr" / "a_0000.nii.gz")
    label = nibabel.load(tmp_path / "out" / "labelsTr" / "a.nii.gz")
    np.testing.assert_array_equal(image.affine, label.affine)
    np.testing.assert_array_equal(
        np.asarray(image.dataobj), np.asarray(nibabel.load(project.case("a").reference).dataobj)
    )
    np.testing.assert_array_equal(volumes.read_mask(tmp_path / "out" / "labelsTr" / "a.nii.gz"), mask)


def test_an_nnunet_export_can_be_imported_again(study, tmp_path):
    project, mask, _ = study
    export_project(project, tmp_path / "out", form="nnunet")
    out = tmp_path / "out"
    made = setup.make(tmp_path / "again", images=out / "imagesTr", labels=out / "labelsTr", modality="MR")
    assert made.classes == ("core", "rim")
    with Project.open(made.folder) as again:
        np.testing.assert_array_equal(again.read_label("a"), mask)


def test_predictions_are_those_of_the_active_model(study, tmp_path):
    project, mask, _ = study
    project.add_model("r0001-x", promoted=True)
    project.use("r0001-x")
    probability = np.zeros((3, *mask.shape), np.float32)
    np.put_along_axis(probability, mask[None].astype(int), 1.0, axis=0)
    project.save_prediction("b", "r0001-x", probability, np.ones(3), {})
    done = export_project(project, tmp_path / "out", what="predictions")
    assert [path.name for path in done.written] == ["b.nii.gz"]
    np.testing.assert_array_equal(volumes.read_mask(done.written[0]), mask)


def test_dicom_seg_of_a_scan_that_is_no_dicom_is_skipped_with_the_reason(study, tmp_path):
    done = export_project(study[0], tmp_path / "out", form="dicom-seg")
    assert done.written == ()
    assert done.skipped[0][0] == "a"
    assert "no DICOM series" in done.skipped[0][1]


def test_a_file_in_the_way_is_said(study, tmp_path):
    (tmp_path / "out").write_text("taken", encoding="utf-8")
    with pytest.raises(InputError, match="is a file"):
        export_project(study[0], tmp_path / "out")


@pytest.mark.data
def test_dicom_seg_refers_to_the_slices_and_keeps_every_voxel(data_dir, tmp_path):
    highdicom, pydicom = pytest.importorskip("highdicom"), pytest.importorskip("pydicom")
    from napari_dasl.volumes.dicom import slice_files

    series = data_dir / "pet_wholebody" / "dicom_STS_001" / "image"
    setup.make(tmp_path / "pet", images=series, modality="PET", classes=("tumour", "node"))
    with Project.open(tmp_path / "pet") as project, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the person names in this series
        case = project.cases()[0]
        mask = np.zeros(case.shape, np.uint8)
        mask[40:44, 50:70, 30:41] = 1
        mask[100, 60:64, 60] = 2
        project.record_label(case.id, mask, author="ann")
        done = export_project(project, tmp_path / "out", form="dicom-seg")
        segmentation = highdicom.seg.segread(done.written[0])
        files = slice_files(case.reference, case.series[0].series_uid)
        order = [pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID for path in files]
        frames = segmentation.get_pixels_by_source_instance(order, combine_segments=True)
    np.testing.assert_array_equal(frames.transpose(2, 1, 0), case.geometry.to_native(mask))
    assert [segmentation.get_segment_description(k).segment_label for k in (1, 2)] == ["tumour", "node"]
