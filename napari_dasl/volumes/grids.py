"""Arrays from one grid onto another: registered series, and oblique scans straightened for display.

napari draws straight grids only, so an oblique scan is shown on a straight grid around it, and edits made there are
brought back. The rule for edits: **a stored voxel changes only where the straight voxel nearest to it was edited**,
that is, where the edited straight mask differs from the straight mask that was shown; it then takes the edited value.
All other stored voxels keep their label exactly, however often a case is opened, straightened and saved. The rule
treats painting and erasing alike, so volumes do not drift; an edit narrower than a voxel may fall between two stored
ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from napari_dasl.errors import GridMismatch
from napari_dasl.volumes.geometry import Geometry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_dasl.volumes.volume import Volume

    Array = NDArray[Any]

_PARALLEL = 1e-6  # of a voxel across the whole volume


def resample_onto(volume: Volume, geometry: Geometry, order: int = 1) -> Array:
    """Bring a registered series onto the grid of another one.

    Parameters
    ----------
    volume : Volume
        The series to move, PET's companion CT for instance.
    geometry : Geometry
        The grid to fill.
    order : {0, 1}
        0 takes the nearest voxel (labels), 1 interpolates linearly.

    Returns
    -------
    array, shape ``geometry.canonical_shape``
        The volume's own array where the grids match; else float32, or for order 0 the type of the volume. Voxels more
        than one voxel outside the series hold its smallest value (air), for order 0 zero.

    Notes
    -----
    Where the new voxels are larger than the old ones, linear interpolation alone would pick single noisy voxels out of
    them. The series is smoothed first by a Gaussian of sigma = (ratio − 1) / 2 old voxels along each axis, as
    scikit-image's ``resize`` does.
    """
    if volume.geometry.matches(geometry):
        return volume.array
    array = volume.array
    if order == 0:
        return _move_labels(array, volume.geometry, geometry)
    sigma = np.maximum(np.divide(geometry.spacing, volume.geometry.spacing) - 1, 0) / 2
    if sigma.max() > 0.05:
        array = ndimage.gaussian_filter(array, sigma, output=np.float32, mode="nearest", truncate=3)
    return _move(array, volume.geometry, geometry)


def straight_grid(geometry: Geometry) -> Geometry:
    """The straight grid that shows an oblique one.

    Parameters
    ----------
    geometry : Geometry
        Any grid.

    Returns
    -------
    Geometry
        The same grid where it is straight already. Else a grid along the patient's axes with the same voxel sizes whose
        voxel centres span at least those of the oblique one; its stored axes are (left, posterior, inferior).
    """
    if not geometry.is_oblique:
        return geometry
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in geometry.canonical_shape], [1])).reshape(4, -1)
    places = -(geometry.canonical_affine @ corners)[:3]  # left, posterior, inferior mm
    spacing = np.array(geometry.spacing[::-1])
    low, high = places.min(axis=1), places.max(axis=1)
    count = np.ceil((high - low) / spacing - 1e-6).astype(int) + 1
    start = (low + high) / 2 - (count - 1) / 2 * spacing
    affine = np.diag([*-spacing, 1.0])
    affine[:3, 3] = -start
    i, j, k = (int(n) for n in count)
    return Geometry((i, j, k), affine)


def to_straight(array: Array, geometry: Geometry, order: int = 1) -> Array:
    """An oblique array on its straight grid.

    Parameters
    ----------
    array : array, shape ``geometry.canonical_shape``
        Image, probability or mask.
    geometry : Geometry
        The oblique grid.
    order : {0, 1}
        0 for masks, 1 for images.

    Returns
    -------
    array, shape ``straight_grid(geometry).canonical_shape``
        float32, or for order 0 the type of `array`; the array itself where the grid is straight. Corners that the scan
        does not reach hold its smallest value, for order 0 zero.
    """
    _check(array, geometry)
    straight = straight_grid(geometry)
    if straight is geometry:
        return array
    return _move(array, geometry, straight) if order else _move_labels(array, geometry, straight)


def from_straight(mask: Array, edited_from: Array, geometry: Geometry) -> Array:
    """Bring the edits of a straight mask back to the stored one.

    Parameters
    ----------
    mask : array, shape ``straight_grid(geometry).canonical_shape``
        The straight mask after editing.
    edited_from : array, shape ``geometry.canonical_shape``
        The stored mask that was shown, as ``to_straight(edited_from, geometry, order=0)``.
    geometry : Geometry
        The oblique grid.

    Returns
    -------
    array, shape ``geometry.canonical_shape``
        A new array of the type of `edited_from`, wide enough for the values of `mask`: `edited_from` wherever the
        nearest straight voxel was not edited, the edited value elsewhere. With no edit it equals `edited_from` exactly.
    """
    _check(edited_from, geometry)
    straight = straight_grid(geometry)
    _check(mask, straight)
    dtype = np.promote_types(edited_from.dtype, mask.dtype)
    if straight is geometry:
        return mask.astype(dtype)
    edited = mask != _move_labels(edited_from, geometry, straight)
    # Erased voxels are edits too, and their value is the 0 that stands for "none": so the places travel apart.
    places = _move_labels(edited.view(np.uint8), straight, geometry).astype(bool)
    values = _move_labels(np.where(edited, mask, 0).astype(mask.dtype), straight, geometry)
    result = edited_from.astype(dtype)
    result[places] = values[places]
    return result


def _check(array: Array, geometry: Geometry) -> None:
    if array.shape != geometry.canonical_shape:
        wanted = " × ".join(map(str, geometry.canonical_shape))
        raise GridMismatch(f"An array of {' × '.join(map(str, array.shape))} voxels does not fit a grid of {wanted}.")


def _move(array: Array, source: Geometry, target: Geometry) -> Array:
    """Fill a target grid by linear interpolation from a source grid; both arrays are canonical, the result is float32.

    Outside the source it holds the smallest value of the source.
    """
    matrix, offset = _index_map(source, target)
    # scipy counts a point 1e-9 outside the first voxel's centre as outside: a border of one voxel takes it in.
    moved: Array = ndimage.affine_transform(
        np.pad(array, 1, mode="edge"),
        _as_scaling(matrix, target),
        offset + 1,
        output_shape=target.canonical_shape,
        output=np.float32,
        order=1,
        mode="constant",
        cval=float(array.min()),
    )
    return moved


def _move_labels(array: Array, source: Geometry, target: Geometry) -> Array:
    """Fill a target grid with the nearest voxels of a source grid, 0 outside it.

    Only the part that the labels can reach is computed: lesions are small and scans are not.
    """
    moved = np.zeros(target.canonical_shape, array.dtype)
    box = _box_of_labels(array)
    if box is None:
        return moved
    matrix, offset = _index_map(source, target)
    first, last = np.array([(part.start - 1, part.stop) for part in box]).T
    corners = np.array(np.meshgrid(*zip(first, last, strict=True))).reshape(3, -1)
    reach = np.linalg.solve(matrix, corners - offset[:, None])
    start = np.maximum(np.floor(reach.min(axis=1)), 0).astype(int)
    stop = np.minimum(np.ceil(reach.max(axis=1)) + 1, target.canonical_shape).astype(int)
    if (stop <= start).any():
        return moved
    # The border is empty, so that a voxel ends half a voxel from its centre.
    moved[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] = ndimage.affine_transform(
        np.pad(array[box], 1),
        _as_scaling(matrix, target),
        matrix @ start + offset - first,
        output_shape=tuple(stop - start),
        order=0,
        mode="constant",
    )
    return moved


def _index_map(source: Geometry, target: Geometry) -> tuple[Array, Array]:
    """Matrix and offset from canonical indices of the target to those of the source."""
    mapping = np.linalg.inv(source.canonical_affine) @ target.canonical_affine
    return mapping[:3, :3], mapping[:3, 3]


def _as_scaling(matrix: Array, target: Geometry) -> Array:
    """The diagonal alone where the axes are parallel, which scipy computes ten times faster."""
    diagonal = np.diag(matrix)
    across = np.abs(matrix - np.diag(diagonal)).max() * max(target.canonical_shape)
    return diagonal if across < _PARALLEL else matrix


def _box_of_labels(array: Array) -> tuple[slice, ...] | None:
    """The smallest box around all voxels that are not 0; None where there are none."""
    box = []
    for axis in range(array.ndim):
        used = np.flatnonzero(array.any(axis=tuple(other for other in range(array.ndim) if other != axis)))
        if not used.size:
            return None
        box.append(slice(int(used[0]), int(used[-1]) + 1))
    return tuple(box)
