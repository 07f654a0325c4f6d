"""Label maps: read onto the grid of their scan, written back onto it exactly."""

from __future__ import annotations

import errno
import gzip
import os
from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from napari_dasl.errors import GridMismatch, LabelError, StorageError, VolumeError
from napari_dasl.volumes import Geometry, masks, read, read_geometry, read_mask, write_mask

ALL_48 = list(product(permutations(range(3)), product((1, -1), repeat=3)))
SUFFIXES = [".nii.gz", ".nii", ".nrrd", ".mha"]


def affine_of(order=(0, 1, 2), signs=(-1, -1, 1), angle=0.0):
    affine = np.zeros((4, 4))
    for n, axis in enumerate(order):
        affine[axis, n] = signs[n] * (0.7, 1.1, 2.3)[n]
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    affine[:3, :3] = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ affine[:3, :3]
    affine[:, 3] = (-101.3, 1 / 3, 77.7, 1)
    return affine


@pytest.fixture
def mask():
    return np.random.default_rng(0).integers(0, 4, (3, 4, 5)).astype(np.uint8)


def scan(path, shape, affine, *, sform=1, qform=1, kind=nib.Nifti1Image):
    image = kind(np.zeros(shape, np.int16), None)
    image.header.set_xyzt_units("mm", "sec")
    image.set_qform(affine, qform)
    image.set_sform(affine if sform else None, sform)
    nib.save(image, path)
    return path


@pytest.mark.parametrize(("order", "signs"), ALL_48)
@pytest.mark.parametrize("angle", [0, 17.5])
def test_a_mask_is_restored_voxel_for_voxel_for_all_48_axis_orders(tmp_path, order, signs, angle):
    """What was painted at a place of the patient lies at that place for every other reader of the file."""
    affine = affine_of(order, signs, angle)
    path = scan(tmp_path / "scan.nii", (3, 4, 5), affine)
    geometry = read_geometry(path)
    mask = np.arange(60, dtype=np.uint8).reshape(geometry.canonical_shape)
    write_mask(tmp_path / "mask.nii", mask, geometry)
    assert_array_equal(read_mask(tmp_path / "mask.nii", geometry), mask)
    image, original = nib.load(tmp_path / "mask.nii"), nib.load(path)
    assert image.shape == original.shape
    assert_array_equal(image.affine, original.affine)  # bit for bit
    assert_array_equal(np.asarray(image.dataobj), geometry.to_native(mask))


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize(("sform", "qform"), [(0, 0), (0, 1), (1, 0), (2, 1), (4, 4)])
@pytest.mark.parametrize("angle", [0, 12.3])
def test_every_orientation_field_of_a_nifti_scan_is_carried_on_bit_for_bit(tmp_path, mask, kind, sform, qform, angle):
    geometry = read_geometry(
        scan(tmp_path / "scan.nii", (5, 4, 3), affine_of(angle=angle), sform=sform, qform=qform, kind=kind)
    )
    write_mask(tmp_path / "mask.nii.gz", mask, geometry)
    old, new = nib.load(tmp_path / "scan.nii"), nib.load(tmp_path / "mask.nii.gz")
    assert type(new) is kind
    names = ["qform_code", "sform_code", "xyzt_units", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y"]
    for name in [*names, "qoffset_z", "srow_x", "srow_y", "srow_z", "pixdim"]:
        assert_array_equal(new.header[name], old.header[name], err_msg=name)
    assert_array_equal(new.affine, old.affine)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("angle", [0, 25])
def test_a_mask_for_a_scan_of_any_format_lies_on_its_grid(tmp_path, mask, suffix, angle):
    geometry = Geometry((5, 4, 3), affine_of(angle=angle))
    write_mask(tmp_path / f"m{suffix}", mask, geometry)
    assert_array_equal(read_mask(tmp_path / f"m{suffix}", geometry), mask)
    again = read_geometry(tmp_path / f"m{suffix}")
    assert again.shape == geometry.shape
    exact = 1e-5 if "nii" in suffix else 1e-12  # NIfTI-1 stores float32
    assert_allclose(again.affine, geometry.affine, atol=exact)


def test_a_fresh_nifti_has_both_orientations_and_a_sheared_one_the_matrix_alone(tmp_path, mask):
    write_mask(tmp_path / "a.nii", mask, Geometry((5, 4, 3), affine_of(angle=10)))
    header = nib.load(tmp_path / "a.nii").header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 1)
    assert_allclose(header.get_qform(), header.get_sform(), atol=1e-4)
    sheared = affine_of()
    sheared[1, 2] += 0.5
    write_mask(tmp_path / "b.nii", mask, Geometry((5, 4, 3), sheared))
    image = nib.load(tmp_path / "b.nii")
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (1, 0)
    assert_allclose(image.affine, sheared, atol=1e-5)
    assert_allclose(image.header.get_zooms(), np.linalg.norm(sheared[:3, :3], axis=0), rtol=1e-6)


def test_the_mask_of_an_nrrd_scan_lies_on_it_for_simpleitk_too(tmp_path, mask):
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.GetImageFromArray(np.zeros((3, 4, 5), np.int16))
    image.SetSpacing((0.5, 0.6, 3.0))
    image.SetOrigin((-12.5, 30.25, 99.0))
    image.SetDirection((0, 1, 0, 1, 0, 0, 0, 0, -1))
    sitk.WriteImage(image, str(tmp_path / "scan.nrrd"))
    volume = read(tmp_path / "scan.nrrd")
    canonical = np.arange(60, dtype=np.uint8).reshape(volume.shape)
    write_mask(tmp_path / "m.nii.gz", canonical, volume.geometry)
    written = sitk.ReadImage(str(tmp_path / "m.nii.gz"))
    assert written.GetSize() == image.GetSize()
    assert_allclose(written.GetOrigin(), image.GetOrigin(), atol=1e-5)
    assert_allclose(written.GetDirection(), image.GetDirection(), atol=1e-6)
    assert_array_equal(sitk.GetArrayFromImage(written), volume.geometry.to_native(canonical).transpose())


def test_a_mask_stored_in_another_axis_order_fits_its_scan(tmp_path):
    """Segmentation programs save RAS where scanners save LPS."""
    volume = read(scan(tmp_path / "scan.nii", (5, 4, 3), affine_of()))
    canonical = np.arange(60, dtype=np.uint8).reshape(volume.shape)
    write_mask(tmp_path / "m.nii", canonical, volume.geometry)
    ras = nib.as_closest_canonical(nib.load(tmp_path / "m.nii"))
    nib.save(ras, tmp_path / "ras.nii")
    assert nib.load(tmp_path / "ras.nii").affine[0, 0] > 0
    assert_array_equal(read_mask(tmp_path / "ras.nii", volume.geometry), canonical)


@pytest.mark.parametrize(
    ("shape", "move", "words"),
    [((5, 4, 4), 0, "shape 4 × 4 × 5 instead of 3 × 4 × 5"), ((5, 4, 3), 9.0, "origin"), ((4, 5, 3), 0, "shape")],
)
def test_another_grid_is_refused_and_the_difference_named(tmp_path, shape, move, words):
    geometry = Geometry((5, 4, 3), affine_of())
    affine = affine_of()
    affine[2, 3] += move
    other = Geometry(shape, affine)
    write_mask(tmp_path / "m.nii.gz", np.zeros(other.canonical_shape, np.uint8), other)
    with pytest.raises(GridMismatch, match=words) as caught:
        read_mask(tmp_path / "m.nii.gz", geometry)
    assert "m.nii.gz" in caught.value.message
    assert caught.value.hint
    assert read_mask(tmp_path / "m.nii.gz").shape == other.canonical_shape  # without a scan there is nothing to refuse


def save(path, array):
    nib.save(nib.Nifti1Image(array, affine_of(), dtype=array.dtype), path)
    return path


@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "i8", "f4", "f8", "u2"])
def test_whole_numbers_of_any_type_are_labels(tmp_path, dtype):
    array = np.random.default_rng(0).integers(0, 100, (5, 4, 3)).astype(dtype)
    mask = read_mask(save(tmp_path / "m.nii", array))
    assert mask.dtype == np.uint8
    assert_array_equal(Geometry((5, 4, 3), affine_of()).to_native(mask), array)


def test_values_above_255_need_uint16(tmp_path, mask):
    wide = mask.astype(np.int64)
    wide[0, 0, 0] = 1000
    geometry = Geometry((5, 4, 3), affine_of())
    write_mask(tmp_path / "m.nii.gz", wide, geometry)
    assert nib.load(tmp_path / "m.nii.gz").get_data_dtype() == np.uint16
    assert read_mask(tmp_path / "m.nii.gz", geometry).dtype == np.uint16
    assert_array_equal(read_mask(tmp_path / "m.nii.gz", geometry), wide)


@pytest.mark.parametrize(
    ("value", "words"), [(0.5, "fractions .0.5"), (-1, "from -1"), (70000, "to 70000"), (np.nan, "not numbers")]
)
def test_a_file_that_is_no_label_map_is_refused(tmp_path, value, words):
    array = np.zeros((5, 4, 3), np.float32)
    array[1, 1, 1] = value
    with pytest.raises(LabelError, match=words):
        read_mask(save(tmp_path / "m.nii", array))


@pytest.mark.parametrize("value", [0.5, -1, 2**16, np.nan, np.inf])
def test_a_mask_that_is_no_label_map_is_not_written(tmp_path, value):
    array = np.zeros((3, 4, 5))
    array[0, 0, 0] = value
    with pytest.raises(LabelError):
        write_mask(tmp_path / "m.nii", array, Geometry((5, 4, 3), affine_of()))
    assert list(tmp_path.iterdir()) == []


def test_bool_masks_are_written_as_0_and_1(tmp_path, mask):
    geometry = Geometry((5, 4, 3), affine_of())
    write_mask(tmp_path / "m.nii.gz", mask > 1, geometry)
    assert_array_equal(read_mask(tmp_path / "m.nii.gz"), mask > 1)


def test_a_mask_of_another_shape_is_not_written(tmp_path, mask):
    with pytest.raises(GridMismatch):
        write_mask(tmp_path / "m.nii", mask, Geometry((3, 4, 5), affine_of()))


def test_an_unknown_suffix_is_refused(tmp_path, mask):
    with pytest.raises(VolumeError, match=r"m\.png"):
        write_mask(tmp_path / "m.png", mask, Geometry((5, 4, 3), affine_of()))


def test_a_dicom_file_is_no_mask_file(make_series, pixels):
    with pytest.raises(VolumeError, match="DICOM"):
        read_mask(make_series(pixels))


def test_equal_masks_are_equal_files(tmp_path, mask):
    geometry = Geometry((5, 4, 3), affine_of())
    for name in ("a.nii.gz", "b.nii.gz"):
        write_mask(tmp_path / name, mask, geometry)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_leaves_the_old_mask(tmp_path, mask, monkeypatch, suffix):
    geometry, path = Geometry((5, 4, 3), affine_of()), tmp_path / f"m{suffix}"
    write_mask(path, mask, geometry)

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="disk is full"):
        write_mask(path, mask * 0, geometry)
    monkeypatch.undo()
    assert_array_equal(read_mask(path, geometry), mask)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_scan_whose_affine_was_changed_gets_fresh_fields(tmp_path, mask):
    """The stored fields are carried on only where they still say what the affine says."""
    geometry = read_geometry(scan(tmp_path / "scan.nii", (5, 4, 3), affine_of()))
    moved = geometry.affine.copy()
    moved[0, 3] += 10
    write_mask(tmp_path / "m.nii", mask, Geometry(geometry.shape, moved, geometry.form))
    assert_allclose(nib.load(tmp_path / "m.nii").affine, moved, atol=1e-5)


def test_masks_compress_fast_and_well():
    assert masks._GZIP_LEVEL == 1
    empty = bytes(512 * 512 * 50)
    assert len(gzip.compress(empty, masks._GZIP_LEVEL)) < len(empty) / 200
