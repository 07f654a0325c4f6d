"""How far two surfaces lie apart, in millimetres: ASSD, RMSD, MSD (= Hausdorff), HD95.

**Surface voxel**: a voxel of the mask that has at least one of its six face neighbours outside the mask; what lies
outside the array is outside the mask. Distances are between voxel centres, with the voxel spacing taken into account.

With A, B the surface voxels of the two masks and d(a, B) the distance of a to the nearest voxel of B, D the pooled
list of all d(a, B) and all d(b, A):

=======  ==========================================  ==========================================================
ASSD     mean D                                      average symmetric surface distance
RMSD     √(mean D²)                                  root mean square symmetric surface distance
MSD      max D                                       maximum symmetric surface distance = Hausdorff distance
HD95     max(P95 d(A, B), P95 d(B, A))               95th percentile in each direction, then the larger one
=======  ==========================================  ==========================================================

ASSD, RMSD and MSD are those of Heimann et al. 2009 (IEEE TMI 28:1251), used by LiTS and by the three-stage liver paper.
HD95 is the form of *Metrics Reloaded* and MONAI; MedPy pools both directions before it takes the percentile.
Every distance here is symmetric in its two masks. If either mask is empty there is no distance and the value is NaN;
`napari_dasl.metrics.cases` decides what such a case counts for.

The nearest surface voxel comes from a k-d tree over surface voxels, exact as a distance transform is, but its time and
memory follow the size of the surface and not of the box round it (two far apart lesions in a 120 × 300 × 400 scan:
0.06 s against 2.0 s with the distance transform, the same distances to the last bit).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage
from scipy.spatial import KDTree

from napari_dasl.errors import InputError
from napari_dasl.metrics.overlap import as_masks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["SurfaceDistances", "assd", "distances", "hausdorff", "hd95", "msd", "rmsd", "surface"]


@dataclass(frozen=True)
class SurfaceDistances:
    """The distances from each surface voxel of one mask to the nearest one of the other, in mm.

    Attributes
    ----------
    from_truth : (a,) float64 array
        From each surface voxel of the truth to the surface of the prediction.
    from_prediction : (b,) float64 array
        The other way round. Both are empty if either mask is.
    """

    from_truth: NDArray[np.float64]
    from_prediction: NDArray[np.float64]

    @property
    def assd(self) -> float:
        """Average symmetric surface distance, mm."""
        return float(np.mean(self._pooled())) if self._defined else math.nan

    @property
    def rmsd(self) -> float:
        """Root mean square symmetric surface distance, mm."""
        return float(np.sqrt(np.mean(self._pooled() ** 2))) if self._defined else math.nan

    @property
    def msd(self) -> float:
        """Maximum symmetric surface distance, mm: the Hausdorff distance."""
        return float(np.max(self._pooled())) if self._defined else math.nan

    @property
    def hd95(self) -> float:
        """The larger of the two directed 95th percentiles, mm."""
        if not self._defined:
            return math.nan
        return float(max(np.percentile(self.from_truth, 95), np.percentile(self.from_prediction, 95)))

    @property
    def _defined(self) -> bool:
        return bool(self.from_truth.size and self.from_prediction.size)

    def _pooled(self) -> NDArray[np.float64]:
        return np.concatenate((self.from_truth, self.from_prediction))


def surface(mask: NDArray[Any]) -> NDArray[np.bool_]:
    """Surface voxels of a mask: inside, with a face neighbour outside (beyond the array counts as outside).

    Parameters
    ----------
    mask : (z, y, x) array
        Every non-zero voxel is inside. Arrays of other dimensions work alike.

    Returns
    -------
    bool array of the same shape
    """
    inside = np.asarray(mask).astype(bool, copy=False)
    eroded: NDArray[np.bool_] = ndimage.binary_erosion(inside)
    return inside & ~eroded


def distances(
    truth: NDArray[Any], prediction: NDArray[Any], spacing: Sequence[float], label: int | None = None
) -> SurfaceDistances:
    """Every surface distance between two masks; all figures of this module come from it.

    Parameters
    ----------
    truth, prediction : (z, y, x) array
        Masks of one shape, or label maps if `label` is given.
    spacing : sequence of float
        Voxel size in mm, one per axis.
    label : int, optional
        The class to look at.

    Returns
    -------
    SurfaceDistances

    Raises
    ------
    GridMismatch
        The shapes differ.
    InputError
        The spacing does not fit the array.
    """
    true, predicted = as_masks(truth, prediction, label)
    steps = np.asarray(spacing, dtype=np.float64)
    if steps.shape != (true.ndim,) or not np.all(np.isfinite(steps) & (steps > 0)):
        raise InputError(
            f"The spacing {tuple(spacing)} does not fit an array of {true.ndim} axes.",
            "Give one positive voxel size in mm per axis.",
        )
    a, b = _surface_points(true, steps), _surface_points(predicted, steps)
    if not (len(a) and len(b)):
        return SurfaceDistances(np.empty(0), np.empty(0))
    return SurfaceDistances(KDTree(b).query(a)[0], KDTree(a).query(b)[0])


def assd(truth: NDArray[Any], prediction: NDArray[Any], spacing: Sequence[float], label: int | None = None) -> float:
    """Average symmetric surface distance, mm. Arguments and errors as in `distances`; NaN if either mask is empty."""
    return distances(truth, prediction, spacing, label).assd


def rmsd(truth: NDArray[Any], prediction: NDArray[Any], spacing: Sequence[float], label: int | None = None) -> float:
    """Root mean square symmetric surface distance, mm. Arguments as in `distances`; NaN if either mask is empty."""
    return distances(truth, prediction, spacing, label).rmsd


def msd(truth: NDArray[Any], prediction: NDArray[Any], spacing: Sequence[float], label: int | None = None) -> float:
    """Maximum symmetric surface distance, mm. Arguments as in `distances`; NaN if either mask is empty."""
    return distances(truth, prediction, spacing, label).msd


def hausdorff(
    truth: NDArray[Any], prediction: NDArray[Any], spacing: Sequence[float], label: int | None = None
) -> float:
    """Hausdorff distance of the two surfaces, mm: `msd` by its other name."""
    return msd(truth, prediction, spacing, label)


def hd95(truth: NDArray[Any], prediction: NDArray[Any], spacing: Sequence[float], label: int | None = None) -> float:
    """Robust Hausdorff distance, mm. Arguments as in `distances`; NaN if either mask is empty."""
    return distances(truth, prediction, spacing, label).hd95


def _surface_points(mask: NDArray[np.bool_], spacing: NDArray[np.float64]) -> NDArray[np.float64]:
    """Surface voxel centres in mm, (n, axes). Cropped to the mask's own box first: erosion costs the whole array."""
    boxes = ndimage.find_objects(mask.view(np.uint8))
    if not boxes or boxes[0] is None:
        return np.empty((0, mask.ndim))
    box: tuple[slice, ...] = boxes[0]
    start = np.array([part.start for part in box])
    points: NDArray[np.float64] = (np.argwhere(surface(mask[box])) + start) * spacing
    return points
