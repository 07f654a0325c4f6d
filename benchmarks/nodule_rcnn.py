"""Nodule R-CNN and the U-Net on CT crops with one lung nodule each, tested on patients that they were not trained on.

    NAPARI_DASL_DATA=... python benchmarks/nodule_rcnn.py --out build/nodule_rcnn --minutes 35
    python benchmarks/nodule_rcnn.py --images crops --masks masks --out build/mine --networks nodule-rcnn --steps 2000

Every network gets the same training time on the same scans (or, with ``--steps``, the same number of steps). Patients
are dealt by the seed: ``--test`` of them are the test, ``--tune`` of them tune the detector's thresholds and are not
trained on (the U-Net has none to tune and leaves the same ones out). A scan's patient is its file name up to ``_``.
In each crop the whole mask is one nodule. Dice is that of the whole crop; TP Dice, over detected nodules, and the
detection rate of the drawn label maps are those of ``napari_dasl.metrics.lesions``; FROC, CPM and "detected at ≤ 1
false" count the scored findings by the rule of LUNA16, those below the drawing threshold too. The U-Net scores only
what it drew. Every crop was cut round its nodule, so that whoever always points at the middle of the crop hits the
nodule in every one of 144 that were measured: for detection look at ``planted_nodules.py``. Stopped, the same call
goes on.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from detector_trial import Sample, arguments, look, machine, predictor_of, redraw, split, summary, write

from napari_dasl.volumes.formats import kind_of


def crops(images: Path, masks: Path, limit: int | None) -> dict[str, list[Sample]]:
    """The crops of each patient."""
    groups: dict[str, list[Sample]] = {}
    for path in sorted(images.iterdir()):
        if kind_of(path) and (masks / path.name).exists():
            name = path.name.split(".")[0]
            groups.setdefault(name.split("_")[0], []).append(Sample(name, path, masks / path.name, whole=True))
    return dict(list(groups.items())[:limit])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = Path(os.environ.get("NAPARI_DASL_DATA", "."), "lidc_nodules")
    parser.add_argument("--images", type=Path, default=data / "image", help="a folder of crops")
    parser.add_argument("--masks", type=Path, default=data / "nodule_mask", help="masks of the same names")
    parser.add_argument("--test", type=float, default=0.25, help="share of the patients (default %(default)s)")
    parser.add_argument("--tune", type=float, default=0.1, help="share of the patients (default %(default)s)")
    parser.add_argument("--patients", type=int, help="only so many patients")
    arguments(parser, ("nodule-rcnn", "unet"), minutes=35.0)
    args = parser.parse_args()
    if args.only_figures:
        redraw(args.out)
        return
    groups = crops(args.images, args.masks, args.patients)
    learn, judge, tests = split(groups, args.test, args.tune, args.seed)
    print(
        f"{len(groups)} patients; {len(learn)} crops to train, {len(judge)} to tune, {len(tests)} to test", flush=True
    )
    arms = {}
    for network in args.networks:
        folder = (args.work or args.out / "work") / network
        predictor, spent = predictor_of(network, learn, judge, folder, args, "CT")
        arms[network] = summary(look(predictor, tests, folder / "test"), spent)
        words = [
            f"{len(learn)} crops to train, {len(judge)} to tune, {len(tests)} to test, by patient (seed {args.seed}). "
            + (f"{args.steps} steps for each network." if args.steps else f"{args.minutes:g} minutes of training each.")
            + " The crops are centred on their nodules, so that detection here is easier than in a scan."
        ]
        write(args.out, {"arms": arms, "machine": machine(), "words": words}, words)


if __name__ == "__main__":
    main()
