"""Killing napari in the middle of an edit costs no stroke; the real window, with its canvas."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QMessageBox

from napari_dasl.widgets.case_panel import CaseWidget
from napari_dasl.widgets.keys import HELP
from napari_dasl.widgets.session import session_for


@pytest.mark.gui
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signal 9")
def test_the_draft_of_a_killed_napari_comes_back_voxel_for_voxel(make_session, study, open_case):
    script = Path(__file__).with_name("killed_napari.py")
    with subprocess.Popen([sys.executable, script, study.folder], stdout=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline().split()
        process.send_signal(signal.SIGKILL)
    assert line[0] == "draft"
    painted = np.frombuffer(bytes.fromhex(line[2]), dtype=np.uint8)
    assert painted.sum() == int(line[1]) > 0

    session = make_session(study.folder)
    open_case(session, "P-0")
    np.testing.assert_array_equal(session.layers.label.view().ravel(), painted)
    assert session.opened.has_draft
    assert session.opened.draft_saved is not None


@pytest.mark.gui
def test_the_real_window_draws_a_case_and_lets_go(make_napari_viewer_proxy, make_session, study, open_case, qtbot):
    viewer = make_napari_viewer_proxy(show=True)
    panel = CaseWidget(viewer)
    viewer.window.add_dock_widget(panel)
    session = make_session(study.folder, viewer)
    assert session is session_for(viewer)
    open_case(session, "P-3")
    for shown in (False, True):  # once per press, though both napari and the window know the key
        qtbot.keyClick(panel, Qt.Key.Key_H)
        assert session.layers.looks.is_visible("label") is shown
    panel.window().activateWindow()  # the window's own keys work in the active window alone
    qtbot.waitUntil(panel.isActiveWindow)
    qtbot.keyClick(panel, Qt.Key.Key_Question)
    qtbot.waitUntil(lambda: isinstance(QApplication.activeModalWidget(), QMessageBox))
    listed = QApplication.activeModalWidget()
    assert all(words in listed.text() for _, words in HELP)
    with qtbot.waitSignal(listed.destroyed):
        listed.close()
    picture = viewer.screenshot(flash=False)
    assert picture[..., :3].std() > 0
    session.layers["label"].paint((0, 0, 0), 1)
    open_case(session, "P-4")
    session.layers["label"].undo()
    np.testing.assert_array_equal(session.layers.label.view(), study.truth["P-4"])
