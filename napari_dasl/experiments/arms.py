"""What is compared: arms, runs of them, what all runs share, and the row that each run leaves."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from napari_dasl import __version__
from napari_dasl.curriculum import Pacing, StageChoice, make_schedule, plan_stages
from napari_dasl.errors import InputError
from napari_dasl.networks.families import patch_divisor
from napari_dasl.project import presets
from napari_dasl.training.plan import TrainingPlan
from napari_dasl.volumes.atomic import write_bytes_atomic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import ArrayLike

    from napari_dasl.curriculum.orders import Order
    from napari_dasl.curriculum.schedule import Schedule
    from napari_dasl.experiments.data import Sample, Study

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Course:
    """The curriculum of an arm: which scores are its difficulty, their order, pacing, and the stages.

    *scorer* is the name under which the experiment gives difficulties; empty where the order plays no part.
    """

    scorer: str = ""
    order: Order = "easy"
    pacing: Pacing = field(default_factory=Pacing)
    stages: StageChoice = field(default_factory=StageChoice)


@dataclass(frozen=True)
class Arm:
    """One of the things that are compared.

    Attributes
    ----------
    name : str
        In tables, files and on the command line.
    sentence : str
        What it does.
    plan : mapping
        Values of the training plan that it changes.
    course : Course or None
        Its curriculum; None trains with the plan alone.
    network : str
        Another network than the experiment's; empty for the experiment's.
    """

    name: str
    sentence: str
    plan: Mapping[str, Any] = field(default_factory=dict)
    course: Course | None = None
    network: str = ""


@dataclass(frozen=True)
class Run:
    """One arm with one seed, on one fold where the experiment has folds."""

    arm: Arm
    seed: int
    fold: int = 0

    @property
    def name(self) -> str:
        """Names its row and its folder."""
        return f"{self.arm.name}-s{self.seed}-f{self.fold}"


@dataclass(frozen=True)
class Protocol:
    """What all runs of an experiment share. Plain values: it goes to other processes as it is.

    Attributes
    ----------
    experiment : str
    study : Study
    work : Path
        Rows, trainings and prepared scans; another folder for every other :attr:`identity`.
    steps, minutes : int, float or None
        How long each training is, in optimiser steps or by the clock.
    network : str
    options : mapping
        What else the experiment can be told, parsed.
    device : str
    threads : int
        Of each run, on a processor.
    precision : str
        What ``measure`` of the experiment has found; one for all runs.
    """

    experiment: str
    study: Study
    work: Path
    steps: int | None
    minutes: float | None
    network: str
    options: Mapping[str, Any] = field(default_factory=dict)
    device: str = "auto"
    threads: int = 1
    precision: str = "auto"

    @property
    def identity(self) -> str:
        """A hash of what a row depends on but arm and seed; of the machine, what was asked for.

        With the version and all presets: rows of one table come from the same recipe, also after an update.
        """
        told = [
            *(__version__, [presets.load(name) for name in presets.names()]),
            *(self.experiment, self.study.fingerprint, self.steps, self.minutes, self.network),
            *(self.device, self.threads, sorted(self.options.items())),
        ]
        return hashlib.sha256(json.dumps(told, default=str).encode()).hexdigest()[:12]

    def row_file(self, run: Run) -> Path:
        """Where the row of *run* is kept."""
        return self.work / "rows" / f"{run.name}.json"


class Row(BaseModel):
    """What one run came to.

    Attributes
    ----------
    experiment, arm : str
    seed, fold : int
    network : str
    train : tuple of str
        Cases learnt from.
    dice : dict
        Test case to the mean Dice over its classes; None where truth and prediction are both empty.
    summary : dict
        :func:`napari_dasl.metrics.summarise` of the test cases.
    steps : int
        Optimiser steps.
    seconds : float
        Of training alone, by the clock.
    cpu_seconds : float or None
        The same of the processor, which other work on the machine does not stretch; None where training was
        interrupted.
    predict_seconds : dict
        Test case to seconds of its prediction.
    voxels : float
        Mean over the optimiser steps of the voxels that a step sees.
    voxels_ratio : float
        The same against the plan's patch and batch throughout.
    threads : int
    precision, device : str
    losses : tuple of (step, loss)
    curve : tuple of (step, Dice)
        Of the cases that were watched, where the experiment watches any.
    measures : dict
        What else an experiment measures.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    experiment: str
    arm: str
    seed: int
    fold: int = 0
    network: str = ""
    train: tuple[str, ...] = ()
    dice: dict[str, float | None]
    summary: dict[str, Any] = {}
    steps: int
    seconds: float
    cpu_seconds: float | None = None
    predict_seconds: dict[str, float] = {}
    voxels: float = 0.0
    voxels_ratio: float = 1.0
    threads: int = 1
    precision: str = ""
    device: str = ""
    losses: tuple[tuple[int, float], ...] = ()
    curve: tuple[tuple[int, float], ...] = ()
    measures: dict[str, Any] = {}

    @property
    def mean_dice(self) -> float | None:
        """Mean over the test cases that count."""
        known = [value for value in self.dice.values() if value is not None]
        return math.fsum(known) / len(known) if known else None


def read_row(path: Path) -> Row | None:
    """The row at *path*; None where there is none yet, or what is there is no row, which is then made again."""
    try:
        return Row.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def write_row(path: Path, row: Row) -> None:
    """Write *row* whole or not at all.

    Raises
    ------
    StorageError
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes_atomic(path, row.model_dump_json(indent=1).encode())


def derived_plan(
    protocol: Protocol, samples: Sequence[Sample], *, seed: int, network: str = "", **changes: Any
) -> TrainingPlan:
    """The plan that the project would derive from *samples*, with *changes*, and the precision of the experiment.

    Raises
    ------
    InputError
        The network does not take what is changed.
    """
    from napari_dasl.training.device import choose
    from napari_dasl.training.fingerprint import measure
    from napari_dasl.training.plan import derive

    study = protocol.study
    plan = derive(
        measure([sample.data() for sample in samples], channels=("image",), classes=study.classes),
        modality=study.modality,
        network=network or protocol.network,
        compute="cuda" if choose(protocol.device).type == "cuda" else "cpu",
        seed=seed,
    )
    return changed(plan, {"precision": protocol.precision, **changes})


def changed(plan: TrainingPlan, changes: Mapping[str, Any]) -> TrainingPlan:
    """The *plan* with other values, checked; those of ``network_options`` and ``augmentation`` are merged.

    Raises
    ------
    InputError
        The plan does not allow them.
    """
    values = plan.model_dump()
    for key, value in changes.items():
        values[key] = {**values[key], **value} if isinstance(values.get(key), dict) else value
    try:
        return TrainingPlan.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the plan"
        raise InputError(f"The training plan is wrong at {key}: {first['msg']}.", "Correct the settings.") from error


def schedule_of(
    course: Course,
    plan: TrainingPlan,
    difficulty: ArrayLike,
    *,
    steps: int,
    tumour: Sequence[int] | None = None,
    whole: Sequence[int] | None = None,
) -> Schedule:
    """The schedule of a run: the *course* over cases of that *difficulty*.

    Parameters
    ----------
    course : Course
    plan : TrainingPlan
    difficulty : array (n,)
        One per training case, in their order; rises with hardness. Zeros where the order plays no part.
    steps : int
        Of the run; 0 where it is not known, and stages are then parts of the time.
    tumour, whole : (int, int, int), optional
        Sizes for the stages that need them, see :func:`napari_dasl.curriculum.plan_stages`.
    """
    divisor = patch_divisor(plan.network, plan.network_options)
    stages = plan_stages(course.stages, plan.patch, divisor, plan.batch, tumour, whole, steps=steps)
    return make_schedule(difficulty, course.order, course.pacing, stages, seed=plan.seed, drawn=course.stages.drawn)


def mean_voxels(schedule: Schedule | None, plan: TrainingPlan, steps: int) -> float:
    """Voxels of an optimiser step, averaged over the *steps* of a run, each with the patch and batch that it had."""
    if schedule is None:
        return float(math.prod(plan.patch) * plan.batch)
    settings = (schedule.at(step / steps, step) for step in range(steps))
    return math.fsum(math.prod(now.patch) * now.batch for now in settings) / steps


def settled(protocol: Protocol, plan: TrainingPlan, stages: Sequence[Triple] = ()) -> Protocol:
    """The *protocol* with the number type that this machine is fastest in; measured once, for every run and stage.

    Single precision where torch could not train one of the *stages*, given as patches, in bf16.
    """
    from napari_dasl.training.device import choose, corrupts_in_bf16, measure_precision
    from napari_dasl.training.weights import build_network

    kept = protocol.work / "precision.json"
    if kept.is_file():
        return replace(protocol, precision=json.loads(kept.read_text())["precision"])
    target = choose(protocol.device)
    auto = plan.model_copy(update={"precision": "auto"})
    thin = any(corrupts_in_bf16(plan.model_copy(update={"patch": patch}), target) for patch in (plan.patch, *stages))
    found = "fp32" if thin else measure_precision(auto, build_network(auto).to(target), target).dtype
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_bytes_atomic(kept, json.dumps({"precision": found}).encode())
    return replace(protocol, precision=found)
