"""The worklist: what it shows, how it opens, skips and filters, and that a refresh disturbs nobody."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QPushButton

from napari_dasl.project.records import CaseState, Effort
from napari_dasl.widgets.label_history import LabelHistoryDialog
from napari_dasl.widgets.round_runner import runner_for
from napari_dasl.widgets.snapshot import Row, Snapshot, duration, header_words, read_snapshot, snapshots_for
from napari_dasl.widgets.worklist import WorklistWidget
from napari_dasl.widgets.worklist_model import ROW_ROLE, Column, state_words


@pytest.fixture
def worklist(session, qtbot):
    """The worklist of the study, once it was read."""
    widget = WorklistWidget(session.viewer)
    qtbot.addWidget(widget)
    widget.resize(380, 300)
    widget.show()
    qtbot.waitUntil(lambda: len(widget.model.rows) == 5)
    return widget


def state_of(worklist, case):
    return worklist.model.rows[worklist.model.row_of(case)].state


def test_cases_stand_in_the_order_of_the_ranking_and_the_queue_follows(worklist):
    assert worklist.proxy.visible_cases() == ["P-0", "P-1", "P-2", "P-3", "P-4"]
    assert (
        worklist.words.text()
        == "Ranked: uncertainty around what the network found, typical scans first, model of round 1."
    )
    assert worklist.session.queue() == ["P-0", "P-1", "P-2"]


def test_next_follows_what_the_eye_sees(worklist):
    worklist._heading_clicked(int(Column.CASE))
    worklist._heading_clicked(int(Column.CASE))
    assert worklist.words.text() == "By case, largest first."
    assert worklist.session.queue() == ["P-2", "P-1", "P-0"]
    worklist.search.setText("P-1")
    assert worklist.proxy.visible_cases() == ["P-1"]
    assert worklist.words.text().endswith("4 hidden by the filter.")
    assert worklist.session.peek_next() == "P-1"


def test_named_orders_say_what_they_are(worklist):
    for key, words in [("uncertainty", "Most unsure first"), ("random", "Shuffled"), ("rank", "Ranked: ")]:
        worklist.order_by(key)
        assert worklist.words.text().startswith(words)
        checked = [action.data() for action in worklist.order.menu().actions() if action.isChecked()]
        assert checked == [key]


def test_every_strategy_is_offered_in_words_and_ranks_at_once(worklist, study, qtbot, monkeypatch):
    from napari_dasl import rounds
    from napari_dasl.active import STRATEGIES

    ranked = []

    def rank(project):
        ranked.append(project.config.ranking.strategy)
        project.log_event("ranking", {"strategy": ranked[-1], "notes": []})
        return SimpleNamespace(strategy=ranked[-1])

    monkeypatch.setattr(rounds, "rank", rank)
    actions = {action.data(): action for action in worklist.strategies.actions()}
    assert list(actions) == list(STRATEGIES)
    assert actions["dasl"].text() == STRATEGIES["dasl"].title
    assert [name for name, action in actions.items() if action.isChecked()] == ["default"]
    actions["random"].trigger()
    qtbot.waitUntil(lambda: worklist.words.text().startswith("Ranked: at random"), timeout=5000)
    assert ranked == ["random"]
    assert [name for name, action in actions.items() if action.isChecked()] == ["random"]


def test_an_order_that_needs_more_than_is_stored_predicts_again(worklist, study, qtbot, monkeypatch):
    from napari_dasl import rounds

    monkeypatch.setattr(rounds, "rank", lambda project: SimpleNamespace(strategy="default"))
    asked = []
    monkeypatch.setattr(runner_for(worklist.session), "predict", lambda: asked.append(1))
    worklist.rank_by("bald")
    qtbot.waitUntil(lambda: asked == [1], timeout=5000)


def test_what_the_ranking_warns_of_stands_under_its_name_and_only_there(worklist, study, qtbot):
    warning = "Similarity pushes the hard cases down here."
    notes = [warning, "The strategy bald needs more. Run `napari-dasl predict x --for bald`. Ranked by default."]
    study.project.log_event("ranking", {"strategy": "default", "notes": notes})
    worklist.session.cases_changed.emit()
    qtbot.waitUntil(lambda: worklist.warning.isVisible())
    assert worklist.warning.text() == f"{warning} The strategy bald needs more. Ranked by default."
    worklist.order_by("case")
    assert not worklist.warning.isVisible()


def test_cases_that_were_asked_for_come_first_and_say_so(worklist, study, qtbot):
    study.project.update_config(**{"selfpaced.phases": ["al"]})
    number = study.project.new_round("al", {"slot": 0}).number
    study.project.finish_round(number, "done", {"phase": "al", "asked": ["P-2", "P-3"]})
    worklist.session.close_project()
    with qtbot.waitSignal(worklist.session.project_changed):
        worklist.session.open_project(study.folder)
    qtbot.waitUntil(lambda: worklist.proxy.visible_cases()[:1] == ["P-2"], timeout=5000)
    row = worklist.model.rows[worklist.model.row_of("P-2")]
    assert row.asked
    assert not worklist.model.rows[worklist.model.row_of("P-3")].asked  # it is labelled by now
    assert "the next round waits" in state_words(row)
    assert worklist.model.index(worklist.model.row_of("P-2"), int(Column.STATE)).data() == "asked for"
    assert worklist.session.agenda.waiting[0] == "P-2"
    assert worklist.words.text().endswith("The 1 asked for comes first.")
    assert worklist.session.peek_next() == "P-2"


def test_minutes_of_a_case_are_a_column_by_choice(worklist, study, qtbot):
    now = datetime.now(UTC)
    for seconds in (60.0, 33.0):
        effort = Effort(
            case="P-1", revision=None, author="me", inspect_seconds=seconds, edit_seconds=30.0, strokes=1, undos=0,
            voxels_changed=None, draft_model=None, draft_round=None, drawn_from_nothing=False,
            accepted_unchanged=False, blind=False, audit=False, opened=now, first_edit=None, saved=now,
        )  # fmt: skip
        study.project.add_effort(effort)
    worklist.session.cases_changed.emit()
    index = worklist.model.index(worklist.model.row_of("P-1"), int(Column.MINUTES))
    qtbot.waitUntil(lambda: index.data() == "2.5")
    assert worklist.table.isColumnHidden(int(Column.MINUTES))
    worklist.order_by("minutes")
    assert worklist.proxy.visible_cases()[0] == "P-1"
    assert worklist.words.text() == "Most work first."


def test_a_chip_shows_one_state_and_its_count(worklist):
    chip = worklist.chips[CaseState.LABELLED]
    assert chip.text() == "● 2"
    assert not worklist.chips[CaseState.DRAFT].isVisible()  # there is none
    chip.click()
    assert worklist.proxy.visible_cases() == ["P-3", "P-4"]
    chip.click()
    assert worklist.proxy.rowCount() == 5


def test_enter_opens_and_the_open_case_is_marked(worklist, qtbot):
    worklist.select_case("P-1")
    assert worklist.session.selected_id == "P-1"
    with qtbot.waitSignal(worklist.session.case_opened):
        qtbot.keyClick(worklist.table, Qt.Key.Key_Return)
    assert worklist.session.case_id == "P-1"
    assert worklist.model.current == "P-1"


def test_double_click_opens(worklist, qtbot):
    box = worklist.table.visualRect(worklist.proxy.index(2, int(Column.CASE)))
    qtbot.mouseClick(worklist.table.viewport(), Qt.MouseButton.LeftButton, pos=box.center())
    with qtbot.waitSignal(worklist.session.case_opened):
        qtbot.mouseDClick(worklist.table.viewport(), Qt.MouseButton.LeftButton, pos=box.center())
    assert worklist.session.case_id == "P-2"


def test_a_click_shows_the_facts_of_the_case(worklist):
    worklist.select_case("P-3")
    assert "20 × 24 × 12 voxels" in worklist.facts.text()
    assert "labelled: A person labelled it" in worklist.facts.text()


def test_an_unreadable_case_says_why_instead_of_opening(worklist, messages):
    row = Row("P-9", CaseState.UNREADABLE, reason="The file is cut short.")
    worklist.model.set_rows([*worklist.model.rows, row])
    index = worklist.proxy.mapFromSource(worklist.model.index(5, 0))
    worklist._open_index(index)
    assert messages == [("P-9 cannot be opened: The file is cut short.", "warning")]
    assert worklist.session.case_id is None
    assert "Open" not in dict(worklist.menu.actions(row))


def test_a_case_is_skipped_and_put_back_without_opening_it(worklist, qtbot):
    worklist.menu.skip("P-1", "motion")
    qtbot.waitUntil(lambda: state_of(worklist, "P-1") is CaseState.SKIPPED)
    row = worklist.model.rows[worklist.model.row_of("P-1")]
    assert row.reason == "motion"
    assert worklist.session.queue() == ["P-0", "P-2"]
    dict(worklist.menu.actions(row))["Put back into the list"]()
    qtbot.waitUntil(lambda: state_of(worklist, "P-1") is CaseState.UNLABELLED)


def test_labels_made_elsewhere_appear_when_the_session_says_so(worklist, study, qtbot):
    study.project.record_label("P-0", study.truth["P-0"], author="elsewhere", seconds=60)
    worklist.session.cases_changed.emit()
    qtbot.waitUntil(lambda: state_of(worklist, "P-0") is CaseState.LABELLED)
    assert worklist.proxy.visible_cases()[0] == "P-1"  # a labelled case has no rank any more


def test_a_refresh_keeps_selection_and_scroll_position(worklist, qtbot):
    keeper = snapshots_for(worklist.session)
    rows = tuple(Row(f"case-{n}", CaseState.UNLABELLED, rank=n + 1, score=1 - n / 1000) for n in range(1000))
    keeper._set(Snapshot(folder=keeper.snapshot.folder, rows=rows))
    worklist.select_case("case-500")
    worklist.table.scrollTo(worklist.table.currentIndex())
    position = worklist.table.verticalScrollBar().value()
    assert position > 0
    resets: list[int] = []
    worklist.model.modelReset.connect(lambda: resets.append(1))
    keeper._set(Snapshot(folder=keeper.snapshot.folder, rows=tuple(replace(row, score=0.5) for row in rows)))
    assert worklist.selected_case() == "case-500"
    assert worklist.table.verticalScrollBar().value() == position
    assert not resets
    shorter = tuple(row for row in rows if row.case != "case-3")
    keeper._set(Snapshot(folder=keeper.snapshot.folder, rows=shorter))
    assert worklist.selected_case() == "case-500"


def test_every_cell_draws(worklist, qtbot):
    keeper = snapshots_for(worklist.session)
    rows = tuple(Row(f"c-{n}", state, score=n / 9, rank=n) for n, state in enumerate(CaseState))
    keeper._set(Snapshot(folder="x", rows=rows))
    worklist.select_case("c-1")
    worklist.model.set_current("c-2")
    picture = worklist.table.grab().toImage()
    colours = {picture.pixelColor(x, y).name() for x in range(picture.width()) for y in range(picture.height())}
    assert "#56b4e9" in colours  # the score bar
    assert len(colours) > 10


def test_states_and_small_scores_are_shown_whole_unless_the_annotator_sets_the_width(worklist, qtbot):
    keeper, header = snapshots_for(worklist.session), worklist.table.horizontalHeader()
    before = {column: header.sectionSize(int(column)) for column in (Column.STATE, Column.SCORE)}
    rows = tuple(Row(f"c-{n}", CaseState.PSEUDO, score=(n + 1) / 7300, rank=n + 1) for n in range(4))
    keeper._set(Snapshot(folder="x", rows=rows))
    qtbot.waitUntil(lambda: all(header.sectionSize(int(column)) > width for column, width in before.items()))
    for column in before:
        assert header.sectionSize(int(column)) >= worklist.table.sizeHintForColumn(int(column))
        header.resizeSection(int(column), 40)
    keeper._set(Snapshot(folder="x", rows=(*rows, Row("c-9", CaseState.UNLABELLED, score=0.5, rank=9))))
    qtbot.wait(50)
    assert {header.sectionSize(int(column)) for column in before} == {40}


def test_columns_can_be_hidden_but_not_the_name(worklist):
    assert worklist.table.isColumnHidden(int(Column.SIMILARITY))
    assert not worklist.table.isColumnHidden(int(Column.CASE))
    assert worklist.table.isColumnHidden(int(Column.BY_SIZE))  # nothing here has one


def test_closing_the_project_empties_the_list(worklist, qtbot):
    worklist.session.close_project()
    qtbot.waitUntil(lambda: not worklist.model.rows)
    assert worklist.words.text() == ""


def test_an_earlier_label_is_brought_back_as_a_new_revision(worklist, study, qtbot):
    study.project.record_label("P-3", study.truth["P-4"], author="me", seconds=30)
    dialog = LabelHistoryDialog(worklist.session, "P-3")
    qtbot.addWidget(dialog)
    qtbot.waitUntil(lambda: dialog.table.rowCount() == 2)
    button = dialog.table.cellWidget(1, 6)
    assert isinstance(button, QPushButton)
    assert dialog.table.cellWidget(0, 6) is None  # the newest one is in force already
    button.click()
    qtbot.waitUntil(lambda: dialog.table.rowCount() == 3)
    assert (study.project.read_label("P-3") == study.truth["P-3"]).all()


def test_a_snapshot_counts_what_the_project_holds(study):
    study.project.record_label("P-0", study.truth["P-0"], author="me", seconds=100)
    study.project.record_label("P-1", study.truth["P-1"], author="me", seconds=140)
    snapshot = read_snapshot(study.project)
    assert (snapshot.labelled, snapshot.total, snapshot.to_do, snapshot.unscored) == (4, 5, 1, 0)
    assert snapshot.seconds_per_case == 120
    assert header_words(snapshot) == "4 of 5 labelled · ~2 min"


def test_the_time_left_is_left_out_while_the_pace_is_unknown(study):
    assert header_words(read_snapshot(study.project)) == "2 of 5 labelled"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (40, "40 s"), (60, "1 min"), (719, "12 min"), (7800, "2 h 10"), (3600, "1 h 00")],
)
def test_durations_read_as_people_say_them(seconds, words):
    assert duration(seconds) == words


def test_rows_of_the_view_carry_the_case(worklist):
    assert worklist.proxy.index(0, 0).data(ROW_ROLE).case == "P-0"
