"""Difficulties for which networks are trained, over the labelled cases of a project, when somebody asks for them."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from napari_dasl.errors import ProjectError
from napari_dasl.events import Log
from napari_dasl.project import Difficulty
from napari_dasl.rounds.gather import current_revisions, labelled_data
from napari_dasl.rounds.models import PLAN, WEIGHTS
from napari_dasl.rounds.planning import training_plan
from napari_dasl.scoring import bootstrapping, gradient
from napari_dasl.training import Budget, Cache
from napari_dasl.training.plan import TrainingPlan

if TYPE_CHECKING:
    from napari_dasl.events import CancelCheck, Report
    from napari_dasl.project import Project

FOLDER = "difficulty"


def measure_trained(project: Project, scorer: str, device: str, report: Report, cancelled: CancelCheck) -> None:
    """Measure and store, unless the project holds a number for the newest label of every case.

    Every training is as long as the project's curriculum says (``effort``, a share of a round). The guard set is left
    out, because no network learns from it.

    Parameters
    ----------
    project : Project
    scorer : {"bootstrapping", "gradient"}
    device : str
    report, cancelled
        Told and asked at every step.

    Raises
    ------
    ProjectError
        There are too few labels, or, for the gradient, no model to go on from.
    Cancelled
        What was trained is kept in ``cache/difficulty``, and a later call goes on from there.
    """
    revisions = current_revisions(project, project.training_cases())
    held = {row.case: row.revision for row in project.difficulties(scorer)}
    if revisions and all(held.get(case) == number for case, number in revisions.items()):
        report(Log(text=f"{scorer} is known for the newest label of every case."))
        return
    if len(revisions) < 2:
        raise ProjectError(
            f"{project.config.name} has {len(revisions)} labelled scans besides the guard set; {scorer} needs two.",
            "Label a few more scans.",
        )
    active = project.active_model()
    if active is None and scorer == "gradient":
        raise ProjectError(
            f"{project.config.name} has no model yet that could be trained further.", "Train one with a round first."
        )
    plan = training_plan(project) if active is None else TrainingPlan.from_file(active.folder / PLAN)
    cases = labelled_data(project, revisions)
    home = project.folder / "cache"
    folder = home / FOLDER / scorer
    if active is not None and scorer == "gradient":
        values = gradient(
            plan,
            cases,
            folder,
            cache=Cache(home, plan),
            weights=active.folder / WEIGHTS,
            budget=_budget(project, plan, len(cases)),
            device=device,
            report=report,
            cancelled=cancelled,
        )
    else:
        values = bootstrapping(
            plan,
            cases,
            folder,
            cache=Cache(home, plan),
            budget=_budget(project, plan, len(cases)),
            device=device,
            report=report,
            cancelled=cancelled,
        )
    model = active.id if active is not None and scorer == "gradient" else None
    project.set_difficulties(
        [
            Difficulty(case.id, scorer, float(value), "model", model, revisions[case.id])
            for case, value in zip(cases, values, strict=True)
        ]
    )
    shutil.rmtree(folder, ignore_errors=True)


def _budget(project: Project, plan: TrainingPlan, cases: int) -> Budget:
    """A share of what a round of the project takes."""
    config, share = project.config.training, project.config.curriculum.effort
    steps = config.steps
    if steps is None and config.minutes is None:
        steps = plan.steps_for(cases)
    return Budget(
        steps=None if steps is None else max(1, round(share * steps)),
        minutes=None if config.minutes is None else share * config.minutes,
    )
