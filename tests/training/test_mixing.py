"""People's labels and pseudo-labels in one run: who shares a batch, what a weight does, and the tail."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from napari_dasl.errors import Cancelled, InputError
from napari_dasl.losses import dice_ce
from napari_dasl.training import loop
from napari_dasl.training.batches import make_batch
from napari_dasl.training.loop import Budget, train
from napari_dasl.training.mixing import Mixing
from napari_dasl.training.prepare import Cache
from napari_dasl.training.state import run_identity


@pytest.fixture
def pool(balls):
    """Three cases that a person labelled, and one pseudo-labelled one among them."""
    return [balls[0], replace(balls[1], human=False, weight=0.25), balls[2], balls[3]]


@pytest.fixture
def start(tmp_path, plan, pool):
    def run(name="run", cases=pool, **options):
        return train(plan, cases, tmp_path / name, cache=Cache(tmp_path / "cache", plan), **options)

    return run


@pytest.fixture
def drawn(monkeypatch):
    """The number of people's samples in the batch of each step, as it was used."""
    used: dict[int, int] = {}
    taken = loop._step

    def watch(plan, run, task, batch, rate, device):
        used[run.step] = int((batch[2] == 1).sum())
        return taken(plan, run, task, batch, rate, device)

    monkeypatch.setattr(loop, "_step", watch)
    return used


def same(a, b) -> bool:
    first, second = load_file(a), load_file(b)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def stop_after(count):
    left = iter(range(count))
    return lambda: next(left, None) is None


def prepared(tmp_path, plan, cases):
    cache = Cache(tmp_path, plan)
    return [cache.case(case) for case in cases]


# --- the batch --------------------------------------------------------------------------------------------------------


@given(st.floats(0, 1), st.integers(2, 16), st.integers(0, 500))
def test_a_batch_holds_at_least_peoples_share(share, batch, step):
    samples = Mixing(human_share=share).human_samples(step, batch)
    assert batch * share - 1e-6 <= samples <= batch
    assert samples <= math.ceil(batch * share)


@given(st.floats(0, 1), st.integers(1, 300))
def test_batches_of_one_keep_the_share_over_the_steps(share, steps):
    samples = [Mixing(human_share=share).human_samples(step, 1) for step in range(steps)]
    assert set(samples) <= {0, 1}
    assert sum(samples) == pytest.approx(share * steps, abs=1)


def test_batches_of_one_alternate():
    assert [Mixing().human_samples(step, 1) for step in range(6)] == [1, 0, 1, 0, 1, 0]


def test_three_of_ten_are_three():
    assert Mixing(human_share=0.3).human_samples(0, 10) == 3


@pytest.mark.parametrize("wrong", [{"human_share": 1.2}, {"human_tail": -0.1}, {"human_tail": float("nan")}])
def test_a_share_is_between_0_and_1(wrong):
    with pytest.raises(InputError, match="between 0 and 1"):
        Mixing(**wrong)


@pytest.mark.parametrize(("batch", "human"), [(2, 1), (3, 2), (4, 2)])
def test_pseudo_labels_get_no_more_than_the_rest_of_a_batch(tmp_path, plan, pool, batch, human):
    cases = prepared(tmp_path, plan, pool)
    larger = plan.model_copy(update={"batch": batch})
    for step in range(6):
        weights = make_batch(larger, cases, step)[2].tolist()
        assert weights == [1.0] * human + [0.25] * (batch - human)
        assert make_batch(larger, cases, step, human_only=True)[2].tolist() == [1.0] * batch


def test_without_pseudo_labels_the_draws_are_what_they_were(tmp_path, plan, balls):
    cases = prepared(tmp_path, plan, balls)
    for step in range(4):
        plain = make_batch(plan, cases, step)
        for mixing in (Mixing(0.0, 0.0), Mixing(1.0, 1.0)):
            for tail in (True, False):
                again = make_batch(plan, cases, step, mixing, human_only=tail)
                assert all(torch.equal(a, b) for a, b in zip(plain, again, strict=True))


def test_peoples_samples_do_not_depend_on_the_pseudo_labels_beside_them(tmp_path, plan, pool):
    cases = prepared(tmp_path, plan, pool)
    without = [case for case in cases if case.human]
    for step in range(4):
        mixed, alone = make_batch(plan, cases, step), make_batch(plan, without, step)
        assert torch.equal(mixed[0][0], alone[0][0])
        assert torch.equal(make_batch(plan, cases, step, human_only=True)[0], alone[0])


# --- the run ----------------------------------------------------------------------------------------------------------


def test_the_tail_learns_from_people_alone(start, drawn):
    start(budget=Budget(steps=20))
    assert drawn == {step: 1 if step < 17 else 2 for step in range(20)}


def test_the_tail_is_a_setting(start, drawn):
    start(budget=Budget(steps=10), mixing=Mixing(human_share=1.0, human_tail=0.0))
    assert set(drawn.values()) == {2}
    start("b", budget=Budget(steps=10), mixing=Mixing(human_share=0.5, human_tail=0.0))
    assert set(drawn.values()) == {1}


def test_a_tail_by_the_clock_begins_with_its_step(start, drawn, monkeypatch):
    """Batches that were made ahead for the time before the tail are not used in it."""

    class Clock:
        now = 0.0

        @classmethod
        def monotonic(cls):
            return cls.now

    taken = loop._step

    def slow(*everything):
        Clock.now += 1.0 if Clock.now < 40 else 6.0  # the machine is suddenly busy
        return taken(*everything)

    monkeypatch.setattr(loop, "time", Clock)
    monkeypatch.setattr(loop, "_step", slow)
    start(budget=Budget(minutes=1), mixing=Mixing(human_tail=0.25))
    # Steps begin at 0, 1, … 40, then 46, 52, 58 seconds of 60; the tail is from 45 seconds on.
    assert drawn == {step: 1 if step <= 40 else 2 for step in range(44)}


@pytest.mark.parametrize("stops", [(10,), (17,), (15, 3)])
def test_a_stopped_run_goes_on_to_the_same_bits_also_across_the_tail(start, pool, stops):
    whole = start("whole", budget=Budget(steps=20))
    for number, count in enumerate(stops):
        with pytest.raises(Cancelled, match="after step"):
            start("parts", budget=Budget(steps=20), cancelled=stop_after(len(pool) + count), resume=number > 0)
    parts = start("parts", budget=Budget(steps=20), resume=True)
    assert same(whole.weights, parts.weights)
    assert whole.losses == parts.losses


def test_a_pseudo_label_of_weight_0_changes_nothing(start, pool):
    silent = [replace(case, weight=0.0) if not case.human else case for case in pool]
    people = [case for case in pool if case.human]
    assert same(start("a", cases=silent).weights, start("b", cases=people).weights)
    assert not same(start("c").weights, start("b", cases=people).weights)


def test_the_weight_scales_what_a_pseudo_label_adds_to_the_loss(tmp_path, plan, pool):
    """A batch of one pseudo-label: the loss is its weight times the loss at weight 1."""
    single = plan.model_copy(update={"batch": 1})
    losses = []
    for weight in (1.0, 0.25):
        case = prepared(tmp_path, single, [replace(pool[1], weight=weight), pool[0]])
        _, label, weights = make_batch(single, case, 1)
        assert weights.tolist() == [weight]
        logits = torch.stack([torch.zeros(label.shape), 0.3 * label], dim=1)
        losses.append(float(dice_ce(logits, label, weights)))
    assert losses[1] == pytest.approx(0.25 * losses[0], rel=1e-6)


def test_pseudo_labels_alone_teach_nothing(start, pool):
    with pytest.raises(InputError, match="no labelled case"):
        start(cases=[replace(case, human=False) for case in pool])


def test_pseudo_labels_make_a_round_no_longer(start, plan, pool, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(type(plan), "steps_for", lambda self, cases: asked.append(cases) or 2)
    start()
    assert asked == [3]


def test_what_is_learnt_from_is_said(start, pool):
    events = []
    start(report=events.append, budget=Budget(steps=1))
    said = [event.text for event in events if event.kind == "phase"]
    assert said[-1] == "Training on 3 labelled scans, and on 1 that the network labelled itself."


def test_a_state_of_other_weights_kinds_or_shares_is_refused(start, pool):
    with pytest.raises(Cancelled):
        start(cancelled=stop_after(len(pool) + 2))
    heavier = [replace(case, weight=0.5) if not case.human else case for case in pool]
    confirmed = [replace(case, human=True) for case in pool]
    for other in ({"cases": heavier}, {"cases": confirmed}, {"mixing": Mixing(human_tail=0.3)}):
        with pytest.raises(InputError, match="other scans, labels or settings"):
            start(resume=True, **other)
    assert start(resume=True).steps == 12


def test_without_pseudo_labels_a_run_keeps_the_identity_it_always_had(plan, balls):
    assert run_identity(plan, balls, 0) == run_identity(plan, balls, 0, Mixing(0.9, 0.9))


# --- the student ------------------------------------------------------------------------------------------------------


def test_the_last_weights_are_kept_where_they_are_asked_for(start, tmp_path):
    plain = start("plain")
    assert plain.student is None
    assert not (tmp_path / "plain" / "student.safetensors").exists()
    both = start("both", save_student=True)
    assert both.student == tmp_path / "both" / "student.safetensors"
    assert same(plain.weights, both.weights)
    averaged, last = load_file(both.weights), load_file(both.student)
    assert averaged.keys() == last.keys()
    assert any(not torch.equal(averaged[name], last[name]) for name in averaged)


def test_the_student_is_the_network_that_the_average_follows(start, plan, tmp_path, pool):
    forgetful = plan.model_copy(update={"average": 0.0})
    trained = train(
        forgetful, pool, tmp_path / "run", cache=Cache(tmp_path / "cache", plan), budget=Budget(steps=3),
        save_student=True,
    )  # fmt: skip
    assert same(trained.weights, trained.student)


def test_a_student_of_an_earlier_run_does_not_stay(start, tmp_path):
    start(save_student=True, budget=Budget(steps=1))
    start(budget=Budget(steps=1))
    assert not (tmp_path / "run" / "student.safetensors").exists()


def test_a_prepared_case_knows_whose_label_it_has(tmp_path, plan, pool):
    assert [case.human for case in prepared(tmp_path, plan, pool)] == [True, False, True, True]
