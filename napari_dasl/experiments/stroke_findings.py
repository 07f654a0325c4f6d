"""What the slices of ``stroke-difficulty`` say: the paper's two tables with its tests, beside what it published.

As in the paper *detection* is the share of slices with a lesion in which something was drawn, Dice is 0 where nothing
was, and the Hausdorff distance is that of the slices in which something was drawn. Means and tests are over folds; the
differences between arms are also given paired over patients, which the paper does not do.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from napari_dasl.experiments import statistics, tables
from napari_dasl.experiments.experiment import Findings
from napari_dasl.reports import drawing
from napari_dasl.reports.blocks import Column, Picture, Table, number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure

    from napari_dasl.experiments.arms import Protocol, Row
    from napari_dasl.experiments.slices import Slice

Triple = tuple[float, float, float]

PUBLISHED: dict[str, dict[str, tuple[Triple, Triple]]] = {
    "unet-2d": {
        "none": ((80, 0.34, 30), (97, 0.66, 20)),
        "contrast": ((82, 0.46, 29), (94, 0.79, 17)),
        "gradient": ((79, 0.47, 30), (94, 0.79, 16)),
    },
    "mask-rcnn": {
        "none": ((75, 0.35, 26), (95, 0.59, 19)),
        "contrast": ((67, 0.41, 29), (97, 0.60, 20)),
        "gradient": ((71, 0.39, 29), (98, 0.60, 19)),
    },
}
"""Detection in percent, Dice and HD on CT and on FLAIR (Table 2)."""

PUBLISHED_R2: dict[str, dict[str, tuple[tuple[float, float], tuple[float, float]]]] = {
    "unet-2d": {
        "size": ((0.42, 0.43), (0.14, -0.12)),
        "contrast": ((-0.01, 0.50), (-0.04, -0.23)),
        "gradient": ((0.30, 0.69), (-0.20, -0.25)),
    },
    "mask-rcnn": {
        "size": ((0.43, 0.40), (0.08, 0.01)),
        "contrast": ((-0.03, 0.54), (-0.004, -0.32)),
        "gradient": ((0.33, 0.65), (-0.24, -0.28)),
    },
}
"""Dice and HD against each measure, each on CT and FLAIR (Table 1); the sign is that of the correlation."""

MEASURES = (("detection", "greater"), ("dice", "greater"), ("hd", "less"))
"""What is compared, and which end the paper's one-tailed test looks at."""

TITLES = {"detection": "detection, %", "dice": "Dice", "hd": "HD, mm"}


def figures_of(row: Row) -> dict[str, float | None]:
    """Detection rate in percent, mean Dice and mean HD of the test slices of a fold."""
    drawn, apart = row.measures["drawn"].values(), row.measures["hd"].values()
    known = [value for value in apart if value is not None]
    return {
        "detection": 100 * sum(drawn) / len(drawn),
        "dice": row.mean_dice,
        "hd": math.fsum(known) / len(known) if known else None,
    }


def by_fold(rows: Sequence[Row]) -> list[dict[str, float | None]]:
    """The figures of each fold, the mean over the seeds, which all test the same patients: no further folds."""
    found: dict[int, list[dict[str, float | None]]] = defaultdict(list)
    for row in rows:
        found[row.fold].append(figures_of(row))
    return [{key: tables.spread(one[key] for one in mine)[0] for key, _ in MEASURES} for mine in found.values()]


def tell(protocol: Protocol, rows: Sequence[Row]) -> Findings:
    """The two tables of the paper, and paired differences; *protocol* is that of the slices."""
    slices = {one.id: one for one in cast("Sequence[Slice]", protocol.study.samples)}
    grouped = tables.by_arm(rows)
    folds = {name: by_fold(mine) for name, mine in grouped.items()}
    pairs = _pairs(grouped, slices)
    fits = _fits(protocol, grouped, slices)
    return Findings(
        words=_words(protocol, folds, grouped, len(slices)),
        tables=(_main(protocol, grouped, folds), *([pairs] if pairs else []), *([fits[0]] if fits else [])),
        pictures=_pictures(grouped, folds, slices),
        numbers={"r_squared": fits[1] if fits else []},
    )


def _column(folds: Sequence[Mapping[str, float | None]], key: str) -> list[float]:
    return [value for one in folds if (value := one[key]) is not None]


def _against(
    folds: Mapping[str, Sequence[Mapping[str, float | None]]], name: str, other: str, key: str, alternative: Any
) -> float | None:
    """The p of the paper's test of one arm against *other*, over folds."""
    if name == other or other not in folds:
        return None
    return statistics.mann_whitney(_column(folds[name], key), _column(folds[other], key), alternative).p


def _main(
    protocol: Protocol,
    grouped: Mapping[str, Sequence[Row]],
    folds: Mapping[str, Sequence[Mapping[str, float | None]]],
) -> Table:
    published = PUBLISHED[protocol.network]
    heads, lines = [Column("arm"), Column("folds", 0)], []
    for key, _ in MEASURES:
        digits = 3 if key == "dice" else 1
        heads += [Column(TITLES[key], digits), Column(f"{key}: SD", digits)]
        heads += [Column(f"{key}: p against none", 3), Column(f"{key}: p against random", 3)]
    for key in ("detection", "Dice", "HD"):
        heads += [
            Column(f"paper, CT: {key}", 2 if key == "Dice" else 0),
            Column(f"paper, FLAIR: {key}", 2 if key == "Dice" else 0),
        ]
    heads += [Column("steps", 0), Column("training, s", 0)]
    for name, mine in grouped.items():
        line: list[Any] = [name, len(folds[name])]
        for key, alternative in MEASURES:
            mean, sd, _ = tables.spread(_column(folds[name], key))
            line += [mean, sd, *(_against(folds, name, other, key, alternative) for other in ("none", "random"))]
        theirs = published.get(name)
        line += [None if theirs is None else float(theirs[on][at]) for at in range(3) for on in range(2)]
        line += [tables.spread(float(row.steps) for row in mine)[0], tables.spread(row.seconds for row in mine)[0]]
        lines.append(tuple(line))
    caption = (
        "Test slices by fold: mean and standard deviation over folds; p of one-tailed unpaired Mann–Whitney tests over "
        "folds (more detection and Dice, less HD), as in the paper. Published: Moreau et al., Table 2, same network."
    )
    return Table(tuple(heads), tuple(lines), caption)


def by_patient(rows: Sequence[Row], slices: Mapping[str, Slice]) -> dict[str, float]:
    """Mean Dice of the slices of each patient, over the seeds."""
    found: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        for name, dice in row.dice.items():
            found[slices[name].group].append(dice or 0.0)
    return {patient: math.fsum(values) / len(values) for patient, values in found.items()}


def _pairs(grouped: Mapping[str, Sequence[Row]], slices: Mapping[str, Slice]) -> Table | None:
    """Differences in Dice, paired over the patients that both arms were tested on."""
    lines = []
    means = {name: by_patient(mine, slices) for name, mine in grouped.items()}
    for a, b in (
        ("contrast", "none"),
        ("gradient", "none"),
        ("random", "none"),
        ("contrast", "random"),
        ("gradient", "random"),
    ):
        both = sorted(set(means.get(a, ())) & set(means.get(b, ())))
        if len(both) > 1:
            one = statistics.paired_difference([means[a][p] for p in both], [means[b][p] for p in both])
            lines.append((f"{a} − {b}", one.mean, one.low, one.high, one.p_t, one.p_wilcoxon, one.n))
    heads = (
        Column("difference"),
        Column("Dice", 4),
        Column("from", 4),
        Column("to", 4),
        Column("p (t)", 4),
        Column("p (Wilcoxon)", 4),
        Column("patients", 0),
    )
    caption = "Differences of the mean Dice of a patient's slices, with 95 % bootstrap intervals over patients."
    return Table(heads, tuple(lines), caption) if lines else None


def measures_of(grouped: Mapping[str, Sequence[Row]], slices: Mapping[str, Slice]) -> dict[str, dict[str, float]]:
    """Slice to its size, contrast, and gradient difficulty, the mean over the folds that trained on it."""
    gains: dict[str, list[float]] = defaultdict(list)
    for row in grouped.get("gradient", ()):
        for name, value in row.measures["gradient"].items():
            if value is not None:
                gains[name].append(value)
    found = {
        "size": {name: one.size for name, one in slices.items()},
        "contrast": {name: one.contrast for name, one in slices.items()},
    }
    if gains:
        found["gradient"] = {name: math.fsum(values) / len(values) for name, values in gains.items()}
    return found


def _fits(
    protocol: Protocol, grouped: Mapping[str, Sequence[Row]], slices: Mapping[str, Slice]
) -> tuple[Table, list[dict[str, Any]]] | None:
    """R² of performance without a curriculum against each measure."""
    if "none" not in grouped:
        return None
    dice = {name: value for row in grouped["none"] for name, value in row.dice.items()}
    apart = {name: value for row in grouped["none"] for name, value in row.measures["hd"].items()}
    lines, told = [], []
    for measure, values in measures_of(grouped, slices).items():
        line: list[Any] = [measure]
        for at, (title, ours) in enumerate((("Dice", dice), ("HD", apart))):
            names = [name for name, value in ours.items() if value is not None and name in values]
            fit = statistics.linear_fit([values[n] for n in names], [cast("float", ours[n]) for n in names])
            signed = None if fit.r_squared is None else math.copysign(fit.r_squared, fit.slope or 0.0)
            line += [signed, fit.p, fit.n, *PUBLISHED_R2[protocol.network][measure][at]]
            told.append({"measure": measure, "of": title, "r_squared": signed, "p": fit.p, "n": fit.n})
        lines.append(tuple(line))
    heads = [Column("measure")]
    for title in ("Dice", "HD"):
        heads += [Column(f"{title}: R²", 3), Column(f"{title}: p", 4), Column(f"{title}: slices", 0)]
        heads += [Column(f"{title}: paper, CT", 3), Column(f"{title}: paper, FLAIR", 3)]
    caption = (
        "R² of performance without a curriculum against each measure, over test slices; as in the paper it has the "
        "sign of the correlation: easier means more Dice (+) and less HD (−). Gradient difficulty is large where it "
        "is easy."
    )
    return Table(tuple(heads), tuple(lines), caption), told


def _words(
    protocol: Protocol,
    folds: Mapping[str, Sequence[Mapping[str, float | None]]],
    grouped: Mapping[str, Sequence[Row]],
    slices: int,
) -> tuple[str, ...]:
    words = []
    means = {name: tables.spread(_column(mine, "dice"))[0] for name, mine in folds.items()}
    for name in ("contrast", "gradient"):
        for other in ("none", "random"):
            ours, theirs = means.get(name), means.get(other)
            if ours is None or theirs is None:
                continue
            p = _against(folds, name, other, "dice", "greater")
            shown = "better" if p is not None and p < 0.05 and ours > theirs else "not shown to be better"
            words.append(
                f"{name} is {shown} than {other}: Dice {number(ours)} against {number(theirs)} "
                f"(one-tailed p = {number(p)}, {len(folds[name])} and {len(folds[other])} folds)."
            )
    lengths = sorted({row.steps for mine in grouped.values() for row in mine})
    same = (
        "every arm has the same optimiser steps"
        if protocol.options["length"] == "steps"
        else ("a curriculum has as many passes over what is available as the other has over everything, so fewer steps")
    )
    words.append(
        f"{slices} slices with a lesion of {len(protocol.study.groups)} patients, {protocol.options['side']} × "
        f"{protocol.options['side']} pixels; {same} ({', '.join(map(str, lengths))})."
    )
    return tuple(words)


def _pictures(
    grouped: Mapping[str, Sequence[Row]],
    folds: Mapping[str, Sequence[Mapping[str, float | None]]],
    slices: Mapping[str, Slice],
) -> tuple[tuple[str, Picture], ...]:
    from napari_dasl.experiments import figures

    columns = [(TITLES[key], {name: _column(mine, key) for name, mine in folds.items()}) for key, _ in MEASURES]
    found = [
        (
            "folds",
            Picture(
                figures.repeats(columns),
                "Detection, Dice and Hausdorff distance of every arm and fold.",
                "Every fold is a mark, the bar is their mean.",
            ),
        )
    ]
    losses = {name: [row.losses for row in mine if row.losses] for name, mine in grouped.items()}
    found.append(
        (
            "loss",
            Picture(
                figures.curves(losses, "optimiser step", "training loss"),
                "Training loss over the optimiser steps of each arm.",
                "Mean over folds with one standard deviation; while groups are missing, arms see different slices.",
            ),
        )
    )
    if "none" in grouped:
        dice = {name: value or 0.0 for row in grouped["none"] for name, value in row.dice.items()}
        found.append(
            (
                "measures",
                Picture(
                    scatter(measures_of(grouped, slices), dice),
                    "Dice of every test slice against each measure of difficulty.",
                    "Dice without a curriculum, a dot per test slice.",
                ),
            )
        )
    return tuple(found)


@drawing.styled
def scatter(measures: Mapping[str, Mapping[str, float]], dice: Mapping[str, float]) -> Figure:
    """Dice against each measure, a panel each; size and contrast on logarithmic axes."""
    figure, panels = drawing.canvas(len(measures), height=3.0)
    for axes, (title, values) in zip(panels, measures.items(), strict=True):
        names = [name for name in dice if np.isfinite(values.get(name, np.nan))]
        axes.plot([values[name] for name in names], [dice[name] for name in names], ".", markersize=3, alpha=0.6)
        if title != "gradient" and all(values[name] > 0 for name in names):
            axes.set_xscale("log")
        axes.set(xlabel={"size": "lesion, mm²"}.get(title, title), ylabel="Dice")
    return figure
