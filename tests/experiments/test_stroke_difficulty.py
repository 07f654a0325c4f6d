"""Slices by difficulty: no test slice has a part in its fold's order, and the tests are those of the paper."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from napari_dasl.experiments import stroke_difficulty, stroke_findings
from napari_dasl.experiments.arms import Run
from napari_dasl.experiments.conducting import Request, conduct, protocol_of
from napari_dasl.experiments.data import fold

TINY = {"folds": "2", "side": "32", "slices": "1", "batch": "2", "repeats": "1", "epochs": "1"}


def request(out, scans, **more):
    told = {"steps": 10, "device": "cpu", "separator": "_", "options": TINY} | more
    return Request("stroke-difficulty", scans, out, **told)


@pytest.fixture(scope="module")
def made(tmp_path_factory, scans):
    out = tmp_path_factory.mktemp("stroke")
    return out, conduct(request(out, scans, steps=2, arms=("none", "gradient")))


def test_every_slice_is_tested_once_by_an_arm_and_orders_come_from_training_slices_alone(made):
    _, found = made
    assert [(row["arm"], row["fold"]) for row in found["rows"]] == [
        *(("none", 0), ("gradient", 0), ("none", 1), ("gradient", 1))
    ]
    for row in found["rows"]:
        assert not set(row["train"]) & set(row["dice"])
        assert len(row["train"]) + len(row["dice"]) == 8
        if row["arm"] == "gradient":
            assert set(row["measures"]["gradient"]) == set(row["train"])
    assert len({case for row in found["rows"] if row["arm"] == "none" for case in row["dice"]}) == 8


def test_a_run_leaves_the_paper_s_tables_and_figures(made):
    out, found = made
    assert {path.name for path in out.iterdir()} >= {"table.csv", "report.html", "folds.png", "measures.png"}
    text = (out / "table.md").read_text()
    assert "paper, FLAIR: Dice" in text
    assert "0.79" in text
    assert [one["measure"] for one in found["r_squared"]] == [n for n in ("size", "contrast", "gradient") for _ in "12"]


def test_gradient_difficulty_goes_on_from_the_network_without_a_curriculum(made):
    out, _ = made
    # Asked for by its own arm and by that of gradient difficulty, it was trained once.
    assert len(list(out.glob("work/*/runs/none-s0-f*/weights.safetensors"))) == 2
    assert len(list(out.glob("work/*/gradient/s0-f*/gradient-0.json"))) == 2


def test_contrast_opens_the_slices_that_stand_out_first_in_six_groups(tmp_path, scans):
    protocol = stroke_difficulty.sliced(protocol_of(stroke_difficulty.EXPERIMENT, request(tmp_path, scans)))
    arms = {arm.name: arm for arm in stroke_difficulty.arms(protocol)}
    split = fold(protocol.study, 0, 2)
    run = Run(arms["contrast"], 0, 0)
    plan = stroke_difficulty.plan_of(protocol, split.train, 0)
    values = stroke_difficulty.measured(protocol, run, plan, split, None, None)
    schedule = stroke_difficulty.schedule_of(
        run.arm.course, plan, stroke_difficulty.difficulty(values, "contrast"), steps=100
    )
    assert list(schedule.order) == list(np.argsort(-values, kind="stable"))
    pacing = run.arm.course.pacing
    assert (pacing.groups, pacing.lengths, pacing.epochs) == (6, (25, 25, 35, 35, 40, 40), True)
    assert pacing == arms["gradient"].course.pacing == arms["random"].course.pacing
    assert (plan.loss, plan.optimiser, plan.patch) == ("dice-ce", "rmsprop", (1, 32, 32))


def test_in_passes_a_curriculum_takes_as_many_fewer_steps_as_in_the_paper(tmp_path, scans):
    asked = request(tmp_path, scans, steps=736, options={**TINY, "length": "passes"})
    protocol = protocol_of(stroke_difficulty.EXPERIMENT, asked)
    none, contrast, *_ = stroke_difficulty.arms(protocol)
    assert stroke_difficulty._steps(protocol, none) == 736
    assert stroke_difficulty._steps(protocol, contrast) == 466  # of 73,600 iterations about 47,000 remain


def test_lesions_on_one_side_are_not_mirrored_and_mask_rcnn_takes_its_own_optimiser(tmp_path, scans):
    asked = request(tmp_path, scans, network="mask-rcnn", options={**TINY, "flip": "yes"})
    protocol = stroke_difficulty.sliced(protocol_of(stroke_difficulty.EXPERIMENT, asked))
    plan = stroke_difficulty.plan_of(protocol, protocol.study.samples, 0)
    assert plan.augmentation.mirror == ("y",)
    assert (plan.network, plan.optimiser, plan.patch) == ("mask-rcnn", "sgd", (1, 32, 32))


def test_tests_over_folds_are_one_tailed_and_r_squared_has_the_sign_of_the_slope(tmp_path, scans, make_row):
    protocol = stroke_difficulty.sliced(protocol_of(stroke_difficulty.EXPERIMENT, request(tmp_path, scans)))
    names = [one.id for one in protocol.study.samples]
    sizes = np.array([one.size for one in protocol.study.samples])
    found, means = [], {}
    for arm, gain in (("none", 0.0), ("contrast", 0.1), ("gradient", 0.0)):
        for number in range(2):
            mine = names[number::2]
            dice = 0.2 + gain + sizes[number::2] / 1000
            one = make_row(arm, 0, [], fold=number)
            measures = {"hd": dict.fromkeys(mine, 5.0), "drawn": {name: name != mine[0] for name in mine}}
            measures |= {"gradient": {}} if arm == "gradient" else {}
            found.append(one.model_copy(update={"dice": dict(zip(mine, dice, strict=True)), "measures": measures}))
            means.setdefault(arm, []).append(dice.mean())
    told = stroke_findings.tell(protocol, found)
    line = dict(zip([column.title for column in told.tables[0].columns], told.tables[0].rows[1], strict=True))
    assert line["detection, %"] == pytest.approx(75)
    assert line["Dice"] == pytest.approx(np.mean(means["contrast"]))
    wanted = stats.mannwhitneyu(means["contrast"], means["none"], alternative="greater").pvalue
    assert line["dice: p against none"] == pytest.approx(wanted)
    assert line["dice: p against random"] is None
    assert line["paper, CT: Dice"] == 0.46
    assert told.tables[1].rows[0][:2] == ("contrast − none", pytest.approx(0.1))
    # The same figures from another seed are no further folds: neither n nor p changes.
    twice = stroke_findings.tell(protocol, [*found, *(one.model_copy(update={"seed": 1}) for one in found)])
    assert twice.tables[0].rows[1][:11] == pytest.approx(told.tables[0].rows[1][:11])
    squares = {one["measure"]: one["r_squared"] for one in told.numbers["r_squared"] if one["of"] == "Dice"}
    assert squares["size"] == pytest.approx(1.0)
