"""The loss and the optimiser of a training plan: those it names are those that train."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from napari_dasl.errors import Cancelled, InputError, ProjectError
from napari_dasl.losses import LOSSES
from napari_dasl.training.device import Precision
from napari_dasl.training.loop import Budget, train
from napari_dasl.training.objectives import objective
from napari_dasl.training.optimisers import build_optimiser
from napari_dasl.training.plan import TrainingPlan
from napari_dasl.training.prepare import Cache
from napari_dasl.training.state import LATER, run_identity
from napari_dasl.training.weights import build_network

KINDS = {"adamw": "AdamW", "adam": "Adam", "rmsprop": "RMSprop", "sgd": "SGD"}
RATES = {"adamw": 2e-2, "adam": 2e-2, "rmsprop": 5e-3, "sgd": 1e-1}
CHOICES = [("dice-ce", name) for name in KINDS] + [(name, "adamw") for name in LOSSES if name != "dice-ce"]


@pytest.fixture
def start(tmp_path, balls):
    def run(name, plan, **options):
        options = {"budget": Budget(steps=40), "device": "cpu", **options}
        return train(plan, balls, tmp_path / name, cache=Cache(tmp_path / "cache", plan), **options)

    return run


def chosen(plan, **changes) -> TrainingPlan:
    return TrainingPlan.model_validate({**plan.model_dump(), **changes})


def test_the_parts_of_the_loss_count_as_the_plan_says(plan):
    torch.manual_seed(0)
    logits, label = torch.randn(2, 2, 6, 6, 6), torch.randint(0, 2, (2, 6, 6, 6))
    image = torch.rand(2, 1, 6, 6, 6)

    def found(**changes):
        asked = objective(chosen(plan, loss="focal-dice-ms", **changes))
        return asked.loss(lambda _: logits, (image, label, torch.ones(2)), Precision("fp32", channels_last=False))

    spacing, one = plan.spacing, torch.ones(2)
    assert torch.equal(found(), LOSSES["focal-dice-ms"](logits, label, image, spacing, one))
    given = {"parts": (0.5, 0.0, 2.0), "gamma": 1.0, "length": 0.5}
    assert torch.equal(
        found(loss_weights=(0.5, 0, 2), focal_gamma=1, boundary=0.5),
        LOSSES["focal-dice-ms"](logits, label, image, spacing, one, **given),
    )
    assert chosen(plan, loss_weights=(0.5, 0, 2)).loss_options == {}  # of another loss
    for wrong in ((0, 0, 0), (1, -1, 1)):
        with pytest.raises(ValueError, match="loss_weights"):
            chosen(plan, loss_weights=wrong)


@pytest.mark.parametrize(("loss", "optimiser"), CHOICES)
def test_every_choice_learns_and_goes_on_to_the_same_bits(start, plan, balls, loss, optimiser):
    with_choice = chosen(plan, loss=loss, optimiser=optimiser, learning_rate=RATES[optimiser])
    whole = start("whole", with_choice)
    assert whole.losses[-1][1] < 0.9 * whole.losses[0][1]
    asked = iter([False] * (len(balls) + 3))
    with pytest.raises(Cancelled):
        start("parts", with_choice, cancelled=lambda: next(asked, True))
    parts = start("parts", with_choice, resume=True)
    once, twice = load_file(whole.weights), load_file(parts.weights)
    assert all(torch.equal(once[key], twice[key]) for key in once)


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_the_optimiser_is_the_one_that_is_named(plan, name, kind):
    made = build_optimiser(chosen(plan, optimiser=name), build_network(plan))
    assert type(made).__name__ == kind
    assert made.param_groups[0]["lr"] == plan.learning_rate
    assert made.param_groups[0]["weight_decay"] == (plan.weight_decay if name == "adamw" else 0)


@pytest.mark.parametrize("name", LOSSES)
def test_the_loss_is_the_one_that_is_named_on_the_grid_of_the_plan(plan, name):
    of = chosen(plan, loss=name, spacing=(3.0, 1.0, 0.5))
    network = build_network(of).eval()
    image = torch.randn(2, 1, *of.patch)
    label = (image[:, 0] > 1).to(torch.uint8)
    weight = torch.tensor([1.0, 0.5])
    found = objective(of).loss(network, (image, label, weight), Precision("fp32", channels_last=False))
    assert torch.equal(found, LOSSES[name](network(image), label, image, (3.0, 1.0, 0.5), weight))


def test_a_plan_without_them_trains_as_ever(plan, balls, tmp_path):
    path = tmp_path / "plan.toml"
    plan.to_file(path)
    text = path.read_text()
    later = tuple(f"{name} =" for name in (*LATER[""], *LATER["augmentation"]))
    path.write_text("\n".join(line for line in text.splitlines() if not line.startswith(later)))
    assert "optimiser =" in text
    assert "optimiser =" not in path.read_text()
    old = TrainingPlan.from_file(path)
    assert (old.loss, old.optimiser, old.schedule, old.betas) == ("dice-ce", "adamw", "cosine", (0.9, 0.99))
    assert run_identity(old, balls, 0) == run_identity(plan, balls, 0)


def test_a_run_does_not_go_on_with_another_choice(start, plan, balls):
    asked = iter([False] * (len(balls) + 2))
    with pytest.raises(Cancelled):
        start("run", plan, cancelled=lambda: next(asked, True))
    for change in ({"loss": "weighted-dice"}, {"optimiser": "sgd"}):
        assert run_identity(chosen(plan, **change), balls, 0) != run_identity(plan, balls, 0)
        with pytest.raises(InputError):
            start("run", chosen(plan, **change), resume=True)


def test_what_cannot_be_chosen_is_refused(plan, tmp_path):
    plan.to_file(tmp_path / "plan.toml")
    text = (tmp_path / "plan.toml").read_text()
    (tmp_path / "plan.toml").write_text(text.replace('loss = "dice-ce"', 'loss = "hinge"'))
    with pytest.raises(ProjectError, match="wrong at loss"):
        TrainingPlan.from_file(tmp_path / "plan.toml")
    with pytest.raises(ValueError, match="loss of its own"):
        chosen(plan, network="nodule-rcnn", network_options={}, loss="weighted-dice")
