"""Selections against the formulas and against brute force."""

from __future__ import annotations

import numpy as np
import pytest

from napari_dasl.active import selections


def test_power_sampling_draws_in_proportion_to_the_power():
    rng = np.random.default_rng(0)
    value = np.array([1.0, 2.0, 4.0])
    firsts = [int(selections.power(value, 2.0, -np.log(-np.log(rng.random(3)))).score.argmax()) for _ in range(4000)]
    counts = np.bincount(firsts, minlength=3)
    expected = 4000 * value**2 / (value**2).sum()
    assert ((counts - expected) ** 2 / expected).sum() < 13.8  # chi square, 2 degrees of freedom, p = 0.001


def test_the_exponent_grows_geometrically_to_its_last_value_and_stays():
    assert [selections.power_exponent(t, 1.0) for t in range(6)] == pytest.approx([1, 10**0.5, 10, 10**1.5, 100, 100])
    assert selections.power_exponent(0, 8.0) == 8
    assert selections.power_exponent(3, 200.0) == 200


class TestKCentre:
    def brute(self, value, points, taken, count):
        both = np.concatenate([points, taken]) if taken is not None else points
        spread = both.std(axis=0)
        scale = np.maximum(spread, 0.1 * spread.max())
        p = (points - both.mean(axis=0)) / scale
        centres = [] if taken is None else list((taken - both.mean(axis=0)) / scale)
        order = []
        for _ in range(count):
            gains = [
                -1 if i in order else value[i] * min((np.linalg.norm(p[i] - c) for c in centres), default=1e6)
                for i in range(len(p))
            ]
            order.append(int(np.argmax(gains)))
            centres.append(p[order[-1]])
        return order

    @pytest.mark.parametrize("labelled", [0, 5])
    def test_it_is_the_greedy_choice(self, labelled):
        rng = np.random.default_rng(labelled)
        points, value = rng.random((20, 6)), rng.random(20)
        taken = rng.random((labelled, 6)) if labelled else None
        found = selections.k_centre(value, points, taken, 6)
        assert found.order[:6].tolist() == self.brute(value, points, taken, 6)
        assert sorted(found.order.tolist()) == list(range(20))
        assert (np.diff(found.score[found.order]) <= 1e-12).all()

    def test_more_signatures_than_memory_are_projected_and_copies_stay_copies(self, monkeypatch):
        monkeypatch.setattr(selections, "_MOST_NUMBERS", 1000)
        rng = np.random.default_rng(0)
        points = rng.random((12, 400))
        points[6:] = points[:6]
        found = selections.k_centre(np.linspace(1, 2, 12), points, None, 6)
        assert len({index % 6 for index in found.order[:6].tolist()}) == 6

    def test_signatures_that_are_all_the_same_leave_the_value_to_decide(self):
        found = selections.k_centre(np.array([1.0, 3.0, 2.0]), np.ones((3, 4)), None, 2)
        assert found.order.tolist() == [1, 2, 0]


def test_strata_leave_out_what_is_empty_or_drawn_already():
    value = np.arange(1.0, 9)
    scores = np.stack([value, value[::-1]], axis=1)
    empty = np.zeros(8, bool)
    empty[7] = True
    found = selections.stratified(value, scores, empty, 6, 1e9, np.zeros((3, 8)), chosen=(0,))
    # Of four by class: 6 and 5 for the first (7 is empty), 1 and 2 for the second (0 is drawn); then by value.
    assert found.order.tolist() == [6, 5, 1, 2, 7, 4, 3, 0]
    assert found.parts["stratum"].tolist() == [0, 2, 2, 0, 0, 1, 1, 0]


def test_density_is_the_value_where_beta_is_zero():
    value = np.array([0.1, 0.4])
    assert selections.density(value, np.ones((2, 3)), 0.0).score.tolist() == value.tolist()
