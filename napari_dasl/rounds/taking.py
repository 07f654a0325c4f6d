"""The SPL phase of a running round: predict what is missing, measure η, weigh the candidates, and freeze the choice.

The choice is written to ``pseudo.json`` in the folder of the round before training begins. A resumed round reads it
there, so that it trains on the same pseudo-labels, whatever was labelled or predicted meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from napari_dasl.errors import InputError, ProjectError
from napari_dasl.events import Log, Phase
from napari_dasl.project.records import PseudoLabel
from napari_dasl.project.store import now
from napari_dasl.rounds import crossfit, phases, pseudo
from napari_dasl.rounds.gather import pseudo_data
from napari_dasl.rounds.guarding import before_cases, mean
from napari_dasl.rounds.predicting import predict_cases
from napari_dasl.volumes.atomic import write_bytes_atomic

if TYPE_CHECKING:
    from napari_dasl.project import Model
    from napari_dasl.rounds.stage import Stage
    from napari_dasl.training.cases import CaseData

FILE = "pseudo.json"


class Taken(BaseModel):
    """What an SPL phase chose, frozen.

    Attributes
    ----------
    model : str
        Whose predictions are the pseudo-labels.
    weights : dict
        Case to weight, above 0.
    candidates : int
        How many were weighed.
    why_not : str
        Why nothing was taken; empty where something was.
    """

    model_config = ConfigDict(frozen=True, populate_by_name=True, extra="forbid")

    model: str
    weights: dict[str, float] = {}
    candidates: int = 0
    pace: float | None = Field(default=None, alias="lambda", serialization_alias="lambda")
    quantile: float | None = None
    iteration: int = 0
    accuracy: float | None = None
    crossfitted: bool = False
    regularizer: str = ""
    view: str = ""
    empty_labels: bool = False
    why_not: str = ""

    @property
    def summary(self) -> dict[str, object]:
        """What the round's result says about it."""
        effective = sum(self.weights.values())
        return {
            "candidates": self.candidates,
            "taken": len(self.weights),
            "effective": effective,
            "mean_weight": effective / len(self.weights) if self.weights else None,
            "regularizer": self.regularizer,
            "view": self.view,
            "iteration": self.iteration,
            "crossfitted": self.crossfitted,
            "empty_labels": self.empty_labels,
        }


def take(stage: Stage) -> Taken:
    """Choose the pseudo-labels of this round and store them in the project, or read what was chosen before.

    Raises
    ------
    Cancelled
        Between two predictions or steps; nothing is chosen yet.
    """
    path = stage.round.folder / FILE
    if path.exists():
        return Taken.model_validate_json(path.read_text(encoding="utf-8"))
    found = _choose(stage)
    write_bytes_atomic(path, found.model_dump_json(by_alias=True, indent=1).encode())
    return found


def data(stage: Stage, taken: Taken) -> list[CaseData]:
    """Return the pseudo-labelled cases as training sees them; the prediction is read when it is needed."""
    return pseudo_data(stage.project, taken.model, taken.weights, stage.rejected, detector=stage.plan.detector)


def _choose(stage: Stage) -> Taken:
    project, model = stage.project, stage.parent
    if model is None:
        raise ProjectError("There is no model whose predictions could be learned from.", "Start a new round.")
    config = project.config.selfpaced
    accuracy, crossfitted = _accuracy(stage)
    base = Taken(
        model=model.id,
        iteration=stage.standing.iteration,
        accuracy=accuracy,
        crossfitted=crossfitted,
        regularizer=config.regularizer,
    )
    if accuracy is None and crossfitted:
        return base.model_copy(update={"why_not": "There are too few labels to measure how good the model is."})
    if accuracy is not None and accuracy < config.least_dice:
        where = "on labels it has not seen" if crossfitted else "on the guard set"
        return base.model_copy(update={"why_not": phases.too_low(accuracy, config.least_dice, where)})
    found, empty = _found(stage, model), False
    if found.unpredicted:
        # Only the active model can say what its pseudo-labels are: a case without its prediction is predicted now.
        outcome = predict_cases(
            project,
            found.unpredicted,
            model=model.id,
            device=stage.device,
            report=stage.report,
            cancelled=stage.cancelled,
        )
        for case, problem in outcome.failed.items():
            stage.report(Log(level="warning", text=f"{case} was not predicted: {problem}"))
        found = _found(stage, model)
    # Labels are read for this only where it makes a difference.
    if found.empty and _holds_empty(stage):
        found, empty = _found(stage, model, empty_labels=True), True
    return _weigh(stage, found, base.model_copy(update={"view": found.view, "empty_labels": empty}))


def _found(stage: Stage, model: Model, *, empty_labels: bool = False) -> pseudo.Candidates:
    return pseudo.find(stage.project, model, stage.project.config.selfpaced.view, empty_labels=empty_labels)


def _weigh(stage: Stage, found: pseudo.Candidates, base: Taken) -> Taken:
    config = stage.project.config.selfpaced
    for line in found.notes:
        stage.report(Log(text=line))
    if not found.losses:
        return base.model_copy(update={"why_not": "There is no prediction that could be taken as a pseudo-label."})
    pace = pseudo.pace_of(
        found.losses,
        config,
        before=stage.standing.pace,
        quantile_before=stage.standing.quantile,
        iteration=base.iteration,
        accuracy=base.accuracy,
    )
    fixed = {"candidates": len(found.losses), "pace": pace.value, "quantile": pace.quantile}
    try:
        choice = pseudo.choose(found.losses, pace, config)
    except InputError as problem:
        return base.model_copy(update={**fixed, "why_not": str(problem)})
    made = now()
    rows = [
        PseudoLabel(
            case=case,
            round=stage.round.number,
            model=base.model,
            weight=weight,
            loss=choice.losses[case],
            pace=pace.value,
            created=made,
            verdict="",
        )
        for case, weight in choice.weights.items()
    ]
    stage.project.save_pseudo_labels(stage.round.number, rows)
    if not choice.taken:
        return base.model_copy(update={**fixed, "why_not": phases.nothing_taken(pace)})
    text = f"Taking {len(choice.taken)} of {len(rows)} predictions as pseudo-labels"
    text += f" (mean weight {choice.mean_weight:.2f})."
    stage.report(Phase(name="prepare", text=text))
    return base.model_copy(update={**fixed, "weights": choice.taken})


def _accuracy(stage: Stage) -> tuple[float | None, bool]:
    """η_t of Eq. 9, and whether it is cross-fitted."""
    if stage.judged:
        return mean(list(before_cases(stage).values())), False
    stage.report(Log(text="There are too few labels for a guard set that could judge; cross-fitting instead."))
    return crossfit.accuracy(stage), True


def _holds_empty(stage: Stage) -> bool:
    """Whether an annotator labelled some scan as empty."""
    labels = (case.label() for case in stage.train)
    return any(label is not None and not label.any() for label in labels)
