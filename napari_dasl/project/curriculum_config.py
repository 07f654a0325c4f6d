"""The part of ``project.toml`` that says in what order, at what pace and at what patch size a round learns.

The words are those of :mod:`napari_dasl.curriculum`, which stands above the project and makes schedules of them. A
number that is left out is the usual one of the pacing or the stages that were chosen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

if TYPE_CHECKING:
    from collections.abc import Sequence

ScorerName = Literal[
    "none",
    "size",
    "contrast",
    "gradient",
    "bootstrapping",
    "self-paced",
    "intensity",
    "agreement",
    "uncertainty",
]
PacingName = Literal[
    "all",
    "quantile-groups",
    "equal-steps",
    "fixed-exponential",
    "varied-exponential",
    "single-step",
    "linear",
    "root",
]
StagesName = Literal["constant", "three-stage", "whole-patch", "patch-whole", "whole", "growth", "random-patch"]

TRAINED: frozenset[str] = frozenset({"bootstrapping", "gradient"})
"""Scorers for which a round trains more than its own network."""

PACING_KEYS = ("groups", "lengths", "passes", "start", "increase", "step", "thresholds", "full")
STAGES_KEYS = ("mode", "growth", "bottleneck", "decay", "shares", "whole_batch", "tumour_batch")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class CurriculumConfig(_Part):
    """In what order, at what pace and at what patch size a round learns; as it stands: everything at once."""

    scorer: ScorerName = Field(
        default="none", description="What makes a case hard, such as size or contrast; none: cases are not compared."
    )
    order: Literal["easy", "hard", "random"] = Field(
        default="easy", description="Which cases come first: easy, hard, or random, the control."
    )
    pacing: PacingName = Field(default="all", description="How the share of the cases that is drawn from grows.")
    groups: int | None = Field(default=None, ge=1, description="Groups of quantile-groups and equal-steps (6).")
    lengths: tuple[float, ...] | None = Field(
        default=None, description="How long training stays at each number of groups, in any unit."
    )
    passes: bool | None = Field(
        default=None, description="Lengths are passes over the cases, as in the paper; false: parts of the round."
    )
    start: float | None = Field(default=None, gt=0, le=1, description="Share of the cases at the beginning.")
    increase: float | None = Field(default=None, gt=1, description="Factor of the exponential pacings (1.9).")
    step: float | None = Field(
        default=None, gt=0, le=1, description="Part of the round between two increases, or before the single step."
    )
    thresholds: tuple[float, ...] | None = Field(
        default=None, description="Parts of the round at which varied-exponential increases."
    )
    full: float | None = Field(
        default=None, gt=0, le=1, description="Part of the round after which linear and root have every case (0.8)."
    )
    lesions: tuple[str, ...] = Field(
        default=(),
        description="Classes that are lesions, where others are organs; for the stages that look at lesions and for "
        "size, contrast, intensity and agreement. Empty: every class.",
        json_schema_extra={"names": True},
    )
    effort: float = Field(
        default=0.3,
        gt=0,
        le=1,
        description="Length of each training that bootstrapping or gradient needs, as a share of the round's.",
    )
    stages: StagesName = Field(
        default="constant",
        description="Patches and their sampling: constant, of the liver paper, growth, or random-patch, its control.",
    )
    mode: Literal["resource", "performance"] = Field(
        default="resource", description="Patch growth: less time, or batches as large as memory allows."
    )
    growth: Literal["2024", "2025"] = Field(default="2025", description="Patch growth as in the paper of that year.")
    bottleneck: int = Field(default=1, ge=1, description="Patch growth: fewest voxels at the network's coarsest level.")
    decay: float = Field(
        default=0.1, gt=0, le=1, description="Factor of the learning rate at each later stage of the liver paper."
    )
    shares: tuple[float, ...] | None = Field(
        default=None, description="How long the stages of the liver paper last, in any unit; equally long when empty."
    )
    whole_batch: int = Field(default=0, ge=0, description="Whole scans per step; 0: as many as the plan's batch holds.")
    tumour_batch: int = Field(
        default=0, ge=0, description="Tumour patches per step; 0: as many as the plan's batch holds, at least 2."
    )

    def check_lesions(self, classes: Sequence[str]) -> None:
        """ValueError where the lesions are not all among the *classes* of a project, or one is named twice."""
        strange = [name for name in self.lesions if name not in classes]
        if strange or len(set(self.lesions)) != len(self.lesions):
            named = f"no class {strange[0]!r}" if strange else "a class only once"
            raise ValueError(f"lesions may hold {named}: the classes are {', '.join(classes)}")

    def lesion_values(self, classes: Sequence[str]) -> tuple[int, ...]:
        """Values of the labels that are lesions; empty where all of the *classes* are."""
        values = tuple(number for number, name in enumerate(classes, 1) if name in self.lesions)
        return () if len(values) == len(classes) else values

    @field_validator("lengths", "thresholds", "shares")
    @classmethod
    def _positive(cls, values: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if values is not None and (not values or min(values) <= 0):
            raise ValueError("a list of numbers above 0, or left out")
        return values

    @model_validator(mode="before")
    @classmethod
    def _lists_as_given(cls, values: Any) -> Any:
        """An empty list means "not given": forms have no other way to say it."""
        if not isinstance(values, dict):
            return values
        lists = ("lengths", "thresholds", "shares")
        return {key: value for key, value in values.items() if key not in lists or (value != [] and value != ())}

    @property
    def ordered(self) -> bool:
        """Whether some cases come before others."""
        return self.pacing != "all"

    @property
    def compares(self) -> bool:
        """Whether it must be known how hard each case is.

        In random order, too, where groups cover equal steps of difficulty: their sizes come from nothing else, and a
        control must have those of what it controls.
        """
        return self.ordered and (self.order != "random" or self.pacing == "equal-steps")

    @property
    def plain(self) -> bool:
        """Whether everything is learnt from at once, at the patch of the plan."""
        return not self.ordered and self.stages == "constant"


class Recipe(_Part):
    """What a round changes of the training plan; every key that is left out is the plan's."""

    loss: Literal["dice-ce", "focal-dice-ms", "weighted-dice"] | None = Field(
        default=None, description="Loss of a network that draws classes; a detector keeps its own."
    )
    loss_weights: tuple[float, float, float] | None = Field(
        default=None, description="focal-dice-ms: how much Focal, Dice and Mumford–Shah count."
    )
    focal_gamma: float | None = Field(
        default=None, ge=0, description="focal-dice-ms: how little sure voxels count; 0: alike."
    )
    boundary: float | None = Field(
        default=None, ge=0, description="focal-dice-ms: what boundaries cost in Mumford–Shah, λ in mm."
    )
    optimiser: Literal["adamw", "adam", "rmsprop", "sgd"] | None = Field(default=None, description="Optimiser.")
    schedule: Literal["cosine", "poly", "warm-restarts", "steps", "constant"] | None = Field(
        default=None, description="How the learning rate falls."
    )
    learning_rate: float | None = Field(default=None, gt=0, description="The highest learning rate.")
    restarts: int | None = Field(
        default=None, ge=1, description="Equal parts of a round, each with a schedule of its own."
    )
    warmup: float | None = Field(
        default=None, ge=0, lt=1, description="Part of the round over which the learning rate rises."
    )
    weight_decay: float | None = Field(default=None, ge=0, description="Of adamw alone.")
    foreground: float | None = Field(
        default=None, ge=0, le=1, description="Share of the patches that are centred on a label."
    )
    batch: int | None = Field(default=None, ge=1, description="Patches per step.")
    degrees: float | None = Field(default=None, ge=0, le=180, description="Rotation, at most this much about an axis.")
    rotation: Literal["three-axes", "one-axis"] | None = Field(
        default=None, description="One angle about every axis, which add up; or one about an axis drawn at random."
    )
    zoom: float | None = Field(default=None, ge=0, lt=1, description="Patches are scaled by at most this fraction.")
    elastic: float | None = Field(default=None, ge=0, le=1, description="How often a patch is deformed elastically.")
    gamma: tuple[float, float] | None = Field(default=None, description="Lowest and highest gamma of a patch.")
    mixup: float | None = Field(
        default=None, ge=0, le=1, description="How often a patch is mixed with one of another scan, registered to it."
    )

    window: tuple[float, float] | None = Field(default=None, description="Lowest and highest HU that CT is clipped to.")
    effective_range: Literal["whole", "body"] | None = Field(
        default=None, description="What is learnt from and predicted: the whole scan, or the body without the air."
    )

    @field_validator("loss_weights")
    @classmethod
    def _some_weight(cls, values: tuple[float, float, float] | None) -> tuple[float, float, float] | None:
        if values is not None and (min(values) < 0 or not any(values)):
            raise ValueError("three numbers of at least 0, not all of them 0")
        return values

    @field_validator("gamma", "window")
    @classmethod
    def _rising(cls, values: tuple[float, float] | None) -> tuple[float, float] | None:
        if values is not None and not values[0] < values[1]:
            raise ValueError("two numbers, the lower one first")
        return values

    @property
    def given(self) -> dict[str, Any]:
        """The keys that are not left out."""
        return {name: value for name in Recipe.model_fields if (value := getattr(self, name)) is not None}
