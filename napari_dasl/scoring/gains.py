"""Gradient difficulty: how much a trained network still learns from each case."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from napari_dasl.curriculum.difficulty import gradient_difficulty
from napari_dasl.errors import Cancelled, InputError, WorkError
from napari_dasl.events import Phase, Progress, never, silent
from napari_dasl.inference.dropout import DROPOUT
from napari_dasl.training import device as devices
from napari_dasl.training.mixing import Mixing
from napari_dasl.training.objectives import objective
from napari_dasl.training.optimisers import build_optimiser
from napari_dasl.training.schedules import learning_rate
from napari_dasl.training.state import run_identity
from napari_dasl.training.weights import load_network
from napari_dasl.volumes.atomic import write_bytes_atomic

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_dasl.events import CancelCheck, Report
    from napari_dasl.training import Budget, Cache, Prepared
    from napari_dasl.training.cases import CaseData
    from napari_dasl.training.plan import TrainingPlan

REPEATS, EPOCHS = 5, 100
"""Of Moreau et al.; both can be fewer."""

_SEED_STEP = 7919
"""Between the seeds of two repeats, so that they draw other patches than each other and than the training before."""


def gradient(
    plan: TrainingPlan,
    cases: Sequence[CaseData],
    folder: Path,
    *,
    cache: Cache,
    weights: Path,
    budget: Budget | None = None,
    repeats: int = REPEATS,
    epochs: int = EPOCHS,
    device: str = "auto",
    report: Report = silent,
    cancelled: CancelCheck = never,
) -> NDArray[np.float64]:
    """Gradient difficulty of each case (Moreau et al., ISBI 2023): 1 where a trained network still gains most, 0 least.

    The network starts from *weights*, which have converged, and is trained again on all cases. In every epoch each case
    comes once, in random order, with one optimiser step on a batch of its own patches (of a network of slices and a
    case of one slice: the slice). Its loss change is the loss on that very batch after the step less the one before it,
    both without dropout and in single precision, because the difference is small. The paper trains on batches of
    several slices and does not say how it tells their parts apart. Everything else is as the plan trains: optimiser,
    learning rate, loss, and augmentation but mixing, for which there would have to be another case.

    Parameters
    ----------
    plan : TrainingPlan
    cases : sequence of CaseData
        Labelled.
    folder : Path
        Keeps the changes of each finished repeat (``gradient-0.json`` …); an interrupted run goes on after the last.
    cache : Cache
        Of the same plan.
    weights : Path
        Of a network of *plan*, trained.
    budget : Budget, optional
        Of each repeat: it ends after the epoch in which this is used up, whatever *epochs* says.
    repeats, epochs : int
        At least 1.
    device : str
    report, cancelled
        Told and asked at every step.

    Returns
    -------
    array (n,) float64
        As :func:`napari_dasl.curriculum.difficulty.gradient_difficulty`: large is easy. NaN for a case without a label.

    Raises
    ------
    InputError
        When there is nothing to learn from, or *repeats* or *epochs* is below 1.
    Cancelled
        Finished repeats are kept.
    WorkError
        When the loss is no number any more.
    """
    if min(repeats, epochs) < 1:
        raise InputError(f"{repeats} repeats of {epochs} epochs measure nothing.", "Give at least 1 of each.")
    prepared = _prepare(cases, cache, report, cancelled)
    identity = _identity(plan, cases, weights, budget, epochs)
    folder.mkdir(parents=True, exist_ok=True)
    changes = []
    for number in range(repeats):
        path = folder / f"gradient-{number}.json"
        found = read_changes(path, identity)
        if found is None:
            report(Phase(name="train", text=f"Measuring what each case still teaches, part {number + 1} of {repeats}."))
            changed = {"seed": plan.seed + _SEED_STEP * (number + 1), "precision": "fp32"}
            run = _Run(plan.model_copy(update=changed), weights, device)
            found = run.changes(prepared, epochs, budget, report, cancelled)
            note = {"run": identity, "changes": [[None if c != c else c for c in row] for row in found.tolist()]}
            write_bytes_atomic(path, json.dumps(note).encode())
        changes.append(found)
    longest = max(len(one) for one in changes)
    missing = [np.full((longest - len(one), len(cases)), np.nan) for one in changes]
    return gradient_difficulty(np.stack([np.vstack(pair) for pair in zip(changes, missing, strict=True)]))


@dataclass
class _Run:
    """One repeat: a network that goes on learning."""

    plan: TrainingPlan
    weights: Path
    device: str

    def changes(
        self,
        cases: Sequence[Prepared | None],
        epochs: int,
        budget: Budget | None,
        report: Report,
        cancelled: CancelCheck,
    ) -> NDArray[np.float64]:
        """(epochs done, cases): the loss after a case's step less the one before it."""
        place = devices.choose(self.device)
        network = load_network(self.weights, self.plan, place)
        precision = devices.measure_precision(self.plan, network, place)
        network = network.to(memory_format=precision.layout(self.plan.spatial_dims)).train()
        _without_dropout(network)
        optimiser = build_optimiser(self.plan, network)
        task = objective(self.plan)
        usable = [index for index, case in enumerate(cases) if case is not None]
        rng = np.random.default_rng((self.plan.seed, len(cases)))
        rows: list[NDArray[np.float64]] = []
        step, started = 0, time.monotonic()
        for epoch in range(epochs):
            row = np.full(len(cases), np.nan)
            for index in rng.permutation(usable):
                if cancelled():
                    raise Cancelled("Stopped between two steps.", "Finished parts are kept.")
                case = cases[index]
                assert case is not None
                batch = task.make(self.plan, [case], step, Mixing(), human_only=True)
                rate = learning_rate(self.plan, self._progress(step, epochs * len(usable), budget, started))
                row[index] = _gain(network, optimiser, task, task.moved(batch, place), precision, rate, self.plan.clip)
                step += 1
                report(Progress(name="train", done=step, total=epochs * len(usable)))
            rows.append(row)
            if budget is not None and budget.progress(step, time.monotonic() - started) >= 1 and epoch + 1 < epochs:
                break
        return np.stack(rows)

    def _progress(self, step: int, total: int, budget: Budget | None, started: float) -> float:
        """How far the learning rate has come."""
        used = budget.progress(step, time.monotonic() - started) if budget is not None else 0.0
        return min(1.0, max(step / total, used))


def _gain(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    task: Any,
    batch: Any,
    precision: devices.Precision,
    rate: float,
    clip: float,
) -> float:
    """One step on *batch*; the loss after it less the one before."""
    loss = task.loss(network, batch, precision)
    before = float(loss.detach())
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), clip)
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.step()
    with torch.no_grad():
        after = float(task.loss(network, batch, precision))
    if not np.isfinite(after - before):
        raise WorkError("The loss is no number any more.", "Lower learning_rate in the training plan.")
    return after - before


def _without_dropout(network: nn.Module) -> None:
    for part in network.modules():
        if isinstance(part, DROPOUT):
            part.p = 0.0


def _prepare(cases: Sequence[CaseData], cache: Cache, report: Report, cancelled: CancelCheck) -> list[Prepared | None]:
    """Each case on the network's grid, with weight 1; None where it has no label."""
    found: list[Prepared | None] = []
    for done, case in enumerate(cases):
        if cancelled():
            raise Cancelled("Stopped while preparing the scans.", "Prepared scans are kept.")
        one = cache.case(case)
        found.append(replace(one, weight=1.0, human=True) if one.label is not None else None)
        report(Progress(name="prepare", done=done + 1, total=len(cases), text=case.id))
    if all(one is None for one in found):
        raise InputError("There is no labelled case to learn from.", "Label a few cases first.")
    return found


def _identity(plan: TrainingPlan, cases: Sequence[CaseData], weights: Path, budget: Budget | None, epochs: int) -> str:
    """A hash of everything that the changes follow from."""
    start = hashlib.sha256(weights.read_bytes()).hexdigest() if weights.exists() else ""
    return hashlib.sha256(f"{run_identity(plan, cases, plan.seed)} {start} {budget} {epochs}".encode()).hexdigest()


def read_changes(path: Path, identity: str | None = None) -> NDArray[np.float64] | None:
    """Read the changes of a finished repeat, (epochs, cases).

    Parameters
    ----------
    path : Path
        ``gradient-0.json`` …, as :func:`gradient` keeps them.
    identity : str, optional
        The run that they must belong to.

    Returns
    -------
    array or None
        NaN where a case has none; None where there is no such file, it is damaged, or it belongs to another run.
    """
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
        return np.array(note["changes"], dtype=np.float64) if identity in (None, note["run"]) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
