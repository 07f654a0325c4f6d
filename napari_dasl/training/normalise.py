"""Intensities into numbers a network can learn from: one rule for CT, one for MR, one for PET, and a window.

``ct``
    Hounsfield units mean the same in every scan, so the rule is fixed for the whole data set: clip to the 0.5 and 99.5
    percentiles of the labelled voxels, subtract their mean, divide by their standard deviation (nnU-Net's rule).
``mr``
    MR values mean nothing between scanners, so every scan is scaled by itself: clip to two percentiles of its body
    voxels, subtract their median, divide by their interquartile range over 1.349 (which is the standard deviation of a
    normal distribution, but does not follow a bright lesion or a bright vessel).
``pet``
    A standardised uptake value has a fixed meaning, and a long tail (bladder, brain). The rule is fixed and needs no
    data: ``(log(1 + clip(SUV, 0, upper)) - log(1 + 2.5)) / 0.6``. SUV 2.5, the classical threshold of suspicion, is
    0; SUV 0 is -2.1; SUV 10 is 1.9.
``window``
    What a radiologist looks through: the two ends, in HU or whatever unit the series has, are given and not measured,
    and become -1 and 1. Nothing chooses it by itself; the liver curriculum paper windows its CT so.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_dasl.training.fingerprint import Intensity

Rule = Literal["ct", "mr", "pet", "window"]

SUV_UPPER = 30.0
SUV_CENTRE = math.log1p(2.5)
SUV_SCALE = 0.6
NOT_SUV = 200.0
"""A PET channel whose labelled voxels exceed this at the 99.5th percentile is in Bq/ml or counts, not in SUV."""

_NAMES: dict[Rule, re.Pattern[str]] = {
    "ct": re.compile(r"(^|[^a-z])(ct|cect|ncct|hu)([^a-z]|$)"),
    "pet": re.compile(r"(^|[^a-z])(pet|pt|suv|fdg)([^a-z]|$)"),
    "mr": re.compile(r"(^|[^a-z])(mr|mri|t1c?e?|t2w?|t1w?|flair|adc|dwi|swi|pd)([^a-z]|$)"),
}


class Normalisation(BaseModel):
    """How one channel is scaled. Which fields count depends on *rule*; see the module."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    channel: str = Field(description="The series.")
    rule: Rule = Field(description="ct, pet and window: the same numbers for every scan; mr: every scan by itself.")
    lower: float = Field(description="Clip below this: HU for ct, SUV for pet, a percentile of the body voxels for mr.")
    upper: float = Field(description="Clip above this, in the same unit.")
    centre: float = Field(default=0.0, description="Subtracted after clipping (ct, pet); mr takes each scan's median.")
    scale: float = Field(default=1.0, gt=0, description="Divided by (ct, pet); mr takes each scan's own spread.")

    @model_validator(mode="after")
    def _ordered(self) -> Normalisation:
        if not self.lower < self.upper:
            raise ValueError(f"lower ({self.lower}) must be below upper ({self.upper})")
        if self.rule == "mr" and not 0 <= self.lower < self.upper <= 100:
            raise ValueError("lower and upper are percentiles between 0 and 100 for the rule mr")
        return self


def rule_for(channel: str, modality: str) -> Rule:
    """The rule of a channel: what its name says (``ct``, ``T1``, ``flair``, ``suv`` …), else the project's modality."""
    for rule, pattern in _NAMES.items():
        if pattern.search(channel.lower()):
            return rule
    by_modality: dict[str, Rule] = {"CT": "ct", "PET": "pet", "PT": "pet", "MR": "mr"}
    return by_modality.get(modality.upper(), "mr")


def derive_normalisation(intensity: Intensity, modality: str) -> Normalisation:
    """The normalisation of one channel from its measured intensities."""
    rule = rule_for(intensity.channel, modality)
    if rule == "ct":
        lower, upper = intensity.percentile_00_5, intensity.percentile_99_5
        if not upper > lower:
            lower, upper = intensity.scan_minimum, max(intensity.scan_maximum, intensity.scan_minimum + 1.0)
        return Normalisation(
            channel=intensity.channel,
            rule="ct",
            lower=round(lower, 3),
            upper=round(upper, 3),
            centre=round(intensity.mean, 3),
            scale=round(max(intensity.std, 1.0), 3),
        )
    if rule == "pet" and intensity.percentile_99_5 <= NOT_SUV:
        return Normalisation(
            channel=intensity.channel,
            rule="pet",
            lower=0.0,
            upper=SUV_UPPER,
            centre=round(SUV_CENTRE, 4),
            scale=SUV_SCALE,
        )
    return Normalisation(channel=intensity.channel, rule="mr", lower=0.5, upper=99.5)


def windowed(rules: Sequence[Normalisation], low: float, high: float) -> tuple[Normalisation, ...]:
    """The *rules*, those of CT with a window from *low* to *high* HU instead."""
    return tuple(
        Normalisation(channel=each.channel, rule="window", lower=low, upper=high)
        if each.rule in ("ct", "window")
        else each
        for each in rules
    )


def outside(rule: Normalisation) -> float:
    """The normalised value that stands for what lies outside a scan: air, as dark as the rule lets a voxel be."""
    if rule.rule == "mr":
        return MR_DARK
    if rule.rule == "window":
        return -1.0
    lowest = math.log1p(max(0.0, rule.lower)) if rule.rule == "pet" else rule.lower
    return (lowest - rule.centre) / rule.scale


MR_DARK = -2.0
"""Of an MR scan scaled by its own median and spread, dark tissue is about this; each scan's own air is elsewhere."""


def _body(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The voxels of *values* that belong to the body: all but an exact-zero background, where there is one."""
    nonzero = values[values != 0]
    # A skull-stripped or masked scan has a background of exact zeros; a few chance zeros are none.
    return nonzero if 0 < nonzero.size < 0.95 * values.size else values.ravel()


def normalise_channel(values: NDArray[np.float32], rule: Normalisation) -> NDArray[np.float32]:
    """Scale one channel, (z, y, x) in stored units, to (z, y, x) float32 around 0 with a spread near 1."""
    values = np.asarray(values, np.float32)
    if not np.isfinite(values).all():
        values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    if rule.rule == "mr":
        body = _body(values)
        lower, q1, centre, q3, upper = (float(v) for v in np.percentile(body, (rule.lower, 25, 50, 75, rule.upper)))
        scale = (q3 - q1) / 1.349
        if scale <= 0:
            scale = float(body.std()) or 1.0
        return (np.clip(values, lower, upper) - np.float32(centre)) / np.float32(scale)
    clipped = np.clip(values, rule.lower, rule.upper)
    if rule.rule == "window":
        middle, half = (rule.upper + rule.lower) / 2, (rule.upper - rule.lower) / 2
        return (clipped - np.float32(middle)) / np.float32(half)
    if rule.rule == "pet":
        clipped = np.log1p(clipped)
    return (clipped - np.float32(rule.centre)) / np.float32(rule.scale)
