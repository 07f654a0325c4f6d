"""The most similar scans, against the full matrix of cosines."""

from __future__ import annotations

import numpy as np
import pytest

from napari_dasl.active import neighbours
from napari_dasl.errors import InputError


def test_they_are_those_of_the_matrix_and_never_the_scan_itself(monkeypatch):
    monkeypatch.setattr(neighbours, "_BLOCK", 50)  # several blocks
    rng = np.random.default_rng(0)
    vectors = {f"c{k:02d}": rng.random(12) for k in range(30)}
    units = {name: vector / np.linalg.norm(vector) for name, vector in vectors.items()}
    found = neighbours.nearest(vectors, {name: (lambda v=v: v) for name, v in vectors.items()}, count=3)
    for name, pairs in found.items():
        others = sorted(((float(units[name] @ units[o]), o) for o in units if o != name), reverse=True)[:3]
        assert [other for other, _ in pairs] == [other for _, other in others]
        assert [cosine for _, cosine in pairs] == pytest.approx([cosine for cosine, _ in others])


def test_an_empty_prediction_is_like_nothing_and_ties_go_by_id():
    found = neighbours.nearest({"x": np.zeros(3)}, {"b": np.ones(3), "a": np.ones(3), "c": np.ones(3)}, count=2)
    assert found == {"x": [("a", 0.0), ("b", 0.0)]}


def test_fewer_others_than_asked_for():
    assert neighbours.nearest({"x": np.ones(2)}, {}) == {"x": []}
    assert neighbours.nearest({"x": np.ones(2)}, {"x": np.ones(2), "y": np.ones(2)}) == {"x": [("y", pytest.approx(1))]}


def test_signatures_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="4 numbers where the others have 3"):
        neighbours.nearest({"x": np.ones(3)}, {"y": np.ones(4)})
    with pytest.raises(InputError, match="NaN"):
        neighbours.nearest({"x": np.array([np.nan, 1])}, {"y": np.ones(2)})
