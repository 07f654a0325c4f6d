"""Presets: named settings, one small TOML file each beside this module.

A preset may hold the tables ``[ranking]``, ``[training]``, ``[selfpaced]`` and ``[curriculum]`` of ``project.toml``, a
``network``, which a new project gets where nobody chose another, and ``[about]``, which tells people what it is.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

_SUFFIX = ".toml"


@dataclass(frozen=True)
class About:
    """What a person reads of a preset.

    Attributes
    ----------
    name : str
        What configuration files and the command line call it.
    title, sentence : str
        In the words of a radiologist.
    paper : str
        Where it is from; empty where it is nobody's.
    network : str
        What a new project gets; empty where the preset names none.
    """

    name: str
    title: str
    sentence: str
    paper: str
    network: str


@cache
def names() -> tuple[str, ...]:
    """Names of the presets, in the order of the alphabet but ``default`` first."""
    found = [entry.name for entry in resources.files(__name__).iterdir() if entry.name.endswith(_SUFFIX)]
    return tuple(sorted((name.removesuffix(_SUFFIX) for name in found), key=lambda name: (name != "default", name)))


def load(name: str) -> dict[str, dict[str, Any]]:
    """Tables and keys that the preset *name*, one of `names`, gives to ``project.toml``."""
    return {key: value for key, value in _read(name).items() if key not in ("about", "network")}


def about(name: str) -> About:
    """What the preset *name*, one of `names`, is."""
    values = _read(name)
    return About(name, **values["about"], network=network(name))


def network(name: str) -> str:
    """The network of the preset *name*; empty where it names none, or where there is no such preset."""
    return str(_read(name).get("network", "")) if name in names() else ""


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((resources.files(__name__) / f"{name}{_SUFFIX}").read_text(encoding="utf-8"))
