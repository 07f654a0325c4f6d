"""The worklist's models: sorted by value, filtered by state and text, refreshed in place."""

from __future__ import annotations

from dataclasses import replace

import pytest
from qtpy.QtCore import QPersistentModelIndex, Qt

from napari_dasl.project.records import CaseState, Model
from napari_dasl.widgets.snapshot import Row, Snapshot
from napari_dasl.widgets.worklist_model import (
    ORDERS,
    ROW_ROLE,
    SIGNS,
    Column,
    WorklistModel,
    WorklistProxy,
    order_words,
    state_words,
)

ROWS = (
    Row("P-10", CaseState.UNLABELLED, rank=2, score=0.39, uncertainty=0.41, similarity=0.95),
    Row("P-2", CaseState.DRAFT, rank=10, score=0.1, uncertainty=0.2, similarity=0.5),
    Row("P-1", CaseState.LABELLED, labelled=True),
    Row("P-9", CaseState.UNLABELLED, rank=9, score=0.2, uncertainty=0.3, similarity=0.6),
    Row("P-3", CaseState.UNREADABLE, reason="The file is cut short."),
    Row("P-4", CaseState.UNLABELLED, rank=1, score=0.41, uncertainty=0.42, similarity=0.97),
)


@pytest.fixture
def listed(qtbot, qtmodeltester):
    """A model with `ROWS`, watched by pytest-qt's model tester, behind its proxy."""
    model = WorklistModel()
    proxy = WorklistProxy()
    proxy.setSourceModel(model)
    model.set_rows(ROWS)
    qtmodeltester.check(model, force_py=True)
    return model, proxy


def test_ranks_sort_as_numbers_and_cases_without_one_come_last_by_name(listed):
    _, proxy = listed
    proxy.order_by(Column.RANK, False)
    assert proxy.visible_cases() == ["P-4", "P-10", "P-9", "P-2", "P-1", "P-3"]


def test_names_sort_as_people_count(listed):
    _, proxy = listed
    proxy.order_by(Column.CASE, False)
    assert proxy.visible_cases() == ["P-1", "P-2", "P-3", "P-4", "P-9", "P-10"]
    proxy.order_by(Column.CASE, True)
    assert proxy.visible_cases() == ["P-10", "P-9", "P-4", "P-3", "P-2", "P-1"]


@pytest.mark.parametrize("column", [Column.SCORE, Column.UNCERTAINTY, Column.SIMILARITY])
def test_numbers_sort_both_ways_with_the_unscored_at_the_end(listed, column):
    _, proxy = listed
    proxy.order_by(column, True)
    assert proxy.visible_cases() == ["P-4", "P-10", "P-9", "P-2", "P-1", "P-3"]
    proxy.order_by(column, False)
    assert proxy.visible_cases() == ["P-2", "P-9", "P-10", "P-4", "P-1", "P-3"]


def test_equal_values_keep_the_order_of_the_ranking_in_both_directions(listed):
    model, proxy = listed
    model.set_rows([replace(row, score=0.5) for row in ROWS])
    for descending in (False, True):
        proxy.order_by(Column.SCORE, descending)
        assert proxy.visible_cases() == ["P-4", "P-10", "P-9", "P-2", "P-1", "P-3"]


def test_a_shuffle_is_the_same_each_time_and_not_the_order_of_names(listed):
    _, proxy = listed
    proxy.order_by(Column.CASE, False, shuffled=True)
    first = proxy.visible_cases()
    proxy.order_by(Column.RANK, False)
    proxy.order_by(Column.CASE, False, shuffled=True)
    assert proxy.visible_cases() == first
    assert sorted(first) == sorted(row.case for row in ROWS)
    assert first != ["P-1", "P-2", "P-3", "P-4", "P-9", "P-10"]


def test_small_scores_are_told_apart(listed):
    model, _ = listed
    scores = (0.00044, 0.00031, 0.094, 0.0)
    model.set_rows([Row(f"P-{n}", CaseState.UNLABELLED, rank=n, score=score) for n, score in enumerate(scores)])
    shown = [model.index(n, Column.SCORE).data() for n in range(len(scores))]
    assert shown == ["0.00044", "0.00031", "0.094", "0.000"]


def test_filters_by_state_and_text_go_together(listed):
    _, proxy = listed
    proxy.order_by(Column.RANK, False)
    proxy.show_states([CaseState.UNLABELLED])
    assert proxy.visible_cases() == ["P-4", "P-10", "P-9"]
    proxy.show_text(" p-1")
    assert proxy.visible_cases() == ["P-10"]
    proxy.show_states([])
    assert proxy.visible_cases() == ["P-10", "P-1"]
    proxy.show_text("cut short")
    assert proxy.visible_cases() == ["P-3"]


def test_a_refresh_of_the_same_cases_changes_values_in_place(listed, qtbot):
    model, proxy = listed
    proxy.order_by(Column.RANK, False)
    kept = QPersistentModelIndex(proxy.index(1, 0))
    fresh = [replace(row, rank={"P-10": 1, "P-4": 2}.get(row.case, row.rank)) for row in ROWS]
    with qtbot.assertNotEmitted(model.modelReset), qtbot.waitSignal(model.dataChanged):
        model.set_rows(fresh)
    assert proxy.visible_cases()[:2] == ["P-10", "P-4"]
    assert kept.data(ROW_ROLE).case == "P-10"


def test_an_unchanged_refresh_tells_nobody(listed, qtbot):
    model, _ = listed
    with qtbot.assertNotEmitted(model.modelReset), qtbot.assertNotEmitted(model.dataChanged):
        model.set_rows(list(ROWS))


def test_added_cases_are_inserted_and_other_cases_reset_the_list(listed, qtbot):
    model, proxy = listed
    with qtbot.waitSignal(model.rowsInserted), qtbot.assertNotEmitted(model.modelReset):
        model.set_rows([*ROWS, Row("P-77", CaseState.UNLABELLED)])
    assert model.row_of("P-77") == 6
    assert "P-77" in proxy.visible_cases()
    with qtbot.waitSignal(model.modelReset):
        model.set_rows(ROWS[2:])
    assert model.row_of("P-77") == -1


def test_every_state_has_its_own_shape_and_words():
    assert set(SIGNS) == set(CaseState)
    assert len({sign.symbol for sign in SIGNS.values()}) == len(CaseState)
    assert len({sign.word for sign in SIGNS.values()}) == len(CaseState)


def test_asked_cases_come_first_by_rank_in_both_directions(listed):
    model, proxy = listed
    model.set_rows([replace(row, asked=row.case == "P-9") for row in ROWS])
    for descending in (False, True):
        proxy.order_by(Column.RANK, descending)
        assert proxy.visible_cases()[0] == "P-9"
    proxy.order_by(Column.CASE, False)
    assert proxy.visible_cases()[0] == "P-1"
    proxy.show_text("asked")
    assert proxy.visible_cases() == ["P-9"]


def test_the_state_of_an_unreadable_case_explains_itself(listed):
    model, _ = listed
    index = model.index(model.row_of("P-3"), int(Column.STATE))
    assert index.data(Qt.ItemDataRole.ToolTipRole) == state_words(ROWS[4])
    assert "cut short" in state_words(ROWS[4])


def test_the_order_in_force_is_said_in_words(tmp_path):
    from datetime import UTC, datetime

    model = Model("r0002-x", None, 2, datetime.now(UTC), True, True, {}, {}, tmp_path)
    titles = (("default", "Uncertainty around what the network found"), ("dasl", "DASL"))
    snapshot = Snapshot(rows=ROWS, models=(model,), strategies=titles)
    words = order_words(snapshot, Column.RANK, False)
    assert words == "Ranked: uncertainty around what the network found, model of round 2."
    by_dasl = Snapshot(rows=ROWS, models=(model,), strategies=titles, strategy="dasl")
    assert order_words(by_dasl, Column.RANK, False) == "Ranked: DASL, model of round 2."
    unknown = Snapshot(rows=ROWS, strategy="my-own")
    assert order_words(unknown, Column.RANK, False) == "Ranked: my own."
    assert order_words(snapshot, Column.UNCERTAINTY, True) == "Most unsure first, model of round 2."
    assert order_words(snapshot, Column.SCORE, False) == "By score, smallest first."
    assert order_words(Snapshot(rows=(ROWS[2],)), Column.RANK, False).startswith("No ranking yet")
    words = [order_words(snapshot, o.column, o.descending, shuffled=o.shuffled) for o in ORDERS]
    assert len(set(words)) == len(ORDERS)


def test_a_thousand_cases_sort_and_refresh_with_few_comparisons(qtbot):
    """Sorting asks for each value a few dozen times at most: it does not grow with the square of the list."""
    rows = [Row(f"case-{n}", CaseState.UNLABELLED, rank=1000 - n, score=n / 1000) for n in range(1000)]
    asked = 0

    class Counting(WorklistProxy):
        def lessThan(self, left, right):
            nonlocal asked
            asked += 1
            return super().lessThan(left, right)

    model, proxy = WorklistModel(), Counting()
    proxy.setSourceModel(model)
    model.set_rows(rows)
    proxy.order_by(Column.RANK, False)
    assert proxy.visible_cases()[:2] == ["case-999", "case-998"]
    assert asked < 30_000
    asked = 0
    model.set_rows([replace(row, state=CaseState.LABELLED) if row.case == "case-5" else row for row in rows])
    assert asked < 3_000  # one changed case is moved, the list is not sorted anew
