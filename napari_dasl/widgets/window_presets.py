"""Grey-value windows as radiologists name them: fixed Hounsfield windows, SUV ranges, and percentiles for MR.

Plain values and functions; the layers apply them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """A named window.

    Attributes
    ----------
    name : str
        As a radiologist calls it.
    low, high : float
        Displayed range: in HU or SUV; for *relative* presets in units of the scan's own range, 0 being its 0.5th and
        1 its 99.5th percentile.
    relative : bool
        Whether the range follows the grey values of the scan (MR, and PET without SUV).
    colormap : str
        napari colormap.
    """

    name: str
    low: float
    high: float
    relative: bool = False
    colormap: str = "gray"

    def limits(self, span: tuple[float, float]) -> tuple[float, float]:
        """Return the displayed range for a scan whose 0.5th and 99.5th percentiles are *span*."""
        if not self.relative:
            return self.low, self.high
        width = span[1] - span[0]
        return span[0] + self.low * width, span[0] + self.high * width

    def label(self) -> str:
        """Return name and numbers as they are written on the picture, such as ``soft tissue W400 L40``."""
        if self.relative:
            return self.name
        if self.name.startswith("SUV"):
            return self.name
        return f"{self.name} W{self.high - self.low:g} L{(self.high + self.low) / 2:g}"


def _hounsfield(name: str, width: float, level: float) -> Preset:
    return Preset(name, level - width / 2, level + width / 2)


CT = (
    _hounsfield("soft tissue", 400, 40),
    _hounsfield("lung", 1500, -600),
    _hounsfield("bone", 1800, 400),
    _hounsfield("brain", 80, 40),
)
SUV = (
    Preset("SUV 0–10", 0, 10, colormap="gray_r"),
    Preset("SUV 0–5", 0, 5, colormap="gray_r"),
    Preset("SUV 0–20", 0, 20, colormap="gray_r"),
    Preset("SUV 0–10 hot", 0, 10, colormap="hot"),
)
ACTIVITY = (
    Preset("full range", 0, 1, relative=True, colormap="gray_r"),
    Preset("half range", 0, 0.5, relative=True, colormap="gray_r"),
)
MR = (
    Preset("full range", 0, 1, relative=True),
    Preset("brighter", 0, 0.6, relative=True),
    Preset("more contrast", 0.15, 0.7, relative=True),
)


def presets_for(modality: str, unit: str) -> tuple[Preset, ...]:
    """Return the windows that W goes through, the one to begin with first.

    Parameters
    ----------
    modality : str
        ``CT``, ``PET`` or ``MR``; anything else is shown like MR.
    unit : str
        ``HU``, ``SUVbw`` or empty.
    """
    if modality == "CT" or unit == "HU":
        return CT
    if unit == "SUVbw":
        return SUV
    return ACTIVITY if modality == "PET" else MR


def relative_position(limits: tuple[float, float], span: tuple[float, float]) -> tuple[float, float]:
    """Return *limits* in units of the scan's own range, so that a hand-made MR window fits the next scan too."""
    width = (span[1] - span[0]) or 1.0
    return (limits[0] - span[0]) / width, (limits[1] - span[0]) / width
