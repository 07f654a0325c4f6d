"""Drafts: no stroke is ever lost."""

import numpy as np
import pytest

from napari_dasl.errors import StorageError
from napari_dasl.project import CaseState, Project
from napari_dasl.widgets import drafts


@pytest.fixture
def often(monkeypatch):
    """Write drafts every 50 ms instead of every 5 s."""
    monkeypatch.setattr(drafts, "AUTOSAVE_MS", 50)
    monkeypatch.setattr(drafts, "_SETTLE_MS", 10)


def wait_for_draft(qtbot, session, case):
    qtbot.waitUntil(lambda: session.project.read_draft(case) is not None, timeout=5000)
    return session.project.read_draft(case)


class TestDrafts:
    def test_a_stroke_is_on_the_disk_soon(self, often, session, open_case, qtbot, stroke):
        open_case(session, "P-0")
        with qtbot.waitSignal(session.draft_changed) as changed:
            corner = stroke(session)
        assert changed.args == ["P-0", True]
        draft = wait_for_draft(qtbot, session, "P-0")
        assert draft.mask[corner] == 1
        assert draft.meta["strokes"] == 1

    def test_the_worklist_is_told_when_the_draft_is_on_the_disk(self, often, session, open_case, qtbot, stroke):
        open_case(session, "P-0")
        states = []
        session.draft_changed.connect(lambda case, _: states.append(session.project.case(case).state))
        stroke(session)
        qtbot.waitUntil(lambda: states[-1:] == [CaseState.DRAFT], timeout=5000)

    def test_switching_cases_never_asks_and_never_loses(self, session, open_case, stroke):
        open_case(session, "P-0")
        corner = stroke(session)
        session.clock.edit_seconds = 30
        open_case(session, "P-1")
        assert not session.layers.label.view().any()
        open_case(session, "P-0")
        assert session.layers.label.view()[corner] == 1
        assert session.opened.has_draft
        assert session.clock.seconds >= 30

    def test_a_stroke_made_while_the_next_case_is_read_is_kept(self, session, open_case, qtbot, stroke):
        open_case(session, "P-0")
        session.open_case("P-1")
        corner = stroke(session)
        qtbot.waitUntil(lambda: session.case_id == "P-1")
        assert not session.layers.label.view().any()
        open_case(session, "P-0")
        assert session.layers.label.view()[corner] == 1

    def test_undoing_every_stroke_removes_the_draft(self, often, session, open_case, qtbot, stroke):
        open_case(session, "P-0")
        stroke(session)
        wait_for_draft(qtbot, session, "P-0")
        session.layers["label"].undo()
        qtbot.waitUntil(lambda: session.project.read_draft("P-0") is None, timeout=5000)
        qtbot.waitUntil(lambda: not session.opened.has_draft)

    def test_undo_alone_is_noticed(self, often, session, open_case, qtbot, stroke):
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
        self, often, session, open_case, qtbot, stroke
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
        self, often, session, open_case, qtbot, messages, monkeypatch, stroke
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

    def test_closing_writes_the_draft(self, session, open_case, study, stroke):
        open_case(session, "P-0")
        corner = stroke(session)
        session.shutdown()
        session.shutdown()
        with Project.open(study.folder) as project:
            assert project.read_draft("P-0").mask[corner] == 1

    def test_closing_the_project_writes_the_draft_and_empties_the_screen(self, session, open_case, study, stroke):
        open_case(session, "P-0")
        corner = stroke(session)
        session.close_project()
        assert session.project is None
        assert session.case_id is None
        assert session.layers["label"].data.shape == (1, 1, 1)
        with Project.open(study.folder) as project:
            assert project.read_draft("P-0").mask[corner] == 1
