"""Weighted box clustering: what overlapping windows say of one place becomes one finding.

After Jaeger et al. 2020 ("Retina U-Net", ML4H), with one change: a window that looked at a place and said nothing
counts by how well it saw the place (its Gaussian weight there), not by the mean of those that said something. So a
lesion that one window sees in its middle and another at its very border is not punished for the second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_dasl.inference.region.candidates import FLOOR, Finding, Part, overlaps, to_corners, trust
from napari_dasl.inference.region.pasting import LIMIT, sample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_dasl.inference.region.candidates import Candidates

_BORDER = 1.0  # voxels: a box that comes so near to the border of its window may be cut there
_WITHIN = 0.5  # the share of a partial view that must lie in a whole one to be of the same lesion
_SAME = 0.3  # the share of the smaller of two partial views that must be drawn by both
_COVERED = 0.5  # the share of a finding's drawn cells that a better one may draw as well
_POINTS = 12  # along each axis, where two partial views are compared

SHOWN = 0.05
"""Findings of a volume below are left out, the best :data:`FEW` apart: thresholds are seldom lower; masks are dear."""

FEW = 24
"""Findings that a volume has whatever their score: FROC curves reach to 8 false positives a scan."""

MOST = 2 * LIMIT
"""Findings of a volume of which masks are drawn, the best: twice as many as are shown, for some cover others.

Those from :data:`FAINT` on are drawn however many they are: they may count, and what counts is never left out.
"""

MEMBERS, FAINT = 3, 0.3
"""Members of a cluster whose masks are averaged, those with the largest share, and the score below which it is one.

Over 19 planted nodules the mean Dice of what was hit was 0.9250 with all members, 0.9249 with three, 0.9240 with one.
"""


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
        findings of their own. In volumes those from :data:`SHOWN` on, at least the best :data:`FEW`, and of those below
        :data:`FAINT` none beyond the best :data:`MOST`, before some are joined or left out. Clusters of which no mask
        was drawn are none.
    """
    found: list[Finding] = []
    for (_, kind), views in _worthy(candidates, overlap).items():
        drawn = [(view, _part(candidates, view)) for view in views]
        found += _distinct(_joined([_Drawn(v.score, v.cut, part) for v, part in drawn if part is not None], kind + 1))
    return sorted(found, key=lambda one: -one.score)


def wanted(candidates: Candidates, overlaps_tried: Sequence[float]) -> NDArray[np.intp]:
    """The candidates whose masks :func:`cluster` uses at any of these overlaps: rows, rising."""
    rows: set[int] = set()
    for overlap in overlaps_tried:
        for views in _worthy(candidates, overlap).values():
            rows.update(int(row) for view in views for row in view.best()[0])
    return np.array(sorted(rows), dtype=np.intp)


@dataclass(frozen=True)
class _View:
    """A cluster of one slice: its members (rows of the candidates) with their shares, its cube and score.

    *cut* tells whether every window that saw it cut it off.
    """

    rows: NDArray[np.intp]
    share: NDArray[np.float64]
    cube: NDArray[np.float64]
    score: float
    cut: bool
    plane: int

    def corners(self) -> NDArray[np.float64]:
        """Its cube as a box (2 D,)."""
        corners: NDArray[np.float64] = to_corners(self.cube[None])[0]
        return corners

    def best(self) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """The members whose masks count, and their shares."""
        order = np.argsort(-self.share, kind="stable")[: MEMBERS if self.score >= FAINT else 1]
        return self.rows[order], self.share[order]


class _Drawn(NamedTuple):
    """A cluster with its mask."""

    score: float
    cut: bool
    part: Part


def _worthy(candidates: Candidates, overlap: float) -> dict[tuple[int, int], list[_View]]:
    """The views of each slice and class that may become findings."""
    found: dict[tuple[int, int], list[_View]] = {}
    slices = candidates.slices[candidates.window]
    for plane in np.unique(slices):
        for kind in np.unique(candidates.classes[slices == plane]):
            rows = np.flatnonzero((slices == plane) & (candidates.classes == kind))
            found[int(plane), int(kind)] = _seen_whole(_views(candidates, rows, int(plane), overlap))
    lowest = _lowest(np.array([view.score for views in found.values() for view in views]), candidates.dims)
    return {
        place: [view for view in views if view.score > FLOOR and view.score >= lowest] for place, views in found.items()
    }


def _lowest(scores: NDArray[np.float64], dims: int) -> float:
    """From which score on a view counts: in volumes :data:`SHOWN`, but for at least FEW and at most MOST faint ones."""
    if dims == 2 or len(scores) < FEW:
        return FLOOR
    best = np.sort(scores)[::-1]
    return max(min(SHOWN, float(best[FEW - 1])), min(FAINT, float(best[MOST - 1])) if len(best) >= MOST else 0.0)


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
        views.append(_View(rows[whole], part_share, cube, score, bool(cut[leader]), plane))
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


def _part(candidates: Candidates, view: _View) -> Part | None:
    """The mean mask of a cluster over the region of its cube; None where none of its masks was drawn."""
    rows, share = view.best()
    if (candidates.drawn[rows] < 0).all():
        rows, share = view.rows, view.share
    held = candidates.drawn[rows] >= 0
    rows, share = rows[held], share[held]
    if not len(rows):
        return None
    scale = candidates.roi_scale
    side = float(view.cube[-1]) * scale
    start = view.cube[:-1] - side / 2
    number = None if candidates.dims == 3 else view.plane
    if len(view.rows) == 1:
        return Part(start, side, candidates.masks[candidates.drawn[rows[0]]].astype(np.float32), number)
    size = candidates.masks.shape[1]
    places = [start[axis] + (np.arange(size) + 0.5) * side / size for axis in range(candidates.dims)]
    mean = np.zeros((size,) * candidates.dims, dtype=np.float32)
    for row, weight in zip(rows, share / share.sum(), strict=True):
        length = float(candidates.cubes[row, -1]) * scale
        mask = candidates.masks[candidates.drawn[row]].astype(np.float32)
        mean += np.float32(weight) * sample(Part(candidates.cubes[row, :-1] - length / 2, length, mask), places)
    return Part(start, side, mean, number)


def _seen_whole(views: list[_View]) -> list[_View]:
    """Views without the partial ones of lesions that another window saw whole, and better."""
    whole = [view for view in views if not view.cut]
    boxes = np.array([view.corners() for view in whole])
    scores = np.array([view.score for view in whole])
    return whole + [
        view
        for view in views
        if view.cut
        and not (len(whole) and ((overlaps(view.corners(), boxes)[1] >= _WITHIN) & (scores >= view.score)).any())
    ]


def _joined(views: list[_Drawn], label: int) -> list[Finding]:
    """Findings of one class and slice: whole views, and partial ones joined to each other."""
    groups = _groups(sorted((view for view in views if view.cut), key=lambda view: -view.score))
    found = [Finding(label, view.score, (view.part,)) for view in views if not view.cut]
    return found + [Finding(label, max(v.score for v in group), tuple(v.part for v in group)) for group in groups]


def _groups(views: list[_Drawn]) -> list[list[_Drawn]]:
    """Views that draw the same lesion, directly or through others, together."""
    starts = np.array([view.part.start for view in views])
    ends = starts + np.array([view.part.side for view in views])[:, None] if views else starts
    group = np.arange(len(views))
    for index, view in enumerate(views):
        # Thousands of faint views lie in a lung; only those whose regions meet are compared cell by cell.
        meet = ((starts[:index] < ends[index]) & (starts[index] < ends[:index])).all(axis=1)
        for other in np.flatnonzero(meet):
            if group[other] != group[index] and _same(view.part, views[other].part):
                group[group == group[index]] = group[other]
    return [[views[index] for index in np.flatnonzero(group == number)] for number in np.unique(group)]


def _same(one: Part, other: Part) -> bool:
    """Whether two partial views draw the same voxels where both look."""
    low = np.maximum(one.start, other.start)
    high = np.minimum(one.start + one.side, other.start + other.side)
    if (high <= low).any():
        return False
    places = [
        first + (np.arange(_POINTS) + 0.5) * (last - first) / _POINTS for first, last in zip(low, high, strict=True)
    ]
    here, there = sample(one, places) >= 0.5, sample(other, places) >= 0.5
    smaller = min(int(here.sum()), int(there.sum()))
    return smaller > 0 and int((here & there).sum()) >= _SAME * smaller


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
