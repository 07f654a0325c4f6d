"""The networks a project can choose from, in words. Nothing here imports torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence  # noqa: TC003
from dataclasses import dataclass, field
from typing import Any, Literal

from napari_dasl.errors import ProjectError

Triple = tuple[int, int, int]
Compute = Literal["cpu", "cuda"]


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
    divisor : int
        What every side of a patch must be a multiple of; 0 where that is the product of its strides
        (:func:`patch_divisor`).
    strides : tuple of int
        Those it is built with where its options have none; empty for a network that takes none.
    width, widest : int
        For a network whose levels the training plan lays out: features of the finest level, doubled at each coarser
        one, and never more than the second. 0 where its options are complete.
    sized : bool
        Whether it is built for the largest patch of the plan: the option ``img_size``.
    options : mapping
        Of a new plan for a processor and for a GPU, beside those that the plan works out.
    voxel_bytes : mapping
        What one patch voxel costs in training with these options, in single precision, on a processor and on a GPU:
        the maps kept for the backward pass, counted, and half as much again for what else is alive.
    fixed_mb : mapping
        What its weights cost, with gradients, moments and average: 20 bytes each. 0 where that is little.
    """

    name: str
    title: str
    sentence: str
    detector: bool
    spatial_dims: Literal[2, 3]
    divisor: int = 0
    strides: tuple[int, ...] = ()
    width: int = 0
    widest: int = 0
    sized: bool = False
    options: Mapping[Compute, Mapping[str, Any]] = field(default_factory=dict, compare=False)
    voxel_bytes: Mapping[Compute, int] = field(default_factory=dict, compare=False)
    fixed_mb: Mapping[Compute, int] = field(default_factory=dict, compare=False)


FAMILIES: dict[str, Family] = {
    each.name: each
    for each in (
        Family(
            "unet",
            "U-Net",
            "Draws every class voxel by voxel; for organs and for lesions of any shape.",
            False,
            3,
            strides=(2, 2, 2),
            width=32,
            widest=320,
            voxel_bytes={"cpu": 500, "cuda": 3500},
        ),
        Family(
            "nodule-rcnn",
            "Nodule R-CNN",
            "Finds compact lesions one by one in volumes, each with a score, a box and its own outline.",
            True,
            3,
            divisor=16,
        ),
        Family(
            "mask-rcnn",
            "Mask R-CNN on slices",
            "Finds lesions one by one on axial slices; for scans whose slices lie far apart.",
            True,
            2,
            divisor=16,
        ),
        Family(
            "residual-se-unet",
            "Residual SE U-Net",
            "Draws every class voxel by voxel and weighs what it sees by the whole patch; for tumours on PET.",
            False,
            3,
            strides=(1, 2, 2, 2, 2),
            width=24,
            widest=384,
            options={"cpu": {"norm": "batch", "squeeze": "max"}, "cuda": {"norm": "batch", "squeeze": "max"}},
            voxel_bytes={"cpu": 530, "cuda": 4800},
        ),
        Family(
            "unetr",
            "UNETR",
            "Draws every class voxel by voxel with a transformer that sees the whole patch at once; wants a GPU.",
            False,
            3,
            divisor=16,
            sized=True,
            options={
                "cpu": {"features": 8, "hidden": 192, "mlp": 768, "heads": 6},
                "cuda": {"features": 16, "hidden": 768, "mlp": 3072, "heads": 12},
            },
            voxel_bytes={"cpu": 850, "cuda": 1900},
            fixed_mb={"cpu": 140, "cuda": 1860},
        ),
        Family(
            "swin-unetr",
            "SwinUNETR",
            "Draws every class voxel by voxel with a transformer of shifting windows; slow without a GPU.",
            False,
            3,
            divisor=32,
            options={"cpu": {"features": 12, "window": 4}, "cuda": {"features": 24, "window": 7}},
            voxel_bytes={"cpu": 1900, "cuda": 5400},
            fixed_mb={"cpu": 80, "cuda": 310},
        ),
        Family(
            "unet-2d",
            "U-Net on slices",
            "Draws every class on each axial slice by itself; for scans whose slices lie far apart.",
            False,
            2,
            strides=(1, 2, 2, 2, 2),
            options={
                "cpu": {"channels": [16, 32, 64, 128, 256], "strides": [1, 2, 2, 2, 2]},
                "cuda": {"channels": [32, 64, 128, 256, 512], "strides": [1, 2, 2, 2, 2]},
            },
            voxel_bytes={"cpu": 2600, "cuda": 5100},
            fixed_mb={"cpu": 75, "cuda": 300},
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


def patch_divisor(name: str, options: Mapping[str, Any]) -> Triple:
    """What the sides (z, y, x) of a patch must be multiples of, for the network *name* built with *options*.

    A network of slices takes patches one slice thick.

    Raises
    ------
    ProjectError
        Where there is no such network, or a stride has not one number for each axis.
    """
    chosen = family(name)
    dims = int(options.get("spatial_dims", chosen.spatial_dims))
    if chosen.divisor:
        sides = [chosen.divisor] * dims
    else:
        steps = [_per_axis(stride, dims) for stride in options.get("strides", chosen.strides)]
        sides = [math.prod(step[axis] for step in steps) for axis in range(dims)]
    return (1, sides[0], sides[1]) if dims == 2 else (sides[0], sides[1], sides[2])


def _per_axis(stride: Sequence[int] | int, dims: int) -> list[int]:
    found = [stride] * dims if isinstance(stride, int) else [int(s) for s in stride]
    if len(found) != dims:
        raise ProjectError(
            f"The stride {found} has {len(found)} numbers for {dims} axes.",
            "Correct network_options in the training plan.",
        )
    return found
