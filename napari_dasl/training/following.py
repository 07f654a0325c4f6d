"""A run that follows a curriculum: what its schedule says at one moment, as a plan and cases to draw from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_dasl.errors import InputError
from napari_dasl.networks.families import patch_divisor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_dasl.curriculum.schedule import Schedule
    from napari_dasl.training.cases import CaseData
    from napari_dasl.training.plan import TrainingPlan
    from napari_dasl.training.prepare import Prepared

FOREGROUND = {"whole": 0.0, "tumour-patches": 0.5}
"""The part of patches that show a lesion, where the sampling of a stage says so."""


@dataclass(frozen=True)
class Moment:
    """What one step learns from: the *plan* with the stage's patch and batch, and *cases*; *rate* is a factor."""

    plan: TrainingPlan
    cases: Sequence[Prepared]
    rate: float
    key: tuple[object, ...] = ()


@dataclass(frozen=True)
class Following:
    """The plan and the usable cases of a run, and the schedule that it follows, if any.

    *places* holds the position of each usable case among all cases of the run, which the schedule's order names.
    """

    plan: TrainingPlan
    cases: list[Prepared]
    schedule: Schedule | None
    places: Sequence[int]

    def at(self, progress: float) -> Moment:
        """What holds at *progress*; without a schedule always the same.

        Where none of the people's labels is available yet that can be learnt from, the first of them in the order is.
        """
        if self.schedule is None:
            return Moment(self.plan, self.cases, 1.0)
        setting = self.schedule.at(progress)
        open_now = {int(index) for index in setting.available}
        cases = [case for place, case in zip(self.places, self.cases, strict=True) if place in open_now]
        if not any(case.human and case.label is not None for case in cases):
            rank = {place: number for number, place in enumerate(self.schedule.order)}
            human = [
                (rank[place], case)
                for place, case in zip(self.places, self.cases, strict=True)
                if case.human and case.label is not None
            ]
            cases.append(min(human, key=lambda each: each[0])[1])
        changed = {
            "patch": setting.patch,
            "batch": setting.batch,
            "foreground": FOREGROUND.get(setting.sampling, self.plan.foreground),
        }
        key = (setting.stage, tuple(case.id for case in cases))
        return Moment(self.plan.model_copy(update=changed), cases, setting.rate, key)


def check(schedule: Schedule, plan: TrainingPlan, cases: Sequence[CaseData]) -> None:
    """Refuse a schedule of other cases, or with patches that the network does not take.

    Raises
    ------
    InputError
    """
    if len(schedule.order) != len(cases):
        raise InputError(
            f"The curriculum orders {len(schedule.order)} cases, and there are {len(cases)} to learn from.",
            "Arrange the cases by difficulty again.",
        )
    multiple = patch_divisor(plan.network, plan.network_options)
    for stage in schedule.stages:
        wrong = any(side % each for side, each in zip(stage.patch, multiple, strict=True))
        if wrong or (plan.spatial_dims == 2 and stage.patch[0] != 1):
            raise InputError(
                f"A stage of the curriculum has patches of {list(stage.patch)}, and {plan.network} takes multiples of "
                f"{list(multiple)}.",
                "Plan the stages with the network's own step.",
            )


def told(schedule: Schedule | None) -> str:
    """The schedule as text, for the identity of a run; nothing where there is none."""
    return "" if schedule is None else json.dumps(schedule.as_dict(), sort_keys=True)
