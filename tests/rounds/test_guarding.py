"""Old and new model on the same guard cases: which differences stop a round."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from napari_dasl.inference.region.thresholds import Thresholds
from napari_dasl.rounds import guarding
from napari_dasl.rounds.guarding import differences, judge, summarise, why_not
from napari_dasl.rounds.plan import CaseLesions


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


def case_of(found: int, lesions: int, false: int = 0) -> CaseLesions:
    volumes = tuple(10.0 / (1 + number) for number in range(lesions))
    return CaseLesions(found=tuple(number < found for number in range(lesions)), volumes_ml=volumes, false=false)


def detected(new: dict, before: dict, dice: tuple[float, float] = (0.8, 0.8)):
    """Both models' lesions by case, and their Dice, the same in every case."""
    now, then = (dict.fromkeys(new, one) for one in dice)
    return summarise(now, then, {}, seed=0, lesions=new, before_lesions=before)


class TestTheVerdictOnADetector:
    def test_lost_lesions_stop_a_round_whatever_dice_says_and_are_named(self):
        new = {"P": case_of(1, 6), "Q": case_of(1, 1)}
        before = {"P": case_of(6, 6), "Q": case_of(1, 1)}
        assert why_not(detected(new, before, dice=(0.994, 0.99)), 0.01) == (
            "The new model finds 2 of 7 guard lesions, the old one 7; lost: 5 in P (5.0 ml, 3.3 ml, 2.5 ml, …)."
        )

    def test_one_lesion_decides_nothing(self):
        fewer, more = {"P": case_of(5, 7)}, {"P": case_of(6, 7)}
        assert why_not(detected(fewer, more), 0.01) == ""
        assert why_not(detected(more, fewer, dice=(0.78, 0.8)), 0.01).startswith("Guard Dice fell from 0.800 to 0.780")

    def test_of_very_many_lesions_more_may_be_lost(self):
        assert why_not(detected({"P": case_of(396, 400)}, {"P": case_of(400, 400)}), 0.01) == ""
        assert "395 of 400" in why_not(detected({"P": case_of(395, 400)}, {"P": case_of(400, 400)}), 0.01)

    def test_more_lesions_outweigh_slightly_worse_outlines_but_no_more(self):
        new, before = {"P": case_of(7, 7), "Q": case_of(3, 3)}, {"P": case_of(4, 7), "Q": case_of(3, 3)}
        assert why_not(detected(new, before, dice=(0.76, 0.8)), 0.01) == ""
        assert "tolerance of 0.05" in why_not(detected(new, before, dice=(0.74, 0.8)), 0.01)
        assert "tolerance of 0.01" in why_not(detected(before, before, dice=(0.76, 0.8)), 0.01)

    def test_false_findings_weigh_against_lesions(self):
        before = {"P": case_of(10, 12, 20), "Q": case_of(3, 3, 10)}
        fewer = {"P": case_of(8, 12, 1), "Q": case_of(3, 3)}
        assert why_not(detected(fewer, before), 0.01) == ""
        exact = {"P": case_of(10, 12), "Q": case_of(3, 3)}
        assert "11 of 15 guard lesions, the old one 13" in why_not(detected(fewer, exact), 0.01)
        flood = {"P": case_of(12, 12, 60), "Q": case_of(3, 3, 60)}
        assert why_not(detected(flood, before), 0.01) == (
            "The new model makes 60.0 false findings a guard scan, the old one 15.0, "
            "and finds 15 of 15 guard lesions, the old one 13."
        )


@pytest.mark.parametrize("stored", [{}, {"cases": {"P": 0.9, "Q": 0.9}}])
def test_judging_a_detector_looks_at_the_lesions_of_both_models_once(monkeypatch, tmp_path, stored):
    """A parent from before lesions were counted is looked at anew; how both stand is kept for a resumed round."""
    label = np.zeros((20, 20, 40), np.uint8)
    label[4:16, 4:16, 4:16] = 1
    for start in (18, 22, 26, 30, 34):
        label[8:10, 8:10, start : start + 2] = 1
    big = np.where(np.arange(40) < 17, label, 0).astype(np.uint8)
    asked = []

    def network(folder, _device):
        drawn = label if folder == "old" else big
        probability = np.stack([1 - drawn, drawn]).astype(np.float32)

        def predict(*_args, **_more):
            asked.append(folder)
            return SimpleNamespace(probability=probability, instances=())

        return SimpleNamespace(
            case=lambda *args, **more: predict().probability, predict=predict, thresholds=Thresholds(score=0.4)
        )

    monkeypatch.setattr(guarding, "predictor", network)
    cases = tuple(
        SimpleNamespace(id=name, spacing=(1.0,) * 3, instances=False, label=lambda: label, image=lambda: label[None])
        for name in "PQ"
    )
    guard_set = {"P": 1, "Q": 1}
    stage = SimpleNamespace(
        parent=SimpleNamespace(folder="old", guard=stored, config={"guard_set": guard_set}),
        guard=cases,
        round=SimpleNamespace(folder=tmp_path, plan={"guard_set": guard_set}),
        plan=SimpleNamespace(detector=True, seed=0),
        project=SimpleNamespace(config=SimpleNamespace(classes=("lesion",))),
        device="cpu",
        report=lambda event: None,
        cancelled=lambda: False,
    )
    found = judge(stage, "new")
    assert found.dice > 0.97
    assert (sum(found.lesions["P"].found), sum(found.before_lesions["P"].found)) == (1, 6)
    assert "finds 2 of 12 guard lesions, the old one 12; lost: 5 in P" in why_not(found, 1.0 / 12)
    assert judge(stage, "new") == found
    assert asked.count("old") == 2
    stage.parent.guard = found.model_dump(mode="json")
    (tmp_path / guarding.BEFORE_FILE).unlink()
    assert judge(stage, "new").before_lesions == found.lesions
    assert asked.count("old") == 2
