"""DICOM series: right order, right places, right values, or one clear reason."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from napari_dasl.errors import VolumeError
from napari_dasl.volumes import read, read_geometry, read_mask, verify, write_mask

pydicom = pytest.importorskip("pydicom")
sitk = pytest.importorskip("SimpleITK")


def native(volume):
    """As (slice, row, column), slices along the normal."""
    return volume.geometry.to_native(volume.array).transpose()


def with_simpleitk(folder):
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


class TestARegularSeries:
    def test_slices_are_ordered_by_place_and_not_by_name(self, make_series, pixels):
        volume = read(make_series(pixels))
        assert_array_equal(native(volume), pixels)
        assert volume.array.dtype == np.int16
        assert volume.array.flags.c_contiguous
        assert (volume.modality, volume.unit, volume.notes) == ("CT", "HU", ())
        assert_allclose(volume.spacing, (2, 0.5, 0.75))

    @pytest.mark.parametrize("step", [(0, 0, 2.0), (0, 0, -2.0)])
    @pytest.mark.parametrize(
        "orientation", [(1, 0, 0, 0, 1, 0), (-1, 0, 0, 0, -1, 0), (1, 0, 0, 0, 0.8, 0.6), (0.6, 0.8, 0, -0.8, 0.6, 0)]
    )
    def test_every_voxel_lies_where_simpleitk_puts_it(self, make_series, pixels, step, orientation):
        normal = np.cross(orientation[:3], orientation[3:])
        folder = make_series(pixels, step=step[2] * normal, orientation=orientation)
        volume, image = read(folder), with_simpleitk(folder)
        assert_array_equal(native(volume), sitk.GetArrayFromImage(image))
        for index in [(0, 0, 0), (5, 0, 0), (0, 3, 0), (2, 1, 4)]:
            left, posterior, superior = image.TransformIndexToPhysicalPoint(index)
            assert_allclose((volume.geometry.affine @ [*index, 1])[:3], (-left, -posterior, superior), atol=1e-6)

    def test_sagittal_and_coronal_series_are_turned_into_the_same_axes(self, make_series):
        rng = np.random.default_rng(0)
        patient = rng.integers(0, 1000, (6, 5, 4)).astype(np.int16)  # (z inferior, y posterior, x left), 1 mm
        sagittal = patient.transpose(2, 0, 1)  # slice = x left, row = z, column = y
        volume = read(
            make_series(sagittal, orientation=(0, 1, 0, 0, 0, -1), step=(1, 0, 0), spacing=(1, 1), modality="MR")
        )
        assert_array_equal(volume.array, patient)
        coronal = patient.transpose(1, 0, 2)  # slice = y posterior, row = z, column = x
        volume = read(
            make_series(coronal, orientation=(1, 0, 0, 0, 0, -1), step=(0, 1, 0), spacing=(1, 1), folder="c", uid="1.9")
        )
        assert_array_equal(volume.array, patient)

    def test_the_mask_of_a_series_is_written_on_its_grid(self, make_series, pixels, tmp_path):
        volume = read(make_series(pixels, orientation=(1, 0, 0, 0, 0.8, 0.6), step=(0, -1.2, 1.6)))
        mask = (volume.array % 3).astype(np.uint8)
        write_mask(tmp_path / "m.nii.gz", mask, volume.geometry)
        assert_array_equal(read_mask(tmp_path / "m.nii.gz", volume.geometry), mask)
        written = sitk.ReadImage(str(tmp_path / "m.nii.gz"))
        assert_array_equal(sitk.GetArrayFromImage(written), pixels % 3)

    def test_headers_alone_give_the_grid(self, make_series, pixels):
        folder = make_series(pixels)
        assert read_geometry(folder).matches(read(folder).geometry, tolerance_mm=0)

    def test_positions_rounded_to_a_tenth_of_a_millimetre_are_regular(self, make_series, pixels):
        def rounded(n, dataset):
            dataset.ImagePositionPatient = [-10, -20, round(30 + n * 0.625, 1)]

        assert read(make_series(pixels, per_slice=rounded)).spacing[0] == pytest.approx(0.625)

    def test_subfolders_are_searched_and_other_files_passed_over(self, make_series, pixels, tmp_path):
        make_series(pixels[:2], folder="all/one")
        make_series(pixels[2:], folder="all/two", origin=(-10, -20, 34))
        (tmp_path / "all" / "notes.txt").write_text("x")
        assert_array_equal(native(read(tmp_path / "all")), pixels)

    def test_a_single_file_is_a_volume_of_one_slice(self, make_series, pixels):
        volume = read(next(make_series(pixels[:1]).iterdir()))
        assert volume.shape == (1, 4, 6)
        assert volume.spacing[0] == 2


class TestValues:
    def test_whole_intercepts_keep_integers(self, make_series, pixels):
        volume = read(make_series(pixels, intercept=-1024))
        assert volume.array.dtype == np.int16
        assert_array_equal(native(volume), pixels - 1024)

    def test_values_that_leave_int16_become_int32(self, make_series, pixels):
        volume = read(make_series(pixels, intercept=32767))
        assert volume.array.dtype == np.int32
        assert_array_equal(native(volume), pixels.astype(np.int32) + 32767)

    def test_every_slice_has_its_own_slope(self, make_series, pixels):
        slopes = [1.5, 2.5, 0.5, 3.25, 1.0]
        volume = read(make_series(pixels, slopes=slopes, modality="MR"))
        assert volume.array.dtype == np.float32
        assert_allclose(native(volume), pixels * np.array(slopes)[:, None, None])

    @pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"])
    def test_plain_transfer_syntaxes(self, make_series, pixels, syntax):
        assert_array_equal(native(read(make_series(pixels, syntax=syntax, intercept=-5))), pixels - 5)

    def test_rle_is_decoded(self, make_series, pixels):
        folder = make_series(pixels)
        for file in folder.iterdir():
            dataset = pydicom.dcmread(file)
            dataset.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
            dataset.save_as(file)
        assert_array_equal(native(read(folder)), pixels)

    def test_files_without_a_meta_header_are_read(self, make_series, pixels):
        assert_array_equal(native(read(make_series(pixels, meta=False))), pixels)

    def test_an_inverted_display_is_noted_and_the_values_kept(self, make_series, pixels):
        volume = read(make_series(pixels, tags={"PhotometricInterpretation": "MONOCHROME1"}))
        assert "MONOCHROME1" in volume.notes[0]
        assert_array_equal(native(volume), pixels)


class TestForgiven:
    """Read, and said."""

    def test_a_tilted_gantry_keeps_its_shear(self, make_series, pixels):
        tilt = np.radians(15)
        folder = make_series(pixels, orientation=(1, 0, 0, 0, np.cos(tilt), -np.sin(tilt)), step=(0, 0, 5.0))
        volume = read(folder)
        assert "15° (gantry tilt)" in volume.notes[0]
        assert volume.geometry.shear == pytest.approx(15)
        assert volume.geometry.is_oblique
        # true places: slices are moved along the table, rows run along the tilted gantry
        for column, row, number in [(0, 0, 4), (5, 3, 0), (2, 2, 2)]:
            lps = np.array([-10, -20, 30]) + column * 0.75 * np.array([1, 0, 0])
            lps = lps + row * 0.5 * np.array([0, np.cos(tilt), -np.sin(tilt)]) + number * np.array([0, 0, 5])
            ras = volume.geometry.affine @ [column, row, number, 1]
            assert_allclose(ras[:3], lps * [-1, -1, 1], atol=1e-9)

    def test_copies_of_files_are_left_out(self, make_series, pixels):
        folder = make_series(pixels)
        for file in sorted(folder.iterdir())[:2]:
            shutil.copy(file, folder / f"copy of {file.name}")
        volume = read(folder)
        assert volume.notes == ("2 of 7 images are copies of others and were left out.",)
        assert_array_equal(native(volume), pixels)

    def test_a_localiser_in_the_series_is_left_out(self, make_series, pixels):
        folder = make_series(pixels)
        make_series(
            np.zeros((1, 9, 9)),
            orientation=(1, 0, 0, 0, 0, -1),
            tags={"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]},
        )
        volume = read(folder)
        assert_array_equal(native(volume), pixels)
        assert "localiser" in volume.notes[0]

    def test_a_slice_without_a_thickness_is_one_millimetre(self, make_series, pixels):
        volume = read(make_series(pixels[:1], tags={"SliceThickness": None}))
        assert volume.spacing[0] == 1
        assert "1 mm is assumed" in volume.notes[0]


class TestRefused:
    """One clear reason each, from the headers already."""

    def refused(self, path, words, **options):
        with pytest.raises(VolumeError, match=words) as caught:
            read(path, **options)
        assert caught.value.hint
        with pytest.raises(VolumeError, match=words):
            read_geometry(path, **options)
        assert verify(path, **options) == str(caught.value)

    @pytest.mark.parametrize("skip", [(2,), (1,), (3,)])
    def test_a_missing_slice_is_named_with_its_place(self, make_series, pixels, skip):
        before, after = 30 + 2 * (skip[0] - 1), 30 + 2 * (skip[0] + 1)
        folder = make_series(pixels, skip=skip)
        self.refused(folder, f"1 slice seems to be missing.*{before:g}.*{after:g}.*lie 4 mm instead of 2 mm")

    def test_several_gaps(self, make_series):
        many = np.zeros((30, 4, 6))
        self.refused(make_series(many, skip=(3, 10, 11, 20)), "4 slices seem to be missing.*and at 2 other places")

    def test_unequal_distances(self, make_series, pixels):
        def uneven(n, dataset):
            dataset.ImagePositionPatient = [-10, -20, 30 + (0, 2, 4, 6.6, 8.6)[n]]

        self.refused(make_series(pixels, per_slice=uneven), "not at equal distances")

    def test_slices_that_wander_sideways(self, make_series, pixels):
        def wander(n, dataset):
            dataset.ImagePositionPatient = [-10 + 3 * (n == 2), -20, 30 + 2 * n]

        self.refused(make_series(pixels, per_slice=wander), "not at equal distances")

    def test_time_points_in_one_series(self, make_series, pixels):
        make_series(pixels)
        self.refused(make_series(pixels + 1), "10 images at 5 positions, 2 at each")

    def test_a_few_repeated_positions(self, make_series, pixels):
        make_series(pixels)
        self.refused(make_series(pixels[:2] + 1), "7 images at only 5 positions")

    def test_mixed_orientations(self, make_series, pixels):
        make_series(pixels)
        self.refused(make_series(pixels, orientation=(1, 0, 0, 0, 0, -1), step=(0, 1, 0)), "not parallel")

    def test_mixed_sizes(self, make_series, pixels):
        make_series(pixels)
        self.refused(make_series(np.zeros((1, 8, 8)), origin=(-10, -20, 40)), "sizes: .* × .* in")

    def test_mixed_pixel_sizes(self, make_series, pixels):
        make_series(pixels)
        self.refused(make_series(pixels, spacing=(1, 1), origin=(-10, -20, 40)), "pixel sizes")

    def test_a_file_cut_short(self, make_series, pixels):
        folder = make_series(pixels)
        file = next(folder.iterdir())
        file.write_bytes(file.read_bytes()[:-20])
        self.refused(folder, "cut short: .* bytes are left for pixels that need")

    def test_a_file_that_is_no_dicom(self, make_series, pixels):
        folder = make_series(pixels)
        (folder / "im99999.dcm").write_text("nothing to see\n" * 40)
        self.refused(folder, "im99999")

    @pytest.mark.parametrize(
        ("tags", "words"),
        [
            ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "colour picture"),
            ({"PhotometricInterpretation": "PALETTE COLOR"}, "colour picture"),
            ({"Modality": "SEG"}, "a segmentation .a mask., not a scan"),
            ({"Modality": "RTDOSE"}, "radiotherapy dose"),
            ({"Modality": "US"}, "modality US, not a CT, MR or PET scan"),
            ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]}, "mosaic"),
            ({"BitsAllocated": 1}, "1 bits per pixel"),
            ({"ImagePositionPatient": None}, "position in the patient"),
            ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "perpendicular"),
            ({"PixelSpacing": None}, "pixel size in the patient"),
            ({"PixelSpacing": [0, 0]}, "pixel size of zero"),
            ({"NumberOfFrames": 5}, "5 frames|cut short"),
            ({"ModalityLUTSequence": []}, "table"),
        ],
    )
    def test_what_is_no_scan_of_grey_values(self, make_series, pixels, tags, words):
        self.refused(make_series(pixels[:1], tags=tags), words)

    def test_several_series_in_a_folder_until_one_is_named(self, make_series, pixels, tmp_path):
        make_series(pixels, tags={"SeriesNumber": 4, "SeriesDescription": "Arterial"})
        folder = make_series(pixels + 7, uid="1.2.99", tags={"SeriesNumber": 5, "SeriesDescription": "Portal"})
        self.refused(folder, "2 DICOM series: CT 4 Arterial, CT 5 Portal")
        assert_array_equal(native(read(folder, series_uid="1.2.99")), pixels + 7)
        self.refused(folder, "no DICOM series 1.2.5", series_uid="1.2.5")

    def test_contours_beside_a_scan_are_no_second_scan(self, make_series, pixels):
        folder = make_series(pixels)
        make_series(pixels[:1], uid="1.2.99", tags={"Modality": "RTSTRUCT"})
        make_series(pixels[:1], uid="1.2.98", tags={"Modality": "SEG"})
        assert_array_equal(native(read(folder)), pixels)

    def test_a_folder_without_a_series(self, tmp_path):
        (tmp_path / "notes.txt").write_text("x")
        self.refused(tmp_path, "holds no DICOM series")

    def test_damaged_pixels_in_a_compressed_file(self, make_series, pixels):
        folder = make_series(pixels)
        for file in folder.iterdir():
            dataset = pydicom.dcmread(file)
            dataset.file_meta.TransferSyntaxUID = pydicom.uid.JPEG2000Lossless
            dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\x4f\xff\x51 no picture"])
            dataset["PixelData"].VR = "OB"
            dataset.save_as(file)
        assert "damaged" in verify(folder)


class TestMultiFrame:
    """Enhanced files: one file, many frames, each with its own place and rescaling."""

    def make(self, tmp_path, pixels, *, positions=None, slopes=None, shared_orientation=True):
        dataset = pydicom.Dataset()
        dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.4.1", "1.2.3.4"
        dataset.SeriesInstanceUID, dataset.Modality = "1.2.3", "MR"
        dataset.NumberOfFrames, dataset.Rows, dataset.Columns = pixels.shape
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
        shared = pydicom.Dataset()
        orientation, measures = pydicom.Dataset(), pydicom.Dataset()
        orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        measures.PixelSpacing, measures.SliceThickness = [0.5, 0.75], 2
        shared.PixelMeasuresSequence = [measures]
        if shared_orientation:
            shared.PlaneOrientationSequence = [orientation]
        dataset.SharedFunctionalGroupsSequence = [shared]
        frames = []
        for n in range(len(pixels)):
            frame, place, values = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
            place.ImagePositionPatient = [-10, -20, 30 + 2 * (n if positions is None else positions[n])]
            frame.PlanePositionSequence = [place]
            if not shared_orientation:
                frame.PlaneOrientationSequence = [orientation]
            if slopes is not None:
                values.RescaleSlope, values.RescaleIntercept = slopes[n], 1
                frame.PixelValueTransformationSequence = [values]
            frames.append(frame)
        dataset.PerFrameFunctionalGroupsSequence = frames
        dataset.PixelData = pixels.tobytes()
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        path = tmp_path / "enhanced.dcm"
        dataset.save_as(path, enforce_file_format=True)
        return path

    @pytest.mark.parametrize("shared_orientation", [True, False])
    def test_frames_are_ordered_by_place_and_rescaled_one_by_one(self, tmp_path, pixels, shared_orientation):
        slopes = [2, 3, 4, 5, 6]
        order = [3, 0, 4, 1, 2]
        path = self.make(tmp_path, pixels, positions=order, slopes=slopes, shared_orientation=shared_orientation)
        volume = read(path)
        values = pixels * np.array(slopes)[:, None, None] + 1
        assert_array_equal(native(volume), values[np.argsort(order)])
        assert_allclose(volume.spacing, (2, 0.5, 0.75))
        assert volume.modality == "MR"

    def test_time_points_in_one_file_are_refused(self, tmp_path, pixels):
        with pytest.raises(VolumeError, match="4 images at 2 positions"):
            read(self.make(tmp_path, pixels[:4], positions=[0, 1, 0, 1]))

    def test_a_missing_frame_is_refused(self, tmp_path, pixels):
        with pytest.raises(VolumeError, match="missing"):
            read(self.make(tmp_path, pixels, positions=[0, 1, 2, 4, 5]))
