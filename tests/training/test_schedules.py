"""The learning rate: tables of its closed form, at the steps that the papers name."""

from __future__ import annotations

import math

import pytest
import torch

from napari_dasl.training.optimisers import build_optimiser
from napari_dasl.training.plan import TrainingPlan
from napari_dasl.training.schedules import learning_rate

THIRD = 1e-6 + (1e-3 - 1e-6) * 0.75  # a third of half a cosine is 3/4 of the way up
TABLE = [
    # schedule, its numbers, what the rate is at which step of 30
    ("cosine", {}, {0: 1e-3, 10: 0.75e-3, 15: 0.5e-3, 20: 0.25e-3, 30: 0.0}),
    ("poly", {}, {0: 1e-3, 15: 1e-3 * 0.5**0.9, 27: 1e-3 * 0.1**0.9, 30: 0.0}),
    ("warm-restarts", {"restarts": 2}, {0: 1e-3, 5: THIRD, 15: 1e-3, 20: THIRD, 30: 1e-6}),
    ("warm-restarts", {"restarts": 3}, {0: 1e-3, 10: 1e-3, 15: (1e-3 + 1e-6) / 2, 20: 1e-3, 30: 1e-6}),
    ("warm-restarts", {"restarts": 1, "lowest": 0.0}, {0: 1e-3, 10: 0.75e-3, 30: 0.0}),
    ("steps", {"restarts": 3}, {0: 1e-3, 9: 1e-3, 10: 1e-4, 19: 1e-4, 20: 1e-5, 30: 1e-5}),
    ("steps", {"restarts": 2, "factor": 0.5}, {14: 1e-3, 15: 5e-4, 29: 5e-4}),
    ("constant", {}, {0: 1e-3, 29: 1e-3}),
]


def chosen(plan, **changes) -> TrainingPlan:
    return TrainingPlan.model_validate({**plan.model_dump(), "learning_rate": 1e-3, "warmup": 0.0, **changes})


@pytest.mark.parametrize(("schedule", "numbers", "expected"), TABLE)
def test_the_rate_is_that_of_the_closed_form(plan, schedule, numbers, expected):
    given = chosen(plan, schedule=schedule, **numbers)
    assert {step: learning_rate(given, step / 30) for step in expected} == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("schedule", ["cosine", "poly", "warm-restarts", "steps", "constant"])
def test_every_schedule_begins_with_the_rise(plan, schedule):
    given = chosen(plan, schedule=schedule, warmup=0.1)
    assert [learning_rate(given, p) for p in (0.0, 0.05, 0.1)] == pytest.approx([1e-4, 5.5e-4, 1e-3])


def test_every_part_of_a_run_of_any_length_starts_high(plan):
    for restarts in (3, 5, 6, 7):
        given = chosen(plan, schedule="warm-restarts", restarts=restarts)
        steps = restarts * 11
        high = [step for step in range(steps) if math.isclose(learning_rate(given, step / steps), 1e-3)]
        assert high == list(range(0, steps, 11))


def test_the_betas_of_the_plan_are_those_of_adam(plan):
    network = torch.nn.Linear(2, 2)
    assert build_optimiser(chosen(plan, optimiser="adam"), network).param_groups[0]["betas"] == (0.9, 0.99)
    given = chosen(plan, optimiser="adamw", betas=(0.8, 0.999))
    assert build_optimiser(given, network).param_groups[0]["betas"] == (0.8, 0.999)
    with pytest.raises(ValueError, match="betas"):
        chosen(plan, betas=(0.9, 1.0))
