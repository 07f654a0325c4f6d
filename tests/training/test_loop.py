"""The training loop: it learns, it stops and goes on to the same bits, and what goes wrong is said in words."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from napari_dasl.errors import Cancelled, InputError, OutOfMemory, ProjectError, WorkError
from napari_dasl.training import objectives
from napari_dasl.training.batches import make_batch
from napari_dasl.training.loop import Budget, learning_rate, train
from napari_dasl.training.prepare import Cache
from napari_dasl.training.weights import build_network, load_network


@pytest.fixture
def start(tmp_path, plan, balls):
    """Train in a folder of its own; keywords go to ``train``."""

    def run(name="run", with_plan=plan, cases=balls, **options):
        return train(with_plan, cases, tmp_path / name, cache=Cache(tmp_path / "cache", with_plan), **options)

    return run


def same(a, b) -> bool:
    first, second = load_file(a), load_file(b)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


class StopAt:
    """Says stop after as many questions."""

    def __init__(self, count):
        self.left = count

    def __call__(self):
        self.left -= 1
        return self.left < 0


def test_it_learns_a_bright_ball(start, plan, tmp_path, make_ball, make_case):
    trained = start(budget=Budget(steps=60))
    assert trained.losses[-1][1] < 0.6 * trained.losses[0][1]
    network = load_network(trained.weights, plan)
    image, label = make_ball(99, shape=(16, 16, 16))
    ready = Cache(tmp_path / "cache", plan).case(make_case("new", image, label))
    with torch.inference_mode():
        found = network(torch.from_numpy(np.asarray(ready.image, np.float32))[None]).argmax(1)[0].numpy()
    assert 2 * (found * label).sum() / (found.sum() + label.sum()) > 0.8


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(start, plan):
    first, second = start("a"), start("b")
    assert same(first.weights, second.weights)
    assert first.losses == second.losses
    assert not same(first.weights, start("c", plan.model_copy(update={"seed": 1})).weights)


@pytest.mark.parametrize("stops", [(7,), (1, 5)])
def test_a_stopped_run_goes_on_to_the_same_bits(start, balls, stops):
    whole = start("whole")
    for number, count in enumerate(stops):
        with pytest.raises(Cancelled, match="after step"):
            # The check is asked once for each case that is prepared, and once for each step.
            start("parts", cancelled=StopAt(len(balls) + count), resume=number > 0)
    parts = start("parts", resume=True)
    assert same(whole.weights, parts.weights)
    assert whole.losses == parts.losses
    assert parts.steps == whole.steps


def test_a_killed_process_goes_on_to_the_same_bits(start, plan, tmp_path):
    """Signal 9 in the middle of a step, in another process; the state of the last save is enough."""
    whole = start("whole", budget=Budget(steps=20))
    script = tmp_path / "victim.py"
    script.write_text(
        textwrap.dedent(
            """
            import importlib.util, sys, time
            from pathlib import Path
            spec = importlib.util.spec_from_file_location("conftest", sys.argv[1])
            kit = importlib.util.module_from_spec(spec); spec.loader.exec_module(kit)
            from napari_dasl.training import Budget, Cache, TrainingPlan, train
            folder, plan = Path(sys.argv[2]), TrainingPlan.from_file(Path(sys.argv[3]))
            cases = [kit.as_case(f"case{seed}", *kit.ball(seed)) for seed in range(4)]
            train(plan, cases, folder, cache=Cache(folder.parent / "cache", plan), budget=Budget(steps=20),
                  save_seconds=0, report=lambda event: time.sleep(0.01))
            """
        )
    )
    plan_file = tmp_path / "plan.toml"
    folder = tmp_path / "killed"
    plan.to_file(plan_file)
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    conftest = os.path.join(os.path.dirname(__file__), "conftest.py")
    child = subprocess.Popen([sys.executable, script, conftest, folder, plan_file], env=environment)
    state = folder / "state" / "state.pt"
    deadline = time.monotonic() + 60
    while not (state.exists() and torch.load(state, weights_only=True)["step"] >= 3):
        assert child.poll() is None, "the victim ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not (folder / "weights.safetensors").exists()
    resumed = start("killed", resume=True, budget=Budget(steps=20))
    assert same(whole.weights, resumed.weights)
    assert whole.losses == resumed.losses


def test_resume_without_a_state_begins_anew(start):
    assert same(start("a").weights, start("b", resume=True).weights)


def test_a_state_of_other_labels_is_refused(start, balls):
    with pytest.raises(Cancelled):
        start(cancelled=StopAt(len(balls) + 2))
    corrected = [replace(balls[0], label_key="newer"), *balls[1:]]
    with pytest.raises(InputError, match="other scans, labels or settings"):
        start(cases=corrected, resume=True)


def test_a_damaged_state_is_refused_in_words(start, balls, tmp_path):
    with pytest.raises(Cancelled):
        start(cancelled=StopAt(len(balls) + 2))
    state = tmp_path / "run" / "state" / "state.pt"
    state.write_bytes(state.read_bytes()[:100])
    with pytest.raises(InputError, match="cannot be read"):
        start(resume=True)


def test_a_finished_run_leaves_weights_and_its_story_and_no_state(start, tmp_path):
    trained = start()
    assert trained.weights == tmp_path / "run" / "weights.safetensors"
    story = json.loads((tmp_path / "run" / "training.json").read_text())
    assert story["steps"] == 12
    assert story["plan"]["patch"] == [16, 16, 16]
    assert not (tmp_path / "run" / "state").exists()


def test_a_case_of_weight_zero_is_not_learnt_from(start, balls):
    silenced = [replace(case, weight=0.0) if case.id != "case0" else case for case in balls]
    assert same(start("a", cases=silenced).weights, start("b", cases=balls[:1]).weights)


def test_a_weight_multiplies_the_loss_of_its_case(plan, balls, tmp_path):
    cache = Cache(tmp_path, plan)
    prepared = [cache.case(replace(case, weight=0.25 * k)) for k, case in enumerate(balls)]
    for step in range(5):
        _, label, weight = make_batch(plan, prepared, step)
        assert weight.shape == (plan.batch,)
        assert label.shape == (plan.batch, *plan.patch)
        assert set(weight.tolist()) <= {0.0, 0.25, 0.5, 0.75}


def test_unlabelled_cases_alone_teach_nothing(start, make_case):
    with pytest.raises(InputError, match="no labelled case"):
        start(cases=[make_case("a", np.zeros((1, 8, 8, 8), np.float32), None)])


def test_it_starts_from_weights_that_are_given(start, plan):
    first = start("first")
    gentle = plan.model_copy(update={"learning_rate": 1e-9, "steps": 1})
    again = start("again", gentle, init=first.weights)
    before, after = load_file(first.weights), load_file(again.weights)
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)


def test_weights_of_another_network_are_refused(start, plan, tmp_path):
    first = start("first")
    wider = plan.model_copy(update={"network_options": {**plan.network_options, "channels": [8, 24]}})
    with pytest.raises(ProjectError, match="another shape"):
        start("second", wider, init=first.weights)
    (tmp_path / "broken.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(ProjectError, match="cannot be read"):
        start("third", init=tmp_path / "broken.safetensors")


def test_the_curve_the_progress_and_the_guard_are_reported(start):
    events = []
    trained = start(report=events.append, guard=lambda network: 0.5, budget=Budget(steps=12))
    guards = [event for event in events if event.kind == "metric" and event.name == "guard_dice"]
    assert [event.step for event in guards] == [3, 6, 9, 12]
    assert trained.guard == tuple((step, 0.5) for step in (3, 6, 9, 12))
    losses = [(event.step, event.value) for event in events if event.kind == "metric" and event.name == "loss"]
    assert losses == list(trained.losses)
    assert [step for step, _ in losses] == [10, 12]
    last = [event for event in events if event.kind == "progress" and event.name == "train"][-1]
    assert (last.done, last.total, last.eta) == (12, 12, 0)


def test_the_guard_sees_the_averaged_network_at_rest(start):
    seen = []

    def guard(network):
        seen.append((network.training, [p.detach().clone() for p in network.parameters()]))
        return float("nan")

    trained = start(guard=guard)
    assert not any(training for training, _ in seen)
    final = list(load_file(trained.weights).values())
    assert sum(a.sum().item() for a in seen[-1][1]) == pytest.approx(sum(b.sum().item() for b in final), rel=1e-5)


def test_minutes_end_a_run_by_the_clock(start):
    trained = start(budget=Budget(minutes=0.02))
    assert trained.steps >= 1
    assert trained.seconds >= 1.2


def test_of_two_budgets_the_first_to_end_counts():
    both = Budget(steps=100, minutes=1)
    assert both.progress(50, 6) == 0.5
    assert both.progress(50, 54) == 0.9
    assert both.progress(200, 0) == 1


def test_the_rate_rises_and_falls_to_nothing(plan):
    rates = [learning_rate(plan, p) for p in np.linspace(0, 1, 101)]
    assert max(rates) == pytest.approx(plan.learning_rate)
    assert np.argmax(rates) == 5
    assert rates[0] == pytest.approx(0.1 * plan.learning_rate)
    assert rates[-1] == pytest.approx(0, abs=1e-12)
    assert all(np.diff(rates[5:]) < 0)


def test_the_first_weights_depend_on_the_seed_and_leave_torchs_random_state_alone(plan):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    a, b = build_network(plan), build_network(plan)
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def test_a_named_precision_that_corrupts_memory_is_refused(start, plan):
    thin = plan.model_copy(update={"precision": "bf16", "patch": (4, 96, 96)})
    with pytest.raises(InputError, match="Set precision to fp32"):
        start(with_plan=thin, budget=Budget(steps=1), device="cpu")


def test_a_loss_that_is_no_number_is_said(start, monkeypatch):
    monkeypatch.setitem(objectives.LOSSES, "dice-ce", lambda logits, *_: logits.mean() * float("nan"))
    with pytest.raises(WorkError, match=r"no number any more at step 1\. Lower learning_rate"):
        start()


@pytest.mark.parametrize(
    "problem",
    [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), torch.OutOfMemoryError("x")],
)
def test_memory_that_runs_out_is_said_with_what_to_make_smaller(start, monkeypatch, problem):
    def fail(*_args):
        raise problem

    monkeypatch.setitem(objectives.LOSSES, "dice-ce", fail)
    with pytest.raises(OutOfMemory, match=r"2 patches of 16×16×16 voxels.*smaller batch or patch"):
        start()


def test_another_failure_of_torch_is_an_error_of_ours(start, monkeypatch):
    def fail(*_args):
        raise RuntimeError("could not create a primitive")

    monkeypatch.setitem(objectives.LOSSES, "dice-ce", fail)
    with pytest.raises(WorkError, match="could not create a primitive"):
        start()
