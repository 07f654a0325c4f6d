"""DICOM series made to measure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    MakeSeries = Callable[..., Path]

AXIAL = (1, 0, 0, 0, 1, 0)
SOP_CLASSES = {
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "PT": "1.2.840.10008.5.1.4.1.1.128",
}


@pytest.fixture
def make_series(tmp_path: Path) -> MakeSeries:
    """``make_series(pixels, …) -> folder``: writes one file per slice of a (slice, row, column) int16 array."""
    pydicom = pytest.importorskip("pydicom")
    counter = iter(range(10_000))

    def make(
        pixels: Any,
        *,
        folder: str = "series",
        modality: str = "CT",
        step: Any = (0, 0, 2.0),
        origin: Any = (-10.0, -20.0, 30.0),
        orientation: Any = AXIAL,
        spacing: Any = (0.5, 0.75),
        uid: str = "1.2.3",
        slopes: Any = None,
        intercept: float = 0,
        skip: tuple[int, ...] = (),
        tags: dict[str, Any] | None = None,
        per_slice: Callable[[int, Any], None] | None = None,
        syntax: str = "1.2.840.10008.1.2.1",
        meta: bool = True,
    ) -> Path:
        target = tmp_path / folder
        target.mkdir(parents=True, exist_ok=True)
        for n, plane in enumerate(np.asarray(pixels, dtype=np.int16)):
            if n in skip:
                continue
            number = next(counter)
            dataset = pydicom.Dataset()
            dataset.SOPClassUID = SOP_CLASSES[modality]
            dataset.SOPInstanceUID = f"1.2.3.4.{number}"
            dataset.SeriesInstanceUID, dataset.Modality = uid, modality
            dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
            dataset.ImageOrientationPatient = [float(x) for x in orientation]
            dataset.ImagePositionPatient = [float(a + n * b) for a, b in zip(origin, step, strict=True)]
            dataset.PixelSpacing, dataset.SliceThickness = list(spacing), "2"
            dataset.Rows, dataset.Columns = plane.shape
            dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
            dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
            if slopes is not None or intercept:
                dataset.RescaleSlope = 1 if slopes is None else float(slopes[n])
                dataset.RescaleIntercept = intercept
            for name, value in (tags or {}).items():
                setattr(dataset, name, value)
            if per_slice is not None:
                per_slice(n, dataset)
            dataset.PixelData = plane.tobytes()
            # Names do not follow the positions: order must come from the headers.
            path = target / f"im{(number * 7) % 9973:05d}.dcm"
            if meta:
                dataset.file_meta = pydicom.dataset.FileMetaDataset()
                dataset.file_meta.TransferSyntaxUID = syntax
                dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
                dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
                dataset.save_as(path, enforce_file_format=True)
            else:
                dataset.save_as(path, implicit_vr=False, little_endian=True)
        return target

    return make


@pytest.fixture
def pixels() -> Any:
    """A small (slice, row, column) array in which every voxel is different."""
    return np.arange(5 * 4 * 6, dtype=np.int16).reshape(5, 4, 6)
