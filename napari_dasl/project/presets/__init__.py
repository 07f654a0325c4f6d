"""Presets: named settings of ranking, training and self-paced learning, one small TOML file each beside this module."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from typing import Any

_SUFFIX = ".toml"


@cache
def names() -> tuple[str, ...]:
    """Names of the presets, in the order of the alphabet but ``default`` first."""
    found = [entry.name for entry in resources.files(__name__).iterdir() if entry.name.endswith(_SUFFIX)]
    return tuple(sorted((name.removesuffix(_SUFFIX) for name in found), key=lambda name: (name != "default", name)))


def load(name: str) -> dict[str, dict[str, Any]]:
    """Tables and keys that the preset *name*, one of `names`, gives to ``project.toml``."""
    return tomllib.loads((resources.files(__name__) / f"{name}{_SUFFIX}").read_text(encoding="utf-8"))
