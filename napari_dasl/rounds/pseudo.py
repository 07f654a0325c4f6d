"""Which predictions become pseudo-labels, and with what weight; from stored predictions, without torch.

A *candidate* is an unlabelled case whose prediction by the active model may stand in for a label. Never one are: guard
cases, cases with a human label, cases whose pseudo-label the annotator rejected, and predictions that found nothing
(unless the annotator labelled scans as empty too, so that "nothing" is an answer).

The losses may come from three views of a case (``[selfpaced] view``): the model against its own label (the paper's
l_i), against the label of the model before it, or the averaged weights against the last ones (teacher and student).
Losses of different views are never mixed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dasl import selfpaced

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_dasl.project import Model, Project
    from napari_dasl.project.config import SelfpacedConfig

LOSS = {"own": "self_loss", "previous": "loss_previous", "teacher": "loss_teacher"}
"""Where the scores of a prediction keep the loss of a view."""

VIEW_WORDS = {
    "own": "the model's own label",
    "previous": "the model before it",
    "teacher": "its own last weights",
}


@dataclass(frozen=True)
class Candidates:
    """The cases that may be taken, each with its loss.

    Attributes
    ----------
    losses : dict
        Case to loss, by id.
    view : str
        Whose losses these are; ``own`` where the project's view knows nothing about any case yet.
    unpredicted : tuple of str
        Cases that would be looked at if they were predicted.
    empty : tuple of str
        Left out, because nothing was found in them.
    notes : tuple of str
        What is worth a line in the log.
    """

    losses: dict[str, float]
    view: str = "own"
    unpredicted: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pace:
    """How far the self-paced weights reach in one SPL phase: λ, and the quantile that it was set by."""

    value: float
    quantile: float | None
    iteration: int
    accuracy: float | None


@dataclass(frozen=True)
class Choice:
    """Candidates with their weights v_i of Eq. 8.

    Attributes
    ----------
    weights : dict
        Every candidate, those of weight 0 too.
    """

    weights: dict[str, float] = field(default_factory=dict)
    losses: dict[str, float] = field(default_factory=dict)
    pace: Pace | None = None

    @property
    def taken(self) -> dict[str, float]:
        """Those to learn from, the surest first."""
        some = [(case, weight) for case, weight in self.weights.items() if weight > 0]
        return dict(sorted(some, key=lambda item: (-item[1], item[0])))

    @property
    def effective(self) -> float:
        """Σ v_i: as how many whole labels they count."""
        return math.fsum(self.weights.values())

    @property
    def mean_weight(self) -> float | None:
        """Mean weight of the taken ones; None where none is taken."""
        return self.effective / len(self.taken) if self.taken else None


def find(project: Project, model: Model, view: str, *, empty_labels: bool = False) -> Candidates:
    """Return the candidates among the unlabelled cases of *project*, from what *model* said about them.

    Parameters
    ----------
    project : Project
    model : Model
    view : str
        A key of :data:`LOSS`.
    empty_labels : bool
        Whether some human label of the project is empty, so that an empty prediction may be right.
    """
    rejected = project.rejected()
    known: dict[str, Mapping[str, Any]] = {}
    unpredicted, empty = [], []
    for case in project.pool():
        if case.id in rejected or not all(series.path.exists() for series in case.series):
            continue
        prediction = project.prediction(case.id, model.id)
        if prediction is None or LOSS["own"] not in prediction.scores:
            unpredicted.append(case.id)
        elif prediction.scores.get("empty") and not empty_labels:
            empty.append(case.id)
        else:
            known[case.id] = prediction.scores
    losses, used, notes = _losses(known, view)
    return Candidates(losses, used, tuple(unpredicted), tuple(empty), notes)


def _losses(known: Mapping[str, Mapping[str, Any]], view: str) -> tuple[dict[str, float], str, tuple[str, ...]]:
    found = {case: float(scores[LOSS[view]]) for case, scores in known.items() if scores.get(LOSS[view]) is not None}
    if found or not known:
        left = len(known) - len(found)
        note = f"{left} predictions have not been compared with {VIEW_WORDS[view]} and are left out this time."
        return found, view, (note,) if left else ()
    own = {case: float(scores[LOSS["own"]]) for case, scores in known.items()}
    return own, "own", (f"No prediction has been compared with {VIEW_WORDS[view]} yet: {VIEW_WORDS['own']} is used.",)


def pace_of(
    losses: Mapping[str, float],
    config: SelfpacedConfig,
    *,
    before: float | None,
    quantile_before: float | None,
    iteration: int,
    accuracy: float | None,
) -> Pace:
    """Return the pace of SPL phase number *iteration* by Eq. 9 of Wang et al. (MICCAI 2018), on λ or on the quantile.

    Parameters
    ----------
    losses : mapping
        Of the candidates; the quantile is one of these.
    before, quantile_before : float or None
        λ and quantile of the last SPL phase that counted; None before the first one.
    iteration : int
        t: 0 for the first SPL phase.
    accuracy : float or None
        η_t; None counts as 0, so that the pace stays.
    """
    good = 0.0 if accuracy is None else min(1.0, max(0.0, accuracy))
    # The logarithmic weights exist for 0 < λ < 1 alone.
    largest = 1.0 - 1e-6 if config.regularizer == "logarithmic" else math.inf
    if config.pace == "paper":
        start = config.pace0 if before is None else before
        value = selfpaced.next_pace(start, good, iteration, config.alpha, config.stop)
        return Pace(min(value, largest), None, iteration, accuracy)
    start = config.quantile if quantile_before is None else quantile_before
    share = selfpaced.next_quantile(start, good, iteration, config.growth, config.stop, config.ceiling)
    # The quantile is taken of C·l, because weights() compares C·l with λ.
    scaled = config.c * np.array(list(losses.values()), dtype=np.float64)
    value = selfpaced.quantile_pace(scaled, share) if scaled.size else 0.0
    return Pace(min(value, largest), share, iteration, accuracy)


def choose(losses: Mapping[str, float], pace: Pace, config: SelfpacedConfig) -> Choice:
    """Return the weight of every candidate (Eq. 8, or the regulariser of the project).

    Raises
    ------
    InputError
        The regulariser does not allow this pace.
    """
    if not losses:
        return Choice(pace=pace)
    found = selfpaced.weights(np.array(list(losses.values())), pace.value, config.regularizer, config.c)
    return Choice(dict(zip(losses, map(float, found), strict=True)), dict(losses), pace)
