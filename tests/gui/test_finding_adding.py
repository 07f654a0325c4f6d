"""Lesions added by a click, and the numbers that lesions get in projects that tell them apart."""

from __future__ import annotations

import numpy as np
import pytest

from napari_dasl.widgets.finding_keeper import finding_keeper_for


def label(panel):
    return panel.session.layers.label.view()


class TestAdding:
    def test_a_ball_is_drawn_in_mm_as_one_step(self, panel):
        spacing, origin = panel.session.layers.reference.spacing, panel.session.layers.reference.origin
        point = tuple(low + place * step for low, place, step in zip(origin, (5, 10, 15), spacing, strict=True))
        assert panel.verbs.add(point, 6.0)
        where = (np.argwhere(label(panel)) - (5, 10, 15)) * spacing
        assert np.linalg.norm(where, axis=1).max() <= 3.0
        assert len(where) * np.prod(spacing) == pytest.approx(4 / 3 * np.pi * 27, rel=0.3)
        panel.session.layers["label"].undo()
        assert not label(panel).any()

    def test_it_never_covers_what_is_drawn(self, panel):
        layer = panel.session.layers["label"]
        panel.session.layers.label.replace(np.ones_like(layer.data))
        before = panel.session.layers.label.copy()
        assert not panel.verbs.add(tuple(layer.data_to_world((5, 10, 10))), 8.0)
        np.testing.assert_array_equal(label(panel), before)

    def test_the_brush_is_put_down_meanwhile_and_comes_back(self, panel):
        layer = panel.session.layers["label"]
        layer.mode = "paint"
        panel.add.setChecked(True)
        assert str(layer.mode) == "pan_zoom"
        assert "Click on a slice" in panel.words.text()
        panel.add.setChecked(False)
        assert str(layer.mode) == "paint"

    def test_another_case_ends_it(self, panel, open_case):
        panel.add.setChecked(True)
        open_case(panel.session, "P-1")
        assert not panel.add.isChecked()
        assert panel.tool._press not in panel.session.viewer.mouse_drag_callbacks


class TestNumberedLesions:
    @pytest.fixture
    def panel(self, review_findings, make_detected):
        return review_findings(make_detected(instances=True))

    def test_every_accepted_and_added_one_gets_a_number_of_its_own(self, panel, qtbot, lesions):
        layers = panel.session.layers
        layers["label"].brush_size = 1
        layers["label"].paint((11, 0, 0), 4)
        for number in (2, 1):
            panel.table.choose(number)
            panel.accept.click()
        assert set(np.unique(label(panel)[lesions == 2])) == {5}
        assert set(np.unique(label(panel)[lesions == 1])) == {6}
        layers["label"].n_edit_dimensions = 2
        assert panel.verbs.add(tuple(layers["label"].data_to_world((1, 20, 15))), 4.0)
        assert label(panel).max() == layers.label.paint_class == 7
        with qtbot.waitSignal(panel.session.saved):
            panel.session.work.save()
        assert set(np.unique(panel.session.project.read_label("P-0"))) == {0, 4, 5, 6, 7}

    def test_edit_takes_up_the_number_that_lies_there(self, panel):
        panel.table.choose(2)
        panel.accept.click()
        panel.table.choose(1)
        panel.accept.click()
        panel.table.choose(1)
        panel.edit.click()
        assert panel.session.layers.label.paint_class == 2

    def test_accepting_all_keeps_them_apart(self, panel, lesions):
        panel.session.work.accept()
        np.testing.assert_array_equal(label(panel), np.where(lesions == 3, 0, lesions))
        assert panel.session.layers["label"].data.dtype == np.uint16


@pytest.mark.gui
def test_a_click_on_the_picture_adds_and_a_drag_does_not(make_napari_viewer_proxy, detected, qtbot):
    from napari_dasl.widgets import DaslDock

    viewer = make_napari_viewer_proxy()
    dock = DaslDock(viewer)
    viewer.window.add_dock_widget(dock, name="DASL", area="right")
    dock.session.open_project(detected.folder)
    qtbot.waitUntil(lambda: dock.session.project is not None and bool(dock.session.queue()), timeout=10_000)
    dock.session.next_case()
    qtbot.waitUntil(lambda: dock.findings.model.rowCount() == 2, timeout=10_000)
    assert not dock.sections.findings_part.isHidden()
    assert dock.sections.findings_part.is_open  # the project is about lesions
    assert dock.sections.findings_part.title() == "Findings · 2 of 2 to review"
    dock.findings.add.setChecked(True)
    layer, real = dock.session.layers["label"], viewer.__wrapped__

    class Event:
        button, type, modifiers = 1, "mouse_press", ()
        position = tuple(layer.data_to_world((7, 4, 15)))
        pos = np.array([100.0, 100.0])

    def press(moves):
        event = Event()
        step = dock.findings.tool._press(real, event)
        next(step)
        for pos in moves:
            event.type, event.pos = "mouse_move", np.array(pos, dtype=float)
            next(step)
        event.type = "mouse_release"
        next(step, None)

    press([(140, 100)])
    assert not layer.data.any()
    press([(101, 100)])
    assert layer.data[7, 4, 15] == 1
    assert finding_keeper_for(dock.session) is dock.findings.keeper
    dock.session.shutdown()
