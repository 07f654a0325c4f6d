"""From which score on a finding counts: chosen on the guard set once a detector is trained, and kept with the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_dasl.errors import Cancelled
from napari_dasl.events import Log, Phase
from napari_dasl.inference.region import thresholds
from napari_dasl.rounds.detecting import lesions
from napari_dasl.rounds.models import predictor

if TYPE_CHECKING:
    from pathlib import Path

    from napari_dasl.rounds.stage import Stage


def tune(stage: Stage, folder: Path) -> None:
    """Choose the thresholds of the model in *folder* on the guard set of this round, and store them beside its weights.

    Without a guard set, or without a lesion in it, the model keeps the thresholds that every detector starts with.

    Raises
    ------
    Cancelled
        Between two scans; nothing is stored yet.
    """
    if not stage.guard or (folder / thresholds.FILE).exists():
        return
    stage.report(Phase(name="guard", text=f"Choosing the threshold on {len(stage.guard)} scans of the guard set."))
    network = predictor(folder, stage.device)
    found, truth = [], []
    for case in stage.guard:
        if stage.cancelled():
            raise Cancelled("Stopped between two scans of the guard set.", "Training is saved.")
        found.append(network.candidates(case.image(), case.spacing, cancelled=stage.cancelled))
        truth.append(lesions(case) or ())
    if not any(truth):
        return
    chosen = thresholds.tune(found, truth)
    chosen.to_file(folder)
    stage.report(Log(text=f"Findings count from a score of {chosen.score:.2f} on."))
