"""The panel of a case: words first, verbs that say what they do, nothing under the mouse that moves."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from qtpy.QtWidgets import QMessageBox

from napari_dasl.project import Case, CaseState, Revision, Score
from napari_dasl.volumes import FileStamp, Geometry
from napari_dasl.widgets.case_facts import Facts, label_words, numbers, particulars, prediction_words, read_facts, why
from napari_dasl.widgets.case_panel import CaseWidget
from napari_dasl.widgets.keys import HELP, help_html

NOW = datetime(2026, 11, 20, 14, 2, tzinfo=UTC)


def facts(state=CaseState.UNLABELLED, *, words="", guard=False, reason="", score=True, model="r0002-ab", revisions=()):
    from napari_dasl.project import Series

    case = Case(
        "P-014",
        (Series("image", Path("/scans/P-014.nii.gz"), FileStamp(1, 1, "x")),),
        (134, 512, 512),
        (3.0, 0.7, 0.7),
        guard,
        state,
        reason,
        Geometry((512, 512, 134), np.diag([-0.7, -0.7, -3.0, 1.0])),
        labelled=state is CaseState.LABELLED,
    )
    found = Score("P-014", "r0002-ab", 3, 0.41, 0.2, 0.6, parts={"surface_share": 0.25}, words=words) if score else None
    return Facts(case, found, 115, tuple(revisions), model, 2, NOW)


class TestWords:
    @pytest.mark.parametrize(
        ("given", "sentence"),
        [
            (facts(words="unsure at the edge of 3 regions"), "Unsure at the edge of 3 regions."),
            (facts(), "Number 3 of 115 in the list"),
            (facts(score=False, model=None), "No network has seen this case yet"),
            (facts(CaseState.GUARD, guard=True), "opens without a prediction"),
            (facts(CaseState.UNREADABLE, reason="it is a text file."), "cannot be read: it is a text file."),
            (facts(CaseState.SKIPPED, reason="motion"), "Set aside: motion"),
            (facts(CaseState.LABELLED, score=False), "Labelled. Correct it whenever you like"),
        ],
    )
    def test_why_is_a_sentence(self, given, sentence):
        assert sentence in why(given)

    def test_the_prediction_says_its_round_and_time_except_for_guard_cases(self):
        assert prediction_words(facts()).startswith("Prediction: model of round 2, 20 Nov")
        assert prediction_words(facts(guard=True)) == "Prediction: hidden for guard cases"
        assert prediction_words(facts(model=None)) == "Prediction: none yet"

    def test_the_label_says_who_and_how(self):
        revision = Revision("P-014", 3, "s", "Ada", "corrected", "m", 2, 40.0, NOW, "i", 12, Path("x"))
        assert label_words(facts(revisions=[revision])).startswith("Label: revision 3, corrected by Ada, 20 Nov")
        assert label_words(facts()) == "Label: none saved yet"

    def test_every_number_is_behind_the_disclosure(self):
        rows = {row.name: row for row in numbers(facts())}
        assert rows["Place in the list"].value == "3 of 115"
        assert rows["Score"].value == "0.41"
        assert rows["Surface share"].value == "0.25"  # a number that nobody gave words yet is shown all the same
        assert all(row.meaning for row in rows.values())

    def test_the_scan_and_the_model_behind_it_are_named(self):
        rows = {row.name: row.value for row in particulars(facts())}
        assert rows["Voxels"] == "512 × 512 × 134"
        assert rows["Voxel size"] == "0.7 × 0.7 × 3 mm"
        assert rows["Model"] == "r0002-ab"
        assert rows["Scan (image)"].endswith("P-014.nii.gz")
        assert "Model" not in {row.name for row in particulars(facts(guard=True))}

    def test_a_blind_check_says_so_and_names_no_prediction(self):
        assert "Blind check" in why(facts(words="unsure at one edge"), blind=True)
        assert prediction_words(facts(), blind=True) == "Prediction: hidden for the blind check"

    def test_labelled_cases_come_first_among_the_similar_ones(self):
        near = (("a", 0.9, False), ("b", 0.8, True), ("c", 0.85, True))
        given = facts()
        given = replace(given, score=replace(given.score, similar=near))
        assert [one.case for one in given.neighbours] == ["c", "b", "a"]
        assert facts(score=False).neighbours == ()

    def test_the_help_names_every_key(self):
        assert "".join(key for key, _ in HELP) == "NQKJHGUW"
        assert all(words in help_html() for _, words in HELP)


@pytest.fixture
def panel(qtbot, session):
    widget = CaseWidget(session.viewer)
    qtbot.addWidget(widget)
    widget.show()
    return widget


class TestPanel:
    def test_the_menu_lists_the_keys_also_where_no_window_is_active(self, panel):
        (action,) = (one for one in panel.more.menu().actions() if one.text().startswith("Keys"))
        action.trigger()
        (listed,) = panel.findChildren(QMessageBox)
        assert listed.isVisible()
        listed.close()

    def test_before_a_case_is_open_it_says_what_to_do(self, panel):
        assert "press N" in panel.reason.text()
        assert not panel.save.isVisible()

    def test_an_open_case(self, panel, session, open_case, qtbot):
        open_case(session, "P-0")
        qtbot.waitUntil(lambda: panel.reason.text() == "Unsure at one edge, number 1.")
        assert "P-0" in panel.title.text()
        assert "unlabelled" in panel.title.text()
        assert panel.prediction.text().startswith("Prediction: model of round 1")
        assert panel.save_next.isVisible()
        assert not panel.open.isVisible()
        assert not panel.disclosure.is_open

    def test_the_first_stroke_moves_no_button(self, panel, session, open_case, qtbot):
        open_case(session, "P-0")
        qtbot.waitUntil(lambda: "unlabelled" in panel.title.text())
        places = [button.pos() for button in (panel.accept, panel.save_next, panel.skip, panel.save)]
        session.layers["label"].paint((1, 1, 1), 1)
        qtbot.waitUntil(lambda: "draft" in panel.title.text())
        assert [button.pos() for button in (panel.accept, panel.save_next, panel.skip, panel.save)] == places

    def test_accept_becomes_undo_accept(self, panel, session, open_case, qtbot):
        open_case(session, "P-0")
        panel.accept.click()
        assert session.layers.label.view().any()
        assert panel.accept.text() == "Undo accept"
        panel.accept.click()
        assert not session.layers.label.view().any()
        assert panel.accept.text() == "Accept  K"

    def test_save_and_next_by_the_button(self, panel, session, open_case, qtbot):
        open_case(session, "P-0")
        panel.accept.click()
        with qtbot.waitSignals([session.saved, session.case_opened]):
            panel.save_next.click()
        assert session.case_id == "P-1"

    def test_a_selected_case_shows_its_facts_and_can_be_opened(self, panel, session, open_case, qtbot):
        open_case(session, "P-0")
        session.select_case("P-3")
        qtbot.waitUntil(lambda: "P-3" in panel.title.text())
        assert not panel.save.isVisible()
        assert session.case_id == "P-0"
        with qtbot.waitSignal(session.case_opened):
            panel.open.click()
        assert session.case_id == "P-3"

    def test_a_draft_that_came_back_is_said_and_can_be_discarded(self, panel, session, open_case, qtbot):
        open_case(session, "P-0")
        session.layers["label"].paint((1, 1, 1), 1)
        open_case(session, "P-1")
        qtbot.waitUntil(lambda: session.project.read_draft("P-0") is not None)
        session._opener.bind(session.project)
        open_case(session, "P-0")
        qtbot.waitUntil(lambda: "unsaved edit" in panel.notice.text())
        panel.notice.linkActivated.emit("discard")
        qtbot.waitUntil(lambda: session.project.read_draft("P-0") is None)
        qtbot.waitUntil(lambda: not panel.notice.isVisible())
        assert not session.layers.label.view().any()

    def test_chips_choose_the_class_and_show_millilitres(self, panel, session, open_case, qtbot):
        open_case(session, "P-3")
        chips = panel.paint.chips
        assert [chip.text().split()[0] for chip in chips] == ["nodule", "cyst"]
        qtbot.waitUntil(lambda: chips[0].text() == "nodule  0.38 ml")  # 125 voxels of 3 mm³
        chips[1].click()
        assert session.layers["label"].selected_label == 2
        session.layers["label"].selected_label = 1
        assert [chip.isChecked() for chip in chips] == [True, False]

    def test_outline_and_opacity(self, panel, session, open_case):
        open_case(session, "P-0")
        panel.paint.outline.click()
        assert session.layers["label"].contour == 0
        panel.paint.opacity.setValue(40)
        assert session.layers["prediction"].opacity == pytest.approx(0.4)
        panel.paint.overlays.click()
        assert not session.layers["label"].visible

    def test_the_time_is_shown_in_words(self, panel, session, open_case):
        open_case(session, "P-0")
        session.elapsed.emit(125.0)
        assert panel.time.text() == "2 min 05 s"

    def test_a_reason_from_the_menu_skips(self, panel, session, open_case, qtbot):
        open_case(session, "P-0")
        with qtbot.waitSignal(session.case_opened):
            panel.skip.menu().actions()[0].trigger()
        qtbot.waitUntil(lambda: session.project.case("P-0").reason == "Image quality too poor")

    def test_the_numbers_teach_and_the_similar_cases_open(self, panel, session, study, open_case, qtbot):
        score = study.project.scores()[0]
        near = (("P-3", 0.97, True), ("P-1", 0.95, False))
        study.project.save_scores(score.model, [replace(score, similar=near, parts={"uncertain_regions": 2.0})])
        found = {
            "agreement": 0.999,
            "against": 0.1,
            "variation": 0.01,
            "sentence": "Similarity changed almost nothing.",
        }
        study.project.log_event("ranking", {"diagnosis": found})
        open_case(session, "P-0")
        panel.disclosure.set_open(True)
        qtbot.waitUntil(lambda: [link.text() for link in panel.numbers.similar.links] == ["● P-3  0.97", "○ P-1  0.95"])
        rows = {name.text(): (value.text(), value.toolTip()) for name, value in panel.numbers.main.rows}
        assert rows["Unsure edges"][0] == "2"
        assert "Press U" in rows["Unsure edges"][1]
        assert panel.numbers.diagnosis.text() == "Similarity changed almost nothing."
        with qtbot.waitSignal(session.case_opened):
            panel.numbers.similar.links[0].click()
        assert session.case_id == "P-3"

    def test_what_similarity_did_is_said_even_where_it_did_well(self, study):
        found = {"agreement": 0.83, "against": 0.1, "variation": 0.25, "sentence": ""}
        study.project.log_event("ranking", {"diagnosis": found})
        words = read_facts(study.project, "P-0").diagnosis
        assert "rank correlation with uncertainty alone is 0.83" in words
        assert "25%" in words
        study.project.log_event("ranking", {"diagnosis": None})  # a strategy without similarity
        assert read_facts(study.project, "P-0").diagnosis == ""

    def test_the_key_of_the_uncertainty_map_shows_with_the_map(self, panel, session, open_case, qtbot):
        open_case(session, "P-0")
        qtbot.waitUntil(lambda: session.layers.has_map)
        assert not panel.map_key.isVisible()
        session.layers.looks.toggle("uncertainty")
        assert panel.map_key.isVisible()
        session.layers.looks.toggle("uncertainty")
        assert not panel.map_key.isVisible()

    def test_it_is_narrow_enough_for_a_small_screen(self, panel, session, open_case):
        open_case(session, "P-0")
        assert panel.minimumSizeHint().width() <= 380
