"""The dock in a real napari window, the manifest that brings it there, and what it must not load."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import napari_dasl
from napari_dasl.widgets import recent

PACKAGE = Path(napari_dasl.__file__).parent


@pytest.fixture(autouse=True)
def recent_list(tmp_path, monkeypatch):
    """Keep the list of recent projects away from the user's own."""
    monkeypatch.setattr(recent, "recent_file", lambda: tmp_path / "state" / "recent.json")


def test_the_window_loads_no_torch():
    """Training lives in another process: importing every widget and opening a project never imports torch."""
    code = (
        "import sys, napari_dasl.widgets as w\n"
        "light = not any(name in sys.modules for name in ('torch', 'monai', 'pyqtgraph', 'qtpy', 'napari'))\n"
        "assert light, 'naming the widgets should cost nothing'\n"
        "[getattr(w, name) for name in w.__all__]\n"
        "import napari_dasl.widgets.dock, napari_dasl.widgets.new_project, napari_dasl.project.folder\n"
        "bad = [name for name in ('torch', 'monai', 'pyqtgraph', 'SimpleITK') if name in sys.modules]\n"
        "assert not bad, bad"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_unknown_names_are_refused():
    import napari_dasl.widgets as widgets

    names = ("CaseWidget", "DaslDock", "FindingsWidget", "LearningWidget", "PseudoReviewWidget", "WorklistWidget")
    assert dir(widgets) == list(names)
    with pytest.raises(AttributeError, match="no attribute 'Dock'"):
        widgets.Dock  # noqa: B018 - the lookup is what is tested


def test_the_manifest_names_things_that_exist():
    from npe2 import PluginManifest

    manifest = PluginManifest.from_file(PACKAGE / "napari.yaml")
    assert manifest.name == "napari-dasl"
    for command in manifest.contributions.commands:
        module, _, name = str(command.python_name).partition(":")
        assert callable(getattr(importlib.import_module(module), name)), command.id
    widgets = {str(widget.command): widget.display_name for widget in manifest.contributions.widgets}
    assert list(widgets.values()) == ["DASL", "Worklist", "This case", "Findings", "Learning", "Pseudo-labels"]


@pytest.mark.gui
def test_the_dock_goes_from_empty_to_work_and_back(make_napari_viewer_proxy, study, qtbot):
    from napari_dasl.widgets import DaslDock

    viewer = make_napari_viewer_proxy()
    dock = DaslDock(viewer)
    viewer.window.add_dock_widget(dock, name="DASL", area="right")
    assert dock.pages.currentIndex() == 0
    assert dock.start_page.demo_button.isEnabled()
    dock.session.open_project(study.folder)
    qtbot.waitUntil(lambda: dock.progress.text() == "cubes · 2 of 5 labelled", timeout=10_000)
    assert dock.pages.currentIndex() == 1
    assert dock.sections.worklist_part.title() == "Worklist · 3 to label"
    assert dock.sections.learning_part.title() == "Learning · model of round 1"
    with qtbot.waitSignal(dock.session.case_opened, timeout=10_000):
        dock.next.click()
    assert dock.session.case_id == "P-0"
    assert dock.sections.case_part.title() == "This case · P-0"
    assert len(viewer.layers) > 1
    dock.sections.case_part.set_open(False)
    dock.sections.learning_part.set_open(False)
    assert dock.case.isHidden() or not dock.case.isVisible()
    dock.session.close_project()
    assert dock.pages.currentIndex() == 0
    dock.session.shutdown()


@pytest.mark.gui
def test_the_section_of_pseudo_labels_is_there_while_there_are_any(make_napari_viewer_proxy, study, qtbot):
    from datetime import UTC, datetime

    from napari_dasl.project import PseudoLabel
    from napari_dasl.widgets import DaslDock

    viewer = make_napari_viewer_proxy()
    dock = DaslDock(viewer)
    viewer.window.add_dock_widget(dock, name="DASL", area="right")
    with qtbot.waitSignal(dock.keeper.updated, timeout=10_000):
        dock.session.open_project(study.folder)
    assert dock.sections.pseudo_part.isHidden()
    number = study.project.new_round("spl", {}).number
    label = PseudoLabel("P-0", number, "r0001-test", 0.8, 0.1, 0.3, datetime.now(UTC), "")
    study.project.save_pseudo_labels(number, [label])
    dock.session.cases_changed.emit()
    qtbot.waitUntil(lambda: not dock.sections.pseudo_part.isHidden(), timeout=10_000)
    assert dock.sections.pseudo_part.title() == "Pseudo-labels · 1"
    assert not dock.sections.pseudo_part.is_open
    dock.session.shutdown()


@pytest.mark.gui
def test_the_plugin_opens_from_napari_with_one_session_for_all_its_widgets(make_napari_viewer, qtbot):
    viewer = make_napari_viewer()
    widgets = [
        viewer.window.add_plugin_dock_widget("napari-dasl", name)[1]
        for name in ("DASL", "Worklist", "This case", "Learning", "Pseudo-labels")
    ]
    sessions = {id(widget.session) for widget in widgets}
    assert len(sessions) == 1
    widgets[0].session.shutdown()


def test_messages_stay_as_long_as_they_matter(session, qtbot):
    from napari_dasl.widgets.message_strip import MessageStrip

    strip = MessageStrip(session)
    qtbot.addWidget(strip)
    session.busy.emit("Reading P-1")
    assert strip.words.text() == "Reading P-1 …"
    session.message.emit("The disk is full. Free some space.", "error")
    session.message.emit("P-1 is saved.", "info")
    assert "The disk is full" in strip.words.text()  # an error is not pushed away by information
    session.busy.emit("")
    assert not strip.isHidden()
    strip.close_button.click()
    assert strip.isHidden()


def test_on_a_small_screen_a_round_can_be_started_while_findings_are_reviewed(make_session, detected, qtbot):
    from napari_dasl.widgets import DaslDock

    session = make_session(detected.folder)
    dock = DaslDock(session.viewer)
    qtbot.addWidget(dock)
    dock.resize(380, 690)
    dock.show()
    qtbot.waitUntil(lambda: bool(dock.session.queue()) and dock.keeper.snapshot is not None, timeout=10_000)
    dock.session.next_case()
    qtbot.waitUntil(lambda: dock.findings.model.rowCount() == 2, timeout=10_000)
    dock.sections.findings_part.set_open(False)
    dock.learning.history_part.set_open(True)
    bar = dock.sections.learning_area.verticalScrollBar()
    qtbot.waitUntil(lambda: bar.maximum() > 0)
    bar.setValue(bar.maximum())
    dock.learning.history_part.set_open(False)
    dock.sections.findings_part.set_open(True)
    assert bar.value() == 0
    assert not dock.sections.worklist_part.is_open

    def seen():
        button, area = dock.learning.start, dock.sections.learning_area.viewport()
        return button.mapTo(area, button.rect().bottomLeft()).y() < area.height()

    qtbot.waitUntil(seen)
    dock.sections.pseudo_part.set_open(True)  # one thing is reviewed at a time
    assert not dock.sections.findings_part.is_open
    dock.sections.findings_part.set_open(True)
    assert not dock.sections.pseudo_part.is_open
    dock.sections.findings_part.set_open(False)
    assert dock.sections.worklist_part.is_open


def test_findings_of_which_every_row_shows_leave_the_rest_to_the_case(make_session, detected, qtbot):
    from napari_dasl.widgets import DaslDock

    dock = DaslDock(make_session(detected.folder).viewer)
    qtbot.addWidget(dock)
    dock.resize(380, 1000)
    dock.show()
    qtbot.waitUntil(lambda: bool(dock.session.queue()) and dock.keeper.snapshot is not None, timeout=10_000)
    dock.session.next_case()
    qtbot.waitUntil(lambda: dock.findings.model.rowCount() == 2, timeout=10_000)
    assert dock.sections.findings_part.is_open
    assert dock.sections.worklist_part.is_open
    qtbot.waitUntil(lambda: dock.sections.case_area.verticalScrollBar().maximum() == 0)
    assert dock.findings.table.verticalScrollBar().maximum() == 0
    assert dock.sections.findings_part.height() < 0.25 * dock.sections.height()
