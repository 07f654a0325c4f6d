"""Colours of the classes: Okabe and Ito's, which people with colour-blindness can tell apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from napari.utils.colormaps import CyclicLabelColormap, DirectLabelColormap

OKABE_ITO = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#CC79A7", "#D55E00", "#0072B2")
"""In an order that begins with the ones that stand out on grey; black is left out, because scans are dark."""


def class_color(number: int) -> str:
    """Return the colour of class *number* (1, 2 …) as ``#RRGGBB``; beyond seven the colours repeat, darker."""
    turn, place = divmod(number - 1, len(OKABE_ITO))
    return _mix(OKABE_ITO[place], (0, 0, 0), min(0.25 * turn, 0.6))


def lighter(color: str, share: float = 0.55) -> str:
    """Return *color* mixed with *share* of white: a prediction beside the label of the same class."""
    return _mix(color, (255, 255, 255), share)


def _mix(color: str, other: tuple[int, int, int], share: float) -> str:
    own = np.array([int(color[at : at + 2], 16) for at in (1, 3, 5)])
    mixed = np.rint(own * (1 - share) + np.array(other) * share).astype(int)
    return "#{:02X}{:02X}{:02X}".format(*mixed)


def class_colormap(count: int, *, light: bool = False) -> DirectLabelColormap:
    """Return the napari colormap of *count* classes; *light* is the prediction's paler version."""
    from napari.utils.colormaps import DirectLabelColormap

    colors: dict[int | None, str] = {None: "#FFFFFF", 0: "transparent"}
    for number in range(1, count + 1):
        colors[number] = lighter(class_color(number)) if light else class_color(number)
    return DirectLabelColormap(color_dict=colors)


def lesion_colormap(*, light: bool = False) -> CyclicLabelColormap:
    """Return the napari colormap of numbered lesions: neighbouring numbers differ, after seven they come again."""
    from napari.utils.colormaps import CyclicLabelColormap

    own = [class_color(number) for number in range(1, len(OKABE_ITO) + 1)]
    shades = [lighter(color) if light else color for color in own]
    rgba = [[*(int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)), 1.0] for color in shades]
    # The map takes a value modulo its length, and 0 is the background: value 1 has the second colour.
    return CyclicLabelColormap(colors=np.array([rgba[-1], *rgba[:-1]], dtype=np.float32))


def dashed_colormap(count: int, gaps: Sequence[int]) -> DirectLabelColormap:
    """Return the napari colormap of dashed outlines of *count* classes: pale dashes, and *gaps* that are black.

    Light beside dark is seen on bright and on dark tissue, and on a coloured outline that runs along it.
    """
    from napari.utils.colormaps import DirectLabelColormap

    colors: dict[int | None, str] = {None: "#FFFFFF", 0: "transparent"}
    for number in range(1, count + 1):
        colors[number] = lighter(class_color(number), 0.8)
    return DirectLabelColormap(color_dict=colors | dict.fromkeys(gaps, "#101010"))


def class_features(names: Sequence[str]) -> pd.DataFrame:
    """Return the table that makes napari's status bar say the class under the cursor."""
    import pandas as pd

    return pd.DataFrame({"index": range(len(names) + 1), "class": ["background", *names]})
