"""The loop with a real network on small scans: SPL-AL-SPL, a killed process, and a careless annotator."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from napari_dasl import rounds
from napari_dasl.project import Project
from napari_dasl.rounds import RoundPlan, phases

SHORT = RoundPlan(steps=6, start="active", device="cpu")
DISTURBED = RoundPlan(phase="spl", steps=24, seed=3, device="cpu", predict=False)

KILLED = """
import sys
from pathlib import Path
from napari_dasl import rounds
from napari_dasl.project import Project
from napari_dasl.rounds import RoundPlan
from napari_dasl.training.loop import train

train.__kwdefaults__["save_seconds"] = 0.0
with Project.open(Path(sys.argv[1])) as project:
    rounds.run(project, RoundPlan.model_validate_json(sys.argv[2]))
"""


@pytest.fixture
def project(long_round, tmp_path):
    """A project whose first network finds the balls."""
    with Project.open(long_round.copy(tmp_path)) as found:
        yield found


@pytest.fixture
def lenient(project):
    """A project whose pseudo-labels begin with the first model, however bad it is."""
    project.update_config(selfpaced__least_dice=0.0, selfpaced__quantile=0.5, ranking__query=2, training__tolerance=1.0)
    return project


def test_spl_al_spl_from_the_first_label_to_the_last_round(lenient, balls, long_round):
    assert long_round.result.phase == "al"
    assert long_round.result.asked == []

    second = rounds.run(lenient, SHORT)
    assert second.promoted
    assert second.phase == "spl"
    taken = {row.case for row in lenient.pseudo_labels() if row.weight > 0}
    assert 0 < len(taken) < 6
    assert second.trained_on == {"human": 6, "pseudo": len(taken)}
    assert second.pace > 0
    assert len(second.asked) == 2
    assert second.stability is not None

    for case in second.asked:
        lenient.record_label(case, balls / "labels" / f"{case}.nii.gz", author="ann")
    assert phases.preview(lenient).waits_for == ()
    third = rounds.run(lenient, SHORT)
    assert (third.phase, third.trained_on) == ("al", {"human": 8, "pseudo": 0})

    fourth = rounds.run(lenient, SHORT)
    assert fourth.phase == "spl"
    assert fourth.trained_on["human"] == 8
    again = {row.case for row in lenient.pseudo_labels()}
    assert again == {case.id for case in lenient.pool()}
    assert not again & set(second.asked)


def test_a_killed_spl_round_resumes_to_the_same_weights(lenient, tmp_path):
    copy = shutil.copytree(lenient.folder, tmp_path / "undisturbed")
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(lenient.folder), DISTURBED.model_dump_json()])
    folder = lenient.folder / "rounds" / "0002"
    try:
        deadline = time.monotonic() + 120
        while not (folder / "state" / "state.pt").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert not (folder / "weights.safetensors").exists()
    frozen = (folder / "pseudo.json").read_text(encoding="utf-8")
    lenient.update_config(selfpaced__quantile=0.1)
    resumed = rounds.run(lenient, resume=True)
    assert resumed.phase == "spl"
    assert (folder / "pseudo.json").read_text(encoding="utf-8") == frozen
    with Project.open(copy) as other:
        whole = rounds.run(other, DISTURBED)
        assert whole.trained_on == resumed.trained_on
        assert weights(other, whole.model) == weights(lenient, resumed.model)


def test_a_careless_annotator_damages_neither_labels_nor_the_active_model(project, long_round):
    good = long_round.result
    cases = project.training_cases()
    before = {case.id: (project.labels(case.id)[-1].sha256, project.read_label(case.id)) for case in cases}
    predicted = project.pool()[0].id
    drawn = project.prediction(predicted).probability()
    masks = [mask for _, mask in before.values()]
    for number, case in enumerate(cases):
        mask = masks[number]
        careless = [np.zeros_like(mask), np.roll(mask, 9, axis=(1, 2)), 1 - masks[number - 1]][number % 3]
        project.record_label(case.id, careless, author="in a hurry")

    bad = rounds.run(project, RoundPlan(phase="al", steps=40, device="cpu", predict=False))
    assert not bad.promoted
    assert "Guard Dice fell" in bad.reason
    assert bad.guard.dice < bad.guard.before - 0.05
    assert project.active_model().id == good.model
    rounds.predict(project, [predicted])
    np.testing.assert_array_equal(project.prediction(predicted).probability(), drawn)
    for case in cases:
        sha256, mask = before[case.id]
        assert project.labels(case.id)[0].sha256 == sha256
        np.testing.assert_array_equal(project.read_label(case.id, 1), mask)


def weights(project: Project, model: str) -> bytes:
    return (project.model(model).folder / "weights.safetensors").read_bytes()
