"""Which background anchors a step learns from: hard ones, a few for each anchor that learns a lesion.

Nearly all of some 100,000 anchors are background and easy; together they would drown the lesions. MONAI's sampler draws
from those with the highest scores.
"""

from __future__ import annotations

import torch
from monai.apps.detection.utils.hard_negative_sampler import HardNegativeSamplerBase

from napari_dasl.networks.region.matching import BACKGROUND


@torch.no_grad()  # type: ignore[untyped-decorator]  # torch has no types here
def hard_negatives(
    scores: torch.Tensor, matches: torch.Tensor, ratio: float = 3, pool: float = 20, minimum: int = 16
) -> torch.Tensor:
    """Draw background anchors of one patch.

    Parameters
    ----------
    scores : tensor (A,)
        Highest score of the anchor over the classes; probabilities or logits.
    matches : int64 tensor (A,)
        What ``matching.match`` gave: from 0 a lesion, -1 background, -2 neither.
    ratio : float
        Background anchors for each anchor with a lesion.
    pool : float
        They are drawn at random from the ``pool`` times as many with the highest scores: with 1 the hardest always,
        among them every wrong label; larger is gentler.
    minimum : int
        At least so many, also in a patch without a lesion.

    Returns
    -------
    int64 tensor
        Rising rows of *scores*; fewer than asked for where there are not enough. The same for the same torch seed.
    """
    background = torch.nonzero(matches == BACKGROUND)[:, 0]
    wanted = max(round(ratio * int((matches >= 0).sum())), minimum)
    chosen = HardNegativeSamplerBase(pool).select_negatives(
        background, min(wanted, len(background)), scores.detach().float()
    )
    return torch.nonzero(chosen)[:, 0]
