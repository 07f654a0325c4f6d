"""The effort clock, as a specification: each line is what the hand did and when, and what that counts as."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from napari_dasl.widgets.clock import EffortClock, in_words

DAY = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


class Hand:
    """A clock and the hand that feeds it at given seconds."""

    def __init__(self) -> None:
        self.at = 0.0
        self.clock = EffortClock(now=lambda: self.at, today=lambda: DAY + timedelta(seconds=self.at))
        self.clock.start()

    def does(self, *story: tuple[float, str]) -> EffortClock:
        for self.at, what in story:
            if what in ("press", "grab"):
                self.clock.press(drawing=what == "press")
            else:
                getattr(self.clock, {"move": "event", "scroll": "look"}.get(what, what))()
        return self.clock


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.mark.parametrize(
    ("story", "inspected", "edited"),
    [
        pytest.param([], 0, 0, id="opened and left at once"),
        pytest.param([(5, "move"), (9, "scroll")], 9, 0, id="looking is inspection"),
        pytest.param([(20, "move")], 20, 0, id="twenty seconds without a move still count"),
        pytest.param([(20.1, "move")], 0, 0, id="longer is a pause"),
        pytest.param([(1, "move"), (40, "move"), (41, "move")], 2, 0, id="only the pause is dropped"),
        pytest.param(
            [(4, "press"), (7, "release"), (7, "stroke")], 4, 3, id="a stroke is edited from press to release"
        ),
        pytest.param([(1, "press"), (61, "release"), (61, "stroke")], 1, 60, id="holding the mouse still is no pause"),
        pytest.param(
            [(1, "press"), (2, "move"), (32, "move"), (33, "release")], 1, 2, id="a pause begins after the press moved"
        ),
        pytest.param([(3, "stroke"), (8, "stroke")], 3, 5, id="from stroke to stroke is editing"),
        pytest.param([(3, "stroke"), (8, "scroll"), (10, "stroke")], 10, 0, id="scrolling in between is looking"),
        pytest.param([(3, "stroke"), (5, "move"), (8, "undo")], 3, 5, id="going for undo is editing"),
        pytest.param([(3, "edit"), (5, "scroll"), (9, "scroll")], 9, 0, id="checking an accepted draft is looking"),
        pytest.param([(2, "grab"), (6, "release")], 6, 0, id="dragging the picture is looking"),
        pytest.param([(5, "move"), (4, "move"), (6, "move")], 7, 0, id="a clock that jumps back adds nothing"),
    ],
)
def test_what_counts_as_looking_and_what_as_drawing(hand, story, inspected, edited):
    clock = hand.does(*story)
    assert clock.inspect_seconds == pytest.approx(inspected)
    assert clock.edit_seconds == pytest.approx(edited)
    assert clock.seconds == pytest.approx(inspected + edited)


def test_strokes_undos_and_the_first_edit_are_noted(hand):
    clock = hand.does((2, "scroll"), (5, "stroke"), (6, "undo"), (7, "stroke"))
    assert (clock.strokes, clock.undos) == (2, 1)
    assert clock.opened == DAY
    assert clock.first_edit == DAY + timedelta(seconds=5)


def test_a_draft_carries_everything_to_the_next_opening(hand):
    kept = hand.does((4, "scroll"), (5, "stroke"), (8, "stroke"), (9, "undo")).kept()
    again = Hand()
    again.clock.start(kept)
    clock = again.does((3, "scroll"))
    assert (clock.inspect_seconds, clock.edit_seconds) == (8, 4)
    assert (clock.strokes, clock.undos) == (2, 1)
    assert (clock.opened, clock.first_edit) == (DAY, DAY + timedelta(seconds=5))


def test_a_draft_of_an_older_version_gives_its_sum(hand):
    hand.clock.start({"seconds": 100, "strokes": 4})
    assert (hand.clock.seconds, hand.clock.edit_seconds, hand.clock.strokes) == (100, 100, 4)


def test_a_saved_label_takes_its_time_along_and_the_next_one_starts_at_zero(hand):
    taken = hand.does((4, "scroll"), (6, "stroke"), (9, "stroke")).hand_over()
    assert (taken["inspect"], taken["edit"], taken["strokes"]) == (6, 3, 2)
    clock = hand.does((12, "scroll"))
    assert (clock.seconds, clock.strokes) == (3, 0)
    assert clock.total == 12  # what the panel shows goes on
    assert clock.opened == DAY + timedelta(seconds=9)


def test_when_saving_fails_the_time_comes_back(hand):
    taken = hand.does((4, "scroll"), (6, "stroke"), (9, "stroke")).hand_over()
    hand.does((12, "scroll"))
    hand.clock.take_back(taken)
    assert (hand.clock.inspect_seconds, hand.clock.edit_seconds, hand.clock.strokes) == (9, 3, 2)
    assert hand.clock.total == 12
    assert hand.clock.opened == DAY


def test_it_stands_still_after_stop(hand):
    hand.does((3, "scroll"))
    hand.clock.stop()
    assert hand.does((5, "scroll")).seconds == 3


@pytest.mark.parametrize(("seconds", "words"), [(0, "0 s"), (59.9, "59 s"), (125, "2 min 05 s"), (3840, "1 h 04 min")])
def test_words(seconds, words):
    assert in_words(seconds) == words
