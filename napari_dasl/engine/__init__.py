"""The child process that trains and predicts, and the words that the window and the command line speak with it.

``messages`` and ``client`` need no torch; only a job inside ``server`` imports it. Names are loaded when they are asked
for, so that the window can import this package in milliseconds.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {"EngineProcess": "client", "serve": "server"}

__all__ = ["EngineProcess", "serve"]


def __getattr__(name: str) -> Any:
    """Load *name* from its module when it is first asked for."""
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
