"""Tables and the figures of patch growth and of the liver stages, from rows that were made up."""

from __future__ import annotations

import csv
import io

import pytest

from napari_dasl.experiments import liver_stages, patch_growth
from napari_dasl.experiments.tables import Column, Table, as_csv, as_markdown, cases_csv, mean_sd, spread

TABLE = Table((Column("arm"), Column("Dice", 3), Column("n", 0)), (("a|b", 0.12345, 3), ("c", None, 4)), "What it is.")


def test_csv_keeps_every_digit_and_markdown_rounds():
    lines = list(csv.reader(io.StringIO(as_csv(TABLE))))
    assert lines == [["arm", "Dice", "n"], ["a|b", "0.12345", "3"], ["c", "", "4"]]
    assert as_markdown(TABLE).splitlines()[-2:] == ["| a\\|b | 0.123 | 3 |", "| c | – | 4 |"]


def test_mean_and_spread_leave_out_what_is_not_known():
    assert spread([1.0, None, 3.0]) == (2.0, pytest.approx(2**0.5), 2)
    assert mean_sd([0.5, None]) == "0.500"
    assert mean_sd([]) == "–"


def test_every_case_of_every_run_has_a_line(make_row):
    lines = cases_csv([make_row("a", 0, (0.5, None)), make_row("b", 0, (0.25,))]).splitlines()
    assert lines[1] == "a,0,0,a,0.5,,10,10.0,5.0,0.0"
    assert lines[2].startswith("a,0,0,b,,")
    assert len(lines) == 4


def test_time_is_compared_over_the_seeds_that_both_have_and_dice_over_their_cases(make_row):
    constant = [make_row("constant", 0, (0.8, 0.6), 10), make_row("constant", 1, (0.6, 0.6), 30)]
    ours = [make_row("resource", 1, (0.7, 0.6), 12), make_row("resource", 2, (0.9, 0.9), 1)]
    found = patch_growth.compared(ours, constant)
    assert found["seeds"] == [1]
    assert found["time_ratio"] == pytest.approx(12 / 30)
    assert found["cpu_ratio"] == pytest.approx(12 / 30)
    assert found["dice"] == pytest.approx(0.05)
    assert found["by_seed"] == [pytest.approx(0.05)]
    assert patch_growth.compared([make_row("resource", 9, (1, 1))], constant) == {}


def test_both_clocks_must_say_half_and_beside_a_gpu_the_processor_says_nothing(make_row):
    constant = make_row("constant", 0, (0.8, 0.6), 10, cpu=5)
    busy = patch_growth.compared([make_row("resource", 0, (0.8, 0.6), 4, cpu=3)], [constant])
    assert "not held" in patch_growth.claim(busy)
    there = {"cpu": 3, "device": "NVIDIA H200"}
    assert patch_growth.compared([make_row("resource", 0, (0.8, 0.6), 4, **there)], [constant])["cpu_ratio"] is None


@pytest.mark.parametrize(
    ("dice", "seconds", "words"),
    [((0.795, 0.595), 5.0, ": held here"), ((0.78, 0.58), 4.0, "not held"), ((0.8, 0.6), 5.1, "not held")],
)
def test_the_claim_holds_at_half_the_time_and_a_hundredth_less_dice(make_row, dice, seconds, words):
    found = patch_growth.compared([make_row("resource", 0, dice, seconds)], [make_row("constant", 0, (0.8, 0.6), 10)])
    assert words in patch_growth.claim(found)


def test_a_patch_covers_the_typical_scan_with_at_least_two_steps():
    assert patch_growth.growing_patch((36, 50, 35), (8, 8, 8)) == (40, 56, 40)
    assert patch_growth.growing_patch((36, 50, 35), (16, 16, 16)) == (48, 64, 48)
    assert patch_growth.growing_patch((36, 50, 35), (32, 32, 32)) == (64, 64, 64)


def test_three_stage_is_compared_with_every_other_arm(make_row):
    grouped = {
        "three-stage": [make_row("three-stage", 0, (0.8, 0.6, None))],
        "whole": [make_row("whole", 0, (0.5, 0.5, 0.9))],
        "cascade": [make_row("cascade", 1, (0.5, 0.5))],
    }
    found = liver_stages.compared(grouped)
    assert list(found) == ["whole"]
    assert found["whole"]["mean"] == pytest.approx(0.2)
    assert "three-stage 0.700 > whole 0.633" in liver_stages.claim(grouped)
