"""The session: which case comes next, how it is opened, set aside, and shown after a round."""

import shutil
import subprocess
import sys

import numpy as np

from napari_dasl.project import CaseState, Project


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


class TestTheRest:
    def test_an_old_revision_comes_back_as_the_newest(self, session, open_case, study, qtbot, stroke):
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

    def test_a_round_changes_the_prediction_and_never_the_strokes(
        self, session, open_case, study, qtbot, add_model, stroke
    ):
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
