"""How hard cases are, measured: on their labels, by a network's loss, or by training networks to find out.

The measures themselves are formulas of :mod:`napari_dasl.curriculum.difficulty`; here they are applied to cases. Every
function returns them in the unit of the scorer, so that :func:`napari_dasl.curriculum.difficulty.difficulty` turns them
into numbers that rise with hardness.

Names are imported when they are first used, so that what is measured on labels needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_dasl.scoring.losses import case_loss, case_losses
    from napari_dasl.scoring.measured import LABEL_SCORERS, label_scores, measure_label
    from napari_dasl.scoring.trained import bootstrapping, gradient

_HOME = {
    "LABEL_SCORERS": "measured",
    "bootstrapping": "trained",
    "case_loss": "losses",
    "case_losses": "losses",
    "gradient": "trained",
    "label_scores": "measured",
    "measure_label": "measured",
}

__all__ = [
    "LABEL_SCORERS",
    "bootstrapping",
    "case_loss",
    "case_losses",
    "gradient",
    "label_scores",
    "measure_label",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
