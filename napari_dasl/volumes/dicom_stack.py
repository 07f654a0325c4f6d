"""Slices into a volume: their order, their distances, and everything that can be wrong with them.

SimpleITK's series reader stacks whatever it is given: with a slice missing it stretches the others over the gap, with a
tilted gantry it straightens the stack, both without a word. Here each is either read rightly or refused with its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dasl.errors import VolumeError
from napari_dasl.volumes.geometry import Geometry

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_dasl.volumes.dicom_header import Slice

_SAME_DIRECTION = 1e-3  # of a direction cosine: 0.06 degrees
_SAME_SIZE = 1e-3  # of a pixel size
_SAME_PLACE = 0.01  # mm between two planes at least
_REGULAR = 0.1  # of a slice distance: how far a slice may lie from its place in the regular grid
_STRAIGHT = 0.1  # of a pixel: how far the last slice may lie beside the normal through the first


@dataclass(frozen=True, eq=False)
class Stack:
    """Slices in order, on one grid.

    Parameters
    ----------
    slices : tuple of Slice
        In the direction of the slice normal (row direction × column direction).
    geometry : Geometry
        Native axes (column, row, slice), as ITK and NIfTI converters number them.
    notes : tuple of str
        What was noticed and forgiven.
    """

    slices: tuple[Slice, ...]
    geometry: Geometry
    notes: tuple[str, ...]


def stack(slices: Sequence[Slice], where: Path) -> Stack:
    """Order the slices of one series and check that they fill a regular grid.

    Parameters
    ----------
    slices : sequence of Slice
        All of one series, in any order.
    where : pathlib.Path
        The folder or file, for messages.

    Returns
    -------
    Stack
        The affine runs through the true slice positions: a gantry tilt stays in it as shear.

    Raises
    ------
    VolumeError
        Slices of different size or direction, several at one place, missing ones, unequal distances.
    """
    slices, notes = _without_copies(slices)
    _same_grid(slices, where)
    first = slices[0]
    normal = np.cross(first.along_row, first.along_column)
    heights = np.array([plane.position @ normal for plane in slices])
    order = np.argsort(heights, kind="stable")
    slices, heights = [slices[n] for n in order], heights[order]
    _one_per_place(slices, heights, where)
    if len(slices) == 1:
        thickness = slices[0].thickness
        if not thickness:
            notes.append("A single slice without a thickness: 1 mm is assumed.")
        step = normal * (thickness or 1.0)
    else:
        _no_gaps(slices, heights, where)
        step, more = _step(slices, normal, where)
        notes += more
    return Stack(tuple(slices), _geometry(slices, step), tuple(notes))


def _without_copies(slices: Sequence[Slice]) -> tuple[list[Slice], list[str]]:
    """Drop files that are copies of others (the same SOPInstanceUID)."""
    unique: dict[tuple[str, int], Slice] = {}
    for plane in slices:
        unique.setdefault((plane.uid, plane.frame), plane)
    copies = len(slices) - len(unique)
    notes = [f"{copies} of {len(slices)} images are copies of others and were left out."] if copies else []
    return list(unique.values()), notes


def _same_grid(slices: list[Slice], where: Path) -> None:
    first = slices[0]
    for plane in slices[1:]:
        if plane.size != first.size:
            what = f"sizes: {_pixels(first)} in {first.path.name}, {_pixels(plane)} in {plane.path.name}"
        elif (
            max(_apart(plane.along_row, first.along_row), _apart(plane.along_column, first.along_column))
            > _SAME_DIRECTION
        ):
            what = f"directions: {first.path.name} and {plane.path.name} are not parallel (a localiser perhaps)"
        elif not np.allclose(plane.spacing, first.spacing, rtol=_SAME_SIZE, atol=0):
            what = f"pixel sizes: {first.spacing} mm in {first.path.name}, {plane.spacing} mm in {plane.path.name}"
        else:
            continue
        raise VolumeError(
            f"The DICOM series in {where} mixes images of different {what}.",
            "Export each volume as a series of its own.",
        )


def _pixels(plane: Slice) -> str:
    return f"{plane.size[0]} × {plane.size[1]}"


def _apart(one: Any, other: Any) -> float:
    return float(np.abs(one - other).max())


def _one_per_place(slices: list[Slice], heights: Any, where: Path) -> None:
    places = 1 + int(np.count_nonzero(np.diff(heights) > _SAME_PLACE))
    if places == len(slices):
        return
    if len(slices) % places == 0:
        what = f"{len(slices)} images at {places} positions, {len(slices) // places} at each"
    else:
        twin = int(np.argmax(np.diff(heights) <= _SAME_PLACE))
        what = f"{len(slices)} images at only {places} positions ({_place(slices[twin])} is taken more than once)"
    raise VolumeError(
        f"The DICOM series in {where} holds {what}: time points, echoes or kinds of image in one series.",
        "Export one volume per series, or convert it to one NIfTI file per volume.",
    )


def _no_gaps(slices: list[Slice], heights: Any, where: Path) -> None:
    """Refuse a series with slices missing, and name the places."""
    gaps = np.diff(heights)
    usual = float(np.median(gaps)) if len(gaps) > 2 else float(gaps.min())
    wide = np.flatnonzero(gaps > 1.5 * usual)
    if not wide.size:
        return
    place = int(wide[0])
    missing = sum(max(round(gaps[n] / usual) - 1, 1) for n in wide)
    more = f" and at {wide.size - 1} other places" if wide.size > 1 else ""
    noun = "slice seems" if missing == 1 else "slices seem"
    raise VolumeError(
        f"The DICOM series in {where} has a gap: {missing} {noun} to be missing. Between {_place(slices[place])} and"
        f" {_place(slices[place + 1])} lie {gaps[place]:.4g} mm instead of {usual:.4g} mm{more}.",
        "Copy the missing files, or export the series again.",
    )


def _place(plane: Slice) -> str:
    x, y, z = plane.position
    return f"{plane.path.name} (position {x:.6g}, {y:.6g}, {z:.6g})"


def _step(slices: list[Slice], normal: Any, where: Path) -> tuple[Any, list[str]]:
    """The vector from one slice to the next in LPS mm, after checking that one vector serves them all."""
    positions = np.array([plane.position for plane in slices])
    step = (positions[-1] - positions[0]) / (len(slices) - 1)
    height = float(step @ normal)
    beside = step - height * normal
    notes = []
    if np.linalg.norm(beside) * (len(slices) - 1) <= _STRAIGHT * min(slices[0].spacing):
        step = height * normal
    else:
        tilt = np.degrees(np.arctan2(np.linalg.norm(beside), height))
        notes.append(f"The slices are sheared by {tilt:.3g}° (gantry tilt); the true position of every voxel is kept.")
    off = np.linalg.norm(positions - positions[0] - np.outer(np.arange(len(slices)), step), axis=1)
    if off.max() > max(_REGULAR * height, _STRAIGHT * min(slices[0].spacing)):
        worst = int(np.argmax(off))
        raise VolumeError(
            f"The slices of the DICOM series in {where} are not at equal distances: {_place(slices[worst])} lies"
            f" {off[worst]:.3g} mm from its place in a stack of {height:.4g} mm steps.",
            "Resample it to equal distances, or export the series again.",
        )
    return step, notes


def _geometry(slices: list[Slice], step: Any) -> Geometry:
    first = slices[0]
    affine = np.eye(4)
    affine[:3, 0] = first.along_row * first.spacing[1]
    affine[:3, 1] = first.along_column * first.spacing[0]
    affine[:3, 2] = step
    affine[:3, 3] = first.position
    affine[:2] *= -1  # DICOM's LPS to RAS
    affine[affine == 0] = 0  # no negative zeros
    return Geometry((first.size[1], first.size[0], len(slices)), affine)
