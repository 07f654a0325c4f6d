"""One run of an arm: train, predict the test cases, compare.

A training that was interrupted goes on. Times are those of training alone: scans are prepared before the clock starts,
and predicted after it has stopped.
"""

from __future__ import annotations

import json
import math
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_dasl.events import CancelCheck, Phase, Progress, Report, never, silent
from napari_dasl.experiments.arms import Row, mean_voxels
from napari_dasl.volumes.atomic import write_bytes_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_dasl.curriculum.schedule import Schedule
    from napari_dasl.experiments.arms import Protocol, Run
    from napari_dasl.experiments.data import Sample, Split
    from napari_dasl.training.plan import TrainingPlan


PROCESSOR = "processor"
"""How the device of a row begins that was made without a GPU."""


@dataclass(frozen=True)
class Fitted:
    """A training of a run: the weights, and what it took. ``cpu`` is None where it was interrupted."""

    weights: Path
    steps: int
    seconds: float
    cpu: float | None
    precision: str
    losses: tuple[tuple[int, float], ...]
    curve: tuple[tuple[int, float], ...]


def fit(
    protocol: Protocol,
    plan: TrainingPlan,
    samples: Sequence[Sample],
    folder: Path,
    *,
    schedule: Schedule | None = None,
    steps: int | None = None,
    minutes: float | None = None,
    init: Path | None = None,
    watched: Sequence[Sample] = (),
    points: int = 4,
    report: Report = silent,
    cancelled: CancelCheck = never,
) -> Fitted:
    """Train once, or go on with it, or read what was trained before.

    Parameters
    ----------
    protocol : Protocol
    plan : TrainingPlan
    samples : sequence of Sample
        In the order that the schedule names.
    folder : Path
        Of this training.
    schedule : Schedule, optional
    steps, minutes
        Those of the protocol where neither is given.
    init : Path, optional
        Weights to start from.
    watched : sequence of Sample
        Cases whose mean Dice is noted on the way; that takes from the time.
    points : int
        How often, at equal distances.
    report, cancelled
        As for training.
    """
    from napari_dasl.training import Budget, Cache, train

    done = folder / "fitted.json"
    if done.is_file():
        return _fitted(json.loads(done.read_text()), folder)
    if steps is None and minutes is None:
        steps, minutes = protocol.steps, protocol.minutes
    cache = Cache(protocol.work / "prepared", plan)
    cases = [sample.data() for sample in samples]
    for number, case in enumerate(cases):  # before the clock starts
        cache.case(case)
        report(Progress(name="prepare", done=number + 1, total=len(cases), text=case.id))
    resumed = (folder / "state" / "state.pt").is_file()
    begun: list[float] = []

    def clocked(event: Any) -> None:
        if isinstance(event, Phase) and event.name == "train":
            begun.append(time.process_time())
        report(event)

    train(
        plan,
        cases,
        folder,
        cache=cache,
        init=init,
        resume=True,
        budget=Budget(steps, minutes),
        device=protocol.device,
        report=clocked,
        cancelled=cancelled,
        curriculum=schedule,
        guard=(lambda network: _watch(network, plan, watched, protocol.device)) if watched else None,
        guard_times=points,
    )
    cpu = None if resumed or not begun else time.process_time() - begun[-1]
    told = json.loads((folder / "training.json").read_text()) | {"cpu": cpu}
    write_bytes_atomic(done, json.dumps(told).encode())
    return _fitted(told, folder)


def _fitted(told: dict[str, Any], folder: Path) -> Fitted:
    return Fitted(
        folder / "weights.safetensors",
        int(told["steps"]),
        float(told["seconds"]),
        told["cpu"],
        str(told["precision"]),
        tuple((int(step), float(value)) for step, value in told["losses"]),
        tuple((int(step), float(value)) for step, value in told["guard"]),
    )


def _watch(network: Any, plan: TrainingPlan, samples: Sequence[Sample], device: str) -> float:
    from napari_dasl.inference import Predictor
    from napari_dasl.metrics import evaluate_case
    from napari_dasl.training.device import choose

    # At the precision of training, where a look costs a quarter on a processor with bf16.
    predictor = Predictor(network, plan, choose(device), "bf16" if plan.precision == "bf16" else "fp32")
    found = []
    for sample in samples:
        case = sample.data()
        drawn = predictor.case(case.image(), case.spacing).argmax(0)
        found.append(evaluate_case(np.asarray(case.label()), drawn, plan.classes, case.spacing).dice)
    known = [value for value in found if value is not None]
    return math.fsum(known) / len(known) if known else 0.0


def evaluated(
    samples: Sequence[Sample],
    classes: Sequence[str],
    draw: Callable[[NDArray[np.float32], tuple[float, float, float]], NDArray[Any]],
    *,
    report: Report = silent,
    cancelled: CancelCheck = never,
) -> dict[str, Any]:
    """Predict the test cases and compare: the fields ``dice``, ``summary`` and ``predict_seconds`` of a row.

    Parameters
    ----------
    samples : sequence of Sample
    classes : sequence of str
    draw : callable
        Image (C, z, y, x) and spacing to label map (z, y, x).
    report, cancelled

    Raises
    ------
    Cancelled
    """
    from napari_dasl.errors import Cancelled
    from napari_dasl.metrics import evaluate_case, summarise

    report(Phase(name="predict", text=f"Predicting {len(samples)} test cases."))
    found, seconds = [], {}
    for done, sample in enumerate(samples):
        if cancelled():
            raise Cancelled("Stopped while predicting the test cases.", "The trained network is kept.")
        case = sample.data()
        image, truth = case.image(), np.asarray(case.label())
        before = time.perf_counter()
        drawn = draw(image, case.spacing)
        seconds[sample.id] = time.perf_counter() - before
        found.append(evaluate_case(truth, drawn, classes, case.spacing, case=sample.id))
        report(Progress(name="predict", done=done + 1, total=len(samples), text=sample.id))
    return {"dice": {one.case: one.dice for one in found}, "summary": summarise(found), "predict_seconds": seconds}


def drawing(
    weights: Path, plan: TrainingPlan, device: str, precision: str = "fp32"
) -> Callable[[NDArray[np.float32], tuple[float, float, float]], NDArray[np.uint8]]:
    """A function that draws the most probable class of every voxel with the trained *weights*."""
    from napari_dasl.inference import Predictor
    from napari_dasl.training.device import choose
    from napari_dasl.training.weights import load_network

    target = choose(device)
    predictor = Predictor(load_network(weights, plan, target), plan, target, number_type(precision))

    def draw(image: NDArray[np.float32], spacing: tuple[float, float, float]) -> NDArray[np.uint8]:
        return np.asarray(predictor.case(image, spacing).argmax(0), np.uint8)

    return draw


def number_type(name: str) -> Literal["bf16", "fp32"]:
    """What predictions are computed in: that of the training, or single precision where it does not say."""
    return "bf16" if name == "bf16" else "fp32"


def perform(
    protocol: Protocol,
    run: Run,
    plan: TrainingPlan,
    split: Split,
    *,
    schedule: Schedule | None = None,
    watched: Sequence[Sample] = (),
    points: int = 4,
    measures: Mapping[str, Any] | None = None,
    report: Report = silent,
    cancelled: CancelCheck = never,
) -> Row:
    """The usual run: one training, and a prediction of every test case.

    Parameters
    ----------
    protocol : Protocol
    run : Run
    plan : TrainingPlan
        With what the arm changes.
    split : Split
        The schedule's order names its training cases.
    schedule : Schedule, optional
    watched, points
        See :func:`fit`.
    measures : mapping, optional
        Goes into the row.
    report, cancelled
        As for training.

    Returns
    -------
    Row
        Not yet written.
    """
    fitted = fit(
        protocol,
        plan,
        split.train,
        protocol.work / "runs" / run.name,
        schedule=schedule,
        watched=watched,
        points=points,
        report=report,
        cancelled=cancelled,
    )
    draw = drawing(fitted.weights, plan, protocol.device, fitted.precision)
    found = evaluated(split.test, plan.classes, draw, report=report, cancelled=cancelled)
    voxels = mean_voxels(schedule, plan, fitted.steps)
    return Row(
        train=tuple(sample.id for sample in split.train),
        voxels=voxels,
        voxels_ratio=voxels / (math.prod(plan.patch) * plan.batch),
        measures=dict(measures or {}),
        **found,
        **told_of(protocol, run, fitted, plan.network),
    )


def told_of(protocol: Protocol, run: Run, fitted: Fitted, network: str) -> dict[str, Any]:
    """The fields of a row that say what was trained, where, and how long."""
    from napari_dasl.training.device import choose

    return {
        "experiment": protocol.experiment,
        "arm": run.arm.name,
        "seed": run.seed,
        "fold": run.fold,
        "network": network,
        "steps": fitted.steps,
        "seconds": fitted.seconds,
        "cpu_seconds": fitted.cpu,
        "precision": fitted.precision,
        "threads": protocol.threads,
        "device": device_name(choose(protocol.device)),
        "losses": fitted.losses,
        "curve": fitted.curve,
    }


def device_name(device: Any) -> str:
    """The device in words."""
    if device.type == "cuda":
        import torch

        return str(torch.cuda.get_device_name(device))
    return f"{PROCESSOR} of {os.cpu_count()} cores"
