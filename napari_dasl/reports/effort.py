"""What annotation took: minutes per scan, looking apart from drawing, and how much of each draft was changed."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from statistics import fmean, median
from typing import TYPE_CHECKING, Any, Literal

from napari_dasl.reports.blocks import Column, Picture, Section, Table, Words, number, several
from napari_dasl.reports.drawing import BLACK, GREY, ORANGE, SKY, canvas, legend, styled, whole_numbers

if TYPE_CHECKING:
    from datetime import datetime

    from matplotlib.figure import Figure

    from napari_dasl.project import Project, Revision
    from napari_dasl.project.records import Effort
    from napari_dasl.reports.blocks import Block

BARS = 100
"""How many bars a figure has at most; beyond, neighbours are averaged."""

Kind = Literal["ordinary", "guard", "check"]
Start = Literal["drawn from nothing", "draft corrected", "draft accepted unchanged", "not known"]
KINDS: dict[Kind, str] = {"ordinary": "ordinary scans", "guard": "blind guard scans", "check": "blind checks"}
STARTS: tuple[Start, ...] = ("drawn from nothing", "draft corrected", "draft accepted unchanged", "not known")


@dataclass(frozen=True)
class CaseWork:
    """The work on one case until now, over all its sittings.

    Attributes
    ----------
    case : str
    saved : datetime
        When it was first labelled.
    inspect, edit, unsplit : float
        Minutes of looking, of drawing, and those of which only the sum is known (older labels).
    strokes : int
    voxels_changed : int or None
        Against the draft that was shown for its newest label.
    model : str
        Whose draft that was; "" for none.
    kind : {"ordinary", "guard", "check"}
        Guard scans and checks of pseudo-labels are drawn blind.
    start : str
        One of :data:`STARTS`.
    """

    case: str
    saved: datetime
    inspect: float
    edit: float
    unsplit: float
    strokes: int
    voxels_changed: int | None
    model: str
    kind: Kind
    start: Start

    @property
    def minutes(self) -> float:
        """All of it."""
        return self.inspect + self.edit + self.unsplit


@dataclass(frozen=True)
class AnnotationEffort:
    """What annotation took.

    Attributes
    ----------
    cases : tuple of CaseWork
        Labelled cases with known time, in the order they were first labelled.
    looked_at : float
        Minutes spent on cases that were opened and not labelled.
    authors : tuple of str
    """

    cases: tuple[CaseWork, ...]
    looked_at: float
    authors: tuple[str, ...]

    @property
    def minutes(self) -> float:
        """Active time altogether."""
        return self.looked_at + sum(one.minutes for one in self.cases)

    def of(self, kind: Kind) -> tuple[CaseWork, ...]:
        """The cases of a kind, in order."""
        return tuple(one for one in self.cases if one.kind == kind)


def gather(project: Project) -> AnnotationEffort:
    """Read the effort from *project*; labels without a record of it count with the seconds they came with."""
    sittings: dict[str, list[Effort]] = defaultdict(list)
    for effort in project.efforts():
        sittings[effort.case].append(effort)
    found, looked_at, authors = [], 0.0, set()
    for case in project.cases():
        mine = sittings.get(case.id, [])
        known = {effort.revision for effort in mine}
        timed = [one for one in project.labels(case.id) if one.human and one.seconds > 0] if case.labelled else []
        older = [one for one in timed if one.number not in known]
        authors |= {effort.author for effort in mine} | {revision.author for revision in older}
        if older or any(effort.revision is not None for effort in mine):
            found.append(_case_work(case.id, mine, older))
        else:
            looked_at += sum(effort.seconds for effort in mine) / 60
    found.sort(key=lambda one: (one.saved, one.case))
    return AnnotationEffort(tuple(found), looked_at, tuple(sorted(authors)))


def _case_work(case: str, sittings: list[Effort], older: list[Revision]) -> CaseWork:
    labelled = [effort for effort in sittings if effort.revision is not None]
    newest = labelled[-1] if labelled else None
    start: Start = "not known"
    if newest is not None:
        start = "drawn from nothing" if newest.drawn_from_nothing else "draft corrected"
        start = "draft accepted unchanged" if newest.accepted_unchanged else start
    kind: Kind = "ordinary"
    if newest is not None and (newest.audit or newest.blind):
        kind = "check" if newest.audit else "guard"
    model = newest.draft_model if newest is not None else older[-1].model
    return CaseWork(
        case=case,
        saved=min([effort.saved for effort in labelled] + [revision.created for revision in older]),
        inspect=sum(effort.inspect_seconds for effort in sittings) / 60,
        edit=sum(effort.edit_seconds for effort in sittings) / 60,
        unsplit=sum(revision.seconds for revision in older) / 60,
        strokes=sum(effort.strokes for effort in sittings),
        voxels_changed=newest.voxels_changed if newest is not None else None,
        model=model or "",
        kind=kind,
        start=start,
    )


@styled
def minutes_figure(effort: AnnotationEffort, bars: int = BARS) -> Figure:
    """Draw minutes per scan in the order of labelling: looking, drawing, and a mark where it was drawn blind.

    Beyond *bars* scans, a bar is the mean of as many neighbours as it takes.
    """
    figure, (axes,) = canvas()
    size = -(-len(effort.cases) // bars)
    groups = [effort.cases[at : at + size] for at in range(0, len(effort.cases), size)]
    places = [at * size + (len(group) + 1) / 2 for at, group in enumerate(groups)]
    base = [0.0] * len(groups)
    parts = (
        ("looking", "inspect", SKY, "///"),
        ("drawing", "edit", ORANGE, ""),
        ("not told apart", "unsplit", GREY, ".."),
    )
    for words, name, colour, hatch in parts:
        heights = [fmean(getattr(one, name) for one in group) for group in groups]
        if not any(heights):
            continue
        look: dict[str, Any] = {"color": colour, "hatch": hatch, "edgecolor": BLACK, "linewidth": 0.4}
        axes.bar(places, heights, width=[0.85 * len(group) for group in groups], bottom=base, label=words, **look)
        base = [low + height for low, height in zip(base, heights, strict=True)]
    blind = [(x, top) for x, top, group in zip(places, base, groups, strict=True) if _blind(group)]
    if blind:
        axes.plot([x for x, _ in blind], [y for _, y in blind], "kv", markersize=5, label="drawn blind")
    axes.set(xlabel="scan, in the order of labelling", ylabel="minutes")
    axes.margins(y=0.1)
    axes.set_ylim(bottom=0)
    whole_numbers(axes)
    legend(figure)
    return figure


def _blind(group: tuple[CaseWork, ...]) -> bool:
    return all(one.kind != "ordinary" for one in group)


def kinds_table(effort: AnnotationEffort) -> Table:
    """Return minutes and strokes per scan for ordinary scans and for those drawn blind."""
    columns = (
        Column("Scans"),
        Column("Number", 0),
        Column("Minutes, all", 1),
        Column("Minutes per scan, median", 1),
        Column("Looking, median", 1),
        Column("Drawing, median", 1),
        Column("Strokes, median", 0),
    )
    rows = []
    for kind, words in KINDS.items():
        mine = effort.of(kind)
        split = [one for one in mine if one.inspect or one.edit]
        if mine:
            rows.append(
                (
                    words,
                    len(mine),
                    sum(one.minutes for one in mine),
                    median(one.minutes for one in mine),
                    median(one.inspect for one in split) if split else None,
                    median(one.edit for one in split) if split else None,
                    median(one.strokes for one in split) if split else None,
                )
            )
    return Table(columns, tuple(rows), "Active time; pauses do not count")


def drafts_table(effort: AnnotationEffort) -> Table:
    """Return, per model that made the drafts, what ordinary scans took and how much of the draft was changed."""
    by_model: dict[str, list[CaseWork]] = defaultdict(list)
    for one in effort.of("ordinary"):
        by_model[one.model].append(one)
    columns = (
        Column("Draft by"),
        Column("Scans", 0),
        Column("Minutes, median", 1),
        Column("Voxels changed, median", 0),
        *(Column(start[:1].upper() + start[1:], 0) for start in STARTS),
    )
    rows = []
    for model, mine in by_model.items():
        changed = [one.voxels_changed for one in mine if one.voxels_changed is not None]
        counts = (sum(one.start == start for one in mine) for start in STARTS)
        known = median(changed) if changed else None
        rows.append((model or "no model", len(mine), median(one.minutes for one in mine), known, *counts))
    return Table(columns, tuple(rows), "Ordinary scans by the model whose draft they began from, in order of first use")


def pace_words(effort: AnnotationEffort, most: int = 10) -> str:
    """Compare the first ordinary scans with the last, ten of each or as many as there are; "" below six scans."""
    ordinary = effort.of("ordinary")
    count = min(most, len(ordinary) // 2)
    if count < 3:
        return ""
    first = median(one.minutes for one in ordinary[:count])
    last = median(one.minutes for one in ordinary[-count:])
    return (
        f"In the median, the first {count} ordinary scans took {number(first, 1)} minutes each and the last {count} "
        f"took {number(last, 1)} minutes."
    )


def section(project: Project) -> Section:
    """Return the section."""
    effort = gather(project)
    title = "Annotation effort"
    if not effort.cases:
        return Section("effort", title, (Words("No annotation time has been recorded yet."),))
    who = several(len(effort.authors), "annotator")
    blocks: list[Block] = [
        Words(f"{number(effort.minutes, 1)} minutes of active work by {who} on {several(len(effort.cases), 'scan')}."),
    ]
    size = -(-len(effort.cases) // BARS)
    averaged = f" Each bar is the mean of {size} scans." if size > 1 else ""
    caption = (
        "Active minutes per scan in the order of labelling; a triangle marks scans that were drawn blind." + averaged
    )
    alt = f"Bars of minutes for {several(len(effort.cases), 'scan')}, looking and drawing apart."
    blocks.append(Picture(minutes_figure(effort), alt, caption))
    if words := pace_words(effort):
        blocks.append(Words(words))
    if effort.looked_at:
        blocks.append(
            Words(f"{number(effort.looked_at, 1)} minutes went into scans that were opened and not labelled.")
        )
    blocks.append(kinds_table(effort))
    if effort.of("ordinary"):
        blocks.append(drafts_table(effort))
    return Section("effort", title, tuple(blocks))
