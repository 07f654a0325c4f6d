"""A detector's training loss on what it decided itself: the loss that self-paced learning goes by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_dasl.inference.region.pasting import Assembled
    from napari_dasl.inference.region.thresholds import Thresholds

_RATIO = 3
"""Findings that do not count, for each that does: the hardest, as in training (hard-negative mining)."""

_SMALLEST = float(np.finfo(np.float32).tiny)


def own_loss(assembled: Assembled, thresholds: Thresholds) -> float:
    r"""Loss of a scan against the network's own decision; 0 is certain.

    :math:`l_i` of Eqs. 4 to 8 of Wang et al. (MICCAI 2018) for the classes and masks of Nodule R-CNN. The mean
    cross-entropy :math:`-\ln q` of the findings that count and :math:`-\ln(1 - q)` of the best that do not (three for
    each that does, and three where none does), *q* the score as a probability that is 1/2 at the threshold; plus, over
    the findings that count, the mean of 1 less the soft Dice of the mask with itself cut at 1/2. Boxes have no loss: a
    network's box is its own.

    Parameters
    ----------
    assembled : Assembled
    thresholds : Thresholds
    """
    numbers = range(1, len(assembled.findings) + 1)
    kept = [n for n in numbers if n in assembled.kept]
    others = [n for n in numbers if n not in assembled.kept][: _RATIO * max(1, len(kept))]
    if not kept and not others:
        return 0.0
    q = [thresholds.confidence(assembled.findings[n - 1].score) for n in (*kept, *others)]
    own = np.array([p if i < len(kept) else 1 - p for i, p in enumerate(q)], dtype=np.float64)
    entropy = float(-np.log(np.maximum(own, _SMALLEST)).mean())
    return max(0.0, entropy + _missing([assembled.masks[n - 1] for n in kept]))


def _missing(masks: Sequence[NDArray[np.float32]]) -> float:
    """Mean of 1 less the soft Dice of each mask with itself cut at 1/2; 0 of none."""
    lost = []
    for mask in masks:
        values = mask.astype(np.float64)
        drawn = values >= 0.5
        lost.append(1 - 2 * float(values[drawn].sum()) / (float(values.sum()) + int(drawn.sum())))
    return float(np.mean(lost)) if lost else 0.0
