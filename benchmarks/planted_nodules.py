"""Detection of real nodules planted in real chests and in phantoms: FROC and CPM on planted sets not trained on.

    NAPARI_DASL_DATA=... python benchmarks/planted_nodules.py --out build/planted --minutes 35
    python benchmarks/planted_nodules.py --chests folder --images crops --masks masks --out build/mine

``--chests`` holds one folder per chest CT with ``ct.*``, lung masks ``mask_Lung*`` and, where there is one, the tumour
``mask_GTV*``. Each lung is cut into blocks of at most ``--block`` mm along the body, without the slices that show the
tumour beside it; a *scan* here is one block with 10 mm of what lies beside the lung. With two chests or more, whole
chests are dealt to training and test. With a single one, the lung of the larger mask is trained on and the other is the
test: no voxel and no position is in both, but it is one person, so the test says nothing about other people's lungs,
and the same background comes back in several test scans.

The nodules come from the LIDC crops: those that lie free in aerated lung (the border would bring a piece of pleura or
vessel along) and are no larger than ``--largest``; whole patients are dealt to training, tuning and test. Each scan
gets ``--nodules`` of them at random places inside the lung, further apart than their own size. The phantoms are those
of ``napari_dasl.phantoms`` (other seeds for the test); their own nodules are trained on, and excluded in the test as
LUNA16 excludes lesions: neither right nor wrong. Small nodules that a chest already had are unknown and count as false.

Scans, truth and ``manifest.json`` (what was planted where) are written once, to ``--work``. Stopped, the same call goes
on.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from detector_trial import Sample, arguments, look, machine, predictor_of, redraw, split, store, summary, write
from nodule_rcnn import crops
from scipy import ndimage

from napari_dasl import phantoms
from napari_dasl.phantoms.planting import Nodule, aerated_share, clear, pick_place, plant, room
from napari_dasl.project.instances import number_lesions
from napari_dasl.volumes.reading import read

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_dasl.volumes.volume import Volume

PARTS = ("train", "tune", "test")
MARGIN_MM = 10.0


@dataclass(frozen=True)
class Ground:
    """Something to plant in: HU, where nodules may lie, and lesions that are there already."""

    name: str
    image: np.ndarray
    allowed: np.ndarray
    spacing: tuple[float, float, float]
    known: np.ndarray


def chests(folder: Path, block_mm: float) -> dict[str, dict[str, list[Ground]]]:
    """The blocks of each lung of each chest, by chest and lung; the larger lung comes first."""
    found: dict[str, dict[str, list[Ground]]] = {}
    for home in sorted({path.parent for path in folder.rglob("mask_Lung*")}):
        volume = read(next(iter(sorted(home.glob("ct.*")))))
        tumour = np.zeros(volume.shape, bool)
        for path in home.glob("mask_GTV*"):
            tumour |= read(path).array > 0
        lungs = {path.name.split(".")[0]: read(path).array > 0 for path in home.glob("mask_Lung*")}
        found[home.name] = {
            lung: list(blocks(f"{home.name} {lung}", volume, lungs[lung], tumour, block_mm))
            for lung in sorted(lungs, key=lambda lung: -np.count_nonzero(lungs[lung]))
        }
    return found


def blocks(name: str, volume: Volume, lung: np.ndarray, tumour: np.ndarray, block_mm: float) -> Iterator[Ground]:
    """Cut one lung into blocks, leaving out slices that show the tumour, and what is thinner than 40 mm."""
    spacing = volume.spacing
    pad = [int(np.ceil(MARGIN_MM / step)) for step in spacing[1:]]
    rows, columns = (np.flatnonzero(lung.any(axis=axes)) for axes in ((0, 2), (0, 1)))
    within = (
        slice(max(0, int(rows[0]) - pad[0]), int(rows[-1]) + pad[0] + 1),
        slice(max(0, int(columns[0]) - pad[1]), int(columns[-1]) + pad[1] + 1),
    )
    runs, count = ndimage.label(lung.any(axis=(1, 2)) & ~tumour[:, *within].any(axis=(1, 2)))
    for run in range(1, count + 1):
        slices = np.flatnonzero(runs == run)
        for piece in np.array_split(slices, int(np.ceil(len(slices) * spacing[0] / block_mm))):
            if len(piece) * spacing[0] >= 40.0:
                part = (slice(int(piece[0]), int(piece[-1]) + 1), *within)
                image, inside = volume.array[part].copy(), lung[part].copy()
                yield Ground(f"{name} {piece[0]:03d}", image, inside, spacing, np.zeros(image.shape, np.uint16))


def phantom(seed: int) -> Ground:
    """A CT phantom: lung is what is neither air nor tissue after smoothing, away from its own nodules."""
    made = phantoms.make("ct", seed)
    smooth = ndimage.gaussian_filter(made.image.astype(np.float32), 1.0)
    lung = ndimage.binary_opening((smooth > -960) & (smooth < -600), iterations=2)
    known, _ = number_lesions(made.label)
    away = ndimage.distance_transform_edt(known == 0, sampling=made.spacing)
    return Ground(f"phantom-{seed}", made.image, lung & (away > 4.0), made.spacing, known.astype(np.uint16))


def free_nodules(images: Path, masks: Path, largest: float, limit: int | None) -> dict[str, list[Sample]]:
    """Crops whose nodule lies free in the lung, by patient."""
    groups: dict[str, list[Sample]] = {}
    for patient, samples in crops(images, masks, limit).items():
        for sample in samples:
            nodule = loaded(sample)
            if nodule.mask.any() and 2 * nodule.reach <= largest and aerated_share(nodule) >= 0.75:
                groups.setdefault(patient, []).append(sample)
    return groups


def loaded(sample: Sample) -> Nodule:
    volume = read(sample.image)
    return Nodule(volume.array, read(sample.truth).array > 0, volume.spacing)


def filled(
    ground: Ground, samples: Sequence[Sample], count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, list[dict[str, Any]]]:
    """The ground with up to *count* nodules in it, the id map (known lesions first), and what was planted where."""
    image, ids, planted = ground.image, ground.known.copy(), []
    depth = room(ground.allowed, ground.spacing)
    for pick in rng.permutation(len(samples))[:count]:
        nodule = loaded(samples[pick])
        # A voxel more than its reach: resampled to thick slices, a nodule may gain one at its ends.
        place = pick_place(rng, depth, nodule.reach + max(ground.spacing))
        if place is None:
            continue
        image, mask = plant(image, ground.spacing, nodule, place)
        ids[mask] = ids.max() + 1
        clear(depth, ground.spacing, place, nodule.reach)
        planted.append({"nodule": samples[pick].id, "voxel": list(place), "id": int(ids.max())})
    return image, ids, planted


def make(
    folder: Path,
    grounds: Sequence[Ground],
    samples: Sequence[Sample],
    count: int,
    about: Sequence[int],
    seed: int,
    test: bool,
) -> list[Sample]:
    """Write *count* scans with their truth, unless they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = folder / "manifest.json"
    if not listed.exists():
        rng, told = np.random.default_rng(seed), []
        for number in range(count):
            ground = grounds[number % len(grounds)]
            name = f"{folder.name}-{number:03d}"
            image, ids, planted = filled(ground, samples, int(rng.integers(about[0], about[1] + 1)), rng)
            store(folder / f"{name}.nii.gz", image.astype(np.int16), ground.spacing)
            store(folder / f"{name}_truth.nii.gz", ids, ground.spacing)
            known = [int(k) for k in np.unique(ground.known) if k]
            told.append({"id": name, "ground": ground.name, "planted": planted, "known": known})
        listed.write_text(json.dumps(told, indent=1))
    return [
        Sample(
            one["id"],
            folder / f"{one['id']}.nii.gz",
            folder / f"{one['id']}_truth.nii.gz",
            excluded=tuple(one["known"]) if test else (),
        )
        for one in json.loads(listed.read_text())
    ]


def dealt(found: dict[str, dict[str, list[Ground]]], seed: int) -> tuple[list[Ground], list[Ground]]:
    """Blocks to train on and blocks to test on: other chests where there are several, else the other lung."""
    if len(found) > 1:
        names = [sorted(found)[i] for i in np.random.default_rng(seed).permutation(len(found))]
        held = names[: max(1, len(names) // 3)]
        parts = [
            [b for n in found for lung in found[n].values() for b in lung if (n in held) == out]
            for out in (False, True)
        ]
    else:
        lungs = [lung for chest in found.values() for lung in chest.values()]
        parts = [lungs[0], [block for lung in lungs[1:] for block in lung]] if lungs else [[], []]
    return parts[0], parts[1]


def sets(args: argparse.Namespace, work: Path) -> dict[str, list[Sample]]:
    """Every set of scans, made where it is not there."""
    wanted = {"chest": args.chest_scans, "phantom": args.phantom_scans}
    names = [f"{kind}-{part}" for kind in wanted for part in PARTS]
    nodules: Sequence[list[Sample]] = ([], [], [])
    learn, tests = [], []
    if not all((work / name / "manifest.json").exists() for name in names):
        nodules = split(free_nodules(args.images, args.masks, args.largest, args.patients), 0.3, 0.1, args.seed)
        print("free nodules: " + ", ".join(f"{len(n)} {p}" for n, p in zip(nodules, PARTS, strict=True)), flush=True)
        learn, tests = dealt(chests(args.chests, args.block), args.seed)
        print(f"blocks to train on: {[b.name for b in learn]}; to test on: {[b.name for b in tests]}", flush=True)
    made = {}
    for kind, counts in wanted.items():
        for place, part in enumerate(PARTS):
            name, test = f"{kind}-{part}", part == "test"
            ground = [] if (work / name / "manifest.json").exists() else (tests if test else learn)
            if kind == "phantom" and not (work / name / "manifest.json").exists():
                ground = [phantom(1000 * place + number) for number in range(counts[place])]
            seed = 100 * args.seed + 10 * place + (kind == "phantom")
            count = counts[place] if ground or (work / name / "manifest.json").exists() else 0
            made[name] = make(work / name, ground, nodules[place], count, args.nodules, seed, test)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = Path(os.environ.get("NAPARI_DASL_DATA", "."))
    parser.add_argument("--chests", type=Path, default=data / "lung_ct", help="folders of chest CT with lung masks")
    parser.add_argument("--images", type=Path, default=data / "lidc_nodules" / "image", help="nodule crops")
    parser.add_argument("--masks", type=Path, default=data / "lidc_nodules" / "nodule_mask")
    parser.add_argument("--patients", type=int, help="nodules of only so many patients")
    parser.add_argument("--largest", type=float, default=30.0, metavar="MM", help="widest nodule, 30 by default")
    parser.add_argument("--block", type=float, default=120.0, metavar="MM", help="height of a block, 120 by default")
    parser.add_argument("--nodules", type=int, nargs=2, default=[3, 6], metavar=("FROM", "TO"), help="in each scan")
    parser.add_argument("--chest-scans", type=int, nargs=3, default=[36, 6, 16], metavar=("TRAIN", "TUNE", "TEST"))
    parser.add_argument("--phantom-scans", type=int, nargs=3, default=[24, 4, 16], metavar=("TRAIN", "TUNE", "TEST"))
    arguments(parser, ("nodule-rcnn",), minutes=35.0)
    args = parser.parse_args()
    if args.only_figures:
        redraw(args.out)
        return
    work = args.work or args.out / "work"
    made = sets(args, work / "scans")
    learn, judge = ([s for kind in ("chest", "phantom") for s in made[f"{kind}-{part}"]] for part in PARTS[:2])
    arms = {}
    for network in args.networks:
        predictor, spent = predictor_of(network, learn, judge, work / network, args, "CT")
        rows: list[dict[str, Any]] = []
        for kind, where in (("chest", "the chest"), ("phantom", "phantoms")):
            mine = look(predictor, made[f"{kind}-test"], work / network / f"{kind}-test")
            rows += mine
            if mine:
                arms[f"{network}, {where}"] = summary(mine, spent)
        arms[f"{network}, all"] = summary(rows, spent)
        planted = {name: len(samples) for name, samples in made.items()}
        words = [
            f"Scans: {', '.join(f'{count} {name}' for name, count in planted.items())}; "
            f"{arms[f'{network}, all']['lesions']} planted nodules in the test. "
            "A scan is a block of one lung, or a phantom."
        ]
        write(args.out, {"arms": arms, "machine": machine(), "words": words}, words)


if __name__ == "__main__":
    main()
