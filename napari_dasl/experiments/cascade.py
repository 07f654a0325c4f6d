"""The two-network cascade of the liver comparison: the first finds the region, the second segments inside it.

In the paper the first network segments the liver and the second the tumours in it. Most sets have no organ mask, so
here the region is what lies within a margin of a lesion. The first network learns it on whole scans at twice the voxel
size, the second learns the lesions on tumour patches; each has half of the steps.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dasl.curriculum import Pacing, Stage, make_schedule
from napari_dasl.experiments import arms as making
from napari_dasl.experiments.arms import Row
from napari_dasl.experiments.performing import Fitted, evaluated, fit, number_type, told_of
from napari_dasl.networks.families import patch_divisor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_dasl.curriculum.schedule import Schedule
    from napari_dasl.events import CancelCheck, Report
    from napari_dasl.experiments.arms import Protocol, Run
    from napari_dasl.experiments.data import Sample, Split
    from napari_dasl.training.plan import TrainingPlan

COARSER = 2.0
"""Voxel size of the first network against the second's."""


def cascade(
    protocol: Protocol,
    run: Run,
    plan: TrainingPlan,
    dealt: Split,
    tumour: tuple[int, int, int],
    batch: int,
    *,
    report: Report,
    cancelled: CancelCheck,
) -> Row:
    """Train both networks and test them together.

    Parameters
    ----------
    protocol, run
    plan : TrainingPlan
        Of the other arms: whole scans.
    dealt : Split
    tumour : (int, int, int)
        Patch of the second network.
    batch : int
        Its patches per step.
    report, cancelled
        As for training.
    """
    folder = protocol.work / "runs" / run.name
    coarse = coarse_plan(plan)
    regions = [as_regions(sample, protocol.options["margin"], folder) for sample in dealt.train]
    halves = _halves(protocol)
    stages = (
        _only(len(regions), Stage(coarse.patch, coarse.batch, 1.0, "whole")),
        _only(len(regions), Stage(tumour, batch, 1.0, "tumour-patches")),
    )
    fine = making.changed(plan, {"patch": tumour, "batch": batch})
    parts = []
    for name, each, samples, schedule, (steps, minutes) in zip(
        ("region", "lesion"), (coarse, fine), (regions, dealt.train), stages, halves, strict=True
    ):
        parts.append(
            fit(
                *(protocol, each, samples, folder / name),
                schedule=schedule,
                steps=steps,
                minutes=minutes,
                report=report,
                cancelled=cancelled,
            )
        )
    draw = drawing(
        (parts[0].weights, coarse, parts[0].precision), (parts[1].weights, fine, parts[1].precision), protocol.device
    )
    found = evaluated(dealt.test, plan.classes, draw, report=report, cancelled=cancelled)
    both = _together(parts)
    seen = [each.steps * math.prod(part.patch) * part.batch for each, part in zip(parts, (coarse, fine), strict=True)]
    voxels = math.fsum(seen) / max(1, both.steps)
    return Row(
        train=tuple(sample.id for sample in dealt.train),
        voxels=voxels,
        voxels_ratio=voxels / (math.prod(plan.patch) * plan.batch),
        measures={"steps": [part.steps for part in parts], "patches": [list(coarse.patch), list(tumour)]},
        **found,
        **told_of(protocol, run, both, plan.network),
    )


def coarse_plan(plan: TrainingPlan) -> TrainingPlan:
    """The plan of the first network: one class, the region, on whole scans of larger voxels."""
    step = patch_divisor(plan.network, plan.network_options)
    patch = [max(s, math.ceil(side / COARSER / s) * s) for side, s in zip(plan.patch, step, strict=True)]
    return making.changed(
        plan,
        {"classes": ("region",), "spacing": tuple(COARSER * mm for mm in plan.spacing), "patch": patch},
    )


def region(label: NDArray[Any], spacing: Sequence[float], margin: float) -> NDArray[np.uint8]:
    """What lies within *margin* mm of a lesion, the lesion among it; (z, y, x)."""
    from scipy import ndimage

    lesion = np.asarray(label) > 0
    if not lesion.any():
        return np.zeros(lesion.shape, np.uint8)
    return np.asarray(ndimage.distance_transform_edt(~lesion, sampling=spacing) <= margin, np.uint8)


def boxes(mask: NDArray[Any], margin: Sequence[int]) -> list[tuple[slice, slice, slice]]:
    """The box of every part of *mask*, *margin* voxels wider on every side; those that meet are one."""
    from scipy import ndimage

    filled = np.zeros(mask.shape, bool)
    found = ndimage.find_objects(ndimage.label(mask)[0])
    wider, before = tuple(margin), -1
    while before != len(found):  # boxes that meet become the box of both, which may meet others
        before = len(found)
        filled[:] = False
        for box in found:
            filled[tuple(_widened(along, m, n) for along, m, n in zip(box, wider, mask.shape, strict=True))] = True
        wider = (0, 0, 0)
        found = ndimage.find_objects(ndimage.label(filled)[0])
    return [(box[0], box[1], box[2]) for box in found]


def drawing(
    first: tuple[Path, TrainingPlan, str], second: tuple[Path, TrainingPlan, str], device: str
) -> Callable[[NDArray[np.float32], tuple[float, float, float]], NDArray[np.uint8]]:
    """A function that draws a scan with both trained networks, each given by its weights, plan and precision."""
    from napari_dasl.inference import Predictor
    from napari_dasl.training.device import choose
    from napari_dasl.training.weights import load_network

    target = choose(device)
    finder, inside = (
        Predictor(load_network(weights, plan, target), plan, target, number_type(precision))
        for weights, plan, precision in (first, second)
    )
    fine = second[1]

    def draw(image: NDArray[np.float32], spacing: tuple[float, float, float]) -> NDArray[np.uint8]:
        drawn = np.zeros(image.shape[1:], np.uint8)
        near = finder.case(image, spacing).argmax(0) > 0
        # The second network needs its own patch of surroundings to see what it has learnt to see.
        margin = [
            math.ceil(side * mm / have / 4) for side, mm, have in zip(fine.patch, fine.spacing, spacing, strict=True)
        ]
        for box in boxes(near, margin):
            part = inside.case(np.ascontiguousarray(image[(slice(None), *box)]), spacing).argmax(0)
            drawn[box] = np.where(near[box], part, 0)
        return drawn

    return draw


def as_regions(sample: Sample, margin: float, folder: Path) -> Sample:
    """The *sample* with the region as its label, written once to *folder*."""
    from napari_dasl.volumes.masks import write_mask
    from napari_dasl.volumes.reading import read_geometry

    geometry = read_geometry(sample.image)
    path = folder / "regions" / f"{sample.id}.nii.gz"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_mask(path, region(sample.mask(), sample.spacing, margin), geometry)
    return replace(sample, label=path, label_key=f"{sample.label_key}/{sample.values}/region/{margin:g}", values=())


def _widened(along: slice, margin: int, length: int) -> slice:
    return slice(max(0, along.start - margin), min(length, along.stop + margin))


def _only(cases: int, stage: Stage) -> Schedule:
    return make_schedule(np.zeros(cases), "easy", Pacing(), [stage])


def _halves(protocol: Protocol) -> list[tuple[int | None, float | None]]:
    """Steps and minutes of the two trainings: half of the run's each."""
    steps, minutes = protocol.steps, protocol.minutes
    half = None if minutes is None else minutes / 2
    return [(None if steps is None else part, half) for part in ((steps or 0) // 2, (steps or 0) - (steps or 0) // 2)]


def _together(parts: Sequence[Fitted]) -> Fitted:
    """Both trainings as one, the second after the first."""
    first, second = parts
    return replace(
        second,
        steps=first.steps + second.steps,
        seconds=first.seconds + second.seconds,
        cpu=None if first.cpu is None or second.cpu is None else first.cpu + second.cpu,
        losses=(*first.losses, *((step + first.steps, value) for step, value in second.losses)),
    )
