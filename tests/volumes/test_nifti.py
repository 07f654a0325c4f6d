"""NIfTI files: stored types, scaling, orientation, and every way in which they are broken."""

from __future__ import annotations

import gzip
import zlib

import nibabel as nib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from napari_dasl.errors import VolumeError
from napari_dasl.volumes import read, read_geometry, verify

AFFINE = np.array([[-0.75, 0, 0, 90], [0, 0.5, 0, -126], [0, 0, 2.0, -72], [0, 0, 0, 1]])


@pytest.fixture
def stored():
    return np.random.default_rng(0).integers(-1000, 2000, (6, 5, 4)).astype(np.int16)


def save(path, array, affine=AFFINE, kind=nib.Nifti1Image):
    nib.save(kind(array, affine), path)
    return path


def patch(path, offset, content):
    """Change bytes of an uncompressed file."""
    raw = bytearray(path.read_bytes())
    raw[offset : offset + len(content)] = content
    path.write_bytes(bytes(raw))


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_values_places_and_type_are_those_of_nibabel(tmp_path, stored, suffix, kind):
    path = save(tmp_path / f"a{suffix}", stored, kind=kind)
    volume = read(path)
    assert volume.array.dtype == np.int16
    assert volume.array.flags.c_contiguous
    assert volume.array.flags.writeable
    assert_array_equal(volume.geometry.to_native(volume.array), np.asarray(nib.load(path).dataobj))
    assert_array_equal(volume.geometry.affine, nib.load(path).affine)
    assert volume.shape == (4, 5, 6)
    assert_allclose(volume.spacing, (2, 0.5, 0.75))
    assert (volume.modality, volume.unit, volume.notes, volume.path) == (None, "", (), path)
    assert read_geometry(path).matches(volume.geometry, tolerance_mm=0)
    assert verify(path) == ""


@pytest.mark.parametrize("dtype", ["u1", "i1", "<i2", ">i2", "<u2", ">u2", "<i4", ">i4", "<f4", ">f4"])
def test_stored_types_are_kept_in_this_machines_byte_order(tmp_path, dtype):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    image = nib.Nifti1Image(array, AFFINE)
    image.header.set_data_dtype(np.dtype(dtype))
    path = tmp_path / "a.nii"
    header = image.header.as_byteswapped(">" if dtype.startswith(">") else "<")
    nib.Nifti1Image(array, AFFINE, header).to_filename(path)
    volume = read(path)
    assert volume.array.dtype == np.dtype(dtype).newbyteorder("=")
    assert volume.array.dtype.isnative
    assert_array_equal(volume.geometry.to_native(volume.array), array)


@pytest.mark.parametrize(
    ("dtype", "top", "kept"),
    [("f8", 1, "f4"), ("i8", 2**31 - 1, "i4"), ("i8", 2**40, "f4"), ("u4", 2**31 - 1, "i4"), ("u4", 2**32 - 1, "f4")],
)
def test_types_wider_than_a_scanner_needs_become_32_bits(tmp_path, dtype, top, kept):
    array = np.zeros((2, 3, 4), dtype)
    array[1, 2, 3] = top
    volume = read(save(tmp_path / "a.nii", array) if dtype != "i8" else _save_int64(tmp_path / "a.nii", array))
    assert volume.array.dtype == np.dtype(kept)
    assert volume.array.max() == np.dtype(kept).type(top)


def _save_int64(path, array):
    nib.save(nib.Nifti1Image(array, AFFINE, dtype="int64"), path)
    return path


def test_slope_and_intercept_are_applied_in_float32(tmp_path, stored):
    path = save(tmp_path / "a.nii.gz", stored)
    raw = bytearray(gzip.decompress(path.read_bytes()))
    raw[112:120] = np.array([0.5, -3], "<f4").tobytes()
    path.write_bytes(gzip.compress(bytes(raw)))
    volume = read(path)
    assert volume.array.dtype == np.float32
    assert_allclose(volume.geometry.to_native(volume.array), stored * 0.5 - 3)


@pytest.mark.parametrize("pair", [(0, 5), (1, 0), (np.nan, np.nan)])
def test_a_slope_of_zero_one_or_nothing_leaves_the_stored_values(tmp_path, stored, pair):
    path = save(tmp_path / "a.nii", stored)
    patch(path, 112, np.array(pair, "<f4").tobytes())
    volume = read(path)
    assert volume.array.dtype == np.int16
    assert_array_equal(volume.geometry.to_native(volume.array), stored)


@pytest.mark.parametrize("suffix", [".img", ".img.gz"])
def test_a_pair_of_header_and_voxels_is_one_scan(tmp_path, stored, suffix):
    path = tmp_path / f"a{suffix}"
    nib.save(nib.Nifti1Pair(stored, AFFINE), path)
    for file in (path, path.with_name(path.name.replace(".img", ".hdr"))):
        volume = read(file)
        assert_array_equal(volume.geometry.to_native(volume.array), stored)


def test_trailing_axes_of_length_one_are_dropped(tmp_path, stored):
    volume = read(save(tmp_path / "a.nii.gz", stored[..., None, None]))
    assert_array_equal(volume.geometry.to_native(volume.array), stored)


def test_a_single_slice_is_a_volume_of_one_slice(tmp_path, stored):
    assert read(save(tmp_path / "a.nii", stored[:, :, 0])).shape == (1, 5, 6)


def test_a_compressed_file_of_several_gzip_members_is_read_whole(tmp_path, stored):
    path = save(tmp_path / "a.nii", stored)
    raw = path.read_bytes()
    packed = tmp_path / "b.nii.gz"
    packed.write_bytes(gzip.compress(raw[:400]) + gzip.compress(raw[400:]))
    assert_array_equal(read(packed).array, read(path).array)


def test_the_name_does_not_decide_about_compression(tmp_path, stored):
    path = save(tmp_path / "a.nii", stored)
    misnamed = tmp_path / "b.nii.gz"
    misnamed.write_bytes(path.read_bytes())
    assert_array_equal(read(misnamed).array, read(path).array)


class TestRefused:
    """One clear reason each, already from the header where that shows it."""

    def refused(self, path, words, header_too=True):
        with pytest.raises(VolumeError, match=words) as caught:
            read(path)
        assert caught.value.message.startswith(str(path)) or str(path) in caught.value.message
        if header_too:
            with pytest.raises(VolumeError, match=words):
                read_geometry(path)
        assert verify(path) == str(caught.value)

    def test_a_text_file_named_nii_gz(self, tmp_path):
        path = tmp_path / "a.nii.gz"
        path.write_text("PatientID;Diagnosis\n1;nothing to see\n" * 30)
        self.refused(path, "not a NIfTI file: it is a text file")

    def test_an_empty_file(self, tmp_path):
        path = tmp_path / "a.nii.gz"
        path.touch()
        self.refused(path, "is empty")

    def test_other_bytes(self, tmp_path):
        path = tmp_path / "a.nii"
        path.write_bytes(bytes(range(256)) * 4)
        self.refused(path, "does not begin like NIfTI")

    def test_a_missing_file(self, tmp_path):
        self.refused(tmp_path / "gone.nii.gz", "does not exist")

    @pytest.mark.parametrize("keep", [0.1, 0.5, 0.999])
    @pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
    def test_a_file_cut_short(self, tmp_path, stored, suffix, keep):
        path = save(tmp_path / f"a{suffix}", np.tile(stored, (4, 4, 4)))
        raw = path.read_bytes()
        path.write_bytes(raw[: int(len(raw) * keep)])
        self.refused(path, "cut short")

    def test_a_complete_gzip_of_a_file_that_was_cut_short(self, tmp_path, stored):
        path = save(tmp_path / "a.nii", stored)
        packed = tmp_path / "a.nii.gz"
        packed.write_bytes(gzip.compress(path.read_bytes()[:-10]))
        self.refused(packed, "cut short: it holds .* bytes and its header asks for")

    def test_a_flipped_bit(self, tmp_path, stored):
        path = save(tmp_path / "a.nii.gz", np.tile(stored, (4, 4, 4)))
        raw = bytearray(path.read_bytes())
        raw[len(raw) // 2] ^= 16
        path.write_bytes(bytes(raw))
        with pytest.raises(zlib.error):
            zlib.decompress(bytes(raw), 31)
        self.refused(path, "damaged", header_too=False)

    def test_four_dimensions(self, tmp_path):
        self.refused(save(tmp_path / "a.nii.gz", np.zeros((3, 4, 5, 2), "u1")), "4 dimensions .3 × 4 × 5 × 2")

    def test_vectors(self, tmp_path):
        self.refused(save(tmp_path / "a.nii.gz", np.zeros((3, 4, 5, 1, 3), "f4")), "5 dimensions")

    def test_colours(self, tmp_path):
        rgb = np.zeros((3, 4, 5), [("R", "u1"), ("G", "u1"), ("B", "u1")])
        self.refused(save(tmp_path / "a.nii.gz", rgb), "colours")

    def test_complex_numbers(self, tmp_path):
        self.refused(save(tmp_path / "a.nii.gz", np.zeros((3, 4, 5), "c8")), "complex")

    def test_an_affine_of_zeros(self, tmp_path, stored):
        path = save(tmp_path / "a.nii", stored)
        patch(path, 280, bytes(48))
        self.refused(path, "no volume")

    def test_an_affine_of_nan(self, tmp_path, stored):
        path = save(tmp_path / "a.nii", stored)
        patch(path, 280, np.full(12, np.nan, "<f4").tobytes())
        self.refused(path, "not a finite")

    def test_a_type_that_does_not_exist(self, tmp_path, stored):
        path = save(tmp_path / "a.nii", stored)
        patch(path, 70, np.array([999], "<i2").tobytes())
        self.refused(path, "damaged")

    def test_a_header_without_voxels(self, tmp_path, stored):
        nib.save(nib.Nifti1Pair(stored, AFFINE), tmp_path / "a.img")
        (tmp_path / "a.img").unlink()
        self.refused(tmp_path / "a.hdr", "without its voxels: a.img is missing")

    def test_analyze_does_not_know_left_from_right(self, tmp_path, stored):
        nib.save(nib.AnalyzeImage(stored, None), tmp_path / "a.img")
        self.refused(tmp_path / "a.hdr", "Analyze")


class TestNoted:
    """Read, with a sentence about what is odd."""

    def test_nan_and_infinite_voxels_become_zero(self, tmp_path):
        array = np.ones((3, 4, 5), np.float32)
        array[0, 0, 0], array[1, 1, 1], array[2, 2, 2] = np.nan, np.inf, -np.inf
        volume = read(save(tmp_path / "a.nii.gz", array))
        assert volume.notes == ("3 of 60 voxels are not numbers (NaN or infinite) and are shown as 0.",)
        assert np.isfinite(volume.array).all()
        assert volume.array.sum() == 57

    def test_no_orientation_at_all(self, tmp_path, stored):
        path = save(tmp_path / "a.nii", stored)
        patch(path, 252, bytes(4))  # qform_code and sform_code
        volume = read(path)
        assert "no orientation" in volume.notes[0]
        assert_allclose(volume.spacing, (2, 0.5, 0.75))
        assert_array_equal(volume.geometry.affine, nib.load(path).affine)

    def test_two_orientations_that_differ(self, tmp_path, stored):
        image = nib.Nifti1Image(stored, AFFINE)
        image.set_sform(AFFINE, 1)
        moved = AFFINE.copy()
        moved[2, 3] += 30
        image.set_qform(moved, 1)
        nib.save(image, tmp_path / "a.nii")
        volume = read(tmp_path / "a.nii")
        assert "origin" in volume.notes[0]
        assert_array_equal(volume.geometry.affine, AFFINE)

    def test_units_that_are_no_millimetres(self, tmp_path, stored):
        image = nib.Nifti1Image(stored, AFFINE)
        image.header.set_xyzt_units("micron")
        nib.save(image, tmp_path / "a.nii")
        assert "micrometres" in read(tmp_path / "a.nii").notes[0]
