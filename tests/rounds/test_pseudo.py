"""Which predictions may stand in for labels, and what λ and weights they get."""

from __future__ import annotations

import pytest

from napari_dasl.project.config import SelfpacedConfig
from napari_dasl.rounds import pseudo


@pytest.fixture
def model(project, script, pool):
    """A model that predicted the whole pool."""
    project.model_folder("m1")
    found = project.add_model("m1", promoted=True, active=True, guard={"dice": 0.8})
    script.losses = {name: 0.1 * number for number, name in enumerate(pool, 1)}
    script.predict_cases(project)
    return found


class TestCandidates:
    def test_are_the_unlabelled_predicted_cases(self, project, model, pool):
        found = pseudo.find(project, model, "own")
        assert found.losses == pytest.approx({name: 0.1 * n for n, name in enumerate(pool, 1)})
        assert not set(found.losses) & {c.id for c in project.guard_cases() + project.training_cases()}

    def test_never_hold_a_rejected_a_skipped_or_a_newly_labelled_case(self, project, model, pool, script, balls):
        pace = pseudo.Pace(1.0, None, 0, 0.8)
        choice = pseudo.choose(pseudo.find(project, model, "own").losses, pace, SelfpacedConfig())
        rows = [row(name, weight) for name, weight in choice.weights.items()]
        project.new_round("spl", {})
        project.save_pseudo_labels(1, rows)
        project.reject_pseudo(pool[0], author="ann")
        project.skip(pool[1])
        project.record_label(pool[2], balls / "labels" / f"{pool[2]}.nii.gz", author="ann")
        assert set(pseudo.find(project, model, "own").losses) == set(pool[3:])
        project.allow_pseudo(pool[0], author="ann")
        assert pool[0] in pseudo.find(project, model, "own").losses

    def test_leave_out_what_found_nothing_unless_nothing_may_be_right(self, project, model, pool, script):
        script.empty = {pool[0]}
        script.store(project, pool[0], "m1")
        assert pseudo.find(project, model, "own").empty == (pool[0],)
        assert pool[0] in pseudo.find(project, model, "own", empty_labels=True).losses

    def test_name_the_cases_that_must_be_predicted_first(self, project, model, pool):
        other = project.add_model("m2", promoted=False)
        assert set(pseudo.find(project, other, "own").unpredicted) == set(pool)


class TestTheView:
    def test_is_the_projects_where_it_is_known(self, project, model, pool, script):
        script.losses = {name: {"self_loss": 0.1, "loss_previous": 0.5} for name in pool[:4]}
        script.losses |= {name: {"self_loss": 0.1} for name in pool[4:]}
        for name in pool:
            script.store(project, name, "m1")
        found = pseudo.find(project, model, "previous")
        assert found.view == "previous"
        assert found.losses == dict.fromkeys(pool[:4], 0.5)
        assert "2 predictions" in found.notes[0]

    def test_is_the_own_label_where_no_other_is_known_and_says_so(self, project, model):
        found = pseudo.find(project, model, "teacher")
        assert (found.view, len(found.losses)) == ("own", 6)
        assert "own label is used" in found.notes[0]


LOSSES = {"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4, "e": 0.9}


class TestThePace:
    def test_by_quantile_takes_about_that_share_and_grows_with_the_guard_dice(self):
        config = SelfpacedConfig(quantile=0.2, growth=0.4, ceiling=0.7)
        first = pseudo.pace_of(LOSSES, config, before=None, quantile_before=None, iteration=0, accuracy=0.5)
        assert first.quantile == 0.2
        assert set(pseudo.choose(LOSSES, first, config).taken) == {"a"}
        then = pseudo.pace_of(LOSSES, config, before=9.9, quantile_before=0.2, iteration=1, accuracy=0.5)
        assert then.quantile == pytest.approx(0.4)
        assert set(pseudo.choose(LOSSES, then, config).taken) == {"a", "b"}
        last = pseudo.pace_of(LOSSES, config, before=9.9, quantile_before=0.65, iteration=2, accuracy=0.5)
        assert last.quantile == 0.7

    def test_of_the_paper_is_lambda_plus_alpha_eta(self):
        config = SelfpacedConfig(pace="paper", regularizer="linear", pace0=0.25, alpha=0.1, stop=2)
        kept = {"quantile_before": None, "accuracy": 0.5}
        assert pseudo.pace_of(LOSSES, config, before=None, iteration=0, **kept).value == 0.25
        assert pseudo.pace_of(LOSSES, config, before=0.25, iteration=1, **kept).value == pytest.approx(0.3)
        assert pseudo.pace_of(LOSSES, config, before=0.3, iteration=2, **kept).value == pytest.approx(0.3)

    def test_scales_with_c_so_that_the_share_stays(self):
        taken = []
        for c in (1.0, 7.0):
            config = SelfpacedConfig(quantile=0.4, c=c)
            pace = pseudo.pace_of(LOSSES, config, before=None, quantile_before=None, iteration=0, accuracy=None)
            taken.append(pseudo.choose(LOSSES, pace, config).weights)
        assert taken[0] == pytest.approx(taken[1])

    def test_of_the_logarithmic_weights_stays_below_one(self):
        config = SelfpacedConfig(regularizer="logarithmic", quantile=0.5)
        large = {"a": 2.0, "b": 3.0, "c": 0.2}
        pace = pseudo.pace_of(large, config, before=None, quantile_before=None, iteration=0, accuracy=None)
        assert 0 < pace.value < 1
        assert set(pseudo.choose(large, pace, config).taken) == {"c"}

    def test_effective_number_is_the_sum_of_the_weights(self):
        config = SelfpacedConfig(regularizer="linear", pace="paper", pace0=0.4)
        pace = pseudo.pace_of(LOSSES, config, before=None, quantile_before=None, iteration=0, accuracy=None)
        choice = pseudo.choose(LOSSES, pace, config)
        assert choice.weights == pytest.approx({"a": 0.75, "b": 0.5, "c": 0.25, "d": 0.0, "e": 0.0})
        assert list(choice.taken) == ["a", "b", "c"]
        assert choice.effective == pytest.approx(1.5)
        assert choice.mean_weight == pytest.approx(0.5)


def row(name: str, weight: float):
    from napari_dasl.project.records import PseudoLabel
    from napari_dasl.project.store import now

    return PseudoLabel(case=name, round=1, model="m1", weight=weight, loss=0.1, pace=1.0, created=now(), verdict="")
