"""Label maps: read onto the grid of their scan, written back onto it exactly."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header

from napari_dasl.errors import GridMismatch, LabelError, VolumeError
from napari_dasl.volumes import itk
from napari_dasl.volumes.atomic import atomic_path
from napari_dasl.volumes.formats import kind_of
from napari_dasl.volumes.reading import read
from napari_dasl.volumes.volume import NOT_NUMBERS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_dasl.volumes.geometry import Geometry

    Array = NDArray[Any]

LARGEST = 2**16 - 1
"""The largest label value."""

_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")
_GZIP_LEVEL = 1  # masks are long runs: level 1 is within a few percent of level 9 and many times faster
_WHOLE = 1e-3  # what a slope in the header may add to a whole number by rounding
_RIGHT_ANGLE = 1e-4  # degrees of shear that a quaternion may drop


def read_mask(path: Path | str, geometry: Geometry | None = None) -> Array:
    """Read a label map.

    Parameters
    ----------
    path : pathlib.Path or str
        NIfTI, NRRD or MetaImage. Its axes may be stored in another order than the scan's.
    geometry : Geometry, optional
        The grid of the scan. The mask must have as many voxels, and each within a tenth of the smallest voxel edge of
        its place (:meth:`Geometry.matches`): header rounding passes, another grid does not.

    Returns
    -------
    array of uint8 or uint16, shape (z, y, x)
        uint8 where the values allow it. Float files are accepted where every value is within 0.001 of a whole number.

    Raises
    ------
    VolumeError
        The file cannot be read.
    GridMismatch
        It lies on another grid; the message says what differs.
    LabelError
        It holds fractions, negative values or values above 65535.
    """
    path = Path(path)
    if path.is_dir() or (path.exists() and kind_of(path) == "dicom"):
        raise VolumeError(f"{path} is DICOM; masks are read from {', '.join(_SUFFIXES)} files.", "Convert it to NIfTI.")
    volume = read(path)
    if geometry is not None and (words := geometry.difference(volume.geometry)):
        raise GridMismatch(
            f"The mask {path} does not lie on the grid of its scan: {words}.",
            "Export the mask on the grid of the scan, or resample it there.",
        )
    if any(NOT_NUMBERS in note for note in volume.notes):
        raise LabelError(f"The mask {path} holds values that are not numbers.", "Export it again as whole numbers.")
    return _labels(volume.array, str(path))


def write_mask(path: Path | str, mask: Array, geometry: Geometry) -> None:
    """Write a label map on the grid of a scan, in one step.

    Parameters
    ----------
    path : pathlib.Path or str
        The suffix chooses the format: ``.nii.gz``, ``.nii``, ``.nrrd`` or ``.mha``.
    mask : array, shape (z, y, x)
        Whole numbers from 0 to 65535 of any type.
    geometry : Geometry
        The scan's grid. A mask for a NIfTI scan gets the scan's own orientation fields, bit for bit; for other scans
        both sform and qform are written (a sheared grid has no qform). Shape and voxel order are always the scan's.

    Raises
    ------
    GridMismatch
        The mask has another shape than the grid.
    LabelError
        It holds something else than whole numbers from 0 to 65535.
    StorageError
        The disk is full, read-only or gone; an old file of that name is untouched.
    VolumeError
        The suffix is none of the four.
    """
    path = Path(path)
    suffix = next((s for s in _SUFFIXES if path.name.lower().endswith(s)), None)
    if suffix is None:
        raise VolumeError(f"A mask cannot be written to {path.name}.", f"Use one of {', '.join(_SUFFIXES)}.")
    native = geometry.to_native(_labels(np.asarray(mask), "The mask"))
    with atomic_path(path) as temporary:
        if suffix in (".nrrd", ".mha"):
            itk.write(temporary, native, geometry, path)
        else:
            content = _nifti_bytes(native, geometry)
            # Without a time stamp inside, equal masks are equal files.
            packed = gzip.compress(content, _GZIP_LEVEL, mtime=0) if suffix == ".nii.gz" else content
            temporary.write_bytes(packed)


def write_image(path: Path | str, array: Array, geometry: Geometry) -> None:
    """Write voxel values of any type on the grid of a scan, as ``.nii.gz`` or ``.nii``, in one step.

    Parameters
    ----------
    path : pathlib.Path or str
    array : array, shape (z, y, x)
    geometry : Geometry
        The scan's grid.

    Raises
    ------
    GridMismatch
        The array has another shape than the grid.
    StorageError
        The disk is full, read-only or gone; an old file of that name is untouched.
    VolumeError
        The suffix is neither of the two.
    """
    path = Path(path)
    if not path.name.lower().endswith((".nii.gz", ".nii")):
        raise VolumeError(f"An image cannot be written to {path.name}.", "Use .nii.gz or .nii.")
    content = _nifti_bytes(geometry.to_native(np.asarray(array)), geometry)
    with atomic_path(path) as temporary:
        temporary.write_bytes(gzip.compress(content, _GZIP_LEVEL, mtime=0) if path.suffix == ".gz" else content)


def _labels(array: Array, what: str) -> Array:
    """The array as uint8 or uint16, after checking that it holds label values."""
    if array.dtype == np.bool_:
        return array.astype(np.uint8)
    if array.dtype.kind not in "uif":
        raise LabelError(f"{what} holds {array.dtype} values, not label numbers.", "Give whole numbers from 0.")
    low, high = (array.min(), array.max()) if array.size else (0, 0)
    if not (low >= 0 and high <= LARGEST):  # also true for NaN
        found = f"{low:g} to {high:g}"
        raise LabelError(f"{what} holds values from {found}; labels run from 0 to {LARGEST}.", "Is this an image?")
    dtype = np.dtype(np.uint8 if high <= 255 else np.uint16)
    if array.dtype.kind != "f":
        return array.astype(dtype, copy=False)
    whole = np.rint(array)
    if (off := np.abs(array - whole) > _WHOLE).any():
        raise LabelError(
            f"{what} holds fractions ({array[off].flat[0]:g} for example), not label numbers.",
            "Give the labels themselves, not probabilities or an interpolated mask.",
        )
    return whole.astype(dtype)


def _nifti_bytes(native: Array, geometry: Geometry) -> bytes:
    """A whole NIfTI file, uncompressed."""
    header = _header_like(geometry)
    header.set_data_shape(native.shape)
    header.set_data_dtype(native.dtype)
    header["scl_slope"], header["scl_inter"] = 1, 0
    offset = int(header.sizeof_hdr) + 4
    header["vox_offset"] = offset
    return b"".join((header.binaryblock, b"\0\0\0\0", native.tobytes(order="F")))


def _header_like(geometry: Geometry) -> Any:
    """A header with the scan's own orientation fields where they are known, else with fresh ones."""
    form = geometry.form
    if form is not None:
        header = Nifti1Header() if form.version == 1 else Nifti2Header()
        header.set_data_shape(geometry.shape)
        header["pixdim"], header["xyzt_units"] = form.pixdim, form.units
        header["qform_code"], header["sform_code"] = form.qform_code, form.sform_code
        for name, value in zip(("quatern_b", "quatern_c", "quatern_d"), form.quatern, strict=True):
            header[name] = value
        for name, value in zip(("qoffset_x", "qoffset_y", "qoffset_z"), form.offset, strict=True):
            header[name] = value
        for n, name in enumerate(("srow_x", "srow_y", "srow_z")):
            header[name] = form.rows[4 * n : 4 * n + 4]
        if np.array_equal(header.get_best_affine(), geometry.affine):
            return header
    header = Nifti1Header()
    header.set_data_shape(geometry.shape)
    header.set_xyzt_units("mm")
    header["pixdim"][1:4] = np.linalg.norm(geometry.affine[:3, :3], axis=0)
    if geometry.shear < _RIGHT_ANGLE:
        header.set_qform(geometry.affine, code="scanner")
    header.set_sform(geometry.affine, code="scanner")
    return header
