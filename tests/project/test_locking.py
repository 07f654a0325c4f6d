"""The training lock: one engine at a time, and none that died keeps the next one out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from napari_dasl.errors import ProjectError
from napari_dasl.project import Project

HOLDER = """
import sys, time
from napari_dasl.project import Project
with Project.open(sys.argv[1]) as project, project.training_lock():
    print("held", flush=True)
    time.sleep(100)
"""

RACER = """
import sys, time
from napari_dasl.errors import ProjectError
from napari_dasl.project import Project
with Project.open(sys.argv[1]) as project:
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        with project.training_lock():
            print("held", flush=True)
            sys.stdin.readline()
    except ProjectError:
        print("refused", flush=True)
"""


def lock_of(project):
    return project.folder / "training.lock"


def start(script, project):
    return subprocess.Popen(
        [sys.executable, "-c", script, str(project.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_it_is_there_for_the_length_of_the_block(project):
    with project.training_lock():
        said = json.loads(lock_of(project).read_text())
        assert said["pid"] == os.getpid()
    assert not lock_of(project).exists()


def test_it_goes_when_training_fails(project):
    with pytest.raises(ZeroDivisionError), project.training_lock():
        raise ZeroDivisionError
    assert not lock_of(project).exists()


def test_the_same_process_does_not_train_twice_at_once(project):
    with (
        Project.open(project.folder) as other,
        project.training_lock(),
        pytest.raises(ProjectError, match=f"process {os.getpid()} of .* since .* UTC"),
        other.training_lock(),
    ):
        pass


def test_a_living_process_is_named_and_a_killed_one_does_not_keep_the_next_out(project):
    holder = start(HOLDER, project)
    try:
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(ProjectError, match=rf"trained on by process {holder.pid} of .*Wait until it is done"),
            project.training_lock(),
        ):
            pass
        holder.send_signal(signal.SIGKILL)
        # Before it is waited for it is a zombie: dead, but with its pid.
        os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
        with project.training_lock():
            assert json.loads(lock_of(project).read_text())["pid"] == os.getpid()
    finally:
        holder.kill()
        holder.communicate()
    with project.training_lock():
        pass


def test_a_pid_that_another_program_has_now_does_not_keep_the_next_out(project):
    with project.training_lock():
        said = json.loads(lock_of(project).read_text())
    lock_of(project).write_text(json.dumps({**said, "process_started": said["process_started"] - 3600}))
    with project.training_lock():
        pass


def test_another_host_is_refused_with_who_when_and_what_to_do(project):
    with project.training_lock():
        said = json.loads(lock_of(project).read_text())
    foreign = {**said, "host": "gpu-box", "user": "ann", "pid": 7, "since": "2026-11-20T08:15:00+00:00"}
    lock_of(project).write_text(json.dumps(foreign))
    with pytest.raises(ProjectError) as caught, project.training_lock():
        pass
    assert "process 7 of ann on gpu-box since 2026-11-20 08:15 UTC" in caught.value.message
    assert caught.value.hint.endswith(f"delete {lock_of(project)}.")
    lock_of(project).unlink()
    with project.training_lock():
        pass


def test_a_lock_that_another_took_over_meanwhile_is_left_to_it(project):
    with project.training_lock():
        said = {**json.loads(lock_of(project).read_text()), "token": "another"}
        lock_of(project).write_text(json.dumps(said))
    assert lock_of(project).exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}'])
def test_a_damaged_lock_is_for_a_person_to_judge(project, content):
    lock_of(project).write_text(content)
    with pytest.raises(ProjectError, match=r"is damaged.*Delete that file"), project.training_lock():
        pass
    assert lock_of(project).read_text() == content


def test_of_several_that_find_a_dead_lock_at_once_one_gets_it(project):
    with project.training_lock():
        said = json.loads(lock_of(project).read_text())
    lock_of(project).write_text(json.dumps({**said, "process_started": 0.0}))
    racers = [start(RACER, project) for _ in range(3)]
    try:
        assert [racer.stdout.readline() for racer in racers] == ["ready\n"] * 3
        for racer in racers:
            racer.stdin.write("go\n")
            racer.stdin.flush()
        assert sorted(racer.stdout.readline() for racer in racers) == ["held\n", "refused\n", "refused\n"]
    finally:
        for racer in racers:
            racer.communicate("done\n")
    assert not lock_of(project).exists()
