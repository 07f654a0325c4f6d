"""Boxes of findings in the slice on the screen, as thin strips to be filled. No Qt and no napari here.

napari's Shapes have one line width in voxels, so that lines would be five times as thick in a coronal slice of thick
sections as across it. Strips that are cut to a width in mm are equally thin in every orientation and at every zoom.
What a box means is seen without telling colours apart: whole where nobody has decided, corners where it was accepted
or drawn, and struck through where it was rejected.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_dasl.project.findings import FindingState
    from napari_dasl.widgets.pieces import Piece

LINE, CHOSEN_LINE, GAP = 1.5, 3.0, 5.0  # pixels of the screen
_CORNER = 0.3
MOST_RUNS = 250
"""Straight runs of an outline that are drawn: napari takes a millisecond for five of them."""


@dataclass(frozen=True)
class Box:
    """One box: the *piece* it is around, its finding's *state*, a *colour*, and whether it is the *chosen* one."""

    piece: Piece
    state: FindingState
    colour: str
    chosen: bool


@dataclass(frozen=True)
class View:
    """The slice on the screen.

    Attributes
    ----------
    axis : int
        The axis across it.
    place : int
        Its number along that axis.
    shown : (int, int)
        The axes of rows and columns.
    spacing : (float, float, float)
        (sz, sy, sx) in mm.
    pixel : float
        Size of a pixel of the screen in mm.
    """

    axis: int
    place: int
    shown: tuple[int, int]
    spacing: tuple[float, float, float]
    pixel: float


def strips(boxes: Sequence[Box], view: View) -> tuple[list[NDArray[np.float64]], list[str]]:
    """Return the strips of every box that the slice crosses.

    Returns
    -------
    (list of (4, 3) array, list of str)
        Corners (z, y, x) in voxels (the centre of voxel i is at i) of each strip, and its colour.
    """
    corners, colours = [], []
    for box in boxes:
        part = box.piece.region[view.axis]
        if not part.start <= view.place < part.stop:
            continue
        thick, thin = CHOSEN_LINE * view.pixel, LINE * view.pixel
        lines = [(begin, end, thick if box.chosen else thin) for begin, end in _lines(box, view)]
        if box.chosen:
            lines += [(begin, end, thin) for begin, end in outline(box.piece, view)]
        corners += [_strip(begin, end, width, view) for begin, end, width in lines]
        colours += [box.colour] * len(lines)
    return corners, colours


def outline(piece: Piece, view: View) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return the outline of a piece in the slice: straight runs along the edges of its voxels.

    Returns
    -------
    list of (point, point)
        Points (row, column) in mm; none where there are more than `MOST_RUNS`, of something as large as an organ.
    """
    plane = piece.mask.take(view.place - piece.start[view.axis], axis=view.axis)
    if view.shown[0] > view.shown[1]:
        plane = plane.T
    padded = np.pad(plane, 1).astype(np.int8)
    runs = []
    for across in (0, 1):  # edges along the columns lie between rows, and the other way round
        steps = np.diff(padded, axis=across) != 0
        for line, edge in enumerate(steps if across == 0 else steps.T):
            ends = np.flatnonzero(np.diff(np.pad(edge, 1).astype(np.int8)))
            for begin, end in zip(ends[::2], ends[1::2], strict=True):
                pair = [(line - 0.5, begin - 1.5), (line - 0.5, end - 1.5)]
                runs.append([point if across == 0 else point[::-1] for point in pair])
    if len(runs) > MOST_RUNS:
        return []
    steps_mm = np.array([view.spacing[axis] for axis in view.shown])
    start = np.array([piece.start[axis] for axis in view.shown])
    return [((np.array(a) + start) * steps_mm, (np.array(b) + start) * steps_mm) for a, b in runs]


def _lines(box: Box, view: View) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return the lines of a box as pairs of points (row, column) in mm."""
    steps = np.array([view.spacing[axis] for axis in view.shown])
    region = [box.piece.region[axis] for axis in view.shown]
    low = (np.array([part.start for part in region]) - 0.5) * steps - GAP * view.pixel
    high = (np.array([part.stop for part in region]) - 0.5) * steps + GAP * view.pixel
    edges = [
        (low, np.array([low[0], high[1]])),
        (np.array([low[0], high[1]]), high),
        (high, np.array([high[0], low[1]])),
        (np.array([high[0], low[1]]), low),
    ]
    if box.state in ("accepted", "labelled"):
        return [
            pair
            for begin, end in edges
            for pair in (
                (begin, begin + _CORNER * (end - begin)),
                (end - _CORNER * (end - begin), end),
            )
        ]
    return [*edges, (low, high)] if box.state == "rejected" else edges


def _strip(begin: NDArray[np.float64], end: NDArray[np.float64], width: float, view: View) -> NDArray[np.float64]:
    along = (end - begin) / max(float(np.linalg.norm(end - begin)), 1e-9) * (width / 2)
    across = np.array([-along[1], along[0]])
    flat = np.stack(
        [begin - along + across, end + along + across, end + along - across, begin - along - across]
    )  # longer by half a width at both ends, so that corners are whole
    points = np.full((4, 3), float(view.place))
    for column, axis in enumerate(view.shown):
        points[:, axis] = flat[:, column] / view.spacing[axis]
    return points
