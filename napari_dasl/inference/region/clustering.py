"""Weighted box clustering: what overlapping windows say of one place becomes one finding.

After Jaeger et al. 2020 ("Retina U-Net", ML4H), with one change: a window that looked at a place and said nothing
counts by how well it saw the place (its Gaussian weight there), not by the mean of those that said something. So a
lesion that one window sees in its middle and another at its very border is not punished for the second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_dasl.inference.region.candidates import FLOOR, Finding, Part, overlaps, to_corners, trust
from napari_dasl.inference.region.pasting import sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_dasl.inference.region.candidates import Candidates

_BORDER = 1.0  # voxels: a box that comes so near to the border of its window may be cut there
_WITHIN = 0.5  # the share of a partial view that must lie in a whole one to be of the same lesion
_SAME = 0.3  # the share of the smaller of two partial views that must be drawn by both
_COVERED = 0.5  # the share of a finding's drawn cells that a better one may draw as well
_POINTS = 12  # along each axis, where two partial views are compared


def cluster(candidates: Candidates, overlap: float) -> list[Finding]:
    r"""Join what the windows of a scan found.

    Of each class and slice, the best candidate that is left takes all that overlap it. Of one window only its best
    counts. With weights w (the Gaussian of the window at the candidate's centre), o (IoU with the best candidate) and
    scores s,

    .. math::

        s = \frac{\sum w_i o_i s_i}{\sum w_i o_i + \sum_{\text{silent}} w_j}, \qquad
        b = \frac{\sum w_i o_i s_i b_i}{\sum w_i o_i s_i}

    for score, cube and mask, the silent windows being those that hold the centre and have no candidate in the cluster.
    Views of lesions that end at the border of their window are joined, or left out where another window saw the whole.
    At last a finding goes of which more than half is drawn by a better one: cubes of very different size on one lesion
    have a small IoU.

    Parameters
    ----------
    candidates : Candidates
    overlap : float
        IoU above which two cubes are of one lesion.

    Returns
    -------
    list of Finding
        By falling score, all above :data:`~napari_dasl.inference.region.candidates.FLOOR`; sections of slices are
        findings of their own.
    """
    found: list[Finding] = []
    slices = candidates.slices[candidates.window]
    for plane in np.unique(slices):
        for kind in np.unique(candidates.classes[slices == plane]):
            rows = np.flatnonzero((slices == plane) & (candidates.classes == kind))
            views = _views(candidates, rows, int(plane), overlap)
            found += _distinct(_joined(views, int(kind) + 1))
    return sorted((one for one in found if one.score > FLOOR), key=lambda one: -one.score)


class _View:
    """A cluster: its cube, score and mask, and whether every window that saw it cut it off."""

    def __init__(self, cube: NDArray[np.float64], score: float, part: Part, cut: bool) -> None:
        self.corners = to_corners(cube[None])[0]
        self.score, self.part, self.cut = score, part, cut


def _views(candidates: Candidates, rows: NDArray[np.intp], plane: int, overlap: float) -> list[_View]:
    """Clusters of the candidates *rows*, all of one class and slice."""
    cubes, scores, window = candidates.cubes[rows], candidates.scores[rows], candidates.window[rows]
    corners = to_corners(cubes)
    weights = trust(cubes[:, :-1], candidates.windows[window])
    cut = _cut(candidates, corners, window)
    here = np.flatnonzero(candidates.slices == plane)
    # A view from the middle of a window leads; one that is cut off does not lead where there is a whole one.
    order = np.lexsort((-scores * weights, cut))
    free = np.ones(len(rows), dtype=np.bool_)
    views = []
    for leader in order:
        if not free[leader]:
            continue
        shared = overlaps(corners[leader], corners)[0]
        members = np.flatnonzero(free & (shared > overlap))
        members = np.union1d(members, [leader])
        free[members] = False
        best = members[np.lexsort((-scores[members], members != leader, window[members]))]
        best = best[np.unique(window[best], return_index=True)[1]]
        whole = best if cut[leader] else best[~cut[best]]
        share = weights[best] * shared[best]
        silent = _silent(candidates.windows[here], cubes[leader, :-1], here, window[best])
        score = float((share * scores[best]).sum() / (share.sum() + silent))
        part_share = weights[whole] * shared[whole] * scores[whole]
        part_share = part_share / part_share.sum()
        cube = (part_share[:, None] * cubes[whole]).sum(axis=0)
        part = _part(candidates, rows[whole], part_share, cube, plane)
        views.append(_View(cube, score, part, bool(cut[leader])))
    return views


def _silent(
    windows: NDArray[np.float64], centre: NDArray[np.float64], numbers: NDArray[np.intp], spoke: NDArray[np.intp]
) -> float:
    """Total weight of the windows that hold *centre* and found nothing there."""
    dims = len(centre)
    holds = ((windows[:, :dims] <= centre) & (centre < windows[:, dims:])).all(axis=1) & ~np.isin(numbers, spoke)
    return float(trust(centre, windows[holds]).sum())


def _cut(candidates: Candidates, corners: NDArray[np.float64], window: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Whether a box reaches the border of its window where the scan goes on."""
    dims = candidates.dims
    limits = np.asarray(candidates.grid.shape[-dims:], dtype=np.float64)
    low, high = candidates.windows[window, :dims], candidates.windows[window, dims:]
    before = (corners[:, :dims] < low + _BORDER) & (low > 0)
    behind = (corners[:, dims:] > high - _BORDER) & (high < limits)
    return np.asarray((before | behind).any(axis=1))


def _part(
    candidates: Candidates, rows: NDArray[np.intp], share: NDArray[np.float64], cube: NDArray[np.float64], plane: int
) -> Part:
    """The mean mask of some candidates over the region of *cube*."""
    scale = candidates.roi_scale
    side = float(cube[-1]) * scale
    start = cube[:-1] - side / 2
    number = None if candidates.dims == 3 else plane
    if len(rows) == 1:
        return Part(start, side, candidates.masks[rows[0]].astype(np.float32), number)
    size = candidates.masks.shape[1]
    places = [start[axis] + (np.arange(size) + 0.5) * side / size for axis in range(candidates.dims)]
    mean = np.zeros((size,) * candidates.dims, dtype=np.float32)
    for row, weight in zip(rows, share, strict=True):
        length = float(candidates.cubes[row, -1]) * scale
        own = Part(candidates.cubes[row, :-1] - length / 2, length, candidates.masks[row].astype(np.float32))
        mean += np.float32(weight) * sample(own, places)
    return Part(start, side, mean, number)


def _joined(views: list[_View], label: int) -> list[Finding]:
    """Findings of one class and slice: whole views, and partial ones joined to each other."""
    whole = [view for view in views if not view.cut]
    boxes = np.array([view.corners for view in whole])
    scores = np.array([view.score for view in whole])
    partial = []
    for view in sorted((view for view in views if view.cut), key=lambda view: -view.score):
        if len(whole) and ((overlaps(view.corners, boxes)[1] >= _WITHIN) & (scores >= view.score)).any():
            continue
        partial.append(view)
    groups = _groups(partial)
    found = [Finding(label, view.score, (view.part,)) for view in whole]
    found += [Finding(label, max(v.score for v in group), tuple(v.part for v in group)) for group in groups]
    return found


def _groups(views: list[_View]) -> list[list[_View]]:
    """Views that draw the same lesion, directly or through others, together."""
    starts = np.array([view.part.start for view in views])
    ends = starts + np.array([view.part.side for view in views])[:, None] if views else starts
    group = np.arange(len(views))
    for index, view in enumerate(views):
        # Thousands of faint views lie in a lung; only those whose regions meet are compared cell by cell.
        meet = ((starts[:index] < ends[index]) & (starts[index] < ends[:index])).all(axis=1)
        for other in np.flatnonzero(meet):
            if group[other] != group[index] and _same(view, views[other]):
                group[group == group[index]] = group[other]
    return [[views[index] for index in np.flatnonzero(group == number)] for number in np.unique(group)]


def _same(one: _View, other: _View) -> bool:
    """Whether two partial views draw the same voxels where both look."""
    dims = len(one.corners) // 2
    low = np.maximum(one.part.start, other.part.start)
    high = np.minimum(one.part.start + one.part.side, other.part.start + other.part.side)
    if (high <= low).any():
        return False
    places = [low[axis] + (np.arange(_POINTS) + 0.5) * (high - low)[axis] / _POINTS for axis in range(dims)]
    first, second = sample(one.part, places) >= 0.5, sample(other.part, places) >= 0.5
    smaller = min(int(first.sum()), int(second.sum()))
    return smaller > 0 and int((first & second).sum()) >= _SAME * smaller


def _distinct(found: list[Finding]) -> list[Finding]:
    """Findings of one class and slice without those that better ones cover."""
    kept: list[Finding] = []
    boxes = np.zeros((len(found), 6))
    for one in sorted(found, key=lambda one: -one.score):
        box = one.corners()
        near = np.flatnonzero(overlaps(box, boxes[: len(kept)])[1] > _COVERED / 2)
        if not any(_covers(kept[index], one) for index in near):
            boxes[len(kept)] = box
            kept.append(one)
    return kept


def _covers(better: Finding, one: Finding) -> bool:
    """Whether *better* draws more than half of the cells that *one* draws."""
    total = covered = 0.0
    for part in one.parts:
        cell = part.side / part.mask.shape[0]
        places = [first + (np.arange(part.mask.shape[0]) + 0.5) * cell for first in part.start]
        drawn = part.mask >= min(0.5, float(part.mask.max()))
        inside = np.zeros_like(drawn)
        for other in better.parts:
            inside |= sample(other, places) >= 0.5
        total += float(drawn.sum()) * cell**drawn.ndim
        covered += float((drawn & inside).sum()) * cell**drawn.ndim
    return covered > _COVERED * total
