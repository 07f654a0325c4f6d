"""A detector's loss on its own decision: 0 is certain."""

from __future__ import annotations

import math

import numpy as np
import pytest

from napari_dasl.inference.region.candidates import Finding, Part
from napari_dasl.inference.region.confidence import own_loss
from napari_dasl.inference.region.pasting import Assembled
from napari_dasl.inference.region.thresholds import Thresholds

SHARP = np.array([[[1.0, 1.0, 0.0]]], dtype=np.float32)


def made(scores, masks=None, threshold=0.5):
    part = Part(np.zeros(3), 1.0, np.ones((1, 1, 1), dtype=np.float32))
    kept = frozenset(n for n, score in enumerate(scores, start=1) if score >= threshold)
    return Assembled(
        np.zeros((2, 1, 1, 1), np.float32),
        np.zeros((1, 1, 1), np.uint16),
        tuple(Finding(1, score, (part,)) for score in scores),
        kept,
        tuple(masks) if masks is not None else (SHARP,) * len(scores),
    )


def test_nothing_found_and_everything_certain_are_0():
    assert own_loss(made([]), Thresholds()) == 0
    assert own_loss(made([1.0, 1.0]), Thresholds()) == 0


def test_each_finding_is_asked_how_sure_its_decision_is():
    expected = -(math.log(0.9) + math.log(1 - 0.3) + math.log(1 - 0.1)) / 3
    assert own_loss(made([0.9, 0.3, 0.1]), Thresholds()) == pytest.approx(expected)


def test_of_those_that_do_not_count_the_three_hardest_for_each_that_does_are_asked():
    many = [0.9, *(0.4 - 0.01 * i for i in range(20))]
    assert own_loss(made(many), Thresholds()) == pytest.approx(own_loss(made(many[:4]), Thresholds()))
    assert own_loss(made(many[1:]), Thresholds()) == pytest.approx(own_loss(made(many[1:4]), Thresholds()))


def test_scores_count_from_the_threshold():
    tuned = Thresholds(score=0.2)
    assert own_loss(made([0.6], threshold=0.2), tuned) == pytest.approx(-math.log(0.75))
    assert own_loss(made([0.1], threshold=0.2), tuned) == pytest.approx(-math.log(0.75))
    assert own_loss(made([0.2], threshold=0.2), tuned) == pytest.approx(math.log(2))


def test_a_blurred_mask_costs_one_less_its_soft_dice():
    blurred = np.array([[[0.9, 0.6, 0.4, 0.1]]], dtype=np.float32)
    dice = 2 * (0.9 + 0.6) / (2.0 + 2)
    assert own_loss(made([1.0], [blurred]), Thresholds()) == pytest.approx(1 - dice)
    assert own_loss(made([1.0, 1.0], [blurred, SHARP]), Thresholds()) == pytest.approx((1 - dice) / 2)
    # The masks of findings that do not count say nothing about what was decided.
    assert own_loss(made([1.0, 0.0], [SHARP, blurred]), Thresholds()) == 0
