"""The engine's client of the window: it never waits, and every end of the child is told in words."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from napari_dasl.engine import messages
from napari_dasl.rounds.plan import RoundPlan
from napari_dasl.widgets import engine_process
from napari_dasl.widgets.engine_process import EngineProcess

FAKE = Path(__file__).with_name("fake_engine.py")
START = messages.RoundStart(project="/study", plan=RoundPlan(steps=5))


@pytest.fixture
def engine_that(qtbot):
    """Make a client of a fake engine that behaves in the given way."""
    made = []

    def make(how: str, **options) -> EngineProcess:
        engine = EngineProcess([sys.executable, str(FAKE), how], **options)
        made.append(engine)
        return engine

    yield make
    for engine in made:
        engine.shutdown()
        assert not engine.running


def test_a_request_starts_the_process_and_its_events_arrive_in_order(engine_that, qtbot):
    engine, events = engine_that("works"), []
    engine.reported.connect(events.append)
    with qtbot.waitSignals([engine.ready, engine.started, engine.heartbeat, engine.finished]):
        began = time.monotonic()
        engine.request(START)
        assert time.monotonic() - began < 0.5  # asking never waits for the child
    assert [event.kind for event in events[:3]] == ["phase", "phase", "metric"]
    assert events[0].text == "Préparer les images …"
    assert [e.value for e in events if e.kind == "metric" and e.name == "loss"] == [1 / step for step in range(1, 6)]
    assert engine.job is None
    assert not engine.busy


def test_lines_may_be_split_anywhere_and_a_login_banner_is_no_message(engine_that, qtbot):
    engine, events = engine_that("split"), []
    engine.reported.connect(events.append)
    with qtbot.waitSignal(engine.finished) as finished:
        engine.request(START)
    assert events[0].text == "Préparer les images …"
    assert finished.args[0]["model"] == "r0001-x"
    assert any("ünïcode banner" in line for line in engine.stderr)


def test_a_second_job_uses_the_same_process(engine_that, qtbot):
    engine = engine_that("works")
    with qtbot.waitSignal(engine.finished):
        engine.request(START)
    pid = engine.pid
    with qtbot.waitSignal(engine.finished):
        engine.request(messages.PredictStart(project="/study"))
    assert engine.pid == pid


def test_cancel_is_a_message_and_the_process_lives_on(engine_that, qtbot):
    engine = engine_that("slow")
    with qtbot.waitSignal(engine.started):
        engine.request(START)
    with qtbot.waitSignal(engine.cancelled) as cancelled:
        engine.cancel()
    assert "saved" in cancelled.args[0]
    assert engine.running


def test_a_cancel_right_after_the_request_reaches_the_job(engine_that, qtbot):
    engine = engine_that("slow")
    with qtbot.waitSignal(engine.ready):
        engine.start()
    with qtbot.waitSignal(engine.cancelled):
        engine.request(START)
        engine.cancel()
    assert not engine.busy


def test_an_engine_that_ignores_cancel_is_ended(engine_that, qtbot):
    engine = engine_that("deaf", cancel_wait=0.2)
    with qtbot.waitSignal(engine.started):
        engine.request(START)
    with qtbot.waitSignal(engine.cancelled), qtbot.waitSignal(engine.stopped):
        engine.cancel()
    assert not engine.running


def test_a_request_while_the_old_process_leaves_starts_another(engine_that, qtbot):
    engine = engine_that("deaf", cancel_wait=0.1)
    with qtbot.waitSignal(engine.started):
        engine.request(START)
    engine.force_stop()
    with qtbot.waitSignal(engine.started):
        engine.request(START)
    assert engine.running


def test_a_crash_is_told_with_its_last_words_and_that_labels_are_safe(engine_that, qtbot):
    engine = engine_that("dies")
    with qtbot.waitSignal(engine.died) as died:
        engine.request(START)
    assert "the network grew legs" in died.args[0]
    assert "Your labels are safe." in died.args[0]
    assert "--resume" not in died.args[0]  # the window has a button for that


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals")
def test_a_kill_is_told_as_such(engine_that, qtbot):
    engine = engine_that("slow")
    with qtbot.waitSignal(engine.started):
        engine.request(START)
    with qtbot.waitSignal(engine.died) as died:
        os.kill(engine.pid, signal.SIGKILL)
    assert "killed (signal 9)" in died.args[0]
    assert not engine.busy


def test_a_program_that_does_not_exist_is_told(qtbot):
    engine = EngineProcess(["/no/such/engine"])
    with qtbot.waitSignal(engine.died) as died:
        engine.request(START)
    assert "/no/such/engine" in died.args[0]
    assert "engine.command" in died.args[0]
    assert not engine.running


def test_silence_is_told_and_so_is_the_end_of_it(engine_that, qtbot):
    engine = engine_that("silent", silence=0.3)
    with qtbot.waitSignal(engine.answering) as answering:
        engine.request(START)
    assert answering.args == [False]
    with qtbot.waitSignal(engine.answering) as answering:
        engine.force_stop()
    assert answering.args == [True]


def test_a_refused_job_fails_with_the_engines_words(engine_that, qtbot):
    engine = engine_that("refuses")
    with qtbot.waitSignal(engine.failed) as failed:
        engine.request(START)
    assert failed.args[:2] == ["EngineError", "Another round is running."]
    assert not engine.busy


def test_shutdown_ends_the_process_within_two_seconds_whatever_it_does(engine_that, qtbot):
    for how in ("works", "deaf"):
        engine = engine_that(how)
        with qtbot.waitSignal(engine.started):
            engine.request(START)
        process = psutil.Process(engine.pid)
        began = time.monotonic()
        engine.shutdown()
        assert time.monotonic() - began < 2.5
        assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_a_shut_down_engine_dies_without_a_word(engine_that, qtbot):
    engine = engine_that("works")
    with qtbot.waitSignal(engine.ready):
        engine.start()
    with qtbot.assertNotEmitted(engine.died):
        engine.shutdown()


def test_only_the_last_lines_of_the_complaints_are_kept(qtbot):
    code = "import sys\nfor n in range(1000): print(n, file=sys.stderr)\nsys.exit(4)"
    engine = EngineProcess([sys.executable, "-c", code])
    with qtbot.waitSignal(engine.died):
        engine.request(START)
    assert len(engine.stderr) == engine_process.STDERR_LINES
    assert engine.stderr[-1] == "999"


def test_the_real_engine_says_who_it_is(qtbot):
    """``python -m napari_dasl.engine`` and this client speak the same protocol; torch may take seconds to load."""
    pytest.importorskip("torch", reason="the engine needs torch")
    engine = EngineProcess()
    with qtbot.waitSignal(engine.ready, timeout=60_000) as ready:
        engine.start()
    assert ready.args[0]["protocol"] == messages.PROTOCOL
    with qtbot.waitSignal(engine.failed, timeout=20_000) as failed:
        engine.request(messages.RoundStart(project="/no/such/project"))
    assert "/no/such/project" in failed.args[1]
    engine.shutdown()
    assert not engine.running
