"""Scans on the network's grid: resampled, normalised, and kept on disk so that training reads patches, not scans."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import gaussian_filter1d

from napari_dasl.errors import InputError, LabelError
from napari_dasl.training.normalise import normalise_channel
from napari_dasl.training.topology import network_shape
from napari_dasl.volumes.atomic import atomic_path, storage_error, write_bytes_atomic

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_dasl.training.cases import CaseData, Shape, Spacing
    from napari_dasl.training.plan import TrainingPlan

COORDINATES_PER_CLASS = 2000
"""How many voxels of a class are remembered for patch sampling: kilobytes a case, where all would be megabytes."""


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
    shape = network_shape(image.shape[1:], spacing, plan.spacing)
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
    ``foreground`` is (n, 4) int16: class, z, y, x of up to :data:`COORDINATES_PER_CLASS` voxels of each class.
    """

    id: str
    image: NDArray[np.float16]
    label: NDArray[np.uint8] | None
    foreground: NDArray[np.int16]
    weight: float
    human: bool = True


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
        image_path = self.folder / f"{_name(case.key)}.image.npy"
        label_path = self.folder / f"{_name(case.key, case.label_key, *self.plan.classes)}.label.npy"
        index_path = label_path.with_suffix(".index.npy")
        none_path = label_path.with_suffix(".none")
        image = _stored(image_path, np.float16)
        label = _stored(label_path, np.uint8)
        index = _stored(index_path, np.int16)
        unlabelled = none_path.exists()
        native: Shape | None = None
        if image is None:
            array = case.image()
            native = (array.shape[1], array.shape[2], array.shape[3])
            made = to_network_grid(array, case.spacing, self.plan)
            del array
            # float16 keeps three digits, ample for values around 0; the clip keeps an outlier from becoming infinite.
            _publish(image_path, np.clip(made, -6e4, 6e4).astype(np.float16))
            image = _stored(image_path, np.float16)
        if not unlabelled and (label is None or index is None):
            raw = case.label()
            if raw is None:
                unlabelled = True
                _publish_empty(none_path)
            else:
                shape = (int(image.shape[1]), int(image.shape[2]), int(image.shape[3]))
                self._check_label(case, raw, native, shape)
                made_label = resample_label(raw, shape, len(self.plan.classes))
                _publish(label_path, made_label)
                _publish(index_path, foreground_index(made_label, len(self.plan.classes)))
                label, index = _stored(label_path, np.uint8), _stored(index_path, np.int16)
        if unlabelled:
            return Prepared(case.id, image, None, np.zeros((0, 4), np.int16), case.weight, case.human)
        return Prepared(case.id, image, label, index, case.weight, case.human)

    def _check_label(self, case: CaseData, label: NDArray[Any], native: Shape | None, shape: Shape) -> None:
        """Refuse a label that is not on the image's grid, or holds a value that no class has."""
        expected = network_shape(label.shape, case.spacing, self.plan.spacing) if label.ndim == 3 else None
        if expected != shape or (native is not None and label.shape != native):
            raise LabelError(
                f"The label of case {case.id} has the shape {label.shape}, which is not the grid of its scan.",
                "Import the label again, or label the case anew.",
            )
        highest = int(label.max(initial=0))
        classes = len(self.plan.classes)
        if highest > classes or int(label.min(initial=0)) < 0:
            raise LabelError(
                f"The label of case {case.id} holds values up to {highest}, and there are {classes} classes.",
                "Add the class to the project, or correct the label.",
            )


def _name(*parts: str) -> str:
    """A file name for a content: 32 hexadecimal digits, whatever characters the parts hold."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _stored(path: Path, dtype: type) -> Any:
    """The array at *path*, memory-mapped; None where there is none, or one that cannot be read whole."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False) if path.stat().st_size else None
    except (OSError, ValueError, EOFError):
        return None
    return array if array is not None and array.dtype == dtype else None


def _publish(path: Path, array: NDArray[Any]) -> None:
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
