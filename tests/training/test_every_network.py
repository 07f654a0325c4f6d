"""Every network that draws classes: from labelled scans to a plan, through training, to a prediction of a new scan."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_dasl.errors import Cancelled, InputError
from napari_dasl.inference import Predictor, predict
from napari_dasl.networks.families import FAMILIES, patch_divisor
from napari_dasl.training.device import measure_precision
from napari_dasl.training.fingerprint import measure
from napari_dasl.training.loop import Budget, train
from napari_dasl.training.memory import estimate_memory_mb
from napari_dasl.training.objectives import objective
from napari_dasl.training.plan import TrainingPlan, derive
from napari_dasl.training.prepare import Cache
from napari_dasl.training.weights import build_network, load_network

# What makes a network small and changes neither its kind nor its patch.
TINY = {
    "unet": {"channels": [4, 8], "strides": [[2, 2, 2], [2, 2, 2]]},
    "residual-se-unet": {"channels": [4, 8], "strides": [[2, 2, 2], [2, 2, 2]]},
    "unetr": {"features": 4, "hidden": 24, "mlp": 32, "heads": 2},
    "swin-unetr": {"features": 12, "depths": [1, 1, 1, 1], "window": 2},
    "unet-2d": {"channels": [4, 8], "strides": [1, 2]},
}
SEMANTIC = [name for name, each in FAMILIES.items() if not each.detector]


def tiny(plan: TrainingPlan, **changes) -> TrainingPlan:
    options = {**plan.network_options, **TINY[plan.network]}
    return TrainingPlan.model_validate({**plan.model_dump(), "network_options": options, **changes})


@pytest.fixture
def derived(balls):
    """The plan of a network for the balls, with so much memory."""
    found = measure(balls, channels=("image",), classes=("lesion",))

    def of(name, **options) -> TrainingPlan:
        return derive(found, modality="CT", network=name, **options)

    return of


def weights(path, plan):
    return load_network(path, plan).state_dict()


@pytest.mark.parametrize("name", SEMANTIC)
def test_a_plan_fits_its_network_and_comes_back_from_its_file(derived, tmp_path, name):
    for compute, memory in (("cpu", 700), ("cpu", 8000), ("cuda", 40_000)):
        plan = derived(name, compute=compute, memory_mb=memory)
        divisors = patch_divisor(name, plan.network_options)
        assert not any(side % multiple for side, multiple in zip(plan.patch, divisors, strict=True))
        assert (plan.patch[0] == 1) == (FAMILIES[name].spatial_dims == 2)
        assert plan.batch >= 2
        assert plan.memory_estimate_mb > 600
        plan.to_file(tmp_path / "plan.toml")
        assert TrainingPlan.from_file(tmp_path / "plan.toml") == plan
        assert estimate_memory_mb(plan) > 600
    with pytest.raises(ValueError, match="must be"):
        TrainingPlan.model_validate({**plan.model_dump(), "patch": (3, 33, 33)})


@pytest.mark.parametrize("name", SEMANTIC)
def test_it_trains_and_predicts_a_scan_and_goes_on_to_the_same_bits(derived, balls, make_ball, tmp_path, name):
    plan = tiny(derived(name, memory_mb=700), precision="fp32", batch=2)
    cache = Cache(tmp_path / "cache", plan)
    whole = train(plan, balls, tmp_path / "whole", cache=cache, budget=Budget(steps=3), device="cpu")
    assert whole.steps == 3
    asked = iter([False] * (len(balls) + 1))
    with pytest.raises(Cancelled):
        train(plan, balls, tmp_path / "parts", cache=cache, budget=Budget(steps=3), device="cpu",
              cancelled=lambda: next(asked, True))  # fmt: skip
    parts = train(plan, balls, tmp_path / "parts", cache=cache, budget=Budget(steps=3), device="cpu", resume=True)
    once, twice = weights(whole.weights, plan), weights(parts.weights, plan)
    assert all(torch.equal(once[key], twice[key]) for key in once)
    scan, _ = make_ball(50, shape=(13, 41, 37))
    probability = Predictor(load_network(whole.weights, plan), plan, mirror=True).case(scan, (1.0, 1.0, 1.0))
    assert probability.shape == (2, 13, 41, 37)
    np.testing.assert_allclose(probability.sum(0), 1, atol=2e-3)
    assert probability.std() > 0


def test_measuring_the_precision_teaches_batch_normalisation_nothing(derived):
    plan = tiny(derived("residual-se-unet"), precision="auto")
    network = build_network(plan).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    measure_precision(plan, network, torch.device("cpu"), repeat=1)
    assert any("running_mean" in name for name in before)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_one_patch_is_too_little_for_batch_normalisation(derived):
    plan = derived("residual-se-unet")
    with pytest.raises(ValueError, match="at least 2"):
        TrainingPlan.model_validate({**plan.model_dump(), "batch": 1})
    options = {**plan.network_options, "norm": "group"}
    TrainingPlan.model_validate({**plan.model_dump(), "batch": 1, "network_options": options})


def test_a_network_of_slices_learns_bright_discs(derived, balls, make_ball, tmp_path):
    plan = tiny(derived("unet-2d"), precision="fp32", batch=4, patch=(1, 32, 32), learning_rate=2e-2)
    cache = Cache(tmp_path / "cache", plan)
    image, label, _ = objective(plan).trial(plan)
    assert (image.shape, label.shape) == ((1, 1, 32, 32), (1, 32, 32))
    trained = train(plan, balls, tmp_path / "run", cache=cache, budget=Budget(steps=60), device="cpu")
    scan, truth = make_ball(99)
    predictor = Predictor(load_network(trained.weights, plan), plan)
    found = predictor.case(scan, (1.0, 1.0, 1.0)).argmax(0)
    assert 2 * (found * truth).sum() / (found.sum() + truth.sum()) > 0.7
    # Every slice by itself: another order of slices gives the same slices in that order.
    turned = predictor.case(scan[:, ::-1].copy(), (1.0, 1.0, 1.0)).argmax(0)
    np.testing.assert_array_equal(turned[::-1], found)


def test_a_network_of_slices_refuses_windows_of_many(derived):
    plan = tiny(derived("unet-2d"))
    with pytest.raises(InputError, match="network of slices"):
        predict(build_network(plan), np.zeros((1, 4, 16, 16)), patch=(2, 16, 16), out_channels=2, planar=True)
