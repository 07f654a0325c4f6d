"""``project.toml``: what the project is about, in a file that people edit by hand.

Reading goes through pydantic, so that a wrong key or value is refused with the file, the key, what was found and what
is allowed. Writing goes through tomlkit, so that comments and the order of hand-made edits survive.
"""

from __future__ import annotations

import difflib
import re
import types
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

import tomlkit
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator
from tomlkit.exceptions import TOMLKitError

from napari_dasl.errors import ProjectError
from napari_dasl.project import presets
from napari_dasl.project.curriculum_config import CurriculumConfig, Recipe

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping
    from pathlib import Path

    from pydantic_core import ErrorDetails

Modality = Literal["CT", "PET", "MR"]
FILE_NAME = "project.toml"
CHANNEL_DEFAULT = ("image",)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class RankingConfig(_Part):
    """How the list to label is ordered."""

    strategy: str = Field(
        default="default", min_length=1, description="Ranking strategy; see `napari-dasl rank --help`."
    )
    beta: float = Field(default=1.0, ge=0, description="How much similarity counts beside uncertainty (Eq. 3).")
    region: Literal["body", "volume", "lesion"] = Field(
        default="body", description="Where uncertainty is averaged: body, volume or lesion."
    )
    signature: int = Field(default=32, ge=1, le=256, description="Cells per side of the signature's grid.")
    query: int = Field(default=20, ge=1, description="Scans proposed per round.")
    samples: int = Field(
        default=6, ge=2, description="Predictions with dropout per scan, where the strategy compares several."
    )
    power: float = Field(default=8.0, gt=0, description="First exponent of power sampling; larger is greedier.")
    explore: float = Field(default=0.0, ge=0, le=1, description="Share of the proposed scans that is drawn by lot.")


class _Length(_Part):
    device: str = Field(default="auto", min_length=1, description="auto, cpu, cuda or cuda:1.")
    steps: int | None = Field(default=None, ge=1, description="Optimiser steps per round.")
    minutes: float | None = Field(default=None, gt=0, description="Minutes of training per round.")
    start: Literal["scratch", "active"] = Field(
        default="active", description="Where a round's weights start: scratch, or active for the active model's."
    )
    tolerance: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="Guard Dice, and for a detector share of guard lesions, a new model may lose and still take over.",
    )


class TrainingConfig(Recipe, _Length):
    """How long and where a round trains, and what it changes of the plan; what is left out, the plan decides."""

    @property
    def recipe(self) -> Recipe:
        """What a round changes of the training plan."""
        return Recipe(**self.given)


class SelfpacedConfig(_Part):
    """How the network learns from its own labels of scans that nobody labelled."""

    enabled: bool = Field(default=True, description="Learn from pseudo-labels; false: from human labels only.")
    phases: tuple[Literal["spl", "al"], ...] = Field(
        default=("spl", "al", "spl"),
        min_length=1,
        description="Order of the rounds, over and over: spl learns from pseudo-labels, al asks for labels.",
    )
    regularizer: Literal["linear", "hard", "logarithmic", "mixture", "rescaled"] = Field(
        default="rescaled", description="How the weight falls with the loss: linear is Eq. 8."
    )
    pace: Literal["quantile", "paper"] = Field(
        default="quantile", description="Where the pace λ comes from: a quantile of the losses, or paper (Eq. 9)."
    )
    quantile: float = Field(default=0.2, gt=0, le=1, description="Share of the scans that the first phase takes.")
    growth: float = Field(default=0.2, ge=0, le=1, description="Growth of that share per phase, times the guard Dice.")
    ceiling: float = Field(default=0.8, gt=0, le=1, description="Largest share that a phase takes.")
    pace0: float = Field(default=0.005, gt=0, description="λ of the first phase, where pace is paper.")
    alpha: float = Field(default=0.002, ge=0, description="Growth of λ per phase, times the guard Dice (Eq. 9).")
    stop: int = Field(default=10, ge=1, description="Phases after which the pace grows no more (τ of Eq. 9).")
    c: float = Field(default=1.0, gt=0, description="Factor C of the loss (Eq. 8).")
    view: Literal["own", "previous", "teacher"] = Field(
        default="own",
        description="What a prediction's loss is measured against: own label, previous model, or averaged teacher.",
    )
    least_dice: float = Field(default=0.5, ge=0, le=1, description="Guard Dice below which no pseudo-labels are taken.")
    human_share: float = Field(default=0.5, ge=0, le=1, description="Least share of human labels in each batch.")
    human_tail: float = Field(
        default=0.15, ge=0, le=1, description="Last share of a round's steps that learns from human labels only."
    )
    audits: int = Field(default=2, ge=0, description="Pseudo-labels per round that are offered for a blind check.")

    @field_validator("phases")
    @classmethod
    def _ask_sometimes(cls, phases: tuple[str, ...]) -> tuple[str, ...]:
        if "al" not in phases:
            raise ValueError('a list with at least one "al"')
        return phases

    @field_validator("ceiling")
    @classmethod
    def _above_the_start(cls, ceiling: float, info: ValidationInfo) -> float:
        if ceiling < info.data.get("quantile", 0):
            raise ValueError("at least as large as quantile")
        return ceiling

    @field_validator("pace0")
    @classmethod
    def _inside_the_logarithm(cls, pace0: float, info: ValidationInfo) -> float:
        # The logarithmic weights have ζ = 1 − λ; λ from a quantile is kept below 1 where it is made.
        if pace0 >= 1 and (info.data.get("regularizer"), info.data.get("pace")) == ("logarithmic", "paper"):
            raise ValueError("below 1 with the logarithmic regularizer")
        return pace0


class EngineConfig(_Part):
    """The program that trains; empty for this machine, or e.g. ["ssh", "gpu-box", "napari-dasl", "engine"]."""

    command: tuple[str, ...] = Field(default=(), description="Command that starts the engine; empty: this machine.")


class ProjectConfig(_Part):
    """Everything ``project.toml`` may say."""

    name: str = Field(min_length=1, description="Shown in the window's title.")
    modality: Modality = Field(description="CT, PET or MR: the scan that labels are drawn on.")
    classes: tuple[str, ...] = Field(
        default=("lesion",), min_length=1, description="Label k is the k-th name; 0 is background."
    )
    instances: bool = Field(
        default=False, description="The values of a label number the lesions of the one class, instead of naming it."
    )
    channels: tuple[str, ...] = Field(
        default=CHANNEL_DEFAULT, min_length=1, description="Series that every case has; labels are drawn on the first."
    )
    network: str = Field(default="unet", min_length=1, description="Network to train; see `napari-dasl init --help`.")
    preset: str = Field(
        default="default",
        min_length=1,
        description="Gives the keys that this file lacks; see `napari-dasl init --help`.",
    )
    seed: int = Field(default=0, ge=0, description="Every random choice of the project follows from it.")
    guard: float = Field(
        default=0.15, ge=0, lt=1, description="Share of the labelled scans (at least 2) held back to judge models."
    )
    copy_scans: bool = Field(default=False, description="Copy added scans into the project; otherwise refer to them.")
    database: str = Field(
        default="", description="SQLAlchemy URL of another database; empty: project.sqlite beside this file."
    )
    ranking: RankingConfig = RankingConfig()
    training: TrainingConfig = TrainingConfig()
    curriculum: CurriculumConfig = CurriculumConfig()
    selfpaced: SelfpacedConfig = SelfpacedConfig()
    engine: EngineConfig = EngineConfig()

    @model_validator(mode="before")
    @classmethod
    def _with_preset(cls, values: Any) -> Any:
        """Lay what is given over what the preset gives; a preset that is unknown is refused as a value."""
        if not isinstance(values, dict) or values.get("preset", "default") not in presets.names():
            return values
        whole = dict(values)
        for table, keys in presets.load(values.get("preset", "default")).items():
            given = whole.get(table, {})
            if isinstance(given, BaseModel):
                given = given.model_dump(exclude_unset=True)
            if isinstance(given, dict):
                whole[table] = {**keys, **given}
        return whole

    @model_validator(mode="after")
    def _lesions_are_classes(self) -> ProjectConfig:
        self.curriculum.check_lesions(self.classes)
        return self

    @field_validator("preset")
    @classmethod
    def _known_preset(cls, name: str) -> str:
        if name not in presets.names():
            raise ValueError(f"one of {', '.join(presets.names())}")
        return name

    @field_validator("classes", "channels")
    @classmethod
    def _distinct(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not name.strip() or name != name.strip():
                raise ValueError(f"names without spaces around them, not {name!r}")
        if len({name.casefold() for name in names}) != len(names):
            raise ValueError("names that differ from each other")
        if len(names) > 65535:
            raise ValueError("at most 65535 names")
        return names

    @field_validator("instances")
    @classmethod
    def _one_class(cls, instances: bool, info: ValidationInfo) -> bool:
        if instances and len(info.data.get("classes", ("",))) != 1:
            raise ValueError("false, or classes a list of one name: a number cannot name the class and the lesion")
        return instances

    @field_validator("classes")
    @classmethod
    def _background_is_implied(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if any(name.casefold() == "background" for name in names):
            raise ValueError("foreground names only, because background is always label 0")
        return names


def load(path: Path) -> ProjectConfig:
    """Read ``project.toml``.

    Raises
    ------
    ProjectError
        The file is missing, is not TOML, or has an unknown key or a value that is not allowed.
    """
    return _validate(_document(path).unwrap(), path)


def dump(config: ProjectConfig) -> str:
    """Text of a fresh ``project.toml``, each key under a comment that says what it means."""
    document = tomlkit.document()
    document.add(tomlkit.comment("napari-dasl project. Edit by hand with the project closed; comments are kept."))
    document.add(tomlkit.nl())
    _fill(document, config)
    return tomlkit.dumps(document)


def updated(path: Path, changes: Mapping[str, Any]) -> tuple[ProjectConfig, str]:
    """Apply *changes* (dotted keys, such as ``ranking.beta``) to the file's text and keep the rest of it as it is.

    Returns
    -------
    (ProjectConfig, str)
        The validated configuration and the new text; nothing is written. None removes a key.

    Raises
    ------
    ProjectError
        As `load`, for the result.
    """
    document = _document(path)
    for dotted, value in changes.items():
        *parents, key = dotted.split(".")
        table: MutableMapping[str, Any] = document
        for parent in parents:
            if parent not in table:
                table[parent] = tomlkit.table()
            table = table[parent]
        if value is None:
            table.pop(key, None)
        else:
            table[key] = list(value) if isinstance(value, tuple) else value
    return _validate(document.unwrap(), path), tomlkit.dumps(document)


def check(values: Mapping[str, Any], where: Path) -> ProjectConfig:
    """Validate *values* that are meant for the file *where*; ProjectError as in `load`."""
    return _validate(dict(values), where)


def _document(path: Path) -> tomlkit.TOMLDocument:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ProjectError(
            f"{path.parent} is not a project: it has no {path.name}.", "Choose another folder, or make one with `init`."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ProjectError(f"{path} cannot be read: {error}.", "Check the file and its permissions.") from None
    try:
        return tomlkit.parse(text)
    except TOMLKitError as error:
        raise ProjectError(f"{path} is not valid TOML: {error}.", "Mend that line.") from None


def _fill(table: MutableMapping[str, Any], config: BaseModel) -> None:
    """Add every field of *config* with its description as a comment; a field without a value stays a comment."""
    for key, info in type(config).model_fields.items():
        value = getattr(config, key)
        if isinstance(value, BaseModel):
            part = tomlkit.table()
            _fill(part, value)
            table[key] = part
            continue
        assert isinstance(table, tomlkit.TOMLDocument | tomlkit.items.Table)
        if info.description:
            table.add(tomlkit.comment(info.description))
        if value is None:
            table.add(tomlkit.comment(f"{key} ="))
        else:
            table.add(key, list(value) if isinstance(value, tuple) else value)


def _validate(values: dict[str, Any], path: Path) -> ProjectConfig:
    try:
        return ProjectConfig.model_validate(values)
    except ValidationError as error:
        raise _explain(error.errors()[0], path) from None


def _explain(detail: ErrorDetails, path: Path) -> ProjectError:
    """Turn pydantic's first complaint into file, key, found, allowed, near miss."""
    location = [str(part) for part in detail["loc"]]
    model = _model_at(location[:-1])
    if detail["type"] == "extra_forbidden":
        return _unknown_key(location, model, path)
    key = _dotted(detail["loc"])
    if detail["type"] == "missing":
        return ProjectError(f"{path}: the key {key} is missing.", f"Add it. {_meaning(location)}")
    allowed = _allowed_of(detail, location)
    found = detail["input"]
    guess = ""
    if isinstance(found, str):
        near = difflib.get_close_matches(found.casefold(), [c.casefold() for c in _choices(location)], n=1, cutoff=0.5)
        exact = [c for c in _choices(location) if near and c.casefold() == near[0]]
        guess = f" Did you mean {exact[0]}?" if exact else ""
    return ProjectError(f"{path}: {key} is {found!r}, but must be {allowed}.", f"Change {key} in that file.{guess}")


def _unknown_key(location: list[str], model: type[BaseModel] | None, path: Path) -> ProjectError:
    known = list(model.model_fields) if model else []
    near = difflib.get_close_matches(location[-1], known, n=1, cutoff=0.6)
    guess = f"Did you mean {near[0]}? " if near else ""
    where = f" in [{'.'.join(location[:-1])}]" if location[:-1] else ""
    return ProjectError(f"{path}: the key {location[-1]}{where} is unknown.", f"{guess}Known keys: {', '.join(known)}.")


def _dotted(location: tuple[int | str, ...]) -> str:
    words = ".".join(f"[{part}]" if isinstance(part, int) else part for part in location)
    return words.replace(".[", "[")


def _model_at(parents: list[str]) -> type[BaseModel] | None:
    model: type[BaseModel] = ProjectConfig
    for parent in parents:
        info = model.model_fields.get(parent)
        if info is None or not isinstance(info.annotation, type) or not issubclass(info.annotation, BaseModel):
            return None
        model = info.annotation
    return model


def _choices(location: list[str]) -> tuple[str, ...]:
    """Give the values that a key allows, where they can be listed; for an entry of a list, those of the entries."""
    if location == ["preset"]:
        return presets.names()
    entry = location[-1].isdecimal() and len(location) > 1
    *parents, key = location[:-1] if entry else location
    model = _model_at(parents)
    info = model.model_fields.get(key) if model else None
    annotation = _without_none(info.annotation) if info else None
    if entry and get_origin(annotation) is tuple:
        annotation = get_args(annotation)[0]
    return tuple(str(choice) for choice in get_args(annotation)) if _is_literal(annotation) else ()


def _without_none(annotation: Any) -> Any:
    """What may stand in the file: a key that is left out is None, and nobody writes that."""
    kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
    return kinds[0] if get_origin(annotation) in (Union, types.UnionType) and len(kinds) == 1 else annotation


def _is_literal(annotation: Any) -> bool:
    return get_origin(annotation) is Literal


def _meaning(location: list[str]) -> str:
    choices = _choices(location)
    model = _model_at(location[:-1])
    info = model.model_fields.get(location[-1]) if model else None
    return f"Allowed: {', '.join(choices)}." if choices else str(info.description if info else "")


def _allowed_of(detail: ErrorDetails, location: list[str]) -> str:
    if detail["type"] == "literal_error":
        return "one of " + ", ".join(_choices(location))
    if detail["type"] == "value_error":
        return detail["msg"].removeprefix("Value error, ")
    words = re.sub(r"^(?:Input|String|Tuple|Value) should (?:be )?", "", detail["msg"])
    words = re.sub(r" (?:after validation|, unable to parse.*|, got .*)", "", words)
    words = re.sub(r"^a valid ", "a ", words).split(",")[0].replace("a integer", "an integer")
    return words.replace("have ", "a list or text with ", 1) if words.startswith("have ") else words
