"""What a round leaves for the annotator: cases to label, pseudo-labels to check blind, and advice on stopping."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dasl.active.stopping import RoundSigns, advise
from napari_dasl.rounds import phases
from napari_dasl.rounds.guarding import mean

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from napari_dasl.project import Project
    from napari_dasl.rounds.plan import GuardResult
    from napari_dasl.rounds.ranking import Ranking
    from napari_dasl.rounds.stage import Stage


def asked(stage: Stage, ranking: Ranking | None, now: phases.Standing) -> list[str]:
    """Return the cases that the annotator is asked for before the next round; [] where that takes pseudo-labels."""
    if ranking is None or not phases.asks_next(stage.project.config.selfpaced, now):
        return []
    return [one.case for one in ranking.scores[: stage.project.config.ranking.query]]


def audits(stage: Stage, taken: Collection[str]) -> list[str]:
    """Draw pseudo-labels of this round for a blind check: by lot, so that their Dice estimates that of all of them.

    Cases that were labelled or rejected while the round ran are left out.
    """
    open_cases = {case.id for case in stage.project.pool()} - stage.project.rejected()
    left = sorted(open_cases.intersection(taken))
    count = min(stage.project.config.selfpaced.audits, len(left))
    drawn = np.random.default_rng(stage.plan.seed).permutation(len(left))[:count]
    return [left[int(index)] for index in drawn]


def stability(project: Project) -> float | None:
    """Return the mean Dice of the pool's predictions with those of the model before; None where none is known."""
    active = project.active_model()
    if active is None:
        return None
    found = (project.prediction(case.id, active.id) for case in project.pool())
    return mean([one.scores.get("agreement_previous") for one in found if one is not None])


def advice(stage: Stage, guard: GuardResult, stable: float | None) -> str:
    """Return what the rounds so far say about stopping; empty where nothing has levelled off."""
    done = [item for item in stage.project.rounds() if item.state == "done"]
    starts = [item.started for item in done] + [stage.round.started]
    history = [
        _signs(item.result.get("stability"), item.result.get("guard") or {}, effort)
        for item, effort in zip(done, _efforts(stage.project, starts), strict=False)
    ]
    last = _efforts(stage.project, starts)[-1]
    found = advise([*history, _signs(stable, guard.model_dump(), last)])
    return found.sentence if found.reasons else ""


def _signs(stable: float | None, guard: Mapping[str, Any], effort: float | None) -> RoundSigns:
    now, before, interval = guard.get("dice"), guard.get("before"), guard.get("interval")
    gain = None if now is None or before is None else now - before
    return RoundSigns(stable, gain, (interval[0], interval[1]) if interval else None, effort)


def _efforts(project: Project, starts: list[datetime]) -> list[float | None]:
    """Median active seconds per corrected case that was saved before each of the rounds and after the one before it."""
    found = [one for one in project.efforts() if not one.drawn_from_nothing]
    medians: list[float | None] = []
    for number, start in enumerate(starts):
        seconds = [
            one.inspect_seconds + one.edit_seconds
            for one in found
            if one.saved < start and (number == 0 or one.saved >= starts[number - 1])
        ]
        medians.append(median(seconds) if seconds else None)
    return medians
