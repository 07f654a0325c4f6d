"""Features of regions, aligned or pooled, beside what a loop over every cell finds."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from napari_dasl.networks.region.roi import roi_align, roi_pool

BOTH = pytest.mark.parametrize("resize", [roi_align, roi_pool])


def ramp(*shape: int) -> torch.Tensor:
    """One image whose features are the coordinates of the voxels' centres: (1, D, …)."""
    return torch.stack(torch.meshgrid(*(torch.arange(side) + 0.5 for side in shape), indexing="ij"))[None]


def boxes(count: int, dims: int, low: float, high: float, widest: float) -> torch.Tensor:
    start = torch.rand(count, dims) * (high - low - widest) + low
    return torch.cat((start, start + torch.rand(count, dims) * (widest - 1) + 1), dim=1)


@pytest.mark.parametrize("dims", [2, 3])
def test_aligned_features_are_those_at_the_centres_of_the_cells(dims):
    """Between the voxels' centres a ramp is interpolated exactly, so that the answer is known at any place."""
    torch.manual_seed(0)
    shape, size = (20, 24, 28)[:dims], (3, 5, 4)[:dims]
    corners = boxes(6, dims, 1, 19, 9)
    found = roi_align(ramp(*shape), corners, torch.zeros(6, dtype=torch.long), size)
    assert found.shape == (6, dims, *size)
    for region, cell in itertools.product(range(6), itertools.product(*map(range, size))):
        for axis in range(dims):
            low, high = corners[region, axis], corners[region, dims + axis]
            expected = low + (cell[axis] + 0.5) / size[axis] * (high - low)
            assert float(found[(region, axis, *cell)]) == pytest.approx(float(expected), abs=1e-4)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_region_of_whole_voxels_is_a_copy(dims):
    image = torch.randn(1, 3, *(12,) * dims)
    corners = torch.tensor([[2.0] * dims + [6.0] * dims])
    part = image[(0, slice(None), *(slice(2, 6),) * dims)]
    for resize in (roi_align, roi_pool):
        torch.testing.assert_close(resize(image, corners, torch.tensor([0]), 4)[0], part, atol=1e-5, rtol=1e-5)


@BOTH
def test_a_region_reads_its_own_image(resize):
    images = torch.arange(3.0)[:, None, None, None, None].expand(3, 2, 8, 8, 8) + 1
    corners = torch.tensor([[1.0, 1, 1, 5, 5, 5]]).expand(4, 6)
    found = resize(images, corners, torch.tensor([2, 0, 2, 1]), 3)
    assert found.mean(dim=(1, 2, 3, 4)).tolist() == pytest.approx([3, 1, 3, 2])
    assert float(found[0].std()) == pytest.approx(0, abs=1e-6)


@BOTH
@pytest.mark.parametrize("dims", [2, 3])
def test_outside_the_image_there_is_nothing(resize, dims):
    """Half of the first region hangs over the first edge, all of the second lies beyond the last."""
    image = torch.ones(1, 1, *(8,) * dims)
    corners = torch.tensor([[-4.0] + [0.0] * (dims - 1) + [4.0] * dims, [20.0] * dims + [24.0] * dims])
    found = resize(image, corners, torch.tensor([0, 0]), 4)[:, 0]
    assert torch.all(found[0, :2] == 0)
    torch.testing.assert_close(found[0, 2:], torch.ones_like(found[0, 2:]))
    assert torch.all(found[1] == 0)


@pytest.mark.parametrize("dims", [2, 3])
def test_pooled_features_are_the_maxima_of_the_cells(dims):
    torch.manual_seed(2)
    image, size = torch.randn(2, 3, *(18, 15, 16)[:dims]) - 5, (2, 4, 3)[:dims]
    corners, index = boxes(10, dims, -4, 20, 12), torch.arange(10) % 2
    found = roi_pool(image, corners, index, size)
    for region, cell in itertools.product(range(10), itertools.product(*map(range, size))):
        part = image[index[region]]
        for axis in range(dims):
            low, high = math.floor(corners[region, axis]), math.ceil(corners[region, dims + axis])
            first = low + math.floor(cell[axis] * (high - low) / size[axis])
            last = low + math.ceil((cell[axis] + 1) * (high - low) / size[axis])
            voxels = [i for i in range(first, last) if 0 <= i < image.shape[2 + axis]]
            part = part.index_select(1 + axis, torch.tensor(voxels, dtype=torch.long))
        expected = part.flatten(1).amax(dim=1) if part.numel() else torch.zeros(3)
        assert torch.equal(found[(region, slice(None), *cell)], expected)


@BOTH
def test_a_speck_within_one_voxel_has_features(resize):
    image = torch.full((1, 1, 6, 6, 6), 2.0)
    found = resize(image, torch.tensor([[3.2, 3.2, 3.2, 3.4, 3.4, 3.4]]), torch.tensor([0]), 3)
    torch.testing.assert_close(found, torch.full((1, 1, 3, 3, 3), 2.0))


@BOTH
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_the_gradient_gives_every_voxel_its_share(resize, layout):
    """Either is linear where the maxima stay: the features weighed with their gradient are the weighted answer."""
    torch.manual_seed(3)
    image = torch.randn(2, 3, 10, 12, 9).to(memory_format=layout).requires_grad_()
    corners, index = boxes(5, 3, -2, 11, 6), torch.tensor([0, 1, 1, 0, 1])
    found = resize(image, corners, index, 4)
    weights = torch.randn_like(found)
    answer = (found * weights).sum()
    answer.backward()
    torch.testing.assert_close((image.grad * image).sum(), answer, rtol=1e-3, atol=1e-3)
    assert torch.count_nonzero(image.grad) > 50


@BOTH
def test_an_image_without_a_region_gets_no_gradient(resize):
    image = torch.randn(2, 1, 6, 6, requires_grad=True)
    resize(image, torch.tensor([[1.0, 1.0, 5.0, 5.0]]), torch.tensor([1]), 2).sum().backward()
    assert torch.all(image.grad[0] == 0)
    assert torch.any(image.grad[1] != 0)


@BOTH
def test_no_region_is_no_feature(resize):
    found = resize(torch.zeros(1, 5, 8, 8, 8), torch.zeros(0, 6), torch.zeros(0, dtype=torch.long), (2, 3, 4))
    assert found.shape == (0, 5, 2, 3, 4)


@BOTH
def test_half_precision_features_stay_so_and_places_do_not_suffer(resize):
    """In half precision itself, places beyond voxel 256 would be rounded to whole pairs of voxels."""
    image = torch.zeros(1, 1, 4, 400)
    image[..., 301] = 1
    corners, index = torch.tensor([[1.0, 300.0, 3.0, 304.0]]), torch.tensor([0])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = resize(image.bfloat16(), corners, index, (1, 4))
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found[0, 0, 0].float(), torch.tensor([0.0, 1.0, 0.0, 0.0]), atol=0.01, rtol=0)
