"""The pseudo-labels in the window: seen on the scan, accepted, edited, rejected, and checked blind."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_dasl.project import PseudoLabel
from napari_dasl.widgets.blind_check import blind_checks_for
from napari_dasl.widgets.new_layers import dashed
from napari_dasl.widgets.pseudo_keeper import pseudo_keeper_for
from napari_dasl.widgets.pseudo_model import PseudoColumn
from napari_dasl.widgets.pseudo_review import PseudoReviewWidget
from napari_dasl.widgets.pseudo_rows import PseudoState, agreement, quality_words, read_pseudo, summary_words

NOW = datetime(2026, 11, 20, 14, 2, tzinfo=UTC)
MODEL = "r0001-test"


def take(project, weights, audits=()):
    """A self-paced round of *weights* (case: weight) that drew *audits* by lot."""
    record = project.new_round("spl", {})
    rows = [
        PseudoLabel(case, record.number, MODEL, weight, 0.4 * (1 - weight), 0.2, NOW, "")
        for case, weight in weights.items()
    ]
    project.save_pseudo_labels(record.number, rows)
    project.finish_round(record.number, "done", {"audits": list(audits)})
    return record.number


@pytest.fixture
def self_paced(study):
    take(study.project, {"P-0": 0.8, "P-1": 0.5, "P-2": 0.0})
    return study


@pytest.fixture
def review(qtbot, self_paced, make_session):
    session = make_session(self_paced.folder)
    widget = PseudoReviewWidget(session.viewer)
    qtbot.addWidget(widget)
    widget.show()
    qtbot.waitUntil(lambda: widget.model.rowCount() == 2)
    return widget


def state(review, case):
    return next((row.state for row in review.keeper.snapshot.rows if row.case == case), None)


def choose(review, case):
    review.table.choose(case)


class TestReading:
    def test_the_table_is_by_weight_and_leaves_out_what_is_too_hard(self, self_paced):
        found = read_pseudo(self_paced.project)
        assert [(row.case, row.weight, row.state) for row in found.rows] == [
            ("P-0", 0.8, PseudoState.IN_USE),
            ("P-1", 0.5, PseudoState.IN_USE),
        ]
        assert found.too_hard == 1
        assert "learns from 2 of its own drawings, mean weight 0.65; 1 more" in summary_words(found)

    def test_a_project_without_any_says_so(self, study):
        found = read_pseudo(study.project)
        assert found.rows == ()
        assert "not labelled any scan for itself" in summary_words(found)
        assert quality_words(found.quality) == ""

    def test_what_is_rejected_stays_in_the_table_in_later_rounds(self, self_paced):
        self_paced.project.reject_pseudo("P-0", author="ada")
        take(self_paced.project, {"P-1": 0.7})
        found = read_pseudo(self_paced.project)
        assert [(row.case, row.state) for row in found.rows] == [
            ("P-1", PseudoState.IN_USE),
            ("P-0", PseudoState.REJECTED),
        ]

    def test_a_case_of_a_blind_check_hides_its_loss_and_volume(self, study):
        take(study.project, {"P-0": 0.8, "P-1": 0.5}, audits=["P-1"])
        found = read_pseudo(study.project)
        assert found.audits == ("P-1",)
        hidden = found.rows[1]
        assert (hidden.state, hidden.loss, hidden.volume_ml) == (PseudoState.BLIND, None, None)

    def test_a_labelled_case_is_not_offered_for_a_blind_check(self, study):
        take(study.project, {"P-0": 0.8, "P-1": 0.5}, audits=["P-0", "P-1"])
        study.project.record_label("P-0", study.truth["P-0"], author="ada", source="human")
        assert read_pseudo(study.project).audits == ("P-1",)


class TestAgreement:
    def test_it_is_the_mean_over_the_classes_that_occur(self):
        label, pseudo = np.zeros((1, 4, 4), np.uint8), np.zeros((1, 4, 4), np.uint8)
        label[0, 0, :2], pseudo[0, 0, :1] = 1, 1  # Dice 2/3
        label[0, 2, :2] = 2  # missed: Dice 0
        assert agreement(label, pseudo, ("a", "b", "c")) == pytest.approx(1 / 3)

    def test_two_empty_masks_agree(self):
        empty = np.zeros((2, 3, 3), np.uint8)
        assert agreement(empty, empty, ("a",)) == 1.0


class TestDashes:
    def test_they_lie_on_the_outline_in_every_slice_with_gaps_between(self):
        mask = np.zeros((3, 30, 30), np.uint8)
        mask[1, 5:25, 5:25] = 2
        line = dashed(mask)
        assert set(np.unique(line)) == {0, 2, 255}
        assert not line[0].any()
        assert not line[1, 6:24, 6:24].any()
        for side in (line[1, 5, 5:25], line[1, 24, 5:25], line[1, 5:25, 5], line[1, 5:25, 24]):
            assert side.all()
            assert 8 <= np.count_nonzero(side == 2) <= 12

    def test_two_touching_classes_are_both_drawn(self):
        mask = np.ones((1, 12, 12), np.uint8)
        mask[:, :, 6:] = 2
        line = dashed(mask)
        assert 1 in line[0, 2:10, 5]
        assert 2 in line[0, 2:10, 6]


class TestReview:
    def test_enter_opens_the_case_with_its_dashed_outline(self, review, qtbot, study):
        session = review.session
        choose(review, "P-1")
        with qtbot.waitSignal(session.case_opened):
            qtbot.keyClick(review.table, Qt.Key.Key_Return)
        assert session.case_id == "P-1"
        qtbot.waitUntil(lambda: session.layers.looks.is_visible("pseudo-label"))
        np.testing.assert_array_equal(session.layers["pseudo-label"].data, dashed(study.project.pseudo_mask("P-1")))
        assert not session.layers["pseudo-label"].editable
        assert session.viewer.layers.selection.active == session.layers["label"]  # the brush stays in the hand
        choose(review, "P-0")
        assert not session.layers.looks.is_visible("pseudo-label")

    def test_hiding_the_section_takes_the_outline_away(self, review, qtbot, open_case):
        session = review.session
        open_case(session, "P-0")
        qtbot.waitUntil(lambda: session.layers.looks.is_visible("pseudo-label"))
        review.hide()
        assert not session.layers.looks.is_visible("pseudo-label")
        review.show()
        qtbot.waitUntil(lambda: session.layers.looks.is_visible("pseudo-label"))

    def test_a_accepts_and_goes_to_the_next(self, review, qtbot, study):
        choose(review, "P-0")
        review.table.setFocus()
        with qtbot.waitSignal(review.session.saved):
            qtbot.keyClick(review.table, Qt.Key.Key_A)
        revision = study.project.labels("P-0")[-1]
        assert (revision.source, revision.model) == ("corrected", MODEL)
        np.testing.assert_array_equal(study.project.read_label("P-0"), study.project.prediction("P-0", MODEL).label())
        qtbot.waitUntil(lambda: state(review, "P-0") is PseudoState.ACCEPTED)
        assert review.chosen().case == "P-1"

    def test_what_accepting_took_is_kept_with_the_label(self, review, qtbot, study, open_case):
        open_case(review.session, "P-0")
        review.session.clock.stroke()
        review.session.clock.take_back({"inspect": 3.0, "edit": 1.0, "seconds": 4.0, "strokes": 0, "undos": 0})
        with qtbot.waitSignals([review.session.saved, review.session.case_opened]):
            review.accept.click()
        (effort,) = [one for one in study.project.efforts("P-0") if one.revision is not None]
        assert (effort.accepted_unchanged, effort.voxels_changed, effort.drawn_from_nothing) == (True, 0, False)
        assert (effort.draft_model, effort.author) == (MODEL, study.project.labels("P-0")[-1].author)
        assert effort.seconds >= 4
        assert study.project.annotation_seconds() < 8

    def test_reject_and_undo(self, review, qtbot, study):
        choose(review, "P-0")
        review.reject.click()
        qtbot.waitUntil(lambda: state(review, "P-0") is PseudoState.REJECTED)
        assert study.project.rejected() == {"P-0"}
        assert review.title() == "Pseudo-labels · 1"
        choose(review, "P-0")
        assert review.reject.text() == "Undo reject"
        assert not review.accept.isEnabled()
        review.reject.click()
        qtbot.waitUntil(lambda: state(review, "P-0") is PseudoState.IN_USE)
        assert study.project.rejected() == frozenset()

    def test_edit_opens_it_as_a_draft_that_is_saved_as_corrected(self, review, qtbot, study):
        session = review.session
        choose(review, "P-1")
        review.edit.click()
        qtbot.waitUntil(lambda: session.case_id == "P-1" and session.layers.label.view().any())
        np.testing.assert_array_equal(session.layers.label.view(), study.project.pseudo_mask("P-1"))
        assert study.project.labels("P-1") == []
        with qtbot.waitSignal(session.saved):
            session.work.save()
        revision = study.project.labels("P-1")[-1]
        assert (revision.source, revision.model) == ("corrected", MODEL)
        qtbot.waitUntil(lambda: state(review, "P-1") is PseudoState.LABELLED)

    def test_strokes_of_the_annotator_are_never_replaced(self, review, qtbot, open_case):
        session = review.session
        said = []
        session.message.connect(lambda text, severity: said.append((text, severity)))
        open_case(session, "P-0")
        row = review.chosen()
        session.layers["label"].paint((1, 1, 1), 1)
        before = session.layers.label.copy()
        assert not review.verbs.accept(row)
        assert not review.verbs.edit(row)
        assert said[-1] == ("P-0 has strokes of yours that are not saved. Save or discard them first.", "warning")
        np.testing.assert_array_equal(session.layers.label.view(), before)
        assert session.project.labels("P-0") == []

    def test_accepting_what_is_on_the_screen_opens_the_next_one(self, review, qtbot, open_case):
        session = review.session
        open_case(session, "P-0")
        qtbot.waitUntil(lambda: review.chosen() is not None and review.chosen().case == "P-0")
        with qtbot.waitSignals([session.saved, session.case_opened]):
            review.accept.click()
        assert session.case_id == "P-1"
        assert review.chosen().case == "P-1"

    def test_a_column_sorts_by_its_values(self, review):
        review.table.sortByColumn(PseudoColumn.WEIGHT, Qt.SortOrder.DescendingOrder)
        assert review.table.proxy.index(0, PseudoColumn.CASE).data() == "P-1"
        review.table.sortByColumn(PseudoColumn.LOSS, Qt.SortOrder.AscendingOrder)
        assert review.table.proxy.index(0, PseudoColumn.CASE).data() == "P-0"

    def test_it_is_narrow_enough_for_a_small_screen(self, review):
        assert review.minimumSizeHint().width() <= 380


class TestBlindCheck:
    @pytest.fixture
    def review(self, qtbot, study, make_session):
        take(study.project, {"P-0": 0.8, "P-1": 0.5, "P-2": 0.4}, audits=["P-1", "P-2"])
        session = make_session(study.folder)
        widget = PseudoReviewWidget(session.viewer)
        qtbot.addWidget(widget)
        widget.show()
        qtbot.waitUntil(lambda: len(widget.offers) == 2)
        return widget

    def test_it_opens_with_nothing_that_the_network_drew(self, review, qtbot):
        session = review.session
        assert review.offers[0][0].text() == "Check blind: P-1"
        with qtbot.waitSignal(session.case_opened):
            review.offers[0][0].click()
        assert session.case_id == "P-1"
        assert session.opened.shown is None
        qtbot.wait(150)
        for role in ("prediction", "label", "uncertainty", "probability"):
            assert not np.asarray(session.layers[role].data).any(), role
        assert not session.layers.looks.is_visible("pseudo-label")
        session.work.accept()
        assert not session.layers.label.view().any()

    def test_saving_measures_it_and_shows_the_prediction_again(self, review, qtbot, study):
        session, checks = review.session, blind_checks_for(review.session)
        with qtbot.waitSignal(session.case_opened):
            checks.start("P-1")
        session.layers.label.replace(study.truth["P-1"])
        with qtbot.waitSignal(checks.measured) as told:
            session.work.save()
        expected = agreement(study.truth["P-1"], study.project.pseudo_mask("P-1"), ("nodule", "cyst"))
        assert told.args == ["P-1", pytest.approx(expected)]
        audited = study.project.pseudo_reviews()[-1]
        assert (audited.verdict, audited.case, audited.revision) == ("audited", "P-1", 1)
        assert audited.dice == pytest.approx(expected)
        qtbot.waitUntil(lambda: review.quality.text() == f"Pseudo-label quality so far: Dice {expected:.2f} (n = 1).")
        qtbot.waitUntil(lambda: session.opened.shown is not None)
        assert [pair[0].text() for pair in review.offers] == ["Check blind: P-2"]

    def test_skipping_frees_the_case_and_is_kept(self, review, qtbot, study):
        review.offers[0][1].click()
        qtbot.waitUntil(lambda: state(review, "P-1") is PseudoState.IN_USE)
        assert read_pseudo(study.project).audits == ("P-2",)
        assert study.project.events("blind-check")[-1].payload["outcome"] == "skipped"

    def test_a_case_whose_prediction_was_seen_is_not_offered_any_more(self, review, qtbot, open_case):
        open_case(review.session, "P-2")
        qtbot.waitUntil(lambda: pseudo_keeper_for(review.session).snapshot.audits == ("P-1",))

    def test_while_it_waits_it_can_be_neither_accepted_nor_outlined(self, review, qtbot):
        choose(review, "P-1")
        assert not any(button.isEnabled() for button in (review.accept, review.edit, review.reject))
        with qtbot.waitSignal(review.session.case_opened):
            qtbot.keyClick(review.table, Qt.Key.Key_Return)
        assert review.session.opened.audit

    def test_a_draft_of_a_blind_check_comes_back_blind(self, review, qtbot, study, open_case):
        session = review.session
        with qtbot.waitSignal(session.case_opened):
            blind_checks_for(session).start("P-1")
        session.layers["label"].paint((1, 1, 1), 1)
        open_case(session, "P-0")
        qtbot.waitUntil(lambda: study.project.read_draft("P-1") is not None)
        qtbot.waitUntil(lambda: state(review, "P-1") is PseudoState.BLIND)
        assert review.keeper.snapshot.audits == ("P-1", "P-2")
        open_case(session, "P-1")
        assert session.opened.shown is None
        assert session.layers.label.view().any()
        assert review.offers[0][0].text() == "Checking blind: P-1"
