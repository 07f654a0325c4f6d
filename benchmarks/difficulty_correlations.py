"""The measures of difficulty beside what readers call subtle, and beside what networks achieve on it.

    NAPARI_DASL_DATA=... python benchmarks/difficulty_correlations.py --out docs/experiments/difficulty-lidc
    python benchmarks/difficulty_correlations.py --images crops --masks masks --metadata table.xlsx --out build/mine

CT crops with one lung nodule each. Spearman's ρ of every measure (rising with hardness) with the readers' subtlety (1
extremely subtle to 5 obvious, as the metadata vote) and with the Dice that a network achieves on the nodule. Patients
are dealt into ``--folds``, a U-Net is trained on the others, and a nodule is measured by the one that has not seen its
patient. This is done twice, with other folds and another seed: losses and uncertainty are those of the first set of
networks, Dice that of the second, so that no network is compared with itself. The gradient score is what a trained
network still learns from a nodule it was trained on: the mean over the folds of the first set that hold it, each from
``--gradient-epochs`` passes (the paper has 5 times 100; 0 leaves it out). Intervals (95 %) are percentiles over
resampled patients. One mask per nodule is there, so that the agreement of readers cannot be measured; the metadata have
one vote per nodule. Stopped, the same call goes on; ``--only-figures`` draws what is there.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np
import torch
from detector_trial import Sample, machine
from nodule_rcnn import crops
from scipy.stats import rankdata

from napari_dasl.active import least_confident_map, region_mask
from napari_dasl.curriculum import fisher_contrast, lesion_size, signal_intensity
from napari_dasl.curriculum.difficulty import SCORERS, difficulty
from napari_dasl.events import Log
from napari_dasl.metrics.overlap import dice
from napari_dasl.rounds import models
from napari_dasl.scoring import case_losses, gradient
from napari_dasl.training import Budget, Cache, TrainingPlan, derive, measure, train
from napari_dasl.volumes.reading import read

if TYPE_CHECKING:
    from collections.abc import Sequence

SETS = ("scores", "dice")
MEASURED = ("size", "contrast", "intensity", "uncertainty", "bootstrapping", "self-paced", "gradient")
RESAMPLES = 1000
_SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = Path(os.environ.get("NAPARI_DASL_DATA", "."), "lidc_nodules")
    parser.add_argument("--images", type=Path, default=data / "image", help="a folder of crops")
    parser.add_argument("--masks", type=Path, default=data / "nodule_mask", help="masks of the same names")
    parser.add_argument("--metadata", type=Path, default=data / "MetadatabyNoduleMaxVoting.xlsx")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, help="where networks and predictions are kept; <out>/work by default")
    parser.add_argument("--patients", type=int, help="only so many patients")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--gradient-epochs", type=int, default=2, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--only-figures", action="store_true", help="draw what a result.json in --out says")
    args = parser.parse_args()
    if args.only_figures:
        write(args.out, json.loads((args.out / "result.json").read_text()))
        return
    groups = crops(args.images, args.masks, args.patients)
    samples = [sample for group in groups.values() for sample in group]
    work = args.work or args.out / "work"
    told = {name: looked_at(name, groups, args, work, number) for number, name in enumerate(SETS)}
    votes = subtlety(args.metadata)
    gains = gained(groups, args, work) if args.gradient_epochs else {}
    rows = [row(sample, told, votes, gains) for sample in samples]
    settings = {key: getattr(args, key) for key in ("folds", "steps", "seed", "gradient_epochs")}
    settings["patients"] = len(groups)
    write(args.out, {"rows": rows, "table": table(rows, args.seed), "settings": settings, "machine": machine()})


def dealt(
    groups: dict[str, list[Sample]], args: argparse.Namespace, number: int
) -> list[tuple[list[Sample], list[Sample]]]:
    """For each fold of a set of networks, the crops to learn from and those to look at."""
    people = [sorted(groups)[i] for i in np.random.default_rng((args.seed + number, number)).permutation(len(groups))]
    found = []
    for fold in range(args.folds):
        held = set(people[fold :: args.folds])
        learn = [sample for one in sorted(groups) if one not in held for sample in groups[one]]
        found.append((learn, [sample for one in sorted(held) for sample in groups[one]]))
    return found


def gained(groups: dict[str, list[Sample]], args: argparse.Namespace, work: Path) -> dict[str, float]:
    """The gradient score of each crop, the mean over the folds of the first set that learnt from it."""
    found: dict[str, list[float]] = {}
    for fold, (learn, _) in enumerate(dealt(groups, args, 0)):
        folder = work / SETS[0] / str(fold)
        plan = TrainingPlan.from_file(folder / "plan.toml")
        values = gradient(
            plan,
            [sample.case(instances=False) for sample in learn],
            folder,
            cache=Cache(folder / "cache", plan),
            weights=folder / "weights.safetensors",
            repeats=1,
            epochs=args.gradient_epochs,
            device=args.device,
            report=say,
        )
        for sample, value in zip(learn, values.tolist(), strict=True):
            found.setdefault(sample.id, []).append(value)
    return {name: float(np.mean(values)) for name, values in found.items()}


def looked_at(
    name: str, groups: dict[str, list[Sample]], args: argparse.Namespace, work: Path, number: int
) -> dict[str, dict[str, float]]:
    """What a set of networks says of the nodules it has not seen, by crop; each fold from its file if it is there."""
    found: dict[str, dict[str, float]] = {}
    for fold, (learn, tests) in enumerate(dealt(groups, args, number)):
        folder = work / name / str(fold)
        if not (folder / "told.json").exists():
            told = one_fold(learn, tests, folder, args, args.seed + number)
            (folder / "told.json").write_text(json.dumps(told))
        found |= json.loads((folder / "told.json").read_text())
    return found


def one_fold(
    learn: Sequence[Sample], tests: Sequence[Sample], folder: Path, args: argparse.Namespace, seed: int
) -> dict[str, dict[str, float]]:
    cases = [sample.case(instances=False) for sample in learn]
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "plan.toml").exists():
        found = measure(cases, channels=("image",), classes=("nodule",))
        small(derive(found, modality="CT", seed=seed)).to_file(folder / "plan.toml")
    plan, model = TrainingPlan.from_file(folder / "plan.toml"), folder / "model"
    if not (model / "plan.toml").exists():
        print(f"{folder.parent.name} {folder.name}: {len(learn)} crops to learn from, {len(tests)} to look at")
        budget, cache = Budget(steps=args.steps), Cache(folder / "cache", plan)
        done = train(plan, cases, folder, cache=cache, resume=True, budget=budget, device=args.device, report=say)
        models.keep(model, done.weights, plan, args.device)
    predictor = models.predictor(model, args.device)
    wanted = [sample.case(instances=False) for sample in tests]
    losses = {kind: case_losses(predictor, wanted, against=kind) for kind in ("target", "prediction")}
    told = {}
    for place, (sample, case) in enumerate(zip(tests, wanted, strict=True)):
        image = case.image()
        probability = predictor.case(image, case.spacing)
        lesion = region_mask(probability, image, "lesion", case.spacing)
        told[sample.id] = {
            "dice": dice(sample.ids() > 0, probability.argmax(axis=0) > 0),
            "uncertainty": float(least_confident_map(probability)[lesion].mean()),
            "bootstrapping": float(losses["target"][place]),
            "self-paced": float(losses["prediction"][place]),
        }
    return told


def small(plan: TrainingPlan) -> TrainingPlan:
    """The plan that one core trains in about half a minute: that of ``dasl_experiment.py``."""
    levels = len(plan.network_options["strides"])
    options = {**plan.network_options, "channels": [min(16 * 2**level, 64) for level in range(levels)]}
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    changed = {"network_options": options, "batch": 2, "learning_rate": 0.01, "average": 0.98}
    return TrainingPlan.model_validate(plan.model_dump() | changed | {"precision": "bf16" if fast else "fp32"})


def say(event: object) -> None:
    if isinstance(event, Log):
        print(event.text, flush=True)


def subtlety(path: Path) -> dict[str, int]:
    """The readers' vote by nodule, ``<patient>_<nodule>``, of the sheet's columns of these names."""
    with zipfile.ZipFile(path) as book:
        texts = ["".join(one.itertext()) for one in ElementTree.fromstring(book.read("xl/sharedStrings.xml"))]
        sheet = ElementTree.fromstring(book.read("xl/worksheets/sheet1.xml"))
    rows = []
    for line in sheet.iter(f"{_SHEET}row"):
        cells = {}
        for cell in line:
            value = cell.find(f"{_SHEET}v")
            if value is not None and value.text is not None:
                column = re.sub(r"\d", "", cell.get("r", ""))
                cells[column] = texts[int(value.text)] if cell.get("t") == "s" else value.text
        rows.append(cells)
    where = {name: column for column, name in rows[0].items()}
    keys = [where[name] for name in ("patient_id", "nodule_id", "Subtlety_value")]
    told = [[cells[key] for key in keys] for cells in rows[1:] if all(key in cells for key in keys)]
    return {f"{patient}_{int(float(nodule))}": int(float(vote)) for patient, nodule, vote in told}


def row(
    sample: Sample, told: dict[str, dict[str, dict[str, float]]], votes: dict[str, int], gains: dict[str, float]
) -> dict[str, Any]:
    """All figures of one nodule. A crop is called ``<patient>_<side>_<nodule>``."""
    volume, mask = read(sample.image), sample.ids() > 0
    image, parts = volume.array.astype(np.float32), sample.id.split("_")
    scores = told["scores"][sample.id]
    return {
        "case": sample.id,
        "patient": parts[0],
        "subtlety": votes.get(f"{parts[0]}_{parts[-1]}"),
        "dice": told["dice"][sample.id]["dice"],
        "size": lesion_size(mask, volume.spacing),
        "contrast": fisher_contrast(image, mask, volume.spacing),
        "intensity": signal_intensity(image, mask),
        **{key: scores[key] for key in ("uncertainty", "bootstrapping", "self-paced")},
        "gradient": gains.get(sample.id),
    }


def table(rows: list[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    """Spearman's ρ of each measure with subtlety, with Dice, and with Dice at equal size."""
    drawn = resampled([one["patient"] for one in rows], seed)
    size = difficulty([one["size"] for one in rows], "size")
    found = []
    for name in MEASURED:
        hard = difficulty([one[name] for one in rows], name)
        for against in ("subtlety", "dice"):
            other = np.array([np.nan if one[against] is None else one[against] for one in rows])
            values = [one for places in drawn if np.isfinite(one := rho(hard[places], other[places]))]
            low, high = np.percentile(values, (2.5, 97.5)) if values else (np.nan, np.nan)
            apart = None if name == "size" else known(partial(hard, other, size))
            found.append(
                {
                    "scorer": name,
                    "against": against,
                    "rho": known(rho(hard, other)),
                    "low": known(float(low)),
                    "high": known(float(high)),
                    "n": int(np.isfinite(hard + other).sum()),
                    "given_size": apart,
                }
            )
    return found


def known(value: float) -> float | None:
    return value if np.isfinite(value) else None


def resampled(patients: Sequence[str], seed: int) -> list[np.ndarray]:
    """Places of the rows of patients drawn with replacement: nodules of one patient are not independent."""
    rng, where = np.random.default_rng(seed), {}
    for place, one in enumerate(patients):
        where.setdefault(one, []).append(place)
    mine = list(where.values())
    return [np.concatenate([mine[i] for i in rng.integers(0, len(mine), len(mine))]) for _ in range(RESAMPLES)]


def rho(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's ρ over the places where both are finite."""
    both = np.isfinite(a) & np.isfinite(b)
    if both.sum() < 3 or np.ptp(a[both]) == 0 or np.ptp(b[both]) == 0:
        return float("nan")
    return float(np.corrcoef(rankdata(a[both]), rankdata(b[both]))[0, 1])


def partial(a: np.ndarray, b: np.ndarray, given: np.ndarray) -> float:
    """Spearman's ρ of *a* and *b* at equal ranks of *given*: most measures follow the size of the lesion."""
    ab, ag, bg = rho(a, b), rho(a, given), rho(b, given)
    return (ab - ag * bg) / float(np.sqrt((1 - ag**2) * (1 - bg**2)))  # NaN where one of them never varies


def write(out: Path, found: dict[str, Any]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "result.json").write_text(json.dumps(found, indent=1))
    with (out / "nodules.csv").open("w", newline="") as file:
        sheet = csv.DictWriter(file, list(found["rows"][0]), lineterminator="\n")
        sheet.writeheader()
        sheet.writerows(found["rows"])
    (out / "table.md").write_text(markdown(found))
    figure(out / "correlations.png", found["rows"])
    print((out / "table.md").read_text(), flush=True)


def markdown(found: dict[str, Any]) -> str:
    settings, lookup = found["settings"], {(one["scorer"], one["against"]): one for one in found["table"]}
    voted = sum(one["subtlety"] is not None for one in found["rows"])
    lines = [
        f"{len(found['rows'])} nodules of {settings['patients']} patients, {voted} with a vote on subtlety. "
        f"{settings['folds']} folds by patient, {settings['steps']} steps for each U-Net; Dice and scores come from "
        "different networks. Spearman's ρ with 95 % intervals over patients; every measure rises with hardness, and "
        "subtlety and Dice fall, so that agreement is negative. In brackets ρ at equal lesion size. There is one mask "
        "per nodule, so that the agreement of readers cannot be measured.",
        "",
        "| measure | with subtlety | with Dice |",
        "|---|---|---|",
    ]
    for name in MEASURED:
        cells = [cell(lookup[name, against]) for against in ("subtlety", "dice")]
        lines.append(f"| {SCORERS[name].title} (`{name}`) | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def cell(one: dict[str, Any]) -> str:
    if one["rho"] is None:
        return "–"
    apart = "" if one["given_size"] is None else f" [{one['given_size']:+.2f}]"
    bounds = "" if one["low"] is None else f" ({one['low']:+.2f} to {one['high']:+.2f})"
    return f"{one['rho']:+.3f}{bounds}{apart}".replace("-", "−")


def figure(path: Path, rows: list[dict[str, Any]]) -> None:
    """Above: ranks of difficulty by subtlety. Below: Dice against ranks of difficulty."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    drawing, axes = pyplot.subplots(
        2, len(MEASURED), figsize=(2.6 * len(MEASURED), 5.6), sharey="row", layout="constrained"
    )
    dices = np.array([one["dice"] for one in rows])
    for column, name in enumerate(MEASURED):
        ranks = rankdata(difficulty([one[name] for one in rows], name)) / len(rows)
        by_vote = [
            [rank for rank, one in zip(ranks, rows, strict=True) if one["subtlety"] == vote] for vote in range(1, 6)
        ]
        axes[0, column].boxplot(by_vote, tick_labels=["1", "2", "3", "4", "5"], showfliers=False)
        axes[0, column].set(title=SCORERS[name].title, xlabel="subtlety (5 is obvious)")
        axes[1, column].plot(ranks, dices, ".", markersize=3, alpha=0.5)
        axes[1, column].set(xlabel="difficulty, rank")
    axes[0, 0].set_ylabel("difficulty, rank")
    axes[1, 0].set_ylabel("Dice of networks that had no part")
    drawing.savefig(path, dpi=120)
    pyplot.close(drawing)


if __name__ == "__main__":
    main()
