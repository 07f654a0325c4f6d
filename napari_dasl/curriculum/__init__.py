"""In what order, at what pace and at what patch size a network learns. Pure functions of numbers; no torch.

A curriculum is four choices: a scorer (what makes a sample hard), an order, a pacing, and stages. The function
``difficulty`` is imported from the module of the same name.
"""

from __future__ import annotations

from napari_dasl.curriculum.difficulty import (
    SCORERS,
    Scorer,
    find_scorer,
    fisher_contrast,
    gradient_difficulty,
    lesion_size,
    reader_agreement,
    signal_intensity,
    slice_sizes,
)
from napari_dasl.curriculum.growth import mean_voxels, patch_growth, random_patch, stage_steps
from napari_dasl.curriculum.orders import arrange
from napari_dasl.curriculum.pacing import (
    PACINGS,
    Pacing,
    available,
    equal_step_groups,
    find_pacing,
    quantile_groups,
)
from napari_dasl.curriculum.schedule import Schedule, Setting, make_schedule
from napari_dasl.curriculum.stages import Stage, StageChoice, largest_lesion, lesion_mask, plan_stages

__all__ = [
    "PACINGS",
    "SCORERS",
    "Pacing",
    "Schedule",
    "Scorer",
    "Setting",
    "Stage",
    "StageChoice",
    "arrange",
    "available",
    "equal_step_groups",
    "find_pacing",
    "find_scorer",
    "fisher_contrast",
    "gradient_difficulty",
    "largest_lesion",
    "lesion_mask",
    "lesion_size",
    "make_schedule",
    "mean_voxels",
    "patch_growth",
    "plan_stages",
    "quantile_groups",
    "random_patch",
    "reader_agreement",
    "signal_intensity",
    "slice_sizes",
    "stage_steps",
]
