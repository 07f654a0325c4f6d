"""The four orderings: the same scores, steps and splits, and what the tests of the paper make of their rows."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from napari_dasl.experiments import pet_orderings
from napari_dasl.experiments.conducting import Request, conduct, protocol_of

TINY = {"patch": "16x16x16", "width": "4", "parts": "2", "scoring-folds": "2", "mixup": "0"}


def request(out, scans, **more):
    told = {"seeds": (0,), "steps": 10, "device": "cpu", "separator": "_", "options": TINY} | more
    return Request("pet-orderings", scans, out, **told)


@pytest.fixture(scope="module")
def made(tmp_path_factory, scans):
    out = tmp_path_factory.mktemp("pet")
    return out, conduct(request(out, scans, steps=3, arms=("bootstrapping", "anti")))


def test_anti_is_bootstrapping_reversed_and_scores_are_made_once_for_both(made):
    out, found = made
    easy, hard = (row["measures"] for row in found["rows"])
    assert easy["scores"] == hard["scores"]
    losses = easy["scores"]["bootstrapping"]
    assert easy["order"] == sorted(losses, key=losses.get)
    assert hard["order"] == easy["order"][::-1]
    assert easy["scores"]["self-paced"] != losses
    # One network a fold scores against the label and against itself.
    assert len(list(out.glob("work/*/scores/s0/fold-*/weights.safetensors"))) == 2


def test_a_run_leaves_a_learning_curve_and_every_file(made):
    out, found = made
    assert [len(row["curve"]) for row in found["rows"]] == [3, 3]  # no more points than steps
    assert {row["steps"] for row in found["rows"]} == {3}
    assert {path.name for path in out.iterdir()} >= {"table.csv", "table.md", "report.html", "curves.png", "cases.png"}
    assert "0.78" in (out / "table.md").read_text()


def test_as_many_repeats_as_there_are_parts_test_every_case_once(tmp_path, scans):
    protocol = protocol_of(pet_orderings.EXPERIMENT, request(tmp_path, scans))
    splits = [pet_orderings.split_of(protocol, seed) for seed in range(4)]
    for repeats in (splits[:2], splits[2:]):
        tested = [sample.id for split in repeats for sample in split.test]
        assert sorted(tested) == sorted(sample.id for sample in protocol.study.samples)
    for split in splits:
        assert not {one.group for one in split.train} & {one.group for one in split.test}


def test_every_ordering_has_the_same_pacing_and_the_paper_s_recipe(tmp_path, scans):
    protocol = protocol_of(pet_orderings.EXPERIMENT, request(tmp_path, scans))
    arms = pet_orderings.arms(protocol)
    assert [arm.name for arm in arms] == ["bootstrapping", "self-paced", "random", "anti", "all"]
    assert len({arm.course.pacing for arm in arms[:4]}) == 1
    assert arms[0].course.pacing.name == "fixed-exponential"
    plan = pet_orderings.plan_of(protocol, pet_orderings.split_of(protocol, 0), 0)
    assert (plan.loss, plan.optimiser, plan.betas, plan.batch) == ("focal-dice-ms", "adam", (0.9, 0.99), 2)
    assert (plan.learning_rate, plan.schedule, plan.augmentation.degrees) == (1e-3, "warm-restarts", 25.0)


def rows(make_row):
    """Two repeats with six test cases each; bootstrapping gains 0.1 in every case and a little noise."""
    rng = np.random.default_rng(0)
    found = []
    for seed in range(2):
        easy = rng.uniform(0.3, 0.7, 6)
        for name, gain in (("bootstrapping", 0.1), ("random", 0.0), ("self-paced", -0.1), ("anti", -0.2)):
            dice = easy + gain + rng.normal(0, 0.01, 6)
            curve = ((25, 0.2), (50, 0.4), (75, 0.5), (100, float(dice.mean())))
            one = make_row(name, seed, dice.tolist(), curve=curve)
            found.append(one.model_copy(update={"dice": {f"{case}{seed}": v for case, v in one.dice.items()}}))
    return found


def test_the_tests_are_those_of_the_paper(tmp_path, scans, make_row):
    protocol = protocol_of(pet_orderings.EXPERIMENT, request(tmp_path, scans))
    told = pet_orderings.tell(protocol, rows(make_row))
    anova = told.numbers["anova"]
    assert (anova["between"], anova["within"]) == (3, 33)  # four orderings, twelve test cases
    assert anova["p"] < 0.001
    lines = {line[0]: line for line in told.tables[1].rows}
    ours, theirs = (
        [v for one in rows(make_row) if one.arm == name for v in one.dice.values()]
        for name in ("bootstrapping", "random")
    )
    assert lines["bootstrapping − random"][1:3] == pytest.approx(tuple(stats.ks_2samp(ours, theirs)))
    assert lines["bootstrapping − random"][4] == pytest.approx(np.mean(ours) - np.mean(theirs))
    first = dict(zip([column.title for column in told.tables[0].columns], told.tables[0].rows[0], strict=True))
    assert first["Dice"] == pytest.approx(np.mean(ours))
    assert first["SD over cases"] == pytest.approx(np.std(ours, ddof=1))
    assert first["Dice at a quarter"] == 0.2
    assert any("the order of the paper" in words for words in told.words)
    assert json.dumps(dict(told.numbers))


def test_a_case_that_is_empty_in_truth_and_prediction_counts_nowhere(tmp_path, scans, make_row):
    """SCIENCE 7: both empty is a class of its own and stays out of the mean."""
    protocol = protocol_of(pet_orderings.EXPERIMENT, request(tmp_path, scans))
    before = pet_orderings.tell(protocol, rows(make_row))
    found = [one.model_copy(update={"dice": {**one.dice, "empty": None}}) for one in rows(make_row)]
    assert [table.rows for table in pet_orderings.tell(protocol, found).tables] == [t.rows for t in before.tables]
