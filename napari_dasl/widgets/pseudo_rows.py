"""The pseudo-labels of a project as plain values, and how good they turned out to be. No Qt here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_dasl.metrics.overlap import per_class
from napari_dasl.project.records import CaseState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_dasl.project import Case, Project
    from napari_dasl.project.records import PseudoLabel

BLIND_EVENT = "blind-check"
"""Kind of the diary line that a blind check was skipped, or is none any more because the answer was seen."""


class PseudoState(StrEnum):
    """What became of a pseudo-label."""

    IN_USE = "in use"
    BLIND = "blind check"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    LABELLED = "labelled"
    DRAFT = "draft"


@dataclass(frozen=True)
class PseudoRow:
    """One pseudo-label.

    Attributes
    ----------
    case : str
        Whose it is.
    weight : float
        0 to 1: how much the network learns from it beside a human label.
    loss : float or None
        What the weight was made from; None while the case waits for a blind check, and for one that was rejected in an
        earlier round and has no pseudo-label now.
    volume_ml : float or None
        Volume that the network drew; None while the case waits for a blind check, or where it is unknown.
    state : PseudoState
        What became of it.
    model : str
        The network that drew it.
    round : int
        The round that took it.
    """

    case: str
    weight: float
    loss: float | None
    volume_ml: float | None
    state: PseudoState
    model: str
    round: int


class Quality(NamedTuple):
    """Mean Dice of *cases* pseudo-labels against labels that were drawn blind."""

    dice: float
    cases: int


@dataclass(frozen=True)
class PseudoSnapshot:
    """The pseudo-labels of the newest round that has any.

    Attributes
    ----------
    round : int or None
        That round; None where there is none.
    rows : tuple of PseudoRow
        Those with a weight or a verdict, the largest weight first.
    too_hard : int
        Candidates of weight 0: the network is too unsure of them to learn from them.
    audits : tuple of str
        Cases that are offered for a blind check.
    quality : Quality or None
        What blind checks found so far.
    """

    round: int | None = None
    rows: tuple[PseudoRow, ...] = ()
    too_hard: int = 0
    audits: tuple[str, ...] = ()
    quality: Quality | None = None

    @property
    def in_use(self) -> tuple[PseudoRow, ...]:
        """Those that the network learns from."""
        return tuple(
            row for row in self.rows if row.state in (PseudoState.IN_USE, PseudoState.BLIND, PseudoState.DRAFT)
        )


def read_pseudo(project: Project) -> PseudoSnapshot:
    """Read the pseudo-labels of *project*; called in a worker."""
    labels = project.pseudo_labels()
    quality = _quality(project)
    if not labels:
        return PseudoSnapshot(quality=quality)
    cases = {case.id: case for case in project.cases()}
    audits = _open_audits(project, labels, cases)
    shown = [one for one in labels if one.case in cases and (one.weight > 0 or one.verdict)]
    return PseudoSnapshot(
        round=labels[0].round,
        rows=(
            *(_row(project, one, cases[one.case], one.case in audits) for one in shown),
            *_refused_before(project, {one.case for one in labels}),
        ),
        too_hard=sum(one.weight <= 0 for one in labels) - sum(one.weight <= 0 for one in shown),
        audits=audits,
        quality=quality,
    )


def _refused_before(project: Project, listed: set[str]) -> list[PseudoRow]:
    """Return rows of what was rejected in an earlier round, so that it can still be taken back."""
    last = {one.case: one for one in project.pseudo_reviews() if one.verdict == "rejected"}
    return [
        PseudoRow(case, 0.0, None, None, PseudoState.REJECTED, last[case].model, last[case].round)
        for case in sorted(project.rejected() - listed)
    ]


def _row(project: Project, label: PseudoLabel, case: Case, blind: bool) -> PseudoRow:
    state = _state(label, case, blind)
    volume = None
    if not blind:
        prediction = project.prediction(label.case, label.model)
        found = prediction.scores.get("volume_ml") if prediction is not None else None
        volume = float(sum(found.values())) if isinstance(found, dict) else None
    return PseudoRow(label.case, label.weight, None if blind else label.loss, volume, state, label.model, label.round)


def _state(label: PseudoLabel, case: Case, blind: bool) -> PseudoState:
    if label.verdict == "accepted":
        return PseudoState.ACCEPTED
    if case.labelled:
        return PseudoState.LABELLED
    if label.verdict == "rejected":
        return PseudoState.REJECTED
    if blind:
        return PseudoState.BLIND
    return PseudoState.DRAFT if case.state is CaseState.DRAFT else PseudoState.IN_USE


def _open_audits(project: Project, labels: Sequence[PseudoLabel], cases: dict[str, Case]) -> tuple[str, ...]:
    """Return the cases of the newest drawing of lots that still can be checked blind."""
    drawn = next((one for one in reversed(project.rounds()) if one.result.get("audits")), None)
    if drawn is None:
        return ()
    over = {
        line.payload.get("case") for line in project.events(BLIND_EVENT) if line.payload.get("round") == drawn.number
    }
    over |= {one.case for one in labels if one.verdict}
    known = {one.case for one in labels}
    return tuple(
        name
        for name in drawn.result["audits"]
        if name in known and name in cases and name not in over and _undrawn(project, cases[name])
    )


def _undrawn(project: Project, case: Case) -> bool:
    """Whether nobody drew the case yet, or only blind."""
    if case.state is CaseState.DRAFT:
        draft = project.read_draft(case.id)
        return not case.labelled and draft is not None and bool(draft.meta.get("audit"))
    return case.readable and not case.labelled


def audit_round(project: Project) -> int | None:
    """Return the number of the newest round that drew cases for a blind check."""
    return next((one.number for one in reversed(project.rounds()) if one.result.get("audits")), None)


def _quality(project: Project) -> Quality | None:
    found = [one.dice for one in project.pseudo_reviews() if one.verdict == "audited" and one.dice is not None]
    return Quality(fmean(found), len(found)) if found else None


def agreement(label: NDArray[Any], pseudo: NDArray[Any], classes: Sequence[str]) -> float:
    """Return the mean Dice over the classes that occur in either mask; 1 where both are empty, for they agree.

    Parameters
    ----------
    label, pseudo : (z, y, x) integer array
        What a person drew, and what the network drew; k stands for ``classes[k - 1]``.
    """
    found = [counts.dice for counts in per_class(label, pseudo, classes).values()]
    known = [value for value in found if not np.isnan(value)]
    return fmean(known) if known else 1.0


def summary_words(snapshot: PseudoSnapshot) -> str:
    """Return what the pseudo-labels are, in sentences."""
    if snapshot.round is None:
        return "The network has not labelled any scan for itself yet."
    used = snapshot.in_use
    if not used:
        return f"None of the pseudo-labels of round {snapshot.round} is in use any more."
    mean = fmean(row.weight for row in used)
    hard = f"; {snapshot.too_hard} more are too hard so far" if snapshot.too_hard else ""
    return (
        f"Round {snapshot.round}: the network learns from {len(used)} of its own drawings, "
        f"mean weight {mean:.2f}{hard}. Your label always wins."
    )


def quality_words(quality: Quality | None) -> str:
    """Return what blind checks found, in a sentence; "" before the first."""
    if quality is None:
        return ""
    return f"Pseudo-label quality so far: Dice {quality.dice:.2f} (n = {quality.cases})."
