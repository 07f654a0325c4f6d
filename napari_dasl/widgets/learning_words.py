"""The sentences of *Learning* before a round: what it will train on, how, and what it will cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_dasl.networks.families import FAMILIES
from napari_dasl.widgets.snapshot import Snapshot, duration

if TYPE_CHECKING:
    from napari_dasl.project.records import Round
    from napari_dasl.rounds.phases import PhasePreview
    from napari_dasl.rounds.plan import RoundPlan

_MB_PER_GB = 1024


def count(number: int, noun: str) -> str:
    """Return ``1 label`` or ``45 labels``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


START = "Start round"
START_NOW = "Start now with what is labelled"


def preview_of(snapshot: Snapshot, phase: str = "auto") -> PhasePreview | None:
    """Return what the next round takes and asks, as far as it was read."""
    return snapshot.previews.get(phase)


def waits(snapshot: Snapshot, plan: RoundPlan) -> bool:
    """Whether the round that *plan* asks for would wait for cases that are still open."""
    preview = preview_of(snapshot)
    return plan.phase == "auto" and preview is not None and preview.phase == "al" and bool(preview.waits_for)


def before_words(snapshot: Snapshot, phase: str = "auto") -> str:
    """Return what the next round learns from, what it asks first, and what judges it."""
    if not snapshot.training:
        kept = f" ({snapshot.guard} are kept to judge models)" if snapshot.guard else ""
        return f"Nothing to learn from yet{kept}: label and save a few scans first."
    preview = preview_of(snapshot, phase)
    if preview is None:
        words = f"The next round learns from {count(snapshot.training, 'label')}."
    else:
        words = preview.sentence
        if preview.waits_for and phase == "auto":
            words += f" You can also start now, with the {count(preview.human, 'label')} there are."
    if snapshot.guard:
        words += f" It is judged on the {count(snapshot.guard, 'case')} of the guard set."
    return words


def pseudo_words(snapshot: Snapshot) -> str:
    """Return that pseudo-labels were switched off, and why; empty where they were not."""
    if not snapshot.selfpaced_off or not snapshot.selfpaced.enabled:
        return ""
    return f"Pseudo-labels are switched off: {snapshot.selfpaced_off}. Your own labels go on teaching the network."


def start_tooltip(snapshot: Snapshot, plan: RoundPlan) -> str:
    """Return what pressing the button does."""
    if not snapshot.training:
        return "Label and save a scan first: the network learns from labels."
    if waits(snapshot, plan):
        return (
            "The network asked for cases that are still open; labelling them first teaches it most. "
            "This starts without waiting, on the labels there are, without pseudo-labels."
        )
    return "Train, then refresh predictions and the list."


def after_words(unfinished: Round) -> str:
    """Return that a round was interrupted, as it is found when a project is opened."""
    return f"Round {unfinished.number} was interrupted. Your labels are safe; Resume goes on from its saved state."


def plan_words(snapshot: Snapshot, plan: RoundPlan) -> str:
    """Return the way of training in one sentence."""
    known = FAMILIES.get(snapshot.network)
    network = known.title if known is not None else snapshot.network
    start = snapshot.start if plan.start == "project" else plan.start
    how = "going on from the active model" if start == "active" and snapshot.active_model else "trained anew"
    preset = "" if plan.preset or snapshot.preset == "default" else f", preset {snapshot.preset}"
    if plan.steps is not None:
        length = f" for {plan.steps} steps"
    elif plan.epochs is not None:
        length = f" for {count(plan.epochs, 'pass')}".replace("passs", "passes")
    elif plan.minutes is not None:
        length = f" for {plan.minutes:g} min"
    else:
        length = ""
    return f"{network}, {how}{length}{preset}."


def last_seconds(snapshot: Snapshot) -> float | None:
    """Return how long the newest finished round took."""
    for item in sorted(snapshot.rounds, key=lambda item: item.number, reverse=True):
        seconds = item.result.get("seconds") if item.state == "done" else None
        if isinstance(seconds, int | float) and seconds > 0:
            return float(seconds)
    return None


def memory_mb(snapshot: Snapshot) -> float | None:
    """Return the memory that the active model's plan was estimated to need."""
    model = snapshot.active_model
    config = model.config if model is not None else {}
    plan = config.get("plan")
    for place in (config, plan if isinstance(plan, dict) else {}):
        value = place.get("memory_estimate_mb")
        if isinstance(value, int | float) and value > 0:
            return float(value)
    return None


def cost_words(snapshot: Snapshot, plan: RoundPlan) -> str:
    """Return the time and memory to expect, as far as they are known."""
    if not snapshot.training:
        return ""
    parts = []
    minutes = plan.minutes if plan.minutes is not None else snapshot.minutes
    seconds = last_seconds(snapshot)
    if minutes is not None and plan.steps is None and plan.epochs is None:
        parts.append(f"Training takes {minutes:g} min, predictions come on top")
    elif seconds is not None:
        parts.append(f"The last round took {duration(seconds)}")
    memory = memory_mb(snapshot)
    if memory is not None:
        amount = f"{memory:.0f} MB" if memory < _MB_PER_GB else f"{memory / _MB_PER_GB:.1f} GB"
        parts.append(f"about {amount} of memory")
    if not parts:
        return "Time and memory are measured as the first round begins."
    return ", ".join(parts) + "."
