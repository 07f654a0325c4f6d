"""How hard the cases of a project are: measured after every round where that is cheap, kept, and asked for.

A labelled case is measured on its newest human label. A case without one is measured on what the active model drew,
and the number says so (``prediction``). How unsure the network is and how far it is from its own answer come from the
scores of stored predictions. What is known for the same label revision, or the same model, is not measured again, and
most of it was measured while the scan was in memory to be predicted. Labels are only read. No torch, but where a
scorer trains networks.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dasl.curriculum.difficulty import SCORERS, difficulty, find_scorer
from napari_dasl.errors import Cancelled, DaslError, InputError, OutOfMemory
from napari_dasl.events import Log, Phase, Progress, never, silent
from napari_dasl.project import Difficulty, Score
from napari_dasl.project.curriculum_config import TRAINED
from napari_dasl.rounds.correlating import Correlation, correlations
from napari_dasl.rounds.measuring import DRAWN
from napari_dasl.scoring.losses import stored_own_loss
from napari_dasl.scoring.measured import LABEL_SCORERS, OF_THE_SCAN, measure_label
from napari_dasl.volumes.atomic import write_bytes_atomic

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from napari_dasl.events import CancelCheck, Report
    from napari_dasl.project import Case, Model, Prediction, Project, Revision

    Rows = dict[tuple[str, str], Difficulty]

__all__ = [
    "CHEAP",
    "Correlation",
    "correlations",
    "keep_current",
    "measure_difficulties",
    "of_pool",
    "rank_by_difficulty",
]

CHEAP: tuple[str, ...] = tuple(name for name in SCORERS if name not in TRAINED)
"""The scorers for which no network is trained; they are measured after every round."""

USUAL = "size"
"""What the lists show where the project's curriculum names no scorer."""

_AT_ONCE = 20  # cases whose numbers are stored together


def measure_difficulties(
    project: Project,
    scorers: Iterable[str] | None = None,
    *,
    device: str | None = None,
    report: Report = silent,
    cancelled: CancelCheck = never,
) -> list[Difficulty]:
    """Measure what is missing or outdated, store it, and return all that is known by these scorers.

    Parameters
    ----------
    project : Project
    scorers : iterable of str, optional
        Keys of :data:`napari_dasl.curriculum.SCORERS`; :data:`CHEAP` where left out. ``bootstrapping`` and
        ``gradient`` train networks, see :mod:`napari_dasl.scoring.trained`; they are known of labelled cases alone.
    device : str, optional
        Where to train; the project's where left out.
    report, cancelled
        Told after every case; asked between two cases.

    Returns
    -------
    list of Difficulty
        In the order of scorer and case. Of a case that could not be read, the log says why.

    Raises
    ------
    InputError
        There is no such scorer.
    ProjectError
        A scorer needs a model or labels that are not there.
    Cancelled
        What was measured is stored; trained folds go on where they stopped.
    """
    asked = tuple(dict.fromkeys(find_scorer(name).name for name in (CHEAP if scorers is None else scorers)))
    cheap = tuple(name for name in asked if name not in TRAINED)
    if cheap:
        _measure_cheap(project, cheap, report, cancelled)
    for scorer in asked:
        if scorer in TRAINED:
            from napari_dasl.rounds.difficulty_training import measure_trained

            measure_trained(project, scorer, device or project.config.training.device, report, cancelled)
    return [row for row in project.difficulties() if row.scorer in asked]


def keep_current(project: Project, report: Report = silent, cancelled: CancelCheck = never) -> None:
    """Measure what is :data:`CHEAP`; where it fails, the log says so, and nothing else is lost for it."""
    try:
        measure_difficulties(project, report=report, cancelled=cancelled)
    except Cancelled:
        raise
    except DaslError as problem:
        report(Log(level="warning", text=f"How hard the cases are was not measured: {problem}"))


def of_pool(project: Project, scorer: str | None = None) -> dict[str, Difficulty]:
    """What is known of the unlabelled cases by one scorer, from the active model's predictions; by case.

    Parameters
    ----------
    project : Project
    scorer : str, optional
        That of the project's curriculum where left out, or else :data:`USUAL`.
    """
    named = scorer or project.config.curriculum.scorer
    name = named if named in SCORERS else USUAL
    active = project.active_model()
    pool = {case.id for case in project.pool()}
    rows = project.difficulties(name)
    return {row.case: row for row in rows if row.case in pool and active is not None and row.model == active.id}


def rank_by_difficulty(project: Project, scorer: str | None = None) -> tuple[Score, ...]:
    """The unlabelled cases, the hardest first; those that hold nothing to measure, and then the unmeasured, come last.

    Nothing is measured or stored.

    Parameters
    ----------
    project : Project
    scorer : str, optional
        See :func:`of_pool`.

    Raises
    ------
    InputError
        There is no such scorer, or it says nothing about cases without a label.
    """
    named = scorer or project.config.curriculum.scorer
    chosen = find_scorer(named if scorer or named in SCORERS else USUAL)
    if chosen.name in TRAINED or "readers" in chosen.needs:
        fitting = [one.name for one in SCORERS.values() if one.name not in TRAINED and "readers" not in one.needs]
        raise InputError(
            f"{chosen.title} is known of labelled cases alone, and this is a list of unlabelled ones.",
            f"Choose one of {', '.join(fitting)}, or see `napari-dasl difficulty {project.folder}`.",
        )
    rows = of_pool(project, chosen.name)
    units = {case.id: chosen.unit_of(case.shape[0]) for case in project.pool()}
    names = list(units)
    hard = difficulty([rows[name].value if name in rows else math.nan for name in names], chosen)
    order = sorted(
        range(len(names)), key=lambda i: (names[i] not in rows, math.isnan(hard[i]), -np.nan_to_num(hard[i]), names[i])
    )
    return tuple(
        Score(
            case=names[i],
            model=rows[names[i]].model or "" if names[i] in rows else "",
            rank=rank,
            score=float(hard[i]) if math.isfinite(hard[i]) else None,
            uncertainty=None,
            similarity=None,
            difficulty=float(hard[i]) if math.isfinite(hard[i]) else None,
            words=_words(chosen.title, units[names[i]], rows.get(names[i])),
        )
        for rank, i in enumerate(order, start=1)
    )


def _words(title: str, unit: str, row: Difficulty | None) -> str:
    if row is None:
        return "Not measured: not predicted yet."
    if math.isnan(row.value):
        return f"{title}: nothing is drawn."
    measured = f"{title} {row.value:.4g} {unit}".rstrip()
    return f"{measured}, on the prediction." if row.on_prediction else f"{measured}."


def _measure_cheap(project: Project, scorers: Sequence[str], report: Report, cancelled: CancelCheck) -> None:
    """Measure case by case what needs no training, and store it a few cases at a time."""
    lesions = project.config.curriculum.lesion_values(project.config.classes)
    seen = _Seen(project.folder / "cache" / "difficulty" / "lesions.json", lesions)
    known: Rows = {(row.case, row.scorer): row for row in project.difficulties() if not seen.outdated(row.scorer)}
    model = project.active_model()
    predicted = project.predicted(model.id) if model is not None else frozenset()
    cases = [case for case in project.cases() if case.readable]
    report(Phase(name="prepare", text="Measuring how hard the cases are."))
    fresh: list[Difficulty] = []
    for done, case in enumerate(cases):
        if cancelled():
            project.set_difficulties(fresh)
            raise Cancelled("Stopped between two cases.", "What was measured is kept.")
        one = _Measuring(project, case, model if case.id in predicted else None, known, lesions)
        try:
            fresh += one.rows(scorers)
        except OutOfMemory:
            raise
        except DaslError as problem:
            report(Log(level="warning", text=f"How hard {case.id} is was not measured: {problem}"))
        if len(fresh) >= _AT_ONCE:
            project.set_difficulties(fresh)
            fresh.clear()
        report(Progress(name="prepare", done=done + 1, total=len(cases), text=case.id))
    project.set_difficulties(fresh)
    seen.settle(scorers)


class _Seen:
    """Which classes were lesions when each scorer measured; a file in the cache, none where it was every class."""

    def __init__(self, path: Path, lesions: Sequence[int]) -> None:
        self.path, self.lesions = path, list(lesions)
        try:
            self.before: dict[str, list[int]] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self.before = {}

    def outdated(self, scorer: str) -> bool:
        """Whether what is known by *scorer* was measured on other classes."""
        return scorer in LABEL_SCORERS and self.before.get(scorer, []) != self.lesions

    def settle(self, scorers: Iterable[str]) -> None:
        """Remember that *scorers* measured every case on the classes that are lesions now."""
        changed = {name: self.lesions for name in scorers if self.outdated(name)}
        if changed:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes_atomic(self.path, json.dumps(self.before | changed).encode())


@dataclass(frozen=True)
class _Measuring:
    """One case, the active model where that predicted it, and what is known."""

    project: Project
    case: Case
    model: Model | None
    known: Mapping[tuple[str, str], Difficulty]
    lesions: Sequence[int] = ()

    def rows(self, scorers: Sequence[str]) -> list[Difficulty]:
        """What is new."""
        revisions = [one for one in self.project.labels(self.case.id) if one.human] if self.case.labelled else []
        prediction = self.project.prediction(self.case.id, self.model.id) if self.model is not None else None
        wanted = [name for name in scorers if name in LABEL_SCORERS]
        if revisions:
            found = self._on_label(wanted, revisions)
        elif prediction is not None and not self.case.guard:
            found = self._on_prediction(wanted, prediction)
        else:
            found = []
        if prediction is not None:
            found += self._by_model(scorers, prediction)
        return found

    def _on_label(self, scorers: Sequence[str], revisions: Sequence[Revision]) -> list[Difficulty]:
        newest = revisions[-1].number
        readers = {one.author: one.number for one in revisions}
        missing = [name for name in scorers if not self._same(Difficulty(self.case.id, name, 0, "label", None, newest))]
        if len(readers) < 2:
            missing = [name for name in missing if name != "agreement"]
        if not missing:
            return []
        label = self.project.read_label(self.case.id, newest)
        assert label is not None
        drawn = readers.values() if "agreement" in missing else ()
        read = (self.project.read_label(self.case.id, number) for number in drawn)
        readers_labels = [one for one in read if one is not None]
        image = self._image(missing)
        values = measure_label(missing, image, label, self.case.spacing, readers_labels, lesions=self.lesions)
        return [Difficulty(self.case.id, name, value, "label", None, newest) for name, value in values.items()]

    def _on_prediction(self, scorers: Sequence[str], prediction: Prediction) -> list[Difficulty]:
        like = Difficulty(self.case.id, "", 0, "prediction", prediction.model)
        missing = [name for name in scorers if name != "agreement" and not self._same(replace(like, scorer=name))]
        # Measured when it was predicted, on every class; null stands for a prediction that drew nothing.
        told = {} if self.lesions else prediction.scores
        values = {name: told[DRAWN[name]] for name in missing if DRAWN[name] in told}
        missing = [name for name in missing if name not in values]
        if missing:
            label = self.project.label_from(prediction)
            values |= measure_label(missing, self._image(missing), label, self.case.spacing, lesions=self.lesions)
        return [
            replace(like, scorer=name, value=math.nan if value is None else float(value))
            for name, value in values.items()
        ]

    def _by_model(self, scorers: Sequence[str], prediction: Prediction) -> list[Difficulty]:
        """What the scores of a prediction say; compared by value, because the region of the uncertainty may change."""
        values = {
            "uncertainty": prediction.scores.get(f"uncertainty_{self.project.config.ranking.region}"),
            "self-paced": stored_own_loss(prediction.scores),
        }
        found = []
        for name, value in values.items():
            if name in scorers and value is not None:
                row = Difficulty(self.case.id, name, float(value), "model", prediction.model)
                before = self.known.get((self.case.id, name))
                if before is None or replace(before, created=None) != row:
                    found.append(row)
        return found

    def _same(self, row: Difficulty) -> bool:
        """Whether a number of the same origin is known."""
        known = self.known.get((row.case, row.scorer))
        return known is not None and replace(known, value=row.value, created=None) == row

    def _image(self, scorers: Sequence[str]) -> Any:
        return self.project.read_image_array(self.case.id) if OF_THE_SCAN & set(scorers) else None
