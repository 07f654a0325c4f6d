"""Sections of neighbouring slices become lesions."""

from __future__ import annotations

import numpy as np
import pytest

from napari_dasl.inference.region.candidates import Finding, Part
from napari_dasl.inference.region.linking import link


def section(z, y, x, side, score=0.8, label=1):
    start = np.array([y - side / 2, x - side / 2], dtype=float)
    return Finding(label, score, (Part(start, float(side), np.ones((4, 4), dtype=np.float32), slice=z),))


def slices(finding):
    return [part.slice for part in finding.parts]


def test_sections_that_overlap_from_slice_to_slice_are_one_lesion_with_the_best_score():
    found = link([section(z, 20 + z, 20, 8, score) for z, score in ((5, 0.7), (3, 0.6), (4, 0.9))])
    assert len(found) == 1
    assert slices(found[0]) == [3, 4, 5]
    assert found[0].score == 0.9


def test_a_lesion_that_tapers_is_one():
    assert len(link([section(z, 20, 20, side) for z, side in ((1, 3), (2, 8), (3, 20), (4, 4))])) == 1


def test_what_lies_apart_stays_apart():
    assert len(link([section(1, 20, 20, 8), section(2, 40, 40, 8)])) == 2
    assert len(link([section(1, 20, 20, 8), section(3, 20, 20, 8)])) == 2
    assert len(link([section(1, 20, 20, 8), section(2, 20, 20, 8, label=2)])) == 2


def test_two_lesions_side_by_side_stay_two():
    found = link([section(z, 20, x, 8) for z in range(4) for x in (18, 25)])
    assert len(found) == 2
    for one in found:
        assert slices(one) == [0, 1, 2, 3]
        assert len({float(part.start[1]) for part in one.parts}) == 1


def test_a_section_continues_one_lesion_alone():
    # Two sections merge into one: it goes to the one it overlaps most, the other ends there.
    found = link([section(0, 20, 14, 8), section(0, 20, 27, 10), section(1, 20, 24, 16)])
    assert sorted(slices(one) for one in found) == [[0], [0, 1]]
    (longer,) = [one for one in found if len(one.parts) == 2]
    assert longer.parts[0].side == 10


def test_ends_that_fade_out_are_no_part_of_it_but_a_gap_within_is():
    scores = [0.1, 0.3, 0.8, 0.2, 0.9, 0.5, 0.4]
    (found,) = link([section(z, 20, 20, 8, score) for z, score in enumerate(scores)])
    assert slices(found) == [2, 3, 4, 5]


def test_the_best_lesion_comes_first_and_nothing_is_nothing():
    found = link([section(0, 10, 10, 4, 0.3), section(0, 40, 40, 4, 0.9)])
    assert [one.score for one in found] == pytest.approx([0.9, 0.3])
    assert link([]) == []
