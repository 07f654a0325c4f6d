"""The training plan: every number that training uses, derived from the data, kept as a file one can read and edit."""

from __future__ import annotations

import hashlib
import json
import tomllib
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from napari_dasl.errors import InputError, ProjectError
from napari_dasl.networks.families import family, patch_divisor
from napari_dasl.training import detector_plan, semantic_plan
from napari_dasl.training.normalise import Normalisation, derive_normalisation
from napari_dasl.training.plan_text import as_toml
from napari_dasl.volumes.atomic import write_bytes_atomic

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from napari_dasl.training.fingerprint import Fingerprint

Triple = tuple[int, int, int]
Modality = Literal["CT", "PET", "MR"]
Axis = Literal["z", "y", "x"]


class Augmentation(BaseModel):
    """Random changes of every patch, so that the network does not learn the scans by heart."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mirror: tuple[Axis, ...] = Field(
        default=("x",), description="Axes to mirror at random: only where anatomy allows it."
    )
    affine: float = Field(default=0.5, ge=0, le=1, description="How often a patch is rotated and scaled.")
    degrees: float = Field(default=15.0, ge=0, le=180, description="Rotation, at most this much about an axis.")
    rotation: Literal["three-axes", "one-axis"] = Field(
        default="three-axes",
        description="An angle about every axis, which add up; or one about an axis drawn at random.",
    )
    zoom: float = Field(default=0.15, ge=0, lt=1, description="Scaling, at most by this fraction either way.")
    intensity: float = Field(default=0.5, ge=0, le=1, description="How often brightness, contrast and gamma change.")
    noise: float = Field(default=0.15, ge=0, le=1, description="How often noise is added.")
    gamma: tuple[float, ...] = Field(
        default=(), description="Lowest and highest gamma; empty: from 0.67 to 1.49, each way as often."
    )
    elastic: float = Field(default=0.0, ge=0, le=1, description="How often a patch is bent.")
    mixup: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="How often a patch is mixed with one of another scan, registered to it; needs SimpleITK.",
    )

    @model_validator(mode="after")
    def _range(self) -> Augmentation:
        if self.gamma and (len(self.gamma) != 2 or not 0 < self.gamma[0] <= self.gamma[1]):
            raise ValueError(f"gamma {list(self.gamma)} must be two numbers above 0, the lower one first, or empty")
        return self


class TrainingPlan(BaseModel):
    """Everything training and prediction must agree on.

    ``classes`` excludes the background; the network has ``len(classes) + 1`` outputs, the background first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = Field(default=1, description="Of the format of this file.")
    modality: Modality = Field(description="CT, PET or MR: the scan that labels are drawn on.")
    channels: tuple[str, ...] = Field(min_length=1, description="The series of a case, in this order.")
    classes: tuple[str, ...] = Field(min_length=1, description="What is labelled: value 1, 2, … of the label maps.")
    network: str = Field(default="unet", description="As in project.toml; another network needs another plan.")
    network_options: dict[str, Any] = Field(default={}, description="Arguments of the network.")
    spacing: tuple[float, float, float] = Field(description="Voxel size in mm on which the network works.")
    patch: Triple = Field(description="Patch in voxels; each side a multiple of the network's strides.")
    batch: int = Field(ge=1, description="Patches per optimiser step.")
    steps: int = Field(
        default=0,
        ge=0,
        description="Optimiser steps, where the round does not say otherwise; 0: by labelled scans.",
    )
    learning_rate: float = Field(default=4e-3, gt=0, description="The highest learning rate.")
    warmup: float = Field(default=0.05, ge=0, lt=1, description="The fraction of training over which the rate rises.")
    schedule: Literal["cosine", "poly", "warm-restarts", "steps", "constant"] = Field(
        default="cosine", description="How the rate goes on: down to zero; down and up again; down in steps; or not."
    )
    restarts: int = Field(default=4, ge=1, description="Equal parts of training, of warm-restarts and of steps.")
    lowest: float = Field(
        default=1e-3, ge=0, le=1, description="warm-restarts: the rate falls to this fraction in every part."
    )
    factor: float = Field(
        default=0.1, gt=0, le=1, description="steps: the rate of a part is this fraction of that of the part before."
    )
    weight_decay: float = Field(default=1e-2, ge=0, description="Of adamw alone; the other optimisers go without.")
    optimiser: Literal["adamw", "adam", "rmsprop", "sgd"] = Field(
        default="adamw", description="How the weights follow the gradients: adamw, adam, rmsprop or sgd."
    )
    betas: tuple[float, float] = Field(
        default=(0.9, 0.99), description="adamw and adam: the memory of the gradients' mean and of their squares."
    )
    loss: Literal["dice-ce", "focal-dice-ms", "weighted-dice"] = Field(
        default="dice-ce", description="Of a network that draws classes; a detector has its own, and leaves this."
    )
    loss_weights: tuple[float, float, float] = Field(
        default=(1.0, 1.0, 0.1), description="focal-dice-ms: how much Focal, Dice and Mumford–Shah count."
    )
    focal_gamma: float = Field(default=2.0, ge=0, description="focal-dice-ms: how little sure voxels count; 0: alike.")
    boundary: float = Field(
        default=1e-3, ge=0, description="focal-dice-ms: what boundaries cost in Mumford–Shah, λ in mm."
    )
    clip: float = Field(default=12.0, gt=0, description="Gradients are scaled down to this norm.")
    average: float = Field(
        default=0.99, ge=0, lt=1, description="Weights are averaged over steps with this memory; 0 takes the last ones."
    )
    foreground: float = Field(
        default=0.4, ge=0, le=1, description="The fraction of patches centred on a labelled voxel, or showing a lesion."
    )
    augmentation: Augmentation = Augmentation()
    lesions: tuple[str, ...] = Field(
        default=(), description="Classes that are lesions, as the curriculum of a round says; empty: every class."
    )
    effective_range: Literal["whole", "body"] | float = Field(
        default="whole",
        description="The part of a scan that is learnt from and predicted: whole, body (what is no air), or a number: "
        "the box of all that is above it in the first series. The rest is background.",
    )
    normalisation: tuple[Normalisation, ...] = Field(min_length=1, description="One per channel.")
    precision: Literal["auto", "bf16", "fp32"] = Field(
        default="auto", description="auto measures at the start which is faster on this machine."
    )
    seed: int = Field(
        default=0,
        description="Of the first weights and every patch. A round sets it: the project's seed plus its number, or "
        "`napari-dasl round --seed`.",
    )
    memory_estimate_mb: int = Field(default=0, ge=0, description="What training needs, by arithmetic. For information.")

    @model_validator(mode="after")
    def _consistent(self) -> TrainingPlan:
        if len(self.normalisation) != len(self.channels):
            raise ValueError(f"normalisation has {len(self.normalisation)} entries for {len(self.channels)} channels")
        if min(self.spacing) <= 0:
            raise ValueError("spacing must be positive")
        if min(self.loss_weights) < 0 or not 0 < sum(self.loss_weights) < float("inf"):
            raise ValueError(f"loss_weights {list(self.loss_weights)} must be at least 0, and not all of them 0")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas {list(self.betas)} must be from 0 to below 1")
        strange = [name for name in self.lesions if name not in self.classes]
        if strange:
            raise ValueError(f"lesions {strange} are no classes")
        if min(self.patch) < 1:
            raise ValueError("patch must be positive")
        if self.spatial_dims == 2 and self.patch[0] != 1:
            raise ValueError(f"patch {list(self.patch)} must be one slice thick for a network of slices")
        if self.detector:
            if self.lesions:
                raise ValueError(f"lesions must stay empty: {self.network} finds every class as lesions")
            if self.effective_range != "whole":
                raise ValueError(f"effective_range must stay whole: {self.network} leaves out air by itself")
            if self.loss != "dice-ce":
                raise ValueError(f"loss must stay dice-ce: {self.network} has a loss of its own")
            _check_detector(self)
        else:
            multiple = patch_divisor(self.network, self.network_options)
            wrong = [p for p, m in zip(self.patch, multiple, strict=True) if p % m]
            if wrong:
                raise ValueError(
                    f"patch {list(self.patch)} must be a multiple of {list(multiple)}, the network's strides"
                )
        if self.augmentation.mixup and (self.detector or self.spatial_dims == 2):
            raise ValueError(f"augmentation.mixup must be 0: {self.network} does not draw classes in volumes")
        if self.batch < self.least_batch:
            raise ValueError("batch must be at least 2 for batch normalisation; or set norm = 'group'")
        return self

    @property
    def least_batch(self) -> int:
        """The fewest patches of a step that the network can be trained with: two where it normalises over them."""
        normal = self.network_options.get("norm", "batch")
        return 2 if self.network == "residual-se-unet" and normal == "batch" else 1

    def check_batch(self, batch: int, what: str) -> None:
        """Refuse fewer patches a step than the network can be trained with; *what* asks for them, in words.

        Raises
        ------
        InputError
        """
        if batch < self.least_batch:
            raise InputError(
                f"{what} asks for a batch of {batch}, and {self.network} with batch normalisation needs at least "
                f"{self.least_batch}.",
                f'Take a batch of {self.least_batch}, or set norm = "group" under [network_options] in plan.toml.',
            )

    def changed(self, values: Mapping[str, Any], what: str = "This round") -> TrainingPlan:
        """The plan with other *values*, checked as a whole; *what* asks for them, in words.

        Raises
        ------
        InputError
            Where a value is not allowed, or does not go with the others; it names the key.
        """
        if not values:
            return self
        if isinstance(values.get("batch"), int):
            self.check_batch(values["batch"], what)
        try:
            return TrainingPlan.model_validate(self.model_dump() | dict(values))
        except ValidationError as error:
            key, text = _first_problem(error)
            raise InputError(f"{what} asks for a training plan that is wrong at {key}: {text}.", HINT) from error

    @property
    def loss_options(self) -> dict[str, Any]:
        """What the loss of the plan takes besides predictions and labels: arguments of its function."""
        if self.loss != "focal-dice-ms":
            return {}
        return {"parts": self.loss_weights, "gamma": self.focal_gamma, "length": self.boundary}

    @property
    def in_channels(self) -> int:
        """Channels of the network's input."""
        return len(self.channels)

    @property
    def out_channels(self) -> int:
        """Channels of the network's output: the background and the classes."""
        return len(self.classes) + 1

    @property
    def lesion_values(self) -> tuple[int, ...]:
        """Values of the label maps that are lesions, of those who are told from organs; empty where all are."""
        return tuple(number for number, name in enumerate(self.classes, 1) if name in self.lesions)

    @property
    def detector(self) -> bool:
        """Whether the network finds lesions one by one, rather than classes of voxels."""
        return family(self.network).detector

    @property
    def spatial_dims(self) -> int:
        """2 where the network sees single slices, else 3."""
        return int(self.network_options.get("spatial_dims", family(self.network).spatial_dims))

    def steps_for(self, cases: int) -> int:
        """Optimiser steps for as many labelled cases: the plan's own number, or one that grows with them.

        On the 1 mm hippocampus 900 steps are enough for 20 cases, and 136 cases still gain from twice as many.
        """
        return self.steps or min(800 + 8 * cases, 2400)

    @property
    def prepared_hash(self) -> str:
        """A hash of what the prepared scans depend on: the grid, the part and the normalisation, and nothing else."""
        parts = {
            "version": self.version,
            "spacing": self.spacing,
            "rules": [n.model_dump() for n in self.normalisation],
        }
        if self.effective_range != "whole":
            parts["effective_range"] = self.effective_range
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    def to_file(self, path: Path) -> None:
        """Write the plan as commented TOML.

        Raises
        ------
        StorageError
            Where the file cannot be written; an older one stays as it was.
        """
        write_bytes_atomic(path, as_toml(self).encode())

    @classmethod
    def from_file(cls, path: Path) -> TrainingPlan:
        """Read a plan, edited or not.

        Raises
        ------
        ProjectError
            Where the file is missing, is no TOML, or holds a key or value that is not allowed; it names the key.
        """
        hint = "Correct the file, or delete it to have it derived anew."
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ProjectError(f"The training plan {path} cannot be read: {error.strerror}.", hint) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ProjectError(f"The training plan {path} is no valid TOML: {error}.", hint) from error
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            key, text = _first_problem(error)
            raise ProjectError(f"The training plan {path} is wrong at {key}: {text}.", hint) from error


HINT = "Choose another value; plan.toml of the project says what each one means."


def _first_problem(error: ValidationError) -> tuple[str, str]:
    """The key that is wrong first, and what is wrong with it."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"]) or "the plan"
    found = "" if first["type"] in ("missing", "value_error") else f" (found {first['input']!r})"
    return key, first["msg"].removeprefix("Value error, ") + found


def _check_detector(plan: TrainingPlan) -> None:
    """Refuse what a detector cannot work with: boxes are cubes, and sides are halved four times."""
    sides = plan.patch[1:] if plan.spatial_dims == 2 else plan.patch
    if any(side % detector_plan.DIVISOR for side in sides):
        raise ValueError(f"patch {list(plan.patch)} must be a multiple of {detector_plan.DIVISOR} along every axis")
    steps = plan.spacing[1:] if plan.spatial_dims == 2 else plan.spacing
    if max(steps) > 1.001 * min(steps):
        raise ValueError(f"spacing {list(plan.spacing)} must be the same along every axis for {plan.network}")


def _mirror(classes: tuple[str, ...]) -> tuple[Axis, ...]:
    """Axes that may be mirrored: all for one lesion class, left-right for named anatomy, none where sides are named."""
    words = {word for name in classes for word in name.lower().replace("-", " ").replace("_", " ").split()}
    if words & {"left", "right", "l", "r", "lt", "rt"}:
        return ()
    return ("z", "y", "x") if len(classes) == 1 else ("x",)


def derive(
    fingerprint: Fingerprint,
    *,
    modality: Modality,
    network: str = "unet",
    classes: tuple[str, ...] | None = None,
    in_channels: int | None = None,
    memory_mb: float = 4000.0,
    compute: Literal["cpu", "cuda"] = "cpu",
    steps: int | None = None,
    seed: int = 0,
) -> TrainingPlan:
    """Derive a plan from the fingerprint of the labelled cases.

    Parameters
    ----------
    fingerprint : Fingerprint
        From :func:`napari_dasl.training.fingerprint.measure`.
    modality : {"CT", "PET", "MR"}
        Of the project; a channel's own name goes before it.
    network : str
        A name of the network registry.
    classes, in_channels
        Checked against the fingerprint where given.
    memory_mb : float
        What training may use, of the machine's memory or the GPU's.
    compute : {"cpu", "cuda"}
        Where training will run: a processor gets smaller steps than a GPU.
    steps : int, optional
        Optimiser steps; by the number of labelled scans at each round where not given.
    seed : int
        Of the initial weights and of everything random.
    """
    classes = fingerprint.classes if classes is None else tuple(classes)
    if classes != fingerprint.classes or in_channels not in (None, len(fingerprint.channels)):
        raise ProjectError(
            f"The fingerprint was measured for the classes {list(fingerprint.classes)} and "
            f"{len(fingerprint.channels)} channel(s), and the plan asks for {list(classes)} and {in_channels}.",
            "Measure the labelled scans again.",
        )
    shared: dict[str, Any] = {
        "modality": modality,
        "channels": fingerprint.channels,
        "classes": classes,
        "network": network,
        "steps": steps or 0,
        "augmentation": Augmentation(mirror=_mirror(classes)),
        "normalisation": tuple(derive_normalisation(i, modality) for i in fingerprint.intensities),
        "seed": seed,
    }
    if family(network).detector:
        return _detector(fingerprint, memory_mb, compute, shared)
    settings = semantic_plan.settle(fingerprint, family(network), memory_mb - BASE_MEMORY_MB, compute, DROPOUT)
    rate = semantic_plan.LEARNING_RATES.get(network)
    return TrainingPlan(
        network_options=settings.options,
        spacing=settings.spacing,
        patch=settings.patch,
        batch=settings.batch,
        memory_estimate_mb=round(BASE_MEMORY_MB + settings.memory_mb),
        **({} if rate is None else {"learning_rate": rate}),
        **shared,
    )


def _detector(
    fingerprint: Fingerprint, memory_mb: float, compute: Literal["cpu", "cuda"], shared: dict[str, Any]
) -> TrainingPlan:
    """The plan of a network that finds lesions one by one."""
    dims = family(shared["network"]).spatial_dims
    settings = detector_plan.settle(fingerprint, dims, memory_mb - BASE_MEMORY_MB, compute)
    return TrainingPlan(
        network_options={**settings.options, "dropout": DROPOUT},
        spacing=settings.spacing,
        patch=settings.patch,
        batch=settings.batch,
        learning_rate=DETECTOR_RATE,
        foreground=DETECTOR_FOREGROUND,
        memory_estimate_mb=round(BASE_MEMORY_MB + settings.memory_mb),
        **shared,
    )


DETECTOR_FOREGROUND = 0.7
"""Of the patches of a detector, so many show a lesion (Wang et al., MICCAI 2018)."""

DETECTOR_RATE = 2e-3


DROPOUT = 0.1
"""At the deepest resolution. It costs no time worth measuring, and lets a trained network be asked for second opinions
(Monte Carlo dropout, Gal and Ghahramani, ICML 2016)."""

BASE_MEMORY_MB = 600
"""What a process with torch takes before it trains."""
