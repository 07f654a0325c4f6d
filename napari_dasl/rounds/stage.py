"""What every part of one running round needs to know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_dasl.events import CancelCheck, Report
    from napari_dasl.project import Model, Project, Round
    from napari_dasl.rounds.gather import Boxes
    from napari_dasl.rounds.phases import Standing
    from napari_dasl.rounds.plan import RoundPlan
    from napari_dasl.training import Budget
    from napari_dasl.training.cases import CaseData
    from napari_dasl.training.plan import TrainingPlan


@dataclass(frozen=True)
class Stage:
    """One running round.

    Attributes
    ----------
    request : RoundPlan
        What was asked for.
    round : Round
        Its row and folder; ``round.plan`` is what was settled before it began.
    plan : TrainingPlan
        With the seed of this round.
    train, guard : tuple of CaseData
        Human labels to learn from, and to judge by.
    parent : Model or None
        The model that was active when the round began; pseudo-labels are its predictions.
    standing : Standing
        Of self-pacing when the round began.
    judged : bool
        Whether the guard set may decide about a round with pseudo-labels.
    rejected : mapping
        Boxes in mm of the findings that the annotator had rejected when the round began, by case.
    """

    project: Project
    request: RoundPlan
    round: Round
    plan: TrainingPlan
    train: tuple[CaseData, ...]
    guard: tuple[CaseData, ...]
    parent: Model | None
    standing: Standing
    judged: bool
    rejected: Boxes
    report: Report
    cancelled: CancelCheck

    @property
    def device(self) -> str:
        """Where to compute: what the request says, else what the project says."""
        return self.request.device if self.request.device != "auto" else self.project.config.training.device

    def budget(self, share: float = 1.0) -> Budget:
        """Return how long to train on the human labels of this round, or a *share* of it."""
        from napari_dasl.training import Budget

        request, config = self.request, self.project.config.training
        steps, minutes = request.steps, request.minutes
        if request.epochs is not None:
            steps = max(1, request.epochs * len(self.train) // self.plan.batch)
        if steps is None and minutes is None:
            steps, minutes = config.steps, config.minutes
        if steps is None and minutes is None:
            steps = self.plan.steps_for(len(self.train))
        return Budget(
            steps=None if steps is None else max(1, round(share * steps)),
            minutes=None if minutes is None else share * minutes,
        )
