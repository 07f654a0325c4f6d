"""Label CT, PET and MRI scans in napari while a network learns beside you.

The Python interface has the nouns of the command line::

    import napari_dasl as nd

    with nd.Project.open("my-study") as project:
        result = nd.rounds.run(project, nd.RoundPlan(minutes=5))
        first = nd.rounds.rank(project).scores[0]
        nd.rounds.run(project, nd.RoundPlan(preset="patch-growth-resource"))
        nd.rounds.run(project, nd.RoundPlan(curriculum=nd.CurriculumConfig(scorer="size", pacing="quantile-groups")))

Names are loaded when they are first used, so that ``import napari_dasl`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_dasl import active, metrics, networks, rounds, volumes
    from napari_dasl.errors import Cancelled, DaslError, InputError, WorkError
    from napari_dasl.project import CurriculumConfig, Project, ProjectConfig, Recipe
    from napari_dasl.rounds.plan import RoundPlan, RoundResult
    from napari_dasl.volumes import Geometry, Volume
    from napari_dasl.volumes import read as read_volume

__version__ = "0.1.0"

_MODULES = ("active", "metrics", "networks", "rounds", "volumes")
_HOME = {
    "Cancelled": "errors",
    "CurriculumConfig": "project",
    "DaslError": "errors",
    "Geometry": "volumes",
    "InputError": "errors",
    "Project": "project",
    "ProjectConfig": "project",
    "Recipe": "project",
    "RoundPlan": "rounds.plan",
    "RoundResult": "rounds.plan",
    "Volume": "volumes",
    "WorkError": "errors",
    "read_volume": "volumes",
}

__all__ = [
    "Cancelled",
    "CurriculumConfig",
    "DaslError",
    "Geometry",
    "InputError",
    "Project",
    "ProjectConfig",
    "Recipe",
    "RoundPlan",
    "RoundResult",
    "Volume",
    "WorkError",
    "active",
    "metrics",
    "networks",
    "read_volume",
    "rounds",
    "volumes",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), "read" if name == "read_volume" else name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
