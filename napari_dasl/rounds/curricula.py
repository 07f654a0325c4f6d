"""The curriculum of a round: which one was chosen, and the schedule that it makes of the cases to learn from.

What is chosen is settled before the round begins and frozen in its ``plan.json``. How hard each case is, and how large
lesions and scans are, is measured when the round is about to train, and frozen with the schedule in
``curriculum.json``; so a resumed round follows the very same one.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dasl.curriculum import (
    SCORERS,
    Pacing,
    Schedule,
    StageChoice,
    find_pacing,
    largest_lesion,
    make_schedule,
    plan_stages,
)
from napari_dasl.errors import InputError, ProjectError
from napari_dasl.events import Log, silent
from napari_dasl.networks.families import family, patch_divisor
from napari_dasl.project import presets
from napari_dasl.project.curriculum_config import CurriculumConfig, Recipe
from napari_dasl.training.normalise import windowed
from napari_dasl.training.plan import Augmentation
from napari_dasl.volumes.atomic import write_bytes_atomic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_dasl.events import Report
    from napari_dasl.project import Project
    from napari_dasl.rounds.plan import RoundPlan
    from napari_dasl.rounds.stage import Stage
    from napari_dasl.training.cases import CaseData
    from napari_dasl.training.plan import TrainingPlan
    from napari_dasl.training.prepare import Prepared

    Triple = tuple[int, int, int]

FILE = "curriculum.json"
WHOLE = ("three-stage", "whole-patch", "patch-whole", "whole")
"""Stages that are made of the sizes of scans and lesions."""
_PACING = ("groups", "lengths", "start", "increase", "step", "thresholds", "full")
_FEW = 3  # stages that are named one by one
_ORDERS = {"easy": "easy cases first", "hard": "hard cases first", "random": "cases in random order"}


@dataclass(frozen=True)
class Sizes:
    """What stages are made of, in voxels of the network's grid (z, y, x).

    Attributes
    ----------
    tumour : (int, int, int) or None
        Holds every lesion of the labels; None without any.
    whole : (int, int, int)
        Holds every scan, or as much of one as memory allows.
    """

    tumour: Triple | None
    whole: Triple


def of_preset(name: str, network: str = "") -> tuple[CurriculumConfig, Recipe]:
    """The curriculum and the recipe of the preset *name*, one of :func:`napari_dasl.project.presets.names`.

    For a *network* that sees volumes where the preset's sees slices, or the other way round, the recipe has no batch:
    twelve slices and twelve volumes are not the same memory.
    """
    tables = presets.load(name)
    recipe = {key: value for key, value in tables.get("training", {}).items() if key in Recipe.model_fields}
    theirs = presets.about(name).network
    if network and theirs and family(network).spatial_dims != family(theirs).spatial_dims:
        recipe.pop("batch", None)
    return CurriculumConfig(**tables.get("curriculum", {})), Recipe(**recipe)


def resolve(project: Project, request: RoundPlan) -> tuple[CurriculumConfig, Recipe]:
    """What a round follows: its own request, else the preset that it names, else ``project.toml``.

    Raises
    ------
    InputError
        A number is out of the range of its pacing or stages, or cases are to be taken in by difficulty and no scorer
        says how hard they are.
    """
    if request.preset:
        curriculum, recipe = of_preset(request.preset, project.config.network)
    else:
        curriculum, recipe = project.config.curriculum, project.config.training.recipe
    curriculum = curriculum if request.curriculum is None else request.curriculum
    if curriculum.compares and curriculum.scorer == "none":
        _refuse_unscored(curriculum)
    pacing_of(curriculum)
    choice_of(curriculum)
    return curriculum, recipe if request.recipe is None else request.recipe


def cooked(plan: TrainingPlan, recipe: Recipe, report: Report = silent) -> TrainingPlan:
    """The training plan with what the recipe changes; what the network cannot do is left out, and said.

    Raises
    ------
    InputError
        Where a value does not go with the network or the other values.
    """
    given = recipe.given
    if plan.detector and given.get("loss", plan.loss) != plan.loss:
        report(Log(text=f"{plan.network} has a loss of its own: this round leaves {given.pop('loss')} out."))
    if given.get("mixup") and (plan.detector or plan.spatial_dims == 2):
        report(Log(text=f"Scans are not mixed for {plan.network}: this round leaves mixup out."))
        given.pop("mixup")
    if plan.detector and given.get("effective_range", "whole") != "whole":
        report(Log(text=f"{plan.network} leaves out air by itself: this round leaves the effective range out."))
        given.pop("effective_range")
    if "window" in given:
        given["normalisation"] = [rule.model_dump() for rule in windowed(plan.normalisation, *given.pop("window"))]
    rules = {key: given.pop(key) for key in list(given) if key in Augmentation.model_fields}
    if rules:
        given["augmentation"] = plan.augmentation.model_dump() | rules
    return plan.changed(given, "The recipe of this round")


def with_lesions(plan: TrainingPlan, config: CurriculumConfig, report: Report = silent) -> TrainingPlan:
    """The training plan that knows which classes are lesions.

    Raises
    ------
    InputError
        One of them is no class of the project.
    """
    try:
        config.check_lesions(plan.classes)
    except ValueError as error:
        raise InputError(f"The curriculum of this round is wrong: {error}.", "Name classes of the project.") from error
    lesions = tuple(plan.classes[value - 1] for value in config.lesion_values(plan.classes))
    if lesions and plan.detector:
        report(Log(text=f"{plan.network} finds every class as lesions: this round does not tell organs from them."))
        lesions = ()
    return plan if lesions == plan.lesions else plan.changed({"lesions": lesions}, "The curriculum of this round")


def pacing_of(config: CurriculumConfig) -> Pacing:
    """The pacing that *config* describes; InputError where its numbers do not go together."""
    numbers = {key: value for key in _PACING if (value := getattr(config, key)) is not None}
    if config.passes is not None:
        numbers["epochs"] = config.passes
    return find_pacing(config.pacing, **numbers)


def choice_of(config: CurriculumConfig) -> StageChoice:
    """The stages that *config* describes; InputError where its numbers do not go together."""
    return StageChoice(
        kind=config.stages,
        mode=config.mode,
        order=config.growth,
        bottleneck=config.bottleneck,
        decay=config.decay,
        shares=config.shares or (),
        whole_batch=config.whole_batch,
        tumour_batch=config.tumour_batch,
    )


def sizes_of(cases: Sequence[Prepared], plan: TrainingPlan) -> Sizes:
    """How large the lesions and the scans of *cases* are; networks of slices see slices of them."""
    lesions = [side for case in cases if (side := _lesion(case, plan)) is not None]
    scans = [case.image.shape[1:] for case in cases]
    flat = plan.spatial_dims == 2
    return Sizes(_largest(lesions, flat=flat) if lesions else None, _largest(scans, flat=flat))


def schedule_of(
    config: CurriculumConfig,
    plan: TrainingPlan,
    cases: Sequence[CaseData],
    difficulties: NDArray[np.float64] | None,
    sizes: Sizes | None,
    seed: int,
    steps: int,
) -> Schedule | None:
    """The schedule of a run over *cases*; a function of its arguments.

    Parameters
    ----------
    config : CurriculumConfig
    plan : TrainingPlan
        With whose patch and batch the run ends, or stays.
    cases : sequence of CaseData
        As training is given them.
    difficulties : array (n,), optional
        Rises with hardness, NaN where it is not known. Where the curriculum compares cases and nothing is known of
        them, every case is there from the beginning.
    sizes : Sizes, optional
        For the stages of the liver paper.
    seed : int
        Of the random order, and of patches drawn at random.
    steps : int
        Optimiser steps of the run; 0 where they are not known.

    Returns
    -------
    Schedule or None
        None where everything is learnt from at once, at the plan's patch: as without a curriculum.

    Raises
    ------
    InputError
        There is no lesion, and a stage asks for patches of them.
    """
    known = difficulties is not None and not np.isnan(difficulties).all()
    ordered = config.ordered and (known or not config.compares)
    if not ordered and config.stages == "constant":
        return None
    choice = choice_of(config)
    if config.stages in WHOLE and choice.whole_batch < plan.least_batch > 1:
        # A network that normalises over the batch cannot learn from one scan at a time.
        choice = replace(choice, whole_batch=plan.least_batch)
    if _by_instance(plan) and choice.bottleneck < 2:
        # Normalised by itself, the one voxel of the smallest patch's deepest map would always be 0.
        choice = replace(choice, bottleneck=2)
    stages = plan_stages(
        choice,
        plan.patch,
        patch_divisor(plan.network, plan.network_options),
        plan.batch,
        sizes.tumour if sizes else None,
        sizes.whole if sizes else None,
        steps=steps,
    )
    return make_schedule(
        np.full(len(cases), np.nan) if difficulties is None else difficulties,
        config.order if ordered else "easy",
        pacing_of(config) if ordered else Pacing("all"),
        stages,
        seed=seed,
        drawn=choice.drawn,
        minimum=min(plan.batch, len(cases)),
    )


def settle(stage: Stage, cases: Sequence[CaseData]) -> Schedule | None:
    """The schedule of a round that is about to train on *cases*; the one it had before where it goes on.

    Raises
    ------
    Cancelled
        While cases are scored; what is done is kept.
    InputError
        The curriculum cannot be followed with these cases.
    """
    config = stage.request.curriculum
    if config is None or config.plain:
        return None
    path = stage.round.folder / FILE
    names = [case.id for case in cases]
    if path.exists():
        return _frozen(json.loads(path.read_text(encoding="utf-8")), names)
    from napari_dasl.rounds.ordering import difficulties_of, room_for

    found = difficulties_of(stage, cases, config) if config.compares else None
    sizes = room_for(stage, cases) if config.stages in WHOLE else None
    seed = stage.plan.seed
    made = schedule_of(config, stage.plan, cases, found, sizes, seed, stage.budget().steps or 0)
    values = None if found is None else [None if math.isnan(value) else value for value in found.tolist()]
    frozen = {
        "cases": names,
        "difficulty": values,
        "sizes": None if sizes is None else {"tumour": sizes.tumour, "whole": sizes.whole},
        "schedule": None if made is None else made.as_dict(),
    }
    write_bytes_atomic(path, json.dumps(frozen, indent=1).encode())
    stage.report(Log(text=told(config, made, len(cases))))
    # As it will be read again, so that a resumed round has the same numbers to the bit.
    return _frozen(json.loads(path.read_text(encoding="utf-8")), names)


def told(config: CurriculumConfig, schedule: Schedule | None, cases: int) -> str:
    """One sentence for the log: what the round follows."""
    if schedule is None:
        return "This round follows no curriculum: every case is there from the beginning, at the patch of the plan."
    parts = []
    if schedule.pacing.name != "all":
        by = "" if config.order == "random" else f" by {SCORERS[config.scorer].title.lower()}"
        parts.append(f"{_ORDERS[config.order]}{by} (pacing {schedule.pacing.name})")
        if schedule.pacing.name in ("quantile-groups", "equal-steps") and cases < schedule.pacing.groups:
            parts.append(f"{cases} cases for {schedule.pacing.groups} groups, so that some groups add none")
    if config.stages != "constant":
        number = len(schedule.stages)
        shapes = [_shape(stage.patch) for stage in schedule.stages]
        way = ", ".join(shapes) if number <= _FEW else f"from {shapes[0]} to {shapes[-1]}"
        parts.append(f"{number} stage{'s' * (number != 1)} ({config.stages}), patches {way}")
    return f"This round follows a curriculum: {'; '.join(parts)}."


def _refuse_unscored(config: CurriculumConfig) -> None:
    others = ", ".join(SCORERS)
    if config.order == "random":
        raise InputError(
            f"The groups of the pacing {config.pacing} are equal steps of difficulty, in random order, too, and no "
            "scorer measures it.",
            f"Choose a scorer ({others}), or another pacing.",
        )
    raise InputError(
        f"The pacing {config.pacing} takes {config.order} cases first, and no scorer says which are.",
        f"Choose a scorer ({others}), or the order random.",
    )


def _by_instance(plan: TrainingPlan) -> bool:
    """Whether the network normalises each feature of each patch by itself."""
    return plan.network in ("unetr", "swin-unetr") or plan.network_options.get("norm") == "se"


def _frozen(values: dict[str, Any], names: list[str]) -> Schedule | None:
    if values["cases"] != names:
        raise ProjectError(
            "The curriculum of this round was made for other cases than it is to learn from now.",
            "Start a new round instead of resuming it.",
        )
    return None if values["schedule"] is None else Schedule.from_dict(values["schedule"])


def _lesion(case: Prepared, plan: TrainingPlan) -> Triple | None:
    """The box that holds every lesion of *case*; a detector's cases number them, and need no search."""
    if case.label is None:
        return None
    if plan.detector and case.lesions is not None:
        sides = case.lesions[:, 6:9] - case.lesions[:, 3:6]
        return _largest([tuple(int(n) for n in row) for row in sides], flat=False) if len(sides) else None
    return largest_lesion(case.label, plan.lesion_values)


def _largest(sides: Sequence[Sequence[int]], *, flat: bool) -> Triple:
    z, y, x = np.max(np.asarray(sides), axis=0).tolist()
    return (1 if flat else int(z), int(y), int(x))


def _shape(patch: Sequence[int]) -> str:
    return "×".join(str(side) for side in patch)
