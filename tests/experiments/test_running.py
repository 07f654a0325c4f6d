"""Runs in processes of their own."""

from __future__ import annotations

from dataclasses import replace

from napari_dasl.experiments import patch_growth
from napari_dasl.experiments.arms import read_row
from napari_dasl.experiments.conducting import Request, protocol_of
from napari_dasl.experiments.running import run_all


def test_in_a_process_of_its_own_a_run_leaves_the_same_row_and_a_failure_is_told(tmp_path, scans):
    options = {"test": "2", "train": "2", "width": "4", "patch": "16x16x16"}
    asked = [Request("patch-growth", scans, tmp_path / name, steps=2, device="cpu", options=options) for name in "ab"]
    alone, beside = (replace(protocol_of(patch_growth.EXPERIMENT, one), precision="fp32") for one in asked)
    run = patch_growth.Run(patch_growth.arms(alone)[3], 0)
    (ours,), *_ = run_all(patch_growth.EXPERIMENT, alone, [run])
    bad = patch_growth.Run(patch_growth.Arm("no-such-arm", "", course=patch_growth.Course("", "sideways")), 0)
    (theirs,), failed, stopped = run_all(patch_growth.EXPERIMENT, beside, [run, bad], jobs=2)
    assert theirs == read_row(beside.row_file(run))
    assert theirs.dice == ours.dice
    assert theirs.losses == ours.losses
    assert list(failed) == ["no-such-arm-s0-f0"]
    assert not stopped
