"""Three rounds of the preset ``dasl-paper`` by hand: λ (Eq. 9), weights (Eq. 8) and the scan that is asked for (Eq. 3).

Four scans with signatures at right angles or alike make the cosines 0 or 1, so that every number can be checked in the
head. In each round the scan asked for is labelled and leaves the pool.
"""

from __future__ import annotations

import numpy as np
import pytest

from napari_dasl import active, selfpaced
from napari_dasl.project import presets

NORTH, EAST = np.array([1.0, 0.0]), np.array([0.0, 1.0])
SIGNATURES = {"a": NORTH, "b": NORTH, "c": NORTH, "d": EAST}

# Losses of the scans under the model of each round, their uncertainties, and the guard Dice of that model.
LOSSES = [
    {"a": 0.001, "b": 0.004, "c": 0.005, "d": 0.020},
    {"a": 0.003, "b": 0.0064, "d": 0.010},
    {"a": 0.0025, "d": 0.006},
]
UNCERTAINTY = [{"a": 0.10, "b": 0.12, "c": 0.20, "d": 0.30}, {"a": 0.10, "b": 0.12, "d": 0.30}, {"a": 0.10, "d": 0.05}]
GUARD_DICE = [0.5, 0.7, 0.75]

# λ0 = 0.005; λ1 = 0.005 + 0.002 · 0.7 = 0.0064; λ2 = 0.0064 + 0.002 · 0.75 = 0.0079.
PACE = [0.005, 0.0064, 0.0079]
# v = 1 − l/λ below λ, else 0.
WEIGHTS = [
    {"a": 0.8, "b": 0.2, "c": 0.0, "d": 0.0},
    {"a": 1 - 30 / 64, "b": 0.0, "d": 0.0},
    {"a": 1 - 25 / 79, "d": 1 - 60 / 79},
]
# Mean cosine to the other scans: 2/3 among four of which three are alike; 1/2 among three of which two are; 0 for d.
SCORES = [
    {"a": 0.10 * 2 / 3, "b": 0.12 * 2 / 3, "c": 0.20 * 2 / 3, "d": 0.0},
    {"a": 0.10 / 2, "b": 0.12 / 2, "d": 0.0},
    {"a": 0.0, "d": 0.0},
]
# At equal scores the name decides; d, the most uncertain scan, is like no other and is never asked for before.
ASKED = ["c", "b", "a"]


def test_three_rounds_equal_the_hand_computed_ones():
    preset = presets.load("dasl-paper")
    ranking, pacing = preset["ranking"], preset["selfpaced"]
    assert (ranking["strategy"], ranking["beta"], ranking["region"]) == ("dasl", 1.0, "volume")
    pace, pool = pacing["pace0"], sorted(SIGNATURES)
    for t in range(3):
        if t:
            pace = selfpaced.next_pace(pace, GUARD_DICE[t], t, pacing["alpha"], 10)
        assert pace == pytest.approx(PACE[t])
        losses = [LOSSES[t][name] for name in pool]
        found = selfpaced.weights(losses, pace, pacing["regularizer"])
        assert dict(zip(pool, found, strict=True)) == pytest.approx(WEIGHTS[t], abs=1e-12)
        candidates = [active.Candidate(name, UNCERTAINTY[t][name], SIGNATURES[name]) for name in pool]
        ranked = active.rank(candidates, ranking["strategy"], beta=ranking["beta"])
        assert {one.case: one.score for one in ranked} == pytest.approx(SCORES[t], abs=1e-12)
        assert ranked[0].case == ASKED[t]
        pool.remove(ranked[0].case)
