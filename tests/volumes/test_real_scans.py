"""Real scans: published values are met, and every awkward one is read rightly or refused with one clear reason."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from napari_dasl.errors import VolumeError
from napari_dasl.volumes import find_series, read, read_geometry, read_mask, verify, write_mask

pytestmark = pytest.mark.data
pytest.importorskip("pydicom")
sitk = pytest.importorskip("SimpleITK")


# -- PET ---------------------------------------------------------------------------------------------------------------


def test_suvbw_of_a_whole_body_pet_is_the_published_one(data_dir):
    """The IBSI crop of STS_001 was made from this series; its voxel (0, 0, 0) is the series' (59, 45, 0)."""
    volume = read(data_dir / "pet_wholebody" / "dicom_STS_001")
    crop = read(data_dir / "sts_pet_ct_mr" / "STS_001" / "PET_image.nii.gz")
    assert (volume.modality, volume.unit, volume.notes) == ("PET", "SUVbw", ())
    i, j, k = crop.geometry.shape
    mine = volume.geometry.to_native(volume.array)[59 : 59 + i, 45 : 45 + j, :k]
    published = crop.geometry.to_native(crop.array)
    assert np.abs(mine - published).max() < 0.001
    offset = np.linalg.inv(volume.geometry.affine) @ crop.geometry.affine
    assert_allclose(offset[:3, 3], (59, 45, 0), atol=1e-4)


def test_the_published_mask_lies_on_the_dicom_grid(data_dir, tmp_path):
    geometry = read_geometry(data_dir / "pet_wholebody" / "dicom_STS_001")
    mask = read_mask(data_dir / "pet_wholebody" / "nifti" / "STS_001_raw_mask.nii.gz", geometry)
    assert mask.shape == (267, 128, 128)
    assert set(np.unique(mask)) == {0, 1}
    write_mask(tmp_path / "m.nii.gz", mask, geometry)
    assert_array_equal(read_mask(tmp_path / "m.nii.gz", geometry), mask)


# -- DICOM -------------------------------------------------------------------------------------------------------------

GENERIC = "awkward_dicom/generic"
PYDICOM = "awkward_dicom/pydicom-testfiles"

# folder or file: (shape z × y × x, spacing, smallest and largest value, type)
READ = {
    f"{GENERIC}/anatomical/001": ((256, 256, 4), (1, 1, 1), (0, 254), "u2"),
    f"{GENERIC}/anatomical/001_implicit": ((256, 256, 4), (1, 1, 1), (0, 254), "u2"),
    f"{GENERIC}/anatomical/002_non_isotropic": ((4, 28, 64), (0.5, 4, 6.39996), (33.443825, 96.46799), "f4"),
    f"{GENERIC}/compressed/001": ((256, 256, 4), (1, 1, 1), (0, 254), "u2"),
    f"{GENERIC}/compressed_j2k/001": ((256, 256, 4), (1, 1, 1), (0, 254), "u2"),
    f"{GENERIC}/compressed_jpeg/001": ((256, 256, 4), (1, 1, 1), (0, 254), "u2"),
    f"{GENERIC}/compressed_jpegls/001": ((256, 256, 4), (1, 1, 1), (0, 254), "u2"),
    f"{GENERIC}/compressed_rle/001": ((256, 256, 4), (1, 1, 1), (0, 254), "u2"),
    "awkward_dicom/failing/gantrytilting/001": ((4, 512, 512), (5, 0.41797, 0.41797), (-1024, -770), "i2"),
    "awkward_dicom/philips_enhanced/001": ((256, 256, 8), (1, 1, 1.2), (0, 1081.7485), "f4"),
    "awkward_dicom/dcm_qa_enh/In/Siemens/XA10/6_1.dcm": ((6, 64, 64), (2.4, 3.375, 3.375), (0, 1199), "u2"),
    "awkward_dicom/seg_bitpacking_23x38x3/image": ((3, 38, 23), (2.5, 0.7, 0.7), (0, 1), "u2"),
    "abdomen_ct/totalsegmentator/example_ct_dicom": ((20, 512, 512), (2, 0.97656, 0.97656), (-1024, 1839), "i2"),
    f"{PYDICOM}/CT_small.dcm": ((1, 128, 128), (5, 0.661468, 0.661468), (-896, 1167), "i2"),
    f"{PYDICOM}/J2K_pixelrep_mismatch.dcm": ((1, 512, 512), (5, 0.431, 0.431), (-2000, 1896), "i2"),
    f"{PYDICOM}/MR_small.dcm": ((1, 64, 64), (0.8, 0.3125, 0.3125), (127, 2145), "i2"),
    f"{PYDICOM}/MR_small_RLE.dcm": ((1, 64, 64), (0.8, 0.3125, 0.3125), (127, 2145), "i2"),
    f"{PYDICOM}/MR_small_bigendian.dcm": ((1, 64, 64), (0.8, 0.3125, 0.3125), (127, 2145), "i2"),
    f"{PYDICOM}/MR_small_jp2klossless.dcm": ((1, 64, 64), (0.8, 0.3125, 0.3125), (127, 2145), "i2"),
    f"{PYDICOM}/MR_small_jpeg_ls_lossless.dcm": ((1, 64, 64), (0.8, 0.3125, 0.3125), (127, 2145), "i2"),
    f"{PYDICOM}/MR_small_padded.dcm": ((1, 64, 64), (0.8, 0.3125, 0.3125), (127, 2145), "i2"),
}

REFUSED = {
    "awkward_dicom/failing/sliceincrement/001": "1 slice seems to be missing.*28.1.* and .*38.1.* 10 mm instead",
    "awkward_dicom/failing/sliceincrement/002": "1 slice seems to be missing.* 1.499 mm instead of 0.7497 mm",
    f"{GENERIC}/rgb/001": "colour picture",
    "awkward_dicom/siemens_mosaic/001": "mosaic",
    "awkward_dicom/dcm_qa_enh/In/Philips": "64 images at 32 positions, 2 at each",
    "awkward_dicom/dcm_qa_enh/In/Siemens/XA10": "24 images at 6 positions, 4 at each",
    "awkward_dicom/seg_bitpacking_23x38x3/mask": "a segmentation .a mask., not a scan",
    f"{PYDICOM}/MR_truncated.dcm": "cut short",
    f"{PYDICOM}/badVR.dcm": "a radiotherapy dose, not a scan",
    f"{PYDICOM}/no_meta.dcm": "not a DICOM file",  # its first byte is astray, so that no element can be read
    "pet_wholebody/dicom_STS_001/mask": "no DICOM series",
    "awkward_nifti/nibabel/analyze.hdr": "Analyze",
    "awkward_nifti/nibabel/example4d.nii.gz": "4 dimensions",
    "awkward_nifti/nibabel/example_nifti2.nii.gz": "4 dimensions",
    "awkward_nifti/nibabel/functional.nii": "4 dimensions",
    "awkward_nifti/nibabel/nifti1.hdr": "nifti1.img is missing",
    "awkward_nifti/nibabel/nifti2.hdr": "nifti2.img is missing",
    "awkward_nifti/nibabel/row_major.dconn.nii": "CIFTI",
    "awkward_nifti/nibabel/minc2_baddim.mnc": "MINC",
    "awkward_nifti/nibabel/small.mnc": "MINC",
    "awkward_nifti/nibabel/tiny.mnc": "MINC",
    "awkward_nifti/nibabel/test.mgz": "FreeSurfer",
    "awkward_nifti/nibabel/scaled+tlrc.BRIK": "AFNI",
    "awkward_nifti/nibabel/scaled+tlrc.HEAD": "AFNI",
    "awkward_nifti/nibabel/phantom_truncated.PAR": "PAR/REC",
    "awkward_nifti/nibabel/phantom_truncated.REC": "PAR/REC",
    "awkward_nifti/nibabel/tinypet.v": "ECAT",
}


@pytest.mark.parametrize("name", READ)
def test_awkward_but_sound_scans_are_read_rightly(data_dir, name):
    shape, spacing, values, dtype = READ[name]
    volume = read(data_dir / name)
    assert volume.array.shape == volume.shape == shape
    assert_allclose(volume.spacing, spacing, atol=1e-4)
    assert volume.array.dtype == np.dtype(dtype)
    assert_allclose((volume.array.min(), volume.array.max()), values, rtol=1e-6)


@pytest.mark.parametrize("name", REFUSED)
def test_broken_scans_are_refused_with_one_clear_reason(data_dir, name):
    with pytest.raises(VolumeError, match=REFUSED[name]) as caught:
        read(data_dir / name)
    assert str(data_dir / name) in caught.value.message
    assert caught.value.hint
    with pytest.raises(VolumeError, match=REFUSED[name]):
        read_geometry(data_dir / name)


def test_every_awkward_file_has_an_expectation(data_dir):
    """No file of the two folders is left out of the tables above, except copies of series in single files."""
    expected = [data_dir / name for name in [*READ, *REFUSED]]
    sound = {"anatomical.nii", "reoriented_anat_moved.nii", "standard.nii.gz"}
    for folder in ("awkward_dicom", "awkward_nifti"):
        for file in (data_dir / folder).rglob("*"):
            known = any(file == path or path in file.parents for path in expected) or file.name in sound
            assert known or file.is_dir() or file.suffix == ".txt", file


@pytest.mark.parametrize("code", ["j2k", "jpeg", "jpegls", "rle"])
def test_every_compression_holds_the_same_picture(data_dir, code):
    plain = read(data_dir / GENERIC / "compressed" / "001").array
    assert_array_equal(read(data_dir / GENERIC / f"compressed_{code}" / "001").array, plain)


def test_every_encoding_of_one_slice_holds_the_same_picture(data_dir):
    plain = read(data_dir / PYDICOM / "MR_small.dcm").array
    for name in ("RLE", "bigendian", "jp2klossless", "jpeg_ls_lossless", "padded"):
        assert_array_equal(read(data_dir / PYDICOM / f"MR_small_{name}.dcm").array, plain, err_msg=name)


@pytest.mark.parametrize(
    "name",
    [
        f"{GENERIC}/anatomical/001",
        f"{GENERIC}/anatomical/002_non_isotropic",
        "abdomen_ct/totalsegmentator/example_ct_dicom",
    ],
)
def test_sound_series_are_what_simpleitk_reads(data_dir, name):
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(data_dir / name)))
    image = reader.Execute()
    volume = read(data_dir / name)
    for index in [(0, 0, 0), [n - 1 for n in image.GetSize()]]:
        left, posterior, superior = image.TransformIndexToPhysicalPoint([int(n) for n in index])
        # ITK steps by the first slice distance, rounded; positions here are the series' own to the last slice
        assert_allclose((volume.geometry.affine @ [*index, 1])[:3], (-left, -posterior, superior), atol=2e-3)
    if volume.modality == "CT":
        assert_array_equal(volume.geometry.to_native(volume.array).transpose(), sitk.GetArrayFromImage(image))


def test_a_tilted_gantry_keeps_the_place_of_every_slice(data_dir):
    pydicom = pytest.importorskip("pydicom")
    folder = data_dir / "awkward_dicom" / "failing" / "gantrytilting" / "001"
    volume = read(folder)
    assert "14° (gantry tilt)" in volume.notes[0]
    files = sorted(folder.iterdir())
    heights = []
    for file in files:
        position = pydicom.dcmread(file, stop_before_pixels=True).ImagePositionPatient
        heights.append(([-float(position[0]), -float(position[1]), float(position[2])], file))
    for number, (place, _) in enumerate(sorted(heights, key=lambda pair: pair[0][2])):
        assert_allclose((volume.geometry.affine @ [0, 0, number, 1])[:3], place, atol=1e-6)


def test_an_enhanced_file_is_rescaled_frame_by_frame(data_dir):
    path = data_dir / "awkward_dicom" / "philips_enhanced" / "001" / "IM-0001-0170-0001.dcm"
    volume = read(path)
    assert volume.geometry.to_native(volume.array).sum(dtype=np.float64) == pytest.approx(66666666 * 4.25885225885225)


# -- NIfTI -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "awkward_nifti/nibabel/anatomical.nii",
        "awkward_nifti/nibabel/reoriented_anat_moved.nii",
        "awkward_nifti/nibabel/standard.nii.gz",
        "hippocampus/imagesTr/hippocampus_003.nii.gz",
        "sts_pet_ct_mr/STS_001/MR_T1_image.nii.gz",
        "ms_lesions/patient07/FLAIR.nii.gz",
    ],
)
def test_nifti_files_are_what_nibabel_reads_and_their_masks_lie_on_them(data_dir, tmp_path, name):
    volume, image = read(data_dir / name), nib.load(data_dir / name)
    assert_array_equal(volume.geometry.affine, image.affine)
    assert_allclose(volume.geometry.to_native(volume.array), np.asarray(image.dataobj), rtol=1e-6)
    mask = (np.arange(volume.array.size) % 7).astype(np.uint8).reshape(volume.shape)
    write_mask(tmp_path / "m.nii.gz", mask, volume.geometry)
    written = nib.load(tmp_path / "m.nii.gz")
    assert_array_equal(written.affine, image.affine)
    assert_array_equal(np.asarray(written.dataobj), volume.geometry.to_native(mask))
    assert_array_equal(read_mask(tmp_path / "m.nii.gz", volume.geometry), mask)


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("hippocampus/imagesTr/hippocampus_003.nii.gz", "hippocampus/labelsTr/hippocampus_003.nii.gz"),
        ("sts_pet_ct_mr/STS_002/CT_image.nii.gz", "sts_pet_ct_mr/STS_002/CT_mask.nii.gz"),
        ("ms_lesions/patient07/FLAIR.nii.gz", "ms_lesions/patient07/lesion_gold.nii.gz"),
    ],
)
def test_published_masks_lie_on_the_grid_of_their_scans(data_dir, image, mask):
    labels = read_mask(data_dir / mask, read_geometry(data_dir / image))
    assert labels.dtype == np.uint8
    assert labels.any()


def test_a_search_lists_every_awkward_scan_once(data_dir):
    found = find_series(data_dir / "awkward_dicom")
    assert all(scan.path.exists() for scan in found)
    sound = {str(scan.path.relative_to(data_dir)) for scan in found if not scan.reason}
    assert "awkward_dicom/failing/gantrytilting/001" in sound
    assert f"{GENERIC}/compressed_j2k/001" in sound
    for scan in found:
        if not scan.reason and scan.path.is_dir():
            assert verify(scan.path, series_uid=scan.series_uid) == ""
    reasons = {str(scan.path.relative_to(data_dir)): scan.reason for scan in found if scan.reason}
    assert "missing" in reasons["awkward_dicom/failing/sliceincrement/001"]
    assert "colour" in reasons[f"{GENERIC}/rgb/001"]


def test_a_search_of_a_large_folder_finds_all(data_dir):
    found = find_series(data_dir / "hippocampus" / "imagesTr")
    assert len(found) == len(list(Path(data_dir / "hippocampus" / "imagesTr").glob("*.nii.gz")))
    assert not any(scan.reason for scan in found)
