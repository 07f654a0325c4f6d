"""Axial slices with a lesion, each a case of its own: what Moreau et al. train on (ISBI 2023).

"Only the slices with lesion according to ground truth are kept", then "selective horizontal flipping to place all the
lesions in the same hemisphere" and "resizing to 192x192 pixels without cropping". Size and contrast are measured on the
slice as it was scanned.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dasl.active import region_mask
from napari_dasl.curriculum.difficulty import fisher_contrast, lesion_size
from napari_dasl.errors import Cancelled, InputError
from napari_dasl.events import CancelCheck, Progress, Report, never, silent
from napari_dasl.experiments.data import Sample, Study
from napari_dasl.training.cases import CaseData
from napari_dasl.training.prepare import resample_label, resample_linear
from napari_dasl.volumes.atomic import atomic_path

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SIDE = 192
"""Rows and columns of a slice in the paper."""

AXIS = 1
"""The axis of a slice (y, x) that runs from left to right."""

CLASSES = ("lesion",)

MEASURED = "contrast inside the body"
"""How size and contrast are measured; slices that were stored when they were measured otherwise are made again."""


@dataclass(frozen=True)
class Slice(Sample):
    """One slice as a sample of its own: *image* and *label* are the file that holds all slices of its scan.

    Its array has the shape (1, 1, side, side), and its *spacing* is 1, so that a network sees it as it was resized.

    Attributes
    ----------
    place : int
        Number of the slice in the file.
    pixel : (float, float)
        Size of a pixel in mm (y, x), after resizing: what distances are measured with.
    size : float
        Area of the lesions, mm².
    contrast : float
        Fisher ratio; NaN where there is nothing to compare with.
    """

    place: int = 0
    pixel: tuple[float, float] = (1.0, 1.0)
    size: float = float("nan")
    contrast: float = float("nan")

    def data(self) -> CaseData:
        """The slice as training takes it; the file is read when an array is asked for."""
        return CaseData(
            id=self.id,
            image=lambda: _read(self.image, "image", self.place),
            spacing=self.spacing,
            label=lambda: _read(self.label, "label", self.place),
            key=self.key,
            label_key=self.label_key,
        )


@dataclass(frozen=True)
class Cut:
    """How scans become slices.

    Attributes
    ----------
    side : int
        Rows and columns after resizing.
    flip : bool
        Mirror slices so that every lesion lies on the same side.
    hemisphere : bool
        Compare a lesion with its side of the body (a head), rather than with a shell around it.
    most : int
        Of one scan, at most so many slices, evenly spread over those with a lesion; 0 takes all.
    """

    side: int = SIDE
    flip: bool = False
    hemisphere: bool = False
    most: int = 0

    def __post_init__(self) -> None:
        if self.side < 16 or self.side % 16:
            raise InputError(f"Slices cannot be resized to {self.side} pixels.", "Give a multiple of 16.")


def lesion_slices(
    study: Study,
    folder: Path,
    cut: Cut,
    *,
    report: Report = silent,
    cancelled: CancelCheck = never,
) -> Study:
    """Every slice with a lesion, resized and kept in *folder*, as a study of one class with :class:`Slice` samples.

    Parameters
    ----------
    study : Study
        Of scans; its groups are kept.
    folder : Path
        Holds one file per scan; what is there of the same scan and label is not made again.
    cut : Cut
    report, cancelled
        Told and asked after every scan.

    Returns
    -------
    Study
        By scan, then from the first slice to the last.

    Raises
    ------
    InputError
        Where no scan shows a lesion.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found: list[Slice] = []
    for done, scan in enumerate(study.samples):
        if cancelled():
            raise Cancelled("Stopped while cutting scans into slices.", "Slices that were made are kept.")
        mark = _mark(scan, cut)
        path = folder / f"{mark}.npz"
        if not path.exists():
            _store(path, scan.data(), cut)
        found += _stored(path, scan, mark)
        report(Progress(name="prepare", done=done + 1, total=len(study.samples), text=scan.id))
    if not found:
        raise InputError("No slice of any scan shows a lesion.", "Give scans with labels.")
    return replace(study, classes=CLASSES, samples=tuple(found))


def _mark(scan: Sample, cut: Cut) -> str:
    told = f"{scan.key} {scan.label_key} {scan.spacing} {cut} {MEASURED}"
    return hashlib.sha256(told.encode()).hexdigest()[:24]


def _store(path: Path, scan: CaseData, cut: Cut) -> None:
    """Cut one scan; the file appears complete or not at all."""
    image, label = scan.image(), scan.label()
    lesion = np.zeros(image.shape[1:], np.uint8) if label is None else (np.asarray(label) > 0).astype(np.uint8)
    ill = np.flatnonzero(lesion.any(axis=(1, 2)))
    if cut.most and ill.size > cut.most:
        ill = ill[((np.arange(cut.most) + 0.5) * ill.size / cut.most).astype(int)]
    shape, spacing = (1, cut.side, cut.side), (scan.spacing[1], scan.spacing[2])
    images = np.zeros((ill.size, image.shape[0], *shape), np.float32)
    labels = np.zeros((ill.size, *shape), np.uint8)
    sizes, contrasts = np.zeros(ill.size), np.zeros(ill.size)
    # Of the whole scan: in a slice the larger leg would be the body, and the lesion may be in the other.
    asked = ill.size > 0 and not cut.hemisphere
    body = region_mask(lesion.astype(np.float32), image[0], "body", scan.spacing) if asked else None
    for place, z in enumerate(ill):
        picture, drawn = image[:, z : z + 1], lesion[z : z + 1]
        sizes[place] = lesion_size(drawn[0], spacing)
        contrasts[place] = _contrast(picture[0, 0], drawn[0], spacing, None if body is None else body[z])
        if cut.flip and _on_the_far_side(drawn[0]):
            picture, drawn = picture[..., ::-1], drawn[..., ::-1]
        images[place] = resample_linear(picture, shape)
        labels[place] = resample_label(drawn, shape, 1)
    # Of a lesion of one or two pixels nothing may be left in a smaller picture.
    left = labels.any(axis=(1, 2, 3))
    pixel = np.array(spacing) * image.shape[2:] / cut.side
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            image=images[left],
            label=labels[left],
            z=ill[left],
            size=sizes[left],
            contrast=contrasts[left],
            pixel=pixel,
        )


def _contrast(
    image: NDArray[Any], label: NDArray[Any], spacing: tuple[float, float], body: NDArray[np.bool_] | None
) -> float:
    """Against a shell inside *body*; without one, against the lesion's hemisphere."""
    if body is not None:
        return fisher_contrast(image, label, spacing, body=body)
    # Air is the darkest thing round a head, and far darker than the mean of the slice.
    body = image > image.min() + 0.2 * (image.mean() - image.min())
    return fisher_contrast(image, label, spacing, body=body, side=AXIS)


def _on_the_far_side(label: NDArray[Any]) -> bool:
    return bool(np.nonzero(label)[AXIS].mean() > (label.shape[AXIS] - 1) / 2)


def _stored(path: Path, scan: Sample, mark: str) -> list[Slice]:
    with np.load(path) as stored:
        rows = list(zip(stored["z"].tolist(), stored["size"].tolist(), stored["contrast"].tolist(), strict=True))
        pixel = (float(stored["pixel"][0]), float(stored["pixel"][1]))
    return [
        Slice(
            id=f"{scan.id}:{z:03d}",
            group=scan.group,
            image=path,
            label=path,
            spacing=(1.0, 1.0, 1.0),
            key=f"{mark}/{z}",
            label_key=f"{mark}/{z}",
            place=place,
            pixel=pixel,
            size=size,
            contrast=contrast,
        )
        for place, (z, size, contrast) in enumerate(rows)
    ]


def _read(path: Path, what: str, place: int) -> NDArray[Any]:
    with np.load(path) as stored:
        one: NDArray[Any] = stored[what][place]
    return one
