"""What *This case* says about a case, as plain values and sentences. No Qt here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_dasl.project.records import CaseState
from napari_dasl.widgets.score_words import Part, parts

if TYPE_CHECKING:
    from datetime import datetime

    from napari_dasl.project import Case, Project, Revision, Score


@dataclass(frozen=True)
class Neighbour:
    """A case that looks like this one to the network: *likeness* is the cosine of their signatures, -1 to 1."""

    case: str
    likeness: float
    labelled: bool


@dataclass(frozen=True)
class Facts:
    """A case as the project knows it now.

    Attributes
    ----------
    case : Case
        The record.
    score : Score or None
        Its place in the list of the active model.
    waiting : int
        Cases in that list.
    revisions : tuple of Revision
        Oldest first.
    model : str or None
        The active model's prediction exists and was drawn by it.
    model_round : int or None
        The round that trained it.
    predicted : datetime or None
        When it was drawn (UTC).
    diagnosis : str
        What the similarity term did to the list of the active model, in sentences; "" where it was not used.
    """

    case: Case
    score: Score | None
    waiting: int
    revisions: tuple[Revision, ...]
    model: str | None
    model_round: int | None
    predicted: datetime | None
    diagnosis: str = ""

    @property
    def neighbours(self) -> tuple[Neighbour, ...]:
        """The most similar cases, labelled ones first, the most alike first."""
        found = self.score.similar if self.score is not None else ()
        named = [Neighbour(*one) for one in found]
        return tuple(sorted(named, key=lambda one: (not one.labelled, -one.likeness)))


def read_facts(project: Project, case_id: str) -> Facts:
    """Read the facts of a case; called in a worker."""
    case = project.case(case_id)
    scores = project.scores()
    prediction = project.prediction(case_id) if case.readable else None
    rounds = {model.id: model.round for model in project.models()}
    return Facts(
        case=case,
        score=next((score for score in scores if score.case == case_id), None),
        waiting=len(scores),
        revisions=tuple(project.labels(case_id)),
        model=prediction.model if prediction is not None else None,
        model_round=rounds.get(prediction.model) if prediction is not None else None,
        predicted=prediction.created if prediction is not None else None,
        diagnosis=_diagnosis(project),
    )


def _diagnosis(project: Project) -> str:
    """Return what the newest ranking says that its similarity term did."""
    told = project.events("ranking")
    found = told[-1].payload.get("diagnosis") if told else None
    if not found:
        return ""
    if found["sentence"]:
        return str(found["sentence"])
    if found["agreement"] is None or found["variation"] is None:
        return ""
    return (
        f"Similarity re-ordered the list: its rank correlation with uncertainty alone is {found['agreement']:.2f}; "
        f"similarities differ by {found['variation']:.0%} of their mean."
    )


BLIND = (
    "Blind check: the network labelled this scan for itself, and your label will tell how well. No prediction, no map "
    "and no draft is shown until you save."
)
"""What is said while a pseudo-label is checked."""


def why(facts: Facts, *, blind: bool = False) -> str:
    """Return, in words first, why the case is here; *blind* while its pseudo-label is being checked."""
    case = facts.case
    if blind:
        return BLIND
    if case.state is CaseState.UNREADABLE:
        return f"This scan cannot be read: {case.reason.rstrip('.')}. The other cases are not affected."
    if case.state is CaseState.SKIPPED:
        return f"Set aside: {case.reason or 'no reason was given'}. You can still open and label it."
    if case.guard:
        return (
            "Guard case: its label judges every new model and is never trained on, so it opens without a prediction. "
            "Please label what you see."
        )
    if facts.score is not None and facts.score.words:
        words = facts.score.words[0].upper() + facts.score.words[1:]
        return words if words.endswith(".") else f"{words}."
    if facts.score is not None:
        return f"Number {facts.score.rank} of {facts.waiting} in the list: the network is unsure here."
    if case.labelled:
        return "Labelled. Correct it whenever you like; every earlier label is kept."
    if facts.model is not None:
        return "The network has drawn this case; it has no place in the list yet."
    return "No network has seen this case yet. Any case is a good one to begin with."


def prediction_words(facts: Facts, *, blind: bool = False) -> str:
    """Return which model drew the prediction, when, and from which round."""
    if blind:
        return "Prediction: hidden for the blind check"
    if facts.case.guard:
        return "Prediction: hidden for guard cases"
    if facts.model is None:
        return "Prediction: none yet"
    by = f"round {facts.model_round}" if facts.model_round is not None else facts.model
    when = f", {facts.predicted.astimezone():%d %b %H:%M}" if facts.predicted is not None else ""
    return f"Prediction: model of {by}{when}"


def label_words(facts: Facts) -> str:
    """Return what is saved of the case."""
    if not facts.revisions:
        return "Label: none saved yet"
    last = facts.revisions[-1]
    sources = {
        "human": f"drawn by {last.author}",
        "imported": "imported",
        "pseudo": "drawn by the network (pseudo-label)",
        "corrected": f"corrected by {last.author}",
        "restored": f"restored by {last.author}",
    }
    return f"Label: revision {last.number}, {sources[last.source]}, {last.created.astimezone():%d %b %H:%M}"


def numbers(facts: Facts) -> list[Part]:
    """Return every number behind the reason, in words."""
    return [] if facts.score is None else list(parts(facts.score, facts.waiting))


def particulars(facts: Facts) -> list[Part]:
    """Return what is known of the scan and the files behind it."""
    rows = []
    if facts.case.readable:
        size = " × ".join(str(size) for size in reversed(facts.case.shape))
        spacing = " × ".join(f"{size:.3g}" for size in reversed(facts.case.spacing))
        rows.append(Part("Voxels", size, "Columns × rows × slices."))
        rows.append(Part("Voxel size", f"{spacing} mm", "From column to column, row to row, and slice to slice."))
    if facts.model is not None and not facts.case.guard:
        rows.append(Part("Model", facts.model, "Which network drew the prediction."))
    scans = (
        Part(f"Scan ({one.channel})", str(one.path), "Where it lies; it is never changed.") for one in facts.case.series
    )
    return [*rows, *scans]


def volume_words(millilitres: float) -> str:
    """Return a volume as a radiologist writes it."""
    if millilitres <= 0:
        return "–"
    if millilitres < 0.1:
        return f"{millilitres * 1000:.0f} mm³"
    return f"{millilitres:.2f} ml" if millilitres < 10 else f"{millilitres:.0f} ml"
