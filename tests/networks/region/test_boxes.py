"""The boxes of the region networks: two forms, one code, MONAI's overlap, and suppression that equals MONAI's."""

from __future__ import annotations

import math

import pytest
import torch
from monai.apps.detection.utils.box_coder import BoxCoder
from monai.data.box_utils import batched_nms, non_max_suppression

from napari_dasl.errors import WorkError
from napari_dasl.networks.region import boxes


def random_cubes(count: int, dims: int = 3, *, whole: bool = False, side: float = 64) -> torch.Tensor:
    cubes = torch.cat((torch.rand(count, dims) * side, torch.rand(count, 1) * 20 + 4), dim=1)
    return cubes.round() if whole else cubes


def test_a_cube_spans_half_its_diameter_to_each_side():
    corners = boxes.to_corners(torch.tensor([[10.0, 20.0, 30.0, 5.0]]))
    assert corners.tolist() == [[7.5, 17.5, 27.5, 12.5, 22.5, 32.5]]


def test_a_slice_has_squares():
    assert boxes.to_corners(torch.tensor([[10.0, 20.0, 4.0]])).tolist() == [[8.0, 18.0, 12.0, 22.0]]


def test_the_cube_of_a_box_has_its_centre_and_its_longest_side():
    assert boxes.to_cubes(torch.tensor([[0.0, 10.0, 20.0, 4.0, 19.0, 26.0]])).tolist() == [[2.0, 14.5, 23.0, 9.0]]


@pytest.mark.parametrize("dims", [2, 3])
def test_cubes_survive_corners_and_the_code(dims):
    torch.manual_seed(0)
    cubes, anchors = random_cubes(50, dims), random_cubes(50, dims)
    torch.testing.assert_close(boxes.to_cubes(boxes.to_corners(cubes)), cubes)
    torch.testing.assert_close(boxes.decode(boxes.encode(cubes, anchors), anchors), cubes)


def test_the_code_is_the_shift_in_diameters_and_the_logarithm_of_the_ratio():
    code = boxes.encode(torch.tensor([[12.0, 8.0, 10.0, 20.0]]), torch.tensor([[10.0, 10.0, 10.0, 10.0]]))
    torch.testing.assert_close(code, torch.tensor([[0.2, -0.2, 0.0, math.log(2)]]))


def test_the_code_is_that_of_monai():
    torch.manual_seed(1)
    cubes, anchors = random_cubes(20), random_cubes(20)
    code = BoxCoder((1.0,) * 6).encode_single(boxes.to_corners(cubes), boxes.to_corners(anchors))
    torch.testing.assert_close(boxes.encode(cubes, anchors), code[:, :4])
    torch.testing.assert_close(code[:, 3:], code[:, 3:4].expand(-1, 3), atol=1e-5, rtol=0)


def test_a_wild_diameter_stays_finite():
    found = boxes.decode(torch.tensor([[0.0, 0.0, 0.0, 500.0]]), torch.tensor([[8.0, 8.0, 8.0, 4.0]]))
    torch.testing.assert_close(found[0, 3], torch.tensor(250.0))


def test_boxes_that_are_no_numbers_are_told_in_words():
    with pytest.raises(WorkError, match="not numbers"):
        boxes.decode(torch.full((1, 4), torch.nan), torch.ones(1, 4))


def test_half_precision_decodes_in_single():
    anchors = torch.tensor([[500.0, 500.0, 500.0, 5.0]])
    found = boxes.decode(torch.tensor([[0.1, 0.0, 0.0, 0.0]], dtype=torch.bfloat16), anchors)
    assert found.dtype == torch.float32
    assert 500.4 < float(found[0, 0]) < 500.6


def test_a_step_learns_through_the_decoded_boxes():
    deltas = torch.zeros(3, 4, requires_grad=True)
    boxes.decode(deltas, random_cubes(3)).sum().backward()
    assert torch.all(deltas.grad != 0)


def test_no_box_is_no_box():
    none = torch.zeros(0, 4)
    assert boxes.encode(none, none).shape == (0, 4)
    assert boxes.decode(none, none).shape == (0, 4)
    assert boxes.nms(boxes.to_corners(none), torch.zeros(0), 0.3).tolist() == []


def test_the_overlap_of_boxes():
    first = torch.tensor([[0.0, 0.0, 0.0, 2.0, 2.0, 2.0]])
    second = torch.tensor(
        [[0.0, 0.0, 0.0, 2.0, 2.0, 2.0], [1.0, 0.0, 0.0, 3.0, 2.0, 2.0], [2.0, 0.0, 0.0, 4.0, 2.0, 2.0]]
    )
    torch.testing.assert_close(boxes.iou(first, second), torch.tensor([[1.0, 1 / 3, 0.0]]))


@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.3, 0.5])
@pytest.mark.parametrize("whole", [False, True], ids=["random", "ties"])
@pytest.mark.parametrize(("count", "dims"), [(1, 3), (40, 2), (255, 3), (257, 3), (1000, 2), (1000, 3)])
def test_suppression_keeps_what_monai_keeps_in_the_same_order(count, dims, whole, threshold):
    """With whole voxels and ten different scores, many boxes, overlaps and scores are the same."""
    torch.manual_seed(count + dims)
    corners = boxes.to_corners(random_cubes(count, dims, whole=whole))
    scores = (torch.rand(count) * 10).round() / 10 if whole else torch.rand(count)
    assert torch.equal(boxes.nms(corners, scores, threshold), non_max_suppression(corners, scores, threshold))


@pytest.mark.parametrize("limit", [1, 7, 300, 5000])
def test_a_limit_keeps_the_best(limit):
    torch.manual_seed(0)
    corners, scores = boxes.to_corners(random_cubes(900)), torch.rand(900)
    kept = boxes.nms(corners, scores, 0.2, limit=limit)
    assert torch.equal(kept, non_max_suppression(corners, scores, 0.2, max_proposals=limit))
    assert len(kept) <= limit


def test_an_overlap_of_exactly_the_threshold_stays():
    corners = torch.tensor([[0.0, 0.0, 2.0, 1.0], [0.0, 0.0, 1.0, 1.0]])
    scores = torch.tensor([0.9, 0.8])
    assert boxes.nms(corners, scores, 0.5).tolist() == [0, 1]
    assert boxes.nms(corners, scores, 0.49).tolist() == [0]


def test_a_box_that_went_suppresses_nothing():
    """A row of boxes, each overlapping the next: every other one stays, across the blocks the rows are worked in."""
    start = torch.arange(2 * boxes.BLOCK + 50, dtype=torch.float32)
    corners = torch.stack((start, torch.zeros_like(start), start + 1.5, torch.ones_like(start)), dim=1)
    kept = boxes.nms(corners, torch.linspace(1, 0, len(start)), 0.1)
    assert kept.tolist() == list(range(0, len(start), 2))


def test_classes_do_not_suppress_each_other():
    torch.manual_seed(2)
    corners, scores = boxes.to_corners(random_cubes(600, whole=True)), torch.rand(600)
    classes = torch.randint(0, 3, (600,))
    kept = boxes.nms(corners, scores, 0.2, classes=classes)
    assert torch.equal(kept, batched_nms(corners, scores, classes, 0.2))
    assert len(kept) > len(boxes.nms(corners, scores, 0.2))
