"""Networks that are trained to find out how hard cases are: out of fold, resumable, and what a case still teaches."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_dasl.curriculum import difficulty as formulas
from napari_dasl.errors import Cancelled, InputError
from napari_dasl.inference import Predictor
from napari_dasl.scoring import bootstrapping, case_loss, gains, gradient, trained
from napari_dasl.scoring.trained import deal
from napari_dasl.training import Budget, Cache, train
from napari_dasl.training.plan import TrainingPlan
from napari_dasl.training.weights import build_network, load_network, save_network


@pytest.fixture
def cache(tmp_path, plan):
    return Cache(tmp_path / "cache", plan)


@pytest.fixture
def trainings(monkeypatch):
    """Which cases each network learned from, in the order of the trainings."""
    seen = []

    def remembered(plan, cases, folder, **keys):
        seen.append([case.id for case in cases])
        return train(plan, cases, folder, **keys)

    monkeypatch.setattr(trained, "train", remembered)
    return seen


def test_every_case_is_scored_by_a_network_that_has_not_seen_it(plan, cases, cache, tmp_path, trainings):
    found = bootstrapping(plan, cases, tmp_path / "folds", cache=cache, folds=2, budget=Budget(steps=2))
    dealt = deal(cases, 2, plan.seed)
    assert sorted(index for fold in dealt for index in fold) == [0, 1, 2, 3]
    assert trainings == [[c.id for i, c in enumerate(cases) if i not in fold] for fold in dealt]
    for number, fold in enumerate(dealt):
        weights = tmp_path / "folds" / f"fold-{number}" / "weights.safetensors"
        judge = Predictor(load_network(weights, plan), plan)
        assert [found[i] for i in fold] == pytest.approx([case_loss(judge, cases[i]) for i in fold], rel=1e-5)


def test_what_was_done_is_not_done_again_unless_a_label_changed(
    plan, cases, cache, tmp_path, trainings, monkeypatch, make_cube
):
    folder = tmp_path / "folds"
    scored: list[str] = []
    stopped: list[str] = []

    def stopping(predictor, case, **keys):
        if len(scored) == 2 and not stopped:
            stopped.append(case.id)
            raise Cancelled("Stopped.", "Go on.")
        scored.append(case.id)
        return case_loss(predictor, case, **keys)

    monkeypatch.setattr(trained, "case_loss", stopping)
    with pytest.raises(Cancelled):
        bootstrapping(plan, cases, folder, cache=cache, folds=2, budget=Budget(steps=2))
    assert len(trainings) == 2
    found = bootstrapping(plan, cases, folder, cache=cache, folds=2, budget=Budget(steps=2))
    assert len(trainings) == 2
    assert sorted(scored) == ["p0", "p1", "p2", "p3"]
    assert scored[2] == stopped[0]
    again = bootstrapping(plan, cases, folder, cache=cache, folds=2, budget=Budget(steps=2))
    assert (again.tolist(), len(trainings), len(scored)) == (found.tolist(), 2, 4)
    fresh = bootstrapping(plan, cases, tmp_path / "new", cache=cache, folds=2, budget=Budget(steps=2))
    assert fresh.tolist() == found.tolist()
    # A corrected label is scored again, and what learned from the old one learns anew.
    changed = [make_cube("p0", 2), *cases[1:]]
    bootstrapping(plan, changed, folder, cache=cache, folds=2, budget=Budget(steps=2))
    assert trainings[4:] == [line for line in trainings[:2] if "p0" in line]


def test_patients_stay_together_and_pseudo_labels_teach_nothing(plan, cases, cache, tmp_path, trainings, make_cube):
    groups = ["a", "b", "a", "c", "d"]
    dealt = deal([*cases, make_cube("own", 5, human=False)], 3, 0, groups)
    assert len(dealt) == 3
    assert any({0, 2} <= set(fold) for fold in dealt)
    assert 4 in dealt[0]
    bootstrapping(
        plan, [*cases[:2], make_cube("own", 5, human=False)], tmp_path / "f", cache=cache, budget=Budget(steps=1)
    )
    assert sorted(map(tuple, trainings)) == [("p0",), ("p1",)]


def test_one_fold_scores_what_it_learned_from(plan, cases, cache, tmp_path, trainings):
    bootstrapping(plan, cases, tmp_path / "f", cache=cache, folds=1, budget=Budget(steps=1), against="prediction")
    assert trainings == [["p0", "p1", "p2", "p3"]]


def test_too_few_to_leave_one_out_is_said(plan, cases, cache, tmp_path):
    with pytest.raises(InputError, match="at least two cases of different patients"):
        bootstrapping(plan, cases[:2], tmp_path, cache=cache, groups=["a", "a"])
    with pytest.raises(InputError, match="1 groups for 4 cases"):
        bootstrapping(plan, cases, tmp_path, cache=cache, groups=["a"])


@pytest.fixture
def start(plan, tmp_path):
    path = tmp_path / "start.safetensors"
    save_network(build_network(plan), path)
    return path


def test_gradient_difficulty_is_the_loss_change_of_each_cases_own_step(
    plan, cases, cache, tmp_path, start, monkeypatch
):
    """The changes, made again step by step: loss before, one step of the plan's optimiser, loss after; no dropout."""
    recorded = []

    def told(network, optimiser, task, batch, precision, rate, clip):
        before = {name: value.clone() for name, value in network.state_dict().items()}
        with torch.no_grad():
            first = [float(task.loss(network, batch, precision)) for _ in range(2)]
        change = original(network, optimiser, task, batch, precision, rate, clip)
        with torch.no_grad():
            after = float(task.loss(network, batch, precision))
        assert first[0] == first[1]  # dropout of 0.5 would tell them apart
        assert any((value != before[name]).any() for name, value in network.state_dict().items())
        assert change == pytest.approx(after - first[0], abs=1e-6)
        recorded.append(change)
        return change

    original = gains._gain
    monkeypatch.setattr(gains, "_gain", told)
    found = gradient(plan, cases[:3], tmp_path / "g", cache=cache, weights=start, repeats=2, epochs=2)
    assert len(recorded) == 2 * 2 * 3
    kept = np.stack([gains.read_changes(tmp_path / "g" / f"gradient-{n}.json") for n in range(2)])
    assert sorted(kept.ravel()) == sorted(recorded)
    decrease = -kept.mean(axis=(0, 1))
    assert found == pytest.approx((decrease - decrease.min()) / np.ptp(decrease))
    assert np.argmax(formulas.difficulty(found, "gradient")) == np.argmin(decrease)


def test_a_finished_repeat_is_kept_and_the_next_one_goes_on(plan, cases, cache, tmp_path, start):
    told = []
    with pytest.raises(Cancelled):
        gradient(
            plan,
            cases[:2],
            tmp_path / "g",
            cache=cache,
            weights=start,
            repeats=2,
            epochs=2,
            report=lambda event: told.append(event) if getattr(event, "name", "") == "train" else None,
            cancelled=lambda: len(told) > 6,
        )
    assert [path.name for path in sorted((tmp_path / "g").iterdir())] == ["gradient-0.json"]
    asked = []
    keys = {"cache": cache, "weights": start, "repeats": 2, "epochs": 2}
    found = gradient(plan, cases[:2], tmp_path / "g", report=asked.append, **keys)
    assert sum(getattr(event, "name", "") == "train" and hasattr(event, "done") for event in asked) == 4
    assert found.tolist() == gradient(plan, cases[:2], tmp_path / "new", **keys).tolist()


def test_a_budget_ends_a_repeat_after_an_epoch_and_unlabelled_cases_are_not_known(
    plan, cases, cache, tmp_path, start, make_case
):
    none = make_case("none", np.zeros((1, 8, 12, 12), np.float32), None)
    found = gradient(
        plan,
        [*cases[:2], none],
        tmp_path / "g",
        cache=cache,
        weights=start,
        repeats=1,
        epochs=50,
        budget=Budget(steps=3),
    )
    assert np.isnan(found[2])
    assert sorted(found[:2]) == [0, 1]
    assert gains.read_changes(tmp_path / "g" / "gradient-0.json").shape == (2, 3)


def test_single_slices_are_scored_by_a_network_of_slices(plan, tmp_path, make_cube):
    slices = [make_cube(f"s{number}", number, shape=(1, 12, 12)) for number in range(3)]
    changed = {"network": "unet-2d", "network_options": {"channels": [4, 8], "strides": [1, 2]}, "patch": (1, 8, 8)}
    flat = TrainingPlan.model_validate(plan.model_dump() | changed)
    cache = Cache(tmp_path / "cache", flat)
    assert np.isfinite(bootstrapping(flat, slices, tmp_path / "f", cache=cache, budget=Budget(steps=1))).all()
    weights = tmp_path / "f" / "fold-0" / "weights.safetensors"
    found = gradient(flat, slices, tmp_path / "g", cache=cache, weights=weights, repeats=1, epochs=1)
    assert (found.min(), found.max()) == (0, 1)
