"""Hand labels or predictions on, each on the grid of its scan: as NIfTI, as an nnU-Net data set, or as DICOM SEG."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_dasl import volumes
from napari_dasl.errors import DaslError, InputError, StorageError
from napari_dasl.volumes.atomic import atomic_path, storage_error
from napari_dasl.volumes.dicom import slice_files
from napari_dasl.volumes.formats import kind_of

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_dasl.project.folder import Project
    from napari_dasl.project.records import Case

_MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("StudyID", "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName"),
)

What = Literal["labels", "predictions"]
Form = Literal["nifti", "nnunet", "dicom-seg"]


@dataclass(frozen=True)
class Exported:
    """Files that were written, and (case, reason) of what was left out."""

    written: tuple[Path, ...]
    skipped: tuple[tuple[str, str], ...]


def export_project(project: Project, out: Path, *, what: What = "labels", form: Form = "nifti") -> Exported:
    """Write every human label, or every prediction of the active model, below the folder *out*.

    Parameters
    ----------
    project : Project
    out : Path
        Made where it is missing.
    what : {"labels", "predictions"}
    form : {"nifti", "nnunet", "dicom-seg"}
        ``nifti``: ``out/<case>.nii.gz``. ``nnunet``: ``imagesTr``, ``labelsTr`` and ``dataset.json``. ``dicom-seg``:
        ``out/<case>.dcm``, for cases whose reference is a DICOM series. Numbers of lesions stay in ``nifti``, are the
        segments of ``dicom-seg``, and become the class in ``nnunet``, which knows nothing else.

    Raises
    ------
    InputError
        *out* is a file.
    StorageError
        Nothing can be written there.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file.", "Name a folder.")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, out) from error
    written: list[Path] = []
    skipped: list[tuple[str, str]] = []
    for case in project.cases():
        if not case.readable:
            continue
        try:
            mask = _mask(project, case, what)
            if mask is not None:
                written += _write(project, case, mask, out, form)
        except StorageError:
            raise
        except DaslError as problem:
            skipped.append((case.id, str(problem)))
    if form == "nnunet" and written:
        written.append(_dataset_json(project, out, len([path for path in written if path.parent.name == "labelsTr"])))
    return Exported(tuple(written), tuple(skipped))


def _mask(project: Project, case: Case, what: What) -> NDArray[Any] | None:
    if what == "labels":
        return project.read_label(case.id)
    prediction = project.prediction(case.id)
    return None if prediction is None else project.label_from(prediction)


def _write(project: Project, case: Case, mask: NDArray[Any], out: Path, form: Form) -> list[Path]:
    if form == "nifti":
        path = out / f"{case.id}.nii.gz"
        volumes.write_mask(path, mask, case.geometry)
        return [path]
    if form == "nnunet":
        return _write_nnunet(project, case, mask, out)
    return [_write_dicom_seg(project, case, mask, out / f"{case.id}.dcm")]


def _write_nnunet(project: Project, case: Case, mask: NDArray[Any], out: Path) -> list[Path]:
    """Channels of one case lie on one grid there, so every series is written on the grid of the reference."""
    images, labels = out / "imagesTr", out / "labelsTr"
    images.mkdir(exist_ok=True)
    labels.mkdir(exist_ok=True)
    paths = []
    for number, channel in enumerate(project.read_image_array(case.id)):
        path = images / f"{case.id}_{number:04d}.nii.gz"
        source = case.series[number].path
        if number == 0 and source.name.endswith(".nii.gz"):
            with atomic_path(path) as temporary:
                shutil.copyfile(source, temporary)
        else:
            volumes.write_image(path, channel, case.geometry)
        paths.append(path)
    label = labels / f"{case.id}.nii.gz"
    volumes.write_mask(label, project.class_map(mask), case.geometry)
    return [*paths, label]


def _dataset_json(project: Project, out: Path, count: int) -> Path:
    config = project.config
    document = {
        "channel_names": {
            str(k): config.modality if name == "image" else name for k, name in enumerate(config.channels)
        },
        "labels": {"background": 0, **{name: k for k, name in enumerate(config.classes, start=1)}},
        "numTraining": count,
        "file_ending": ".nii.gz",
    }
    path = out / "dataset.json"
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return path


def _write_dicom_seg(project: Project, case: Case, mask: NDArray[Any], path: Path) -> Path:
    """Write a binary segmentation with a segment per class or numbered lesion, referring to the slices."""
    try:
        import highdicom
        import pydicom
        from pydicom.sr.codedict import codes
    except ImportError as problem:
        raise InputError(f"DICOM SEG needs {problem.name}.", 'Install it: pip install "napari-dasl[dicom]".') from None
    if kind_of(case.reference) != "dicom" and not case.reference.is_dir():
        raise InputError(f"The scan of {case.id} is no DICOM series.", "Export it as nifti.")
    slices = slice_files(case.reference, case.series[0].series_uid)
    sources = [pydicom.dcmread(one) for one in slices]
    for source in sources:
        for keyword in _MAY_BE_EMPTY:
            if keyword not in source:  # anonymised series often lack what the standard wants at least empty
                setattr(source, keyword, None)
    names, mask = _segments(project, mask)
    # highdicom takes frames in the order of the source slices, each in its stored row and column order.
    frames = np.ascontiguousarray(np.moveaxis(case.geometry.to_native(mask), (0, 1, 2), (2, 1, 0)))
    segments = [
        highdicom.seg.SegmentDescription(
            segment_number=k,
            segment_label=name,
            segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
            segmented_property_type=codes.SCT.Lesion,
            algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.SEMIAUTOMATIC,
            algorithm_identification=highdicom.AlgorithmIdentificationSequence(
                name="napari-dasl", version="1", family=codes.DCM.ArtificialIntelligence
            ),
        )
        for k, name in enumerate(names, start=1)
    ]
    try:
        document = _segmentation(highdicom, sources, frames, segments)
    except (AttributeError, KeyError, TypeError, ValueError) as problem:
        reason = str(problem).rstrip(".")
        raise InputError(f"{case.id} cannot be written as DICOM SEG: {reason}.", "Export it as nifti.") from problem
    with atomic_path(path) as temporary:
        document.save_as(temporary)
    return path


def _segments(project: Project, mask: NDArray[Any]) -> tuple[list[str], NDArray[Any]]:
    """Names of the segments 1, 2, …, and the map of them: classes as they are, numbered lesions without gaps."""
    numbers = np.unique(mask[mask > 0])
    if not project.config.instances or not numbers.size:
        return list(project.config.classes), mask
    new = np.where(mask > 0, np.searchsorted(numbers, mask) + 1, 0)
    return [f"{project.config.classes[0]} {number}" for number in numbers.tolist()], new


def _segmentation(highdicom: Any, sources: list[Any], frames: NDArray[Any], segments: list[Any]) -> Any:
    return highdicom.seg.Segmentation(
        source_images=sources,
        pixel_array=frames.astype(np.uint8 if len(segments) <= 255 else np.uint16),
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=segments,
        series_instance_uid=highdicom.UID(),
        series_number=900,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="napari-dasl",
        manufacturer_model_name="napari-dasl",
        software_versions="1",
        device_serial_number="0",
    )
