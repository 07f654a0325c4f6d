"""Pseudo-labels: apart from labels, reviewed by people, and never in the way of a human label."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime

import numpy as np
import pytest

from napari_dasl.errors import GridMismatch, LabelError, ProjectError, StorageError
from napari_dasl.project import CaseState, Project, PseudoLabel

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
PREDICTED = tuple(f"p{number}" for number in range(1, 9))


def predict(project, case, model="m", seed=0):
    values = np.random.default_rng(seed).random((3, *project.case(case).shape), dtype=np.float32)
    project.save_prediction(case, model, values / values.sum(axis=0), np.zeros(3), {})


@pytest.fixture
def study(project):
    """Twelve cases, eight of them predicted by model m."""
    project.add_model("m", round=1, active=True)
    for number, case in enumerate(PREDICTED):
        predict(project, case, seed=number)
    return project


def pseudo(case, weight=0.5, loss=0.1, round=2, model="m"):
    return PseudoLabel(case, round, model, weight, loss, 0.2, NOW)


class TestTheCandidatesOfARound:
    def test_they_are_kept_whole_and_come_by_weight(self, study):
        rows = [pseudo("p1", 0.25, 0.15), pseudo("p2", 1.0, 0.0), pseudo("p3", 0.0, 0.3), pseudo("p4", 0.25, 0.1)]
        study.save_pseudo_labels(2, rows)
        assert [row.case for row in study.pseudo_labels()] == ["p2", "p4", "p1", "p3"]
        assert set(study.pseudo_labels()) == set(rows)

    def test_saving_a_round_again_replaces_it_and_only_it(self, study):
        study.save_pseudo_labels(2, [pseudo("p1"), pseudo("p2")])
        study.save_pseudo_labels(4, [pseudo("p3", round=4)])
        study.save_pseudo_labels(2, [pseudo("p4")])
        assert [row.case for row in study.pseudo_labels(2)] == ["p4"]
        assert [row.case for row in study.pseudo_labels()] == ["p3"]

    def test_the_newest_round_is_the_newest_that_has_any(self, study):
        study.save_pseudo_labels(2, [pseudo("p1")])
        study.save_pseudo_labels(4, [])
        assert [row.round for row in study.pseudo_labels()] == [2]
        assert study.pseudo_labels(4) == []

    def test_those_of_weight_above_zero_in_the_newest_round_count(self, study):
        study.save_pseudo_labels(2, [pseudo("p1"), pseudo("p2")])
        study.save_pseudo_labels(4, [pseudo("p2", round=4), pseudo("p3", 0.0, round=4)])
        assert [case.id for case in study.cases() if case.pseudo] == ["p2"]
        assert study.case("p2").state is CaseState.PSEUDO
        assert study.counts()["pseudo"] == 1
        assert {case.id for case in study.pool()} >= {"p1", "p2", "p3"}
        assert study.training_cases() == []

    def test_a_human_label_always_wins(self, study, mask_of):
        study.save_pseudo_labels(2, [pseudo("p1"), pseudo("p2")])
        study.record_label("p1", mask_of(study, "p1"), author="Anna")
        assert [case.id for case in study.cases() if case.pseudo] == ["p2"]
        assert study.case("p1").state is CaseState.LABELLED
        study.save_pseudo_labels(4, [pseudo("p1", round=4), pseudo("p3", round=4)])
        assert [case.id for case in study.cases() if case.pseudo] == ["p3"]
        assert np.array_equal(study.read_label("p1"), mask_of(study, "p1"))

    def test_the_mask_is_what_the_model_of_the_row_predicted(self, study):
        study.add_model("newer", active=True)
        predict(study, "p1", "newer", seed=99)
        study.save_pseudo_labels(2, [pseudo("p1")])
        assert np.array_equal(study.pseudo_mask("p1"), study.prediction("p1", "m").label())
        study.save_pseudo_labels(4, [pseudo("p2", round=4)])
        assert np.array_equal(study.pseudo_mask("p1"), study.prediction("p1", "m").label())  # for a later blind check
        with pytest.raises(ProjectError, match="p3 has no pseudo-label"):
            study.pseudo_mask("p3")

    def test_a_prediction_that_is_gone_is_named(self, study):
        study.save_pseudo_labels(2, [pseudo("p1")])
        os.rename(study.folder / "predictions" / "m" / "p1", study.folder / "elsewhere")
        with pytest.raises(StorageError, match=r"p1 is damaged: it is missing\. Predict this case again"):
            study.pseudo_mask("p1")

    @pytest.mark.parametrize(
        ("row", "words"),
        [
            (pseudo("p1", round=3), "of round 3, not 2"),
            (pseudo("p13"), "has not predicted case p13"),
            (pseudo("p9"), "has not predicted case p9"),
            (pseudo("p1", model="n"), "no model n"),
            (pseudo("p1", weight=1.1), "weight 1.1"),
            (pseudo("p1", weight=-0.1), "weight -0.1"),
            (pseudo("p1", weight=float("nan")), "weight nan"),
            (pseudo("p1", loss=float("nan")), "loss nan"),
        ],
    )
    def test_a_wrong_row_is_refused_and_nothing_changes(self, study, row, words):
        study.save_pseudo_labels(2, [pseudo("p3")])
        with pytest.raises(ProjectError, match=words):
            study.save_pseudo_labels(2, [pseudo("p2"), row])
        assert [one.case for one in study.pseudo_labels()] == ["p3"]

    def test_a_case_twice_is_refused(self, study):
        with pytest.raises(ProjectError, match="p1 has two"):
            study.save_pseudo_labels(2, [pseudo("p1"), pseudo("p1", 0.0)])

    def test_the_guard_set_is_never_pseudo_labelled(self, study, mask_of):
        for case in ("p1", "p2", "p3"):
            study.record_label(case, mask_of(study, case), author="Anna")
        (guard, _) = study.choose_guard()
        with pytest.raises(ProjectError, match=f"{guard} is in the guard set and is never pseudo-labelled"):
            study.save_pseudo_labels(2, [pseudo("p4"), pseudo(guard, 0.0)])
        assert study.pseudo_labels() == []


class TestAccepting:
    def test_it_becomes_a_corrected_label_of_the_annotators(self, study):
        study.save_pseudo_labels(2, [pseudo("p1"), pseudo("p2")])
        made = study.accept_pseudo("p1", author="Anna", seconds=8)
        assert (made.source, made.model, made.round, made.author, made.seconds) == ("corrected", "m", 2, "Anna", 8)
        assert made.human
        assert np.array_equal(study.read_label("p1"), study.prediction("p1", "m").label())
        (review,) = study.pseudo_reviews()
        assert (review.case, review.verdict, review.author, review.round, review.model, review.revision) == (
            *("p1", "accepted", "Anna", 2, "m"),
            made.number,
        )
        assert {row.case: row.verdict for row in study.pseudo_labels()} == {"p1": "accepted", "p2": ""}
        assert [case.id for case in study.training_cases()] == ["p1"]

    def test_a_corrected_mask_takes_its_place(self, study, mask_of):
        study.save_pseudo_labels(2, [pseudo("p1")])
        study.accept_pseudo("p1", author="Anna", mask=mask_of(study, "p1", 3))
        assert np.array_equal(study.read_label("p1"), mask_of(study, "p1", 3))

    def test_again_adds_nothing_and_returns_what_is_there(self, study):
        study.save_pseudo_labels(2, [pseudo("p1")])
        first = study.accept_pseudo("p1", author="Anna", seconds=8)
        assert study.accept_pseudo("p1", author="Ben") == first
        assert study.labels("p1") == [first]
        assert len(study.pseudo_reviews()) == 1

    def test_another_human_label_is_never_covered(self, study, mask_of):
        study.save_pseudo_labels(2, [pseudo("p1"), pseudo("p2")])
        study.record_label("p1", mask_of(study, "p1"), author="Anna")
        study.accept_pseudo("p2", author="Anna")
        for case, mask in (("p1", None), ("p2", mask_of(study, "p2", 3))):
            with pytest.raises(ProjectError, match=f"{case} has a human label: its pseudo-label cannot be accepted"):
                study.accept_pseudo(case, author="Ben", mask=mask)
            assert len(study.labels(case)) == 1

    def test_what_is_none_or_was_rejected_is_refused(self, study):
        study.save_pseudo_labels(2, [pseudo("p1")])
        with pytest.raises(ProjectError, match="p2 has no pseudo-label"):
            study.accept_pseudo("p2", author="Anna")
        study.save_pseudo_labels(1, [pseudo("p3", round=1)])  # of an older round
        for review in (study.accept_pseudo, study.reject_pseudo):
            with pytest.raises(ProjectError, match="p3 has no pseudo-label"):
                review("p3", author="Anna")
        study.reject_pseudo("p1", author="Anna")
        with pytest.raises(ProjectError, match=r"p1 was rejected\. Allow it again"):
            study.accept_pseudo("p1", author="Anna")
        assert study.labels("p1") == []
        assert os.listdir(study.folder / "labels" / "p1") == []

    def test_a_guard_case_is_refused(self, study, mask_of):
        study.save_pseudo_labels(2, [pseudo(case) for case in PREDICTED])
        for case in ("p1", "p2", "p3"):
            study.record_label(case, mask_of(study, case), author="Anna")
        (guard, _) = study.choose_guard()
        for review in (study.accept_pseudo, study.reject_pseudo):
            with pytest.raises(ProjectError, match=f"{guard} is in the guard set"):
                review(guard, author="Anna")

    @pytest.mark.parametrize(
        ("mask", "error"), [(np.zeros((2, 2, 2), np.uint8), GridMismatch), (np.full((7, 6, 5), 9), LabelError)]
    )
    def test_a_mask_that_is_no_label_of_the_case_changes_nothing(self, study, mask, error):
        study.save_pseudo_labels(2, [pseudo("p1")])
        with pytest.raises(error):
            study.accept_pseudo("p1", author="Anna", mask=mask)
        assert (study.labels("p1"), study.pseudo_reviews()) == ([], [])

    def test_one_who_labels_meanwhile_wins(self, study, mask_of, monkeypatch):
        study.save_pseudo_labels(2, [pseudo("p1")])
        with Project.open(study.folder) as other:
            look = study._pseudo_mask

            def slow(label):
                other.record_label("p1", mask_of(other, "p1"), author="Ben")
                return look(label)

            monkeypatch.setattr(study, "_pseudo_mask", slow)
            with pytest.raises(ProjectError, match="p1 has a human label"):
                study.accept_pseudo("p1", author="Anna")
        assert [one.author for one in study.labels("p1")] == ["Ben"]
        assert study.pseudo_reviews() == []


class TestRejecting:
    def test_it_stays_in_the_pool_and_never_counts_until_it_is_allowed(self, study):
        study.save_pseudo_labels(2, [pseudo("p1"), pseudo("p2")])
        study.reject_pseudo("p1", author="Anna")
        study.save_pseudo_labels(4, [pseudo("p1", round=4), pseudo("p3", round=4)])
        assert study.rejected() == {"p1"}
        assert [case.id for case in study.cases() if case.pseudo] == ["p3"]
        assert "p1" in {case.id for case in study.pool()}
        assert {row.case: row.verdict for row in study.pseudo_labels()} == {"p1": "rejected", "p3": ""}
        study.allow_pseudo("p1", author="Ben")
        assert study.rejected() == frozenset()
        assert [case.id for case in study.cases() if case.pseudo] == ["p1", "p3"]
        assert [(one.verdict, one.author, one.round) for one in study.pseudo_reviews()] == [
            ("rejected", "Anna", 2),
            ("allowed", "Ben", 2),
        ]
        assert study.accept_pseudo("p1", author="Anna").round == 4

    def test_twice_adds_nothing(self, study):
        study.save_pseudo_labels(2, [pseudo("p1")])
        for _ in range(2):
            study.reject_pseudo("p1", author="Anna")
        assert len(study.pseudo_reviews()) == 1

    def test_what_is_none_or_labelled_is_refused(self, study, mask_of):
        study.save_pseudo_labels(2, [pseudo("p1")])
        study.record_label("p1", mask_of(study, "p1"), author="Anna")
        with pytest.raises(ProjectError, match="p1 has a human label: its pseudo-label cannot be rejected"):
            study.reject_pseudo("p1", author="Anna")
        with pytest.raises(ProjectError, match="p2 has no pseudo-label"):
            study.reject_pseudo("p2", author="Anna")
        with pytest.raises(ProjectError, match="p2 was not rejected"):
            study.allow_pseudo("p2", author="Anna")

    def test_a_review_has_an_author(self, study):
        study.save_pseudo_labels(2, [pseudo("p1")])
        with pytest.raises(ProjectError, match="needs an author"):
            study.reject_pseudo("p1", author=" ")
        assert study.rejected() == frozenset()


class TestBlindChecks:
    def test_the_dice_is_kept_with_the_pseudo_label_that_was_accepted(self, study, mask_of):
        study.save_pseudo_labels(2, [pseudo("p1")])
        study.accept_pseudo("p1", author="Anna")
        study.save_pseudo_labels(4, [pseudo("p2", round=4)])
        drawn = study.record_label("p1", mask_of(study, "p1"), author="Ben")
        study.record_audit("p1", revision=drawn.number, dice=0.75, author="Ben")
        last = study.pseudo_reviews()[-1]
        assert (last.verdict, last.dice, last.revision, last.round, last.model) == ("audited", 0.75, 2, 2, "m")
        assert study.pseudo_labels(2)[0].verdict == "accepted"

    def test_one_that_nobody_accepted_belongs_to_the_round_that_weighed_it_last(self, study, mask_of):
        study.save_pseudo_labels(2, [pseudo("p1")])
        study.save_pseudo_labels(4, [pseudo("p1", round=4)])
        drawn = study.record_label("p1", mask_of(study, "p1"), author="Ben")
        study.record_audit("p1", revision=drawn.number, dice=1, author="Ben")
        assert study.pseudo_reviews()[0].round == 4

    def test_the_impossible_is_refused(self, study, mask_of):
        study.save_pseudo_labels(2, [pseudo("p1")])
        for case in ("p1", "p2"):
            study.record_label(case, mask_of(study, case), author="Ben")
        with pytest.raises(LabelError, match="no label revision 7"):
            study.record_audit("p1", revision=7, dice=0.5, author="Ben")
        for dice in (-0.1, 1.1, float("nan")):
            with pytest.raises(ProjectError, match="impossible"):
                study.record_audit("p1", revision=1, dice=dice, author="Ben")
        with pytest.raises(ProjectError, match="p2 never had a pseudo-label"):
            study.record_audit("p2", revision=1, dice=0.5, author="Ben")
        assert study.pseudo_reviews() == []


ACCEPTER = """
import sys
from napari_dasl.project import Project
with Project.open(sys.argv[1]) as project:
    for row in project.pseudo_labels():
        project.accept_pseudo(row.case, author="Anna")
        print(row.case, flush=True)
    sys.stdin.readline()
"""


def test_after_a_killed_process_the_label_and_its_review_are_both_there_or_neither(study):
    study.save_pseudo_labels(2, [pseudo(case) for case in PREDICTED])
    process = subprocess.Popen(
        [sys.executable, "-c", ACCEPTER, str(study.folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    said = [process.stdout.readline().strip() for _ in range(2)]
    process.send_signal(signal.SIGKILL)
    process.communicate()
    accepted = {review.case: review.revision for review in study.pseudo_reviews()}
    labelled = {case.id: study.labels(case.id)[0].number for case in study.cases() if case.labelled}
    assert set(said) <= set(accepted)
    assert accepted == labelled
    for case in PREDICTED:  # whoever goes on finds nothing half done
        study.accept_pseudo(case, author="Anna")
    assert [len(study.labels(case)) for case in PREDICTED] == [1] * len(PREDICTED)
