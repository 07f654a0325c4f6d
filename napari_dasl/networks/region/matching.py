"""Which anchors learn which truth: adaptive selection, and at least one anchor for every truth.

MONAI's matcher is that of Zhang et al. 2020, "Bridging the gap between anchor-based and anchor-free detection" (ATSS):
of the anchors nearest to a truth, those learn it that overlap it better than mean + one standard deviation. Unlike a
fixed overlap it adapts to small lesions, but it still leaves a lesion between the cells with nothing, so that every
truth claims its best anchor besides.
"""

from __future__ import annotations

from functools import cache

import torch
from monai.apps.detection.utils.ATSS_matcher import ATSSMatcher

from napari_dasl.networks.region.boxes import iou, to_corners

BACKGROUND = -1
IGNORED = -2
_CANDIDATES = 4


@cache
def _matcher() -> ATSSMatcher:
    """MONAI's matcher; anchors may be centred outside the truth, because a small lesion may lie between all centres."""
    return ATSSMatcher(num_candidates=_CANDIDATES, similarity_fn=iou, center_in_gt=False)


@torch.no_grad()  # type: ignore[untyped-decorator]  # torch has no types here
def match(anchors: torch.Tensor, truth_cubes: torch.Tensor, *, per_location: int) -> torch.Tensor:
    """Match *anchors* (A, D + 1) to the lesions *truth_cubes* (n, D + 1) of one patch.

    Parameters
    ----------
    anchors, truth_cubes : tensor
        Voxels; any truth may lie partly outside the patch.
    per_location : int
        Anchors of each cell; the cells are those of one detection level.

    Returns
    -------
    int64 tensor (A,)
        Row of *truth_cubes* that the anchor learns; -1 for background; -2 for an anchor to leave out of the loss: it
        learns no truth, though it overlaps one as well as an anchor that learns it. Every row appears at least once
        (as long as there are as many anchors as truths).
    """
    if not len(truth_cubes):
        return anchors.new_full((len(anchors),), BACKGROUND, dtype=torch.int64)
    cells = [len(anchors) // per_location]
    truths = truth_cubes.float()
    overlap, matches = _matcher()(to_corners(truths), to_corners(anchors.float()), cells, per_location)
    # Where no candidate touches the truth, their mean is 0 and all reach it: they would learn a box far from their own.
    touching = overlap.gather(0, matches.clamp(min=0)[None])[0] > 0
    matches = torch.where(touching, matches, BACKGROUND)
    best = _best_anchors(anchors.float(), truths, overlap)
    matches[best] = torch.arange(len(best), device=best.device)
    return _ignore_equals(matches, overlap)


def _best_anchors(anchors: torch.Tensor, truths: torch.Tensor, overlap: torch.Tensor) -> torch.Tensor:
    """One anchor for each truth, no anchor twice: int64 (n,).

    That of the highest *overlap* (n, A); of equals the nearest in centre and diameter, which also decides for a truth
    that touches none. Where two truths want the same, it goes to the one that overlaps it more.
    """
    best = torch.zeros(len(truths), dtype=torch.int64, device=overlap.device)
    free = overlap.clone()
    for row in overlap.amax(dim=1).argsort(descending=True, stable=True):
        distance = (anchors - truths[row]).square().sum(dim=1)
        best[row] = torch.where(free[row] == free[row].max(), distance, torch.inf).argmin()
        free[:, best[row]] = -torch.inf
    return best


def _ignore_equals(matches: torch.Tensor, overlap: torch.Tensor) -> torch.Tensor:
    """Mark background anchors that overlap a truth at least as well as the worst anchor that learns it.

    Among equally near anchors the matcher takes some and not others. To call the others background would teach two
    answers for one picture.
    """
    rows = torch.arange(len(overlap), device=overlap.device)[:, None]
    worst = torch.where(matches[None] == rows, overlap, torch.inf).amin(dim=1, keepdim=True)
    equal = ((overlap >= worst) & (overlap > 0)).any(dim=0)
    return torch.where((matches == BACKGROUND) & equal, IGNORED, matches)
