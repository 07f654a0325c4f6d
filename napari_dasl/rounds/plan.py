"""What a round is asked to do, and what it answers: frozen values that window, command line and engine share."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from napari_dasl.project import presets
from napari_dasl.project.curriculum_config import CurriculumConfig, Recipe

PhaseRequest = Literal["auto", "spl", "al"]
RoundPhase = Literal["spl", "al"]


class RoundPlan(BaseModel):
    """One fine-tuning round, as the annotator or engineer asks for it.

    At most one of *steps*, *epochs* and *minutes* is given; with none of them the training plan of the project decides.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    phase: PhaseRequest = Field(
        default="auto",
        description="auto: the next of the project's phases; al: human labels only; spl: pseudo-labels too.",
    )
    steps: int | None = Field(default=None, ge=1, description="Optimiser steps of training.")
    epochs: int | None = Field(default=None, ge=1, description="Passes over the labelled scans.")
    minutes: float | None = Field(default=None, gt=0, description="Minutes of training, by the clock.")
    start: Literal["project", "scratch", "active"] = Field(
        default="project",
        description="Train anew, or go on from the weights of the active model; project: as project.toml says.",
    )
    device: str = Field(default="auto", description="auto, cpu, cuda or cuda:1.")
    batch: int | None = Field(default=None, ge=1, description="Patches per step; the plan's own when empty.")
    patch: tuple[int, int, int] | None = Field(
        default=None, description="Patch size (z, y, x) in voxels; the plan's own when empty."
    )
    predict: bool = Field(default=True, description="Predict and rank the unlabelled scans afterwards.")
    seed: int | None = Field(
        default=None, description="Seed of this round; the project's seed plus the round number when empty."
    )
    preset: str = Field(
        default="", description="Preset whose curriculum and recipe this round follows; the project's when empty."
    )
    curriculum: CurriculumConfig | None = Field(
        default=None, description="Order, pacing and stages of this round; the preset's or the project's when empty."
    )
    recipe: Recipe | None = Field(
        default=None, description="What this round changes of the plan; the preset's or the project's when empty."
    )

    @field_validator("preset")
    @classmethod
    def _known_preset(cls, name: str) -> str:
        if name and name not in presets.names():
            raise ValueError(f"one of {', '.join(presets.names())}, or empty")
        return name


class CaseLesions(BaseModel):
    """What a model found of the lesions of one guard case, at its own threshold.

    Attributes
    ----------
    found : tuple of bool
        Of every lesion, class by class.
    volumes_ml : tuple of float
        Of every lesion.
    false : int
        Pieces that it drew where no lesion was found.
    """

    model_config = ConfigDict(frozen=True)

    found: tuple[bool, ...]
    volumes_ml: tuple[float, ...]
    false: int


class GuardResult(BaseModel):
    """The new model and the one before it on the guard set, case by case.

    Attributes
    ----------
    dice, before : float or None
        Mean foreground Dice of the new model and of the one that was active; None where there is none.
    per_class : dict
        Mean Dice of the new model per class.
    cases, before_cases : dict
        Dice per case; None where the case holds no structure and none was found.
    interval : (float, float) or None
        Bootstrap interval (95 %) of the mean paired difference, new minus before.
    worst : (str, float) or None
        The case that lost most, and its difference.
    detection : dict or None
        How well a network that detects found the lesions one by one, as
        :meth:`napari_dasl.rounds.detecting.Findings.document` with the corners of the curve, and the ``threshold`` from
        which a finding counts; None of any other network.
    lesions, before_lesions : dict
        Of a network that detects: what both models found of the lesions of each case; {} of any other network.
    """

    model_config = ConfigDict(frozen=True)

    dice: float | None
    per_class: dict[str, float | None] = {}
    before: float | None = None
    cases: dict[str, float | None] = {}
    before_cases: dict[str, float | None] = {}
    interval: tuple[float, float] | None = None
    worst: tuple[str, float] | None = None
    detection: dict[str, Any] | None = None
    lesions: dict[str, CaseLesions] = {}
    before_lesions: dict[str, CaseLesions] = {}


class RoundResult(BaseModel):
    """What a finished round did.

    Attributes
    ----------
    phase : str
        What was done: ``spl`` with pseudo-labels, ``al`` on human labels alone.
    promoted : bool
        Whether the new model took over; where not, *reason* says why.
    pace : float or None
        λ of the self-paced weights, ``lambda`` in JSON; None in an ``al`` round.
    quantile : float or None
        The share of the candidates that λ was set by; None with the paper's pace.
    accuracy : float or None
        η_t of Eq. 9: guard Dice of the model that made the pseudo-labels, or its cross-fitted estimate.
    pseudo : dict
        ``candidates``, ``taken``, ``effective`` (Σv), ``mean_weight``, ``regularizer``, ``view``.
    asked : list of str
        The cases that the annotator is asked for before the next round.
    audits : list of str
        Pseudo-labels of this round that are offered for a blind check.
    selfpaced_off : str
        Why pseudo-labels are switched off from now on; empty where they are not.
    stability : float or None
        Mean Dice of the pool's predictions with those of the model before.
    fallback : str
        Why a phase with pseudo-labels was done without them; empty otherwise.
    advice : str
        Whether stopping seems reasonable; empty where nothing can be said.
    """

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    round: int
    phase: str
    state: Literal["done", "cancelled", "failed"]
    promoted: bool
    guard: GuardResult
    trained_on: dict[str, int]
    pace: float | None = Field(default=None, alias="lambda", serialization_alias="lambda")
    quantile: float | None = None
    accuracy: float | None = None
    pseudo: dict[str, Any] = {}
    seconds: float
    model: str | None
    predicted: int = 0
    to_label: int = 0
    asked: list[str] = []
    audits: list[str] = []
    reason: str = ""
    fallback: str = ""
    selfpaced_off: str = ""
    stability: float | None = None
    advice: str = ""
    sentence: str = ""


class PredictResult(BaseModel):
    """Which cases were predicted, how long it took, and which failed with what reason."""

    model_config = ConfigDict(frozen=True)

    predicted: list[str]
    seconds: float
    failed: dict[str, str] = {}


JsonDict = dict[str, Any]
