"""One number for a scan out of a voxel map: five ways, each a small function of arrays.

The mean over the whole volume is Eq. 2 of DASL (Wang et al., MICCAI 2018); the field of view dilutes it. The others do
not change when a scan is padded with voxels of which the network is certain: a region around what it found
(:func:`within` the mask of :func:`~napari_dasl.active.regions.region_mask`), :func:`per_foreground`, :func:`top_q` and
:func:`per_class`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_dasl.active.uncertainty import foreground
from napari_dasl.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def whole(values: NDArray[np.floating]) -> float:
    """Mean over the volume, ``(1/n) Σ_i u_i``: Eq. 2 with u of ``1 − max p``.

    Parameters
    ----------
    values : array, (z, y, x)
        A voxel map.
    """
    return float(values.mean(dtype=np.float64))


def within(values: NDArray[np.floating], mask: NDArray[np.bool_]) -> float:
    """Mean over the voxels of a mask.

    Parameters
    ----------
    values : array, (z, y, x)
    mask : array, bool, (z, y, x)
        Not empty.

    Raises
    ------
    InputError
        When the mask is empty or of another shape.
    """
    if mask.shape != values.shape or not mask.any():
        raise InputError(
            f"A region of shape {mask.shape} with {int(mask.sum())} voxels does not fit a map of shape {values.shape}.",
            "Give a region with voxels, on the grid of the scan.",
        )
    return float(values.mean(dtype=np.float64, where=mask))


def per_foreground(values: NDArray[np.floating], probability: NDArray[np.floating]) -> float:
    """Sum of the map over the expected foreground, ``Σ u / max(1, Σ (1 − p_0))``.

    Parameters
    ----------
    values : array, (z, y, x)
    probability : array, (z, y, x) or (K, z, y, x)
        Background first.

    Returns
    -------
    float
        In units of the map per voxel of foreground. The 1 keeps a scan with next to no foreground finite.
    """
    return float(values.sum(dtype=np.float64)) / max(1.0, foreground_mass(probability))


def top_q(values: NDArray[np.floating], count: int) -> float:
    """Mean of the *count* largest values; with the number of predicted foreground voxels, the threshold of ValUES.

    Kahl et al., "ValUES: a framework for systematic validation of uncertainty estimation", ICLR 2024.

    Parameters
    ----------
    values : array, (z, y, x)
    count : int
        At least one value is taken and at most all.
    """
    flat = values.ravel()
    taken = min(max(1, count), flat.size)
    return float(np.partition(flat, flat.size - taken)[flat.size - taken :].mean(dtype=np.float64))


def per_class(values: NDArray[np.floating], probability: NDArray[np.floating]) -> NDArray[np.float64]:
    """Mean of the map for each foreground class, weighted by its probability: ``Σ p_c u / max(1, Σ p_c)``.

    With u the entropy this is the class score of ClaSP PE (arXiv 2601.13677), over a whole scan.

    Parameters
    ----------
    values : array, (z, y, x)
    probability : array, (K, z, y, x)
        Background first.

    Returns
    -------
    array, float64, (K − 1,)
    """
    found = []
    for channel in probability[1:]:
        mass = float(channel.sum(dtype=np.float64))
        weighted = float(np.einsum("zyx,zyx->", channel, values, dtype=np.float64))
        found.append(weighted / max(1.0, mass))
    return np.array(found, dtype=np.float64)


def foreground_mass(probability: NDArray[np.floating]) -> float:
    """Expected number of foreground voxels, ``Σ (1 − p_0)``.

    Parameters
    ----------
    probability : array, (z, y, x) or (K, z, y, x)
    """
    return float(foreground(probability).sum(dtype=np.float64))
