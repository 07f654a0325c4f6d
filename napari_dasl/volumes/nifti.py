"""NIfTI files: the header through nibabel, the voxels as they are stored."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from nibabel.imageglobals import LoggingOutputSuppressor
from nibabel.nifti1 import Nifti1Header, Nifti1PairHeader
from nibabel.nifti2 import Nifti2Header, Nifti2PairHeader
from nibabel.spatialimages import HeaderDataError

from napari_dasl.errors import VolumeError
from napari_dasl.volumes.extras import quiet
from napari_dasl.volumes.geometry import Geometry, NiftiForm
from napari_dasl.volumes.volume import Volume, canonical_copy, scan_type, without_nonfinite

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Array = NDArray[Any]

_GZIP = b"\x1f\x8b"
_AGAIN = "Export or copy the file again."


@dataclass(frozen=True, eq=False)
class Head:
    """What a NIfTI header says.

    Parameters
    ----------
    geometry : Geometry
        The grid, after axes of length one behind the third are dropped.
    voxels : pathlib.Path
        The file that holds the voxels: the same file, or the ``.img`` of a pair.
    offset : int
        Where the voxels begin in that file, in bytes.
    dtype : numpy.dtype
        As stored, in the byte order of the file.
    slope, intercept : float
        value = stored × slope + intercept.
    notes : tuple of str
        What is odd about this header.
    """

    geometry: Geometry
    voxels: Path
    offset: int
    dtype: np.dtype[Any]
    slope: float
    intercept: float
    notes: tuple[str, ...]

    @property
    def end(self) -> int:
        """The length in bytes that the file must have at least, decompressed."""
        i, j, k = self.geometry.shape
        return self.offset + i * j * k * self.dtype.itemsize


def read(path: Path) -> Volume:
    """Read a NIfTI-1 or NIfTI-2 file, or a pair of ``.hdr`` and ``.img``.

    Parameters
    ----------
    path : pathlib.Path
        ``.nii``, ``.nii.gz``, or either file of a pair.

    Returns
    -------
    Volume
        Stored type, or float32 where the header has a slope and an intercept other than 1 and 0.

    Raises
    ------
    VolumeError
        Not NIfTI, truncated, damaged, more than three dimensions, no usable orientation.
    """
    head = read_head(path)
    array = canonical_copy(_stored(head), head.geometry, path)
    if (head.slope, head.intercept) != (1, 0):
        array = array.astype(np.float32, copy=False)
        array *= np.float32(head.slope)
        array += np.float32(head.intercept)
    array, notes = without_nonfinite(array)
    return Volume(array, head.geometry, path, notes=head.notes + notes)


def read_head(path: Path) -> Head:
    """Read the header alone, and check all that can be checked without reading the voxels.

    A file cut short is noticed here too: an uncompressed one by its length, a compressed one by the length that gzip
    keeps in its last four bytes; only where that does not fit is the file read to its end.

    Parameters
    ----------
    path : pathlib.Path
        As for :func:`read`.

    Raises
    ------
    VolumeError
        As for :func:`read`.
    """
    header_path, voxel_path = _pair(path)
    try:
        header, version, single = _parse(_first_bytes(header_path, 544), path)
        head = _understand(header, version, path, header_path if single else voxel_path)
        _check_length(head, path)
    except OSError as error:
        raise VolumeError(
            f"{path} cannot be opened: {error.strerror or error}.", "Check the file and its rights."
        ) from error
    return head


def _pair(path: Path) -> tuple[Path, Path]:
    """The header and voxel files behind a path; both are the path itself for ``.nii``."""
    name = path.name
    for header, voxels in ((".hdr", ".img"), (".HDR", ".IMG")):
        for tail in ("", ".gz"):
            if name.endswith(header + tail):
                return path, _either(path.with_name(name[: -len(header + tail)] + voxels))
            if name.endswith(voxels + tail):
                return _either(path.with_name(name[: -len(voxels + tail)] + header)), path
    return path, path


def _either(path: Path) -> Path:
    """The file, or its compressed twin where only that exists."""
    twin = path.with_name(path.name + ".gz")
    return twin if twin.exists() and not path.exists() else path


def _first_bytes(path: Path, count: int) -> bytes:
    """The first bytes of the content, decompressed; a file that is cut short later on gives them all the same."""
    with path.open("rb") as file:
        head = file.read(65536)
    if not head.startswith(_GZIP):
        return head[:count]
    try:
        return zlib.decompressobj(wbits=31).decompress(head, count)
    except zlib.error as error:
        raise VolumeError(f"{path} is damaged: its compressed content cannot be read.", _AGAIN) from error


def _parse(raw: bytes, path: Path) -> tuple[Any, int, bool]:
    """Build nibabel's header; return it, the NIfTI version, and whether header and voxels share the file."""
    if not raw:
        raise VolumeError(f"{path} is empty.", _AGAIN)
    sizes = {int.from_bytes(raw[:4], order) for order in ("little", "big")}  # type: ignore[arg-type]
    if 348 in sizes and raw[344:348] in (b"n+1\0", b"ni1\0"):
        version, single = 1, raw[344:348] == b"n+1\0"
    elif 540 in sizes and raw[4:8] in (b"n+2\0", b"ni2\0"):
        version, single = 2, raw[4:8] == b"n+2\0"
    elif 348 in sizes and len(raw) >= 348:
        raise VolumeError(
            f"{path} is an Analyze file, not NIfTI: it does not say which side of the patient is left.",
            "Convert the original scan to NIfTI.",
        )
    elif sizes & {348, 540}:
        raise VolumeError(f"{path} is cut short: even its header is not complete.", _AGAIN)
    else:
        what = "is a text file" if _is_text(raw) else "does not begin like NIfTI"
        raise VolumeError(f"{path} is not a NIfTI file: it {what}.", "Remove it or replace it by the real scan.")
    classes = {(1, True): Nifti1Header, (1, False): Nifti1PairHeader}
    classes |= {(2, True): Nifti2Header, (2, False): Nifti2PairHeader}
    try:
        with LoggingOutputSuppressor(), quiet():
            # Not from_fileobj: that goes on to the extensions (other programs' notes), which are not needed here.
            header = classes[version, single](raw[: 348 if version == 1 else 540])
    except (HeaderDataError, ValueError, OSError) as error:
        raise VolumeError(f"The NIfTI header of {path} is damaged: {error}.", _AGAIN) from error
    return header, version, single


def _is_text(raw: bytes) -> bool:
    return all(byte in b"\t\n\r\f" or 32 <= byte < 127 or byte >= 128 for byte in raw)


def _understand(header: Any, version: int, path: Path, voxels: Path) -> Head:
    """Turn nibabel's header into what the program needs to know."""
    if 3000 <= int(header["intent_code"]) < 3100:
        raise VolumeError(
            f"{path} is a CIFTI file (values on the brain's surface), not a scan.", "Give the scan itself."
        )
    try:
        with LoggingOutputSuppressor(), quiet():
            dtype = header.get_data_dtype()
            shape = tuple(int(n) for n in header.get_data_shape())
            affine = header.get_best_affine()
            scale = header.get_slope_inter()
            offset = int(header.get_data_offset())
    except (HeaderDataError, ValueError, np.linalg.LinAlgError) as error:
        raise VolumeError(f"The NIfTI header of {path} is damaged: {error}.", _AGAIN) from error
    scan_type(dtype, path)
    slope, intercept = (1.0 if scale[0] is None else scale[0]), (scale[1] or 0.0)
    form = _form(header, version)
    geometry = _located(path, _three_dimensions(shape, path), np.asarray(affine, dtype=np.float64), form)
    return Head(geometry, voxels, offset, dtype, float(slope), float(intercept), _odd(header, form, geometry))


def _three_dimensions(shape: tuple[int, ...], path: Path) -> tuple[int, int, int]:
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) > 3:
        raise VolumeError(
            f"{path} has {len(shape)} dimensions ({' × '.join(map(str, shape))}): several volumes in one file.",
            "Split it and give each volume its own file.",
        )
    if not shape or min(shape) < 1:
        raise VolumeError(f"{path} holds no voxels: its shape is {' × '.join(map(str, shape)) or 'empty'}.", _AGAIN)
    i, j, k = (*shape, 1, 1)[:3]
    return i, j, k


def _located(path: Path, shape: tuple[int, int, int], affine: NDArray[np.float64], form: NiftiForm) -> Geometry:
    try:
        return Geometry(shape, affine, form)
    except VolumeError as error:
        raise VolumeError(f"{path}: {error.message}", error.hint) from error


def _form(header: Any, version: int) -> NiftiForm:
    def floats(*names: str) -> tuple[float, ...]:
        return tuple(float(x) for name in names for x in np.atleast_1d(header[name]))

    return NiftiForm(
        version=version,
        qform_code=int(header["qform_code"]),
        sform_code=int(header["sform_code"]),
        pixdim=floats("pixdim"),
        quatern=floats("quatern_b", "quatern_c", "quatern_d"),
        offset=floats("qoffset_x", "qoffset_y", "qoffset_z"),
        rows=floats("srow_x", "srow_y", "srow_z"),
        units=int(header["xyzt_units"]),
    )


def _odd(header: Any, form: NiftiForm, geometry: Geometry) -> tuple[str, ...]:
    notes = []
    if not form.sform_code and not form.qform_code:
        notes.append("The file stores no orientation: left and right are assumed, and only the voxel size is known.")
    elif form.sform_code and form.qform_code:
        try:
            with LoggingOutputSuppressor(), quiet():
                other = Geometry(geometry.shape, header.get_qform())
        except (HeaderDataError, ValueError, VolumeError):
            notes.append("The file's quaternion orientation (qform) is damaged; its matrix (sform) is used.")
        else:
            words = geometry.difference(other)
            if words:
                notes.append(f"The file stores two orientations that differ; the sform is used. The qform has {words}.")
    unit = {1: "metres", 3: "micrometres"}.get(form.units & 7)
    if unit:
        notes.append(f"The header counts in {unit}; its numbers are read as millimetres all the same.")
    return tuple(notes)


# -- voxels ------------------------------------------------------------------------------------------------------------


def _stored(head: Head) -> Array:
    """The voxels (i, j, k) as stored: a view into a decompressed buffer, or a memory map."""
    shape, count = head.geometry.shape, int(np.prod(head.geometry.shape))
    try:
        with head.voxels.open("rb") as file:
            compressed = file.read(2) == _GZIP
        if not compressed:
            return np.memmap(head.voxels, head.dtype, "r", head.offset, shape, order="F")
        raw = _decompress(head)
    except OSError as error:
        raise VolumeError(
            f"{head.voxels} cannot be read: {error.strerror or error}.", "Check the file and its rights."
        ) from error
    return np.frombuffer(raw, head.dtype, count, head.offset).reshape(shape, order="F")


def _decompress(head: Head) -> bytes:
    """The whole content of a compressed file, checked against its checksum."""
    packed = head.voxels.read_bytes()
    try:
        # One call into a buffer of the right size is twice as fast as gzip's stream; it reads one gzip member.
        raw = zlib.decompress(packed, wbits=31, bufsize=head.end + 16)
        if len(raw) < head.end:
            raw = gzip.decompress(packed)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _cut_short(head.voxels, "its compressed content ends too early or is damaged") from error
    if len(raw) < head.end:
        raise _cut_short(head.voxels, f"it holds {len(raw)} bytes and its header asks for {head.end}")
    return raw


def _check_length(head: Head, path: Path) -> None:
    if not head.voxels.exists():
        raise VolumeError(f"{path} is a header without its voxels: {head.voxels.name} is missing.", "Copy both files.")
    with head.voxels.open("rb") as file:
        compressed = file.read(2) == _GZIP
        length = file.seek(0, 2)
        if compressed:
            file.seek(max(length - 4, 0))
            claimed = int.from_bytes(file.read(4), "little")
    if not compressed and length < head.end:
        raise _cut_short(head.voxels, f"it has {length} bytes and its header asks for {head.end}")
    if compressed and claimed != head.end % 2**32:
        _decompress(head)


def _cut_short(path: Path, why: str) -> VolumeError:
    return VolumeError(f"{path} is cut short: {why}.", _AGAIN)
