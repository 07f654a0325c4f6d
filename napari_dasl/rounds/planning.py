"""What a round settles before it starts: the guard set, and the training plan with the request's own sizes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from napari_dasl.errors import ProjectError
from napari_dasl.events import Log, silent
from napari_dasl.networks.families import family
from napari_dasl.rounds.gather import current_revisions, labelled_data
from napari_dasl.rounds.phases import FEWEST_FOR_GUARD
from napari_dasl.training import device as devices
from napari_dasl.training.fingerprint import measure
from napari_dasl.training.plan import TrainingPlan, derive

if TYPE_CHECKING:
    from pathlib import Path

    from napari_dasl.events import Report
    from napari_dasl.project import Project
    from napari_dasl.rounds.plan import RoundPlan

PLAN_FILE = "plan.toml"


def choose_guard_if_missing(project: Project, report: Report = silent) -> None:
    """Hold scans back as the guard set, once, when enough are labelled and none are held back yet."""
    if project.config.guard == 0 or project.guard_cases():
        return
    if len(project.training_cases()) < FEWEST_FOR_GUARD:
        return
    chosen = project.choose_guard(project.config.guard, project.config.seed)
    report(Log(text=f"{len(chosen)} labelled scans are the guard set from now on; no model trains on them."))


def training_plan(project: Project, request: RoundPlan | None = None, *, report: Report = silent) -> TrainingPlan:
    """Return the project's training plan, derived and written to ``plan.toml`` where that file is missing.

    Parameters
    ----------
    project : Project
    request : RoundPlan, optional
        Its batch and patch replace those of the plan for this round.

    Raises
    ------
    ProjectError
        ``project.toml`` names no network there is, the file is wrong or was made for other classes or channels, or no
        scan is labelled.
    """
    family(project.config.network)
    path = project.folder / PLAN_FILE
    if path.exists():
        plan = TrainingPlan.from_file(path)
    else:
        plan = _derived(project, report)
        plan.to_file(path)
        report(Log(text=f"Wrote the training plan to {path}; every value in it may be edited."))
    config = project.config
    if plan.classes != config.classes or plan.channels != config.channels or plan.network != config.network:
        raise ProjectError(
            f"{path} was made for {plan.network} with the classes {', '.join(plan.classes)} and the channels "
            f"{', '.join(plan.channels)}, which is not what project.toml says.",
            "Delete it to have it derived anew.",
        )
    if request is None:
        return plan
    changed = {name: value for name, value in (("batch", request.batch), ("patch", request.patch)) if value is not None}
    return plan.changed(changed)


def same_network(plan: TrainingPlan, model_folder: Path) -> bool:
    """Whether *model_folder* holds weights that fit the network of *plan*.

    Dropout has no weights. The anchors of a detector count: their sizes are what its weights answer about.
    """
    if not (model_folder / PLAN_FILE).exists():
        return False
    other = TrainingPlan.from_file(model_folder / PLAN_FILE)
    return _architecture(plan) == _architecture(other)


def same_scans(plan: TrainingPlan, model_folder: Path) -> bool:
    """Whether scans are prepared for *plan* as they were for the model in *model_folder*, if that is known."""
    path = model_folder / PLAN_FILE
    return not path.exists() or TrainingPlan.from_file(path).prepared_hash == plan.prepared_hash


def _architecture(plan: TrainingPlan) -> str:
    told = {
        **plan.network_options,
        "spatial_dims": plan.spatial_dims,
        "network": plan.network,
        "in": plan.in_channels,
        "out": plan.out_channels,
        "dropout": 0,
    }
    # As text, because a plan from a file has lists where a derived one may have tuples.
    return json.dumps(told, sort_keys=True)


def _derived(project: Project, report: Report) -> TrainingPlan:
    learn = current_revisions(project, project.training_cases())
    if not learn:
        raise ProjectError(
            f"{project.config.name} has no labelled scan to train on.", "Label a few scans, or import labels with init."
        )
    config = project.config
    place = devices.choose(config.training.device)
    fingerprint = measure(
        labelled_data(project, learn), channels=config.channels, classes=config.classes, report=report
    )
    return derive(
        fingerprint,
        modality=config.modality,
        network=config.network,
        memory_mb=devices.available_memory_mb(place),
        compute="cuda" if place.type == "cuda" else "cpu",
        seed=config.seed,
    )
