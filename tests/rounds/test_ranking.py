"""The list that the annotator sees, from stored predictions: Eq. 3, unpredicted cases, fair samples."""

from __future__ import annotations

import numpy as np
import pytest

from napari_dasl import active
from napari_dasl.errors import InputError
from napari_dasl.rounds.ranking import rank_and_store, rank_pool


def predict_by_hand(project, doubts: dict[str, float]) -> dict[str, np.ndarray]:
    """Store predictions of a ball whose foreground probability is 1 − doubt, and return the signatures."""
    project.add_model("r0001-hand", promoted=True)
    project.use("r0001-hand")
    signatures = {}
    for number, (case, doubt) in enumerate(doubts.items()):
        shape = project.case(case).shape
        front = np.zeros(shape, np.float32)
        front[4:10, 5:12, 5 + number : 12 + number] = 1 - doubt
        probability = np.stack([1 - front, front])
        signatures[case] = front.ravel()[:500] + number
        scores = {f"uncertainty_{kind}": doubt for kind in ("volume", "body", "lesion")}
        facts = {"empty": False, "max_foreground": 1 - doubt, "uncertain_regions": 1, "undecided_spots": 0}
        project.save_prediction(
            case, "r0001-hand", probability, signatures[case], scores | facts | {"largest_region_ml": 1.0}
        )
    return signatures


def test_dasl_is_equation_3_over_the_pool(project):
    pool = [case.id for case in project.pool()]
    doubts = {case: 0.05 * (k + 1) for k, case in enumerate(pool)}
    signatures = predict_by_hand(project, doubts)
    expected = active.similarity_weighted(
        np.array([doubts[case] for case in pool]), np.stack([signatures[case] for case in pool]), beta=1.0
    )
    ranked = rank_pool(project, strategy="dasl").scores
    assert {one.case: one.score for one in ranked} == pytest.approx(dict(zip(pool, expected, strict=True)), rel=1e-5)
    assert [one.case for one in ranked] == [pool[k] for k in np.argsort(-expected)]


def test_the_default_leaves_similarity_out(project):
    pool = [case.id for case in project.pool()]
    predict_by_hand(project, {case: 0.05 * (k + 1) for k, case in enumerate(pool)})
    assert [one.case for one in rank_pool(project).scores] == pool[::-1]


def test_cases_without_a_prediction_follow_at_the_end(project):
    pool = [case.id for case in project.pool()]
    predict_by_hand(project, dict.fromkeys(pool[:3], 0.1))
    ranked = rank_pool(project).scores
    assert {one.case for one in ranked[:3]} == set(pool[:3])
    assert all(one.score is None for one in ranked[3:])
    assert len(ranked) == len(pool)


def test_without_a_model_the_order_is_fair_and_stays(project):
    first = [one.case for one in rank_pool(project).scores]
    assert first == [one.case for one in rank_pool(project).scores]
    assert first != [one.case for one in rank_pool(project, seed=1).scores]
    assert rank_and_store(project).strategy == "cold start"


def test_labelled_skipped_and_guard_cases_are_never_in_the_list(project, balls):
    pool = [case.id for case in project.pool()]
    project.skip(pool[0], "motion")
    project.record_label(pool[1], balls / "labels" / f"{pool[1]}.nii.gz", author="ann")
    listed = {one.case for one in rank_pool(project).scores}
    assert listed == set(pool[2:])
    assert not listed & {case.id for case in project.guard_cases()}


def test_an_empty_pool_is_an_empty_list(project, balls):
    for case in project.pool():
        project.record_label(case.id, balls / "labels" / f"{case.id}.nii.gz", author="ann")
    assert rank_and_store(project).scores == ()


def test_an_unknown_strategy_is_refused(project):
    with pytest.raises(InputError, match="no ranking strategy"):
        rank_pool(project, strategy="entropy-of-everything")
