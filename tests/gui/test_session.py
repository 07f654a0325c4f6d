"""The session: which case comes next, what is saved, and that no stroke is ever lost."""

import getpass
import shutil
import subprocess
import sys

import numpy as np
import pytest

from napari_dasl.errors import StorageError
from napari_dasl.project import CaseState, Project
from napari_dasl.widgets import drafts, label_edits


@pytest.fixture
def often(monkeypatch):
    """Write drafts every 50 ms instead of every 5 s."""
    monkeypatch.setattr(drafts, "AUTOSAVE_MS", 50)
    monkeypatch.setattr(drafts, "_SETTLE_MS", 10)


def stroke(session, corner=(2, 3, 4), number=1):
    """Paint one voxel as napari's brush does; return its place."""
    layer = session.layers["label"]
    layer.brush_size = 1
    layer.paint(corner, number)
    assert layer.data[corner] == number
    return corner


def wait_for_draft(qtbot, session, case):
    qtbot.waitUntil(lambda: session.project.read_draft(case) is not None, timeout=5000)
    return session.project.read_draft(case)


class TestWhichCaseIsNext:
    def test_the_queue_is_the_ranking(self, session):
        assert session.queue() == ["P-0", "P-1", "P-2"]

    def test_the_worklists_order_wins_and_its_filter_hides(self, session):
        session.set_queue(["P-4", "P-2", "P-0"])
        assert session.queue() == ["P-2", "P-0"]
        session.set_queue(None)
        assert session.queue() == ["P-0", "P-1", "P-2"]

    def test_a_case_left_without_saving_goes_to_the_end(self, session, qtbot):
        for expected in ("P-0", "P-1", "P-2", "P-0"):
            with qtbot.waitSignal(session.case_opened):
                assert session.next_case() == expected

    def test_back_goes_the_way_one_came(self, session, open_case, qtbot, messages):
        for case in ("P-2", "P-0", "P-4"):
            open_case(session, case)
        for expected in ("P-0", "P-2"):
            with qtbot.waitSignal(session.case_opened):
                assert session.previous_case() == expected
        assert session.previous_case() is None
        assert messages[-1] == ("This is the first case you opened.", "info")

    def test_nothing_left_is_said(self, session, messages):
        session.set_queue([])
        assert session.next_case() is None
        assert messages[-1][0] == "No case is left to label in this list."

    def test_only_the_case_asked_for_last_is_shown(self, session, qtbot):
        shown = []
        session.case_opened.connect(shown.append)
        for case in ("P-0", "P-1", "P-2"):
            session.open_case(case)
        qtbot.waitUntil(lambda: session.case_id == "P-2")
        qtbot.wait(100)
        assert shown == ["P-2"]

    def test_coming_back_before_the_other_case_is_there(self, session, open_case, qtbot):
        open_case(session, "P-0")
        session.open_case("P-1")
        session.open_case("P-0")
        qtbot.wait(200)
        assert session.case_id == "P-0"
        assert session.selected_id == "P-0"


class TestOpening:
    def test_the_saved_label_is_shown(self, session, open_case, study):
        open_case(session, "P-3")
        np.testing.assert_array_equal(session.layers.label.view(), study.truth["P-3"])
        assert session.opened.revision == 1
        assert not session.opened.has_draft

    def test_a_guard_case_opens_without_a_prediction_and_says_so(self, make_session, make_study, open_case, qtbot):
        study = make_study(8)
        for case in ("P-2", "P-3", "P-4", "P-5"):
            study.project.record_label(case, study.truth[case], author="import", source="imported")
        (guard, *_) = study.project.choose_guard(0.5, 0)
        session = make_session(study.folder)
        said = []
        session.message.connect(lambda text, severity: said.append(text))
        open_case(session, guard)
        qtbot.wait(200)
        assert session.project.prediction(guard) is not None
        assert session.opened.shown is None
        for role in ("prediction", "probability", "uncertainty"):
            assert not np.asarray(session.layers[role].data).any()
        assert "guard case, no prediction" in session.viewer.canvas.overlays.text.text
        before = session.layers.label.copy()
        session.work.accept()
        np.testing.assert_array_equal(session.layers.label.view(), before)
        assert not session.work.can_accept
        assert said[-1] == "Guard cases are labelled without a prediction."

    def test_a_missing_scan_is_explained_and_the_case_on_screen_stays(self, session, open_case, study, qtbot, messages):
        open_case(session, "P-0")
        study.scan("P-1").unlink()
        with qtbot.waitSignal(session.message, timeout=5000):
            session.open_case("P-1")
        assert messages[-1][1] == "error"
        assert "P-1 cannot be opened" in messages[-1][0]
        assert session.case_id == "P-0"

    def test_a_changed_scan_is_not_shown_from_the_cache(self, session, open_case, study, qtbot, messages):
        open_case(session, "P-1")
        open_case(session, "P-0")
        shutil.copy(study.scan("P-2"), study.scan("P-1"))
        with qtbot.waitSignal(session.message, timeout=5000):
            session.open_case("P-1")
        assert messages[-1][1] == "error"

    def test_a_damaged_draft_does_not_lock_the_case(self, session, open_case, study, messages):
        folder = study.folder / "drafts"
        folder.mkdir(exist_ok=True)
        (folder / "P-0.npz").write_bytes(b"torn")
        open_case(session, "P-0")
        assert any("damaged" in text for text, _ in messages)
        assert not session.layers.label.view().any()

    def test_the_second_time_comes_from_the_display_cache(self, session, open_case, monkeypatch):
        open_case(session, "P-0")
        scan = session.layers["channel 0"].data.copy()
        open_case(session, "P-4")
        session._opener.bind(session.project)
        read, really = [], Project.read_image
        monkeypatch.setattr(Project, "read_image", lambda self, case: (read.append(case), really(self, case))[1])
        open_case(session, "P-0")
        assert "P-0" not in read
        np.testing.assert_array_equal(session.layers["channel 0"].data, scan)

    def test_the_cache_may_be_deleted_at_any_time(self, session, open_case, study):
        open_case(session, "P-0")
        open_case(session, "P-4")
        session._jobs.wait()
        shutil.rmtree(study.folder / "cache")
        session._opener.bind(session.project)
        open_case(session, "P-0")
        assert session.layers["channel 0"].data.any()


class TestAccept:
    def test_it_copies_the_prediction_and_saves_nothing(self, session, open_case):
        open_case(session, "P-0")
        session.work.accept()
        np.testing.assert_array_equal(session.layers.label.view(), session.project.prediction("P-0").label())
        assert session.opened.has_draft
        assert not session.project.labels("P-0")

    def test_ctrl_z_takes_it_back(self, session, open_case, qtbot):
        open_case(session, "P-0")
        session.work.accept()
        session.layers["label"].undo()
        assert not session.layers.label.view().any()
        qtbot.waitUntil(lambda: not session.work.can_undo_accept)

    def test_undo_accept_takes_it_back_with_the_strokes_since_and_ctrl_z_brings_those_again(self, session, open_case):
        open_case(session, "P-3")
        before = session.layers.label.copy()
        session.work.accept()
        stroke(session, (0, 0, 0))
        after = session.layers.label.copy()
        assert session.work.can_undo_accept
        session.work.undo_accept()
        np.testing.assert_array_equal(session.layers.label.view(), before)
        assert not session.work.can_undo_accept
        session.layers["label"].undo()
        np.testing.assert_array_equal(session.layers.label.view(), after)

    def test_a_huge_change_is_still_taken_back_by_undo_accept(self, session, open_case, monkeypatch):
        monkeypatch.setattr(label_edits, "UNDO_LIMIT_VOXELS", 3)
        open_case(session, "P-0")
        session.work.accept()
        assert session.layers.label.view().any()
        session.work.undo_accept()
        assert not session.layers.label.view().any()

    def test_without_a_prediction_it_says_so(self, make_session, make_study, open_case):
        session = make_session(make_study(3, model=False).folder)
        said = []
        session.message.connect(lambda text, _: said.append(text))
        open_case(session, "P-0")
        session.work.accept()
        assert said == ["This case has no prediction yet."]


class TestSave:
    def test_a_drawn_label_is_recorded_with_author_source_and_time(self, session, open_case, qtbot):
        open_case(session, "P-0")
        corner = stroke(session)
        session.clock.edit_seconds = 12.5
        with qtbot.waitSignal(session.saved) as saved:
            assert session.work.save()
        assert saved.args == ["P-0", 1]
        (revision,) = session.project.labels("P-0")
        assert (revision.author, revision.source, revision.model) == (getpass.getuser(), "human", None)
        assert revision.seconds == pytest.approx(12.5, abs=0.5)
        label = session.project.read_label("P-0")
        assert label.sum() == 1
        assert label[corner] == 1

    def test_a_corrected_prediction_knows_its_model_and_round(self, session, open_case, qtbot):
        open_case(session, "P-0")
        session.work.accept()
        stroke(session, (0, 0, 0))
        with qtbot.waitSignal(session.saved):
            session.work.save()
        (revision,) = session.project.labels("P-0")
        assert (revision.source, revision.model, revision.round) == ("corrected", "r0001-test", 1)

    def test_an_accept_taken_back_leaves_no_trace(self, session, open_case, qtbot):
        open_case(session, "P-0")
        session.work.accept()
        session.work.undo_accept()
        stroke(session)
        with qtbot.waitSignal(session.saved):
            session.work.save()
        assert session.project.labels("P-0")[0].source == "human"

    def test_it_leaves_no_draft_and_the_queue(self, session, open_case, qtbot):
        open_case(session, "P-0")
        stroke(session)
        with qtbot.waitSignal(session.saved):
            session.work.save()
        assert not session.opened.has_draft
        assert session.project.read_draft("P-0") is None
        assert session.project.case("P-0").state is CaseState.LABELLED
        assert session.queue() == ["P-1", "P-2"]

    def test_nothing_changed_makes_no_revision(self, session, open_case, messages):
        open_case(session, "P-3")
        assert not session.work.save()
        assert "nothing changed" in messages[-1][0]
        assert len(session.project.labels("P-3")) == 1

    def test_a_second_press_while_it_is_written_makes_no_second_revision(self, session, open_case, qtbot):
        open_case(session, "P-0")
        stroke(session)
        with qtbot.waitSignal(session.saved):
            session.work.save()
            session.work.save()
        qtbot.wait(100)
        assert len(session.project.labels("P-0")) == 1

    def test_save_and_next_opens_the_next_of_the_queue(self, session, open_case, qtbot):
        open_case(session, "P-0")
        session.work.accept()
        with qtbot.waitSignals([session.saved, session.case_opened]):
            session.work.save_and_next()
        assert session.case_id == "P-1"
        assert len(session.project.labels("P-0")) == 1

    def test_an_empty_new_label_needs_a_second_press(self, session, open_case, qtbot, messages):
        open_case(session, "P-0")
        session.work.save_and_next()
        assert "Nothing is drawn" in messages[-1][0]
        assert session.case_id == "P-0"
        with qtbot.waitSignals([session.saved, session.case_opened]):
            session.work.save_and_next()
        assert not session.project.read_label("P-0").any()

    def test_strokes_while_it_is_written_stay_unsaved_work(self, session, open_case, qtbot):
        open_case(session, "P-0")
        stroke(session, (2, 3, 4))
        with qtbot.waitSignal(session.saved):
            session.work.save()
            stroke(session, (5, 6, 7))
        assert session.project.read_label("P-0").sum() == 1
        assert session.opened.has_draft
        open_case(session, "P-1")
        open_case(session, "P-0")
        assert session.layers.label.view().sum() == 2

    def test_when_it_fails_the_work_is_a_draft_and_the_reason_is_said(self, session, open_case, study, qtbot, messages):
        open_case(session, "P-0")
        corner = stroke(session)
        shutil.rmtree(study.folder / "labels" / "P-0", ignore_errors=True)
        (study.folder / "labels" / "P-0").write_text("in the way")  # as good as a read-only folder, also for root
        with qtbot.waitSignal(session.message):
            session.work.save()
        text, severity = messages[-1]
        assert severity == "error"
        assert "P-0 could not be saved" in text
        assert "kept as a draft" in text
        assert session.project.read_draft("P-0").mask[corner] == 1
        assert session.opened.has_draft
        assert not session.project.labels("P-0")
        (study.folder / "labels" / "P-0").unlink()
        with qtbot.waitSignal(session.saved):
            session.work.save()


class TestDrafts:
    def test_a_stroke_is_on_the_disk_soon(self, often, session, open_case, qtbot):
        open_case(session, "P-0")
        with qtbot.waitSignal(session.draft_changed) as changed:
            corner = stroke(session)
        assert changed.args == ["P-0", True]
        draft = wait_for_draft(qtbot, session, "P-0")
        assert draft.mask[corner] == 1
        assert draft.meta["strokes"] == 1

    def test_the_worklist_is_told_when_the_draft_is_on_the_disk(self, often, session, open_case, qtbot):
        open_case(session, "P-0")
        states = []
        session.draft_changed.connect(lambda case, _: states.append(session.project.case(case).state))
        stroke(session)
        qtbot.waitUntil(lambda: states[-1:] == [CaseState.DRAFT], timeout=5000)

    def test_switching_cases_never_asks_and_never_loses(self, session, open_case):
        open_case(session, "P-0")
        corner = stroke(session)
        session.clock.edit_seconds = 30
        open_case(session, "P-1")
        assert not session.layers.label.view().any()
        open_case(session, "P-0")
        assert session.layers.label.view()[corner] == 1
        assert session.opened.has_draft
        assert session.clock.seconds >= 30

    def test_a_stroke_made_while_the_next_case_is_read_is_kept(self, session, open_case, qtbot):
        open_case(session, "P-0")
        session.open_case("P-1")
        corner = stroke(session)
        qtbot.waitUntil(lambda: session.case_id == "P-1")
        assert not session.layers.label.view().any()
        open_case(session, "P-0")
        assert session.layers.label.view()[corner] == 1

    def test_undoing_every_stroke_removes_the_draft(self, often, session, open_case, qtbot):
        open_case(session, "P-0")
        stroke(session)
        wait_for_draft(qtbot, session, "P-0")
        session.layers["label"].undo()
        qtbot.waitUntil(lambda: session.project.read_draft("P-0") is None, timeout=5000)
        qtbot.waitUntil(lambda: not session.opened.has_draft)

    def test_undo_alone_is_noticed(self, often, session, open_case, qtbot):
        open_case(session, "P-0")
        stroke(session, (2, 3, 4))
        stroke(session, (5, 6, 7))
        qtbot.waitUntil(lambda: (d := session.project.read_draft("P-0")) is not None and d.mask.sum() == 2)
        session.layers["label"].undo()
        qtbot.waitUntil(lambda: session.project.read_draft("P-0").mask.sum() == 1, timeout=5000)

    def test_scrolling_writes_no_draft(self, often, session, open_case, qtbot):
        open_case(session, "P-0")
        for step in range(5):
            session.viewer.dims.set_current_step(0, step)
        qtbot.wait(300)
        assert session.project.read_draft("P-0") is None

    def test_discarding_shows_the_saved_label_and_ctrl_z_brings_the_strokes_back(
        self, often, session, open_case, qtbot
    ):
        open_case(session, "P-3")
        saved = session.layers.label.copy()
        corner = stroke(session, (0, 0, 0))
        wait_for_draft(qtbot, session, "P-3")
        session.work.discard_draft()
        np.testing.assert_array_equal(session.layers.label.view(), saved)
        qtbot.waitUntil(lambda: session.project.read_draft("P-3") is None, timeout=5000)
        session.layers["label"].undo()
        assert session.layers.label.view()[corner] == 1

    def test_a_full_disk_keeps_the_strokes_in_memory_and_tries_again(
        self, often, session, open_case, qtbot, messages, monkeypatch
    ):
        def full(*_, **__):
            raise StorageError("The disk is full.", "Free some space.")

        open_case(session, "P-0")
        monkeypatch.setattr(session.project, "save_draft", full)
        corner = stroke(session)
        qtbot.waitUntil(lambda: any("could not be written" in text for text, _ in messages), timeout=5000)
        open_case(session, "P-1")
        open_case(session, "P-0")
        assert session.layers.label.view()[corner] == 1
        qtbot.wait(300)
        assert sum("could not be written" in text for text, _ in messages) == 1
        monkeypatch.undo()
        assert wait_for_draft(qtbot, session, "P-0").mask[corner] == 1

    def test_closing_writes_the_draft(self, session, open_case, study):
        open_case(session, "P-0")
        corner = stroke(session)
        session.shutdown()
        session.shutdown()
        with Project.open(study.folder) as project:
            assert project.read_draft("P-0").mask[corner] == 1

    def test_closing_the_project_writes_the_draft_and_empties_the_screen(self, session, open_case, study):
        open_case(session, "P-0")
        corner = stroke(session)
        session.close_project()
        assert session.project is None
        assert session.case_id is None
        assert session.layers["label"].data.shape == (1, 1, 1)
        with Project.open(study.folder) as project:
            assert project.read_draft("P-0").mask[corner] == 1


class TestTheRest:
    def test_an_old_revision_comes_back_as_the_newest(self, session, open_case, study, qtbot):
        open_case(session, "P-3")
        stroke(session, (0, 0, 0))
        with qtbot.waitSignal(session.saved):
            session.work.save()
        with qtbot.waitSignal(session.saved) as saved:
            session.work.restore(1)
        assert saved.args == ["P-3", 3]
        np.testing.assert_array_equal(session.layers.label.view(), study.truth["P-3"])
        assert [revision.source for revision in session.project.labels("P-3")] == ["imported", "human", "restored"]
        assert not session.opened.has_draft

    def test_skipping_says_why_and_goes_on(self, session, open_case, qtbot):
        open_case(session, "P-0")
        with qtbot.waitSignals([session.case_opened, session.cases_changed]):
            session.work.skip("motion")
        assert session.case_id == "P-1"
        case = session.project.case("P-0")
        assert (case.state, case.reason) == (CaseState.SKIPPED, "motion")
        with qtbot.waitSignal(session.cases_changed):
            session.work.unskip("P-0")
        qtbot.waitUntil(lambda: "P-0" in session.queue())

    def test_a_round_changes_the_prediction_and_never_the_strokes(self, session, open_case, study, qtbot, add_model):
        open_case(session, "P-0")
        corner = stroke(session)
        old = np.array(session.layers["prediction"].data)
        add_model(study.project, study.truth, "r0002-test", shift=2)
        with qtbot.waitSignal(session.prediction_changed):
            session.refresh_predictions()
        new = np.asarray(session.layers["prediction"].data)
        assert (old != new).any()
        assert session.opened.shown.model == "r0002-test"
        assert session.layers.label.view()[corner] == 1
        assert session.layers.label.view().sum() == 1

    def test_the_window_needs_no_torch(self):
        code = "import sys, napari_dasl.widgets.session, napari_dasl.widgets.case_panel; print('torch' in sys.modules)"
        answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert answer.stdout.split() == ["False"]
