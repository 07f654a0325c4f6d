"""Grey-value windows as radiologists name them: fixed Hounsfield windows, SUV ranges, and percentiles for MR.

Plain values and functions; the layers apply them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
        if self.relative or self not in CT:
            return self.name
        return f"{self.name} W{self.high - self.low:g} L{(self.high + self.low) / 2:g}"


def _hounsfield(name: str, width: float, level: float) -> Preset:
    return Preset(name, level - width / 2, level + width / 2)


LUNG = _hounsfield("lung", 1500, -600)
CT = (
    _hounsfield("soft tissue", 400, 40),
    LUNG,
    _hounsfield("bone", 1800, 400),
    _hounsfield("brain", 80, 40),
)
SUV = (
    Preset("SUV 0–10", 0, 10, colormap="gray_r"),
    Preset("SUV 0–5", 0, 5, colormap="gray_r"),
    Preset("SUV 0–20", 0, 20, colormap="gray_r"),
    Preset("SUV 0–10 hot", 0, 10, colormap="hot"),
)
LOOKS_LIKE_SUV = tuple(
    Preset(preset.name.removeprefix("SUV "), preset.low, preset.high, colormap=preset.colormap) for preset in SUV
)
"""For PET without a unit whose values are in the range of SUV, as in most NIfTI files; the name makes no claim."""
ACTIVITY = (
    Preset("full range", 0, 1, relative=True, colormap="gray_r"),
    Preset("half range", 0, 0.5, relative=True, colormap="gray_r"),
)
MR = (
    Preset("full range", 0, 1, relative=True),
    Preset("brighter", 0, 0.6, relative=True),
    Preset("more contrast", 0.15, 0.7, relative=True),
)


def presets_for(modality: str, unit: str, highest: float = float("inf")) -> tuple[Preset, ...]:
    """Return the windows that W goes through, the one to begin with first.

    Parameters
    ----------
    modality : str
        ``CT``, ``PET`` or ``MR``; anything else is shown like MR.
    unit : str
        ``HU``, ``SUVbw`` or empty.
    highest : float
        99.5th percentile of the scan; activity in Bq/ml is in the thousands, SUV below fifty.
    """
    if modality == "CT" or unit == "HU":
        return CT
    if unit == "SUVbw":
        return SUV
    if modality == "PET":
        return LOOKS_LIKE_SUV if highest < 50 else ACTIVITY
    return MR


def first_of(presets: tuple[Preset, ...], array: NDArray[Any]) -> int:
    """Return the place of the window to begin with: the lung window where a CT is mostly lung, else the first.

    Mostly lung: of the voxels in the middle half of the scan (z, y, x), in HU, more than a fifth hold as much air as
    lung does (−950 to −500 HU). The air around a patient is outside of that half, and darker.
    """
    if presets is not CT:
        return 0
    middle = array[tuple(slice(size // 4, size - size // 4, max(1, size // 64)) for size in array.shape)]
    aerated = np.count_nonzero((middle > -950) & (middle < -500))
    return CT.index(LUNG) if aerated > 0.2 * middle.size else 0


def relative_position(limits: tuple[float, float], span: tuple[float, float]) -> tuple[float, float]:
    """Return *limits* in units of the scan's own range, so that a hand-made MR window fits the next scan too."""
    width = (span[1] - span[0]) or 1.0
    return (limits[0] - span[0]) / width, (limits[1] - span[0]) / width
