"""The sentence in which a finished round says what it did."""

from __future__ import annotations

import pytest

from napari_dasl.rounds.plan import GuardResult, RoundResult
from napari_dasl.rounds.telling import sentence


def said(guard: GuardResult, promoted: bool = True, **values) -> str:
    values = {"trained_on": {"human": 6, "pseudo": 0}} | values
    return sentence(
        RoundResult(round=1, phase="al", state="done", promoted=promoted, guard=guard, seconds=1.0, model="m", **values)
    )


@pytest.mark.parametrize(
    ("guard", "expected"),
    [
        (GuardResult(dice=None), "The new model is active; there is no guard set to check it on yet."),
        (GuardResult(dice=0.842), "Guard Dice 0.842. The first model is active."),
        (GuardResult(dice=0.858, before=0.842), "Guard Dice 0.842 → 0.858. The new model is active."),
    ],
)
def test_says_what_happened(guard, expected):
    assert said(guard) == expected


def test_a_fall_says_why_and_what_to_do():
    found = said(GuardResult(dice=0.831, before=0.858), promoted=False, reason="Guard Dice fell.")
    assert found == (
        "Guard Dice fell. The old model stays active; the new one is kept as a candidate. "
        "Check the newest labels, or train longer."
    )


def test_says_what_it_took_and_what_comes_next():
    found = said(
        GuardResult(dice=0.8),
        trained_on={"human": 45, "pseudo": 61},
        pseudo={"mean_weight": 0.44},
        predicted=90,
        to_label=20,
    )
    assert found.startswith("Trained on 45 labels and 61 pseudo-labels (mean weight 0.44). Guard Dice 0.800.")
    assert found.endswith("90 predictions refreshed; 20 cases to label next.")


@pytest.mark.parametrize(
    ("count", "words"), [(1, "1 rejected finding is no lesion"), (3, "3 rejected findings are no")]
)
def test_says_that_it_learned_from_rejected_findings(count, words):
    assert words in said(GuardResult(dice=0.8), trained_on={"human": 6, "pseudo": 0, "rejected": count})
