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

_DIAGONAL = 1e-9  # of a voxel per voxel: below it an index mapping is a scaling, which is ten times faster


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
    outside = 0.0 if order == 0 else float(array.min())
    if order:
        nearest = volume.geometry.spacing
        ratio = np.divide(geometry.spacing, nearest)
        sigma = np.maximum(ratio - 1, 0) / 2
        if sigma.max() > 0.05:
            array = ndimage.gaussian_filter(array, sigma, output=np.float32, mode="nearest", truncate=3)
    return _move(array, volume.geometry, geometry, order, outside)


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
    return _move(array, geometry, straight, order, 0.0 if order == 0 else float(array.min()))


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
    changed = mask != _move(edited_from, geometry, straight, 0, 0.0)
    result = edited_from.astype(dtype)
    if changed.any():
        changed = _move(changed.view(np.uint8), straight, geometry, 0, 0.0) > 0
        result[changed] = _move(mask, straight, geometry, 0, 0.0)[changed]
    return result


def _check(array: Array, geometry: Geometry) -> None:
    if array.shape != geometry.canonical_shape:
        wanted = " × ".join(map(str, geometry.canonical_shape))
        raise GridMismatch(f"An array of {' × '.join(map(str, array.shape))} voxels does not fit a grid of {wanted}.")


def _move(array: Array, source: Geometry, target: Geometry, order: int, outside: float) -> Array:
    """Fill a target grid from a source grid; both arrays are canonical."""
    mapping = np.linalg.inv(source.canonical_affine) @ target.canonical_affine
    matrix, offset = mapping[:3, :3], mapping[:3, 3] + 1
    off_axis = np.abs(matrix - np.diag(np.diag(matrix))).max()
    # scipy counts a point 1e-9 outside the first voxel's centre as outside: a border of one voxel takes it in. For
    # masks the border is empty, so that voxels end half a voxel from their centre.
    border = np.pad(array, 1, mode="edge") if order else np.pad(array, 1, constant_values=outside)
    moved: Array = ndimage.affine_transform(
        border,
        np.diag(matrix) if off_axis * max(target.canonical_shape) < _DIAGONAL * 1e3 else matrix,
        offset,
        output_shape=target.canonical_shape,
        output=array.dtype if order == 0 else np.float32,
        order=order,
        mode="constant",
        cval=outside,
    )
    return moved
