"""Cases by difficulty as plain values: words, groups, the histogram, and what a blind case must not tell."""

from __future__ import annotations

import math

import numpy as np
import pytest

from napari_dasl.curriculum import SCORERS
from napari_dasl.project import Difficulty
from napari_dasl.project.records import CaseState
from napari_dasl.rounds.correlating import Correlation
from napari_dasl.widgets.difficulty_reading import blind_cases
from napari_dasl.widgets.difficulty_rows import (
    UNKNOWN,
    Measured,
    cell_tooltip,
    cell_words,
    chips,
    correlation_words,
    groups_of,
    hardest_waiting,
    histogram,
    scorers_of,
    unmeasured,
)
from napari_dasl.widgets.snapshot import Row, read_snapshot
from napari_dasl.widgets.worklist_model import COLUMN_OF


def row(number: int, size: float | None, *, labelled: bool = False, **more) -> Row:
    """A case whose lesions are *size* mm³; on a prediction unless it is labelled."""
    hardness = {} if size is None else {"size": Measured(size, "label" if labelled else "prediction")}
    state = CaseState.LABELLED if labelled else CaseState.UNLABELLED
    return Row(f"P-{number}", state, labelled, hardness=hardness, **more)


TWELVE = [row(number, 1000.0 * 2**number, labelled=number % 3 == 0) for number in range(12)]


def test_every_scorer_has_a_column():
    assert set(COLUMN_OF) == set(SCORERS)


@pytest.mark.parametrize(
    ("scorer", "measured", "words"),
    [
        ("size", Measured(1240.0), "1.24 ml"),
        ("size", Measured(37.4, "prediction"), "≈ 37 mm³"),
        ("size", Measured(math.nan, "prediction"), "none"),
        ("size", Measured(37.4, flat=True), "37 mm²"),
        ("size", Measured(2000.0, "prediction", flat=True), "≈ 20 cm²"),
        ("contrast", Measured(math.inf), "∞"),
        ("contrast", Measured(0.000543, "prediction"), "≈ 0.00054"),
        ("intensity", Measured(-259.7), "-260"),
        ("uncertainty", Measured(0.0312, "model"), "0.031"),
        ("size", None, ""),
    ],
)
def test_values_are_written_in_the_unit_of_the_measure_and_say_what_was_measured(scorer, measured, words):
    assert cell_words(scorer, measured) == words


def test_areas_of_slices_stay_areas_in_groups_and_in_the_histogram():
    rows = [Row(f"c{n}", CaseState.UNLABELLED, hardness={"size": Measured(v, flat=True)})
            for n, v in enumerate((20.0, 2000.0))]  # fmt: skip
    shown = histogram(rows, "size")
    assert (shown.easiest, shown.hardest) == ("20 cm²", "20 mm²")
    assert "lesion size 20 mm²" in chips(rows, "size")[-1].meaning


def test_a_tooltip_says_what_was_measured():
    assert "what the network drew" in cell_tooltip("size", Measured(1.0, "prediction"))
    assert "your label" in cell_tooltip("size", Measured(1.0))
    assert "Not measured" in cell_tooltip("size", None)


def test_groups_are_equal_and_begin_with_the_easiest():
    groups = groups_of(TWELVE, "size")  # large lesions are easy
    assert [groups[f"P-{number}"] for number in range(12)] == [6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1]
    assert groups_of(TWELVE[::-1], "size") == groups


def test_a_case_without_a_number_is_in_a_group_of_its_own():
    rows = [*TWELVE, row(12, None), row(13, math.nan)]
    assert [groups_of(rows, "size")[case] for case in ("P-12", "P-13")] == [UNKNOWN, UNKNOWN]
    made = chips(rows, "size")
    assert [chip.text for chip in made] == ["easy · 2", "2 · 2", "3 · 2", "4 · 2", "5 · 2", "hard · 2", "? 2"]
    assert made[5].meaning == "The hardest group: lesion size 1 ml to 2 ml; 2 cases, 1 of them not labelled."


def test_groups_that_hold_nobody_are_not_offered():
    assert [chip.number for chip in chips(TWELVE[:2], "size")] == [1, 2]
    assert chips([row(0, None)], "size")[0].number == UNKNOWN


def test_the_histogram_counts_every_case_once_with_hard_on_the_right():
    shown = histogram(TWELVE, "size")
    assert shown.labelled.sum() == 4
    assert shown.unlabelled.sum() == 8
    assert shown.places["P-0"] == shown.edges[-1]  # the smallest lesion
    assert shown.places["P-11"] == shown.edges[0]
    assert (shown.easiest, shown.hardest) == ("2048 ml", "1 ml")
    assert np.ptp(np.diff([shown.places[f"P-{number}"] for number in range(12)])) < 1e-9  # in ratios


@pytest.mark.parametrize("values", [(5.0,), (5.0, 5.0), (0.5, math.inf), (-3.0, 4.0), (0.0, 1e6)])
def test_a_histogram_of_awkward_values_still_holds_every_case(values):
    rows = [Row(f"c{n}", CaseState.UNLABELLED, hardness={"contrast": Measured(v)}) for n, v in enumerate(values)]
    shown = histogram(rows, "contrast")
    assert shown.unlabelled.sum() == len(values)
    assert np.isfinite(shown.edges).all()
    assert (np.diff(shown.edges) > 0).all()


def test_without_a_number_there_is_no_histogram():
    assert histogram([row(0, None), row(1, math.nan)], "size") is None
    assert scorers_of([row(0, None), row(1, math.nan)]) == ()


def test_the_hardest_that_nobody_labelled_is_found():
    assert hardest_waiting(TWELVE, "size") == "P-1"  # P-0 is smaller, and labelled
    assert hardest_waiting([one for one in TWELVE if one.labelled], "size") is None
    high = [Row(f"c{n}", CaseState.UNLABELLED, hardness={"uncertainty": Measured(v, "model")})
            for n, v in enumerate((0.1, 0.4, math.nan))]  # fmt: skip
    assert hardest_waiting(high, "uncertainty") == "c1"


def test_what_could_be_measured_at_once_is_counted():
    rows = [
        row(0, None, labelled=True),
        row(1, None),  # not predicted: there is nothing to measure
        row(2, None, score=0.5),
        row(3, 10.0),
        Row("P-4", CaseState.LABELLED, True, hardness={"size": Measured(1.0, "prediction")}),
        Row("P-5", CaseState.UNREADABLE, score=0.1),
    ]
    assert unmeasured(rows, "size") == 3
    assert unmeasured(rows, "gradient") == 0


@pytest.mark.parametrize(
    ("rho", "cases", "words"),
    [
        (-0.62, 24, "Cases it calls hard reach a clearly lower Dice (ρ −0.62, 24 cases)."),
        (-0.2, 24, "Cases it calls hard reach a lower Dice (ρ −0.20, 24 cases)."),
        (0.02, 24, "Cases it calls hard do as well as others (ρ +0.02, 24 cases)."),
        (0.4, 24, "Cases it calls hard reach a higher Dice (ρ +0.40, 24 cases)."),
        (-0.9, 3, "Only 3 cases tell whether it predicts a low Dice."),
    ],
)
def test_the_correlation_with_dice_is_one_sentence(rho, cases, words):
    assert correlation_words("size", {"size": Correlation(rho, cases)}) == words
    assert correlation_words("contrast", {"size": Correlation(rho, cases)}) == ""


def test_a_blind_case_tells_nothing_of_its_prediction(study):
    project = study.project
    model = project.active_model().id
    project.set_difficulties(
        [Difficulty(case, "size", 10.0, "prediction", model) for case in ("P-0", "P-1")]
        + [Difficulty("P-1", "uncertainty", 0.2, "model", model), Difficulty("P-3", "size", 5.0, "label", revision=1)]
    )
    number = project.new_round("spl", {}).number
    project.finish_round(number, "done", {"audits": ["P-1", "P-3"]})
    assert blind_cases(project.cases(), project.rounds()) == {"P-1"}  # P-3 is drawn
    rows = {one.case: one for one in read_snapshot(project).rows}
    assert rows["P-0"].hardness == {"size": Measured(10.0, "prediction", model=model)}
    assert rows["P-1"].hardness == {"uncertainty": Measured(0.2, "model", model=model)}
    assert rows["P-1"].blind
    assert rows["P-3"].hardness == {"size": Measured(5.0, "label", revision=1)}


def test_what_was_measured_on_an_older_label_or_model_is_shown_as_outdated_and_can_be_measured_again(study):
    project = study.project
    model = project.active_model().id
    project.set_difficulties(
        [
            Difficulty("P-0", "size", 10.0, "prediction", model),
            Difficulty("P-1", "size", 20.0, "prediction", "an older one"),
            Difficulty("P-3", "size", 5.0, "label", revision=1),
            Difficulty("P-4", "size", 6.0, "label", revision=1),
        ]
    )
    project.record_label("P-3", np.zeros(project.case("P-3").shape, np.uint8), author="ann")
    rows = read_snapshot(project).rows
    found = {one.case: one.hardness["size"] for one in rows if "size" in one.hardness}
    assert {case for case, measured in found.items() if measured.outdated} == {"P-1", "P-3"}
    assert "there is a newer one" in cell_tooltip("size", found["P-3"])
    assert "the model an older one, which is not the active one" in cell_tooltip("size", found["P-1"])
    assert found["P-3"].value == 5.0
    assert unmeasured(rows, "size") == 3  # and P-2, which was never measured
