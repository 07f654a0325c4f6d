"""The learning curve of one run, as it grows on disk point by point."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from napari_dasl.errors import ProjectError
from napari_dasl.volumes.atomic import write_bytes_atomic

if TYPE_CHECKING:
    from pathlib import Path

FILE = "curve.json"


class Point(BaseModel):
    """The active model of a run after one pass of the cycle, on the test cases.

    Attributes
    ----------
    round : int
        How often the annotator was asked.
    annotated : int
        Human labels by then, those of the guard set included.
    dice : float or None
        Mean over the test cases of the mean over the classes that count.
    per_class, cases : dict
        The same by class, and by test case.
    foreground_voxels : int
        Labelled by then, another measure of the annotator's work.
    seconds : float
        The trainings, comparisons and predictions of this pass.
    steps : int
        Optimiser steps of this pass.
    promoted : bool
        Whether the last model of the pass was made active.
    model : str
        The active one, which was tested.
    picked, mistakes : tuple of str
        The cases the annotator was asked for, and those of all labels that a careless one spoilt.
    rounds : tuple of dict
        What each training of the pass said of itself: phase, trained_on, guard, lambda, pseudo, and why it was not
        promoted.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    round: int
    annotated: int
    dice: float | None
    per_class: dict[str, float | None] = {}
    cases: dict[str, float | None] = {}
    foreground_voxels: int = 0
    seconds: float = 0.0
    steps: int = 0
    promoted: bool = True
    model: str = ""
    picked: tuple[str, ...] = ()
    mistakes: tuple[str, ...] = ()
    rounds: tuple[dict[str, Any], ...] = ()


class Curve(BaseModel):
    """A strategy from one draw of initial labels; *guard* is the part of *initial* that judges models."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    strategy: str
    seed: int
    initial: tuple[str, ...] = ()
    guard: tuple[str, ...] = ()
    points: tuple[Point, ...] = ()

    def cut(self, points: int) -> Curve:
        """Return the first *points* of it: a simulation of fewer rounds than were run before."""
        return self.model_copy(update={"points": self.points[:points]})


def read(folder: Path) -> Curve | None:
    """Read the curve in the folder of a run; None before its first point.

    Raises
    ------
    ProjectError
        The file is damaged.
    """
    path = folder / FILE
    try:
        return Curve.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, ValidationError) as error:
        raise ProjectError(
            f"The curve {path} cannot be read.", "Delete that file to have its points measured anew."
        ) from error


def write(folder: Path, curve: Curve) -> None:
    """Write the curve in one step; StorageError where that fails, and the older one stays."""
    write_bytes_atomic(folder / FILE, curve.model_dump_json(indent=1).encode())
