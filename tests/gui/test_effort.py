"""What a label took goes with it: time, strokes, what was changed of which draft; and looking alone is kept too."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from napari.utils.interactions import mouse_move_callbacks, mouse_press_callbacks, mouse_release_callbacks

from napari_dasl.errors import StorageError
from napari_dasl.widgets import drafts


@pytest.fixture
def watch(session):
    """A time that goes on only when the test says so."""
    time = SimpleNamespace(at=0.0)
    session.clock._now = lambda: time.at
    return time


def stroke(session, corner=(2, 3, 4), number=1):
    layer = session.layers["label"]
    layer.brush_size = 1
    layer.paint(corner, number)


def scroll(session):
    """Go one section on."""
    session.viewer.dims.set_current_step(0, (session.viewer.dims.current_step[0] + 1) % 12)


def saved_effort(qtbot, session):
    """Save and return what was kept with the label."""
    case = session.case_id
    with qtbot.waitSignal(session.saved):
        assert session.work.save()
    return session.project.efforts(case)[-1]


def left_effort(session, open_case, case="P-4"):
    """Go to another case and return what was kept of the one before."""
    before = session.case_id
    open_case(session, case)
    session._jobs.wait()
    return session.project.efforts(before)


class TestWithALabel:
    def test_drawn_from_nothing(self, session, open_case, watch, qtbot):
        open_case(session, "P-0")
        watch.at = 6
        stroke(session, (2, 3, 4))
        watch.at = 9
        stroke(session, (2, 3, 6))
        effort = saved_effort(qtbot, session)
        assert (effort.inspect_seconds, effort.edit_seconds, effort.strokes) == (6, 3, 2)
        assert effort.drawn_from_nothing
        assert effort.voxels_changed is None
        assert effort.revision == 1
        assert (effort.accepted_unchanged, effort.blind, effort.audit) == (False, False, False)
        assert effort.opened <= effort.first_edit <= effort.saved
        assert session.project.labels("P-0")[0].seconds == 9

    def test_a_prediction_accepted_as_it_was(self, session, open_case, qtbot):
        open_case(session, "P-0")
        session.work.accept()
        effort = saved_effort(qtbot, session)
        assert (effort.draft_model, effort.draft_round, effort.voxels_changed) == ("r0001-test", 1, 0)
        assert effort.accepted_unchanged
        assert not effort.drawn_from_nothing

    def test_a_corrected_prediction_counts_the_voxels_changed(self, session, open_case, qtbot):
        open_case(session, "P-0")
        session.work.accept()
        stroke(session, (0, 0, 0), 2)
        stroke(session, (0, 0, 2), 2)
        effort = saved_effort(qtbot, session)
        assert (effort.voxels_changed, effort.accepted_unchanged) == (2, False)

    def test_an_earlier_label_is_a_draft_without_a_model(self, session, open_case, qtbot):
        open_case(session, "P-3")
        stroke(session, (0, 0, 0))
        effort = saved_effort(qtbot, session)
        assert (effort.draft_model, effort.voxels_changed, effort.drawn_from_nothing) == (None, 1, False)

    def test_a_draft_begun_from_an_older_model_is_measured_against_that_one(
        self, session, open_case, study, qtbot, add_model
    ):
        open_case(session, "P-0")
        session.work.accept()
        add_model(study.project, study.truth, "r0002-test", shift=2)
        with qtbot.waitSignal(session.prediction_changed):
            session.refresh_predictions()
        stroke(session, (0, 0, 0), 2)
        effort = saved_effort(qtbot, session)
        assert (effort.draft_model, effort.voxels_changed) == ("r0001-test", 1)

    def test_a_second_save_counts_only_what_came_after_the_first(self, session, open_case, watch, qtbot):
        open_case(session, "P-0")
        watch.at = 5
        stroke(session, (2, 3, 4))
        saved_effort(qtbot, session)
        watch.at = 12
        stroke(session, (2, 3, 6))
        effort = saved_effort(qtbot, session)
        assert (effort.inspect_seconds, effort.strokes, effort.voxels_changed) == (7, 1, 1)
        assert session.clock.total == 12  # the line in *This case* goes on

    def test_undo_is_counted_and_scrolling_is_not(self, session, open_case, qtbot):
        open_case(session, "P-0")
        session.viewer.dims.set_current_step(0, 2)
        stroke(session, (2, 3, 4))
        stroke(session, (2, 3, 6))
        for step in (3, 4, 2):
            session.viewer.dims.set_current_step(0, step)
        session.layers.looks.set_opacity(0.4)  # redraws, too
        qtbot.wait(30)
        session.layers["label"].undo()
        qtbot.waitUntil(lambda: session.clock.undos == 1)
        effort = saved_effort(qtbot, session)
        assert (effort.strokes, effort.undos) == (2, 1)

    def test_a_stroke_is_timed_from_press_to_release(self, session, open_case, watch, qtbot):
        open_case(session, "P-0")
        viewer, label = session.viewer, session.layers["label"]
        label.mode = "paint"
        viewer.layers.selection.active = label
        event = SimpleNamespace(type="mouse_press", modifiers=(), is_dragging=True)
        watch.at = 4
        mouse_press_callbacks(viewer, event)
        event.type, watch.at = "mouse_move", 34  # held still for half a minute
        mouse_move_callbacks(viewer, event)
        event.type, watch.at = "mouse_release", 36
        mouse_release_callbacks(viewer, event)
        stroke(session)
        assert (session.clock.inspect_seconds, session.clock.edit_seconds) == (4, 32)

    def test_when_saving_fails_no_time_is_lost(self, session, open_case, watch, qtbot, monkeypatch):
        open_case(session, "P-0")
        watch.at = 8
        stroke(session)

        def full(*_, **__):
            raise StorageError("The disk is full.", "Free some space.")

        monkeypatch.setattr(session.project, "record_label", full)
        with qtbot.waitSignal(session.message):
            session.work.save()
        monkeypatch.undo()
        effort = saved_effort(qtbot, session)
        assert (effort.inspect_seconds, effort.strokes) == (8, 1)
        assert len(session.project.efforts("P-0")) == 1


class TestBlind:
    def test_a_blind_check_opens_without_a_prediction_and_says_so_in_its_effort(self, session, qtbot):
        with qtbot.waitSignal(session.case_opened):
            session.open_case("P-0", audit=True)
        assert session.opened.shown is None
        assert not np.asarray(session.layers["prediction"].data).any()
        session.work.accept()
        assert not session.layers.label.view().any()
        stroke(session)
        effort = saved_effort(qtbot, session)
        assert (effort.blind, effort.audit, effort.drawn_from_nothing) == (True, True, True)

    def test_it_stays_blind_when_its_draft_comes_back(self, session, open_case, qtbot):
        with qtbot.waitSignal(session.case_opened):
            session.open_case("P-0", audit=True)
        stroke(session)
        open_case(session, "P-1")
        open_case(session, "P-0")
        assert session.opened.audit
        assert session.opened.shown is None

    def test_an_open_case_becomes_blind_when_it_is_to_be_checked(self, session, open_case, qtbot):
        open_case(session, "P-0")
        with qtbot.waitSignal(session.case_opened):
            session.open_case("P-0", audit=True)
        assert session.opened.shown is None

    def test_guard_cases_are_blind(self, make_session, make_study, open_case, qtbot):
        study = make_study(8)
        for case in ("P-2", "P-3", "P-4", "P-5"):
            study.project.record_label(case, study.truth[case], author="import", source="imported")
        (guard, *_) = study.project.choose_guard(0.5, 0)
        session = make_session(study.folder)
        open_case(session, guard)
        stroke(session, (0, 0, 0))
        effort = saved_effort(qtbot, session)
        assert (effort.blind, effort.audit) == (True, False)


class TestWithoutALabel:
    def test_looking_at_a_case_is_kept_as_inspection(self, session, open_case, watch):
        open_case(session, "P-0")
        watch.at = 7
        scroll(session)
        (effort,) = left_effort(session, open_case)
        assert (effort.revision, effort.inspect_seconds, effort.edit_seconds) == (None, 7, 0)
        assert effort.first_edit is None

    def test_a_case_passed_by_leaves_nothing(self, session, open_case, watch):
        open_case(session, "P-0")
        assert left_effort(session, open_case) == []

    def test_time_of_an_unsaved_edit_stays_with_its_draft_until_it_is_saved(self, session, open_case, watch, qtbot):
        open_case(session, "P-0")
        watch.at = 3
        stroke(session)
        watch.at = 10
        scroll(session)
        assert left_effort(session, open_case) == []
        watch.at = 100
        open_case(session, "P-0")
        assert session.clock.total == 10
        watch.at = 102
        stroke(session, (2, 3, 6))
        effort = saved_effort(qtbot, session)
        assert (effort.inspect_seconds, effort.strokes) == (12, 2)

    def test_strokes_that_were_all_undone_leave_the_time_of_looking(self, session, open_case, watch, qtbot):
        open_case(session, "P-0")
        watch.at = 3
        stroke(session)
        session.layers["label"].undo()
        (effort,) = left_effort(session, open_case)
        assert (effort.revision, effort.inspect_seconds) == (None, 3)
        assert session.project.read_draft("P-0") is None

    def test_closing_the_window_keeps_it_too(self, session, open_case, watch, study):
        open_case(session, "P-0")
        watch.at = 9
        scroll(session)
        session.shutdown()
        (effort,) = study.project.efforts("P-0")
        assert effort.inspect_seconds == 9


class TestAfterACrash:
    def test_the_draft_on_the_disk_holds_the_time_of_looking_at_it(
        self, session, open_case, watch, study, qtbot, monkeypatch
    ):
        monkeypatch.setattr(drafts, "_STALE_SECONDS", 5.0)
        open_case(session, "P-0")
        watch.at = 2
        stroke(session)
        session._drafts._write_all()
        session._jobs.wait()
        watch.at = 18
        scroll(session)  # looks on, draws nothing
        session._drafts._write_all()
        session._jobs.wait()
        meta = study.project.read_draft("P-0").meta  # what a killed window leaves behind
        assert meta["seconds"] == 18
        assert replace(session.opened, draft_meta=meta).draft_meta["strokes"] == 1
