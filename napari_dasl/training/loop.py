"""The training loop: patches in, weights out; it can be stopped at any step, and goes on as if it had not been."""

from __future__ import annotations

import json
import math
import shutil
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from napari_dasl.errors import Cancelled, InputError, OutOfMemory, WorkError
from napari_dasl.events import CancelCheck, Log, Phase, Progress, Report, never, silent
from napari_dasl.training.device import Precision, choose, corrupts_in_bf16, measure_precision
from napari_dasl.training.following import Following, check, told
from napari_dasl.training.mixing import Mixing
from napari_dasl.training.objectives import Objective, objective
from napari_dasl.training.optimisers import build_optimiser
from napari_dasl.training.registration import require
from napari_dasl.training.running import GUARD_TIMES, Run, Watch
from napari_dasl.training.schedules import learning_rate
from napari_dasl.training.state import load_state, run_identity, save_state, store
from napari_dasl.training.weights import build_network, load_weights, save_network

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from napari_dasl.curriculum.schedule import Schedule
    from napari_dasl.training.cases import CaseData
    from napari_dasl.training.plan import TrainingPlan
    from napari_dasl.training.prepare import Cache, Prepared

SAVE_SECONDS = 60.0
"""The state is saved at least this often; a killed process loses no more."""


@dataclass(frozen=True)
class Budget:
    """How long to train: optimiser steps, minutes by the clock, or both, and then whichever ends first.

    The schedule of the learning rate ends with the budget. With steps alone the result is a function of the seed;
    with minutes it also depends on how fast the machine was.
    """

    steps: int | None = None
    minutes: float | None = None

    def progress(self, step: int, seconds: float) -> float:
        """The part of the budget that is used up, from 0 to 1."""
        by_steps = step / self.steps if self.steps else 0.0
        by_time = seconds / (60 * self.minutes) if self.minutes else 0.0
        return min(1.0, max(by_steps, by_time))


@dataclass(frozen=True)
class Trained:
    """What training made: the weights' file, and how it went. ``losses`` and ``guard`` are (step, value).

    ``student`` is the file of the last weights, not averaged over steps, where they were asked for.
    """

    weights: Path
    steps: int
    seconds: float
    losses: tuple[tuple[int, float], ...]
    guard: tuple[tuple[int, float], ...]
    student: Path | None = None


def train(
    plan: TrainingPlan,
    cases: Sequence[CaseData],
    folder: Path,
    *,
    cache: Cache,
    init: Path | None = None,
    resume: bool = False,
    budget: Budget | None = None,
    device: str = "auto",
    report: Report = silent,
    cancelled: CancelCheck = never,
    guard: Callable[[nn.Module], float] | None = None,
    guard_times: int = GUARD_TIMES,
    save_seconds: float = SAVE_SECONDS,
    mixing: Mixing | None = None,
    save_student: bool = False,
    curriculum: Schedule | None = None,
) -> Trained:
    """Train the plan's network on *cases*.

    Parameters
    ----------
    plan : TrainingPlan
        Every number; its seed decides the first weights and every patch.
    cases : sequence of CaseData
        Labelled and pseudo-labelled ones (``human=False``); those of weight 0 or without a label are left out.
    folder : Path
        Gets ``weights.safetensors`` and ``training.json`` at the end, and ``state/`` while training is unfinished.
    cache : Cache
        Of the same plan.
    init : Path, optional
        Weights to start from.
    resume : bool
        Go on from ``folder/state``. On a processor with as many threads as before, to the same bits.
    budget : Budget, optional
        Where it holds neither steps nor minutes: the plan's steps for as many cases as people labelled, so that
        pseudo-labels make a round no longer.
    device : str
        ``auto``, ``cpu``, ``cuda`` …
    report, cancelled
        Told at every step; asked between two steps.
    guard : callable, optional
        Given the network with its averaged weights, in evaluation mode, *guard_times* in a run, the last at the end;
        its answer is reported as ``guard_dice``. It must not change the network.
    save_seconds : float
        The full state is saved as often.
    mixing : Mixing, optional
        How people's labels and pseudo-labels share the batches; the usual shares where not given.
    save_student : bool
        Keep the last weights too, not averaged over steps, as ``student.safetensors``: another view of the same run.
    curriculum : Schedule, optional
        What each step draws from, with which patch, batch and learning rate; its order names positions in *cases*
        (:mod:`napari_dasl.training.following`).

    Raises
    ------
    Cancelled
        The state was saved; call again with *resume*.
    InputError
        Where no case has a label that a person drew, or the state or the curriculum is of another run.
    OutOfMemory, WorkError
        With what to make smaller; where the loss is no number any more.
    """
    target, mixing = choose(device), mixing or Mixing()
    course = _course(plan, cases, cache, curriculum, report, cancelled)
    budget = _announced(course, budget, report)
    identity = run_identity(plan, cases, plan.seed, mixing, told(curriculum))
    file = folder / "state" / "state.pt"
    watch = Watch(
        report, cancelled, guard, lambda now: save_state(file, now.state(identity)), save_seconds, guard_times
    )
    try:
        state = load_state(file, identity) if resume else None
        run = _begin(_careful(plan, curriculum, target), target, init, state, report)
        _learn(course, run, budget, target, watch, mixing)
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        raise _in_words(error, plan, target) from error
    return _finish(plan, run, folder, file, save_student=save_student)


def _course(
    plan: TrainingPlan,
    cases: Sequence[CaseData],
    cache: Cache,
    curriculum: Schedule | None,
    report: Report,
    cancelled: CancelCheck,
) -> Following:
    """What is learnt from and when; refused before anything is prepared where that can be told."""
    if curriculum is not None:
        check(curriculum, plan, cases)
    if plan.augmentation.mixup:
        require()
    prepared, places = _prepare(cases, cache, report, cancelled)
    course = Following(plan, prepared, curriculum, places)
    course.check_room()
    return course


def _announced(course: Following, budget: Budget | None, report: Report) -> Budget:
    """The budget of the run, after what it learns from was reported."""
    human = sum(case.human and case.label is not None for case in course.cases)
    report(Phase(name="train", text=_sentence(human, sum(not case.human for case in course.cases))))
    if budget is None or not (budget.steps or budget.minutes):
        return Budget(steps=course.plan.steps_for(human))
    return budget


def _sentence(human: int, pseudo: int) -> str:
    """What is learnt from, for the person who waits."""
    scans = "scan" if human == 1 else "scans"
    others = f", and on {pseudo} that the network labelled itself" if pseudo else ""
    return f"Training on {human} labelled {scans}{others}."


def _prepare(
    cases: Sequence[CaseData], cache: Cache, report: Report, cancelled: CancelCheck
) -> tuple[list[Prepared], list[int]]:
    """The cases to learn from, each on the network's grid, and their positions in *cases*."""
    report(Phase(name="prepare", text="Preparing the scans."))
    prepared, places = [], []
    for done, case in enumerate(cases):
        if cancelled():
            raise Cancelled("Stopped while preparing the scans.", "Prepared scans are kept.")
        if case.weight > 0:
            ready = cache.case(case)
            if ready.usable:
                prepared.append(ready)
                places.append(done)
        report(Progress(name="prepare", done=done + 1, total=len(cases), text=case.id))
    if not any(case.human and case.label is not None for case in prepared):
        raise InputError("There is no labelled case to learn from.", "Label a few cases first.")
    return prepared, places


def _careful(plan: TrainingPlan, curriculum: Schedule | None, device: torch.device) -> TrainingPlan:
    """The plan, in single precision where a stage of the curriculum could not be trained in bf16."""
    stages = curriculum.stages if curriculum is not None else ()
    thin = [s for s in stages if corrupts_in_bf16(plan.model_copy(update={"patch": s.patch}), device)]
    if not thin:
        return plan
    changed = {"precision": "fp32"} if plan.precision == "auto" else {"patch": thin[0].patch}
    return plan.model_copy(update=changed)


def _begin(
    plan: TrainingPlan, device: torch.device, init: Path | None, state: dict[str, Any] | None, report: Report
) -> Run:
    """The network and its optimiser at step 0, or where the saved *state* left them."""
    network = build_network(plan).to(device)
    if state is not None:
        dtype, channels_last = state["precision"]
        precision = Precision(dtype, channels_last)
        threads = torch.get_num_threads()
        if state["threads"] != threads:
            report(Log(text=f"Resumed on {threads} threads, not {state['threads']}: the last digits may differ."))
    else:
        if init is not None:
            load_weights(network, init)
        precision = measure_precision(plan, network, device)
        report(Log(text=f"Training on {device} in {precision.dtype}, {torch.get_num_threads()} threads."))
    if precision.dtype == "bf16" and corrupts_in_bf16(plan, device):
        raise InputError(
            f"Training in bf16 on {device} with patches as thin and wide as {list(plan.patch)} damages memory (a fault "
            "of torch).",
            "Set precision to fp32 or auto in the training plan, or take smaller patches of at least 12 slices.",
        )
    network = network.to(memory_format=precision.layout(plan.spatial_dims)).train()
    optimiser = build_optimiser(plan, network)
    average = {name: value.detach().clone() for name, value in network.state_dict().items()}
    run = Run(network, optimiser, average, precision)
    if state is not None:
        run.restore(state)
    return run


def _step(plan: TrainingPlan, run: Run, task: Objective, batch: Any, rate: float, device: torch.device) -> float:
    """One optimiser step; returns the loss."""
    batch = task.moved(batch, device)
    # Dropout and whatever else a network draws are then the same after an interruption.
    torch.manual_seed(hash((plan.seed, run.step)) & 0x7FFFFFFF)
    loss = task.loss(run.network, batch, run.precision)
    value = float(loss.detach())
    if not math.isfinite(value):
        raise WorkError(
            f"The loss is no number any more at step {run.step + 1}.",
            "Lower learning_rate in the training plan, or set precision to fp32, and start again.",
        )
    run.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(run.network.parameters(), plan.clip)
    for group in run.optimiser.param_groups:
        group["lr"] = rate
    run.optimiser.step()
    run.step += 1
    # The memory grows with the run, so that the first random weights are soon forgotten.
    memory = min(plan.average, run.step / (run.step + 10))
    with torch.no_grad():
        for name, now in run.network.state_dict().items():
            if now.is_floating_point() and memory:
                run.average[name].lerp_(now, 1 - memory)
            else:
                run.average[name].copy_(now)
    return value


def _learn(
    course: Following,
    run: Run,
    budget: Budget,
    device: torch.device,
    watch: Watch,
    mixing: Mixing,
) -> None:
    """Steps until the budget is used up."""
    before = run.seconds
    started = saved = time.monotonic()
    # Batches are made by other threads while the network computes; what they hold does not depend on that.
    ahead = 2 if device.type == "cpu" else 8
    plan = course.plan
    task = objective(plan)
    with ThreadPoolExecutor(1 if device.type == "cpu" else 8) as makers:
        waiting: dict[int, tuple[Any, Future[Any]]] = {}
        progress = budget.progress(run.step, run.seconds)
        while progress < 1:
            if watch.cancelled():
                watch.save(run)
                raise Cancelled(f"Training was stopped after step {run.step}.", "Resume goes on from there.")
            for step in range(run.step, run.step + ahead):
                # By the clock, the tail may begin while batches from before it are waiting: they are made anew.
                then = budget.progress(step, run.seconds)
                tail, now = mixing.in_tail(then), course.at(then, step)
                if step not in waiting or waiting[step][0] != (tail, now.key):
                    made = makers.submit(
                        task.make, now.plan, now.cases, step, mixing, human_only=tail, alternate=now.alternate
                    )
                    waiting[step] = ((tail, now.key), made)
            batch = waiting.pop(run.step)[1].result()
            rate = learning_rate(plan, progress)
            if course.schedule is not None:
                rate *= course.at(progress, run.step).rate
            value = _step(plan, run, task, batch, rate, device)
            run.seconds = before + time.monotonic() - started
            progress = budget.progress(run.step, run.seconds)
            watch.tell(run, value, progress)
            if time.monotonic() - saved >= watch.save_seconds and progress < 1:
                watch.save(run)
                saved = time.monotonic()


def _finish(plan: TrainingPlan, run: Run, folder: Path, state_file: Path, *, save_student: bool) -> Trained:
    """Write the averaged weights and the story of the run, and drop the state."""
    weights, student = folder / "weights.safetensors", folder / "student.safetensors"
    # The averaged weights are written last: where they are, everything else is.
    if save_student:
        save_network(run.network, student)
    else:
        student.unlink(missing_ok=True)
    run.network.load_state_dict(run.average)
    save_network(run.network, weights)
    trained = Trained(
        weights, run.step, run.seconds, tuple(run.losses), tuple(run.guard), student if save_student else None
    )
    story = {
        "steps": trained.steps,
        "seconds": round(trained.seconds, 3),
        "precision": run.precision.dtype,
        "losses": trained.losses,
        "guard": trained.guard,
        "plan": plan.model_dump(mode="json"),
    }
    store(folder / "training.json", json.dumps(story, indent=1).encode())
    shutil.rmtree(state_file.parent, ignore_errors=True)
    return trained


def _in_words(error: BaseException, plan: TrainingPlan, device: torch.device) -> WorkError:
    """What torch or the system said, as an error of ours."""
    text = str(error)
    signs = ("out of memory", "can't allocate memory", "not enough memory")
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or any(sign in text.lower() for sign in signs):
        patch = "×".join(str(p) for p in plan.patch)
        return OutOfMemory(
            f"Training ran out of memory on {device} with {plan.batch} patches of {patch} voxels a step.",
            "Use a smaller batch or patch, or close other programs.",
        )
    return WorkError(f"Training failed: {text.splitlines()[0] if text else type(error).__name__}.", "See the log.")
