"""The list of scans to label next, and what the similarity term did to it from ranking to ranking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_dasl.active import diagnose
from napari_dasl.reports.blocks import Column, Picture, Section, Table, Words, number, several
from napari_dasl.reports.drawing import BLUE, ORANGE, VERMILION, canvas, styled, whole_numbers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from napari_dasl.project import LoggedEvent, Project, Score
    from napari_dasl.reports.blocks import Block

LISTED = 500
"""How many cases of the pool the table shows at most; a browser sorts these at once."""


@dataclass(frozen=True)
class Ranked:
    """One ranking of the pool, as the diary has it.

    Attributes
    ----------
    strategy, model : str
        "" where the diary does not say.
    agreement : float or None
        Spearman correlation of ``U·D^β`` with U: 1 when the similarity D changed no rank.
    against : float or None
        Spearman correlation of D with U.
    variation : float or None
        Spread of D: its standard deviation divided by its mean.
    """

    strategy: str
    model: str
    agreement: float | None
    against: float | None
    variation: float | None


@dataclass(frozen=True)
class Pool:
    """The pool by rank, and the rankings so far.

    Attributes
    ----------
    strategy : str
        Of the project.
    scores : tuple of Score
        By rank.
    rankings : tuple of Ranked
        Oldest first, the last one of each model.
    sentence : str
        What the similarity does to the list as it stands; "" where nothing needs to be said.
    """

    strategy: str
    scores: tuple[Score, ...]
    rankings: tuple[Ranked, ...]
    sentence: str

    @property
    def diagnosed(self) -> tuple[Ranked, ...]:
        """The rankings in which a similarity took part."""
        return tuple(one for one in self.rankings if one.agreement is not None or one.variation is not None)


def gather(project: Project) -> Pool:
    """Read the pool and its rankings from *project*."""
    # Scores stay until the next ranking; what was labelled or skipped since is no longer in the pool.
    waiting = {case.id for case in project.pool()}
    scores = tuple(one for one in project.scores() if one.case in waiting)
    seen = [(one.uncertainty, one.similarity) for one in scores if one.uncertainty is not None]
    pairs = [(u, d) for u, d in seen if d is not None]
    config = project.config.ranking
    sentence = diagnose([u for u, _ in pairs], [d for _, d in pairs], config.beta).sentence if pairs else ""
    newest = {
        ranked.model or f"{place}": ranked for place, ranked in enumerate(map(_ranked, project.events("ranking")))
    }
    return Pool(config.strategy, scores, tuple(newest.values()), sentence)


def _ranked(event: LoggedEvent) -> Ranked:
    told = event.payload
    said = told.get("diagnosis") or {}
    return Ranked(
        strategy=str(told.get("strategy") or ""),
        model=str(told.get("model") or ""),
        agreement=_number(said.get("agreement")),
        against=_number(said.get("against")),
        variation=_number(said.get("variation")),
    )


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


@styled
def similarity_figure(pool: Pool) -> Figure:
    """Draw, over the rankings, how far similarity left the order alone, and how much it varied."""
    figure, (left, right) = canvas(2, height=2.4)
    found = list(enumerate(pool.diagnosed, 1))
    for axes, name, colour, marker in ((left, "agreement", BLUE, "o"), (right, "variation", ORANGE, "^")):
        known = [(place, getattr(one, name)) for place, one in found if getattr(one, name) is not None]
        axes.plot([x for x, _ in known], [y for _, y in known], color=colour, marker=marker)
        axes.set(xlabel="ranking", xlim=(0.5, len(found) + 0.5))
        whole_numbers(axes)
    left.axhline(1, color=VERMILION, linestyle="--", linewidth=1)
    left.set(title="Order kept (rank correlation of U·D with U)", ylabel="Spearman", ylim=(None, 1.02))
    right.set(title="Spread of similarity D", ylabel="sd / mean", ylim=(0, None))
    return figure


@styled
def scores_figure(pool: Pool) -> Figure:
    """Draw the uncertainty of the pool by rank."""
    figure, (axes,) = canvas(height=2.4)
    known = [(one.rank, one.uncertainty) for one in pool.scores if one.uncertainty is not None]
    axes.plot([x for x, _ in known], [y for _, y in known], "o", color=BLUE, markersize=3 if len(known) > 60 else 5)
    axes.set(xlabel="rank (1 is labelled next)", ylabel="uncertainty", ylim=(0, None))
    whole_numbers(axes)
    return figure


def pool_table(pool: Pool, limit: int = LISTED) -> Table:
    """Return the first *limit* cases of the pool."""
    columns = (
        Column("Rank", 0),
        Column("Case"),
        Column("Score", 4),
        Column("Uncertainty", 4),
        Column("Similarity", 3),
        Column("Difficulty", 3),
        Column("Why"),
    )
    rows = tuple(
        (one.rank, one.case, one.score, one.uncertainty, one.similarity, one.difficulty, one.words)
        for one in pool.scores[:limit]
    )
    shown = [place for place in range(len(columns)) if place < 3 or any(row[place] not in (None, "") for row in rows)]
    caption = f"Scans to label, the next first (strategy {pool.strategy})"
    if len(pool.scores) > limit:
        caption += f"; the first {limit} of {len(pool.scores)} are listed"
    kept = tuple(tuple(row[place] for place in shown) for row in rows)
    return Table(tuple(columns[place] for place in shown), kept, caption, sortable=True)


def section(project: Project) -> Section:
    """Return the section."""
    pool = gather(project)
    blocks: list[Block] = []
    if pool.diagnosed:
        last = pool.diagnosed[-1]
        alt = (
            f"Over {several(len(pool.diagnosed), 'ranking')}, the rank correlation of U·D with U, now "
            f"{number(last.agreement, 2)}, and the spread of D, now {number(last.variation, 2)}."
        )
        caption = (
            "What the similarity term of Eq. 3 did. A rank correlation of 1 means that the list is in the order of "
            "uncertainty alone."
        )
        blocks.append(Picture(similarity_figure(pool), alt, caption))
    if pool.sentence:
        blocks.append(Words(pool.sentence, warning=True))
    if not pool.scores:
        blocks.append(Words("No scan has been ranked yet."))
        return Section("ranking", "Ranking", tuple(blocks))
    if any(one.uncertainty is not None for one in pool.scores):
        alt = f"Uncertainty of {several(len(pool.scores), 'scan')} by rank."
        blocks.append(Picture(scores_figure(pool), alt, "Uncertainty of the scans that are not labelled, by rank."))
    blocks.append(pool_table(pool))
    return Section("ranking", "Ranking", tuple(blocks))
