"""What the project says right now, read once on a thread and shared by every view.

:func:`read_snapshot` turns a project into plain values; :class:`SnapshotKeeper` does it again, off the window's thread,
whenever the session says that something changed, so that a thousand cases never make the window wait.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from statistics import median
from typing import TYPE_CHECKING, Any

from napari_dasl.project.config import SelfpacedConfig
from napari_dasl.project.curriculum_config import CurriculumConfig, Recipe
from napari_dasl.project.records import CaseState, Model, Round
from napari_dasl.rounds import phases
from napari_dasl.widgets.difficulty_reading import blind_cases, read_hardness
from napari_dasl.widgets.project_reader import ProjectReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from napari_dasl.project import Project
    from napari_dasl.project.records import Effort
    from napari_dasl.widgets.difficulty_rows import Measured
    from napari_dasl.widgets.session import Session

WAITING = (CaseState.UNLABELLED, CaseState.DRAFT, CaseState.PSEUDO)
"""States of cases that wait for a human label."""
_REVISIONS_READ = 40  # enough for a steady median; more would only make opening a large project slower
_COMMAND = re.compile(r"Run `[^`]*`\.\s*")
COLD_START = "cold start"
"""Named as the strategy while no scan is predicted."""


@dataclass(frozen=True)
class Row:
    """One line of the worklist: a case, its state and where its newest score puts it.

    Attributes
    ----------
    hardness : dict
        What each scorer of difficulty measured.
    blind : bool
        Whether the case is drawn without having seen the prediction, so that nothing made from it may show.
    """

    case: str
    state: CaseState
    labelled: bool = False
    reason: str = ""
    rank: int | None = None
    score: float | None = None
    uncertainty: float | None = None
    similarity: float | None = None
    difficulty: float | None = None
    words: str = ""
    facts: str = ""
    minutes: float | None = None
    asked: bool = False
    hardness: dict[str, Measured] = field(default_factory=dict)
    blind: bool = False

    @property
    def waits(self) -> bool:
        """Whether the case still waits for a human label."""
        return self.state in WAITING and not self.labelled

    @property
    def readable(self) -> bool:
        """Whether the scan can be read."""
        return self.state is not CaseState.UNREADABLE


@dataclass(frozen=True)
class Snapshot:
    """The project at one moment, as far as the window shows it.

    Attributes
    ----------
    previews : dict
        For each phase that may be asked for ("auto", "spl", "al"), what the next round would take and ask.
    selfpaced : SelfpacedConfig
        How pseudo-labels are made.
    selfpaced_off : str
        Why they are switched off; empty where they are not.
    strategies : tuple of (str, str)
        Name and title of every ranking strategy.
    ranked_by : str
        The strategy that ordered the list; empty where the project's did.
    order_warning : str
        What the last ranking has to say about its own order; empty where nothing.
    curriculum, recipe
        In what order rounds learn, and what they change of the training plan, as the project says.
    advice : str
        Whether stopping seems reasonable, after the last round.
    """

    folder: str = ""
    name: str = ""
    rows: tuple[Row, ...] = ()
    labelled: int = 0
    guard: int = 0
    pseudo: int = 0
    unscored: int = 0
    seconds_per_case: float | None = None
    strategy: str = "default"
    beta: float = 1.0
    network: str = "unet"
    preset: str = "default"
    steps: int | None = None
    minutes: float | None = None
    device: str = "auto"
    models: tuple[Model, ...] = ()
    rounds: tuple[Round, ...] = ()
    unfinished: Round | None = None
    counts: dict[str, int] = field(default_factory=dict)
    previews: dict[str, phases.PhasePreview] = field(default_factory=dict)
    previewed: Any = None
    selfpaced: SelfpacedConfig = field(default_factory=SelfpacedConfig)
    selfpaced_off: str = ""
    start: str = "active"
    strategies: tuple[tuple[str, str], ...] = ()
    ranked_by: str = ""
    order_warning: str = ""
    advice: str = ""
    curriculum: CurriculumConfig = field(default_factory=CurriculumConfig)
    recipe: Recipe = field(default_factory=Recipe)

    @property
    def total(self) -> int:
        """Cases that can be labelled: all but the unreadable."""
        return sum(row.state is not CaseState.UNREADABLE for row in self.rows)

    @property
    def to_do(self) -> int:
        """Cases that still wait for a human label."""
        return sum(row.waits for row in self.rows)

    @property
    def training(self) -> int:
        """Human labels that a round learns from: all but the guard set."""
        return max(0, self.labelled - self.guard)

    @property
    def active_model(self) -> Model | None:
        """The model that predictions come from."""
        return next((model for model in self.models if model.active), None)

    @property
    def seconds_left(self) -> float | None:
        """Working time that the unlabelled cases need at the pace so far; None while the pace is unknown."""
        return None if self.seconds_per_case is None else self.seconds_per_case * self.to_do


def duration(seconds: float) -> str:
    """Return *seconds* as people say them: ``40 s``, ``12 min``, ``2 h 10``."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d}"


def header_words(snapshot: Snapshot) -> str:
    """Return the line over the dock: ``37 of 160 labelled · ~2 h 10``."""
    words = f"{snapshot.labelled} of {snapshot.total} labelled"
    left = snapshot.seconds_left
    if not snapshot.total:
        return "No scan yet"
    if left is None or not snapshot.to_do:
        return words
    return f"{words} · ~{duration(left)}"


def read_snapshot(project: Any, earlier: Snapshot | None = None) -> Snapshot:
    """Read what the window shows of *project*; called on a thread.

    Parameters
    ----------
    earlier : Snapshot, optional
        The one before: what costs time and cannot have changed since is taken from it.
    """
    scores = {score.case: score for score in project.scores()}
    cases = project.cases()
    models = tuple(project.models())
    rounds = tuple(project.rounds())
    config = project.config
    human = [case for case in cases if case.labelled]
    has_model = any(model.active for model in models)
    minutes = _minutes(project.efforts())
    previewed, previews = _previews(project, cases, models, rounds, earlier)
    asked = frozenset(previews["auto"].waits_for)
    ranked_by, order_warning = _last_ranking(project)
    blind = blind_cases(cases, rounds)
    measured = read_hardness(project, blind, cases)
    rows = tuple(
        replace(
            _row(case, scores.get(case.id), minutes.get(case.id), case.id in asked),
            hardness=measured.get(case.id, {}),
            blind=case.id in blind,
        )
        for case in cases
    )
    return Snapshot(
        folder=str(project.folder),
        name=config.name,
        rows=rows,
        labelled=len(human),
        guard=sum(case.guard for case in human),
        pseudo=sum(case.pseudo and not case.labelled for case in cases),
        unscored=sum(row.score is None for row in rows if row.waits) if has_model else 0,
        seconds_per_case=_seconds_per_case(project, [case.id for case in human]),
        strategy=config.ranking.strategy,
        beta=config.ranking.beta,
        network=config.network,
        preset=config.preset,
        steps=config.training.steps,
        minutes=config.training.minutes,
        device=config.training.device,
        models=models,
        rounds=rounds,
        unfinished=project.last_unfinished_round(),
        counts=dict(project.counts()),
        previews=previews,
        previewed=previewed,
        selfpaced=config.selfpaced,
        selfpaced_off=phases.standing(project).off,
        start=config.training.start,
        strategies=_strategies(),
        ranked_by=ranked_by,
        order_warning=order_warning,
        curriculum=config.curriculum,
        recipe=config.training.recipe,
        advice=next((str(item.result.get("advice") or "") for item in reversed(rounds) if item.state == "done"), ""),
    )


def _minutes(efforts: Iterable[Effort]) -> dict[str, float]:
    """Active minutes per case, looking and drawing, over everybody and every opening."""
    minutes: dict[str, float] = {}
    for one in efforts:
        minutes[one.case] = minutes.get(one.case, 0.0) + (one.inspect_seconds + one.edit_seconds) / 60
    return minutes


def _previews(
    project: Any, cases: Sequence[Any], models: Sequence[Model], rounds: Sequence[Round], earlier: Snapshot | None
) -> tuple[Any, dict[str, phases.PhasePreview]]:
    """Return what each phase would take, and what that depends on: it reads every prediction, so not at each stroke."""
    depends = (
        str(project.folder),
        tuple((model.id, model.active) for model in models),
        tuple((item.number, item.state) for item in rounds),
        tuple((case.id, case.labelled, case.guard, case.skipped) for case in cases),
        project.config.selfpaced,
        len(project.events(phases.EVENT)),
        len(project.pseudo_reviews()),
        len(project.predicted(active)) if (active := next((m.id for m in models if m.active), "")) else 0,
    )
    if earlier is not None and earlier.previewed == depends:
        return depends, earlier.previews
    auto = phases.preview(project)
    return depends, {"auto": auto, "al": phases.preview(project, "al"), "spl": phases.preview(project, "spl")}


def _strategies() -> tuple[tuple[str, str], ...]:
    from napari_dasl.active import STRATEGIES  # takes SciPy along: not before a project is open

    return tuple((name, strategy.title) for name, strategy in STRATEGIES.items())


def _last_ranking(project: Any) -> tuple[str, str]:
    """Return by which strategy the list was really ordered, and what that ranking warned of.

    Such as that similarity did nothing or pushes the hard cases down, or that the predictions lack what the strategy
    goes by. Commands in the sentences are for the command line and are left out here.
    """
    told = project.events("ranking")
    payload = told[-1].payload if told else {}
    notes = " ".join(str(note) for note in payload.get("notes") or ())
    return str(payload.get("strategy") or ""), _COMMAND.sub("", notes).strip()


def _waits(case: Any) -> bool:
    return case.state in WAITING and not case.labelled


def _row(case: Any, score: Any, minutes: float | None, asked: bool) -> Row:
    spacing = " × ".join(f"{value:.3g}" for value in reversed(case.spacing))
    shape = " × ".join(str(size) for size in reversed(case.shape))
    channels = " + ".join(series.channel for series in case.series)
    facts = f"{channels} · {shape} voxels · {spacing} mm" if any(case.shape) else channels
    if score is None:
        return Row(case.id, case.state, case.labelled, case.reason, facts=facts, minutes=minutes, asked=asked)
    return Row(
        case.id,
        case.state,
        case.labelled,
        case.reason,
        score.rank if _waits(case) else None,
        score.score,
        score.uncertainty,
        score.similarity,
        score.difficulty,
        score.words,
        facts,
        minutes,
        asked,
    )


def _seconds_per_case(project: Any, labelled: Sequence[str]) -> float | None:
    """Median working time of the newest labels that were drawn here; imported ones took no time here."""
    spent = []
    for case_id in labelled[-_REVISIONS_READ:]:
        seconds = sum(revision.seconds for revision in project.labels(case_id) if revision.seconds > 0)
        if seconds > 0:
            spent.append(seconds)
    return median(spent) if spent else None


class SnapshotKeeper(ProjectReader):
    """Keeps the newest :class:`Snapshot` of the session's project; None while no project is open."""

    def __init__(self, session: Session) -> None:
        super().__init__(session, self._reading_of)
        session.draft_changed.connect(self.refresh)

    def _reading_of(self, project: Project) -> Callable[[], Snapshot]:
        earlier = self.snapshot
        return lambda: read_snapshot(project, earlier)


def snapshots_for(session: Session) -> SnapshotKeeper:
    """Return the one keeper of *session*, made at the first call."""
    for child in session.children():
        if isinstance(child, SnapshotKeeper):
            return child
    return SnapshotKeeper(session)
