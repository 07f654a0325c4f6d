"""What a killed process, a full disk or a read-only folder leaves behind: a whole project."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time

import numpy as np
import pytest

from napari_dasl.project import Project

KILLS = 3

LABELLER = """
import sys, numpy as np
from napari_dasl.project import Project
project = Project.open(sys.argv[1])
start = int(sys.argv[2])
shape = project.case("p1").shape
for number in range(start, start + 100000):
    rng = np.random.default_rng(number)
    done = project.record_label("p1", rng.integers(0, 3, shape, dtype=np.uint8), author="A", seconds=number)
    print(number, done.number, flush=True)
"""

DRAFTER = """
import sys, numpy as np
from napari_dasl.project import Project
project = Project.open(sys.argv[1])
start = int(sys.argv[2])
shape = project.case("p1").shape
for number in range(start, start + 100000):
    rng = np.random.default_rng(number)
    project.save_draft("p1", rng.integers(0, 3, shape, dtype=np.uint8), meta={"number": number})
    print(number, number, flush=True)
"""

PREDICTOR = """
import sys, numpy as np
from napari_dasl.project import Project
project = Project.open(sys.argv[1])
start = int(sys.argv[2])
shape = project.case("p1").shape
for number in range(start, start + 100000):
    values = np.random.default_rng(number).random((3, *shape), dtype=np.float32)
    project.save_prediction("p1", "m", values / values.sum(axis=0), np.full(4, number), {"number": number})
    print(number, number, flush=True)
"""


def killed(script, project, start, after, rng):
    """Run *script* until it acknowledged *after* writes, kill it a moment later, and return what it acknowledged."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(project.folder), str(start)], stdout=subprocess.PIPE, text=True
    )
    acknowledged = [process.stdout.readline() for _ in range(after)]
    time.sleep(rng.uniform(0, 0.05))
    process.send_signal(signal.SIGKILL)
    acknowledged += process.stdout.read().splitlines()
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL
    return [tuple(map(int, line.split())) for line in acknowledged if len(line.split()) == 2]


def drawn(project, number):
    return np.random.default_rng(number).integers(0, 3, project.case("p1").shape, dtype=np.uint8)


def test_every_acknowledged_revision_outlives_a_killed_process(project):
    rng = np.random.default_rng(0)
    acknowledged = {}
    for kill in range(KILLS):
        for number, revision in killed(LABELLER, project, 1000 * kill, 6, rng):
            assert revision not in acknowledged
            acknowledged[revision] = number
    assert len(acknowledged) >= 6 * KILLS
    with Project.open(project.folder) as again:
        stored = {revision.number: revision for revision in again.labels("p1")}
        assert set(acknowledged) <= set(stored)
        for revision in stored.values():  # one more than acknowledged may be there per kill, and it must be whole too
            assert np.array_equal(again.read_label("p1", revision.number), drawn(again, int(revision.seconds)))
        assert all(int(stored[revision].seconds) == number for revision, number in acknowledged.items())
        assert len(stored) <= len(acknowledged) + KILLS
        assert again.record_label("p1", drawn(again, 1), author="A").number > max(acknowledged)


def test_the_last_acknowledged_draft_outlives_a_killed_process(project):
    rng = np.random.default_rng(1)
    for kill in range(2):
        last, _ = killed(DRAFTER, project, 1000 * kill, 5, rng)[-1]
        draft = project.read_draft("p1")
        assert draft.meta["number"] in (last, last + 1)
        assert np.array_equal(draft.mask, drawn(project, draft.meta["number"]))


def test_a_prediction_is_whole_or_absent_after_a_killed_process(project):
    rng = np.random.default_rng(2)
    for kill in range(2):
        killed(PREDICTOR, project, 1000 * kill, 3, rng)
        stored = project.prediction("p1", "m")
        if stored is not None:
            values = np.random.default_rng(stored.scores["number"]).random((3, 7, 6, 5), dtype=np.float32)
            assert np.array_equal(stored.label(), values.argmax(axis=0))
            assert np.array_equal(stored.signature(), np.full(4, stored.scores["number"]))
        project.save_prediction("p1", "m", np.full((3, 7, 6, 5), 1 / 3), np.zeros(4), {"number": -1})
        assert project.prediction("p1", "m").scores == {"number": -1}


FULL_DISK = """
import resource, sys, numpy as np
from napari_dasl.errors import StorageError
from napari_dasl.project import Project
project = Project.open(sys.argv[1])
mask = np.random.default_rng(0).integers(0, 3, project.case("big").shape, dtype=np.uint8)
project.record_label("big", mask, author="A")
project.save_draft("big", mask, meta={"first": 1})
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (600, hard))
probability = np.random.default_rng(0).random((3, *mask.shape), dtype=np.float32)
for name, work in {
    "label": lambda: project.record_label("big", 2 - mask, author="A"),
    "restore": lambda: project.restore("big", 1, "A"),
    "draft": lambda: project.save_draft("big", 2 - mask, meta={"second": 1}),
    "prediction": lambda: project.save_prediction("big", "m", probability, np.zeros(3), {}),
    "row": lambda: project.log_event("long", {"text": "x" * 20000}),
    "config": lambda: project.update_config(seed=1),
}.items():
    try:
        work()
    except StorageError as error:
        print(name, error.message)
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
assert len(project.labels("big")) == 1
assert np.array_equal(project.read_label("big"), mask)
assert project.read_draft("big").meta == {"first": 1}
assert project.prediction("big", "m") is None
assert project.record_label("big", 2 - mask, author="A").number == 2
project.log_event("long", {"text": "x" * 20000})
Project.open(sys.argv[1]).close()
"""


def test_a_disk_that_takes_no_more_is_one_clear_error_each_and_harms_nothing(make, write_scan, tmp_path):
    write_scan(tmp_path / "images" / "big.nii.gz", (40, 40, 40))
    project = make(images=tmp_path / "images", classes=("a", "b"))
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(project.folder)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert set(said) == {"label", "restore", "draft", "prediction", "row", "config"}
    assert all("disk" in said[name] for name in ("label", "restore", "draft", "prediction", "config"))
    leftovers = [path for path in project.folder.rglob("*") if path.name.startswith((".part-", ".new-"))]
    assert leftovers == []


READ_ONLY = """
import os, sys, numpy as np
from napari_dasl.errors import StorageError
from napari_dasl.project import Project, ProjectConfig
import napari_dasl.volumes, encodings.idna, tomlkit, zarr, sqlalchemy.dialects.sqlite.pysqlite
study, warm = sys.argv[1:]
with Project.open(warm) as project:  # everything that is imported late is imported as the owner
    mask = np.zeros(project.case("p1").shape, np.uint8)
    project.record_label("p1", mask, author="A")
    project.save_draft("p1", mask, meta={})
    project.model_folder("m")
if os.getuid() == 0:
    os.setuid(65534)
try:
    with Project.open(study) as project:
        for work in (
            lambda: project.record_label("p1", mask, author="A"),
            lambda: project.save_draft("p1", mask, meta={}),
            lambda: project.model_folder("m"),
            lambda: project.log_event("x"),
        ):
            try:
                work()
                print("no error")
            except StorageError as error:
                print(error)
except StorageError as error:
    print(error)
try:
    Project.create(os.path.join(study, "inner"), ProjectConfig(name="x", modality="CT"))
    print("no error")
except StorageError as error:
    print(error)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_a_folder_that_may_not_be_written_is_one_clear_error_each(make, scans):
    study, warm = make("study", images=scans), make("warm", images=scans)
    study.close()
    opened = [scans.parents[0], scans.parents[1], scans.parents[2]]
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (*opened, study.folder)}
    try:
        for path in opened:
            path.chmod(0o755)
        study.folder.chmod(0o555)
        done = subprocess.run(
            [sys.executable, "-c", READ_ONLY, str(study.folder), str(warm.folder)],
            capture_output=True,
            text=True,
            timeout=120,
        )
    finally:
        for path, mode in modes.items():
            path.chmod(mode)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) >= 2
    assert all(str(study.folder) in line and line.endswith(".") for line in lines), done.stdout
