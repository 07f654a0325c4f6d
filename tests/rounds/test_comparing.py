"""A model against labels that number their lesions."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from napari_dasl.rounds.comparing import compare


@pytest.mark.parametrize(("numbered", "lesions"), [(True, 2), (False, 1)])
def test_two_lesions_that_touch_are_told_apart_by_their_numbers(numbered, lesions):
    label = np.zeros((6, 8, 12), np.uint16)
    label[1:4, 2:6, 2:6], label[1:4, 2:6, 6:10] = 300, 301
    found = np.zeros((2, *label.shape), np.float32)
    found[1][label == 300] = 1
    found[0] = 1 - found[1]
    if not numbered:
        label = (label > 0).astype(np.uint16)
    case = SimpleNamespace(
        id="P", spacing=(1.0, 1.0, 1.0), instances=numbered, label=lambda: label, image=lambda: label[None]
    )
    network = SimpleNamespace(case=lambda *_, **__: found)
    (row,) = compare(network, [case], ("lesion",))
    figures = row.classes[0].lesions
    assert (figures.lesions, figures.detected, figures.false_positives) == (lesions, 1, 0)
    assert figures.dice[0] == pytest.approx(1.0 if numbered else 2 / 3)
    assert row.dice == pytest.approx(2 / 3)
