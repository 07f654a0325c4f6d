"""How hard cases are, as the project keeps it: the newest number of each case and scorer, with where it came from."""

from __future__ import annotations

import math

import pytest

from napari_dasl.errors import ProjectError
from napari_dasl.project import Difficulty, Project


def told(rows):
    return [(one.case, one.scorer, one.value, one.source, one.model, one.revision) for one in rows]


def test_a_number_comes_back_with_its_origin_also_after_opening_again(project):
    project.set_difficulties([Difficulty("p2", "contrast", 0.25, "prediction", model="r0001-ab")])
    project.set_difficulties([Difficulty("p1", "size", 81.0, "label", revision=3)])
    with Project.open(project.folder) as other:
        rows = other.difficulties()
        assert told(rows) == [
            ("p2", "contrast", 0.25, "prediction", "r0001-ab", None),
            ("p1", "size", 81.0, "label", None, 3),
        ]
        assert [one.on_prediction for one in rows] == [True, False]
        assert all(one.created.tzinfo is not None for one in rows)
        assert told(other.difficulties("size")) == told(rows[1:])


def test_the_newest_of_a_case_and_scorer_counts_and_the_others_stay(project):
    project.set_difficulties(
        [Difficulty(case, scorer, 1.0, "prediction", "m1") for case in ("p1", "p2") for scorer in ("size", "contrast")]
    )
    project.set_difficulties(
        [Difficulty("p1", "size", 2.0, "label", revision=1), Difficulty("p1", "size", 3.0, "label", revision=2)]
    )
    assert [(one.case, one.value) for one in project.difficulties("size")] == [("p1", 3.0), ("p2", 1.0)]
    assert [one.value for one in project.difficulties("contrast")] == [1.0, 1.0]


def test_nothing_to_measure_and_beyond_measure_are_told_apart(project):
    project.set_difficulties(
        [
            Difficulty("p1", "contrast", math.nan, "label", revision=1),
            Difficulty("p2", "contrast", math.inf, "label", revision=1),
        ]
    )
    none, endless = project.difficulties("contrast")
    assert math.isnan(none.value)
    assert endless.value == math.inf


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (Difficulty("p99", "size", 1.0, "label"), "no case p99"),
        (Difficulty("p1", "size", 1.0, "guess"), "comes from 'guess'"),  # type: ignore[arg-type]
        (Difficulty("p1", "", 1.0, "label"), "Name the scorer"),
    ],
)
def test_a_row_that_says_nothing_is_refused_and_no_other_is_stored_with_it(project, row, words):
    with pytest.raises(ProjectError, match=words):
        project.set_difficulties([Difficulty("p1", "size", 1.0, "label"), row])
    assert project.difficulties() == []
