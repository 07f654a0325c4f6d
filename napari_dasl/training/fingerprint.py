"""What the labelled cases look like: sizes, spacings and intensities, measured once and read by the plan."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict
from scipy import ndimage

from napari_dasl.errors import Cancelled, InputError
from napari_dasl.events import CancelCheck, Phase, Progress, Report, never, silent
from napari_dasl.training.lesions import diameters, lesion_table, numbered, slice_diameters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_dasl.training.cases import CaseData

VOXELS_PER_CASE = 10_000
"""How many voxels of each kind one case contributes to the intensity statistics (nnU-Net takes as many)."""


class Intensity(BaseModel):
    """The values of one channel: inside the labelled classes, and over the whole scan."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    channel: str
    percentile_00_5: float
    median: float
    percentile_99_5: float
    mean: float
    std: float
    scan_minimum: float
    scan_median: float
    scan_percentile_99_5: float
    scan_maximum: float
    zero_fraction: float


class Fingerprint(BaseModel):
    """Sizes, spacings and intensities of the labelled cases.

    ``shapes`` and ``spacings`` are per case in the order (z, y, x); ``class_voxels`` holds the median number of voxels
    of each class over the cases in which it occurs (0 where it occurs in none); ``lesion_extent`` is the median
    bounding box of all classes together, in voxels. ``lesion_diameters`` holds the longest side of the box of every
    lesion in mm, and ``slice_diameters`` the same of every section of a lesion in a slice; a label that does not number
    its lesions has one for every connected component.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = 1
    channels: tuple[str, ...]
    classes: tuple[str, ...]
    shapes: tuple[tuple[int, int, int], ...]
    spacings: tuple[tuple[float, float, float], ...]
    intensities: tuple[Intensity, ...]
    class_voxels: tuple[float, ...]
    lesion_extent: tuple[float, float, float]
    lesion_diameters: tuple[float, ...] = ()
    slice_diameters: tuple[float, ...] = ()

    @property
    def cases(self) -> int:
        """How many cases were measured."""
        return len(self.shapes)


class _Samples:
    """Voxel samples of one channel, gathered over the cases."""

    def __init__(self) -> None:
        self.inside: list[NDArray[np.float32]] = []
        self.scan: list[NDArray[np.float32]] = []
        self.minimum: list[float] = []
        self.maximum: list[float] = []
        self.zeros: list[float] = []

    def add(self, image: NDArray[np.float32], mask: NDArray[np.bool_], rng: np.random.Generator) -> None:
        finite = np.nan_to_num(image.ravel(), nan=0.0, posinf=0.0, neginf=0.0)
        self.scan.append(finite[rng.integers(0, finite.size, VOXELS_PER_CASE)])
        inside = finite[mask.ravel()]
        if inside.size:
            self.inside.append(inside[rng.integers(0, inside.size, VOXELS_PER_CASE)])
        self.minimum.append(float(finite.min()))
        self.maximum.append(float(finite.max()))
        self.zeros.append(float(np.mean(finite == 0)))

    def summary(self, channel: str) -> Intensity:
        scan = np.concatenate(self.scan)
        # Where nothing is labelled yet, the scan itself is the best guess at what a lesion may look like.
        inside = np.concatenate(self.inside) if self.inside else scan
        low, middle, high = (float(v) for v in np.percentile(inside, (0.5, 50, 99.5)))
        return Intensity(
            channel=channel,
            percentile_00_5=low,
            median=middle,
            percentile_99_5=high,
            mean=float(inside.mean(dtype=np.float64)),
            std=float(inside.std(dtype=np.float64)),
            scan_minimum=float(np.median(self.minimum)),
            scan_median=float(np.median(scan)),
            scan_percentile_99_5=float(np.percentile(scan, 99.5)),
            scan_maximum=float(np.median(self.maximum)),
            zero_fraction=float(np.mean(self.zeros)),
        )


class _Lesions:
    """Sizes of the lesions, gathered over the cases."""

    def __init__(self) -> None:
        self.whole: list[float] = []
        self.sections: list[float] = []

    def add(self, label: NDArray[Any], case: CaseData) -> None:
        box = ndimage.find_objects((label > 0).astype(np.uint8))
        if not box:
            return
        ids, classes = numbered(label[box[0]], instances=case.instances)
        table = lesion_table(ids, classes)
        self.whole += diameters(table, case.spacing)
        self.sections += slice_diameters(ids, table, case.spacing)


def _extent(mask: NDArray[np.bool_]) -> tuple[int, int, int] | None:
    """Size of the bounding box of *mask*, (z, y, x); None where it is empty."""
    sides = []
    for axis in range(3):
        hit = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        if not hit.size:
            return None
        sides.append(int(hit[-1] - hit[0] + 1))
    return (sides[0], sides[1], sides[2])


def _checked_image(case: CaseData, channels: int) -> NDArray[np.float32]:
    image = case.image()
    if image.ndim != 4 or image.shape[0] != channels:
        raise InputError(
            f"Case {case.id}: the image has the shape {image.shape}, and the project has {channels} channel(s).",
            "Give every case the same series, in the order of the project's channels.",
        )
    return image


def measure(
    cases: Sequence[CaseData],
    *,
    channels: Sequence[str],
    classes: Sequence[str],
    report: Report = silent,
    cancelled: CancelCheck = never,
) -> Fingerprint:
    """Measure *cases*, reading each once.

    Sampling is seeded by each case's own name: the result does not depend on the order of reading.

    Raises
    ------
    InputError
        Where there is no case, or a case has another number of channels.
    Cancelled
        Between two cases, when *cancelled* says so.
    """
    if not cases:
        raise InputError("There is no labelled case to learn from.", "Label a few cases first.")
    report(Phase(name="prepare", text="Measuring the labelled scans."))
    samples = [_Samples() for _ in channels]
    volumes: list[list[int]] = [[] for _ in classes]
    extents: list[tuple[int, int, int]] = []
    lesions = _Lesions()
    shapes: list[tuple[int, int, int]] = []
    ordered = sorted(cases, key=lambda case: case.id)
    for done, case in enumerate(ordered):
        if cancelled():
            raise Cancelled("Stopped while measuring the scans.", "Nothing was changed.")
        image = _checked_image(case, len(channels))
        label: NDArray[Any] | None = case.label()
        mask = np.zeros(image.shape[1:], bool) if label is None else np.asarray(label) > 0
        rng = np.random.default_rng(zlib.crc32(case.id.encode()))
        for channel, sample in enumerate(samples):
            sample.add(image[channel], mask, rng)
        if label is not None:
            lesions.add(np.asarray(label), case)
            values = mask if case.instances else np.asarray(label)
            counts = np.bincount(values.ravel(), minlength=len(classes) + 1)
            for k, found in enumerate(counts[1 : len(classes) + 1]):
                if found:
                    volumes[k].append(int(found))
        extent = _extent(mask)
        if extent:
            extents.append(extent)
        shapes.append((int(image.shape[1]), int(image.shape[2]), int(image.shape[3])))
        report(Progress(name="prepare", done=done + 1, total=len(ordered), text=case.id))
    middle = np.median(extents, axis=0) if extents else np.zeros(3)
    return Fingerprint(
        channels=tuple(channels),
        classes=tuple(classes),
        shapes=tuple(shapes),
        spacings=tuple(case.spacing for case in ordered),
        intensities=tuple(sample.summary(name) for sample, name in zip(samples, channels, strict=True)),
        class_voxels=tuple(float(np.median(v)) if v else 0.0 for v in volumes),
        lesion_extent=(float(middle[0]), float(middle[1]), float(middle[2])),
        lesion_diameters=tuple(lesions.whole),
        slice_diameters=tuple(lesions.sections),
    )
