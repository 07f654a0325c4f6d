"""Instance normalisation, computed as groups of one feature."""

from __future__ import annotations

import torch
from torch import nn


class FeatureNorm(nn.GroupNorm):  # type: ignore[misc]  # torch has no types here
    """Each feature of each image normalised by itself: the numbers of torch's instance normalisation.

    It is as fast in channels-last as in the plain layout, which torch's own is not, and an image of which one voxel is
    left becomes 0 where torch raises: the deepest map of a patch as small as the network takes.

    Parameters
    ----------
    features : int
        Of the image (N, features, …).
    eps : float
        Added to the variance.
    affine : bool
        Whether each feature is scaled and shifted by learnt numbers afterwards.
    """

    def __init__(self, features: int, eps: float = 1e-5, affine: bool = False) -> None:
        super().__init__(features, features, eps=eps, affine=affine)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """*image* (N, features, …), normalised."""
        # Past torch.nn.functional, which refuses one voxel of one image, also when the network only predicts.
        normal: torch.Tensor = torch.group_norm(image, self.num_groups, self.weight, self.bias, self.eps)
        return normal
