"""The sentence in which a finished round says what it did, for the annotator."""

from __future__ import annotations

from typing import TYPE_CHECKING

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


def _advice(result: RoundResult) -> str:
    if result.guard.before is None or result.guard.dice is None or result.guard.dice >= result.guard.before:
        return ""
    return "Check the newest labels, or train longer."


def _labels(count: int) -> str:
    return f"{count} label{'s' * (count != 1)}"
