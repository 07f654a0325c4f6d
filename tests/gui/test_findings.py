"""The findings in the window: listed, accepted, rejected, edited, and taken back."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QFocusEvent
from qtpy.QtWidgets import QApplication

from napari_dasl.project import cases
from napari_dasl.widgets.findings_panel import FindingsWidget

MODEL = "r0001-test"


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

    def test_the_threshold_of_the_network_stands_beside_it(self, review_findings, detected):
        (detected.model_folder(MODEL) / "detection.json").write_text('{"score": 0.372, "nms": 0.2}')
        panel = review_findings(detected)
        assert panel.unsure.text() == "Unsure < 0.37"
        assert "List the 1 that the network" in panel.unsure.toolTip()
        assert "count from a score of 0.37" in panel.unsure.toolTip()
        assert "overlap by more than 0.2 " in panel.unsure.toolTip()

    def test_the_finding_that_the_case_opens_at_is_chosen_and_nothing_moves(self, panel, lesions):
        opened, layer = panel.session.opened, panel.session.layers["label"]
        assert panel.chosen().id == 1
        assert (lesions[opened.focus[0]] == 1).any()
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
        self, study, qtbot, make_session, open_case
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
        assert "stays out of pseudo-labels" in widget.reject.toolTip()
        assert "next round learns" not in widget.reject.toolTip()

    def test_guard_cases_show_none(self, make_detected, qtbot, make_session, open_case, lesions):
        project = make_detected()
        for case in ("P-0", "P-1"):
            project.record_label(case, (lesions > 0).astype(np.uint8), author="ada")
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
        assert "the next round learns from it.<br>Key R, once" in panel.reject.toolTip()  # its network can


class TestVerdicts:
    def test_accept_copies_into_the_label_as_one_step_and_goes_on(self, panel, detected, qtbot, lesions):
        panel.table.choose(1)
        panel.table.setFocus()
        qtbot.keyClick(panel.table, Qt.Key.Key_A)
        np.testing.assert_array_equal(label(panel), lesions == 1)
        assert state(panel, 1) == "accepted"
        assert panel.chosen().id == 2
        qtbot.waitUntil(lambda: verdicts(detected) == {1: "accepted"})
        assert panel.session.opened.has_draft
        assert detected.labels("P-0") == []  # nothing is saved

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

    def test_reject_is_stored_at_once_and_leaves_the_label_alone(self, panel, detected, qtbot):
        panel.table.choose(2)
        panel.table.setFocus()
        qtbot.keyClick(panel.table, Qt.Key.Key_R)
        assert state(panel, 2) == "rejected"
        qtbot.waitUntil(lambda: verdicts(detected) == {2: "rejected"})
        assert len(detected.rejected_boxes("P-0")) == 1
        assert not label(panel).any()
        assert panel.chosen().id == 1

    def test_accepting_the_prediction_leaves_out_what_was_rejected(self, panel, qtbot, lesions):
        panel.table.choose(2)
        panel.reject.click()
        panel.session.work.accept()
        np.testing.assert_array_equal(label(panel), lesions == 1)
        qtbot.waitUntil(lambda: state(panel, 1) == "labelled")

    def test_a_verdict_can_be_taken_back_with_its_copy(self, panel, detected, qtbot):
        panel.table.choose(1)
        panel.accept.click()
        panel.table.choose(1)
        panel.table.setFocus()
        qtbot.keyClick(panel.table, Qt.Key.Key_Z)
        assert not label(panel).any()
        assert state(panel, 1) == "proposed"
        qtbot.waitUntil(lambda: len(verdicts(detected)) == 0 and panel.session.findChild(type(panel.verbs._jobs)).idle)
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

    def test_undo_of_napari_takes_the_verdict_back_and_redo_brings_it(self, panel, detected, qtbot):
        panel.table.choose(1)
        panel.accept.click()
        qtbot.waitUntil(lambda: verdicts(detected) == {1: "accepted"})
        panel.session.layers["label"].undo()
        assert not label(panel).any()
        qtbot.waitUntil(lambda: verdicts(detected) == {})
        panel.session.layers["label"].redo()
        qtbot.waitUntil(lambda: verdicts(detected) == {1: "accepted"})

    def test_undo_of_napari_never_crosses_cases(self, panel, detected, qtbot, open_case):
        panel.table.choose(1)
        panel.accept.click()
        open_case(panel.session, "P-1")
        panel.session.layers["label"].undo()
        assert not label(panel).any()
        qtbot.wait(500)
        assert verdicts(detected) == {1: "accepted"}

    def test_edit_copies_it_and_takes_up_the_brush(self, panel, lesions):
        panel.table.choose(2)
        panel.table.setFocus()
        panel.edit.click()
        layer = panel.session.layers["label"]
        np.testing.assert_array_equal(label(panel), lesions == 2)
        assert (str(layer.mode), layer.selected_label) == ("paint", 1)
        assert panel.session.viewer.layers.selection.active == layer
        assert state(panel, 2) == "accepted"

    def test_a_label_begun_from_a_finding_is_a_corrected_prediction(self, panel, detected, qtbot):
        panel.table.choose(1)
        panel.accept.click()
        with qtbot.waitSignal(panel.session.saved):
            panel.session.work.save()
        revision = detected.labels("P-0")[-1]
        assert (revision.source, revision.model) == ("corrected", MODEL)

    def test_a_verdict_comes_back_with_the_case(self, panel, qtbot, open_case):
        panel.table.choose(2)
        panel.reject.click()
        open_case(panel.session, "P-1")
        open_case(panel.session, "P-0")
        qtbot.waitUntil(lambda: panel.keeper.snapshot.case == "P-0")
        assert state(panel, 2) == "rejected"
