"""Position embeddings on other grids: what interpolation along an axis must keep."""

from __future__ import annotations

import pytest
import torch

from napari_dasl.networks.positions import axis_weights, resample


@pytest.mark.parametrize(
    ("source", "target", "rows"),
    [
        (2, 4, [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]]),
        (4, 2, [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]]),
        (3, 2, [[2 / 3, 1 / 3, 0], [0, 1 / 3, 2 / 3]]),
        (1, 3, [[1], [1], [1]]),
        (3, 3, [[1, 0, 0], [0, 1, 0], [0, 0, 1]]),
    ],
)
def test_finer_axes_are_interpolated_and_coarser_ones_averaged(source, target, rows):
    torch.testing.assert_close(axis_weights(source, target), torch.tensor(rows, dtype=torch.float32))


@pytest.mark.parametrize("source", [1, 2, 5, 8])
@pytest.mark.parametrize("target", [1, 3, 4, 9])
def test_a_constant_stays_and_every_source_counts_on_a_coarser_axis(source, target):
    weights = axis_weights(source, target)
    torch.testing.assert_close(weights.sum(1), torch.ones(target))
    assert weights.min() >= 0
    if target <= source:
        torch.testing.assert_close(weights.sum(0), torch.full((source,), target / source))


def test_doubling_is_linear_interpolation_as_torch_does_it():
    values = torch.randn(1, 3 * 2 * 4, 5)
    grid = values.reshape(1, 3, 2, 4, 5).movedim(-1, 1)
    expected = torch.nn.functional.interpolate(grid, (6, 4, 8), mode="trilinear").movedim(1, -1).reshape(1, -1, 5)
    torch.testing.assert_close(resample(values, (3, 2, 4), (6, 4, 8)), expected)


def test_the_same_grid_gives_the_same_tensor():
    values = torch.randn(1, 6, 4)
    assert resample(values, (2, 3), (2, 3)) is values
