"""A real round through the window's button: the engine is killed in the middle, said to be, and resumed to its end."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from napari_dasl.widgets.learning import LearningWidget


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals")
def test_a_round_survives_the_death_of_its_engine(make_study, make_session, qtbot):
    pytest.importorskip("torch", reason="training needs torch")
    study = make_study(4, model=False)
    session = make_session(study.folder)
    widget = LearningWidget(session.viewer)
    qtbot.addWidget(widget)
    widget.show()
    qtbot.waitUntil(lambda: widget.keeper.snapshot is not None)
    fields = widget.form.fields
    fields["steps"].setValue(40)
    fields["batch"].setValue(1)
    fields["patch"].setText("8 16 16")
    fields["device"].setEditText("cpu")
    widget.start.click()
    qtbot.waitUntil(lambda: bool(widget.runner.curves.get("loss")), timeout=120_000)
    os.kill(widget.runner.engine.pid, signal.SIGKILL)
    qtbot.waitUntil(lambda: widget.runner.state == "died", timeout=10_000)
    assert "Your labels are safe." in widget.words.text()
    qtbot.waitUntil(lambda: widget.resume.isVisible() and widget.keeper.snapshot.unfinished is not None)
    widget.resume.click()
    qtbot.waitUntil(lambda: not widget.runner.active, timeout=120_000)
    assert widget.runner.state == "done", widget.words.text()
    assert widget.words.text() == widget.runner.result.sentence
    qtbot.waitUntil(lambda: widget.keeper.snapshot.active_model is not None)
    assert widget.history.lines[0].active
    assert len(study.project.scores()) == 2
    widget.runner.shutdown()
