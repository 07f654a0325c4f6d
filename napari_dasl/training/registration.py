"""Affine registration of one prepared scan to another, by SimpleITK: small, once per pair, kept beside the scans.

It brings heads onto heads before two scans are mixed, as in the PET curriculum paper, and measures nothing: so it looks
at a few ten thousand voxels, and where it fails the middles of the two scans are laid on each other.
"""

from __future__ import annotations

from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dasl.training.prepare import publish, resample_linear, stored
from napari_dasl.volumes.extras import simpleitk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_dasl.training.cases import Shape, Spacing
    from napari_dasl.training.prepare import Prepared

    Matrix = NDArray[np.float64]

LONGEST = 32
"""Voxels along the longest side of the scans that are registered."""

ITERATIONS = 60

_REGISTERING = Lock()
_WHAT = "Mixed training scans (mixup)"


def require() -> None:
    """Make sure that scans can be registered.

    Raises
    ------
    VolumeError
        SimpleITK is not installed; the hint names the extra.
    """
    simpleitk(_WHAT)


def between(fixed: Prepared, moving: Prepared, spacing: Spacing) -> Matrix:
    """Where the voxels of *fixed* lie in *moving*: (4, 4), from voxel (z, y, x, 1) to voxel, on the network's grid.

    Registered once for both directions, and kept on disk where the scans are. A function of the two scans.
    """
    backward = _key(moving) < _key(fixed)
    first, second = (moving, fixed) if backward else (fixed, moving)
    path = None
    if first.stored is not None and second.stored is not None:
        names = (each.name.removesuffix(".image.npy") for each in (first.stored, second.stored))
        path = first.stored.with_name("-".join(names) + ".affine.npy")
    found = None if path is None else stored(path, np.float64)
    if found is None or found.shape != (4, 4):
        found = register(first.image[0], second.image[0], spacing)
        if path is not None:
            publish(path, found)
    return np.linalg.inv(found) if backward else np.array(found)


def _key(case: Prepared) -> str:
    return case.id if case.stored is None else case.stored.name


def register(fixed: NDArray[Any], moving: NDArray[Any], spacing: Spacing) -> Matrix:
    """The affine map of the voxels of *fixed* (z, y, x) to those of *moving*, (4, 4), by correlation.

    Both lie on grids of the same *spacing* and are of one modality; mutual information, which takes dark for bright as
    well, laid one pair of sarcoma PETs out of six so. One thread and every voxel: the result is the same every time.

    Raises
    ------
    VolumeError
        SimpleITK is not installed.
    """
    sitk = simpleitk(_WHAT)
    with _one_thread(sitk):
        one, other = _small(sitk, fixed, spacing), _small(sitk, moving, spacing)
        start = sitk.CenteredTransformInitializer(
            one, other, sitk.AffineTransform(3), sitk.CenteredTransformInitializerFilter.GEOMETRY
        )
        affine = sitk.AffineTransform(start)
        centred = _matrix(affine, spacing)
        method = sitk.ImageRegistrationMethod()
        method.SetMetricAsCorrelation()
        method.SetMetricSamplingStrategy(method.NONE)
        method.SetInterpolator(sitk.sitkLinear)
        method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-3, ITERATIONS, relaxationFactor=0.6)
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetInitialTransform(affine, inPlace=True)
        try:
            method.Execute(one, other)
        except RuntimeError:
            return centred  # the scans do not overlap, or one of them has no contrast
    found = _matrix(affine, spacing)
    sensible = np.isfinite(found).all() and 0.5 < np.linalg.det(found[:3, :3]) < 2
    return found if sensible else centred


@contextmanager
def _one_thread(sitk: Any) -> Iterator[None]:
    """Let ITK work in one thread: several add up in another order every time.

    Its registration heeds the number for the whole process alone, so that only one may run at a time.
    """
    with _REGISTERING:
        usual = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
        try:
            yield
        finally:
            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(usual)


def _small(sitk: Any, scan: NDArray[Any], spacing: Spacing) -> Any:
    """A scan of at most :data:`LONGEST` voxels a side, as an image in mm whose first voxel of full size is at 0."""
    longest = max(n * s for n, s in zip(scan.shape, spacing, strict=True)) / LONGEST
    sides = [max(1, min(n, round(n * s / longest))) for n, s in zip(scan.shape, spacing, strict=True)]
    shape: Shape = (sides[0], sides[1], sides[2])
    image = sitk.GetImageFromArray(resample_linear(np.asarray(scan, np.float32), shape))
    step = [s * n / new for s, n, new in zip(spacing, scan.shape, shape, strict=True)]
    image.SetSpacing([float(s) for s in reversed(step)])
    image.SetOrigin([(new - s) / 2 for new, s in zip(reversed(step), reversed(spacing), strict=True)])
    return image


def _matrix(affine: Any, spacing: Spacing) -> Matrix:
    """An affine transform of ITK, in mm and (x, y, z), as a matrix of voxels and (z, y, x)."""
    linear = np.reshape(affine.GetMatrix(), (3, 3))[::-1, ::-1]
    centre = np.asarray(affine.GetCenter())[::-1]
    shift = np.asarray(affine.GetTranslation())[::-1] + centre - linear @ centre
    whole = np.eye(4)
    step = np.asarray(spacing, float)
    whole[:3, :3] = linear * step[None, :] / step[:, None]
    whole[:3, 3] = shift / step
    return whole
