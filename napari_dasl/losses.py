"""Losses that the networks are trained with: logits and label maps in, a scalar out, in single precision.

:data:`LOSSES` holds those that a training plan names, all called alike. Everywhere, a label map (N, …) of integers may
also be given as the share of each class, (N, K + 1, …) of floats that sum to 1: the target of two mixed images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence  # noqa: TC003
from typing import Protocol, cast

import torch
from torch.nn import functional


def _shares(label: torch.Tensor, classes: int) -> torch.Tensor:
    """The share of each class in each voxel: (N, classes, voxels) float32."""
    if label.is_floating_point():
        return label.float().flatten(2)
    return functional.one_hot(label.long().flatten(1), classes).movedim(2, 1).float()


def _sample_weights(values: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    """(N,): 1 where no weights are given."""
    return values.new_ones(len(values)) if weight is None else weight.to(values)


def _missing_dice(probability: torch.Tensor, truth: torch.Tensor, share: torch.Tensor, smooth: float) -> torch.Tensor:
    """1 less the soft Dice over the batch, mean of the lesion classes that it holds; 0 where it holds none.

    *probability* and *truth* are (N, K + 1, voxels), *share* is (N,).
    """
    # The sums over voxels first, per sample and class; weights and the batch after them, on tiny tensors.
    overlap = ((probability * truth).sum(2) * share[:, None]).sum(0)[1:]
    size = (probability.sum(2) * share[:, None]).sum(0)[1:]
    true_size = (truth.sum(2) * share[:, None]).sum(0)[1:]
    dice = (2 * overlap + smooth) / (size + true_size + smooth)
    present = true_size > 0
    return torch.where(present, 1 - dice, torch.zeros_like(dice)).sum() / present.sum().clamp(min=1)


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
        (N, …) integers from 0 to K, or shares (N, K + 1, …).
    weight : torch.Tensor, optional
        (N,), at least 0; 1 where not given.
    smooth : float
        :math:`\epsilon`.
    """
    with torch.autocast(device_type=logits.device.type, enabled=False):
        values = logits.float()
        share = _sample_weights(values, weight)
        logs = functional.log_softmax(values, dim=1).flatten(2)
        truth = _shares(label, values.shape[1])
        entropy = -(logs * truth).sum(1).mean(1)
        return (share * entropy).mean() + share.mean() * _missing_dice(logs.exp(), truth, share, smooth)


def focal(
    logits: torch.Tensor, label: torch.Tensor, weight: torch.Tensor | None = None, *, gamma: float = 2.0
) -> torch.Tensor:
    r"""Focal loss (Lin et al., ICCV 2017) of a softmax: cross-entropy that cares little for what is already right.

    .. math:: L = \frac1N \sum_i w_i \,\frac1V \sum_v \sum_k t_{ikv} (1 - p_{ikv})^\gamma (-\log p_{ikv})

    Parameters
    ----------
    logits, label, weight
        As for :func:`dice_ce`.
    gamma : float
        :math:`\gamma`, at least 0; 0 gives the cross-entropy.
    """
    with torch.autocast(device_type=logits.device.type, enabled=False):
        values = logits.float()
        logs = functional.log_softmax(values, dim=1).flatten(2)
        truth = _shares(label, values.shape[1])
        # Below gamma = 1 the power has an infinite slope where a probability is exactly 1.
        wrong = (1 - logs.exp()).clamp(min=1e-7) ** gamma
        return (_sample_weights(values, weight) * -(truth * wrong * logs).sum(1).mean(1)).mean()


def unit_range(image: torch.Tensor) -> torch.Tensor:
    """Each series of each *image* (N, C, …) from 0, its smallest value in the patch, to 1, its greatest; float32."""
    values = image.float().flatten(2)
    low, high = values.amin(2, keepdim=True), values.amax(2, keepdim=True)
    # A series of one value becomes 0 throughout.
    return ((values - low) / (high - low).clamp(min=1e-6)).reshape(image.shape)


def mumford_shah(
    probability: torch.Tensor,
    image: torch.Tensor,
    spacing: Sequence[float],
    weight: torch.Tensor | None = None,
    *,
    length: float = 1e-3,
    smooth: float = 1e-6,
) -> torch.Tensor:
    r"""Mumford–Shah functional of a soft segmentation (Kim and Ye, IEEE TIP 2020), as means over voxels.

    With probabilities :math:`y` of the classes :math:`n`, background included, and the image :math:`x`,

    .. math::

        L = \frac1N \sum_i w_i \sum_n \Bigl( \frac1V \sum_v |x_{iv} - \mu_{in}|^2 y_{inv}
        + \lambda \frac1V \sum_v \sum_a \frac{|y_{in,v+a} - y_{inv}|}{s_a} \Bigr),
        \qquad \mu_{in} = \frac{\sum_v x_{iv} y_{inv}}{\sum_v y_{inv} + \epsilon}

    The first summand asks for regions of one intensity each; :math:`|\cdot|^2` is summed over the series. The second is
    the length of the boundary per volume, in 1/mm, by forward differences along every axis :math:`a` (none beyond the
    last voxel), so that it does not change with the grid. No label is needed.

    Parameters
    ----------
    probability : torch.Tensor
        (N, K + 1, …), a softmax.
    image : torch.Tensor
        (N, C, …), from 0 to 1 (:func:`unit_range`).
    spacing : sequence of float
        :math:`s_a` in mm; of three for images of two axes the last two count.
    weight : torch.Tensor, optional
        (N,), at least 0; 1 where not given.
    length : float
        :math:`\lambda`, in mm.
    smooth : float
        :math:`\epsilon`.
    """
    with torch.autocast(device_type=probability.device.type, enabled=False):
        regions, values = probability.float(), image.float().flatten(2)
        voxels = values.shape[2]
        axes = range(2, regions.ndim)
        boundary = sum(
            regions.diff(dim=axis).abs().flatten(1).sum(1) / float(step)
            for axis, step in zip(axes, spacing[-len(axes) :], strict=True)
        )
        flat = regions.flatten(2)
        amount = flat.sum(2)
        mean = torch.einsum("ncv,nkv->nkc", values, flat) / (amount[..., None] + smooth)
        # One class at a time: all squares at once would take as much memory as the network's own maps.
        spread = sum(((values - mean[:, k, :, None]).square().sum(1) * flat[:, k]).sum(1) for k in range(flat.shape[1]))
        return (_sample_weights(regions, weight) * (spread + length * boundary)).mean() / voxels


def focal_dice_ms(
    logits: torch.Tensor,
    label: torch.Tensor,
    image: torch.Tensor,
    spacing: Sequence[float],
    weight: torch.Tensor | None = None,
    *,
    parts: Sequence[float] = (1.0, 1.0, 0.1),
    gamma: float = 2.0,
    length: float = 1e-3,
    smooth: float = 1e-5,
) -> torch.Tensor:
    """Focal, Dice and Mumford–Shah loss together: the PET curriculum paper, which does not say with which weights.

    Dice is that of :func:`dice_ce`. The third part is small by default: it knows intensities and no labels, and pulls
    the outline towards the brightest boundary, which is not always the lesion's.

    Parameters
    ----------
    logits, label, weight
        As for :func:`dice_ce`.
    image : torch.Tensor
        (N, C, …) as the network sees it; brought to [0, 1] by :func:`unit_range`.
    spacing : sequence of float
        Of its grid, in mm.
    parts : sequence of float
        Weights of focal, Dice and Mumford–Shah, in this order; a part of weight 0 is not computed.
    gamma, length
        Of :func:`focal` and :func:`mumford_shah`.
    smooth : float
        Added above and below in the Dice.
    """
    by_focal, by_dice, by_regions = parts
    with torch.autocast(device_type=logits.device.type, enabled=False):
        values = logits.float()
        share = _sample_weights(values, weight)
        probability = values.softmax(1)
        loss = by_focal * focal(values, label, weight, gamma=gamma) if by_focal else values.new_zeros(())
        if by_dice:
            truth = _shares(label, values.shape[1])
            loss = loss + by_dice * share.mean() * _missing_dice(probability.flatten(2), truth, share, smooth)
        if by_regions:
            loss = loss + by_regions * mumford_shah(probability, unit_range(image), spacing, weight, length=length)
        return loss


def weighted_dice(
    logits: torch.Tensor, label: torch.Tensor, weight: torch.Tensor | None = None, *, smooth: float = 1e-5
) -> torch.Tensor:
    r"""Weighted Dice of the three-stage curriculum paper: the rarer a class, the more its Dice counts.

    With :math:`p^c`, :math:`g^c` the sums of a class's probabilities and truth, :math:`p^c g^c` that of their product,
    over all voxels of the batch, each sample's multiplied by its weight :math:`w_i`,

    .. math::

        L = \bar w \Bigl(1 - \frac1{C-1} \sum_{c=1}^C w^c\,\frac{2\,p^c g^c + \epsilon}{p^c + g^c + \epsilon}\Bigr),
        \qquad w^c = \frac{\sum_{i \ne c} g^i + \epsilon}{\sum_i g^i + \epsilon}

    The background is one of the C classes. The :math:`w^c` sum to C − 1, which the paper's two classes do not show:
    divided by it, a perfect prediction costs 0 with any number of classes.

    As published there is next to nothing to learn from a batch without any lesion: its patches must be drawn together
    with others.

    Parameters
    ----------
    logits, label, weight
        As for :func:`dice_ce`.
    smooth : float
        :math:`\epsilon`.
    """
    with torch.autocast(device_type=logits.device.type, enabled=False):
        values = logits.float()
        share = _sample_weights(values, weight)
        probability, truth = values.softmax(1).flatten(2), _shares(label, values.shape[1])
        overlap = ((probability * truth).sum(2) * share[:, None]).sum(0)
        size = (probability.sum(2) * share[:, None]).sum(0)
        true_size = (truth.sum(2) * share[:, None]).sum(0)
        total = true_size.sum()
        rarity = (total - true_size + smooth) / (total + smooth)
        dice = (2 * overlap + smooth) / (size + true_size + smooth)
        return share.mean() * (1 - (rarity * dice).sum() / (len(dice) - 1))


class Loss(Protocol):
    """A loss as a training plan names it: all get everything, and each takes what it needs.

    *options* are the keyword arguments of the function behind it.
    """

    def __call__(
        self,
        logits: torch.Tensor,
        label: torch.Tensor,
        image: torch.Tensor,
        spacing: Sequence[float],
        weight: torch.Tensor | None = None,
        **options: float | Sequence[float],
    ) -> torch.Tensor:
        """The loss; a scalar in float32."""


class _LabelsAlone:
    """A loss that needs neither the image nor its spacing, called like one that does."""

    def __init__(self, function: Callable[..., torch.Tensor]) -> None:
        self.function = function

    def __call__(
        self,
        logits: torch.Tensor,
        label: torch.Tensor,
        image: torch.Tensor,
        spacing: Sequence[float],
        weight: torch.Tensor | None = None,
        **options: float | Sequence[float],
    ) -> torch.Tensor:
        return self.function(logits, label, weight, **options)


LOSSES: Mapping[str, Loss] = {
    "dice-ce": _LabelsAlone(dice_ce),
    "focal-dice-ms": cast("Loss", focal_dice_ms),
    "weighted-dice": _LabelsAlone(weighted_dice),
}
"""The losses a training plan can name."""
