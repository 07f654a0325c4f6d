"""Features of regions of interest, each resized to the same small grid: RoI align and RoI pool, in 2D and 3D.

torchvision has both for 2D only. These are plain torch: on a CPU and a GPU, with gradients.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence  # noqa: TC003

import torch
import torch.nn.functional as F


def roi_align(
    features: torch.Tensor,
    corners: torch.Tensor,
    image_index: torch.Tensor,
    size: int | Sequence[int],
) -> torch.Tensor:
    """Interpolate features at the centres of an even grid in each region (He et al. 2017, Mask R-CNN, section 3).

    The place and width of a region may be any numbers: nothing is rounded. A point outside the image counts 0. One
    point a cell is right for cells of up to about two voxels, which those of masks are.

    Parameters
    ----------
    features : tensor (N, F, …)
    corners : tensor (R, 2 D)
        In voxels of *features*: voxel i spans [i, i + 1).
    image_index : int tensor (R,)
        Which of the N images each region lies in.
    size : int or D int
        Cells of the answer along each axis.

    Returns
    -------
    tensor (R, F, *size)
        As precise as *features*; interpolated in single precision. On a GPU, the sums of its gradient are in no fixed
        order (torch's ``grid_sample``).
    """
    cells = _cells(size, features)
    points, inside = _grid(corners.float(), cells, features.shape[2:])
    sampled = features.new_zeros((len(corners), features.shape[1], *points.shape[1:-1]), dtype=torch.float32)
    with torch.autocast(features.device.type, enabled=False):
        # Split once: a slice for each image would have a gradient of the size of all images.
        for image, one in enumerate(features.split(1)):
            rows = torch.nonzero(image_index == image)[:, 0]
            if not len(rows):
                continue
            # The regions of an image lie behind one another along the first axis, so that its features are not copied.
            stacked = points[rows].flatten(0, 1)[None]
            values = F.grid_sample(one.float(), stacked, padding_mode="border", align_corners=False)
            values = values[0].unflatten(1, (len(rows), points.shape[1])).transpose(0, 1)
            sampled = sampled.index_put((rows,), values * inside[rows, None])
    return sampled.to(features.dtype)


def _cells(size: int | Sequence[int], features: torch.Tensor) -> tuple[int, ...]:
    """*size* for each axis of *features* (N, F, …)."""
    return (size,) * (features.ndim - 2) if isinstance(size, int) else tuple(size)


def _grid(corners: torch.Tensor, steps: Sequence[int], shape: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Centres of *steps* cells in each box, as ``grid_sample`` wants them: (R, *steps, D), last axis first, in [-1, 1].

    Besides, whether each lies in an image of *shape* voxels: bool (R, *steps).
    """
    low, high = corners.chunk(2, dim=1)
    axes, within = [], []
    for axis, (count, voxels) in enumerate(zip(steps, shape, strict=True)):
        fraction = (torch.arange(count, device=corners.device, dtype=corners.dtype) + 0.5) / count
        position = low[:, axis, None] + fraction * (high - low)[:, axis, None]
        view = [len(corners), *(count if other == axis else 1 for other in range(len(steps)))]
        axes.append((2 * position / voxels - 1).reshape(view).expand(-1, *steps))
        within.append(((position >= 0) & (position <= voxels)).reshape(view))
    inside = within[0]
    for other in within[1:]:
        inside = inside & other
    return torch.stack(axes[::-1], dim=-1), inside


def roi_pool(
    features: torch.Tensor, corners: torch.Tensor, image_index: torch.Tensor, size: int | Sequence[int]
) -> torch.Tensor:
    """Take the maximum over the voxels of each cell of each region (Girshick 2015, Fast R-CNN; the DASL paper's).

    A region is widened to whole voxels first, so that small lesions shift by up to half a voxel; ``roi_align`` does not
    do that. Voxels outside the image count nothing, and a cell without any voxel is 0.

    Parameters and answer are those of ``roi_align``.
    """
    cells = _cells(size, features)
    if not len(corners):
        return features.new_zeros((0, features.shape[1], *cells))
    found = [
        _highest(features, corner, image, cells)
        for corner, image in zip(corners.tolist(), image_index.tolist(), strict=True)
    ]
    places, empty = torch.stack([place for place, _ in found]), torch.stack([none for _, none in found])
    # The places are found without a gradient and read once: a gradient through each region's own maximum would be as
    # large as the features, times the number of regions.
    rows = (slice(None), *(None,) * (1 + len(cells)))
    channels = torch.arange(features.shape[1], device=features.device)[(slice(None), *(None,) * len(cells))]
    values = features[(image_index[rows], channels, *places.unbind(1))]
    return torch.where(empty, 0, values)


@torch.no_grad()  # type: ignore[untyped-decorator]  # torch has no types here
def _highest(
    features: torch.Tensor, corner: list[float], image: int, cells: tuple[int, ...]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Find the voxel of the maximum of each cell of one region.

    Returns
    -------
    int64 tensor (D, F, *cells), bool tensor (F, *cells)
        Coordinates of the voxel; whether the cell has none, in which case they are 0.
    """
    dims, shape = len(cells), features.shape[2:]
    low = [math.floor(value) for value in corner[:dims]]
    high = [max(math.ceil(top), bottom + 1) for top, bottom in zip(corner[dims:], low, strict=True)]
    within = [slice(max(a, 0), min(b, side)) for a, b, side in zip(low, high, shape, strict=True)]
    if any(part.stop <= part.start for part in within):
        none = features.new_ones((features.shape[1], *cells), dtype=torch.bool)
        return none.new_zeros((dims, *none.shape), dtype=torch.int64), none
    region = features[(image, slice(None), *within)]
    missing = [(part.start - a, b - part.stop) for part, a, b in zip(within, low, high, strict=True)]
    if any(side for pair in missing for side in pair):
        region = F.pad(region, [side for pair in missing[::-1] for side in pair], value=-torch.inf)
    pool = F.adaptive_max_pool3d if dims == 3 else F.adaptive_max_pool2d
    highest, index = pool(region, cells, return_indices=True)
    empty = highest.isneginf()
    inside = torch.stack(torch.unravel_index(index, region.shape[1:]))
    place = inside + torch.tensor(low, device=index.device)[(slice(None), *(None,) * index.ndim)]
    return place.masked_fill(empty, 0), empty


POOLINGS: dict[str, Callable[..., torch.Tensor]] = {"align": roi_align, "pool": roi_pool}
"""The choices of the option ``pooling``."""
