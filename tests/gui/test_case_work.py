"""What is done with the open case: the prediction accepted and taken back, the label saved."""

import getpass
import shutil

import numpy as np
import pytest

from napari_dasl.project import CaseState
from napari_dasl.widgets import label_edits


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

    def test_undo_accept_takes_it_back_with_the_strokes_since_and_ctrl_z_brings_those_again(
        self, session, open_case, stroke
    ):
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
    def test_a_drawn_label_is_recorded_with_author_source_and_time(self, session, open_case, qtbot, stroke):
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

    def test_a_corrected_prediction_knows_its_model_and_round(self, session, open_case, qtbot, stroke):
        open_case(session, "P-0")
        session.work.accept()
        stroke(session, (0, 0, 0))
        with qtbot.waitSignal(session.saved):
            session.work.save()
        (revision,) = session.project.labels("P-0")
        assert (revision.source, revision.model, revision.round) == ("corrected", "r0001-test", 1)

    def test_an_accept_taken_back_leaves_no_trace(self, session, open_case, qtbot, stroke):
        open_case(session, "P-0")
        session.work.accept()
        session.work.undo_accept()
        stroke(session)
        with qtbot.waitSignal(session.saved):
            session.work.save()
        assert session.project.labels("P-0")[0].source == "human"

    def test_it_leaves_no_draft_and_the_queue(self, session, open_case, qtbot, stroke):
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

    def test_a_second_press_while_it_is_written_makes_no_second_revision(self, session, open_case, qtbot, stroke):
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

    def test_strokes_while_it_is_written_stay_unsaved_work(self, session, open_case, qtbot, stroke):
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

    def test_when_it_fails_the_work_is_a_draft_and_the_reason_is_said(
        self, session, open_case, study, qtbot, messages, stroke
    ):
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
