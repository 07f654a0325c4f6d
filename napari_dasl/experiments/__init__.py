"""The comparisons of the papers, to be made again on one's own scans: ``napari-dasl experiment NAME``.

Each experiment is a module with one :class:`~napari_dasl.experiments.experiment.Experiment`; what it needs of torch or
matplotlib is imported when it runs.
"""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import TYPE_CHECKING

from napari_dasl.errors import InputError

if TYPE_CHECKING:
    from napari_dasl.experiments.experiment import Experiment

__all__ = ["NAMES", "find"]

_MODULES = {
    "patch-growth": "patch_growth",
    "liver-stages": "liver_stages",
    "pet-orderings": "pet_orderings",
    "stroke-difficulty": "stroke_difficulty",
    "dasl": "dasl",
}

NAMES: tuple[str, ...] = tuple(_MODULES)
"""The experiments that there are."""


def find(name: str) -> Experiment:
    """The experiment of that name.

    Raises
    ------
    InputError
        There is none; the hint names the nearest, or all.
    """
    if name not in _MODULES:
        near = difflib.get_close_matches(str(name), NAMES, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Choose one of {', '.join(NAMES)}."
        raise InputError(f"There is no experiment named {name!r}.", hint)
    found: Experiment = import_module(f"napari_dasl.experiments.{_MODULES[name]}").EXPERIMENT
    return found
