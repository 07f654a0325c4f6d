"""The findings in the window: seen on the scan, accepted, rejected, edited, taken back, and added by a click."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QFocusEvent
from qtpy.QtWidgets import QApplication

from napari_dasl.project import Project, ProjectConfig, cases
from napari_dasl.project.instances import describe
from napari_dasl.widgets.finding_keeper import finding_keeper_for
from napari_dasl.widgets.findings_panel import FindingsWidget

MODEL = "r0001-test"
SHAPE = (12, 24, 20)
PLACES = {
    1: (slice(2, 5), slice(3, 8), slice(3, 8)),
    2: (slice(6, 9), slice(12, 16), slice(10, 14)),
    3: (slice(9, 11), slice(18, 21), slice(2, 5)),
}


def lesions():
    ids = np.zeros(SHAPE, np.uint16)
    for number, place in PLACES.items():
        ids[place] = number
    return ids


@pytest.fixture
def make_detected(tmp_path, write_scan):
    """Projects of two scans in which a network found three lesions each, one of them below its threshold."""
    made = []

    def make(*, instances=False, network="nodule-rcnn"):
        scans = tmp_path / "scans"
        scans.mkdir()
        for name in ("P-0", "P-1"):
            write_scan(scans / f"{name}.nii.gz", np.full(SHAPE, -60, np.int16))
        config = ProjectConfig(name="d", modality="CT", classes=("nodule",), instances=instances, network=network)
        project = Project.create(tmp_path / "detected", config)
        project.add_cases([scans])
        number = project.new_round("al", {}).number
        project.add_model(MODEL, parent=None, round=number, guard={}, config={})
        project.finish_round(number, "done", {})
        project.use(MODEL)
        ids = lesions()
        found = describe(ids, {1: 1, 2: 1, 3: 1}, {1: 0.9, 2: 0.7, 3: 0.2}, (2.0, 1.5, 1.0), kept={1, 2})
        foreground = np.where((ids == 1) | (ids == 2), 0.9, 0.1).astype(np.float32)
        probability = np.stack([1 - foreground, foreground])
        for case in ("P-0", "P-1"):
            project.save_prediction(case, MODEL, probability, np.ones(4), {}, found, ids)
        made.append(project)
        return project

    yield make
    for project in made:
        project.close()


@pytest.fixture
def project(make_detected):
    return make_detected()


@pytest.fixture
def work(qtbot, make_session, open_case):
    """The widget on a project, with P-0 open and its findings read."""

    def work(project, case="P-0"):
        session = make_session(project.folder)
        widget = FindingsWidget(session.viewer)
        qtbot.addWidget(widget)
        widget.show()
        open_case(session, case)
        qtbot.waitUntil(lambda: widget.model.rowCount() == 2)
        return widget

    return work


@pytest.fixture
def panel(work, project):
    return work(project)


def state(panel, number):
    return next(row.state for row in panel.keeper.rows if row.id == number)


def verdicts(project, case="P-0"):
    return {one.instance: one.verdict for one in project.finding_reviews(case)}


def label(panel):
    return panel.session.layers.label.view()


class TestTheTable:
    def test_what_is_below_the_threshold_is_listed_on_wish(self, panel):
        assert [row.id for row in panel.model.rows] == [1, 2]
        assert panel.title() == "Findings · 2 of 2 to review"
        assert panel.unsure.text() == "Unsure (1)"
        panel.unsure.setChecked(True)
        assert [row.id for row in panel.model.rows] == [1, 2, 3]

    def test_the_finding_that_the_case_opens_at_is_chosen_and_nothing_moves(self, panel):
        opened, layer = panel.session.opened, panel.session.layers["label"]
        assert panel.chosen().id == 1
        assert (lesions()[opened.focus[0]] == 1).any()
        place = layer.world_to_data(panel.session.viewer.dims.point)
        assert [round(value) for value in place] == list(opened.focus)

    def test_choosing_jumps_to_the_middle(self, panel):
        panel.table.choose(2)
        place = panel.session.layers["label"].world_to_data(panel.session.viewer.dims.point)
        assert [round(value) for value in place] == [7, 13, 11]

    def test_another_case_shows_its_own(self, panel, qtbot, open_case):
        panel.table.choose(1)
        panel.reject.click()
        open_case(panel.session, "P-1")
        qtbot.waitUntil(lambda: panel.keeper.snapshot.case == "P-1")
        assert {row.state for row in panel.model.rows} == {"proposed"}

    def test_a_network_that_finds_nothing_one_by_one_has_its_connected_regions(
        self, work, study, qtbot, make_session, open_case
    ):
        session = make_session(study.folder)
        widget = FindingsWidget(session.viewer)
        qtbot.addWidget(widget)
        assert widget.empty
        open_case(session, "P-0")
        qtbot.waitUntil(lambda: len(widget.keeper.rows) > 0)
        assert not widget.detects
        assert not widget.empty
        assert widget.keeper.rows[0].name == "nodule"

    def test_guard_cases_show_none(self, make_detected, qtbot, make_session, open_case):
        project = make_detected()
        for case in ("P-0", "P-1"):
            project.record_label(case, (lesions() > 0).astype(np.uint8), author="ada")
        cases.change(project._store, ["P-0"], guard=True)
        session = make_session(project.folder)
        widget = FindingsWidget(session.viewer)
        qtbot.addWidget(widget)
        widget.show()
        open_case(session, "P-0")
        qtbot.wait(300)
        assert widget.keeper.rows == ()
        assert "findings" not in session.layers
        assert "guard case" in widget.words.text()
        assert not widget.table.isVisible()
        assert widget.add.isEnabled()  # drawing one's own is what the case is for


class TestLetters:
    def focus(self, panel, kind):
        """Give the table the keyboard, or take it: a window without a window manager never gets it."""
        QApplication.sendEvent(panel.table, QFocusEvent(kind))

    def test_they_are_on_the_buttons_while_they_work(self, panel):
        buttons = (panel.accept, panel.reject, panel.edit, panel.undo)
        assert [button.text() for button in buttons] == ["Accept", "Reject", "Edit", "Undo"]
        widths = [button.sizeHint().width() for button in buttons]
        self.focus(panel, QEvent.Type.FocusIn)
        assert [button.text() for button in buttons] == ["Accept  A", "Reject  R", "Edit  E", "Undo  Z"]
        assert [button.sizeHint().width() for button in buttons] == widths  # nothing moves
        self.focus(panel, QEvent.Type.FocusOut)
        assert panel.accept.text() == "Accept"

    def test_the_tip_of_a_button_says_when_its_letter_works(self, panel):
        assert "Key A, once you clicked a row of the table" in panel.accept.toolTip()


class TestVerdicts:
    def test_accept_copies_into_the_label_as_one_step_and_goes_on(self, panel, project, qtbot):
        panel.table.choose(1)
        panel.table.setFocus()
        qtbot.keyClick(panel.table, Qt.Key.Key_A)
        np.testing.assert_array_equal(label(panel), lesions() == 1)
        assert state(panel, 1) == "accepted"
        assert panel.chosen().id == 2
        qtbot.waitUntil(lambda: verdicts(project) == {1: "accepted"})
        assert panel.session.opened.has_draft
        assert project.labels("P-0") == []  # nothing is saved

    def test_what_a_person_drew_is_never_overwritten(self, make_study, qtbot, make_session, open_case):
        study = make_study(4)
        session = make_session(study.folder)
        widget = FindingsWidget(session.viewer)
        qtbot.addWidget(widget)
        open_case(session, "P-0")
        qtbot.waitUntil(lambda: len(widget.keeper.rows) > 0)
        row = widget.keeper.rows[0]
        piece = widget.keeper.snapshot.pieces[row.id]
        where = np.argwhere(piece.mask)[0] + piece.start
        session.layers["label"].brush_size = 1
        session.layers["label"].paint(tuple(where), 2)  # a cyst of one's own in the middle of it
        assert widget.verbs.accept(row)
        mask = session.layers.label.view()
        assert mask[tuple(where)] == 2
        assert (mask == 1).sum() == piece.mask.sum() - 1

    def test_reject_is_stored_at_once_and_leaves_the_label_alone(self, panel, project, qtbot):
        panel.table.choose(2)
        panel.table.setFocus()
        qtbot.keyClick(panel.table, Qt.Key.Key_R)
        assert state(panel, 2) == "rejected"
        qtbot.waitUntil(lambda: verdicts(project) == {2: "rejected"})
        assert len(project.rejected_boxes("P-0")) == 1
        assert not label(panel).any()
        assert panel.chosen().id == 1

    def test_accepting_the_prediction_leaves_out_what_was_rejected(self, panel, qtbot):
        panel.table.choose(2)
        panel.reject.click()
        panel.session.work.accept()
        np.testing.assert_array_equal(label(panel), lesions() == 1)
        qtbot.waitUntil(lambda: state(panel, 1) == "labelled")

    def test_a_verdict_can_be_taken_back_with_its_copy(self, panel, project, qtbot):
        panel.table.choose(1)
        panel.accept.click()
        panel.table.choose(1)
        panel.table.setFocus()
        qtbot.keyClick(panel.table, Qt.Key.Key_Z)
        assert not label(panel).any()
        assert state(panel, 1) == "proposed"
        qtbot.waitUntil(lambda: len(verdicts(project)) == 0 and panel.session.findChild(type(panel.verbs._jobs)).idle)
        assert not panel.undo.isEnabled()

    def test_strokes_over_an_accepted_one_stay_when_it_is_taken_back(self, panel):
        panel.table.choose(1)
        panel.accept.click()
        layer = panel.session.layers["label"]
        layer.brush_size = 1
        layer.paint((3, 20, 15), 1)
        panel.table.choose(1)
        panel.undo.click()
        assert np.argwhere(label(panel)).tolist() == [[3, 20, 15]]

    def test_undo_of_napari_takes_the_verdict_back_and_redo_brings_it(self, panel, project, qtbot):
        panel.table.choose(1)
        panel.accept.click()
        qtbot.waitUntil(lambda: verdicts(project) == {1: "accepted"})
        panel.session.layers["label"].undo()
        assert not label(panel).any()
        qtbot.waitUntil(lambda: verdicts(project) == {})
        panel.session.layers["label"].redo()
        qtbot.waitUntil(lambda: verdicts(project) == {1: "accepted"})

    def test_undo_of_napari_never_crosses_cases(self, panel, project, qtbot, open_case):
        panel.table.choose(1)
        panel.accept.click()
        open_case(panel.session, "P-1")
        panel.session.layers["label"].undo()
        assert not label(panel).any()
        qtbot.wait(500)
        assert verdicts(project) == {1: "accepted"}

    def test_edit_copies_it_and_takes_up_the_brush(self, panel):
        panel.table.choose(2)
        panel.table.setFocus()
        panel.edit.click()
        layer = panel.session.layers["label"]
        np.testing.assert_array_equal(label(panel), lesions() == 2)
        assert (str(layer.mode), layer.selected_label) == ("paint", 1)
        assert panel.session.viewer.layers.selection.active == layer
        assert state(panel, 2) == "accepted"

    def test_a_label_begun_from_a_finding_is_a_corrected_prediction(self, panel, project, qtbot):
        panel.table.choose(1)
        panel.accept.click()
        with qtbot.waitSignal(panel.session.saved):
            panel.session.work.save()
        revision = project.labels("P-0")[-1]
        assert (revision.source, revision.model) == ("corrected", MODEL)

    def test_a_verdict_comes_back_with_the_case(self, panel, qtbot, open_case):
        panel.table.choose(2)
        panel.reject.click()
        open_case(panel.session, "P-1")
        open_case(panel.session, "P-0")
        qtbot.waitUntil(lambda: panel.keeper.snapshot.case == "P-0")
        assert state(panel, 2) == "rejected"


class TestBoxes:
    def shown(self, panel):
        return list(panel.session.layers["findings"].data)

    @pytest.mark.filterwarnings("ignore:Contours are not displayed during 3D rendering")
    def test_they_follow_the_slice_and_the_orientation(self, panel):
        viewer, layers = panel.session.viewer, panel.session.layers
        layers.go_to((6, 5, 5))
        assert len(self.shown(panel)) == 4
        assert {float(point[0]) for strip in self.shown(panel) for point in strip} == {6.0}
        layers.go_to((0, 5, 5))
        assert self.shown(panel) == []
        viewer.dims.order = (2, 0, 1)
        layers.go_to((0, 20, 12))
        assert {float(point[2]) for strip in self.shown(panel) for point in strip} == {12.0}
        viewer.dims.ndisplay = 3
        assert self.shown(panel) == []

    def test_one_layer_is_reused_and_not_editable(self, panel, open_case, qtbot):
        layers, viewer = panel.session.layers, panel.session.viewer
        layers.go_to((3, 5, 5))
        first = layers["findings"]
        for case in ("P-1", "P-0"):
            open_case(panel.session, case)
            qtbot.waitUntil(lambda case=case: panel.keeper.snapshot.case == case)
            layers.go_to((3, 5, 5))
        assert layers["findings"] == first
        assert sum(layer.name == "boxes of findings" for layer in viewer.layers) == 1
        assert not first.editable
        assert viewer.layers.selection.active == layers["label"]  # the brush stays in the hand
        assert [str(unit) for unit in first.units] == ["millimeter"] * 3

    def test_the_chosen_one_is_outlined(self, panel):
        panel.table.choose(1)
        assert len(self.shown(panel)) == 8  # four edges of the box, four of the cube's outline

    def test_they_go_with_the_section_and_by_the_tick(self, panel):
        panel.session.layers.go_to((3, 5, 5))
        panel.boxes.setChecked(False)
        assert self.shown(panel) == []
        panel.boxes.setChecked(True)
        assert self.shown(panel)
        panel.hide()
        assert self.shown(panel) == []
        assert len(self.slider_steps(panel)) == 3

    def slider_steps(self, panel):
        steps = [entry.step for entry in panel.session.viewer.dims.range]
        assert steps == pytest.approx([2.0, 1.5, 1.0])  # no helper layer makes the slider finer
        return steps


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
        panel.session.layers.label.replace(np.full(SHAPE, 1, np.uint8))
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
    def panel(self, work, make_detected):
        return work(make_detected(instances=True))

    def test_every_accepted_and_added_one_gets_a_number_of_its_own(self, panel, qtbot):
        layers = panel.session.layers
        layers["label"].brush_size = 1
        layers["label"].paint((11, 0, 0), 4)
        for number in (2, 1):
            panel.table.choose(number)
            panel.accept.click()
        assert set(np.unique(label(panel)[lesions() == 2])) == {5}
        assert set(np.unique(label(panel)[lesions() == 1])) == {6}
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

    def test_accepting_all_keeps_them_apart(self, panel):
        panel.session.work.accept()
        ids = lesions()
        np.testing.assert_array_equal(label(panel), np.where(ids == 3, 0, ids))
        assert panel.session.layers["label"].data.dtype == np.uint16


def test_on_a_small_screen_a_round_can_be_started_while_findings_are_reviewed(make_session, project, qtbot):
    from napari_dasl.widgets import DaslDock

    session = make_session(project.folder)
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


@pytest.mark.gui
def test_a_click_on_the_picture_adds_and_a_drag_does_not(make_napari_viewer_proxy, project, qtbot):
    from napari_dasl.widgets import DaslDock

    viewer = make_napari_viewer_proxy()
    dock = DaslDock(viewer)
    viewer.window.add_dock_widget(dock, name="DASL", area="right")
    dock.session.open_project(project.folder)
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
