"""Mask R-CNN and a U-Net on axial slices, each slice by itself: what the stroke paper measures, on PET and on MR.

    NAPARI_DASL_DATA=... python benchmarks/slices_mask_rcnn.py --data sts --out build/slices-sts --minutes 20
    NAPARI_DASL_DATA=... python benchmarks/slices_mask_rcnn.py --data ms --out build/slices-ms --minutes 20
    python benchmarks/slices_mask_rcnn.py --images scans --masks masks --modality MR --out build/mine

``sts``: FDG PET of soft-tissue sarcomas; whole patients are dealt to training, tuning and test. ``ms``: one FLAIR scan
of multiple sclerosis. A single scan is cut into blocks of ``--block`` slices, which are dealt to training and test in
turn: no slice is in both, but it is one person, and the slices at the border of two blocks resemble each other.

As in the stroke paper: *detection rate* = slices with anything drawn among the slices that hold a lesion; Dice is the
mean over these slices, 0 where nothing was drawn; HD is the Hausdorff distance in the slice, in mm, over those slices
in which something was drawn. Slices without a lesion are looked at too; the table says in how many of them something
was drawn. Both networks get the same training time. Stopped, the same call goes on.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
from detector_trial import (
    Sample,
    arguments,
    average,
    look,
    machine,
    nothing,
    number,
    predictor_of,
    redraw,
    split,
    store,
    summary,
    write,
)

from napari_dasl.metrics.overlap import dice
from napari_dasl.metrics.surface import distances
from napari_dasl.training import TrainingPlan
from napari_dasl.volumes.formats import kind_of
from napari_dasl.volumes.reading import read

TURNS = ("train", "test", "train", "test", "tune")
COLUMNS = (
    ("slices found", lambda one: number(one["slice_rate"])),
    ("Dice of slices", lambda one: number(one["slice_dice"])),
    ("HD in the slice, mm", lambda one: number(one["slice_hd"], 1)),
    ("healthy slices drawn in", lambda one: number(one["false_slices"])),
)


def pairs(args: argparse.Namespace) -> list[Sample]:
    """Scans with their masks."""
    data = Path(os.environ.get("NAPARI_DASL_DATA", "."))
    if args.images:
        named = [path for path in sorted(args.images.iterdir()) if kind_of(path) and (args.masks / path.name).exists()]
        return [Sample(path.name.split(".")[0], path, args.masks / path.name, numbered=False) for path in named]
    if args.data == "ms":
        home = data / "ms_lesions" / "patient07"
        return [Sample("patient07", home / "FLAIR.nii.gz", home / "lesion_gold.nii.gz", numbered=False)]
    homes = sorted(path.parent for path in (data / "sts_pet_ct_mr").glob("*/PET_image.nii.gz"))
    return [Sample(home.name, home / "PET_image.nii.gz", home / "PET_mask.nii.gz", numbered=False) for home in homes]


def cut(sample: Sample, folder: Path, thickness: int) -> dict[str, list[Sample]]:
    """One scan as blocks of slices, by the part that each is for; blocks without any lesion are left out."""
    volume, mask = read(sample.image), read(sample.truth).array > 0
    ill = np.flatnonzero(mask.any(axis=(1, 2)))
    parts: dict[str, list[Sample]] = {"train": [], "tune": [], "test": []}
    for place, start in enumerate(range(int(ill[0]), int(ill[-1]) + 1, thickness)):
        name, block = f"{sample.id}-{start:03d}", slice(start, start + thickness)
        paths = folder / f"{name}.nii.gz", folder / f"{name}_mask.nii.gz"
        if mask[block].any():
            if not paths[1].exists():
                folder.mkdir(parents=True, exist_ok=True)
                store(paths[0], volume.array[block], volume.spacing)
                store(paths[1], mask[block].astype(np.uint8), volume.spacing)
            parts[TURNS[place % len(TURNS)]].append(Sample(name, *paths, numbered=False))
    return parts


def for_specks(plan: TrainingPlan) -> TrainingPlan:
    """A plan for lesions of two or three pixels that are the brightest of an MR scan, where most are in this set.

    On a grid of half the pixel a network of stride 4 tells one from its surroundings. Small patches show more lesions
    in the same time. Clipping at the 99.5th percentile of the brain (124) would take from lesions what tells them from
    grey matter: a twentieth of their voxels are above 142.
    """
    steps = (plan.spacing[0], plan.spacing[1] / 2, plan.spacing[2] / 2)
    rules = [rule.model_copy(update={"upper": 100.0}) for rule in plan.normalisation]
    changed = {"spacing": steps, "patch": (1, 96, 96), "batch": 8, "foreground": 0.9, "normalisation": rules}
    options = dict(plan.network_options)
    if plan.detector:
        options |= {"anchor_sizes": [2 * size for size in options["anchor_sizes"]], "guided": True, "features": 32}
    return TrainingPlan.model_validate(plan.model_dump() | changed | {"network_options": options})


def slices(truth: np.ndarray, mask: np.ndarray, spacing: tuple[float, float, float]) -> dict[str, Any]:
    """Slice by slice: Dice and HD of those with a lesion, and how many of the others were drawn in."""
    ill, drawn = truth.any(axis=(1, 2)), mask.any(axis=(1, 2))
    return {
        "slice_dices": [dice(truth[k], mask[k]) for k in np.flatnonzero(ill)],
        "slice_hds": [nothing(distances(truth[k], mask[k], spacing[1:]).msd) for k in np.flatnonzero(ill & drawn)],
        "ill": int(ill.sum()),
        "found": int((ill & drawn).sum()),
        "healthy": int((~ill).sum()),
        "false": int((~ill & drawn).sum()),
    }


def over_slices(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures of all slices of all scans together."""
    total = {key: sum(row[key] for row in rows) for key in ("ill", "found", "healthy", "false")}
    return total | {
        "slice_rate": total["found"] / total["ill"] if total["ill"] else None,
        "slice_dice": average([value for row in rows for value in row["slice_dices"]]),
        "slice_hd": average([value for row in rows for value in row["slice_hds"]]),
        "false_slices": total["false"] / total["healthy"] if total["healthy"] else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=("sts", "ms"), default="sts", help="which set in NAPARI_DASL_DATA")
    parser.add_argument("--images", type=Path, help="instead: a folder of scans, one per patient")
    parser.add_argument("--masks", type=Path, help="a folder of masks of the same names")
    parser.add_argument("--modality", choices=("CT", "PET", "MR"))
    parser.add_argument("--test", type=float, default=0.3, help="share of the scans")
    parser.add_argument("--tune", type=float, default=0.15, help="share of the scans")
    parser.add_argument("--block", type=int, default=9, metavar="SLICES", help="in which a single scan is cut")
    arguments(parser, ("mask-rcnn", "unet-2d"), minutes=20.0)
    args = parser.parse_args()
    if args.images and not (args.masks and args.modality):
        parser.error("--images needs --masks and --modality")
    if args.only_figures:
        redraw(args.out, COLUMNS)
        return
    work, modality = args.work or args.out / "work", args.modality or {"sts": "PET", "ms": "MR"}[args.data]
    scans = pairs(args)
    if len(scans) == 1:
        parts = cut(scans[0], work / "blocks", args.block)
        learn, judge, tests = parts["train"], parts["tune"], parts["test"]
    else:
        learn, judge, tests = split({scan.id: [scan] for scan in scans}, args.test, args.tune, args.seed)
    adapt = for_specks if args.data == "ms" and not args.images else lambda plan: plan
    arms = {}
    for network in args.networks:
        predictor, spent = predictor_of(network, learn, judge, work / network, args, modality, adapt)
        rows = look(predictor, tests, work / network / "test", slices)
        arms[network] = summary(rows, spent) | over_slices(rows)
        words = [
            f"{len(learn)} {'blocks of one scan' if len(scans) == 1 else 'scans'} to train, {len(judge)} to tune, "
            f"{len(tests)} to test: {arms[network]['ill']} slices with a lesion, {arms[network]['healthy']} without. "
            + (f"{args.steps} steps for each network." if args.steps else f"{args.minutes:g} minutes of training each.")
        ]
        write(args.out, {"arms": arms, "machine": machine(), "words": words}, words, COLUMNS)


if __name__ == "__main__":
    main()
