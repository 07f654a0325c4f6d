"""The annotation loop on a labelled data set, through the command line as a person types it; the truth annotates.

    python benchmarks/annotation_loop.py --images DIR --labels DIR --modality MR --annotated 24 --query 8 --seed 0

Without folders it takes the hippocampus set below NAPARI_DASL_DATA.

Each round: `round`, `evaluate --split pool`, `rank`, and `label` for the first scans of the list. The Dice is the mean
over the scans that were unlabelled when the round began; from the second round on it stands beside what the model of
the round before reached on the very same scans. With --annotated 0 every scan but the guard set is labelled, and the
guard set is compared.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def call(*words: object) -> Any:
    """Run one verb with --json and return its document."""
    command = [sys.executable, "-m", "napari_dasl.cli", *map(str, words), "--json", "--quiet"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, words))} ended with {done.returncode}")
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    data = Path(os.environ.get("NAPARI_DASL_DATA", "."), "hippocampus")
    parser.add_argument("--images", type=Path, default=data / "imagesTr")
    parser.add_argument("--labels", type=Path, default=data / "labelsTr")
    parser.add_argument("--modality", choices=("CT", "PET", "MR"), default="MR")
    parser.add_argument("--classes", default=None)
    parser.add_argument("--annotated", type=int, default=24)
    parser.add_argument("--query", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=None)
    parser.add_argument("--by", default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=None, help="make the project here and keep it")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="napari-dasl-loop-") as scratch:
        study = args.keep or Path(scratch) / "study"
        made = call(
            *("init", study, "--images", args.images, "--labels", args.labels, "--modality", args.modality),
            *(("--classes", args.classes) if args.classes else ()),
            *(("--annotated", args.annotated) if args.annotated else ()),
            *("--seed", args.seed),
        )
        print(
            f"{made['cases']} cases, {made['annotated']} labelled, {made['guard']} guard, seed {args.seed}", flush=True
        )
        split = ("--split", "pool", "--truth", args.labels) if args.annotated else ("--split", "guard")
        before: dict[str, float] = {}
        for number in range(1, args.rounds + 1):
            begun = time.monotonic()
            done = call("round", study, *(("--steps", args.steps) if args.steps else ()))
            took = time.monotonic() - begun
            found = call("evaluate", study, *split)
            mean = found["mean"]
            now = {row["case"]: row["dice"] for row in found["cases"] if row["dice"] is not None}
            earlier = [before[case] for case in now if case in before]
            print(f"round {number}: trained on {done['trained_on']['human']} scans in {took:.0f} s, {done['sentence']}")
            print(
                f"  {found['n']} cases: Dice {mean['dice']:.4f} (SD {mean['dice_std']:.3f})"
                + (f", before {sum(earlier) / len(earlier):.4f} on the same" if earlier else "")
                + f"; HD95 {mean['hd95']:.2f} mm, detection rate {mean['detection_rate']:.3f}, "
                f"TP Dice {mean['tp_dice']:.3f}, misses {found['misses']}",
                flush=True,
            )
            before = now
            if number < args.rounds:
                ranked = call("rank", study, "--top", args.query, *(("--by", args.by) if args.by else ()))
                for row in ranked:
                    call("label", study, row["case"], mask_of(args.labels, row["case"]), "--author", "truth")
                print(f"labelled {', '.join(row['case'] for row in ranked)}", flush=True)


def mask_of(folder: Path, case: str) -> Path:
    """The mask of a case: a file of its name, or the PET mask in a folder of its name."""
    flat = folder / f"{case}.nii.gz"
    return flat if flat.exists() else folder / case / "PET_mask.nii.gz"


if __name__ == "__main__":
    main()
