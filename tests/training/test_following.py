"""Training along a curriculum: each step draws what the schedule says, and a stopped run goes on to the same bits."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from napari_dasl.curriculum import Pacing, Stage, find_pacing
from napari_dasl.curriculum.schedule import Schedule
from napari_dasl.errors import Cancelled, InputError
from napari_dasl.training import loop
from napari_dasl.training.loop import Budget, train
from napari_dasl.training.objectives import SemanticObjective
from napari_dasl.training.prepare import Cache

STAGES = (
    Stage((8, 8, 8), 4, 0.5, "tumour-patches", 1.0),
    Stage((24, 24, 24), 1, 0.25, "whole", 0.1),
    Stage((16, 16, 16), 2, 0.25, "usual", 0.01),
)


def schedule(stages=STAGES, pacing: Pacing | None = None, order=(2, 0, 3, 1), **options) -> Schedule:
    return Schedule(order, pacing or find_pacing("linear"), stages, **options)


@pytest.fixture
def start(tmp_path, plan, balls):
    def run(name, **options):
        options = {"budget": Budget(steps=12), "device": "cpu", **options}
        return train(plan, balls, tmp_path / name, cache=Cache(tmp_path / "cache", plan), **options)

    return run


def same(a, b) -> bool:
    first, second = load_file(a), load_file(b)
    return all(torch.equal(first[name], second[name]) for name in first)


def test_every_step_draws_what_the_schedule_says(start, monkeypatch):
    drawn, rates = {}, []
    make, step = SemanticObjective.make, loop._step

    def making(self, plan, cases, number, *args, **options):
        lesions = "in turn" if options["alternate"] else plan.foreground
        drawn[number] = (plan.patch, plan.batch, lesions, tuple(case.id for case in cases))
        return make(self, plan, cases, number, *args, **options)

    def stepping(plan, run, task, batch, rate, device):
        rates.append(rate / loop.learning_rate(plan, run.step / 12))
        return step(plan, run, task, batch, rate, device)

    monkeypatch.setattr(SemanticObjective, "make", making)
    monkeypatch.setattr(loop, "_step", stepping)
    along = schedule()
    start("run", curriculum=along)
    for number in range(12):
        now = along.at(number / 12, number)
        patch, batch, lesions, ids = drawn[number]
        assert (patch, batch) == (now.patch, now.batch)
        assert lesions == {"tumour-patches": "in turn", "whole": 0.0, "usual": 0.4}[now.sampling]
        assert set(ids) == {f"case{index}" for index in now.available}
        assert rates[number] == pytest.approx(now.rate)
    assert len(drawn[0][3]) < len(drawn[11][3])


@pytest.mark.parametrize("drawn", [False, True])
def test_a_stopped_run_goes_on_to_the_same_bits(start, balls, drawn):
    along = schedule(drawn=drawn)
    whole = start("whole", curriculum=along)
    asked = iter([False] * (len(balls) + 5))
    with pytest.raises(Cancelled):
        start("parts", curriculum=along, cancelled=lambda: next(asked, True))
    with pytest.raises(InputError):
        start("parts", resume=True)
    assert same(whole.weights, start("parts", curriculum=along, resume=True).weights)


def test_a_curriculum_of_all_cases_at_the_plans_size_changes_no_bit(start, plan):
    plain = schedule((Stage(plan.patch, plan.batch, 1.0),), find_pacing("all"))
    assert same(start("with", curriculum=plain).weights, start("without").weights)


def test_what_does_not_fit_is_refused(start):
    with pytest.raises(InputError, match="orders 2 cases, and there are 4"):
        start("run", curriculum=schedule(order=(1, 0)))
    with pytest.raises(InputError, match=r"patches of \[8, 8, 9\]"):
        start("run", curriculum=schedule((Stage((8, 8, 9), 2, 1.0),)))
