"""Whether what is called hard is hard: difficulties beside the Dice that networks reached where the truth is known."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_dasl.active import mean_dice
from napari_dasl.curriculum.difficulty import SCORERS, difficulty
from napari_dasl.errors import DaslError
from napari_dasl.scoring.losses import stored_own_loss
from napari_dasl.volumes.atomic import write_bytes_atomic

if TYPE_CHECKING:
    from pathlib import Path

    from napari_dasl.project import Model, Prediction, Project

FEWEST = 3
FILE = "dice.json"


class Correlation(NamedTuple):
    """How a difficulty goes with Dice: Spearman's rank correlation, and over how many cases.

    Difficulties rise with hardness, so that one that tells has a correlation below 0.
    """

    rho: float
    cases: int


def correlations(project: Project) -> dict[str, Correlation]:
    """Spearman's ρ of each scorer's difficulty with the Dice of a network that had not seen the label.

    Two kinds of cases count: those of the guard set, with the Dice that the active model was judged by; and labelled
    cases that a model predicted without having learned from them, most of all predictions that somebody corrected, with
    the Dice of the newest such prediction and the newest label. Only numbers that are stored are read: those on human
    labels, and the uncertainty and own loss of that very prediction.

    Parameters
    ----------
    project : Project

    Returns
    -------
    dict
        By scorer; scorers known of fewer than three such cases, or the same for all of them, are left out.
    """
    guard = _guard_dice(project)
    unseen = _unseen(project)
    dice = {**guard, **{case: value for case, (value, _) in unseen.items()}}
    stored = {name: _stored(project, name) for name in SCORERS}
    key = f"uncertainty_{project.config.ranking.region}"
    asked = {case: (one.scores.get(key), stored_own_loss(one.scores)) for case, (_, one) in unseen.items()}
    for place, name in enumerate(("uncertainty", "self-paced")):
        stored[name] = {case: float(value) for case, found in asked.items() if (value := found[place]) is not None}
    found = {}
    for name, values in stored.items():
        known = [case for case in dice if case in values and not math.isnan(values[case])]
        if len(known) >= FEWEST:
            rho = _spearman(difficulty([values[case] for case in known], name), [dice[case] for case in known])
            if not math.isnan(rho):
                found[name] = Correlation(rho, len(known))
    return found


def _stored(project: Project, scorer: str) -> dict[str, float]:
    """What is known of labelled cases; not what a prediction stood in for, which would be compared with itself."""
    return {row.case: row.value for row in project.difficulties(scorer) if row.revision is not None}


def _guard_dice(project: Project) -> dict[str, float]:
    active = project.active_model()
    cases = active.guard.get("cases", {}) if active is not None else {}
    return {case: float(value) for case, value in cases.items() if value is not None}


def _unseen(project: Project) -> dict[str, tuple[float, Prediction]]:
    """Dice and prediction of each labelled case that the newest model that predicted it had not learned from."""
    models = [(model, project.predicted(model.id)) for model in reversed(project.models())]
    path = project.folder / "cache" / "difficulty" / FILE
    known = _read(path)
    found: dict[str, tuple[float, Prediction]] = {}
    fresh: dict[str, float] = {}
    for case in project.training_cases():
        model = next((one for one, cases in models if case.id in cases and not _learned(one, case.id)), None)
        if model is None:
            continue
        revision = [one.number for one in project.labels(case.id) if one.human][-1]
        key = f"{case.id}/{revision}/{model.id}"
        try:
            prediction = project.prediction(case.id, model.id)
            if prediction is None:
                continue
            if key not in known:
                label = project.read_label(case.id, revision)
                assert label is not None
                known[key] = fresh[key] = mean_dice(project.class_map(label), prediction.label())
        except DaslError:  # a lost label or prediction has nothing to tell here, and its own place to be told
            continue
        found[case.id] = (known[key], prediction)
    if fresh:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes_atomic(path, json.dumps(known, indent=1).encode())
    return found


def _learned(model: Model, case: str) -> bool:
    """Whether *model* was trained on the label of a case, or on its own label of it."""
    return case in model.config.get("trained_on", {}) or case in model.config.get("pseudo", {})


def _read(path: Path) -> dict[str, float]:
    """The Dice that were measured before, by case, revision and model; none where the cache was emptied."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(key): float(value) for key, value in found.items()} if isinstance(found, dict) else {}


def _spearman(first: object, second: object) -> float:
    """Pearson's correlation of the ranks, ties sharing theirs; NaN where one of the two is the same throughout."""
    from scipy.stats import rankdata  # loads slowly, and lists of cases need none of it

    a, b = rankdata(first), rankdata(second)
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return math.nan
    return float(np.corrcoef(a, b)[0, 1])
