"""From a network to a prediction: sliding window, signatures and facts about what was found.

Names are loaded when they are first used, so that the parts without torch can be imported without it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_dasl.inference.findings import Facts, facts
    from napari_dasl.inference.predictor import Predicted, Predictor
    from napari_dasl.inference.signatures import signature
    from napari_dasl.inference.sliding import predict
    from napari_dasl.inference.tiling import windows

# No module is called like the name it gives: importing it would put the module in the name's place.
_HOME = {
    "Facts": "findings",
    "Predicted": "predictor",
    "Predictor": "predictor",
    "facts": "findings",
    "predict": "sliding",
    "signature": "signatures",
    "windows": "tiling",
}

__all__ = ["Facts", "Predicted", "Predictor", "facts", "predict", "signature", "windows"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
