"""napari's *File → Open Sample → DASL*: one phantom of each kind, made on the spot.

No Qt and no napari is imported: each function returns layer data tuples, which napari turns into layers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_dasl import phantoms

LayerData = tuple[Any, dict[str, Any], str]
"""Array, properties and type of a layer, as napari takes them."""

_WINDOWS = {"CT": (-1150.0, 350.0), "PET": (0.0, 8.0), "MR": (0.0, 650.0)}


def ct_chest() -> list[LayerData]:
    """A crop of a chest CT with lung nodules, and their truth."""
    return _layers("ct", "Chest CT (phantom)", seed=5)


def pet_head() -> list[LayerData]:
    """An FDG PET of head and neck with tumours, and their truth."""
    return _layers("pet", "Head PET (phantom)", seed=5)


def flair_brain() -> list[LayerData]:
    """A FLAIR brain with white-matter lesions, and their truth."""
    return _layers("mr", "FLAIR brain (phantom)", seed=5)


def _layers(kind: str, name: str, seed: int) -> list[LayerData]:
    """The image layer and, above it, the label layer; both in mm, with voxel (0, 0, 0) at the same place."""
    phantom = phantoms.make(kind, seed, difficulty=0.35)
    centre = [-(n - 1) / 2.0 * step for n, step in zip(phantom.label.shape, phantom.spacing, strict=True)]
    place = {
        "scale": phantom.spacing,
        "translate": tuple(centre),
        "units": ("mm", "mm", "mm"),
        "axis_labels": ("z", "y", "x"),
    }
    image = {
        "name": name,
        "contrast_limits": _WINDOWS[phantom.modality],
        "colormap": "gray_r" if phantom.modality == "PET" else "gray",
        "metadata": {"modality": phantom.modality, "notes": phantom.notes},
        **place,
    }
    truth = {"name": phantom.classes[0], "opacity": 0.5, **place}
    return [(phantom.image, image, "image"), (phantom.label.astype(np.uint8, copy=False), truth, "labels")]
