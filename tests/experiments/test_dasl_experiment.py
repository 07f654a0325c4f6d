"""The loop as an experiment: the arms of a seed start from one draw, and are tested on cases that no run sees."""

from __future__ import annotations

import pytest

from napari_dasl.errors import InputError
from napari_dasl.experiments import dasl
from napari_dasl.experiments.conducting import Request, conduct, protocol_of

TINY = {
    "strategies": "random,uncertainty",
    **{"initial": "2", "query": "1", "rounds": "1", "test": "2"},
    **{"patch": "16x16x16", "width": "4"},
}


def request(out, scans, **more):
    told = {"seeds": (0,), "steps": 2, "device": "cpu", "separator": "_", "options": TINY} | more
    return Request("dasl", scans, out, **told)


@pytest.fixture(scope="module")
def made(tmp_path_factory, scans):
    out = tmp_path_factory.mktemp("dasl")
    return out, conduct(request(out, scans))


def test_arms_of_a_seed_start_from_the_same_labels_and_never_learn_from_test_cases(made):
    _, found = made
    first, second = found["rows"]
    assert [first["arm"], second["arm"]] == ["random", "uncertainty"]
    assert first["train"][:2] == second["train"][:2]
    assert first["curve"][0] == second["curve"][0]
    assert [annotated for annotated, _ in first["curve"]] == [2, 3]
    assert set(first["dice"]) == set(second["dice"])
    assert not set(first["dice"]) & (set(first["train"]) | set(second["train"]))
    assert first["steps"] == 4  # two trainings of two steps


def test_tables_and_figures_are_there_and_the_same_call_makes_nothing_again(made, scans):
    out, found = made
    assert {path.name for path in out.iterdir()} >= {"table.csv", "table.md", "report.html", "curves.png", "seeds.png"}
    assert "0.62" in (out / "table.md").read_text()

    def kept():
        return {path: path.stat().st_mtime_ns for path in out.glob("work/*/**/*") if path.suffix in (".json", ".toml")}

    before = kept()
    assert conduct(request(out, scans))["table"] == found["table"]
    assert kept() == before


def test_differences_are_paired_over_seeds_and_told_against_random(tmp_path, scans, make_row):
    protocol = protocol_of(dasl.EXPERIMENT, request(tmp_path, scans))
    rows = [
        make_row(arm, seed, [0.5 + gain + 0.01 * seed], curve=((8, 0.2 + gain), (16, 0.5 + gain + 0.01 * seed)))
        for seed in range(3)
        for arm, gain in (("dasl", 0.1), ("random", 0.0))
    ]
    told = dasl.tell(protocol, rows)
    (pair,) = told.numbers["pairs"]
    assert (pair["a"], pair["b"], pair["n"]) == ("dasl", "random", 3)
    assert pair["mean"] == pytest.approx(0.1)
    assert pair["final"] == pytest.approx(0.1)
    assert told.tables[0].rows[1][2] == pytest.approx((0.2 + 0.51) / 2)  # AUBC of random
    assert "dasl is above random" in told.words[0]


@pytest.mark.parametrize("wrong", [{"strategies": "guess"}, {"rounds": "9"}, {"guard": "2"}])
def test_what_does_not_go_together_is_refused_before_any_run(tmp_path, scans, wrong):
    with pytest.raises(InputError):
        conduct(request(tmp_path, scans, options={**TINY, **wrong}))


def test_minutes_are_refused(tmp_path, scans):
    with pytest.raises(InputError, match="steps"):
        conduct(request(tmp_path, scans, steps=None, minutes=1.0))
