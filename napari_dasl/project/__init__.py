"""The project folder: configuration, cases, label history, drafts, predictions, models, rounds.

``Project`` and ``Difficulty`` come when they are first asked for, because SQLAlchemy takes a moment to
import and the values of :mod:`~napari_dasl.project.records` need nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_dasl.project.config import (
    EngineConfig,
    ProjectConfig,
    RankingConfig,
    SelfpacedConfig,
    TrainingConfig,
)
from napari_dasl.project.curriculum_config import CurriculumConfig, Recipe
from napari_dasl.project.records import (
    AddResult,
    Case,
    CaseState,
    Draft,
    Effort,
    FindingReview,
    ImportResult,
    LoggedEvent,
    Model,
    PseudoLabel,
    PseudoReview,
    Revision,
    Round,
    Score,
    Series,
)

if TYPE_CHECKING:
    from napari_dasl.project.difficulties import Difficulty
    from napari_dasl.project.folder import Project

__all__ = [
    "AddResult",
    "Case",
    "CaseState",
    "CurriculumConfig",
    "Difficulty",
    "Draft",
    "Effort",
    "EngineConfig",
    "FindingReview",
    "ImportResult",
    "LoggedEvent",
    "Model",
    "Project",
    "ProjectConfig",
    "PseudoLabel",
    "PseudoReview",
    "RankingConfig",
    "Recipe",
    "Revision",
    "Round",
    "Score",
    "SelfpacedConfig",
    "Series",
    "TrainingConfig",
]


def __getattr__(name: str) -> Any:
    if name == "Project":
        from napari_dasl.project.folder import Project

        return Project
    if name == "Difficulty":
        from napari_dasl.project.difficulties import Difficulty

        return Difficulty
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
