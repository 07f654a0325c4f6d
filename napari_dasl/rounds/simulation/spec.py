"""What a simulation is asked to do: which strategies start from which labels, how often they ask, and who answers."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from napari_dasl.active import find_strategy
from napari_dasl.errors import InputError
from napari_dasl.networks.families import family

PhaseWord = Literal["spl", "al"]
Control = Literal["", "steps"]
AUTHOR = "truth (simulated)"
"""Who records the labels of a simulated annotator."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Careless(_Part):
    """An annotator who makes mistakes; the shares say how many of the answers are spoilt, and how.

    Which answer is spoilt is drawn by the seed and the case, so it is the same for every strategy.
    """

    shifted: float = Field(default=0.0, ge=0, le=1, description="Share of labels moved by *voxels* along every axis.")
    missing: float = Field(default=0.0, ge=0, le=1, description="Share of labels left empty.")
    swapped: float = Field(default=0.0, ge=0, le=1, description="Share of labels whose classes change places.")
    voxels: int = Field(default=6, ge=1, description="How far a shifted label is moved.")
    since: int = Field(
        default=1, ge=0, description="The first query answered carelessly; 0 spoils the initial labels too."
    )

    @model_validator(mode="after")
    def _shares(self) -> Careless:
        if self.shifted + self.missing + self.swapped > 1:
            raise ValueError("the shares of shifted, missing and swapped labels are more than the whole")
        return self


class Arm(_Part):
    """One line of the comparison: a strategy, and what is different from the project's settings.

    Written ``dasl``, ``dasl@beta=0``, ``random@phases=spl-al-spl`` or ``random@phases=spl-al-spl@control=steps``. The
    keys are *phases* (``al`` for none), *control*, *beta*, *network*, and any key of ``project.toml`` with its table,
    such as ``ranking.region``.

    Attributes
    ----------
    name : str
        As it was written.
    strategy : str
    phases : tuple of {"spl", "al"}
        One pass of the cycle; it asks the annotator once.
    control : {"", "steps"}
        ``steps`` trains as often and as long, but on human labels only.
    settings : dict
        Dotted keys of ``project.toml``.
    """

    name: str
    strategy: str
    phases: tuple[PhaseWord, ...] = ("al",)
    control: Control = ""
    settings: dict[str, Any] = {}

    @property
    def folder(self) -> str:
        """The name as a folder."""
        return re.sub(r"[^A-Za-z0-9._-]", "_", self.name)


class Simulation(_Part):
    """The loop of labelling and training, replayed with the truth as annotator."""

    strategies: tuple[str, ...] = Field(min_length=1, description="Arms to compare, spelled as in `Arm`.")
    initial: int = Field(ge=1, description="Cases labelled before the first training, drawn at random for each seed.")
    query: int = Field(ge=1, description="Cases the annotator answers in each round.")
    rounds: int = Field(ge=1, description="How often the annotator is asked; the curve has one point more.")
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1, description="Repetitions; the arms share each draw.")
    truth: Path = Field(description="Folder of masks with the names of the scans.")
    phases: tuple[PhaseWord, ...] | None = Field(
        default=None, description="One pass of the cycle, such as spl, al, spl; active learning alone when empty."
    )
    steps: int | None = Field(default=None, ge=1, description="Optimiser steps of every training.")
    batch: int | None = Field(default=None, ge=1, description="Patches per step; the plan's own when empty.")
    beta: float | None = Field(default=None, ge=0, description="Exponent of the similarity; the project's when empty.")
    network: str | None = Field(default=None, description="The network to train; the project's when empty.")
    guard: int | None = Field(
        default=None,
        ge=0,
        description="How many of the initial cases judge models instead of training them; they count as annotated. "
        "Without it none, or a quarter where a cycle takes pseudo-labels.",
    )
    start: Literal["scratch", "active"] = Field(default="active", description="Initial weights of every training.")
    device: str = Field(default="auto", description="auto, cpu, cuda or cuda:1.")
    jobs: int | None = Field(default=None, ge=1, description="Runs side by side; the free cores when empty.")
    test_images: Path | None = Field(default=None, description="Folder of scans that no run ever sees.")
    test_labels: Path | None = Field(default=None, description="Their masks.")
    test_list: tuple[str, ...] = Field(default=(), description="Cases of the project that are the test instead.")
    careless: Careless | None = Field(default=None, description="Spoil some of the answers.")
    keep: bool = Field(default=False, description="Keep the predictions of older models.")

    @field_validator("strategies")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            find_strategy(name.split("@", 1)[0])
        if len(set(names)) < len(names):
            raise ValueError("strategies that differ from each other")
        return names

    @model_validator(mode="after")
    def _consistent(self) -> Simulation:
        if (self.test_images is None) != (self.test_labels is None):
            raise ValueError("the test needs both its images and its labels")
        if self.test_images is not None and self.test_list:
            raise ValueError("the test is a folder or a list of cases, not both")
        if self.phases is not None and self.phases.count("al") != 1:
            raise ValueError("a cycle asks the annotator once: it needs exactly one al phase")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds that differ from each other")
        held = self.held
        if held == 1 or held >= self.initial:
            raise ValueError(f"{held} of {self.initial} initial cases cannot be the guard set: it takes 2 and leaves 1")
        if len({arm.folder for arm in self.arms}) < len(self.strategies):
            raise ValueError("strategies whose names are different folders")
        return self

    @property
    def arms(self) -> tuple[Arm, ...]:
        """The strategies, read."""
        return tuple(parse_arm(name, self.phases, self.beta, self.network) for name in self.strategies)

    @property
    def held(self) -> int:
        """How many of the initial cases are the guard set of every run."""
        if self.guard is not None:
            return self.guard
        return max(2, self.initial // 4) if any("spl" in arm.phases for arm in self.arms) else 0

    def setting(self, material: str) -> str:
        """Hash of everything that changes a curve, so that more seeds, arms or rounds go on with what is there.

        Parameters
        ----------
        material : str
            Hash of the cases, their truth, the test and the project's own settings.
        """
        free = {"strategies", "seeds", "rounds", "jobs", "keep", "guard", "device"}
        if self.network is None:
            free.add("network")  # so that simulations from before there was a choice go on where they are
        told = self.model_dump(mode="json", exclude=free) | {"held": self.held, "material": material}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]


def make(**values: Any) -> Simulation:
    """Return the simulation of *values*, or say in one sentence what is wrong with them.

    Raises
    ------
    InputError
    """
    try:
        return Simulation.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        text = first["msg"].removeprefix("Value error, ")
        raise InputError(f"The simulation is wrong{f' at {key}' if key else ''}: {text}.", "Change it.") from error


def parse_arm(
    name: str,
    phases: tuple[PhaseWord, ...] | None = None,
    beta: float | None = None,
    network: str | None = None,
) -> Arm:
    """Read an arm as :class:`Arm` spells it; *phases*, *beta* and *network* hold where it says nothing.

    Raises
    ------
    ValueError
        It is spelled wrongly.
    ProjectError
        There is no such network.
    """
    strategy, *changes = name.split("@")
    values: dict[str, Any] = {"name": name, "strategy": strategy, "phases": phases or ("al",), "settings": {}}
    if beta is not None:
        values["settings"]["ranking.beta"] = beta
    if network is not None:
        values["settings"]["network"] = family(network).name
    for change in changes:
        key, sign, text = change.partition("=")
        if not sign:
            raise ValueError(f"{change!r} of {name!r} is no key=value")
        if key == "phases":
            values["phases"] = tuple(text.split("-"))
        elif key == "control":
            values["control"] = text
        elif key == "beta":
            values["settings"]["ranking.beta"] = float(text)
        elif key == "network":
            values["settings"]["network"] = family(text).name
        elif "." in key:
            values["settings"][key] = _value(text)
        else:
            raise ValueError(
                f"{key!r} of {name!r} is unknown; it is phases, control, beta, network or a key such as ranking.query"
            )
    arm = Arm.model_validate(values)
    if arm.phases.count("al") != 1:
        raise ValueError(f"the cycle of {name!r} needs exactly one al phase")
    return arm


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
