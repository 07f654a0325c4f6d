"""What labels cost: stored as it was, refused where it is impossible, and added up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from napari_dasl.errors import ProjectError
from napari_dasl.project import Effort
from napari_dasl.project.efforts import summary

NOON = datetime(2026, 11, 20, 12, 0, 0, 250_000, tzinfo=UTC)


def effort(case="p1", inspect=20.0, edit=100.0, **keys):
    values = {
        "case": case,
        "revision": None,
        "author": "Anna",
        "inspect_seconds": inspect,
        "edit_seconds": edit,
        "strokes": 12,
        "undos": 3,
        "voxels_changed": 40,
        "draft_model": "r0001-ab",
        "draft_round": 1,
        "drawn_from_nothing": False,
        "accepted_unchanged": False,
        "blind": False,
        "audit": False,
        "opened": NOON,
        "first_edit": NOON + timedelta(seconds=20),
        "saved": NOON + timedelta(seconds=500),
        **keys,
    }
    return Effort(**values)


def test_what_is_stored_is_read_back(project, mask_of):
    project.record_label("p1", mask_of(project, "p1"), author="Anna")
    first = effort(revision=1)
    nothing = {"voxels_changed": None, "draft_model": None, "draft_round": None, "first_edit": None}
    second = effort("p2", drawn_from_nothing=True, blind=True, audit=True, accepted_unchanged=True, **nothing)
    for one in (first, second):
        project.add_effort(one)
    assert project.efforts() == [first, second]
    assert project.efforts("p2") == [second]
    assert project.efforts("p3") == []


def test_times_are_kept_in_utc(project):
    tokyo = timezone(timedelta(hours=9))
    project.add_effort(effort(opened=NOON.astimezone(tokyo)))
    (stored,) = project.efforts()
    assert stored.opened == NOON
    assert stored.opened.tzinfo == UTC


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"case": "p13"}, "no case p13"),
        ({"revision": 1}, "no label revision 1"),
        ({"author": " "}, "needs an author"),
        ({"edit": -1.0}, "edit_seconds = -1"),
        ({"inspect": float("nan")}, "inspect_seconds = nan"),
        ({"edit": float("inf")}, "edit_seconds = inf"),
        ({"strokes": -1}, "strokes = -1"),
        ({"voxels_changed": -1}, "voxels_changed = -1"),
        ({"saved": datetime(2026, 11, 20)}, "saved without a time zone"),
    ],
)
def test_impossible_work_is_refused(project, keys, words):
    with pytest.raises(ProjectError, match=words):
        project.add_effort(effort(**keys))
    assert project.efforts() == []


def test_the_active_time_counts_every_label_once(project, mask_of):
    project.record_label("p1", mask_of(project, "p1"), author="Anna", seconds=120)  # the time of the effort below
    project.record_label("p2", mask_of(project, "p2"), author="Anna", seconds=60)  # without effort, as of old
    project.add_effort(effort("p1", 20, 100, revision=1))
    project.add_effort(effort("p3", 5, 0))  # looked at and skipped
    assert project.annotation_seconds() == 120 + 60 + 5


def test_a_project_without_work_took_no_time(project):
    assert project.annotation_seconds() == 0


class TestSummary:
    def test_it_adds_up_by_kind_and_takes_medians_over_cases(self):
        found = summary(
            [
                effort("a", 10, 90, drawn_from_nothing=True),
                effort("a", 10, 40),  # the same case again, corrected
                effort("b", 10, 10, accepted_unchanged=True),
                effort("c", 10, 290, drawn_from_nothing=True),
                effort("d", 0, 60, blind=True, drawn_from_nothing=True),
                effort("e", 0, 30, audit=True, blind=True, drawn_from_nothing=True),
            ]
        )
        assert (found.labels, found.cases) == (6, 5)
        assert (found.seconds, found.inspect_seconds, found.edit_seconds) == (560, 40, 520)
        assert found.median_seconds == 60  # of 150, 20, 300, 60, 30
        assert found.seconds_by_kind == {"drawn": 400, "corrected": 50, "accepted": 20, "blind": 60, "audit": 30}
        assert found.median_by_kind["drawn"] == 200
        assert found.labels_by_kind == {"drawn": 2, "corrected": 1, "accepted": 1, "blind": 1, "audit": 1}

    def test_no_work_has_no_median(self):
        found = summary([])
        assert (found.seconds, found.median_seconds, found.seconds_by_kind) == (0, None, {})
