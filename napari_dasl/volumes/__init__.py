"""A scan file or a DICOM series, and the (z, y, x) array with its geometry.

Everything that the rest of the program needs of files is here; see :mod:`napari_dasl.volumes.geometry` for the axes.
Names are loaded when they are first used, so that a window opens before nibabel and SciPy are read.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_dasl.volumes.atomic import atomic_path, write_bytes_atomic
    from napari_dasl.volumes.finding import Found, find_series
    from napari_dasl.volumes.geometry import Geometry, NiftiForm
    from napari_dasl.volumes.grids import from_straight, resample_onto, straight_grid, to_straight
    from napari_dasl.volumes.masks import read_mask, write_image, write_mask
    from napari_dasl.volumes.reading import read, read_geometry, verify
    from napari_dasl.volumes.stamps import FileStamp, fingerprint_file, quick_stamp
    from napari_dasl.volumes.volume import Volume

_HOME = {
    "FileStamp": "stamps",
    "Found": "finding",
    "Geometry": "geometry",
    "NiftiForm": "geometry",
    "Volume": "volume",
    "atomic_path": "atomic",
    "find_series": "finding",
    "fingerprint_file": "stamps",
    "from_straight": "grids",
    "quick_stamp": "stamps",
    "read": "reading",
    "read_geometry": "reading",
    "read_mask": "masks",
    "resample_onto": "grids",
    "straight_grid": "grids",
    "to_straight": "grids",
    "verify": "reading",
    "write_bytes_atomic": "atomic",
    "write_image": "masks",
    "write_mask": "masks",
}

__all__ = [
    "FileStamp",
    "Found",
    "Geometry",
    "NiftiForm",
    "Volume",
    "atomic_path",
    "find_series",
    "fingerprint_file",
    "from_straight",
    "quick_stamp",
    "read",
    "read_geometry",
    "read_mask",
    "resample_onto",
    "straight_grid",
    "to_straight",
    "verify",
    "write_bytes_atomic",
    "write_image",
    "write_mask",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
