"""From which score on a finding counts: chosen on the guard set once a detector is trained, and kept with the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_dasl.errors import Cancelled
from napari_dasl.events import Log, Phase
from napari_dasl.inference.region.thresholds import FILE
from napari_dasl.inference.region.thresholds import tune as choose
from napari_dasl.rounds.detecting import lesions
from napari_dasl.rounds.models import predictor

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_dasl.events import CancelCheck
    from napari_dasl.inference import Predictor
    from napari_dasl.inference.region.candidates import Candidates
    from napari_dasl.inference.region.thresholds import Thresholds
    from napari_dasl.rounds.stage import Stage
    from napari_dasl.training.cases import CaseData


def tune(stage: Stage, folder: Path) -> dict[str, Candidates]:
    """Choose the thresholds of the model in *folder* on the guard set of this round, and store them beside its weights.

    Without a guard set, or without a lesion in it, the model keeps the thresholds that every detector starts with.

    Returns
    -------
    dict
        What the network found in each guard case, so that none is predicted again for the comparison; {} where the
        thresholds were chosen before.

    Raises
    ------
    Cancelled
        Between two scans; nothing is stored yet.
    """
    if not stage.guard or (folder / FILE).exists():
        return {}
    stage.report(Phase(name="guard", text=f"Choosing the threshold on {len(stage.guard)} scans of the guard set."))
    chosen, found = best(predictor(folder, stage.device), stage.guard, stage.cancelled)
    if chosen is not None:
        chosen.to_file(folder)
        stage.report(Log(text=f"Findings count from a score of {chosen.score:.2f} on."))
    return found


def best(
    network: Predictor, cases: Sequence[CaseData], cancelled: CancelCheck
) -> tuple[Thresholds | None, dict[str, Candidates]]:
    """Return the thresholds that are best on *cases*, None where these hold no lesion, and what was found in each case.

    Raises
    ------
    Cancelled
    """
    found: dict[str, Candidates] = {}
    truth = []
    for case in cases:
        if cancelled():
            raise Cancelled("Stopped between two scans of the guard set.", "Training is saved.")
        found[case.id] = network.candidates(case.image(), case.spacing, cancelled=cancelled)
        truth.append(lesions(case) or ())
    return (choose(list(found.values()), truth) if any(truth) else None), found
