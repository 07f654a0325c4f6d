"""A stored model as a network that predicts: its weights and the training plan they belong to."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from napari_dasl.errors import ProjectError
from napari_dasl.inference import Predictor
from napari_dasl.inference.region.thresholds import Thresholds
from napari_dasl.training import device as devices
from napari_dasl.training.plan import TrainingPlan
from napari_dasl.training.weights import load_network

if TYPE_CHECKING:
    from pathlib import Path

    from napari_dasl.project import Model, Project

WEIGHTS, PLAN = "weights.safetensors", "plan.toml"
STUDENT = "student.safetensors"
"""The last weights of training, beside their average: another view of the same run, kept where it is used."""


def find_model(project: Project, model: str | None = None) -> Model:
    """Return the model of that id, or the active one.

    Raises
    ------
    ProjectError
        There is no such model, or none is active yet.
    """
    if model is not None:
        return project.model(model)
    active = project.active_model()
    if active is None:
        raise ProjectError(f"{project.config.name} has no model yet.", "Train one with a round first.")
    return active


def keep(folder: Path, weights: Path, plan: TrainingPlan, device: str) -> None:
    """Put *weights* (and the student beside them) and *plan* into the model folder, with the fastest precision here.

    The precision is fixed once, so that a model predicts the same today and after a rollback.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path in (weights, weights.with_name(STUDENT)):
        if path.exists():
            shutil.copyfile(path, folder / (WEIGHTS if path == weights else STUDENT))
    if plan.precision == "auto":
        place = devices.choose(device)
        chosen = devices.choose_precision(plan, load_network(weights, plan, place), place)
        plan = plan.model_copy(update={"precision": chosen})
    plan.to_file(folder / PLAN)


def predictor(folder: Path, device: str = "auto") -> Predictor:
    """Return the network whose weights and plan lie in *folder*, ready to predict on *device*.

    A detector has the thresholds that were chosen for it; before that, those that every detector starts with.
    """
    plan = TrainingPlan.from_file(folder / PLAN)
    place = devices.choose(device)
    network = load_network(folder / WEIGHTS, plan, place)
    thresholds = Thresholds.from_file(folder) if plan.detector else None
    return Predictor(network, plan, place, devices.measure_precision(plan, network, place), thresholds=thresholds)
