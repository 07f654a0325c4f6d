"""Boxes of the region networks: cubes and corners, the box code, overlap, non-maximum suppression.

Code and overlap are MONAI's. The suppression is ours, because MONAI's asks the device for one number for each box that
it keeps: a loop of Python, and on a GPU a wait at every turn.
"""

from __future__ import annotations

from functools import cache

import torch
from monai.apps.detection.utils.box_coder import BoxCoder
from monai.data.box_utils import box_iou

from napari_dasl.errors import WorkError

# Boxes of falling score are looked at in blocks: among themselves, and what stays against all that are left. Larger
# blocks compare more boxes that are about to go; smaller ones wait more often.
BLOCK = 128


def to_corners(cubes: torch.Tensor) -> torch.Tensor:
    """Corners (R, 2 D) of *cubes* (R, D + 1)."""
    centres, halves = cubes[:, :-1], cubes[:, -1:] / 2
    return torch.cat((centres - halves, centres + halves), dim=1)


def to_cubes(corners: torch.Tensor) -> torch.Tensor:
    """Cubes (R, D + 1) around the boxes *corners* (R, 2 D): same centre, as wide as the longest side."""
    low, high = corners.chunk(2, dim=1)
    return torch.cat(((low + high) / 2, (high - low).amax(dim=1, keepdim=True)), dim=1)


@cache
def _coder(spatial_dims: int) -> BoxCoder:
    """MONAI's box coder, all numbers of the code with weight 1."""
    return BoxCoder((1.0,) * (2 * spatial_dims))


def encode(cubes: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
    """Tell *cubes* (R, D + 1) from *anchors* (R, D + 1): what the box branch learns.

    Returns
    -------
    tensor (R, D + 1)
        Shift of the centre in diameters of the anchor; logarithm of the ratio of the diameters (Girshick et al. 2014,
        appendix C, as MONAI's ``BoxCoder`` writes it; the D sides of a cube share one number).
    """
    dims = cubes.shape[1] - 1
    if not len(cubes):
        return cubes.new_zeros(cubes.shape)
    code: torch.Tensor = _coder(dims).encode_single(to_corners(cubes.float()), to_corners(anchors.float()))
    return code[:, : dims + 1]


def decode(deltas: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
    """Cubes (R, D + 1) that *deltas* (R, D + 1) tell from *anchors* (R, D + 1), in single precision.

    A diameter grows by a factor of 62.5 at most (MONAI's limit), so that a wild number does not become infinite.

    Raises
    ------
    WorkError
        Where *deltas* hold something that is no number.
    """
    dims = anchors.shape[1] - 1
    if not len(deltas):
        return anchors.new_zeros((0, dims + 1), dtype=torch.float32)
    deltas = deltas.float()
    code = torch.cat((deltas[:, :-1], deltas[:, -1:].expand(-1, dims)), dim=1)
    try:
        corners = _coder(dims).decode_single(code, to_corners(anchors.float()))
    except ValueError as error:
        raise WorkError(
            "The network's boxes are not numbers any more.", "Train it again with a lower learning rate."
        ) from error
    return to_cubes(corners)


def iou(corners_a: torch.Tensor, corners_b: torch.Tensor) -> torch.Tensor:
    """Intersection over union (A, B) of each of *corners_a* (A, 2 D) with each of *corners_b* (B, 2 D)."""
    overlap: torch.Tensor = box_iou(corners_a.float(), corners_b.float())
    return overlap


def nms(
    corners: torch.Tensor,
    scores: torch.Tensor,
    threshold: float,
    limit: int | None = None,
    classes: torch.Tensor | None = None,
) -> torch.Tensor:
    """Non-maximum suppression: of boxes that overlap, keep the one with the highest score.

    Equals MONAI's ``non_max_suppression`` with ``box_iou``, ties of scores and of overlaps included: of equal scores
    the first box comes first, and an overlap of exactly *threshold* is no reason to go.

    Parameters
    ----------
    corners : tensor (R, 2 D)
    scores : tensor (R,)
    threshold : float
        Boxes go whose intersection over union with a kept one is above it.
    limit : int, optional
        Most boxes to keep; all without.
    classes : tensor (R,), optional
        Boxes of different classes do not suppress each other.

    Returns
    -------
    tensor (kept,) of int64
        Rows of *corners* by falling score.
    """
    order = torch.argsort(scores, descending=True, stable=True)
    boxes = corners[order].float()
    columns = [column.contiguous() for column in boxes.unbind(1)]
    volumes = _volumes(columns)
    labels = None if classes is None else classes[order]
    kept = order.new_zeros(0)
    left = torch.arange(len(order), device=order.device)
    while len(left) and (limit is None or len(kept) < limit):
        block, left = left[:BLOCK], left[BLOCK:]
        pairs = _overlapping(columns, volumes, labels, block, block, threshold).triu_(1)
        block = block[_survivors(pairs)]
        kept = torch.cat((kept, block))
        left = left[~_overlapping(columns, volumes, labels, block, left, threshold).any(dim=0)]
    return order[kept[:limit]]


def _volumes(columns: list[torch.Tensor]) -> torch.Tensor:
    """Volume of each box; *columns* are the 2 D numbers of all boxes."""
    dims = len(columns) // 2
    volume = columns[dims] - columns[0]
    for axis in range(1, dims):
        volume = volume * (columns[dims + axis] - columns[axis])
    return volume


def _overlapping(
    columns: list[torch.Tensor],
    volumes: torch.Tensor,
    labels: torch.Tensor | None,
    first: torch.Tensor,
    second: torch.Tensor,
    threshold: float,
) -> torch.Tensor:
    """Whether box i of *first* (A,) and j of *second* (B,) overlap by more than *threshold*: bool (A, B).

    Axis by axis and in place: a third of the memory traffic of MONAI's ``box_iou``, whose formula and rounding it is.
    """
    dims = len(columns) // 2
    inside: torch.Tensor | None = None
    for axis in range(dims):
        low, high = columns[axis], columns[dims + axis]
        side = torch.minimum(high[first, None], high[second])
        side.sub_(torch.maximum(low[first, None], low[second])).clamp_(min=0)
        inside = side if inside is None else inside.mul_(side)
    assert inside is not None
    union = (volumes[first, None] + volumes[second]).sub_(inside).add_(torch.finfo(torch.float32).eps)
    overlapping: torch.Tensor = inside.div_(union) > threshold
    return overlapping if labels is None else overlapping & (labels[first, None] == labels[second])


def _survivors(pairs: torch.Tensor) -> torch.Tensor:
    """Boxes that greedy suppression keeps, of one block by falling score: bool (B,).

    *pairs* (B, B) tells whether i, above j, suppresses j. A box stays where no box that stays suppresses it. From "all
    stay" that rule is applied until nothing changes: after t rounds the first t boxes are certainly right, and chains
    of boxes that decide each other are short, so that a few products do what a loop over the boxes would.
    """
    weight = pairs.float()
    stays = weight.new_ones(len(pairs))
    while True:
        after = (stays @ weight < 0.5).float()
        if torch.equal(after, stays):
            return stays.bool()
        stays = after
