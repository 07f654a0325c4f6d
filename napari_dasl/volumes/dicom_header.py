"""What the headers of DICOM files say: is this a CT, MR or PET scan, and where does each of its slices lie."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dasl.errors import VolumeError
from napari_dasl.volumes.extras import pydicom, quiet

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

WHAT = "DICOM files"

MODALITIES = {"CT": "CT", "MR": "MR", "PT": "PET"}
"""DICOM's word for a modality, and the program's."""

_NOT_SCANS = {
    "SEG": "a segmentation (a mask), not a scan",
    "RTSTRUCT": "a set of contours (RTSTRUCT), not a scan",
    "RTDOSE": "a radiotherapy dose, not a scan",
    "RTPLAN": "a radiotherapy plan, not a scan",
    "SR": "a report, not a scan",
    "PR": "a presentation state, not a scan",
    "KO": "a list of key images, not a scan",
    "REG": "a registration, not a scan",
}

WITHOUT_PIXELS = {"RTSTRUCT", "RTPLAN", "SR", "PR", "KO", "REG", ""}
"""Modalities of objects that accompany scans; a search for scans passes them over in silence."""

_TAGS = [
    *(
        "SOPClassUID",
        "SOPInstanceUID",
        "ImageType",
        "Modality",
        "SeriesInstanceUID",
        "SeriesDescription",
        "SeriesNumber",
    ),
    *("SeriesDate", "SeriesTime", "AcquisitionDate", "AcquisitionTime", "AcquisitionDateTime", "Manufacturer"),
    *("PatientWeight", "SliceThickness", "SpacingBetweenSlices", "ImagePositionPatient", "ImageOrientationPatient"),
    *("InstanceNumber", "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns"),
    *("PixelSpacing", "BitsAllocated", "BitsStored", "PixelRepresentation", "RescaleSlope", "RescaleIntercept"),
    *(
        "ModalityLUTSequence",
        "CorrectedImage",
        "Units",
        "SUVType",
        "DecayCorrection",
        "DecayFactor",
        "FrameReferenceTime",
    ),
    *("RadiopharmaceuticalInformationSequence", "ActualFrameDuration"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    # Siemens mosaic; GE and Philips PET
    *((0x0019, 0x0010), (0x0019, 0x100A), (0x0009, 0x0010), (0x0009, 0x100D)),
    *((0x7053, 0x0010), (0x7053, 0x1000), (0x7053, 0x1009)),
]

# What pydicom raises on damaged files, besides its own InvalidDicomError (which is none of these).
DAMAGE: tuple[type[Exception], ...] = (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError)
DAMAGE += (NotImplementedError, IndexError, OverflowError, struct.error)


@dataclass(frozen=True, eq=False)
class Slice:
    """One image plane: a classic DICOM file, or one frame of a multi-frame file.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    frame : int
        Which frame of the file, from 0.
    uid : str
        SOPInstanceUID of the file.
    position : array of float64, shape (3,)
        Centre of the first pixel in the patient, LPS mm.
    along_row, along_column : array of float64, shape (3,)
        Unit vectors of growing column and row index.
    spacing : tuple of float
        Distance between rows and between columns in mm, in DICOM's order.
    size : tuple of int
        Rows and columns.
    slope, intercept : float
        value = stored × slope + intercept, for this plane.
    thickness : float
        Distance between slices or their thickness as the header says; 0 where it does not.
    """

    path: Path
    frame: int
    uid: str
    position: Any
    along_row: Any
    along_column: Any
    spacing: tuple[float, float]
    size: tuple[int, int]
    slope: float
    intercept: float
    thickness: float


@dataclass(frozen=True, eq=False)
class Header:
    """One DICOM file without its pixels.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    dataset : pydicom.Dataset
        The elements that matter here.
    series : str
        SeriesInstanceUID; "" where missing.
    modality : str
        DICOM's word for it, "PT" for PET; "" where missing.
    bytes_left : int
        How many bytes of the file follow the header.
    """

    path: Path
    dataset: Any
    series: str
    modality: str
    bytes_left: int


def read_header(path: Path) -> Header:
    """Read a DICOM file up to its pixels.

    Parameters
    ----------
    path : pathlib.Path
        The file; a missing preamble and meta header are forgiven.

    Raises
    ------
    VolumeError
        This is no DICOM file, or it is damaged, or pydicom is missing.
    """
    module = pydicom(WHAT)
    try:
        with path.open("rb") as file, quiet():
            dataset = module.dcmread(file, stop_before_pixels=True, force=True, specific_tags=list(_TAGS))
            left = path.stat().st_size - file.tell()
            series, modality = str(dataset.get("SeriesInstanceUID") or ""), str(dataset.get("Modality") or "")
    except (module.errors.InvalidDicomError, *DAMAGE) as error:
        raise damaged(path, error) from error
    if not dataset:
        raise VolumeError(
            f"{path} is not a DICOM file that can be read: no header was found in it.", "Export the scan again."
        )
    return Header(path, dataset, series, modality, left)


def damaged(path: Path, error: Exception) -> VolumeError:
    """The error for a file that pydicom stumbles over."""
    return VolumeError(f"The DICOM file {path} is damaged: {error}.".replace("..", "."), "Export the scan again.")


def slices(header: Header) -> list[Slice]:
    """The image planes in a file, after checking that it is a scan at all.

    Parameters
    ----------
    header : Header
        Of one file.

    Returns
    -------
    list of Slice
        One for a classic file, one for each frame of an enhanced one.

    Raises
    ------
    VolumeError
        No CT, MR or PET scan, colours, a mosaic, a missing position, a file cut short.
    """
    try:
        with quiet():
            _refuse_non_scans(header)
            _refuse_truncated(header)
            planes = _frames(header) if "NumberOfFrames" in header.dataset else [_classic(header)]
    except DAMAGE as error:
        raise damaged(header.path, error) from error
    return planes


def _refuse_non_scans(header: Header) -> None:
    dataset, path = header.dataset, header.path
    if header.modality not in MODALITIES:
        what = _NOT_SCANS.get(header.modality, f"of modality {header.modality or 'unknown'}, not a CT, MR or PET scan")
        hint = "Give the scan that it belongs to." if header.modality in _NOT_SCANS else "Give a CT, MR or PET scan."
        raise VolumeError(f"{path} is {what}.", hint)
    if "Rows" not in dataset or "Columns" not in dataset:
        raise VolumeError(f"{path} holds no image.", "Give the images of a CT, MR or PET series.")
    if int(dataset.get("SamplesPerPixel") or 1) != 1 or "PALETTE" in str(dataset.get("PhotometricInterpretation")):
        raise VolumeError(
            f"{path} is a colour picture ({dataset.get('PhotometricInterpretation')}), not a scan of grey values.",
            "Give the original series that the picture was made from.",
        )
    if int(dataset.get("BitsAllocated") or 0) not in (8, 16, 32):
        raise VolumeError(
            f"{path} stores {dataset.get('BitsAllocated') or 'no'} bits per pixel; scans store 8, 16 or 32.",
            "Export the original series.",
        )
    if "MOSAIC" in (dataset.get("ImageType") or ()):
        raise VolumeError(
            f"{path} is a Siemens mosaic: a whole volume tiled into one picture (functional or diffusion MR).",
            "Convert it with dcm2niix and give the NIfTI files, one per volume.",
        )
    if "ModalityLUTSequence" in dataset:
        raise VolumeError(
            f"{path} turns pixels into values by a table, which is not supported.", "Convert the series to NIfTI."
        )


def _refuse_truncated(header: Header) -> None:
    """Compare the bytes behind the header with what the pixels need, where they are stored plainly."""
    syntax = transfer_syntax(header.dataset)
    if syntax.is_compressed or syntax.is_deflated:
        return
    dataset = header.dataset
    need = int(dataset.Rows) * int(dataset.Columns) * int(dataset.BitsAllocated) // 8 * _frame_count(dataset)
    if header.bytes_left < need:
        raise VolumeError(
            f"{header.path} is cut short: {max(header.bytes_left, 0)} bytes are left for pixels that need {need}.",
            "Export or copy the series again.",
        )


def transfer_syntax(dataset: Any) -> Any:
    """How the file is encoded; for one without a meta header, as pydicom found it to be."""
    uid = pydicom(WHAT).uid
    syntax = getattr(dataset, "file_meta", {}).get("TransferSyntaxUID")
    if syntax is not None:
        return syntax
    implicit, little = dataset.original_encoding
    if not little:
        return uid.ExplicitVRBigEndian
    return uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian


def _frame_count(dataset: Any) -> int:
    return int(dataset.get("NumberOfFrames") or 1)


def _classic(header: Header) -> Slice:
    dataset = header.dataset
    return _plane(header, 0, dataset, dataset, dataset, dataset)


def _frames(header: Header) -> list[Slice]:
    """The frames of an enhanced multi-frame file; what all frames share stands in the shared groups."""
    dataset, path = header.dataset, header.path
    count = _frame_count(dataset)
    if count == 1 and "ImagePositionPatient" in dataset:
        return [_classic(header)]
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    if len(per_frame) != count:
        raise VolumeError(
            f"{path} holds {count} frames without saying where each lies.", "Export the series with one file per slice."
        )
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [{}])[0]

    def group(frame: Any, name: str) -> Any:
        return (frame.get(name) or shared.get(name) or [{}])[0]

    return [
        _plane(
            header,
            number,
            group(frame, "PlanePositionSequence"),
            group(frame, "PlaneOrientationSequence"),
            group(frame, "PixelMeasuresSequence"),
            group(frame, "PixelValueTransformationSequence"),
        )
        for number, frame in enumerate(per_frame)
    ]


def _plane(header: Header, frame: int, where: Any, turned: Any, measures: Any, values: Any) -> Slice:
    """One plane out of the datasets that hold its position, orientation, pixel size and rescaling."""
    path, dataset = header.path, header.dataset
    position = _numbers(where.get("ImagePositionPatient"), 3)
    orientation = _numbers(turned.get("ImageOrientationPatient"), 6)
    spacing = _numbers(measures.get("PixelSpacing"), 2)
    for name, numbers in (("position", position), ("orientation", orientation), ("pixel size", spacing)):
        if numbers is None:
            raise VolumeError(
                f"{path} does not say its {name} in the patient.", "Export the original series, not pictures of it."
            )
    along_row, along_column = orientation[:3], orientation[3:]  # type: ignore[index]
    lengths = np.linalg.norm(along_row), np.linalg.norm(along_column)
    if min(lengths) < 0.9 or max(lengths) > 1.1 or abs(along_row @ along_column) > 0.01:
        raise VolumeError(f"{path} has an orientation that is no pair of perpendicular directions.", "Export it again.")
    if min(spacing) <= 0:  # type: ignore[type-var]
        raise VolumeError(f"{path} has a pixel size of zero.", "Export the series again.")
    slope = values.get("RescaleSlope")
    return Slice(
        path,
        frame,
        str(dataset.get("SOPInstanceUID") or path),
        position,
        along_row / lengths[0],
        along_column / lengths[1],
        (float(spacing[0]), float(spacing[1])),  # type: ignore[index]
        (int(dataset.Rows), int(dataset.Columns)),
        1.0 if slope in (None, "") else float(slope),
        float(values.get("RescaleIntercept") or 0),
        float(measures.get("SpacingBetweenSlices") or measures.get("SliceThickness") or 0),
    )


def _numbers(value: Sequence[Any] | None, count: int) -> Any:
    """The values as a float64 array, or None where they are missing, too few or not finite."""
    if value is None or isinstance(value, str) or len(value) != count:
        return None
    numbers = np.array([float(x) for x in value])
    return numbers if np.isfinite(numbers).all() else None
