"""The list that the annotator sees, from stored predictions: Eq. 3, unpredicted cases, fair samples."""

from __future__ import annotations

import numpy as np
import pytest

from napari_dasl import active
from napari_dasl.cli.parser import build_parser
from napari_dasl.errors import InputError
from napari_dasl.rounds import labelled_signatures
from napari_dasl.rounds.ranking import queries_before, rank_and_store, rank_pool


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


def test_the_batch_the_diagnosis_and_every_score_are_written_into_the_diary(project):
    pool = [case.id for case in project.pool()]
    predict_by_hand(project, {case: 0.05 * (k + 1) for k, case in enumerate(pool)})
    project.update_config(ranking__strategy="dasl", ranking__query=2)
    ranking = rank_and_store(project)
    (event,) = project.events("ranking")
    assert event.payload["strategy"] == "dasl"
    assert event.payload["query"] == list(ranking.query) == [one.case for one in ranking.scores[:2]]
    assert dict(event.payload["scores"]) == pytest.approx({one.case: one.score for one in ranking.scores})
    assert event.payload["diagnosis"]["against"] == pytest.approx(ranking.diagnosis.against)
    assert event.payload["diagnosis"]["variation"] > 0
    rank_and_store(project)
    assert len(project.events("ranking")) == 1
    project.skip(pool[0], "motion")
    rank_and_store(project)
    assert len(project.events("ranking")) == 2


def test_what_the_diary_says_gives_the_list_again(project):
    pool = [case.id for case in project.pool()]
    predict_by_hand(project, {case: 0.05 * (k + 1) for k, case in enumerate(pool)})
    project.update_config(ranking__strategy="power", ranking__power=1.0)
    rank_and_store(project)
    said = project.events("ranking")[0].payload
    again = rank_pool(project, strategy=said["strategy"], seed=said["seed"])
    assert [[one.case, one.score] for one in again.scores] == said["scores"]


def test_the_most_similar_scans_come_from_signatures_labelled_ones_first_and_never_the_guard_set(project):
    pool = [case.id for case in project.pool()]
    signatures = predict_by_hand(project, dict.fromkeys(pool, 0.2))
    length = len(project.config.classes) * project.config.ranking.signature**3
    learn = [case.id for case in project.training_cases()]
    for case in [*learn, *(one.id for one in project.guard_cases())]:
        labelled_signatures.keep(project, "r0001-hand", case, np.resize(signatures[pool[1]], length))
    for case in pool:  # signatures of the length that the project asks for
        vector = np.resize(signatures[case], length).astype(np.float32)
        np.save(project.prediction(case).folder / "signature.npy", vector)
    rank_and_store(project)
    for one in project.scores():
        labelled = [item for item in one.similar if item[2]]
        others = [item for item in one.similar if not item[2]]
        assert len(labelled) == len(others) == 3
        assert {case for case, _, _ in labelled} <= set(learn)
        assert one.case not in {case for case, _, _ in one.similar}
        assert {case for case, _, _ in others} <= set(pool)
        assert [cosine for _, cosine, _ in others] == sorted((cosine for _, cosine, _ in others), reverse=True)
    first = next(one for one in project.scores() if one.case == pool[1])
    assert [cosine for _, cosine, known in first.similar if known] == pytest.approx([1, 1, 1])
    assert {"uncertainty_volume", "uncertainty_lesion", "max_foreground"} <= set(first.parts)


def test_predictions_of_an_older_version_lack_numbers_and_the_command_that_makes_them_is_named(project):
    predict_by_hand(project, {case.id: 0.1 for case in project.pool()})
    for strategy in ("clasp-pe", "random-foreground", "bald", "disagreement"):
        with pytest.raises(InputError, match="6 of 6 predictions lack what the order") as caught:
            rank_pool(project, strategy=strategy)
        assert caught.value.hint == f"Run `napari-dasl predict {project.folder} --for {strategy}`."
    for strategy in ("default", "dasl", "uncertainty", "power", "k-centre", "random"):
        assert len(rank_pool(project, strategy=strategy).scores) == 6


def test_a_schedule_moves_on_with_every_round_that_answered_a_query(project):
    assert queries_before(project) == 0
    for phase, expected in (("al", 0), ("spl", 0), ("al", 1)):
        number = project.new_round(phase, {}).number
        project.finish_round(number, "done", {})
        assert queries_before(project) == expected


def test_the_command_line_names_every_strategy(capsys):
    with pytest.raises(SystemExit):
        build_parser().parse_args(["rank", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert all(name in said for name in active.STRATEGIES)
