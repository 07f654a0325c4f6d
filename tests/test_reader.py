"""napari's reader and writer: right place, right type, and masks that go back onto their exact grid."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest

from napari_dasl import reader, volumes
from napari_dasl.errors import VolumeError

AXES = ("LPI", "RAS", "PIR", "SLA")


def store(path, canonical, codes="LPI", tilt=0.0):
    """Write a canonical (z, y, x) array in the given orientation, *tilt* degrees about x."""
    affine = np.diag([-1.0, -1.5, -2.0, 1.0])
    affine[:3, 3] = (20, 30, -40)
    angle = np.radians(tilt)
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    image = nibabel.Nifti1Image(np.ascontiguousarray(canonical.transpose(2, 1, 0)), turn @ affine)
    wanted = nibabel.orientations.axcodes2ornt(codes)
    turned = image.as_reoriented(nibabel.orientations.ornt_transform(nibabel.io_orientation(affine), wanted))
    nibabel.save(turned, path)


@pytest.fixture
def scan():
    """A CT-like volume (z, y, x) = (6, 7, 8)."""
    return np.random.default_rng(0).integers(-1000, 1000, (6, 7, 8)).astype(np.int16)


@pytest.fixture
def mask():
    """A label map with values 0, 1 and 3."""
    label = np.zeros((6, 7, 8), np.uint8)
    label[2:4, 1:3, 4:7] = 1
    label[5, 6, 7] = 3
    return label


@pytest.mark.parametrize("codes", AXES)
def test_a_scan_lies_in_the_same_place_however_it_is_stored(tmp_path, scan, codes):
    store(tmp_path / "scan.nii.gz", scan, codes)
    read = reader.get_reader(str(tmp_path / "scan.nii.gz"))
    ((array, properties, kind),) = read(str(tmp_path / "scan.nii.gz"))
    assert kind == "image"
    np.testing.assert_array_equal(array, scan)
    assert properties["scale"] == pytest.approx((2.0, 1.5, 1.0))
    assert properties["translate"] == pytest.approx((40, -30, -20))
    assert "affine" not in properties
    assert properties["units"] == ("mm",) * 3
    low, high = properties["contrast_limits"]
    assert low < high


@pytest.mark.parametrize("codes", AXES)
def test_a_mask_is_a_labels_layer_and_goes_back_onto_its_grid(tmp_path, mask, codes):
    source, target = tmp_path / "mask.nii.gz", tmp_path / "out.nii.gz"
    store(source, mask, codes)
    ((array, properties, kind),) = reader.read_layers(str(source))
    assert kind == "labels"
    assert array.dtype == np.uint8
    edited = array.copy()
    edited[0, 0, 0] = 2
    assert reader.write_labels(str(target), edited, properties) == [str(target)]
    before, after = nibabel.load(source), nibabel.load(target)
    np.testing.assert_array_equal(after.affine, before.affine)
    assert after.shape == before.shape
    changed = np.argwhere(np.asanyarray(after.dataobj) != np.asanyarray(before.dataobj))
    assert len(changed) == 1


def test_an_oblique_mask_is_shown_straight_and_its_untouched_voxels_come_back_exactly(tmp_path, mask):
    source, target = tmp_path / "mask.nii.gz", tmp_path / "out.nii.gz"
    store(source, mask, tilt=12)
    ((array, properties, kind),) = reader.read_layers(str(source))
    assert kind == "labels"
    assert "oblique" in properties["name"]
    reader.write_labels(str(target), array, properties)
    np.testing.assert_array_equal(volumes.read_mask(target), mask)
    assert volumes.read_geometry(target).matches(volumes.read_geometry(source))


def test_a_layer_that_was_moved_is_written_where_it_lies(tmp_path, mask):
    source, target = tmp_path / "mask.nii.gz", tmp_path / "out.nii.gz"
    store(source, mask, "RAS")
    ((array, properties, _),) = reader.read_layers(str(source))
    properties["translate"] = (1.0, 2.0, 3.0)
    reader.write_labels(str(target), array, properties)
    assert volumes.read_geometry(target).origin == pytest.approx((1.0, 2.0, 3.0))
    np.testing.assert_array_equal(volumes.read_mask(target), mask)


def test_a_layer_drawn_in_napari_is_written_from_its_scale_and_place(tmp_path, mask):
    target = tmp_path / "drawn.nrrd"
    pytest.importorskip("SimpleITK", reason="NRRD needs SimpleITK")
    reader.write_labels(str(target), mask.astype(np.int64), {"scale": (3, 2, 1), "translate": (5, 6, 7)})
    geometry = volumes.read_geometry(target)
    assert geometry.spacing == pytest.approx((3, 2, 1))
    assert geometry.origin == pytest.approx((5, 6, 7))
    np.testing.assert_array_equal(volumes.read_mask(target), mask)


def test_a_drawing_that_is_no_volume_is_refused(tmp_path):
    with pytest.raises(VolumeError, match="no volume"):
        reader.write_labels(str(tmp_path / "x.nii.gz"), np.zeros((4, 4), int), {})


def test_what_is_not_ours_is_left_to_others(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "photo.png").write_bytes(b"\x89PNG")
    assert reader.get_reader(str(tmp_path / "notes.txt")) is None
    assert reader.get_reader(str(tmp_path / "photo.png")) is None
    assert reader.get_reader(str(tmp_path)) is None
    assert reader.get_reader([]) is None


def test_a_text_file_that_claims_to_be_a_scan_is_one_clear_sentence(tmp_path):
    (tmp_path / "x.nii.gz").write_text("not a scan")
    with pytest.raises(VolumeError):
        reader.read_layers(str(tmp_path / "x.nii.gz"))


@pytest.mark.parametrize(
    ("array", "labels"),
    [
        (np.zeros((3, 3, 3), np.uint8), True),
        (np.arange(27).reshape(3, 3, 3).astype(np.uint8), False),  # not mostly background
        (np.full((3, 3, 3), -1, np.int16), False),
        (np.zeros((3, 3, 3), np.float32), False),
        (np.array([[[0, 0, 0, 0, 2, 1]]], np.int32), True),
        (np.concatenate([np.zeros(999), np.arange(500)]).reshape(1, 1, -1).astype(np.int16), False),
    ],
)
def test_label_maps_are_told_from_scans_by_their_values(array, labels):
    assert reader.is_label_map(array) is labels


@pytest.mark.data
def test_a_folder_of_real_dicom_gives_one_layer_per_series(data_dir):
    folder = data_dir / "pet_wholebody" / "dicom_STS_001" / "image"
    read = reader.get_reader(str(folder))
    assert read is not None
    layers = read(str(folder))
    ((array, properties, kind),) = layers
    assert (kind, array.ndim, properties["colormap"]) == ("image", 3, "gray_r")  # PET is read dark on white
