"""A training run under way: all that changes in it, and who is told about it, may stop it, and keeps it."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from napari_dasl.events import CancelCheck, Metric, Progress, Report

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_dasl.training.device import Precision

REPORT_SECONDS = 0.25
GUARD_TIMES = 4
CURVE_STEPS = 10
"""The loss curve has one point, the mean, for as many steps."""


@dataclass
class Run:
    """Everything that changes while training runs; saved and loaded as one."""

    network: nn.Module
    optimiser: torch.optim.Optimizer
    average: dict[str, torch.Tensor]
    precision: Precision
    step: int = 0
    seconds: float = 0.0
    losses: list[tuple[int, float]] = field(default_factory=list)
    guard: list[tuple[int, float]] = field(default_factory=list)
    recent: list[float] = field(default_factory=list)

    def state(self, identity: str) -> dict[str, Any]:
        """All of it as plain values and tensors, with the *identity* of the run."""
        return {
            "identity": identity,
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average,
            "precision": [self.precision.dtype, self.precision.channels_last],
            "threads": torch.get_num_threads(),
            "step": self.step,
            "seconds": self.seconds,
            "losses": self.losses,
            "guard": self.guard,
            "recent": self.recent,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Become what :meth:`state` saved."""
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        for name, value in state["average"].items():
            self.average[name].copy_(value)
        self.step, self.seconds = state["step"], state["seconds"]
        self.losses = [(int(s), float(v)) for s, v in state["losses"]]
        self.guard = [(int(s), float(v)) for s, v in state["guard"]]
        self.recent = list(state["recent"])


@dataclass
class Watch:
    """Who is told about the run, who may stop it, and where it is saved."""

    report: Report
    cancelled: CancelCheck
    guard: Callable[[nn.Module], float] | None
    save: Callable[[Run], None]
    save_seconds: float
    guard_times: int = GUARD_TIMES
    told: float = 0.0

    def tell(self, run: Run, loss: float, progress: float) -> None:
        """Report a step, the loss curve, and from time to time the guard's opinion."""
        run.recent.append(loss)
        if len(run.recent) == CURVE_STEPS or progress >= 1:
            run.losses.append((run.step, sum(run.recent) / len(run.recent)))
            run.recent.clear()
            self.report(Metric(name="loss", step=run.step, value=run.losses[-1][1]))
        if self.guard and int(progress * self.guard_times) > len(run.guard):
            value = self.guard(averaged(run))
            run.guard.append((run.step, value))
            self.report(Metric(name="guard_dice", step=run.step, value=value))
        now = time.monotonic()
        if now - self.told >= REPORT_SECONDS or progress >= 1:
            self.told = now
            total = max(run.step, round(run.step / progress)) if progress else run.step
            eta = run.seconds * (1 - progress) / progress if progress else None
            self.report(Progress(name="train", done=run.step, total=total, eta=eta))


def averaged(run: Run) -> nn.Module:
    """A copy of the network with the averaged weights, ready to predict."""
    network = copy.deepcopy(run.network).eval()
    network.load_state_dict(run.average)
    return network
