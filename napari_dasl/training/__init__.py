"""Learning from labelled cases: fingerprint, plan, prepared scans, patches, the training loop.

Names are imported when they are first used, so that :mod:`napari_dasl.training.plan` can be read without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_WHERE = {
    "Budget": "loop",
    "Cache": "prepare",
    "CaseData": "cases",
    "Fingerprint": "fingerprint",
    "Mixing": "mixing",
    "Prepared": "prepare",
    "Trained": "loop",
    "TrainingPlan": "plan",
    "derive": "plan",
    "estimate_memory_mb": "memory",
    "from_network_grid": "prepare",
    "load_network": "weights",
    "measure": "fingerprint",
    "save_network": "weights",
    "to_network_grid": "prepare",
    "train": "loop",
}

__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE})
