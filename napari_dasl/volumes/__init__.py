"""A scan file or a DICOM series, and the (z, y, x) array with its geometry.

Everything that the rest of the program needs of files is here; see :mod:`napari_dasl.volumes.geometry` for the axes.
"""

from __future__ import annotations

from napari_dasl.volumes.atomic import atomic_path, write_bytes_atomic
from napari_dasl.volumes.finding import Found, find_series
from napari_dasl.volumes.geometry import Geometry, NiftiForm
from napari_dasl.volumes.grids import from_straight, resample_onto, straight_grid, to_straight
from napari_dasl.volumes.masks import read_mask, write_image, write_mask
from napari_dasl.volumes.reading import read, read_geometry, verify
from napari_dasl.volumes.stamps import FileStamp, fingerprint_file, quick_stamp
from napari_dasl.volumes.volume import Volume

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
