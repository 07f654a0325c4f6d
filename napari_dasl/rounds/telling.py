"""The sentence in which a finished round says what it did, for the annotator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_dasl.rounds.guard_lesions import counts, tally

if TYPE_CHECKING:
    from napari_dasl.rounds.plan import RoundResult


def sentence(result: RoundResult) -> str:
    """Say in a few sentences what the round did, what stays as it was, and why."""
    said = [result.fallback] if result.fallback else []
    taken = result.trained_on.get("pseudo", 0)
    if taken:
        weight = result.pseudo.get("mean_weight")
        said.append(
            f"Trained on {_labels(result.trained_on['human'])} and {taken} pseudo-label{'s' * (taken != 1)}"
            + (f" (mean weight {weight:.2f})." if weight is not None else ".")
        )
    rejected = result.trained_on.get("rejected", 0)
    if rejected:
        findings = "rejected finding is" if rejected == 1 else "rejected findings are"
        said.append(f"The round learned that {rejected} {findings} no lesion.")
    said.append(_verdict(result))
    said += _lesions(result)
    if result.selfpaced_off:
        said.append(f"Pseudo-labels are off from now on: {result.selfpaced_off}.")
    if result.predicted:
        said.append(f"{result.predicted} predictions refreshed; {result.to_label} cases to label next.")
    return " ".join(said)


def _verdict(result: RoundResult) -> str:
    guard = result.guard
    if result.promoted:
        if guard.dice is None:
            return "The new model is active; there is no guard set to check it on yet."
        if guard.before is None:
            return f"Guard Dice {guard.dice:.3f}. The first model is active."
        return f"Guard Dice {guard.before:.3f} → {guard.dice:.3f}. The new model is active."
    kept = "The old model stays active; the new one is kept as a candidate."
    return f"{result.reason} {kept} {_advice(result)}".strip()


def _lesions(result: RoundResult) -> list[str]:
    """What a network that detects found of the guard lesions, and from which score on a finding counts."""
    guard = result.guard
    parts = []
    found, false = counts({"lesions": guard.lesions})
    if found and found not in result.reason:  # a round that was turned down for its lesions has told them already
        parts.append(f"{'Found' if result.promoted else 'The new one found'} {found}, {false}")
    threshold = (guard.detection or {}).get("threshold")
    if threshold is not None and result.promoted:
        least = f"{threshold:.2f}" if 0.01 <= threshold < 0.995 else f"{threshold:.6g}"
        parts.append(f"findings count from {least}" if parts else f"Findings count from {least}")
    return [f"{'; '.join(parts)}."] if parts else []


def _advice(result: RoundResult) -> str:
    guard = result.guard
    worse = guard.before is not None and guard.dice is not None and guard.dice < guard.before
    fewer = bool(guard.before_lesions) and tally(guard.lesions).found < tally(guard.before_lesions).found
    return "Check the newest labels, or train longer." if worse or fewer else ""


def _labels(count: int) -> str:
    return f"{count} label{'s' * (count != 1)}"
