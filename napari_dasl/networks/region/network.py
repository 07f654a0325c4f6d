"""The region network: one pass over an image gives boxes with scores, and a mask for any region one asks for.

With ``backbone="dense"`` it is the Nodule R-CNN of Wang et al. 2018 (MICCAI, "Deep active self-paced learning for
accurate pulmonary nodule segmentation"): each of the three anchors of a cell of stride 4 gives class logits and
(Δz, Δy, Δx, Δ log d). With ``backbone="resnet50"``, ``refine=True`` and two dimensions it is the Mask R-CNN of He et
al. 2017. Classes are told apart by K sigmoids, so that one class makes the paper's five numbers an anchor.
"""

from __future__ import annotations

from collections.abc import Sequence  # noqa: TC003
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from napari_dasl.networks.region.anchors import anchor_cubes
from napari_dasl.networks.region.backbones import BACKBONES, Pyramid
from napari_dasl.networks.region.boxes import decode, nms, to_corners
from napari_dasl.networks.region.heads import PRIOR, AnchorHead, MaskHead, RefineHead, prior_bias
from napari_dasl.networks.region.roi import POOLINGS

_CANDIDATES = 1000
_PROPOSAL_OVERLAP = 0.7
_REGIONS_AT_ONCE = 32


class RegionOutput(NamedTuple):
    """What a region network says of N images.

    Attributes
    ----------
    logits : torch.Tensor
        (N, A, K): of each anchor, for each class; a sigmoid makes it a probability.
    deltas : torch.Tensor
        (N, A, D + 1): from the anchor to the lesion, as :func:`~napari_dasl.networks.region.boxes.encode` writes it.
    fine : torch.Tensor
        (N, F, …): features at the resolution of the image, for the masks.
    semantic : torch.Tensor or None
        (N, K + 1, …): logits of the auxiliary head, background first.
    levels : list of torch.Tensor
        (N, width, … / stride): the pyramid.
    """

    logits: torch.Tensor
    deltas: torch.Tensor
    fine: torch.Tensor
    semantic: torch.Tensor | None
    levels: list[torch.Tensor]


@dataclass(frozen=True)
class Detections:
    """Lesions found in one image, by falling score.

    Attributes
    ----------
    cubes : torch.Tensor
        (R, D + 1) float32, voxels.
    scores : torch.Tensor
        (R,) float32, from 0 to 1.
    classes : torch.Tensor
        (R,) int64, from 0.
    masks : torch.Tensor
        (R, M, …) float32 probabilities over the region of side ``roi_scale`` d around each cube; (0, M, …) where masks
        were not asked for.
    """

    cubes: torch.Tensor
    scores: torch.Tensor
    classes: torch.Tensor
    masks: torch.Tensor


def scaled(cubes: torch.Tensor, factor: float) -> torch.Tensor:
    """*cubes* (R, D + 1) with diameters *factor* times as long."""
    return torch.cat((cubes[:, :-1], cubes[:, -1:] * factor), dim=1)


def _precision_of(features: torch.Tensor) -> AbstractContextManager[object]:
    """The autocast in which *features* were made, so that heads called after the forward pass compute like it."""
    if features.dtype == torch.float32:
        return nullcontext()
    context: AbstractContextManager[object] = torch.autocast(features.device.type, features.dtype)
    return context


class RegionNetwork(nn.Module):  # type: ignore[misc]  # torch has no types here
    """A backbone and its heads.

    Parameters
    ----------
    backbone : nn.Module
        One of :data:`~napari_dasl.networks.region.backbones.BACKBONES`.
    spatial_dims, classes : int
        D, and K without the background.
    anchor_sizes : sequence of float
        Diameters of the anchors of a cell, in voxels.
    mask_size : int
        Cells of a mask along each axis.
    mask_layers : int
        Convolutions of the mask branch before its last.
    roi_scale : float
        Side of a region in diameters of its cube: above 1, because a box may be too small or beside the lesion.
    refine : bool
        Whether a second stage scores and corrects the boxes from pooled features.
    semantic : bool
        Whether every voxel is classified as well.
    pooling : str
        How regions are cut out of features: one of :data:`~napari_dasl.networks.region.roi.POOLINGS`.
    guided : bool
        Whether an anchor's logits add to the highest that the semantic head says around its cell. Deep features alone
        learn slowly to find lesions of a few pixels in few scans.
    """

    def __init__(
        self,
        backbone: nn.Module,
        spatial_dims: int,
        classes: int,
        *,
        anchor_sizes: Sequence[float],
        mask_size: int,
        mask_layers: int,
        roi_scale: float,
        refine: bool,
        semantic: bool,
        pooling: str,
        guided: bool,
    ) -> None:
        super().__init__()
        self.spatial_dims, self.classes = spatial_dims, classes
        self.anchor_sizes = tuple(float(size) for size in anchor_sizes)
        self.mask_size, self.roi_scale = mask_size, float(roi_scale)
        self.strides: tuple[int, ...] = tuple(backbone.strides)  # type: ignore[arg-type]
        self.divisor: int = int(backbone.divisor)  # type: ignore[arg-type]
        width, features = int(backbone.width), int(backbone.features)  # type: ignore[arg-type]
        self.backbone = backbone
        self.head = AnchorHead(spatial_dims, width, len(self.anchor_sizes), classes)
        self.mask_head = MaskHead(spatial_dims, features, classes, mask_size, mask_layers, pooling)
        kind = nn.Conv3d if spatial_dims == 3 else nn.Conv2d
        self.semantic = kind(features, classes + 1, 1) if semantic else None
        if self.semantic is not None:
            # From 1/2, the cross-entropy of the background ends what the Dice of small lesions has begun: after 120
            # steps on lung nodules the soft Dice was 0.64 with this and 0.42 without, on MS lesions 0.10 and 0.03.
            nn.init.constant_(self.semantic.bias, prior_bias(PRIOR))
            nn.init.zeros_(self.semantic.bias[:1])
        self.guided = guided
        if guided:
            nn.init.zeros_(self.head.score.bias)  # the semantic head already says how rare lesions are
        size, hidden = (7, 256) if spatial_dims == 2 else (5, 128)
        second = RefineHead(spatial_dims, width, classes, self.strides, size, hidden, pooling) if refine else None
        self.refine = second

    def forward(self, image: torch.Tensor) -> RegionOutput:
        """What the network says of *image* (N, C, …), whose sides are multiples of ``divisor``.

        Boxes are found on the finest level alone, with anchors of every size: lesions are small, and the pyramid
        brings what the deeper levels know down to it.
        """
        pyramid: Pyramid = self.backbone(image)
        logits, deltas = self.head(pyramid.levels[0])
        fine = pyramid.fine
        semantic = None if self.semantic is None else self.semantic(fine)
        if self.guided and semantic is not None:
            logits = logits + self._guide(semantic)
        if image.device.type != "meta" and torch.is_autocast_enabled(image.device.type):
            # A normalisation may have answered in float32; the type tells later calls how to compute.
            fine = fine.to(torch.get_autocast_dtype(image.device.type))
        return RegionOutput(logits, deltas, fine, semantic, pyramid.levels)

    def _guide(self, semantic: torch.Tensor) -> torch.Tensor:
        """What *semantic* says around each anchor's cell, (N, A, K): the maximum over twice its width; no gradient."""
        said = semantic.detach()
        stride, pool = self.strides[0], functional.max_pool3d if self.spatial_dims == 3 else functional.max_pool2d
        highest = pool(said[:, 1:] - said[:, :1], 2 * stride, stride, stride // 2).movedim(1, -1).flatten(1, -2)
        return highest.repeat_interleave(len(self.anchor_sizes), dim=1)

    def anchors(self, shape: Sequence[int]) -> torch.Tensor:
        """The anchors (A, D + 1) of an image of *shape* voxels, where the network's weights are."""
        device = self.head.score.bias.device
        return anchor_cubes(shape, self.strides[0], self.anchor_sizes, device)  # type: ignore[arg-type]

    def mask_logits(
        self, fine: torch.Tensor, cubes: torch.Tensor, image_index: torch.Tensor, classes: torch.Tensor
    ) -> torch.Tensor:
        """Mask logits (R, M, …) over the regions of side ``roi_scale`` d around *cubes* (R, D + 1).

        Parameters
        ----------
        fine : torch.Tensor
            Of the forward pass, (N, F, …).
        cubes : torch.Tensor
            (R, D + 1), voxels; no gradient flows into them.
        image_index, classes : torch.Tensor
            (R,) integers: of which image, and the mask of which class.
        """
        if not len(cubes):
            return fine.new_zeros((0, *(self.mask_size,) * self.spatial_dims))
        with _precision_of(fine):
            logits = self.mask_head(fine, scaled(cubes.detach(), self.roi_scale), image_index, self.semantic)
        chosen: torch.Tensor = logits[torch.arange(len(logits), device=logits.device), classes]
        return chosen

    def refined(
        self, output: RegionOutput, cubes: torch.Tensor, image_index: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Class logits (R, K) and deltas (R, D + 1) of the second stage for *cubes* (R, D + 1), in float32.

        Raises
        ------
        ValueError
            Where the network was built without a second stage.
        """
        if self.refine is None:
            raise ValueError("this network has no second stage; build it with refine=True")
        with _precision_of(output.fine):
            logits, deltas = self.refine(output.levels, scaled(cubes.detach(), self.roi_scale), image_index)
        return logits.float(), deltas.float()

    @torch.no_grad()  # type: ignore[untyped-decorator]  # torch has no types here
    def detect(
        self,
        output: RegionOutput,
        shape: Sequence[int],
        *,
        score: float = 0.05,
        nms: float = 0.3,
        limit: int = 50,
        masks: bool = True,
    ) -> list[Detections]:
        """The lesions of each of the N images of *output*.

        Parameters
        ----------
        output : RegionOutput
        shape : sequence of int
            Voxels of an image.
        score : float
            Lowest score; with a second stage, the geometric mean of the scores of both.
        nms : float
            Overlap (intersection over union) above which of two cubes of a class the better alone stays.
        limit : int
            Most lesions for an image.
        masks : bool
            Whether to draw the masks.
        """
        anchors = self.anchors(shape)
        return [self._detect_one(output, i, anchors, score, nms, limit, masks) for i in range(len(output.logits))]

    def _detect_one(
        self,
        output: RegionOutput,
        image: int,
        anchors: torch.Tensor,
        threshold: float,
        overlap: float,
        limit: int,
        masks: bool,
    ) -> Detections:
        """The lesions of the image number *image*."""
        scores, flat = _best(output.logits[image].float().sigmoid().flatten(), threshold)
        rows, classes = flat // self.classes, flat % self.classes
        cubes = decode(output.deltas[image, rows], anchors[rows])
        if self.refine is not None and len(cubes):
            kept = nms(to_corners(cubes), scores, _PROPOSAL_OVERLAP, limit=4 * limit, classes=classes)
            cubes, scores, classes = cubes[kept], scores[kept], classes[kept]
            logits, deltas = self.refined(output, cubes, cubes.new_full((len(cubes),), image, dtype=torch.long))
            second = logits.sigmoid().gather(1, classes[:, None])[:, 0]
            cubes, scores = decode(deltas, cubes), (scores * second).sqrt()
            good = scores > threshold
            cubes, scores, classes = cubes[good], scores[good], classes[good]
        kept = nms(to_corners(cubes), scores, overlap, limit=limit, classes=classes)
        cubes, scores, classes = cubes[kept], scores[kept], classes[kept]
        return Detections(cubes, scores, classes, self.draw(output, image, cubes if masks else cubes[:0], classes))

    @torch.no_grad()  # type: ignore[untyped-decorator]  # torch has no types here
    def draw(self, output: RegionOutput, image: int, cubes: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        """Mask probabilities (R, M, …), float32, of *cubes* (R, D + 1) in the image number *image* of *output*.

        A few at a time, because every region is as large as a patch.
        """
        drawn = [output.fine.new_zeros((0, *(self.mask_size,) * self.spatial_dims), dtype=torch.float32)]
        one = output.fine[image : image + 1]
        for some, kinds in zip(cubes.split(_REGIONS_AT_ONCE), classes.split(_REGIONS_AT_ONCE), strict=False):
            index = kinds.new_zeros(len(some))
            drawn.append(self.mask_logits(one, some, index, kinds[: len(some)]).float().sigmoid())
        return torch.cat(drawn)


def _best(scores: torch.Tensor, threshold: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The highest of *scores* that are above *threshold*, by falling score, and where they stand."""
    above = torch.nonzero(scores > threshold)[:, 0]
    best, order = scores[above].topk(min(_CANDIDATES, len(above)))
    return best, above[order]


def region_network(
    in_channels: int,
    out_channels: int,
    spatial_dims: int = 3,
    *,
    backbone: str = "dense",
    anchor_sizes: Sequence[float] = (6.0, 12.0, 24.0),
    mask_size: int | None = None,
    mask_layers: int = 2,
    roi_scale: float = 2.0,
    refine: bool = False,
    semantic: bool = True,
    pooling: str = "align",
    guided: bool = False,
    **options: Any,
) -> RegionNetwork:
    """Build a region network.

    Parameters
    ----------
    in_channels, out_channels : int
        Series of a case; classes and background.
    spatial_dims : int
        2 or 3.
    backbone : str
        ``dense`` (options growth, blocks, stem, width, features, dropout) or ``resnet50`` (layers, planes, width,
        features, dropout).
    anchor_sizes : sequence of float
        Voxels of the network's grid; those of a training plan come from its lesions.
    mask_size : int, optional
        24 in volumes and 32 on slices where not given.
    mask_layers, roi_scale, refine, semantic, pooling, guided
        As :class:`RegionNetwork`.
    **options
        Of the backbone.

    Raises
    ------
    ValueError, TypeError
        Where a number is out of its range, or nothing takes an option.
    """
    if spatial_dims not in (2, 3):
        raise ValueError(f"spatial_dims is {spatial_dims}, and must be 2 or 3")
    if backbone not in BACKBONES:
        raise ValueError(f"backbone is {backbone!r}; choose one of {', '.join(BACKBONES)}")
    if guided and not semantic:
        raise ValueError("guided needs semantic")
    if pooling not in POOLINGS:
        raise ValueError(f"pooling is {pooling!r}; choose one of {', '.join(POOLINGS)}")
    if in_channels < 1 or out_channels < 2:
        raise ValueError("a detector needs at least one series and one class besides the background")
    if not anchor_sizes or min(anchor_sizes) <= 0:
        raise ValueError("anchor_sizes must be one or more numbers above 0")
    size = mask_size if mask_size is not None else (24 if spatial_dims == 3 else 32)
    if size < 4 or mask_layers < 1 or roi_scale < 1:
        raise ValueError("mask_size must be at least 4, mask_layers and roi_scale at least 1")
    if not 0 <= options.get("dropout", 0.0) < 1:
        raise ValueError(f"dropout is {options['dropout']}, and must be at least 0 and below 1")
    trunk = BACKBONES[backbone](in_channels, spatial_dims, **options)
    return RegionNetwork(
        trunk,
        spatial_dims,
        out_channels - 1,
        anchor_sizes=anchor_sizes,
        mask_size=size,
        mask_layers=mask_layers,
        roi_scale=roi_scale,
        refine=refine,
        semantic=semantic,
        pooling=pooling,
        guided=guided,
    )
