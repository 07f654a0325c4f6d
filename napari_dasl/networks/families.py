"""The networks a project can choose from, in words. Nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from napari_dasl.errors import ProjectError


@dataclass(frozen=True)
class Family:
    """One kind of network.

    Attributes
    ----------
    name : str
        What the project's configuration and the command line call it.
    title, sentence : str
        What a person reads: its name, and what it is for.
    detector : bool
        Whether it finds lesions one by one (boxes, scores, a mask each) and not a class for every voxel.
    spatial_dims : {3, 2}
        Whether it looks at volumes or at single axial slices.
    """

    name: str
    title: str
    sentence: str
    detector: bool
    spatial_dims: Literal[2, 3]


FAMILIES: dict[str, Family] = {
    each.name: each
    for each in (
        Family("unet", "U-Net", "Draws every class voxel by voxel; for organs and for lesions of any shape.", False, 3),
        Family(
            "nodule-rcnn",
            "Nodule R-CNN",
            "Finds compact lesions one by one in volumes, each with a score, a box and its own outline.",
            True,
            3,
        ),
        Family(
            "mask-rcnn",
            "Mask R-CNN on slices",
            "Finds lesions one by one on axial slices; for scans whose slices lie far apart.",
            True,
            2,
        ),
    )
}


def family(name: str) -> Family:
    """The family called *name*.

    Raises
    ------
    ProjectError
        Where there is none of that name; the hint lists those there are.
    """
    if name not in FAMILIES:
        raise ProjectError(f"There is no network named {name!r}.", f"Choose one of: {', '.join(FAMILIES)}.")
    return FAMILIES[name]
