"""napari's *Open* and *Save* for CT, PET and MR volumes, without a project.

Layers get only ``scale`` and ``translate``, never ``affine=``: napari draws rotated affines unrotated and fails on
permuted ones (napari#2616, #3410). Arrays are turned to (z to inferior, y to posterior, x to left) first, so that axial
slices are radiological; an oblique scan is resampled to the nearest straight grid, and its layer says so. No Qt and no
napari is imported.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dasl import volumes
from napari_dasl.errors import DaslError, GridMismatch, InputError, VolumeError
from napari_dasl.volumes.formats import kind_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from napari_dasl.volumes import Geometry, Volume

LayerData = tuple[Any, dict[str, Any], str]

SOURCE = "napari_dasl_source"
_WINDOWS = {"CT": (-160.0, 240.0), "PET": (0.0, 10.0)}
_MOST_LABELS = 64
_PERCENTILES = (1.0, 99.5)
_SAMPLE = 200_000


def get_reader(path: str | list[str]) -> Callable[[str | list[str]], list[LayerData]] | None:
    """Return a reader for *path*, or None where it is nothing of ours (npe2 asks for every file and folder)."""
    paths = [Path(one) for one in ([path] if isinstance(path, str) else path)]
    return read_layers if paths and all(_is_ours(one) for one in paths) else None


def _is_ours(path: Path) -> bool:
    if not path.is_dir():
        return kind_of(path) is not None
    try:
        return any(kind_of(one) == "dicom" for one in sorted(path.iterdir())[:20] if one.is_file())
    except OSError:
        return False


def read_layers(path: str | list[str]) -> list[LayerData]:
    """Read one layer per volume; a folder gives one per DICOM series.

    Raises
    ------
    VolumeError
        Nothing there can be read; the message says why.
    """
    layers = []
    for one in [path] if isinstance(path, str) else path:
        layers += _read_folder(Path(one)) if Path(one).is_dir() else [_layer(volumes.read(one), Path(one).name)]
    return layers


def _read_folder(folder: Path) -> list[LayerData]:
    found = volumes.find_series(folder)
    layers = [_layer(volumes.read(one.path, series_uid=one.series_uid), one.name) for one in found if not one.reason]
    if not layers:
        why = found[0].reason if found else "There is no scan in it."
        raise VolumeError(f"{folder} cannot be opened: {why}", "Choose a folder of DICOM files or a volume file.")
    return layers


def is_label_map(array: NDArray[Any]) -> bool:
    """Tell whether a volume is a label map: whole numbers from 0, few of them, and mostly background."""
    if array.dtype.kind not in "iub" or not array.size:
        return False
    low, high = int(array.min()), int(array.max())
    if low != 0 or high > np.iinfo(np.uint16).max:
        return False
    counts = np.bincount(array.ravel().astype(np.intp, copy=False))
    return bool(np.count_nonzero(counts) <= _MOST_LABELS and counts[0] * 2 >= array.size)


def _layer(volume: Volume, name: str) -> LayerData:
    geometry = volume.geometry
    labels = volume.modality is None and is_label_map(volume.array)
    straight = volumes.straight_grid(geometry)
    array = volumes.to_straight(volume.array, geometry, 0 if labels else 1)
    told = " (oblique: shown on a straight grid)" if straight is not geometry else ""
    properties: dict[str, Any] = {
        "name": name + told,
        **_place(straight),
        "metadata": {SOURCE: str(volume.path), "modality": volume.modality, "notes": list(volume.notes)},
    }
    if labels:
        small = int(array.max()) <= np.iinfo(np.uint8).max
        return array.astype(np.uint8 if small else np.uint16, copy=False), properties, "labels"
    properties["contrast_limits"] = _window(array, volume.modality)
    properties["colormap"] = "gray_r" if volume.modality == "PET" else "gray"
    return array, properties, "image"


def _place(geometry: Geometry) -> dict[str, Any]:
    return {
        "scale": tuple(float(value) for value in geometry.spacing),
        "translate": tuple(float(value) for value in geometry.origin),
        "units": ("mm",) * 3,
        "axis_labels": ("z", "y", "x"),
    }


def _window(array: NDArray[Any], modality: str | None) -> tuple[float, float]:
    if modality in _WINDOWS:
        return _WINDOWS[modality]
    sample = array.ravel()[:: max(1, array.size // _SAMPLE)].astype(np.float32)
    low, high = (float(value) for value in np.percentile(sample, _PERCENTILES))
    return (low, high) if high > low else (low, low + 1.0)


def write_labels(path: str, data: Any, properties: dict[str, Any]) -> list[str]:
    """Write a labels layer; on the exact grid of the file it was read from, where it still lies there.

    Parameters
    ----------
    path : str
        Ends in ``.nii.gz``, ``.nii``, ``.nrrd`` or ``.mha``.
    data : array (z, y, x)
        The layer's data.
    properties : dict
        napari's ``scale``, ``translate`` and ``metadata`` of the layer.

    Returns
    -------
    list of str
        The path that was written.

    Raises
    ------
    VolumeError, GridMismatch
        The layer is no volume.
    """
    mask = np.asarray(data)
    if mask.ndim != 3:
        raise VolumeError(f"A labels layer with {mask.ndim} axes is no volume.", "Save a layer with axes z, y, x.")
    geometry = _source_geometry(mask, properties)
    if geometry is None:
        scale, translate = properties.get("scale", (1.0,) * 3), properties.get("translate", (0.0,) * 3)
        volumes.write_mask(path, mask, geometry_of(mask.shape, scale, translate))
    elif geometry.is_oblique:
        source = Path(properties["metadata"][SOURCE])
        volumes.write_mask(path, volumes.from_straight(mask, _shown_mask(source, geometry), geometry), geometry)
    else:
        volumes.write_mask(path, mask, geometry)
    return [path]


def geometry_of(shape: tuple[int, ...], scale: Any, translate: Any) -> Geometry:
    """Return the geometry of a layer in our axes: (z, y, x) to inferior, posterior and left, in mm."""
    affine = np.eye(4)
    affine[:3, :3] = np.diag([-float(value) for value in reversed(list(scale)[-3:])])
    affine[:3, 3] = [-float(value) for value in reversed(list(translate)[-3:])]
    # RAS: left and posterior are negative, and so is inferior.
    return volumes.Geometry((shape[2], shape[1], shape[0]), affine)


def _source_geometry(mask: NDArray[Any], properties: dict[str, Any]) -> Geometry | None:
    """Return the grid of the file that the layer came from, if the layer still lies on it."""
    source = (properties.get("metadata") or {}).get(SOURCE)
    if not source:
        return None
    try:
        geometry = volumes.read_geometry(source)
    except (DaslError, OSError):
        return None  # the file is gone; the layer's own place is as good
    straight = volumes.straight_grid(geometry)
    place = _place(straight)
    same = all(np.allclose(properties.get(key, place[key]), place[key], atol=1e-4) for key in ("scale", "translate"))
    return geometry if same and mask.shape == straight.canonical_shape else None


def _shown_mask(source: Path, geometry: Geometry) -> NDArray[Any]:
    """Return the stored mask that was shown, so that what was not edited keeps its exact voxels."""
    try:
        return volumes.read_mask(source, geometry)
    except (GridMismatch, InputError):
        return np.zeros(geometry.canonical_shape, np.uint8)
