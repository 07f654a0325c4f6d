"""A step learns from the background anchors that look most like a lesion, a few for each lesion's anchor."""

from __future__ import annotations

import torch

from napari_dasl.networks.region.matching import BACKGROUND, IGNORED
from napari_dasl.networks.region.sampling import hard_negatives


def matches(positive: int, ignored: int, background: int) -> torch.Tensor:
    return torch.tensor([0] * positive + [IGNORED] * ignored + [BACKGROUND] * background)


def test_only_background_is_drawn_three_for_each_lesion_anchor():
    found = hard_negatives(torch.rand(1000), matches(10, 20, 970), minimum=1)
    assert len(set(found.tolist())) == 30
    assert int(found.min()) >= 30


def test_the_hardest_are_drawn_from():
    """Scores fall from the first anchor to the last; with a pool of 2 the 12 come from the 24 highest."""
    scores = torch.linspace(5, -5, 504)
    for seed in range(5):
        torch.manual_seed(seed)
        found = hard_negatives(scores, matches(4, 0, 500), pool=2, minimum=1)
        assert len(found) == 12
        assert int(found.max()) < 4 + 24


def test_a_pool_of_one_takes_the_hardest_themselves():
    scores = torch.tensor([0.9, 0.1, 0.8, 0.3, 0.7, 0.2])
    assert hard_negatives(scores, matches(1, 0, 5), ratio=3, pool=1, minimum=1).tolist() == [2, 3, 4]


def test_a_patch_without_a_lesion_teaches_too():
    assert len(hard_negatives(torch.rand(500), matches(0, 0, 500), minimum=16)) == 16


def test_no_more_is_drawn_than_there_is():
    assert hard_negatives(torch.rand(7), matches(5, 0, 2)).tolist() == [5, 6]
    assert hard_negatives(torch.rand(7), matches(5, 2, 0)).tolist() == []


def test_the_seed_decides():
    scores = torch.rand(2000)
    draws = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        draws.append(hard_negatives(scores, matches(8, 0, 1992)).tolist())
    assert draws[0] == draws[1] != draws[2]


def test_drawing_leaves_no_trace_in_the_gradient():
    scores = torch.rand(100, requires_grad=True)
    assert not hard_negatives(scores, matches(2, 0, 98)).requires_grad
