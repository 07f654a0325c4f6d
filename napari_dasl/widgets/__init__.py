"""The window: napari docks that show the worklist, the open case and the learning.

Nothing here imports torch: training and prediction live in the engine, a child process. The names are looked up on
first use, so that opening napari with the plugin installed costs nothing until a dock is shown.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_dasl.widgets.case_panel import CaseWidget
    from napari_dasl.widgets.dock import DaslDock
    from napari_dasl.widgets.findings_panel import FindingsWidget
    from napari_dasl.widgets.learning import LearningWidget
    from napari_dasl.widgets.pseudo_review import PseudoReviewWidget
    from napari_dasl.widgets.worklist import WorklistWidget

__all__ = ["CaseWidget", "DaslDock", "FindingsWidget", "LearningWidget", "PseudoReviewWidget", "WorklistWidget"]

_HOMES = {
    "CaseWidget": "case_panel",
    "DaslDock": "dock",
    "FindingsWidget": "findings_panel",
    "LearningWidget": "learning",
    "PseudoReviewWidget": "pseudo_review",
    "WorklistWidget": "worklist",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
