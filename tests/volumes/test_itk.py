"""NRRD and MetaImage files."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from napari_dasl.errors import VolumeError
from napari_dasl.volumes import read, read_geometry, verify

sitk = pytest.importorskip("SimpleITK")
SUFFIXES = [".nrrd", ".nhdr", ".mha", ".mhd"]


@pytest.fixture
def image():
    array = np.random.default_rng(0).integers(-1000, 2000, (4, 5, 6)).astype(np.int16)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.7, 0.8, 2.5))
    image.SetOrigin((-30.5, 40.25, 77.0))
    image.SetDirection((0, 0, 1, 1, 0, 0, 0, -1, 0))
    return image


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("compressed", [False, True])
def test_values_and_places_are_those_of_simpleitk(tmp_path, image, suffix, compressed):
    path = tmp_path / f"a{suffix}"
    sitk.WriteImage(image, str(path), useCompression=compressed)
    volume = read(path)
    assert volume.array.dtype == np.int16
    assert volume.array.flags.c_contiguous
    assert volume.array.flags.writeable
    assert_array_equal(volume.array, sitk.GetArrayFromImage(sitk.DICOMOrient(image, "LPI")))
    for index in [(0, 0, 0), (5, 0, 0), (1, 2, 3)]:
        left, posterior, superior = image.TransformIndexToPhysicalPoint(index)
        ras = volume.geometry.affine @ [*index, 1]
        assert_allclose(ras[:3], (-left, -posterior, superior), atol=1e-9)
    assert read_geometry(path).matches(volume.geometry, tolerance_mm=0)
    assert verify(path) == ""


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "f4"])
@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_stored_types_are_kept(tmp_path, suffix, dtype):
    path = tmp_path / f"a{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((2, 3, 4), dtype)), str(path))
    assert read(path).array.dtype == np.dtype(dtype)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_nan_becomes_zero_with_a_note(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    array = np.ones((2, 3, 4), np.float32)
    array[0, 0, 0] = np.nan
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    volume = read(path)
    assert "1 of 24 voxels" in volume.notes[0]
    assert volume.array.sum() == 23


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_other_dimensions(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    four = [sitk.GetImageFromArray(np.full((2, 3, 4), n, np.uint8)) for n in range(2)]
    sitk.WriteImage(sitk.JoinSeries(four), str(path))
    with pytest.raises(VolumeError, match=r"4 dimensions .4 × 3 × 2 × 2"):
        read(path)
    sitk.WriteImage(sitk.JoinSeries(four[:1]), str(path))
    assert read(path).shape == (2, 3, 4)
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((3, 4), np.uint8)), str(path))
    assert read(path).shape == (1, 3, 4)
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((2, 3, 4, 3), np.uint8), isVector=True), str(path))
    with pytest.raises(VolumeError, match="3 values per voxel"):
        read(path)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_a_file_cut_short_is_refused(tmp_path, suffix, compressed):
    path = tmp_path / f"a{suffix}"
    noise = np.random.default_rng(0).integers(0, 1000, (20, 20, 20)).astype(np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(noise), str(path), useCompression=compressed)
    path.write_bytes(path.read_bytes()[:-2000])
    assert "cut short" in verify(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_text_file_is_refused(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_text("nothing to see\n" * 20)
    with pytest.raises(VolumeError, match=r"does not begin like one|cannot be read"):
        read(path)


def test_missing_voxels_and_missing_files_are_refused(tmp_path, image):
    path = tmp_path / "a.mhd"
    sitk.WriteImage(image, str(path), useCompression=False)
    (tmp_path / "a.raw").unlink()
    with pytest.raises(VolumeError, match="missing"):
        read(path)
    with pytest.raises(VolumeError, match="does not exist"):
        read(tmp_path / "gone.nrrd")


@pytest.mark.parametrize(("name", "package"), [("a.nrrd", "SimpleITK"), ("a.dcm", "pydicom")])
def test_without_the_extra_the_error_says_what_to_install(tmp_path, monkeypatch, name, package):
    (tmp_path / name).write_bytes(b"NRRD0004\n" * 30)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(VolumeError, match=package) as caught:
        read(tmp_path / name)
    assert 'pip install "napari-dasl[dicom]"' in caught.value.hint
