"""A run that follows a curriculum: what its schedule says at one moment, as a plan and cases to draw from."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from napari_dasl.errors import InputError
from napari_dasl.networks.families import patch_divisor
from napari_dasl.training.alternating import has_room

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_dasl.curriculum.schedule import Schedule
    from napari_dasl.training.cases import CaseData, Shape
    from napari_dasl.training.plan import TrainingPlan
    from napari_dasl.training.prepare import Prepared

ALTERNATING = "tumour-patches"
"""The sampling whose patches show a lesion and none in turn; that of whole scans places none of them on a lesion."""


@dataclass(frozen=True)
class Moment:
    """What one step learns from: the *plan* with the stage's patch and batch, and *cases*; *rate* is a factor.

    With *alternate* every second patch shows a lesion, and the others none.
    """

    plan: TrainingPlan
    cases: Sequence[Prepared]
    rate: float
    alternate: bool = False
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
    _room: dict[tuple[str, Shape], bool] = field(default_factory=dict, compare=False, repr=False)

    def at(self, progress: float, step: int) -> Moment:
        """What holds at *progress*, in the optimiser step of the number *step*; without a schedule always the same.

        Where none of the people's labels is available yet that can be learnt from, the first of them in the order is;
        and where patches without a lesion are wanted and no case has room for one, the first that has.
        """
        if self.schedule is None:
            return Moment(self.plan, self.cases, 1.0)
        setting = self.schedule.at(progress, step)
        open_now = {int(index) for index in setting.available}
        alternate = setting.sampling == ALTERNATING
        cases = [case for place, case in zip(self.places, self.cases, strict=True) if place in open_now]
        if not any(_drawn(case) for case in cases):
            cases.append(next(filter(_drawn, self._in_order())))
        if alternate and not any(self.room(case, setting.patch) for case in cases):
            cases += [case for case in self._in_order() if self.room(case, setting.patch)][:1]
        changed: dict[str, object] = {"patch": setting.patch, "batch": setting.batch}
        if setting.sampling == "whole":
            changed["foreground"] = 0.0
        key = (setting.stage, tuple(case.id for case in cases))
        return Moment(self.plan.model_copy(update=changed), cases, setting.rate, alternate, key)

    def room(self, case: Prepared, patch: Shape) -> bool:
        """Whether a person's label leaves room for a *patch* without a lesion."""
        if not _drawn(case):
            return False
        if (case.id, patch) not in self._room:
            self._room[case.id, patch] = has_room(case, patch, self.plan.lesion_values)
        return self._room[case.id, patch]

    def check_room(self) -> None:
        """Refuse patches without a lesion where no scan has room for one.

        Raises
        ------
        InputError
        """
        for stage in self.schedule.stages if self.schedule is not None else ():
            if stage.sampling == ALTERNATING and not any(self.room(case, stage.patch) for case in self.cases):
                raise InputError(
                    f"No labelled scan has room for a patch of {list(stage.patch)} without a lesion, and a stage of "
                    "the curriculum asks for as many of them as show one.",
                    "Choose other stages, or label a scan that reaches further around its lesions.",
                )

    def _in_order(self) -> list[Prepared]:
        """The cases as the schedule orders them."""
        assert self.schedule is not None
        case_at = dict(zip(self.places, self.cases, strict=True))
        return [case_at[int(place)] for place in self.schedule.order if int(place) in case_at]


def _drawn(case: Prepared) -> bool:
    return case.human and case.label is not None


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
        plan.check_batch(stage.batch, "A stage of the curriculum")
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
