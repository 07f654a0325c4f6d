"""Both experiments end to end with networks that learn for a few steps; what is there is not made again."""

from __future__ import annotations

import json

import pytest

from napari_dasl.cli import main
from napari_dasl.errors import Cancelled, InputError, WorkError
from napari_dasl.experiments import NAMES, find, liver_stages, patch_growth
from napari_dasl.experiments.conducting import Request, conduct, protocol_of
from napari_dasl.experiments.running import run_all

TINY = {"test": "2", "train": "2", "width": "4"}


def request(out, scans, name="patch-growth", **more):
    settings = {"patch": "16x16x16", **TINY} if name == "patch-growth" else TINY
    told = {"seeds": (0,), "steps": 4, "device": "cpu", "separator": "_", "options": settings} | more
    return Request(name, scans, out, **told)


@pytest.fixture(scope="module")
def grown(tmp_path_factory, scans):
    out = tmp_path_factory.mktemp("growth")
    return out, conduct(request(out, scans))


def test_patch_growth_leaves_a_row_a_run_and_every_file(grown, scans):
    out, found = grown
    assert found["complete"] == found["runs"] == 4
    assert [row["arm"] for row in found["rows"]] == ["constant", "resource", "performance", "random"]
    assert {row["steps"] for row in found["rows"]} == {4}
    assert found["rows"][0]["voxels_ratio"] == 1
    # One step each of 8x8x8, 8x8x16, 8x16x16 and 16x16x16, however the axes come.
    assert found["rows"][1]["voxels_ratio"] == pytest.approx((1 + 2 + 4 + 8) / 8 / 4)
    assert len(found["rows"][0]["dice"]) == 2
    assert {path.name for path in out.iterdir()} >= {
        *("result.json", "table.csv", "table.md", "cases.csv", "report.html"),
        *("dice_and_time.png", "voxels.png", "loss.png"),
    }
    assert json.loads((out / "result.json").read_text()) == json.loads(json.dumps(found))
    assert str(scans.parent) not in (out / "result.json").read_text()  # it is read on other machines
    assert (out / found["work"]).is_dir()
    assert found["left_out"] == []
    assert "0.44" in (out / "table.md").read_text()
    assert "<h1>Progressive growing of patch size</h1>" in (out / "report.html").read_text()


def test_what_is_there_is_not_made_again_and_only_a_lost_row_is(grown, scans, monkeypatch):
    out, before = grown
    protocol = protocol_of(patch_growth.EXPERIMENT, request(out, scans))
    lost = protocol.work / "rows" / "resource-s0-f0.json"
    lost.write_text(lost.read_text()[:100])  # a disk that was full
    made = []

    def perform(protocol, run, report, cancelled):
        made.append(run.name)
        return patch_growth.perform(protocol, run, report, cancelled)

    monkeypatch.setattr(patch_growth, "EXPERIMENT", replaced(patch_growth.EXPERIMENT, perform=perform))
    after = conduct(request(out, scans))
    assert made == ["resource-s0-f0"]
    # Its training was there; only the prediction was made again.
    for row in (*before["rows"], *after["rows"]):
        row.pop("predict_seconds")
    assert after["rows"] == before["rows"]


def test_rows_of_another_recipe_or_version_are_not_mixed_into_a_table(tmp_path, scans, monkeypatch):
    before = protocol_of(patch_growth.EXPERIMENT, request(tmp_path, scans)).work
    with monkeypatch.context() as changed:
        changed.setattr("napari_dasl.experiments.arms.__version__", "another")
        assert protocol_of(patch_growth.EXPERIMENT, request(tmp_path, scans)).work != before
    edited = {"training": {"learning_rate": 1.0}}
    monkeypatch.setattr("napari_dasl.experiments.arms.presets.load", lambda name: edited)
    assert protocol_of(patch_growth.EXPERIMENT, request(tmp_path, scans)).work != before


def test_a_stopped_run_goes_on_and_a_failed_one_takes_no_other_with_it(tmp_path, scans):
    asked = request(tmp_path, scans, steps=3, arms=("constant", "resource"))
    steps = []

    def late() -> bool:
        steps.append(1)
        return len(steps) > 4  # in the training of the first arm

    with pytest.raises(Cancelled):
        conduct(asked, cancelled=late)
    protocol = protocol_of(patch_growth.EXPERIMENT, asked)
    assert (protocol.work / "runs" / "constant-s0-f0" / "state" / "state.pt").is_file()

    def perform(protocol, run, report, cancelled):
        if run.arm.name == "constant":
            raise WorkError("The loss is no number any more.", "")
        return patch_growth.perform(protocol, run, report, cancelled)

    broken = replaced(patch_growth.EXPERIMENT, perform=perform)
    runs = [patch_growth.Run(arm, 0) for arm in patch_growth.arms(protocol)[:2]]
    rows, failed, stopped = run_all(broken, protocol, runs)
    assert [row.arm for row in rows] == ["resource"]
    assert list(failed) == ["constant-s0-f0"]
    assert not stopped
    found = conduct(asked)
    assert [row["steps"] for row in found["rows"]] == [3, 3]
    assert found["left_out"] == ["performance", "random"]
    assert "Left out on request: performance, random." in (tmp_path / "table.md").read_text()
    assert found["rows"][0]["cpu_seconds"] is None  # it was interrupted


def test_liver_stages_compares_five_arms_by_seven_metrics(tmp_path, scans):
    found = conduct(request(tmp_path, scans, "liver-stages", steps=6))
    assert [row["arm"] for row in found["rows"]] == list(liver_stages.PUBLISHED)
    assert {row["steps"] for row in found["rows"]} == {6}
    three = found["rows"][0]["measures"]["stages"]
    assert [stage[3] for stage in three] == ["whole", "tumour-patches", "whole"]
    assert [stage[4] for stage in three] == pytest.approx([1, 0.1, 0.01])
    # Two halvings of 16 voxels leave 4: whole scans in steps of 4, lesions of 5 voxels in patches of 8.
    assert [stage[:2] for stage in three[:2]] == [[[16, 20, 16], 1], [[8, 8, 8], 16 * 20 * 16 // 512]]
    here = [line for line in found["table"] if line["source"] == "here"]
    assert all(line[key] is not None for line in here for key in ("DC", "VOE", "ASSD, mm", "s per volume"))
    assert found["table"][1]["DC"] == 0.822
    assert sum(found["rows"][-1]["measures"]["steps"]) == 6


def replaced(experiment, **changes):
    from dataclasses import replace

    return replace(experiment, **changes)


def test_what_cannot_be_done_is_refused_with_a_hint(tmp_path, scans, capsys):
    for changes, words in (
        ({"arms": ("grwoth",)}, "no arm 'grwoth'"),
        ({"network": "mask-rcnn"}, "not made with the network"),
        ({"options": {"sides": "2"}}, "has no setting 'sides'"),
        ({"options": {"patch": "16"}}, "patch=16 cannot be used"),
    ):
        with pytest.raises(InputError, match=words):
            conduct(request(tmp_path, scans, **changes))
    with pytest.raises(InputError, match=r"Did you mean 'patch-growth'\?"):
        find("patch-grwth")
    assert main(["experiment", "patch-growth", "--data", str(scans), "--out", str(tmp_path), "--set", "patch"]) == 2
    assert "key=value" in capsys.readouterr().err


def test_the_settings_of_every_experiment_are_listed(capsys):
    assert main(["experiment", "--settings"]) == 0
    text = capsys.readouterr().out
    assert all(f"{name}: " in text for name in NAMES)
    assert "--set order=2025  Which axis grows" in text


@pytest.mark.parametrize("name", NAMES)
def test_every_experiment_says_what_it_is(name):
    found = find(name)
    assert found.name == name
    assert found.title
    assert found.sentence.endswith(".")
    assert found.paper
    assert found.steps > 0
