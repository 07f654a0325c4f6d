"""The sentence in which a finished round says what it did."""

from __future__ import annotations

import pytest

from napari_dasl.rounds.plan import CaseLesions, GuardResult, RoundResult
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


def guard_of(found: int, false: int, dice: float = 0.8) -> GuardResult:
    """Fifteen guard lesions on ten scans, all in the first; fourteen of them were found before."""
    empty = {f"P-{number}": CaseLesions(found=(), volumes_ml=(), false=0) for number in range(2, 11)}

    def lesions(count: int, wrong: int) -> dict[str, CaseLesions]:
        first = CaseLesions(found=(True,) * count + (False,) * (15 - count), volumes_ml=(0.1,) * 15, false=wrong)
        return {"P-1": first, **empty}

    return GuardResult(
        dice=dice,
        before=0.8,
        detection={"threshold": 0.372},
        lesions=lesions(found, false),
        before_lesions=lesions(14, 0),
    )


def test_of_a_detector_tells_the_lesions_and_from_where_findings_count():
    assert said(guard_of(14, 3)).endswith(
        "The new model is active. Found 14 of 15 guard lesions, 0.3 false a scan; findings count from 0.37."
    )
    assert said(GuardResult(dice=0.8, detection={"threshold": 0.5})).endswith("active. Findings count from 0.50.")
    assert said(GuardResult(dice=0.8, detection={"threshold": 0.9985})).endswith("Findings count from 0.9985.")


def test_of_a_detector_that_was_turned_down_tells_no_threshold_and_nothing_twice():
    by_dice = said(guard_of(15, 3, dice=0.7), promoted=False, reason="Guard Dice fell.")
    assert by_dice.endswith("train longer. The new one found 15 of 15 guard lesions, 0.3 false a scan.")
    why = "The new model finds 9 of 15 guard lesions, the old one 14; lost: 5 in P-1 (0.1 ml)."
    by_lesions = said(guard_of(9, 0, dice=0.9), promoted=False, reason=why)
    assert by_lesions.startswith(why)
    assert by_lesions.endswith("kept as a candidate. Check the newest labels, or train longer.")
