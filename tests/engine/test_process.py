"""The engine as a real child process: events, errors, cancel, and every way to die."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from napari_dasl import __version__, errors
from napari_dasl.engine import EngineProcess, client
from napari_dasl.engine import messages as wire
from napari_dasl.events import Log, Metric, Phase
from napari_dasl.rounds.plan import RoundPlan

FAKE = (sys.executable, str(Path(__file__).parent / "fake_engine.py"))
posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals")


@pytest.fixture
def engine():
    with EngineProcess.start(FAKE) as process:
        yield process


def wait_until(true, seconds=10.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def gone(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


# What a job says ------------------------------------------------------------------------------------------------------


def test_it_says_who_it_is(engine):
    assert (engine.info.protocol, engine.info.version, engine.info.device) == (1, __version__, "cpu")
    assert engine.info.pid == engine.pid


def test_a_round_tells_its_events_in_order_and_then_its_result(engine, tmp_path):
    events = []
    result = engine.run_round(tmp_path / "short", RoundPlan(steps=7), events.append)
    assert result == {"round": 1, "steps": 7}
    assert events[0] == Phase(name="train", text="Training.")
    assert [event.step for event in events if isinstance(event, Metric)] == [0, 1, 2]


def test_jobs_follow_one_another_in_one_engine(engine, tmp_path):
    assert engine.run_predict(tmp_path, ["a", "b"]) == {"predicted": ["a", "b"], "all": False}
    assert engine.run_predict(tmp_path, all=True) == {"predicted": [], "all": True}


def test_what_libraries_print_cannot_corrupt_the_protocol(engine, tmp_path):
    assert engine.run_round(tmp_path / "prints") == {}
    wait_until(lambda: "and a child process a third" in engine.stderr)
    assert "a library prints a line" in engine.stderr
    assert "and C code writes another" in engine.stderr


def test_an_error_arrives_as_itself_with_its_hint(engine, tmp_path):
    with pytest.raises(errors.StorageError) as caught:
        engine.run_round(tmp_path / "full")
    assert (caught.value.message, caught.value.hint) == ("The disk of /study is full.", "Free 2 GB.")
    with pytest.raises(errors.OutOfMemory) as caught:
        engine.run_rank(tmp_path)
    assert caught.value.retry == {"batch": 1}


def test_a_fault_becomes_a_plain_sentence_and_its_traceback_goes_to_the_log(engine, tmp_path):
    with pytest.raises(errors.EngineError, match="did not foresee \\(IndexError: list index out of range\\)"):
        engine.run_round(tmp_path / "fault")
    wait_until(lambda: any("Traceback" in line for line in engine.stderr))
    assert engine.run_round(tmp_path / "short")["round"] == 1


def test_it_beats_its_heart_while_it_works(engine, tmp_path):
    seen = set()

    def listen(event):
        if engine.heartbeat is not None and engine.heartbeat.job == 1:
            seen.add(engine.heartbeat.seq)
            assert engine.heartbeat.memory_mb > 1
        if len(seen) == 2:
            engine.cancel()

    with pytest.raises(errors.Cancelled):
        engine.run_round(tmp_path / "long", on_event=listen)


# Memory ---------------------------------------------------------------------------------------------------------------


def test_memory_running_out_once_is_mended_with_half_the_batch(engine, tmp_path):
    events = []
    assert engine.run_round(tmp_path / "hungry", RoundPlan(batch=4), events.append)["batch"] == 2
    warning = Log(level="warning", text="Memory ran out; the round starts again with a batch of 2.")
    assert warning in events


def test_then_with_a_smaller_patch(engine, tmp_path):
    plan = RoundPlan(batch=1, patch=(32, 32, 64))
    assert engine.run_round(tmp_path / "greedy", plan) == {"batch": 1, "patch": [32, 32, 32]}


def test_memory_running_out_twice_fails_with_what_may_help(engine, tmp_path):
    with pytest.raises(errors.OutOfMemory, match="Memory ran out twice, the second time with a batch of 2") as caught:
        engine.run_round(tmp_path / "insatiable", RoundPlan(batch=4))
    assert caught.value.hint == "Close other programs, or try a batch of 1."
    assert caught.value.retry == {"batch": 1}
    with pytest.raises(errors.OutOfMemory) as caught:
        engine.run_round(tmp_path / "insatiable", RoundPlan(batch=1, patch=(16, 16, 16)))
    assert caught.value.retry is None


# Cancel ---------------------------------------------------------------------------------------------------------------


def test_cancel_saves_and_resume_goes_on(engine, tmp_path):
    with pytest.raises(errors.Cancelled, match="the state is saved"):
        engine.run_round(tmp_path / "long", on_event=lambda event: engine.cancel())
    assert (tmp_path / "state").read_text().startswith("step ")
    assert engine.resume_round(tmp_path / "long") == {"resumed": (tmp_path / "state").read_text()}


def test_a_second_job_is_refused_while_one_runs(engine, tmp_path):
    refused = []

    def listen(event):
        if not refused:
            with pytest.raises(errors.EngineError) as caught:
                engine.run_rank(tmp_path)
            refused.append(caught.value.message)
            engine.cancel()

    with pytest.raises(errors.Cancelled):
        engine.run_round(tmp_path / "long", on_event=listen)
    assert refused == ["Job 1 is still running."]


def test_ctrl_c_cancels_and_waits(engine, tmp_path):
    events = []

    def listen(event):
        events.append(event)
        if len(events) == 3:
            raise KeyboardInterrupt

    with pytest.raises(errors.Cancelled, match="the state is saved"):
        engine.run_round(tmp_path / "long", on_event=listen)
    assert any(isinstance(event, Log) and "Stopping at the next step" in event.text for event in events)


def test_a_second_ctrl_c_kills(engine, tmp_path):
    def interrupt(event):
        if isinstance(event, Metric):
            raise KeyboardInterrupt

    with pytest.raises(errors.Cancelled, match="stopped at once"):
        engine.run_round(tmp_path / "deaf", on_event=interrupt)
    assert not engine.alive


@posix
def test_ctrl_c_in_the_terminal_reaches_the_client_alone(engine, tmp_path):
    os.kill(engine.pid, signal.SIGINT)
    assert engine.run_round(tmp_path / "short")["round"] == 1
    assert os.getpgid(engine.pid) != os.getpgid(0)


# The engine dies ------------------------------------------------------------------------------------------------------


@posix
def test_an_engine_killed_in_the_middle_of_a_round_is_noticed_and_said(engine, tmp_path):
    def kill(event):
        if isinstance(event, Metric):
            with contextlib.suppress(ProcessLookupError):
                os.kill(engine.pid, signal.SIGKILL)

    with pytest.raises(errors.EngineError) as caught:
        engine.run_round(tmp_path / "long", on_event=kill)
    assert "The training process was killed (signal 9)" in caught.value.message
    assert "Your labels are safe; run the round again with --resume" in caught.value.hint


@posix
def test_a_crash_in_c_is_said_with_its_signal(engine, tmp_path):
    with pytest.raises(errors.EngineError, match=r"SIGSEGV.*Fatal Python error: Segmentation fault"):
        engine.run_round(tmp_path / "segfault")


def test_an_engine_that_ends_by_itself_leaves_its_last_words(engine, tmp_path):
    with pytest.raises(errors.EngineError, match=r"exit code 3\)\. Its last words: ValueError: the very end"):
        engine.run_round(tmp_path / "exit")
    with pytest.raises(errors.EngineError, match="exit code 3"):
        engine.run_rank(tmp_path)


@posix
def test_an_engine_that_falls_silent_is_ended(engine, tmp_path, monkeypatch):
    monkeypatch.setattr(client, "SILENCE_SECONDS", 1.5)

    def stop(event):
        if isinstance(event, Metric):
            os.kill(engine.pid, signal.SIGSTOP)

    with pytest.raises(errors.EngineError, match="gave no answer for 2 seconds and was ended"):
        engine.run_round(tmp_path / "long", on_event=stop)
    assert not engine.alive


def test_an_engine_that_cannot_be_started_is_said():
    with pytest.raises(errors.EngineError, match="cannot be started with 'no-such-ssh gpu-box'") as caught:
        EngineProcess.start(["no-such-ssh", "gpu-box"])
    assert "engine.command" in caught.value.hint
    with pytest.raises(errors.EngineError, match=r"exit code 1.*ModuleNotFoundError"):
        EngineProcess.start([sys.executable, "-c", "import no_such_module"])
    with pytest.raises(errors.EngineError, match=r"libtorch\.so is broken"):
        EngineProcess.start([*FAKE, "broken"])


def test_a_greeting_of_a_remote_shell_is_passed_over(tmp_path):
    code = f"import os; print('Welcome to gpu-box!', flush=True); os.execv({FAKE[0]!r}, {list(FAKE)!r})"
    with EngineProcess.start([sys.executable, "-c", code]) as engine:
        assert engine.run_round(tmp_path / "short")["round"] == 1


# The client dies ------------------------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("job", ["long", "deaf"])
def test_an_engine_does_not_outlive_a_killed_client(tmp_path, job):
    """Even in the middle of a round, and even if the loop never looks at the cancel flag."""
    code = f"""
        from napari_dasl.engine import EngineProcess
        EngineProcess.start({FAKE!r}).run_round({str(tmp_path / job)!r})
        """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)])
    wait_until(lambda: (tmp_path / "engine.pid").exists() and (tmp_path / "engine.pid").read_text())
    pid = int((tmp_path / "engine.pid").read_text())
    parent.kill()
    parent.wait()
    wait_until(lambda: gone(pid), seconds=3.0)
    assert (tmp_path / "state").exists() == (job == "long")


@pytest.fixture
def bare():
    """An engine without a client."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(FAKE, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
    yield process
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        stream.close()


def ask(process, number, params):
    process.stdin.write(wire.encode(wire.Request(number, params)))
    process.stdin.flush()


def answer(process, number):
    for line in process.stdout:
        message = wire.decode(line)
        if getattr(message, "id", 0) == number:
            return message
    raise AssertionError("the engine ended")


def test_an_idle_engine_ends_at_once_when_its_input_closes(bare):
    ask(bare, 1, wire.Initialize())
    answer(bare, 1)
    bare.stdin.close()
    assert bare.wait(timeout=2.0) == 0


@posix
def test_a_working_engine_saves_and_ends_when_it_is_terminated(bare, tmp_path):
    ask(bare, 1, wire.Initialize())
    ask(bare, 2, wire.RoundStart(project=str(tmp_path / "long")))
    answer(bare, 2)
    wait_until((tmp_path / "engine.pid").exists)
    bare.terminate()
    assert bare.wait(timeout=3.0) == 0
    assert (tmp_path / "state").exists()


@posix
def test_an_engine_whose_parent_dies_ends_though_its_input_stays_open(tmp_path):
    """The pipe's other end may live on in a sibling; then the parent's death itself is the sign."""
    reading, writing = os.pipe()
    code = f"""
        import subprocess, sys, time
        child = subprocess.Popen({FAKE!r}, stdin={reading}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        print(child.pid, flush=True)
        time.sleep(60)
        """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, pass_fds=(reading,))
    os.write(writing, wire.encode(wire.Request(1, wire.Initialize())))
    pid = int(parent.stdout.readline())
    time.sleep(1.0)
    assert not gone(pid)
    parent.kill()
    parent.wait()
    wait_until(lambda: gone(pid), seconds=3.0)
    for end in (reading, writing):
        os.close(end)
    parent.stdout.close()


# The protocol ---------------------------------------------------------------------------------------------------------


def test_another_protocol_is_refused_and_broken_lines_are_answered(bare):
    ask(bare, 1, wire.RankStart(project="/p"))
    assert "first request must be initialize" in answer(bare, 1).error.message
    ask(bare, 2, wire.Initialize(protocol=99))
    refusal = answer(bare, 2)
    assert "The client speaks protocol 99" in refusal.error.message
    assert "same version" in refusal.to_error().hint
    bare.stdin.write(b"hello\n\n" + json.dumps({"jsonrpc": "2.0", "id": 3, "method": "dance"}).encode() + b"\n")
    bare.stdin.flush()
    assert answer(bare, None).error.code == wire.PARSE_ERROR
    assert answer(bare, 3).error.code == wire.METHOD_NOT_FOUND
    ask(bare, 4, wire.Shutdown())
    assert answer(bare, 4).result == {}
    assert bare.wait(timeout=3.0) == 0


def test_closing_ends_the_process_cleanly(tmp_path):
    engine = EngineProcess.start(FAKE)
    engine.close()
    assert not engine.alive
    assert engine._process.returncode == 0
    engine.close()
