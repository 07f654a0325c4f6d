"""SPL rounds around a network that says what a test wrote down: λ, pseudo-labels, the guard set and human labels."""

from __future__ import annotations

import numpy as np
import pytest

from napari_dasl import rounds
from napari_dasl.errors import Cancelled, ProjectError
from napari_dasl.rounds import RoundPlan, crossfit, phases
from napari_dasl.rounds.conductor import UNJUDGED

SPL, AL = (RoundPlan(phase=phase, device="cpu") for phase in ("spl", "al"))


def label(project, balls, case):
    return project.record_label(case, balls / "labels" / f"{case}.nii.gz", author="ann")


@pytest.fixture
def begun(project, script, pool):
    """A project after its first round; the losses of the pool are 0.1, 0.2, …, 0.6."""
    script.losses = {name: 0.1 * number for number, name in enumerate(pool, 1)}
    script.dice = [0.5, 0.6, 0.7, 0.8, 0.9]
    rounds.run(project, AL)
    return project


class TestAnSplRound:
    def test_learns_from_weighted_predictions_beside_the_labels(self, begun, script, pool):
        begun.update_config(selfpaced__regularizer="linear", selfpaced__pace="paper", selfpaced__pace0=0.4)
        result = rounds.run(begun, SPL)
        found = {case.id: case for case in script.trained[-1]}
        human = {case.id for case in begun.training_cases()}
        pseudo = {name: case.weight for name, case in found.items() if not case.human}
        assert {name for name, case in found.items() if case.human} == human
        assert pseudo == pytest.approx({pool[0]: 0.75, pool[1]: 0.5, pool[2]: 0.25})
        model = begun.pseudo_labels()[0].model
        np.testing.assert_array_equal(found[pool[0]].label(), begun.prediction(pool[0], model).label())
        assert result.trained_on == {"human": 6, "pseudo": 3}
        assert {"candidates": 6, "taken": 3, "regularizer": "linear", "view": "own"}.items() <= result.pseudo.items()
        assert result.pseudo["effective"] == pytest.approx(1.5)
        assert result.sentence.startswith("Trained on 6 labels and 3 pseudo-labels (mean weight 0.50).")

    def test_stores_every_candidate_with_its_loss_and_lambda(self, begun, pool):
        result = rounds.run(begun, SPL)
        rows = begun.pseudo_labels(2)
        assert {row.case for row in rows} == set(pool)
        assert {row.pace for row in rows} == {result.pace}
        assert sum(row.weight for row in rows) == pytest.approx(result.pseudo["effective"])

    def test_never_touches_the_guard_set(self, begun, script):
        guard = {case.id for case in begun.guard_cases()}
        result = rounds.run(begun, SPL)
        rounds.run(begun, SPL)
        assert all(guard.isdisjoint(case.id for case in cases) for cases in script.trained)
        assert guard.isdisjoint(row.case for n in (2, 3) for row in begun.pseudo_labels(n))
        assert guard.isdisjoint(result.asked)
        assert all(begun.prediction(name, model.id) is None for name in guard for model in begun.models())

    def test_predicts_first_what_is_not_predicted(self, project, script, pool):
        script.losses = {name: 0.1 * number for number, name in enumerate(pool, 1)}
        script.dice = [0.8, 0.8]
        rounds.run(project, AL.model_copy(update={"predict": False}))
        result = rounds.run(project, SPL)
        assert result.pseudo["candidates"] == 6

    def test_offers_two_of_its_pseudo_labels_for_a_blind_check(self, begun, pool):
        begun.update_config(selfpaced__quantile=0.8)
        result = rounds.run(begun, SPL)
        taken = {row.case for row in begun.pseudo_labels() if row.weight > 0}
        assert len(taken) > 2
        assert len(set(result.audits)) == 2
        assert set(result.audits) <= taken

    def test_asks_for_the_head_of_the_list_where_an_al_phase_comes_next(self, begun, pool):
        begun.update_config(ranking__query=2)
        assert rounds.run(begun, RoundPlan(device="cpu")).asked == pool[:2]
        assert rounds.run(begun, AL).asked == []


class TestTheHumanLabel:
    def test_wins_over_a_pseudo_label_of_the_phase_before(self, begun, script, pool, balls):
        begun.update_config(selfpaced__quantile=0.8)
        rounds.run(begun, SPL)
        assert begun.case(pool[0]).pseudo
        label(begun, balls, pool[0])
        assert not begun.case(pool[0]).pseudo
        rounds.run(begun, SPL)
        found = {case.id: case for case in script.trained[-1]}
        assert found[pool[0]].human
        assert found[pool[0]].weight == 1.0
        assert pool[0] not in {row.case for row in begun.pseudo_labels()}

    def test_drawn_during_a_round_stays_and_is_for_the_next_one(self, begun, script, pool, balls):
        script.during = lambda: label(begun, balls, pool[0])
        result = rounds.run(begun, SPL)
        script.during = lambda: None
        assert not {case.id: case for case in script.trained[-1]}[pool[0]].human
        assert [one.source for one in begun.labels(pool[0])] == ["human"]
        assert pool[0] not in result.audits
        rounds.run(begun, SPL)
        assert {case.id: case for case in script.trained[-1]}[pool[0]].human

    def test_does_not_change_a_round_that_is_resumed(self, begun, script, pool, balls):
        def stop():
            raise Cancelled("Stopped.", "")

        script.during = stop
        with pytest.raises(Cancelled):
            rounds.run(begun, SPL)
        script.during = lambda: None
        began_with = [(case.id, case.weight, case.label_key) for case in script.trained.pop()]
        label(begun, balls, pool[0])
        begun.update_config(selfpaced__quantile=0.8)
        rounds.run(begun, resume=True)
        assert [(case.id, case.weight, case.label_key) for case in script.trained[-1]] == began_with


class TestThePace:
    def test_of_the_paper_equals_three_rounds_by_hand(self, begun, pool):
        """λ0 = 0.25; η of the models before rounds 3 and 4 is 0.6 and 0.7; α = 0.25; v = 1 − l/λ."""
        keys = {"regularizer": "linear", "pace": "paper", "pace0": 0.25, "alpha": 0.25}
        begun.update_config(**{f"selfpaced__{key}": value for key, value in keys.items()})
        by_hand = [
            (0.25, [0.6, 0.2, 0, 0, 0, 0]),
            (0.25 + 0.25 * 0.6, [0.75, 0.5, 0.25, 0, 0, 0]),
            (0.40 + 0.25 * 0.7, [1 - 0.1 * n / 0.575 for n in range(1, 6)] + [0]),
        ]
        for number, (pace, weights) in enumerate(by_hand, 2):
            result = rounds.run(begun, SPL)
            assert result.pace == pytest.approx(pace)
            rows = {row.case: row for row in begun.pseudo_labels(number)}
            assert [rows[name].loss for name in pool] == pytest.approx([0.1 * n for n in range(1, 7)])
            assert [rows[name].weight for name in pool] == pytest.approx(weights)
        assert [item.result.get("lambda") for item in begun.rounds()] == [None, *(pytest.approx(p) for p, _ in by_hand)]

    def test_goes_back_with_a_round_that_did_not_take_over(self, begun, script):
        begun.update_config(selfpaced__pace="paper", selfpaced__pace0=0.3, selfpaced__alpha=0.5)
        script.dice = [0.5, 0.6, 0.4, 0.7]
        paces = [rounds.run(begun, SPL).pace for _ in range(3)]
        assert paces == pytest.approx([0.3, 0.3 + 0.5 * 0.6, 0.3 + 0.5 * 0.6])


class TestTheGuardSet:
    def test_keeps_the_old_model_and_says_why(self, begun, script):
        script.dice[1] = 0.4
        active = begun.active_model().id
        result = rounds.run(begun, SPL)
        assert not result.promoted
        assert begun.active_model().id == active
        assert result.model in {model.id for model in begun.models()}
        assert result.reason == "Guard Dice fell from 0.500 to 0.400, by more than the tolerance of 0.01."
        assert result.reason in result.sentence
        assert "kept as a candidate" in result.sentence
        assert result.guard.before_cases == dict.fromkeys(result.guard.cases, 0.5)

    def test_two_bad_rounds_switch_pseudo_labels_off_until_told_otherwise(self, begun, script):
        script.dice = [0.5, 0.3, 0.6, 0.4, 0.4, 0.6]
        assert rounds.run(begun, SPL).selfpaced_off == ""
        assert rounds.run(begun, SPL).promoted
        assert rounds.run(begun, SPL).selfpaced_off == ""
        bad = rounds.run(begun, SPL)
        assert bad.selfpaced_off == phases.TWO_FAILURES
        assert f"Pseudo-labels are off from now on: {phases.TWO_FAILURES}." in bad.sentence
        assert begun.events("selfpaced")[-1].payload["enabled"] is False
        human = rounds.run(begun, SPL)
        assert (human.phase, human.trained_on["pseudo"]) == ("al", 0)
        assert phases.TWO_FAILURES in human.fallback
        phases.switch(begun, True)
        assert phases.preview(begun, "spl").phase == "spl"

    def test_measures_the_old_model_anew_where_the_guard_labels_changed(self, begun, script, monkeypatch):
        from napari_dasl.rounds import guarding

        case = begun.guard_cases()[0].id
        begun.restore(case, 1, author="ann")
        asked = []

        def compare(network, cases, classes, **kwargs):
            asked.extend(one.id for one in cases)
            return [Row(one.id, 0.55) for one in cases]

        monkeypatch.setattr(guarding, "predictor", lambda folder, device: None)
        monkeypatch.setattr(guarding, "compare", compare)
        result = rounds.run(begun, SPL)
        assert sorted(asked) == sorted(one.id for one in begun.guard_cases())
        assert result.guard.before == pytest.approx(0.55)
        assert result.accuracy == pytest.approx(0.55)


class Row:
    def __init__(self, case: str, dice: float) -> None:
        self.case, self.dice = case, dice


class TestWithoutAGuardSet:
    @pytest.fixture
    def small(self, balls, tmp_path, script, monkeypatch):
        """Four labels, too few for a guard set; networks of the folds reach Dice 0.7."""
        from napari_dasl.project import Project, setup

        kept = {"modality": "MR", "annotated": 4, "guard": 0.0, "seed": 0}
        setup.make(tmp_path / "s", images=balls / "images", labels=balls / "labels", **kept)
        self.compared = []

        def compare(network, cases, classes, **kwargs):
            self.compared.extend(one.id for one in cases)
            return [Row(one.id, 0.7) for one in cases]

        monkeypatch.setattr(crossfit, "predictor", lambda folder, device: None)
        monkeypatch.setattr(crossfit, "compare", compare)
        with Project.open(tmp_path / "s") as project:
            assert not project.guard_cases()
            rounds.run(project, AL)
            yield project

    def test_eta_is_cross_fitted_over_labels_that_each_network_has_not_seen(self, small, script):
        result = rounds.run(small, SPL)
        labelled = {case.id for case in small.training_cases()}
        assert sorted(self.compared) == sorted(labelled)
        folds = [{case.id for case in cases} for cases in script.trained[1:4]]
        held_out = [labelled - seen for seen in folds]
        assert sorted(name for part in held_out for name in part) == sorted(labelled)
        assert sorted(map(len, held_out)) == [1, 1, 2]
        assert result.accuracy == pytest.approx(0.7)
        assert result.pseudo["crossfitted"]

    def test_the_model_waits_for_a_person_and_says_so(self, small):
        first = small.active_model().id
        result = rounds.run(small, SPL)
        assert not result.promoted
        assert result.reason == UNJUDGED
        assert small.active_model().id == first
        assert phases.standing(small).failures == 0
        small.use(result.model)
        assert small.active_model().id == result.model

    def test_an_interruption_does_not_repeat_it(self, small, script):
        trained = script.train

        def stop_at_the_round(plan, cases, folder, **kwargs):
            if any(not case.human for case in cases):
                raise Cancelled("Stopped.", "")
            return trained(plan, cases, folder, **kwargs)

        from napari_dasl.rounds import fitting

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fitting, "train", stop_at_the_round)
            with pytest.raises(Cancelled):
                rounds.run(small, SPL)
        rounds.run(small, resume=True)
        assert len(self.compared) == 4

    def test_too_low_an_eta_trains_on_labels_alone(self, small):
        small.update_config(selfpaced__least_dice=0.75)
        result = rounds.run(small, SPL)
        assert (result.phase, result.promoted) == ("al", True)
        assert "Dice 0.70 on labels it has not seen" in result.fallback


def test_a_second_round_at_the_same_time_is_refused(begun, script):
    def start_another():
        with pytest.raises(ProjectError, match="trained on"):
            rounds.run(begun, SPL)
        seen.append(True)

    seen = []
    script.during = start_another
    rounds.run(begun, SPL)
    assert seen == [True]


def test_all_cases_labelled_leaves_a_round_without_pseudo_labels(begun, balls, pool):
    for name in pool:
        label(begun, balls, name)
    result = rounds.run(begun, SPL)
    assert (result.phase, result.trained_on) == ("al", {"human": 12, "pseudo": 0})
    assert result.fallback == "There is no prediction that could be taken as a pseudo-label."
