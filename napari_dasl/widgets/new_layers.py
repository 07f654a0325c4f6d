"""How our napari layers are made; :mod:`napari_dasl.widgets.layer_stack` shows them."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Shapes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Layer
    from napari.utils.colormaps import Colormap
    from numpy.typing import NDArray

    from napari_dasl.widgets.display_cache import Channel

# napari shows this as a pop-up at every turn to 3D; there it draws the labels filled, which is what one expects.
warnings.filterwarnings("ignore", message="Contours are not displayed during 3D rendering")

OVERLAYS = ("prediction", "pseudo-label", "label", "probability", "uncertainty", "findings")
"""Roles of our layers above the channels, from bottom to top. The label lies over the prediction it may be equal to."""

ON_DEMAND = ("pseudo-label", "findings")
"""Overlays that are made when they are first shown; most people never review a pseudo-label."""

UNSURE_LIMITS = (0.0, 0.5)
"""Range of the uncertainty map: at 0.5 two classes are equally likely."""

GAPS = (255, 65535)
"""What stands between two dashes of a dashed outline, in masks of 8 and of 16 bit."""

NOWHERE = ((1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
"""Spacing and origin of a layer that has nothing to show."""


def placed(data: NDArray[Any], spacing: Sequence[float], origin: Sequence[float]) -> dict[str, Any]:
    """Return the arguments that put (z, y, x) *data* where it lies in mm; the same for every layer."""
    return {
        "data": data,
        "scale": tuple(spacing),
        "translate": tuple(origin),
        "units": ("mm",) * 3,
        "axis_labels": ("z", "y", "x"),
    }


def outline_width(data: NDArray[Any]) -> int:
    """Return the width of the label's outline in voxels, so that it is seen on fine and on coarse scans."""
    return 2 if max(data.shape[1:]) > 160 else 1


def new_layer(role: str, place: dict[str, Any]) -> Layer:
    """Make the layer of *role*.

    Label and prediction are outlines, so that the anatomy under them stays visible, and the pseudo-label is a dashed
    one (see :func:`dashed`); probability and uncertainty are hidden until somebody asks for them. Filling in 3D is off
    (``n_edit_dimensions`` 2), because one click into the background of a CT would take seconds in the window's thread.
    The boxes of findings are filled strips (see :mod:`napari_dasl.widgets.finding_boxes`).
    """
    if role == "findings":
        layer = Shapes(**place, ndim=3, name="boxes of findings", edge_width=0, opacity=0.9)
        layer.editable = False
        return layer
    if role in {"label", "prediction", "pseudo-label"}:
        layer = Labels(**place, name=role, opacity=1.0 if role == "pseudo-label" else 0.9)
        layer.contour = {"label": outline_width(place["data"]), "prediction": 1}.get(role, 0)
        layer.n_edit_dimensions = 2
        layer.editable = role == "label"
        return layer
    if role in OVERLAYS:
        unsure = role == "uncertainty"
        return Image(
            **place,
            name=role,
            blending="translucent_no_depth" if unsure else "additive",
            colormap=unsure_colours() if unsure else "viridis",
            contrast_limits=UNSURE_LIMITS if unsure else (0.0, 1.0),
            opacity=0.8 if unsure else 0.7,
            visible=False,
        )
    return Image(**place, name=role, contrast_limits=(0, 1), blending="translucent_no_depth")


def dashed(mask: NDArray[Any]) -> NDArray[Any]:
    """Return the outline of a label map, axial slice by axial slice, as a dashed line.

    A shape of its own, beside the solid outlines of label and prediction, is seen without telling colours apart.

    Parameters
    ----------
    mask : (z, y, x) uint8 or uint16 array
        Label map, 0 is background.

    Returns
    -------
    (z, y, x) array
        Along the outermost voxels of each class two voxels of the class and two of the gap (the largest number of the
        type, see `GAPS`) in turn; 0 elsewhere.
    """
    line = np.zeros_like(mask)
    rows, columns = np.indices(mask.shape[1:], sparse=True)
    dashes = (rows + 2 * columns) % 4 < 2  # neither rows, columns nor diagonals are all on or all off
    for plane, drawn in zip(mask, line, strict=True):
        if plane.any():
            around = np.pad(plane, 1)
            inner = around[1:-1, 1:-1]
            edge = (inner != around[:-2, 1:-1]) | (inner != around[2:, 1:-1])
            edge |= (inner != around[1:-1, :-2]) | (inner != around[1:-1, 2:])
            edge &= plane != 0
            drawn[edge] = np.where(dashes, plane, np.iinfo(mask.dtype).max)[edge]
    return line


def unsure_colours() -> Colormap:
    """Return the colours of the uncertainty map: clear where the network is sure, then violet, orange and yellow.

    The more unsure, the less of the scan shows through, so that the map reads on bright and on dark tissue alike;
    colours that are added to the scan vanish where it is white.
    """
    from napari.utils.colormaps import Colormap, ensure_colormap

    steps = np.linspace(0, 1, 64, dtype=np.float32)
    colours = np.array(ensure_colormap("magma").map(0.25 + 0.75 * steps))
    colours[:, 3] = np.clip(3 * steps, 0, 1)
    return Colormap(colours, name="dasl unsure")


def nothing() -> NDArray[np.uint8]:
    """Return one empty voxel, for a layer that has nothing to show."""
    return np.zeros((1, 1, 1), dtype=np.uint8)


def dress_channel(layer: Image, channel: Channel, limits: tuple[float, float], colormap: str, *, fused: bool) -> None:
    """Show *channel* with *limits*; a PET over another scan glows instead of hiding what is under it."""
    over = fused and channel.modality == "PET"
    layer.colormap = "hot" if over and colormap == "gray_r" else colormap
    layer.blending = "additive" if over else "translucent_no_depth"
    layer.contrast_limits = limits
    layer.contrast_limits_range = (min(limits[0], channel.span[0]), max(limits[1], channel.span[1]))
