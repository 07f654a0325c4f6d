"""Train the network of a round, on human labels and on what was taken as pseudo-labels."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

from napari_dasl.events import Log
from napari_dasl.inference import Predictor
from napari_dasl.rounds.comparing import compare
from napari_dasl.rounds.curricula import settle
from napari_dasl.rounds.guarding import mean
from napari_dasl.rounds.models import WEIGHTS
from napari_dasl.rounds.tuning import best
from napari_dasl.training import Cache, Mixing, train
from napari_dasl.training import device as devices

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import nn

    from napari_dasl.rounds.stage import Stage
    from napari_dasl.training.cases import CaseData

LIVE_CASES, LIVE_VOXELS = 4, 2_000_000
"""How much of the guard set is looked at while training, for the curve."""


def fit(stage: Stage, others: Sequence[CaseData]) -> Path:
    """Train and return the weights; at once where an interrupted round had finished training.

    Parameters
    ----------
    stage : Stage
        Its human labels decide how long training takes, so that pseudo-labels make a round no longer.
    others : sequence of CaseData
        Beside the human labels: pseudo-labels, and unlabelled cases with rejected findings. May be empty.
    """
    weights = stage.round.folder / WEIGHTS
    if weights.exists():
        return weights
    start = stage.request.start
    if start == "active" and stage.parent is None:
        stage.report(Log(text="There is no active model yet: training starts from scratch."))
    config = stage.project.config.selfpaced
    cases = [*stage.train, *others]
    trained = train(
        stage.plan,
        cases,
        stage.round.folder,
        cache=Cache(stage.project.folder / "cache", stage.plan),
        init=stage.parent.folder / WEIGHTS if start == "active" and stage.parent else None,
        resume=(stage.round.folder / "state").exists(),
        budget=stage.budget(),
        device=stage.device,
        report=stage.report,
        cancelled=stage.cancelled,
        guard=_live_guard(stage),
        mixing=Mixing(config.human_share, config.human_tail),
        save_student=config.view == "teacher",
        curriculum=settle(stage, cases),
    )
    if trained.weights != weights:
        os.replace(trained.weights, weights)
    return weights


def _live_guard(stage: Stage) -> Callable[[nn.Module], float] | None:
    """What the curve of guard Dice shows while training: a few small guard cases, or nothing where they are large.

    It decides nothing: the comparison after training is on the whole guard set, as :func:`guarding.judge` says.
    """
    voxels = {case.id: math.prod(case.shape) for case in stage.project.guard_cases()}
    some: list[CaseData] = []
    for case in sorted(stage.guard, key=lambda one: voxels[one.id]):
        if len(some) < LIVE_CASES and sum(voxels[one.id] for one in [*some, case]) <= LIVE_VOXELS:
            some.append(case)
    if not some:
        return None
    place = devices.choose(stage.device)
    measured: list[devices.Precision] = []

    def look(network: nn.Module) -> float:
        if not measured:
            measured.append(devices.measure_precision(stage.plan, network, place))
        judged = Predictor(network, stage.plan, place, measured[0], overlap=0.25)
        found = None
        if stage.plan.detector:
            # Scores rise as training goes on: with a fixed threshold the curve would show little else.
            chosen, found = best(judged, some, stage.cancelled)
            judged.thresholds = chosen or judged.thresholds
        rows = compare(judged, some, stage.project.config.classes, cancelled=stage.cancelled, found=found)
        return mean([row.dice for row in rows]) or 0.0

    return look
