"""The worklist by difficulty: columns, groups that filter, the hardest unlabelled, and measuring beside the window."""

from __future__ import annotations

import pytest
from qtpy.QtCore import Qt

from napari_dasl.project import Difficulty
from napari_dasl.project.records import CaseState
from napari_dasl.widgets.worklist import WorklistWidget
from napari_dasl.widgets.worklist_model import Column, hard_end


@pytest.fixture
def measured(study):
    """The study with sizes: P-1 is the smallest, P-2 was not measured; P-3 and P-4 are labelled."""
    model = study.project.active_model().id
    sizes = {"P-0": 400.0, "P-1": 50.0, "P-3": 20.0, "P-4": 90_000.0}
    study.project.set_difficulties(
        [
            Difficulty(case, "size", value, "label", revision=1)
            if case in ("P-3", "P-4")
            else Difficulty(case, "size", value, "prediction", model)
            for case, value in sizes.items()
        ]
    )
    return study


@pytest.fixture
def worklist(measured, session, qtbot):
    """The worklist of that study, looked at by difficulty."""
    widget = WorklistWidget(session.viewer)
    qtbot.addWidget(widget)
    widget.resize(380, 500)
    widget.show()
    qtbot.waitUntil(lambda: len(widget.model.rows) == 5)
    widget.by_difficulty.setChecked(True)
    return widget


def shown(worklist):
    return {column for column in Column if not worklist.table.isColumnHidden(column)}


def test_the_measure_takes_the_place_of_the_other_numbers_and_gives_it_back(worklist):
    assert shown(worklist) == {Column.RANK, Column.CASE, Column.STATE, Column.BY_SIZE}
    assert worklist.difficulty.chosen == "size"
    assert worklist.table.columnWidth(Column.CASE) > 60
    worklist._heading_clicked(int(Column.BY_SIZE))
    assert worklist.words.text() == "Hardest first, by lesion size."
    assert worklist.proxy.visible_cases() == ["P-3", "P-1", "P-0", "P-4", "P-2"]  # unmeasured: last
    worklist._heading_clicked(int(Column.BY_SIZE))
    assert worklist.words.text() == "Easiest first, by lesion size."
    assert worklist.proxy.visible_cases()[-1] == "P-2"
    worklist.by_difficulty.setChecked(False)
    assert shown(worklist) == {Column.RANK, Column.CASE, Column.STATE, Column.SCORE, Column.UNCERTAINTY}
    assert worklist.words.text().startswith("Ranked: ")


def test_groups_filter_together_and_show_all_takes_every_filter_off(worklist):
    chips = worklist.difficulty.chips
    assert [chip.text() for chip in chips.values()] == ["easy · 1", "2 · 1", "3 · 1", "4 · 1", "? 1"]
    chips[4].click()
    assert worklist.proxy.visible_cases() == ["P-3"]
    chips[3].click()
    assert set(worklist.proxy.visible_cases()) == {"P-3", "P-1"}
    assert worklist.words.text().endswith("3 hidden by the filter.")
    assert worklist.show_all.isVisible()
    worklist.show_all.click()
    assert worklist.proxy.rowCount() == 5
    assert not chips[4].isChecked()
    assert not worklist.show_all.isVisible()


def test_the_hardest_unlabelled_comes_first_and_is_what_next_opens(worklist):
    worklist.difficulty.chips[1].click()
    worklist.difficulty.hardest.click()
    assert worklist.proxy.visible_cases() == ["P-1", "P-0", "P-2"]
    assert worklist.selected_case() == "P-1"
    assert worklist.session.peek_next() == "P-1"
    assert worklist.chips[CaseState.UNLABELLED].isChecked()


def test_the_histogram_shows_where_the_selected_case_lies(worklist):
    histogram = worklist.difficulty.histogram
    worklist.select_case("P-4")
    easiest = histogram.here
    worklist.select_case("P-3")
    assert histogram.here > easiest
    worklist.select_case("P-2")
    assert histogram.here is None
    worklist.session.case_opened.emit("P-4")
    assert histogram.here == easiest


def test_what_is_missing_is_measured_beside_the_window(worklist, qtbot):
    assert worklist.difficulty.measure.text() == "Measure (1)"
    worklist.difficulty.measure.click()
    assert not worklist.difficulty.measure.isEnabled()
    index = worklist.model.index(worklist.model.row_of("P-2"), int(Column.BY_SIZE))
    qtbot.waitUntil(lambda: index.data().startswith("≈ "), timeout=20_000)
    assert not worklist.difficulty.measure.isVisible()
    assert worklist.model.index(worklist.model.row_of("P-3"), int(Column.BY_SIZE)).data() == "20 mm³"  # known already
    worklist.difficulty.scorer.setCurrentIndex(worklist.difficulty.scorer.findData("contrast"))
    assert Column.BY_CONTRAST in shown(worklist)
    assert Column.BY_SIZE not in shown(worklist)
    offered = [action.text() for action in worklist.table.columns_menu().actions()]
    assert "Contrast" in offered
    assert "Learning gain" not in offered  # nobody measured it


def test_pictures_make_the_lines_higher(worklist, qtbot):
    low = worklist.table.rowHeight(0)
    worklist.table.show_column(Column.PICTURE)
    assert worklist.table.rowHeight(0) > low
    cell = worklist.proxy.index(0, int(Column.PICTURE))
    qtbot.waitUntil(lambda: cell.data(Qt.ItemDataRole.DecorationRole) is not None, timeout=20_000)
    worklist.table.show_column(Column.PICTURE, False)
    assert worklist.table.rowHeight(0) == low


def test_which_end_is_hard_is_the_scorers_to_say():
    assert not hard_end(Column.BY_SIZE)
    assert hard_end(Column.BY_UNCERTAINTY)
