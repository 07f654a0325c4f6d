"""Anchors stand on the centres of cells, are not rounded, and have the sizes of the lesions."""

from __future__ import annotations

import math

import pytest
import torch

from napari_dasl.errors import ProjectError
from napari_dasl.networks.region.anchors import anchor_cubes, cluster_sizes
from napari_dasl.networks.region.boxes import iou, to_corners


def test_cells_come_in_the_order_of_the_head_and_sizes_fastest():
    anchors = anchor_cubes((8, 4, 12), 4, (5.0, 9.5))
    assert anchors.shape == (2 * 1 * 3 * 2, 4)
    assert anchors[:4].tolist() == [[2, 2, 2, 5], [2, 2, 2, 9.5], [2, 2, 6, 5], [2, 2, 6, 9.5]]
    assert anchors.reshape(2, 1, 3, 2, 4)[1, 0, 2, 1].tolist() == [6, 2, 10, 9.5]


def test_slices_have_anchors_of_three_numbers():
    anchors = anchor_cubes((8, 16), 8, (7.0,))
    assert anchors.tolist() == [[4, 4, 7], [4, 12, 7]]


@pytest.mark.parametrize("size", [3.0, 5.0, 7.0, 9.3])
def test_a_lesion_like_an_anchor_overlaps_it_entirely(size):
    """MONAI rounds 5 to 4, and the overlap would be 0.51."""
    lesion = torch.tensor([[14.0, 6.0, 10.0, size]])
    overlap = iou(to_corners(lesion), to_corners(anchor_cubes((32, 32, 32), 4, (size, 2 * size))))
    assert float(overlap.max()) == pytest.approx(1, abs=1e-6)


def test_a_patch_has_a_whole_number_of_cells():
    with pytest.raises(ValueError, match="no whole number of cells of 4"):
        anchor_cubes((32, 30), 4, (5.0,))


def test_three_kinds_of_lesion_give_three_sizes():
    diameters = [4.9, 5.0, 5.1, 11.8, 12.2, 29.0, 31.0]
    assert cluster_sizes(diameters) == pytest.approx((5.0, 12.0, 30.0), rel=0.01)


def test_the_order_of_the_lesions_changes_nothing_and_many_equal_ones_do_not_swallow_the_others():
    diameters = [5.0] * 500 + [12.0, 12.5, 40.0, 41.0]
    sizes = cluster_sizes(diameters)
    assert sizes == pytest.approx(cluster_sizes(diameters[::-1]))
    assert sizes == pytest.approx((5.0, math.sqrt(12 * 12.5), math.sqrt(40 * 41)), rel=1e-6)


def test_sizes_rise_and_lie_among_the_lesions():
    torch.manual_seed(0)
    diameters = (torch.randn(300) * 0.5 + 2.3).exp().tolist()
    for count in (1, 2, 3, 5):
        sizes = cluster_sizes(diameters, count)
        assert len(set(sizes)) == count
        assert list(sizes) == sorted(sizes)
        assert min(diameters) <= sizes[0]
        assert sizes[-1] <= max(diameters)


def test_no_other_size_of_a_cluster_fits_better():
    """One size is the geometric mean: the k-means is on logarithms."""
    assert cluster_sizes([4.0, 5.0, 16.0, 20.0], 1) == pytest.approx(((4 * 5 * 16 * 20) ** 0.25,))


@pytest.mark.parametrize(
    ("diameters", "sizes"),
    [([6.0], (4.0, 6.0, 9.0)), ([6.0, 6.0, 12.0], (6.0, 12.0, 18.0)), ([30.0, 6.0, 12.0], (6.0, 12.0, 30.0))],
)
def test_few_lesions_are_joined_by_sizes_around_them(diameters, sizes):
    assert cluster_sizes(diameters) == pytest.approx(sizes)


@pytest.mark.parametrize("diameters", [[], [0.0], [math.nan, math.inf, -3.0]])
def test_without_a_lesion_there_is_no_size(diameters):
    with pytest.raises(ProjectError, match="no lesion is labelled"):
        cluster_sizes(diameters)
