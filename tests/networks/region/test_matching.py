"""Every lesion finds anchors that learn it, however small and wherever it lies."""

from __future__ import annotations

import pytest
import torch

from napari_dasl.networks.region.anchors import anchor_cubes
from napari_dasl.networks.region.boxes import iou, to_corners
from napari_dasl.networks.region.matching import BACKGROUND, IGNORED, match

SIZES = (5.0, 10.0, 20.0)


def anchors(dims: int = 3, sizes: tuple[float, ...] = SIZES) -> torch.Tensor:
    return anchor_cubes((64,) * dims, 4, sizes)


def positives(matches: torch.Tensor, truth: int) -> torch.Tensor:
    return torch.nonzero(matches == truth)[:, 0]


def test_without_a_lesion_everything_is_background():
    assert torch.all(match(anchors(), torch.zeros(0, 4), per_location=3) == BACKGROUND)


def test_a_lesion_like_an_anchor_is_learnt_by_it():
    truth = torch.tensor([[30.0, 34.0, 26.0, 5.0]])
    matches = match(anchors(), truth, per_location=3)
    same = torch.nonzero((anchors() == truth).all(dim=1))[0, 0]
    assert matches[same] == 0


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.0])
def test_a_lesion_of_five_voxels_is_learnt_wherever_it_lies(shift):
    """No anchor overlaps it by half when it lies between the cells, and a fixed limit would leave it unlearnt."""
    truth = torch.tensor([[30.0 + shift, 30.0 + shift, 30.0 + shift, 5.0]])
    found = positives(match(anchors(), truth, per_location=3), 0)
    assert len(found) >= 1
    overlap = iou(to_corners(truth), to_corners(anchors()))[0]
    assert overlap[found].max() == overlap.max()
    if shift == 2.0:
        assert overlap.max() < 0.5


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("seed", range(8))
def test_every_lesion_is_learnt(seed, dims):
    torch.manual_seed(seed)
    truths = torch.cat((torch.rand(12, dims) * 70 - 3, torch.rand(12, 1) * 30 + 1), dim=1)
    matches = match(anchors(dims), truths, per_location=3)
    assert set(range(12)) <= set(matches.tolist())
    assert set(matches.tolist()) <= {IGNORED, BACKGROUND, *range(12)}


def test_a_lesion_that_touches_no_anchor_is_learnt_by_the_nearest_alone():
    """Anchors of 2 voxels every 4 leave gaps, and a speck in one overlaps none."""
    small = anchors(sizes=(2.0, 3.0))
    matches = match(small, torch.tensor([[32.0, 32.0, 32.2, 0.5]]), per_location=2)
    assert small[positives(matches, 0)].tolist() == [[30.0, 30.0, 34.0, 2.0]]
    assert torch.all(matches[matches != 0] == BACKGROUND)


def test_lesions_that_want_the_same_anchor_both_learn():
    truths = torch.tensor([[30.0, 30.0, 30.0, 5.0], [30.2, 30.0, 30.0, 5.0], [30.0, 30.0, 30.0, 5.0]])
    matches = match(anchors(), truths, per_location=3)
    assert {0, 1, 2} <= set(matches.tolist())


def test_an_anchor_learns_the_lesion_that_it_overlaps_more():
    truths = torch.tensor([[22.0, 30.0, 30.0, 10.0], [34.0, 30.0, 30.0, 10.0]])
    matches = match(anchors(), truths, per_location=3)
    overlap = iou(to_corners(truths), to_corners(anchors()))
    for truth in (0, 1):
        found = positives(matches, truth)
        assert torch.all(overlap[truth, found] > overlap[1 - truth, found])


def test_anchors_that_learn_overlap_the_lesion_better_than_its_background():
    torch.manual_seed(3)
    for _ in range(5):
        truth = torch.cat((torch.rand(1, 3) * 40 + 12, torch.rand(1, 1) * 20 + 4), dim=1)
        matches = match(anchors(), truth, per_location=3)
        overlap = iou(to_corners(truth), to_corners(anchors()))[0]
        assert overlap[matches == 0].min() > overlap[matches == BACKGROUND].max()


def test_equally_good_anchors_are_not_called_background():
    """In the corner of eight cells all eight anchors of a size overlap the lesion alike; the matcher takes some."""
    truth = torch.tensor([[32.0, 32.0, 32.0, 5.0]])
    matches = match(anchors(), truth, per_location=3)
    overlap = iou(to_corners(truth), to_corners(anchors()))[0]
    equal = overlap == overlap.max()
    assert int(equal.sum()) == 8
    assert torch.all(matches[equal] != BACKGROUND)
    assert torch.all(overlap[matches == IGNORED] > 0)
