"""How good a network trained on these labels is, where there are too few of them to hold a guard set back.

The labelled cases are dealt into folds; for each, a network trains on the others for a share of the round's steps and
is compared with the labels it has not seen. The mean foreground Dice over all of them is the η_t of Eq. 9 (Wang et al.,
MICCAI 2018) for this round. It is a little pessimistic, because each network saw fewer labels and fewer steps.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import TYPE_CHECKING

from napari_dasl.events import Phase, Progress
from napari_dasl.rounds.comparing import compare
from napari_dasl.rounds.guarding import mean
from napari_dasl.rounds.models import PLAN, predictor
from napari_dasl.training import Cache, train
from napari_dasl.volumes.atomic import write_bytes_atomic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_dasl.events import Event
    from napari_dasl.rounds.stage import Stage
    from napari_dasl.training.cases import CaseData

FOLDS = 3
FILE, FOLDER = "crossfit.json", "crossfit"


def folds(cases: Sequence[CaseData], seed: int, count: int = FOLDS) -> list[list[CaseData]]:
    """Deal *cases* into at most *count* folds of equal size, by lot; the lot depends on the seed and the ids alone."""
    by_lot = sorted(cases, key=lambda case: hashlib.sha256(f"fold {seed} {case.id}".encode()).digest())
    count = min(count, len(by_lot))
    return [by_lot[start::count] for start in range(count)]


def accuracy(stage: Stage) -> float | None:
    """Return the cross-fitted Dice of this round's labels; from the round's folder where it was measured before.

    Raises
    ------
    Cancelled
        Finished folds are kept, and the fold that was stopped goes on from its saved state.
    """
    path = stage.round.folder / FILE
    found: dict[str, float | None] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    dealt = folds(stage.train, stage.project.config.seed)
    if len(dealt) < 2:
        return None
    for number, held_out in enumerate(dealt):
        if all(case.id in found for case in held_out):
            continue
        text = f"Measuring how good the model is on labels it has not seen, part {number + 1} of {len(dealt)}."
        stage.report(Phase(name="guard", text=text))
        found |= _one_fold(stage, number, held_out, len(dealt))
        write_bytes_atomic(path, json.dumps(found, indent=1).encode())
    shutil.rmtree(stage.round.folder / FOLDER, ignore_errors=True)
    return mean([found[case.id] for case in stage.train])


def _one_fold(stage: Stage, number: int, held_out: Sequence[CaseData], count: int) -> dict[str, float | None]:
    """Train on the other folds and compare with *held_out*; Dice per case."""
    folder = stage.round.folder / FOLDER / str(number)
    folder.mkdir(parents=True, exist_ok=True)
    left_out = {case.id for case in held_out}

    def only_progress(event: Event) -> None:
        # The curves and phases of the folds would look like those of the round.
        if isinstance(event, Progress):
            stage.report(event.model_copy(update={"name": "guard"}))

    train(
        stage.plan,
        [case for case in stage.train if case.id not in left_out],
        folder,
        cache=Cache(stage.project.folder / "cache", stage.plan),
        resume=(folder / "state").exists(),
        budget=stage.budget(1 / count),
        device=stage.device,
        report=only_progress,
        cancelled=stage.cancelled,
    )
    stage.plan.to_file(folder / PLAN)
    rows = compare(predictor(folder, stage.device), held_out, stage.project.config.classes, cancelled=stage.cancelled)
    return {row.case: row.dice for row in rows}
