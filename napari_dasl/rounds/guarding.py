"""The guard set decides: old and new model on the same cases, case by case, and which of them stays active."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import numpy as np

from napari_dasl.events import Log, Phase
from napari_dasl.rounds import guard_lesions
from napari_dasl.rounds.comparing import compare
from napari_dasl.rounds.detecting import Findings, brief
from napari_dasl.rounds.models import predictor
from napari_dasl.rounds.plan import CaseLesions, GuardResult
from napari_dasl.volumes.atomic import write_bytes_atomic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from napari_dasl.inference.region.candidates import Candidates
    from napari_dasl.rounds.stage import Stage

LARGEST_LOSS = 0.15
"""A guard case that loses more than so much Dice stops a round that gains nothing on the whole."""

PAID_BY_LESIONS = 0.05
"""So much mean Dice may go where a detector finds clearly more lesions: outlines are a little worse, not lost."""

BEFORE_FILE = "before.json"


def mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of what is known, or None."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def differences(new: Mapping[str, float | None], before: Mapping[str, float | None]) -> dict[str, float]:
    """Return the paired difference, new minus before, of every case that both models were compared on.

    A case without the structure has no Dice where nothing was found. Beside a model that found something there, it
    counts as 1: a new false alarm is a loss.
    """
    paired = {}
    for case in new.keys() & before.keys():
        one, other = new[case], before[case]
        if one is None and other is None:
            continue
        paired[case] = (1.0 if one is None else one) - (1.0 if other is None else other)
    return dict(sorted(paired.items()))


def summarise(
    new: Mapping[str, float | None],
    before: Mapping[str, float | None],
    per_class: Mapping[str, float | None],
    seed: int,
    *,
    lesions: Mapping[str, CaseLesions] | None = None,
    before_lesions: Mapping[str, CaseLesions] | None = None,
) -> GuardResult:
    """Return both models' Dice with the bootstrap interval of the mean difference and the case that lost most.

    Of a detector, with what both found of the lesions of each case.
    """
    from napari_dasl.metrics.statistics import bootstrap_interval

    paired = differences(new, before)
    worst = min(paired.items(), key=lambda item: item[1]) if paired else None
    interval = bootstrap_interval(list(paired.values()), seed=seed) if len(paired) > 1 else None
    return GuardResult(
        dice=mean(list(new.values())),
        per_class=dict(per_class),
        before=mean(list(before.values())),
        cases=dict(new),
        before_cases=dict(before),
        interval=interval,
        worst=worst,
        lesions=dict(lesions or {}),
        before_lesions=dict(before_lesions or {}),
    )


def why_not(guard: GuardResult, tolerance: float) -> str:
    """Say why the new model does not take over; "" where it does.

    **Any network** takes over unless its guard Dice fell by more than *tolerance*, as the mean of the paired
    differences, or fell at all while a single case lost more than :data:`LARGEST_LOSS`.

    **A detector** is judged by the guard lesions first, at each model's own threshold:

    1. It does not take over where it lost lesions: its F1 fell, and it finds fewer by more than one lesion and by more
       than the share *tolerance* of all, or makes over one more false finding a scan (:func:`guard_lesions.why_lost`).
    2. It takes over where it finds more by the same measure and its F1 rose, unless the mean of the paired differences
       in Dice fell by more than :data:`PAID_BY_LESIONS`.
    3. Otherwise Dice decides as for any network.

    One lesion never decides, because in a guard set of a few scans chance does.
    """
    lost = guard_lesions.why_lost(guard.lesions, guard.before_lesions, tolerance)
    if lost:
        return lost
    if guard_lesions.gained(guard.lesions, guard.before_lesions, tolerance):
        return _why_not_by_dice(guard, max(tolerance, PAID_BY_LESIONS), largest_loss=math.inf)
    return _why_not_by_dice(guard, tolerance, LARGEST_LOSS)


def _why_not_by_dice(guard: GuardResult, tolerance: float, largest_loss: float) -> str:
    paired = differences(guard.cases, guard.before_cases)
    if paired:
        change = float(np.mean(list(paired.values())))
    elif guard.dice is not None and guard.before is not None:
        change = guard.dice - guard.before
    else:
        return ""
    if change < -tolerance:
        # A model stored before per-case figures were kept has no pairs, and then the means decide.
        before, now = guard.before, guard.dice
        seen = f" from {before:.3f} to {now:.3f}" if before is not None and now is not None else ""
        return f"Guard Dice fell{seen}, by more than the tolerance of {tolerance:g}."
    if change < 0 and guard.worst is not None and guard.worst[1] < -largest_loss:
        case, lost = guard.worst
        return f"Guard case {case} lost {-lost:.2f} Dice, and the guard set gained nothing on the whole."
    return ""


def before_cases(stage: Stage) -> dict[str, float | None]:
    """Return the active model's Dice on every guard case of this round; {} where there is no model or no guard set.

    It is measured anew, once, where the guard set is not the one that the model was judged on.
    """
    return _before(stage)[0]


def _before(stage: Stage) -> tuple[dict[str, float | None], dict[str, CaseLesions]]:
    """Dice of the active model, and for a detector what it found of the lesions, on every guard case."""
    if stage.parent is None or not stage.guard:
        return {}, {}
    stored = stage.parent.guard
    known = stored.get("cases") or {}
    names = {case.id for case in stage.guard}
    same = stage.parent.config.get("guard_set") == stage.round.plan["guard_set"] and set(known) == names
    if same and (not stage.plan.detector or set(stored.get("lesions") or {}) == names):
        return dict(known), _read(stored.get("lesions"))
    path = stage.round.folder / BEFORE_FILE
    if path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
        # The version before wrote Dice alone, by case.
        dice = found["dice"] if isinstance(found.get("dice"), dict) else found
        if not stage.plan.detector or isinstance(found.get("lesions"), dict):
            return dice, _read(found.get("lesions"))
    why = (
        "The active model is looked at lesion by lesion."
        if same
        else "The guard set has changed: the active model is judged on it anew."
    )
    stage.report(Phase(name="guard", text=why))
    rows = compare(
        predictor(stage.parent.folder, stage.device),
        stage.guard,
        stage.project.config.classes,
        report=stage.report,
        cancelled=stage.cancelled,
    )
    anew = {row.case: row.dice for row in rows}
    lesions = {row.case: guard_lesions.lesions_of(row) for row in rows} if stage.plan.detector else {}
    told = {"dice": anew, "lesions": {case: one.model_dump(mode="json") for case, one in lesions.items()}}
    write_bytes_atomic(path, json.dumps(told, indent=1).encode())
    return anew, lesions


def _read(stored: object) -> dict[str, CaseLesions]:
    return {case: CaseLesions.model_validate(one) for case, one in stored.items()} if isinstance(stored, dict) else {}


def judge(stage: Stage, folder: Path, found: dict[str, Candidates] | None = None) -> GuardResult:
    """Compare the new model in *folder* with the active one, over the same guard cases and label revisions.

    What a detector *found* already while its thresholds were chosen is not predicted again.
    """
    if not stage.guard:
        stage.report(Log(level="warning", text="There is no guard set yet: the new model cannot be checked."))
        return GuardResult(dice=None)
    before, before_lesions = _before(stage)
    stage.report(Phase(name="guard", text=f"Comparing on the {len(stage.guard)} scans of the guard set."))
    classes = stage.project.config.classes
    network, findings = predictor(folder, stage.device), Findings() if stage.plan.detector else None
    rows = compare(
        network, stage.guard, classes, report=stage.report, cancelled=stage.cancelled, seen=findings, found=found
    )
    per_class = {label: mean([row.classes[k].dice for row in rows]) for k, label in enumerate(classes)}
    dice = {row.case: row.dice for row in rows}
    if findings is None:
        return summarise(dice, before, per_class, stage.plan.seed)
    lesions = {row.case: guard_lesions.lesions_of(row) for row in rows}
    result = summarise(dice, before, per_class, stage.plan.seed, lesions=lesions, before_lesions=before_lesions)
    detection = brief(findings.document(classes, stage.plan.seed)) | {"threshold": network.thresholds.score}
    return result.model_copy(update={"detection": detection})
