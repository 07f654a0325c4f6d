"""Where the voxels of a scan lie, and how its stored axes become the program's (z, y, x).

A file stores voxels in some order, its *native* axes (i, j, k), and says by an affine where they lie in the patient.
The program works on the *canonical* view of the same voxels: axes (z, y, x) with z growing to inferior, y to posterior
and x to the patient's left. The two differ by a permutation and flips of the axes only, so going there and back is
exact; no value is ever interpolated here. World coordinates are nibabel's: RAS, in millimetres.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dasl.errors import GridMismatch, VolumeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Array = NDArray[Any]

OBLIQUE_DEGREES = 0.1
"""Axes that lean less than this are straight: that much is the rounding of headers."""

_SPATIAL = (2, 1, 0)  # canonical axis z, y, x -> the row of an RAS affine that it runs along
_TIE = 1e-4  # at 45 degrees two axis orders fit equally well; header rounding must not choose between them


@dataclass(frozen=True)
class NiftiForm:
    """The spatial fields of a NIfTI header as stored, so that a mask can carry them on bit for bit.

    An affine alone cannot: one that was computed from a quaternion is not the float32 matrix that a file can hold.

    Parameters
    ----------
    version : int
        1 or 2, the NIfTI version.
    qform_code, sform_code : int
        What each transform is relative to; 0 where it is not set.
    pixdim : tuple of float
        The eight fields ``pixdim[0]`` to ``pixdim[7]``, in mm for 1 to 3.
    quatern : tuple of float
        ``quatern_b, quatern_c, quatern_d``.
    offset : tuple of float
        ``qoffset_x, qoffset_y, qoffset_z`` in mm.
    rows : tuple of float
        ``srow_x, srow_y, srow_z``, twelve numbers.
    units : int
        ``xyzt_units``.
    """

    version: int
    qform_code: int
    sform_code: int
    pixdim: tuple[float, ...]
    quatern: tuple[float, ...]
    offset: tuple[float, ...]
    rows: tuple[float, ...]
    units: int


@dataclass(frozen=True, eq=False)
class Geometry:
    """The grid that a file stores its voxels on.

    Parameters
    ----------
    shape : tuple of int
        Number of voxels (i, j, k) as stored.
    affine : array of float64, shape (4, 4)
        Stored index (i, j, k, 1) to RAS millimetres, as nibabel defines it. Shear (gantry tilt) is allowed.
    form : NiftiForm, optional
        The header fields behind `affine` where the file was NIfTI.

    Raises
    ------
    VolumeError
        The affine is not finite, or maps the voxels onto a plane, or a voxel count is not positive.
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    form: NiftiForm | None = None

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        affine = np.array(self.affine, dtype=np.float64)
        if len(shape) != 3 or min(shape) < 1:
            raise VolumeError(
                f"A grid of {' × '.join(map(str, shape))} voxels has no volume.", "Export the scan again."
            )
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise VolumeError(
                "The orientation in the header is not a finite 4 × 4 matrix.", "Export the scan again from its source."
            )
        lengths = np.linalg.norm(affine[:3, :3], axis=0)
        if lengths.min() <= 0 or abs(np.linalg.det(affine[:3, :3] / np.where(lengths > 0, lengths, 1))) < 1e-3:
            raise VolumeError(
                "The orientation in the header gives the voxels no volume (a voxel size of zero, or parallel axes).",
                "Export the scan again from its source.",
            )
        affine.setflags(write=False)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", affine)

    def __repr__(self) -> str:
        size = " × ".join(f"{mm:.4g}" for mm in self.spacing)
        return f"Geometry({' × '.join(map(str, self.canonical_shape))} voxels of {size} mm, z × y × x)"

    # -- the canonical view --------------------------------------------------------------------------------------------

    @cached_property
    def _order(self) -> tuple[tuple[int, ...], tuple[bool, ...]]:
        """The stored axis behind each canonical axis, and whether it runs backwards."""
        columns = self.affine[:3, :3]
        cosines = columns / np.linalg.norm(columns, axis=0)
        orders = list(permutations(range(3)))
        scores = [sum(abs(cosines[_SPATIAL[c], order[c]]) for c in range(3)) for order in orders]
        order = orders[next(n for n, score in enumerate(scores) if score > max(scores) - _TIE)]
        # Canonical axes run to inferior, posterior and left: against the R, A and S that the affine counts in.
        return order, tuple(bool(columns[_SPATIAL[c], order[c]] > 0) for c in range(3))

    @property
    def _flips(self) -> tuple[slice, ...]:
        return tuple(slice(None, None, -1) if flip else slice(None) for flip in self._order[1])

    @property
    def canonical_shape(self) -> tuple[int, int, int]:
        """Number of voxels (z, y, x)."""
        z, y, x = (self.shape[axis] for axis in self._order[0])
        return z, y, x

    @cached_property
    def canonical_affine(self) -> NDArray[np.float64]:
        """Canonical index (z, y, x, 1) to RAS millimetres, shape (4, 4)."""
        to_native = np.zeros((4, 4))
        to_native[3, 3] = 1
        for canonical, (native, flip) in enumerate(zip(*self._order, strict=True)):
            to_native[native, canonical] = -1 if flip else 1
            to_native[native, 3] = self.shape[native] - 1 if flip else 0
        affine: NDArray[np.float64] = self.affine @ to_native
        affine.setflags(write=False)
        return affine

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size (z, y, x) in mm, along the voxel's own edges."""
        z, y, x = (float(mm) for mm in np.linalg.norm(self.canonical_affine[:3, :3], axis=0))
        return z, y, x

    @property
    def origin(self) -> tuple[float, float, float]:
        """Centre of canonical voxel (0, 0, 0) in mm, along (inferior, posterior, left): napari's ``translate``."""
        right, anterior, superior = (float(mm) for mm in self.canonical_affine[:3, 3])
        return -superior, -anterior, -right

    @cached_property
    def obliquity(self) -> float:
        """The largest angle in degrees between a voxel axis and the patient axis nearest to it; shear counts too."""
        columns = self.canonical_affine[:3, :3]
        cosines = columns / np.linalg.norm(columns, axis=0)
        along = -cosines[_SPATIAL, (0, 1, 2)]
        across = np.sqrt(np.maximum((cosines**2).sum(axis=0) - along**2, 0))  # arccos alone is blind below 1e-6 degrees
        return float(np.degrees(np.arctan2(across, along)).max())

    @property
    def is_oblique(self) -> bool:
        """Whether napari, which draws straight grids only, would show these voxels in the wrong place."""
        return self.obliquity > OBLIQUE_DEGREES

    @cached_property
    def shear(self) -> float:
        """How far, in degrees, the voxel's edges are from right angles (the gantry tilt of CT)."""
        columns = self.affine[:3, :3]
        cosines = columns / np.linalg.norm(columns, axis=0)
        products = np.abs((cosines.T @ cosines)[np.triu_indices(3, 1)])
        return float(np.degrees(np.arcsin(np.minimum(products, 1))).max())

    def to_canonical(self, native: Array) -> Array:
        """See stored voxels in (z, y, x).

        Parameters
        ----------
        native : array, shape (i, j, k)
            As stored.

        Returns
        -------
        array, shape (z, y, x)
            A view; no voxel is copied or changed.
        """
        self._check(native.shape, self.shape)
        return native.transpose(self._order[0])[self._flips]

    def to_native(self, canonical: Array) -> Array:
        """See (z, y, x) voxels as the file stores them: the exact inverse of :meth:`to_canonical`.

        Parameters
        ----------
        canonical : array, shape (z, y, x)
            In the program's axes.

        Returns
        -------
        array, shape (i, j, k)
            A view.
        """
        self._check(canonical.shape, self.canonical_shape)
        return canonical[self._flips].transpose(np.argsort(self._order[0]))

    @staticmethod
    def _check(found: tuple[int, ...], wanted: tuple[int, ...]) -> None:
        if found != wanted:
            raise GridMismatch(f"An array of {_times(found)} voxels does not fit a grid of {_times(wanted)}.")

    # -- comparing -----------------------------------------------------------------------------------------------------

    @property
    def default_tolerance(self) -> float:
        """A tenth of the smallest voxel edge in mm: beyond header rounding, below what an eye can see."""
        return 0.1 * min(self.spacing)

    def matches(self, other: Geometry, tolerance_mm: float | None = None) -> bool:
        """Whether both grids hold the same voxels in the same places.

        The order in which the files store their axes does not matter: a mask saved as RAS fits its LPS scan.

        Parameters
        ----------
        other : Geometry
            The grid to compare with.
        tolerance_mm : float, optional
            How far apart two matching voxels may lie, anywhere in the volume. :attr:`default_tolerance` if not given.

        Returns
        -------
        bool
            True if the shapes agree and no corner voxel lies farther than the tolerance from its partner.
        """
        tolerance = self.default_tolerance if tolerance_mm is None else tolerance_mm
        return self.canonical_shape == other.canonical_shape and self._farthest(other) <= tolerance

    def _farthest(self, other: Geometry) -> float:
        """The largest distance in mm between equal corner voxels: displacement is linear, so the rest lies between."""
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in self.canonical_shape], [1])).reshape(4, -1)
        apart = (self.canonical_affine - other.canonical_affine) @ corners
        return float(np.linalg.norm(apart[:3], axis=0).max())

    def difference(self, other: Geometry, tolerance_mm: float | None = None) -> str:
        """Say in words how another grid differs from this one.

        Parameters
        ----------
        other : Geometry
            The grid that should be like this one, a mask's for instance.
        tolerance_mm : float, optional
            As for :meth:`matches`.

        Returns
        -------
        str
            "" where they match; else for example ``shape 40 × 64 × 64 instead of 41 × 64 × 64 (z × y × x)``.
        """
        if self.matches(other, tolerance_mm):
            return ""
        tolerance = self.default_tolerance if tolerance_mm is None else tolerance_mm
        words = []
        if self.canonical_shape != other.canonical_shape:
            words.append(f"shape {_times(other.canonical_shape)} instead of {_times(self.canonical_shape)} (z × y × x)")
        reach = np.array(self.canonical_shape) * np.abs(np.subtract(self.spacing, other.spacing))
        if reach.max() > tolerance:
            words.append(f"spacing {_times(other.spacing)} mm instead of {_times(self.spacing)} mm (z × y × x)")
        shift = np.linalg.norm(np.subtract(self.origin, other.origin))
        if shift > tolerance:
            words.append(
                f"origin {_list(other.origin)} mm instead of {_list(self.origin)} mm (inferior, posterior, left),"
                f" {shift:.3g} mm apart"
            )
        turn = self._turn(other)
        if np.sin(np.radians(turn)) * np.linalg.norm(np.multiply(self.canonical_shape, self.spacing)) > tolerance:
            words.append(f"direction turned by {turn:.3g}°")
        if not words:
            words.append(f"the farthest voxels lie {self._farthest(other):.3g} mm apart")
        return "; ".join(words)

    def _turn(self, other: Geometry) -> float:
        """The largest angle in degrees between axes that should be parallel."""
        mine, theirs = (g.canonical_affine[:3, :3] / g.spacing for g in (self, other))
        across = np.linalg.norm(np.cross(mine, theirs, axis=0), axis=0)
        return float(np.degrees(np.arctan2(across, (mine * theirs).sum(axis=0))).max())

    # -- storing -------------------------------------------------------------------------------------------------------

    def as_dict(self) -> dict[str, Any]:
        """The grid as JSON can hold it; floats survive JSON exactly."""
        form = None if self.form is None else vars(self.form)
        return {"shape": list(self.shape), "affine": self.affine.tolist(), "form": form}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Geometry:
        """The grid that :meth:`as_dict` stored."""
        form: dict[str, Any] | None = stored.get("form")
        if form is not None:
            form = {name: tuple(value) if isinstance(value, list) else value for name, value in form.items()}
        return cls(
            tuple(stored["shape"]),
            np.array(stored["affine"], dtype=np.float64),
            None if form is None else NiftiForm(**form),
        )


def _times(numbers: tuple[float, ...]) -> str:
    return " × ".join(f"{n:.6g}" for n in numbers)


def _list(numbers: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{n:.6g}" for n in numbers) + ")"
