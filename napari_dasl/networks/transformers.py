"""UNETR and SwinUNETR: MONAI's, made to take patches of any size, so that the patch may grow while they are trained.

UNETR (Hatamizadeh et al., WACV 2022) adds a learnt vector to each token by its place in the patch; here the vectors
belong to the grid of one patch, ``img_size``, and other patches take theirs by interpolation
(:mod:`napari_dasl.networks.positions`). SwinUNETR (Hatamizadeh et al., BrainLes 2021) has no place in the patch, but a
learnt bias for the offset of two tokens of a window; MONAI reads it wrongly in a window that is cut short because the
patch is small, which is set right here. Both are normalised by instance as published, computed as groups of one
feature: the same numbers, in any memory layout, and also where one voxel is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence  # noqa: TC003
from typing import Any

import torch
from monai.networks.nets import UNETR, SwinUNETR
from torch import nn

from napari_dasl.networks.by_feature import FeatureNorm
from napari_dasl.networks.options import check_common, check_counts
from napari_dasl.networks.positions import resample

UNETR_DIVISOR = 16
SWIN_DIVISOR = 32

_SKIPS = (3, 6, 9)
"""After which of its blocks UNETR takes what the decoder gets, as published."""

_POSITIONS = "vit.patch_embedding.position_embeddings"
_GRID = "position_grid"


class GrowingUNETR(UNETR):  # type: ignore[misc]  # MONAI has no types here
    """MONAI's UNETR for images whose sides are any multiples of :data:`UNETR_DIVISOR`.

    Its weights have MONAI's names, and one more, ``position_grid``: tokens along each axis of the grid that the
    position embeddings belong to. Weights of another grid are interpolated when they are loaded.
    """

    divisor = UNETR_DIVISOR

    def __init__(self, in_channels: int, out_channels: int, img_size: Sequence[int], **options: Any) -> None:
        super().__init__(in_channels, out_channels, img_size, **options)
        for block in self.vit.blocks:
            # No releases of MONAI agree on these, which nothing uses; weights must fit whichever is installed.
            block.norm_cross_attn = block.cross_attn = nn.Identity()
        self.grid: tuple[int, ...] = tuple(int(n) for n in self.feat_size)
        self.register_buffer(_GRID, torch.tensor(self.grid))
        self.register_load_state_dict_pre_hook(_fit_positions)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (N, out_channels, …) of *image* (N, in_channels, …)."""
        grid = _cells(image, UNETR_DIVISOR)
        embedding = self.vit.patch_embedding
        tokens = embedding.patch_embeddings(image).flatten(2).transpose(1, 2)
        tokens = embedding.dropout(tokens + resample(embedding.position_embeddings, self.grid, grid))
        skips = []
        for number, block in enumerate(self.vit.blocks):
            tokens = block(tokens)
            if number in _SKIPS:
                skips.append(_as_image(tokens, grid))
        decoded = self.decoder5(_as_image(self.vit.norm(tokens), grid), self.encoder4(skips[2]))
        decoded = self.decoder4(decoded, self.encoder3(skips[1]))
        decoded = self.decoder3(decoded, self.encoder2(skips[0]))
        logits: torch.Tensor = self.out(self.decoder2(decoded, self.encoder1(image)))
        return logits


class GrowingSwinUNETR(SwinUNETR):  # type: ignore[misc]
    """MONAI's SwinUNETR for images whose sides are any multiples of :data:`SWIN_DIVISOR`.

    The bias of two tokens belongs to their offset, whatever the window they share. MONAI looks it up in the table of
    the full window by the tokens' numbers, and these mean other places in a window of another shape: a network trained
    on small patches would begin the next stage with biases that mean something else.
    """

    divisor = SWIN_DIVISOR

    def __init__(self, in_channels: int, out_channels: int, **options: Any) -> None:
        super().__init__(in_channels, out_channels, **options)
        for stage in self._stages():
            for attention in _attentions(stage):
                # It follows from the image, and is no part of the weights.
                index = attention.relative_position_index
                del attention.relative_position_index
                attention.register_buffer("relative_position_index", index, persistent=False)

    def _stages(self) -> list[nn.Module]:
        swin = self.swinViT
        return [layers[0] for layers in (swin.layers1, swin.layers2, swin.layers3, swin.layers4)]

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (N, out_channels, …) of *image* (N, in_channels, …)."""
        _cells(image, SWIN_DIVISOR)
        for number, stage in enumerate(self._stages()):
            sides = [side // 2 ** (number + 1) for side in image.shape[2:]]
            full = tuple(int(side) for side in stage.window_size)
            index = offsets([min(a, b) for a, b in zip(sides, full, strict=True)], full).to(image.device)
            for attention in _attentions(stage):
                attention.relative_position_index = index
        logits: torch.Tensor = super().forward(image)
        return logits


def offsets(window: Sequence[int], full: Sequence[int]) -> torch.Tensor:
    """Where the bias of each pair of tokens of a window is, in the table of the *full* window.

    Parameters
    ----------
    window, full : sequence of int
        Tokens along each axis; *window* is nowhere longer than *full*.

    Returns
    -------
    torch.Tensor
        (tokens of *window*, the same) int64.
    """
    axes = torch.meshgrid(*(torch.arange(n) for n in window), indexing="ij")
    number = torch.zeros((), dtype=torch.int64)
    for places, length in zip(axes, full, strict=True):
        flat = places.flatten()
        number = number * (2 * length - 1) + (flat[:, None] - flat[None, :] + length - 1)
    return number


def resize_state(
    network: nn.Module, state: Mapping[str, torch.Tensor], patch: Sequence[int]
) -> dict[str, torch.Tensor]:
    """The weights *state* for the *network* as built for another *patch*: position embeddings on its grid.

    Of a network without position embeddings, nothing changes. Between the stages of a training nobody needs to call it:
    the network takes patches of any size, and loading weights of another patch calls it.

    Parameters
    ----------
    network : nn.Module
        Any of the registry.
    state : mapping
        Its ``state_dict``, or that of the same network built for another patch.
    patch : sequence of int
        Voxels along each axis, multiples of the network's divisor.

    Raises
    ------
    ValueError
        Where the sides of *patch* are no such multiples.
    """
    resized = dict(state)
    if not isinstance(network, GrowingUNETR):
        return resized
    axes = len(network.grid)
    if len(patch) != axes or any(side < 1 or side % UNETR_DIVISOR for side in patch):
        raise ValueError(f"patch {list(patch)} must be a multiple of {UNETR_DIVISOR} along {axes} axes")
    target = [side // UNETR_DIVISOR for side in patch]
    positions, grid = state.get(_POSITIONS), state.get(_GRID)
    # What does not fit together is left as it is, for torch to refuse.
    if positions is not None and grid is not None and len(grid) == axes and positions.shape[1] == grid.prod():
        resized[_POSITIONS] = resample(positions.detach(), grid.tolist(), target)
        resized[_GRID] = torch.tensor(target, device=grid.device)
    return resized


def _fit_positions(network: GrowingUNETR, state: dict[str, torch.Tensor], prefix: str, *_: Any) -> None:
    """Before weights are loaded: position embeddings of another grid become those of the network's own."""
    own = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    fitted = resize_state(network, own, [UNETR_DIVISOR * n for n in network.grid])
    state.update({prefix + name: value for name, value in fitted.items()})


def _cells(image: torch.Tensor, divisor: int) -> tuple[int, ...]:
    """Cells of *divisor* voxels along each axis of *image* (N, C, …)."""
    sides = tuple(image.shape[2:])
    if any(side % divisor for side in sides):
        raise ValueError(f"the sides of an image must be multiples of {divisor}, and are {list(sides)}")
    return tuple(side // divisor for side in sides)


def _as_image(tokens: torch.Tensor, grid: Sequence[int]) -> torch.Tensor:
    """(N, tokens, F) as (N, F, …grid)."""
    return tokens.transpose(1, 2).reshape(tokens.shape[0], tokens.shape[2], *grid)


def _attentions(stage: nn.Module) -> list[nn.Module]:
    return [block.attn for block in stage.blocks]


def _norm_by_feature(network: nn.Module) -> None:
    """Put :class:`~napari_dasl.networks.by_feature.FeatureNorm` in place of every instance normalisation."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.InstanceNorm2d | nn.InstanceNorm3d):
                setattr(module, name, FeatureNorm(child.num_features, eps=child.eps, affine=child.affine))


def unetr(
    in_channels: int,
    out_channels: int,
    spatial_dims: int = 3,
    *,
    img_size: Sequence[int] | int = 96,
    features: int = 16,
    hidden: int = 768,
    mlp: int = 3072,
    heads: int = 12,
    dropout: float = 0.0,
) -> nn.Module:
    """Build a UNETR; the defaults are those published.

    Parameters
    ----------
    in_channels, out_channels : int
        Series of a case; classes and background.
    spatial_dims : int
        2 or 3.
    img_size : int or sequence of int
        Sides of the patch whose grid the position embeddings belong to: the largest one of the training plan.
    features : int
        Of the decoder at full resolution.
    hidden, mlp, heads : int
        Width of a token, of the layer in between, and how many heads share the width.
    dropout : float
        How often a value of a token is set to 0 while training, from 0 to below 1.

    Raises
    ------
    ValueError
        Where a side is no multiple of :data:`UNETR_DIVISOR`, or an option has a value it cannot have.
    """
    check_common(spatial_dims, dropout)
    sides = (img_size,) * spatial_dims if isinstance(img_size, int) else tuple(img_size)
    if len(sides) != spatial_dims or any(side < 1 or side % UNETR_DIVISOR for side in sides):
        raise ValueError(f"img_size must have {spatial_dims} sides that are multiples of {UNETR_DIVISOR}: {img_size}")
    check_counts(features=features, hidden=hidden, mlp=mlp, heads=heads)
    if hidden % heads:
        raise ValueError(f"hidden is {hidden}, and must be a multiple of heads, which is {heads}")
    network = GrowingUNETR(
        in_channels,
        out_channels,
        sides,
        feature_size=features,
        hidden_size=hidden,
        mlp_dim=mlp,
        num_heads=heads,
        norm_name="instance",
        dropout_rate=dropout,
        spatial_dims=spatial_dims,
    )
    _norm_by_feature(network)
    return network


def swin_unetr(
    in_channels: int,
    out_channels: int,
    spatial_dims: int = 3,
    *,
    features: int = 24,
    depths: Sequence[int] = (2, 2, 2, 2),
    heads: Sequence[int] = (3, 6, 12, 24),
    window: int = 7,
    dropout: float = 0.0,
) -> nn.Module:
    """Build a SwinUNETR.

    Parameters
    ----------
    in_channels, out_channels : int
        Series of a case; classes and background.
    spatial_dims : int
        2 or 3.
    features : int
        Width of a token of the first stage, a multiple of 12; each later stage has twice as many. Published: 48.
    depths, heads : sequence of int
        Blocks and heads of each of the four stages.
    window : int
        Side of a window of attention, in tokens.
    dropout : float
        How often a value of the deepest stage is set to 0 while training, from 0 to below 1.

    Raises
    ------
    ValueError
        Where an option has a value it cannot have.
    """
    check_common(spatial_dims, dropout)
    if len(depths) != 4 or len(heads) != 4 or min(*depths, *heads) < 1 or window < 2:
        raise ValueError("depths and heads must have four numbers of at least 1, and window be at least 2")
    if features < 1 or any(features * 2**stage % count for stage, count in enumerate(heads)):
        raise ValueError("features, doubled at each stage, must be a multiple of the heads of the stage")
    network = GrowingSwinUNETR(
        in_channels,
        out_channels,
        feature_size=features,
        depths=tuple(depths),
        num_heads=tuple(heads),
        window_size=window,
        norm_name="instance",
        spatial_dims=spatial_dims,
    )
    for module in network.swinViT.layers4.modules():
        if isinstance(module, nn.Dropout):
            module.p = dropout
    _norm_by_feature(network)
    return network
