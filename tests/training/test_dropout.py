"""Dropout in the plan: new plans have it, old ones train and predict as they did, and a stopped run goes on."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from napari_dasl.errors import Cancelled
from napari_dasl.training.fingerprint import measure
from napari_dasl.training.loop import train
from napari_dasl.training.plan import TrainingPlan, derive
from napari_dasl.training.prepare import Cache
from napari_dasl.training.weights import build_network, load_network, save_network


@pytest.fixture
def with_dropout(plan):
    def make(dropout):
        return plan.model_copy(update={"network_options": {**plan.network_options, "dropout": dropout}})

    return make


@pytest.fixture
def start(tmp_path, balls):
    def run(name, plan, **options):
        return train(plan, balls, tmp_path / name, cache=Cache(tmp_path / "cache", plan), **options)

    return run


def same(a, b) -> bool:
    first, second = load_file(a), load_file(b)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture
def new_plan(balls) -> TrainingPlan:
    return derive(measure(balls, channels=["image"], classes=["lesion"]), modality="CT")


def test_a_new_plan_drops_a_tenth(new_plan, tmp_path):
    new_plan.to_file(tmp_path / "plan.toml")
    assert "dropout = 0.1" in (tmp_path / "plan.toml").read_text()
    assert TrainingPlan.from_file(tmp_path / "plan.toml") == new_plan


def test_an_old_plan_and_its_weights_predict_the_same_bits(new_plan, tmp_path):
    """The file of a plan from before there was dropout, and weights that were made with it."""
    new_plan.to_file(tmp_path / "new.toml")
    text = (tmp_path / "new.toml").read_text()
    (tmp_path / "old.toml").write_text(text.replace("dropout = 0.1\n", ""))
    old = TrainingPlan.from_file(tmp_path / "old.toml")
    assert "dropout" not in old.network_options
    torch.manual_seed(0)
    image = torch.randn(1, 1, *old.patch)
    weights = tmp_path / "weights.safetensors"
    save_network(build_network(old), weights)
    with torch.inference_mode():
        before, after = (load_network(weights, plan)(image) for plan in (old, new_plan))
    assert torch.equal(before, after)


def test_an_old_plan_trains_to_the_same_bits_as_one_without_dropout(start, plan, with_dropout):
    assert same(start("old", plan).weights, start("none", with_dropout(0.0)).weights)
    assert not same(start("old", plan).weights, start("some", with_dropout(0.3)).weights)


@pytest.mark.parametrize("stop", [1, 7])
def test_a_stopped_run_with_dropout_goes_on_to_the_same_bits(start, balls, with_dropout, stop):
    dropping = with_dropout(0.3)
    whole = start("whole", dropping)
    left = iter(range(len(balls) + stop))
    with pytest.raises(Cancelled, match="after step"):
        start("parts", dropping, cancelled=lambda: next(left, None) is None)
    torch.manual_seed(12345)  # what another process would have drawn in between
    parts = start("parts", dropping, resume=True)
    assert same(whole.weights, parts.weights)
    assert whole.losses == parts.losses
