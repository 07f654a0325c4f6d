"""What a round is asked to do, and what it answers: frozen values that window, command line and engine share."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class RoundPlan(BaseModel):
    """One fine-tuning round, as the annotator or engineer asks for it.

    At most one of *steps*, *epochs* and *minutes* is given; with none of them the training plan of the project decides.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    phase: Literal["auto", "al"] = "auto"
    steps: int | None = Field(default=None, ge=1, description="Optimiser steps of training.")
    epochs: int | None = Field(default=None, ge=1, description="Passes over the labelled scans.")
    minutes: float | None = Field(default=None, gt=0, description="Minutes of training, by the clock.")
    start: Literal["scratch", "active"] = Field(
        default="scratch", description="Train anew, or go on from the weights of the active model."
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


class GuardResult(BaseModel):
    """The new model and the one before it on the guard set."""

    model_config = ConfigDict(frozen=True)

    dice: float | None
    per_class: dict[str, float | None] = {}
    before: float | None = None
    cases: dict[str, float | None] = {}


class RoundResult(BaseModel):
    """What a finished round did."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    round: int
    phase: str
    state: Literal["done", "cancelled", "failed"]
    promoted: bool
    guard: GuardResult
    trained_on: dict[str, int]
    pace: float | None = Field(default=None, alias="lambda", serialization_alias="lambda")
    seconds: float
    model: str | None
    predicted: int = 0
    to_label: int = 0
    sentence: str = ""


class PredictResult(BaseModel):
    """Which cases were predicted, how long it took, and which failed with what reason."""

    model_config = ConfigDict(frozen=True)

    predicted: list[str]
    seconds: float
    failed: dict[str, str] = {}


JsonDict = dict[str, Any]
