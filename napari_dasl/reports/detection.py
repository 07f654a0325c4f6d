"""How well each new model finds lesions one by one on the guard set: FROC, CPM, average precision, thresholds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from napari_dasl.reports.blocks import Column, Picture, Section, Table, Words, interval, number, several
from napari_dasl.reports.drawing import BLACK, BLUE, ORANGE, canvas, label, legend, styled, whole_numbers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure

    from napari_dasl.project import Project, Round
    from napari_dasl.reports.blocks import Block, Cell

_MOST_FALSE = 16.0
"""Further right, false positives per scan, the curve is of no use to anybody."""


@dataclass(frozen=True)
class Found:
    """What one round's new model found on the guard set.

    Attributes
    ----------
    number : int
        Of the round.
    promoted : bool
    scans, lesions : int
        Of the guard set.
    cpm, ap : float or None
        None where the guard set holds no lesion.
    bounds : (float, float) or None
        Bootstrap interval of *cpm*.
    iou : float
        Overlap of boxes that *ap* asks for.
    threshold : float or None
        The score from which a finding counts.
    rates : tuple of (float, float or None)
        False positives per scan, and the sensitivity there.
    curve : tuple of (float, float)
        False positives per scan, and sensitivity, from the surest finding on.
    per_class : dict of str to (int, float or None, float or None)
        Lesions, CPM and average precision of each class.
    """

    number: int
    promoted: bool
    scans: int
    lesions: int
    cpm: float | None
    bounds: tuple[float, float] | None
    ap: float | None
    iou: float
    threshold: float | None
    rates: tuple[tuple[float, float | None], ...]
    curve: tuple[tuple[float, float], ...]
    per_class: dict[str, tuple[int, float | None, float | None]] = field(default_factory=dict)


def gather(project: Project) -> tuple[Found, ...]:
    """Read what the rounds of *project* found, oldest first; rounds without a guard set or a detector are left out."""
    return tuple(
        _found(one, figures)
        for one in project.rounds()
        if one.state == "done" and (figures := (one.result.get("guard") or {}).get("detection"))
    )


def _found(one: Round, figures: Mapping[str, Any]) -> Found:
    bounds, curve = figures.get("interval"), figures.get("froc") or {}
    points = zip(curve.get("false_positives") or (), curve.get("sensitivity") or (), strict=True)
    return Found(
        number=one.number,
        promoted=bool(one.result.get("promoted")),
        scans=int(figures["scans"]),
        lesions=int(figures["lesions"]),
        cpm=figures.get("cpm"),
        bounds=(bounds[0], bounds[1]) if bounds else None,
        ap=figures.get("ap"),
        iou=float(figures.get("iou") or 0),
        threshold=figures.get("threshold"),
        rates=tuple((at["false_positives"], at["value"]) for at in figures.get("sensitivity") or ()),
        curve=tuple((float(false), float(hit)) for false, hit in points if hit is not None),
        per_class={
            name: (int(row["lesions"]), row["cpm"], row["ap"]) for name, row in (figures.get("per_class") or {}).items()
        },
    )


@styled
def froc_figure(last: Found, best: Found | None) -> Figure:
    """Draw the curve of the last model, and of the *best* one before it; points where CPM reads the last one."""
    figure, (axes,) = canvas()
    drawn = [(best, ORANGE, "--")] if best is not None else []
    for one, colour, dash in [*drawn, (last, BLUE, "-")]:
        seen = [(false, hit) for false, hit in ((0.0, 0.0), *one.curve) if false <= _MOST_FALSE]
        end = seen[-1][1]
        axes.plot(
            [false for false, _ in seen] + [_MOST_FALSE],
            [hit for _, hit in seen] + [end],
            color=colour,
            linestyle=dash,
            label=label(f"round {one.number}"),
        )
    read = [(false, hit) for false, hit in last.rates if hit is not None]
    if read:
        style: dict[str, Any] = {"color": BLACK, "markerfacecolor": "white", "linestyle": "none"}
        axes.plot(*zip(*read, strict=True), marker="o", label="where CPM reads it", **style)
    axes.set_xscale("symlog", base=2, linthresh=0.125)
    ticks = [false for false, _ in last.rates]
    axes.set_xticks([0, *ticks], ["0", *(f"1/{round(1 / tick)}" if tick < 1 else f"{tick:g}" for tick in ticks)])
    axes.set(xlabel="false positives per scan", ylabel="lesions found", xlim=(0, _MOST_FALSE), ylim=(-0.02, 1.02))
    legend(figure)
    return figure


@styled
def course_figure(found: tuple[Found, ...]) -> Figure:
    """Draw CPM with its interval, and average precision, over the rounds."""
    figure, (axes,) = canvas(height=2.6)
    known = [(one.number, one.cpm, one.bounds or (one.cpm, one.cpm)) for one in found if one.cpm is not None]
    axes.errorbar(
        [place for place, _, _ in known],
        [value for _, value, _ in known],
        yerr=[
            [max(value - low, 0.0) for _, value, (low, _) in known],
            [max(high - value, 0.0) for _, value, (_, high) in known],
        ],
        fmt="o-",
        color=BLUE,
        ecolor=BLACK,
        capsize=4,
        label="CPM, 95 % interval",
    )
    precise = [(one.number, one.ap) for one in found if one.ap is not None]
    if precise:
        axes.plot(*zip(*precise, strict=True), color=ORANGE, marker="s", linestyle="--", label="average precision")
    axes.set(xlabel="round", ylabel="on the guard set", ylim=(-0.02, 1.02))
    whole_numbers(axes)
    legend(figure)
    return figure


def rounds_table(found: tuple[Found, ...]) -> Table:
    """Return one row per round."""
    rates = [rate for rate, _ in found[-1].rates]
    columns = (
        Column("Round", 0),
        Column("Lesions", 0),
        Column("CPM", 3),
        Column("95 % interval"),
        Column("Average precision", 3),
        *(Column(f"at {rate:g}", 2) for rate in rates),
        Column("Counts from", 2),
        Column("Model"),
    )
    rows = tuple(_row(one, rates) for one in found)
    caption = (
        "Lesions found on the guard set: CPM is the mean sensitivity at 1/8 to 8 false positives per scan, which are "
        "the columns “at …”; a finding counts from the score in “counts from” on"
    )
    return Table(columns, rows, caption)


def _row(one: Found, rates: list[float]) -> tuple[Cell, ...]:
    known = dict(one.rates)
    outcome = "promoted" if one.promoted else "candidate"
    return (
        one.number,
        one.lesions,
        one.cpm,
        interval(one.bounds),
        one.ap,
        *(known.get(rate) for rate in rates),
        one.threshold,
        outcome,
    )


def classes_table(last: Found) -> Table:
    """Return one row per class, of the last round."""
    columns = (Column("Class"), Column("Lesions", 0), Column("CPM", 3), Column("Average precision", 3))
    rows = tuple((name, *row) for name, row in last.per_class.items())
    return Table(columns, rows, f"Lesions found on the guard set in round {last.number}, per class")


def section(project: Project) -> Section | None:
    """Return the section; None where no round has looked for lesions one by one."""
    found = gather(project)
    if not found:
        return None
    last, title = found[-1], "Finding lesions"
    scans, lesions = several(last.scans, "scan"), several(last.lesions, "lesion")
    blocks: list[Block] = []
    if last.cpm is None:
        blocks.append(Words("The guard set holds no lesion, so that nothing can be said about finding any."))
    else:
        earlier = [one for one in found[:-1] if one.cpm is not None]
        best = max(earlier, key=lambda one: one.cpm or 0.0, default=None)
        alt = f"FROC curve of round {last.number} on {scans} with {lesions}; CPM is {number(last.cpm)}."
        caption = (
            f"How many lesions of the guard set ({scans}, {lesions}) are found, at how many false positives per scan. "
            "A lesion is found where the centre of a finding lies within its radius."
        )
        blocks.append(Picture(froc_figure(last, best), alt, caption))
        if earlier:
            alt = f"CPM and average precision over {several(len(found), 'round')}."
            caption = f"Average precision asks that boxes overlap by at least {last.iou:g} (IoU)."
            blocks.append(Picture(course_figure(found), alt, caption))
    blocks.append(rounds_table(found))
    if len(last.per_class) > 1:
        blocks.append(classes_table(last))
    return Section("detection", title, tuple(blocks))
