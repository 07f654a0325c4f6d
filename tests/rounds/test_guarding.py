"""Old and new model on the same guard cases: which differences stop a round."""

from __future__ import annotations

import pytest

from napari_dasl.rounds.guarding import differences, summarise, why_not


def judged(new: dict, before: dict):
    return summarise(new, before, {}, seed=0)


class TestDifferences:
    def test_are_paired_by_case(self):
        found = differences({"a": 0.8, "b": 0.5, "new": 0.1}, {"b": 0.7, "a": 0.7})
        assert found == pytest.approx({"a": 0.1, "b": -0.2})

    def test_count_a_new_false_alarm_as_a_loss(self):
        assert differences({"healthy": 0.0}, {"healthy": None}) == {"healthy": -1.0}
        assert differences({"healthy": None}, {"healthy": 0.0}) == {"healthy": 1.0}
        assert differences({"healthy": None}, {"healthy": None}) == {}


class TestTheVerdict:
    def test_a_gain_takes_over(self):
        assert why_not(judged({"a": 0.8, "b": 0.9}, {"a": 0.7, "b": 0.8}), 0.01) == ""

    def test_a_loss_within_the_tolerance_takes_over(self):
        assert why_not(judged({"a": 0.795, "b": 0.795}, {"a": 0.8, "b": 0.8}), 0.01) == ""

    def test_a_loss_beyond_the_tolerance_says_both_figures(self):
        said = why_not(judged({"a": 0.75, "b": 0.78}, {"a": 0.8, "b": 0.8}), 0.01)
        assert said == "Guard Dice fell from 0.800 to 0.765, by more than the tolerance of 0.01."

    def test_one_case_that_is_lost_stops_a_round_that_gains_nothing(self):
        before = {"a": 0.8, "b": 0.8, "c": 0.8}
        lost = judged({"a": 0.6, "b": 0.895, "c": 0.895}, before)
        assert why_not(lost, 0.01) == "Guard case a lost 0.20 Dice, and the guard set gained nothing on the whole."
        assert why_not(judged({"a": 0.6, "b": 0.95, "c": 0.9}, before), 0.01) == ""

    def test_the_first_model_and_one_without_a_guard_set_take_over(self):
        assert why_not(judged({"a": 0.1}, {}), 0.01) == ""
        assert why_not(judged({}, {}), 0.01) == ""

    def test_tells_the_interval_and_the_worst_case(self):
        new = {"a": 0.6, "b": 0.9, "c": 0.85, "d": 0.8}
        found = judged(new, dict.fromkeys(new, 0.8))
        assert found.worst == ("a", pytest.approx(-0.2))
        low, high = found.interval
        assert low < sum(new.values()) / 4 - 0.8 < high
        assert found == judged(new, dict.fromkeys(new, 0.8))
        assert judged({"a": 0.6}, {"a": 0.8}).interval is None
