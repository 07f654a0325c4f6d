"""Losses that the networks are trained with: logits and label maps in, a scalar out, in single precision."""

from __future__ import annotations

import torch
from torch.nn import functional


def dice_ce(
    logits: torch.Tensor, label: torch.Tensor, weight: torch.Tensor | None = None, *, smooth: float = 1e-5
) -> torch.Tensor:
    r"""Soft Dice over the batch plus cross-entropy, each sample's part multiplied by its weight.

    With probabilities :math:`p` = softmax(logits), one-hot truth :math:`t` and sample weights :math:`w_i`,

    .. math::

        L = \frac1N \sum_i w_i\,\mathrm{CE}_i + \bar w \Bigl(1 - \frac1K \sum_{k \ge 1}
        \frac{2 \sum_i w_i \sum_v p_{ikv} t_{ikv} + \epsilon}{\sum_i w_i \sum_v (p_{ikv} + t_{ikv}) + \epsilon}\Bigr)

    The Dice of a class is taken over the whole batch (nnU-Net's ``batch_dice``): a patch without the class then adds
    to its denominator, and does not give a loss of 1 with no gradient. A class that no patch of the batch holds is
    left to the cross-entropy. The background, :math:`k = 0`, counts in the cross-entropy alone. With all weights
    equal to :math:`c`, the loss is :math:`c` times the unweighted one.

    Parameters
    ----------
    logits : torch.Tensor
        (N, K + 1, …), of any precision; the sums are made in float32 also under autocast.
    label : torch.Tensor
        (N, …) integers from 0 to K.
    weight : torch.Tensor, optional
        (N,), at least 0; 1 where not given.
    smooth : float
        :math:`\epsilon`.
    """
    with torch.autocast(device_type=logits.device.type, enabled=False):
        values = logits.float()
        samples, classes = values.shape[:2]
        share = values.new_ones(samples) if weight is None else weight.to(values)
        logs = functional.log_softmax(values, dim=1).flatten(2)
        truth = functional.one_hot(label.long().flatten(1), classes).movedim(2, 1).to(values.dtype)
        entropy = -(logs * truth).sum(1).mean(1)
        # The sums over voxels first, per sample and class; weights and the batch after them, on tiny tensors.
        probability = logs.exp()
        overlap = ((probability * truth).sum(2) * share[:, None]).sum(0)[1:]
        size = (probability.sum(2) * share[:, None]).sum(0)[1:]
        true_size = (truth.sum(2) * share[:, None]).sum(0)[1:]
        dice = (2 * overlap + smooth) / (size + true_size + smooth)
        present = true_size > 0
        missing = torch.where(present, 1 - dice, torch.zeros_like(dice)).sum() / present.sum().clamp(min=1)
        return (share * entropy).mean() + share.mean() * missing
