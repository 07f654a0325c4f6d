"""The first section: what the project is, how far it has come, and what the last round advises."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_dasl.project import CaseState
from napari_dasl.reports.blocks import Column, Picture, Section, Table, Words, number, several
from napari_dasl.reports.drawing import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, canvas, styled, whole_numbers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from napari_dasl.project import Project
    from napari_dasl.reports.blocks import Block

STATES: tuple[tuple[CaseState, str, str, str], ...] = (
    (CaseState.LABELLED, "labelled", BLUE, ""),
    (CaseState.GUARD, "guard set", GREEN, "///"),
    (CaseState.PSEUDO, "pseudo-label only", SKY, "..."),
    (CaseState.DRAFT, "edit open", ORANGE, "\\\\\\"),
    (CaseState.UNLABELLED, "not labelled", "#dddddd", ""),
    (CaseState.SKIPPED, "skipped", PURPLE, "xxx"),
    (CaseState.UNREADABLE, "unreadable", VERMILION, "+++"),
)
"""Every state with its words, colour and hatching, in the order of the bar."""


@dataclass(frozen=True)
class Summary:
    """What the project is and how far it has come.

    Attributes
    ----------
    name, modality : str
    classes : tuple of str
    states : tuple of (str, int)
        Cases by state, in the order of :data:`STATES`; states of no case are there with 0.
    model : str
        Id of the active model; "" before there is one.
    dice : float or None
        Its mean foreground Dice on the guard set.
    rounds : int
        Rounds that ended well.
    minutes : float
        Active annotation time.
    advice : str
        Of the last round that ended well; "" for none.
    """

    name: str
    modality: str
    classes: tuple[str, ...]
    states: tuple[tuple[str, int], ...]
    model: str
    dice: float | None
    rounds: int
    minutes: float
    advice: str

    @property
    def cases(self) -> int:
        """Cases of the project."""
        return sum(count for _, count in self.states)


def gather(project: Project) -> Summary:
    """Read the summary from *project*."""
    found = Counter(case.state for case in project.cases())
    active = project.active_model()
    done = [one for one in project.rounds() if one.state == "done"]
    return Summary(
        name=project.config.name,
        modality=project.config.modality,
        classes=project.config.classes,
        states=tuple((words, found[state]) for state, words, _, _ in STATES),
        model=active.id if active else "",
        dice=active.guard.get("dice") if active else None,
        rounds=len(done),
        minutes=project.annotation_seconds() / 60,
        advice=str(done[-1].result.get("advice") or "") if done else "",
    )


@styled
def states_figure(summary: Summary) -> Figure:
    """Draw the cases by state as one bar; states of no case are left out."""
    figure, (axes,) = canvas(height=1.3)
    left = 0
    for (words, count), (_, _, colour, hatch) in zip(summary.states, STATES, strict=True):
        if count:
            axes.barh(0, count, left=left, color=colour, hatch=hatch, edgecolor="black", label=f"{words}: {count}")
            left += count
    axes.set(yticks=[], xlim=(0, max(left, 1)), xlabel="scans")
    axes.grid(visible=False)
    axes.spines["left"].set_visible(False)
    whole_numbers(axes)
    figure.legend(loc="outside upper left", ncols=4)
    return figure


def facts_table(summary: Summary) -> Table:
    """Return the summary as a table of two columns."""
    model = f"{summary.model} (guard Dice {number(summary.dice)})" if summary.model else "none yet"
    rows = (
        ("Modality", summary.modality),
        ("Classes", ", ".join(summary.classes)),
        ("Scans", str(summary.cases)),
        *((words[:1].upper() + words[1:], str(count)) for words, count in summary.states if count),
        ("Active model", model),
        ("Rounds done", str(summary.rounds)),
        ("Active annotation time", f"{number(summary.minutes, 1)} minutes"),
    )
    return Table((Column("What"), Column("Value")), rows, "The project in short")


def section(project: Project) -> Section:
    """Return the section."""
    summary = gather(project)
    blocks: list[Block] = [facts_table(summary)]
    if summary.cases:
        told = ", ".join(f"{count} {words}" for words, count in summary.states if count)
        blocks.append(
            Picture(states_figure(summary), f"Bar of {several(summary.cases, 'scan')}: {told}.", "Scans by state.")
        )
    else:
        blocks.append(Words("The project has no scans yet."))
    if summary.advice:
        blocks.append(Words(f"Advice of the last round: {summary.advice}"))
    return Section("summary", "Summary", tuple(blocks))
