"""Scans on the network's grid: resampled, normalised, and kept on disk so that training reads patches, not scans."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import gaussian_filter1d

from napari_dasl.errors import InputError, LabelError
from napari_dasl.training import lesions
from napari_dasl.training.effective import Box, effective_box
from napari_dasl.training.normalise import normalise_channel
from napari_dasl.training.topology import network_shape
from napari_dasl.volumes.atomic import atomic_path, storage_error, write_bytes_atomic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_dasl.training.cases import CaseData, Shape, Spacing
    from napari_dasl.training.plan import TrainingPlan

Part = tuple[Box, tuple[int, int, int]]
"""The effective range of a scan, and the shape of all of it."""

COORDINATES_PER_CLASS = 2000
"""How many voxels of a class are remembered for patch sampling: kilobytes a case, where all would be megabytes."""

COORDINATES_PER_SLICE = 32
"""The same for a network of slices, of each class in each slice: the patch is most often all of it."""

COORDINATES_PER_LESION = 200
"""The same for one lesion: it only says which slices show it, and where a lesion larger than a patch is cut."""


def _shrink_smoothing(array: NDArray[np.float32], axis: int, new: int) -> NDArray[np.float32]:
    """Low-pass *array* along *axis* before it is made smaller, as scikit-image does, so that detail does not alias."""
    factor = array.shape[axis] / new
    if factor <= 1:
        return array
    smooth: NDArray[np.float32] = gaussian_filter1d(array, (factor - 1) / 2, axis=axis, mode="nearest")
    return smooth


def resample_linear(array: NDArray[np.float32], shape: Shape, *, smooth: bool = True) -> NDArray[np.float32]:
    """Resample the last three axes of *array* to *shape*, axis by axis, linearly; the two grids share their extent.

    Voxel ``i`` of the new grid lies at ``(i + 0.5) * old / new - 0.5`` of the old one (half-voxel convention), clamped
    to the border.
    """
    result = np.asarray(array, np.float32)
    for axis, new in zip(range(array.ndim - 3, array.ndim), shape, strict=True):
        old = result.shape[axis]
        if old == new:
            continue
        if smooth:
            result = _shrink_smoothing(result, axis, new)
        position = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
        below = np.floor(position).astype(np.intp)
        above = np.minimum(below + 1, old - 1)
        weight = (position - below).astype(np.float32)
        weight = weight.reshape([-1 if a == axis else 1 for a in range(result.ndim)])
        lower = np.take(result, below, axis=axis)
        lower += weight * (np.take(result, above, axis=axis) - lower)
        result = lower
    return result


def resample_label(label: NDArray[Any], shape: Shape, classes: int) -> NDArray[np.uint8]:
    """Resample a label map (z, y, x): each class linearly, and the class with most of a voxel wins it."""
    if label.shape == tuple(shape):
        return np.asarray(label, np.uint8)
    best = np.full(shape, 0.5, np.float32)
    result = np.zeros(shape, np.uint8)
    for k in range(1, classes + 1):
        share = resample_linear((label == k).astype(np.float32), shape, smooth=False)
        won = share >= best
        result[won] = k
        best[won] = share[won]
    return result


def grid_shape(shape: Sequence[int], spacing: Spacing, plan: TrainingPlan) -> Shape:
    """The shape of a scan on the plan's grid; a network of slices keeps the scan's own slices."""
    sides = network_shape(shape, spacing, plan.spacing)
    return (int(shape[0]), sides[1], sides[2]) if plan.spatial_dims == 2 else sides


def to_network_grid(image: NDArray[np.float32], spacing: Spacing, plan: TrainingPlan) -> NDArray[np.float32]:
    """Normalise *image*, (C, z, y, x) in stored units, and resample it to the plan's spacing; (C, z', y', x') float32.

    Raises
    ------
    InputError
        Where the image has another number of channels than the plan.
    """
    if image.ndim != 4 or image.shape[0] != plan.in_channels:
        raise InputError(
            f"An image of the shape {image.shape} was given to a network for {plan.in_channels} channel(s).",
            "Give the case the same series as the others, in the order of the project's channels.",
        )
    shape = grid_shape(image.shape[1:], spacing, plan)
    result = np.empty((image.shape[0], *shape), np.float32)
    # Channel by channel, so that a whole-body scan of several series is never held twice.
    for channel, rule in enumerate(plan.normalisation):
        result[channel] = resample_linear(normalise_channel(image[channel], rule), shape)
    return result


def from_network_grid(probability: NDArray[np.float32], shape: Shape) -> NDArray[np.float32]:
    """Bring a probability (K, z', y', x') back to the scan's own grid, (K, *shape) float32.

    Linear weights are the same for every class, so the classes of a voxel still sum to 1.
    """
    result = np.empty((probability.shape[0], *shape), np.float32)
    for k in range(probability.shape[0]):
        result[k] = resample_linear(np.asarray(probability[k], np.float32), shape, smooth=False)
    return result


@dataclass(frozen=True)
class Prepared:
    """A case on the network's grid.

    ``image`` is a memory-mapped (C, z, y, x) float16; ``label`` a memory-mapped (z, y, x) uint8, or None;
    ``foreground`` is (n, 4) int16: class, z, y, x of up to :data:`COORDINATES_PER_CLASS` voxels of each class, or, for
    a network of slices, of up to :data:`COORDINATES_PER_SLICE` of each class in each slice.

    For a detector ``label`` is uint16 and numbers the lesions, ``foreground`` names the lesion instead of the class,
    ``lesions`` is their table (see :mod:`napari_dasl.training.lesions`), and ``negatives`` holds the findings that a
    person rejected, (n, 6) corners in voxels of this grid.

    ``stored`` is the file of the image, named after what it was made from; None for one that is not on disk.
    """

    id: str
    image: NDArray[np.float16]
    label: NDArray[np.uint8] | NDArray[np.uint16] | None
    foreground: NDArray[np.int16]
    weight: float
    human: bool = True
    lesions: NDArray[np.int32] | None = None
    negatives: NDArray[np.float32] | None = None
    stored: Path | None = None

    @property
    def usable(self) -> bool:
        """Whether there is anything to learn from: a label, or at least a place that a person rejected."""
        return self.label is not None or (self.negatives is not None and len(self.negatives) > 0)


def foreground_index(label: NDArray[np.uint8], classes: int, seed: int = 0) -> NDArray[np.int16]:
    """Up to :data:`COORDINATES_PER_CLASS` voxels of each class, (n, 4) int16: class, z, y, x."""
    rng = np.random.default_rng(seed)
    found = []
    for k in range(1, classes + 1):
        flat = np.flatnonzero(label == k)
        if flat.size > COORDINATES_PER_CLASS:
            flat = np.sort(rng.choice(flat, COORDINATES_PER_CLASS, replace=False))
        place = np.stack([np.full(flat.size, k), *np.unravel_index(flat, label.shape)], axis=1)
        found.append(place.astype(np.int16))
    return np.concatenate(found) if found else np.zeros((0, 4), np.int16)


def slice_index(label: NDArray[np.uint8], classes: int, seed: int = 0) -> NDArray[np.int16]:
    """Up to :data:`COORDINATES_PER_SLICE` voxels of each class in each slice, so that none is forgotten; as above."""
    rng = np.random.default_rng(seed)
    found = [NO_VOXELS]
    for z, plane in enumerate(label):
        for k in (int(value) for value in np.unique(plane) if 0 < value <= classes):
            place = np.argwhere(plane == k)
            if len(place) > COORDINATES_PER_SLICE:
                place = place[np.sort(rng.choice(len(place), COORDINATES_PER_SLICE, replace=False))]
            found.append(np.insert(place, 0, [[k], [z]], axis=1).astype(np.int16))
    return np.concatenate(found)


NO_VOXELS = np.zeros((0, 4), np.int16)


class Cache:
    """Prepared cases on disk, under ``<folder>/<hash of the plan's grid and normalisation>/``.

    Files are named after the content they were made from, so a changed scan, label or plan never meets a stale file,
    and an unchanged one is never made twice. A file appears complete or not at all; one that cannot be read is made
    again. The folder may be deleted at any time.
    """

    def __init__(self, folder: Path, plan: TrainingPlan) -> None:
        self.folder = Path(folder) / plan.prepared_hash
        self.plan = plan

    def case(self, case: CaseData) -> Prepared:
        """The prepared *case*, from disk where it is there, else made and kept.

        Raises
        ------
        LabelError
            Where the label does not lie on the image's grid or holds a value outside the classes.
        StorageError
            Where the cache cannot be written.
        """
        image_path = self._image_path(case)
        image = stored(image_path, np.float16)
        native: Shape | None = None
        part: Part | None = None
        if self.plan.effective_range != "whole":
            part = _part(stored(image_path.with_suffix(".part.npy"), np.int64))
        if image is None or (part is None and self.plan.effective_range != "whole"):
            array = case.image()
            native = (array.shape[1], array.shape[2], array.shape[3])
            if self.plan.effective_range != "whole":
                part = (effective_box(array, case.spacing, self.plan), native)
                bounds = [[side.start, side.stop, n] for side, n in zip(part[0], native, strict=True)]
                publish(image_path.with_suffix(".part.npy"), np.array(bounds, np.int64))
                array = array[(slice(None), *part[0])]
            made = to_network_grid(array, case.spacing, self.plan)
            del array
            # float16 keeps three digits, ample for values around 0; the clip keeps an outlier from becoming infinite.
            publish(image_path, np.clip(made, -6e4, 6e4).astype(np.float16))
            image = stored(image_path, np.float16)
        if self.plan.detector:
            return self._with_lesions(case, image, native)
        return self._with_label(case, image, native, part)

    def _image_path(self, case: CaseData) -> Path:
        return self.folder / f"{_name(case.key, *self._slices())}.image.npy"

    def _slices(self) -> tuple[str, ...]:
        """What tells scans that kept their own slices from those on the plan's grid."""
        return ("slices",) if self.plan.spatial_dims == 2 else ()

    def _with_label(
        self, case: CaseData, image: NDArray[np.float16], native: Shape | None, part: Part | None
    ) -> Prepared:
        """The case with its map of classes."""
        numbered = ("numbered",) if case.instances else ()
        label_path = self.folder / f"{_name(case.key, case.label_key, *self.plan.classes, *numbered)}.label.npy"
        planar = self.plan.spatial_dims == 2
        index_path = label_path.with_suffix(".slices.npy" if planar else ".index.npy")
        none_path = label_path.with_suffix(".none")
        label = stored(label_path, np.uint8)
        index = stored(index_path, np.int16)
        unlabelled = none_path.exists()
        if not unlabelled and (label is None or index is None):
            raw = case.label()
            if raw is None:
                unlabelled = True
                _publish_empty(none_path)
            else:
                raw = self._checked(case, raw, native, image.shape[1:], part)
                made_label = resample_label(raw, _triple(image.shape[1:]), len(self.plan.classes))
                publish(label_path, made_label)
                find = slice_index if planar else foreground_index
                publish(index_path, find(made_label, len(self.plan.classes)))
                label, index = stored(label_path, np.uint8), stored(index_path, np.int16)
        if unlabelled:
            return Prepared(case.id, image, None, NO_VOXELS, case.weight, case.human)
        return Prepared(case.id, image, label, index, case.weight, case.human, stored=self._image_path(case))

    def _with_lesions(self, case: CaseData, image: NDArray[np.float16], native: Shape | None) -> Prepared:
        """The case with its lesions numbered, their table, and the places that a person rejected."""
        kind = ("numbered" if case.instances else "components", *self._slices())
        path = self.folder / f"{_name(case.key, case.label_key, *self.plan.classes, *kind)}.lesions.npy"
        index_path, table_path = path.with_suffix(".index.npy"), path.with_suffix(".table.npy")
        none_path = path.with_suffix(".none")
        ids, index, table = stored(path, np.uint16), stored(index_path, np.int16), stored(table_path, np.int32)
        unlabelled = none_path.exists()
        shape = _triple(image.shape[1:])
        if not unlabelled and (ids is None or index is None or table is None):
            raw = case.label()
            if raw is None:
                unlabelled = True
                _publish_empty(none_path)
            else:
                raw = self._checked(case, raw, native, shape)
                numbers, classes = lesions.numbered(raw, instances=case.instances)
                self._check_count(case, len(classes))
                made = lesions.resample_lesions(numbers, shape)
                publish(path, made)
                publish(index_path, lesions.lesion_index(made, COORDINATES_PER_LESION))
                publish(table_path, lesions.lesion_table(made, classes))
                ids, index, table = (
                    stored(path, np.uint16),
                    stored(index_path, np.int16),
                    stored(table_path, np.int32),
                )
        depth = case.spacing[0] if self.plan.spatial_dims == 2 else self.plan.spacing[0]
        negatives = lesions.on_grid(case.negatives, case.spacing, (depth, *self.plan.spacing[1:]))
        if unlabelled:
            return Prepared(case.id, image, None, NO_VOXELS, case.weight, case.human, lesions.NONE, negatives)
        return Prepared(case.id, image, ids, index, case.weight, case.human, table, negatives)

    def _checked(
        self,
        case: CaseData,
        label: NDArray[Any],
        native: Shape | None,
        shape: Sequence[int],
        part: Part | None = None,
    ) -> NDArray[Any]:
        """The label, or the *part* of it, unless it is not on the image's grid, or holds a value that no class has."""
        if part is not None:
            box, native = part
            if label.shape == native:
                label, native = label[box], None
        expected = grid_shape(label.shape, case.spacing, self.plan) if label.ndim == 3 else None
        if expected != tuple(shape) or (native is not None and label.shape != native):
            raise LabelError(
                f"The label of case {case.id} has the shape {label.shape}, which is not the grid of its scan.",
                "Import the label again, or label the case anew.",
            )
        lowest, highest = int(label.min(initial=0)), int(label.max(initial=0))
        classes = len(self.plan.classes)
        if lowest < 0 or (highest > classes and not case.instances):
            raise LabelError(
                f"The label of case {case.id} holds values up to {highest}, and there are {classes} classes.",
                "Add the class to the project, or correct the label.",
            )
        # Where the values number lesions, a network that tells classes apart sees one class.
        return (label > 0).astype(np.uint8) if case.instances and not self.plan.detector else label

    def _check_count(self, case: CaseData, count: int) -> None:
        """Refuse more lesions than the index can number."""
        if count > lesions.MOST_LESIONS:
            raise LabelError(
                f"The label of case {case.id} falls into {count} separate lesions, and at most "
                f"{lesions.MOST_LESIONS} can be learnt from.",
                "Correct the label: so many are most often noise from a threshold.",
            )


def _part(bounds: NDArray[np.int64] | None) -> Part | None:
    """The part of a scan that was prepared, and the scan's own shape, as they were stored: (3, 3), first, end, all."""
    if bounds is None or bounds.shape != (3, 3):
        return None
    z, y, x = (slice(int(first), int(end)) for first, end, _ in bounds)
    return (z, y, x), _triple(bounds[:, 2])


def _triple(shape: Sequence[int] | NDArray[Any]) -> Shape:
    return (int(shape[0]), int(shape[1]), int(shape[2]))


def _name(*parts: str) -> str:
    """A file name for a content: 32 hexadecimal digits, whatever characters the parts hold."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def stored(path: Path, dtype: type) -> Any:
    """The array at *path*, memory-mapped; None where there is none, or one that cannot be read whole."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False) if path.stat().st_size else None
    except (OSError, ValueError, EOFError):
        return None
    return array if array is not None and array.dtype == dtype else None


def publish(path: Path, array: NDArray[Any]) -> None:
    """Write *array* so that *path* holds all of it or does not exist."""
    _make_folder(path)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def _publish_empty(path: Path) -> None:
    _make_folder(path)
    write_bytes_atomic(path, b"")


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, path) from error
