"""The section about finding lesions: what it reads from the rounds, what it draws, and where it is left out."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from napari_dasl import reports
from napari_dasl.project import Project, ProjectConfig
from napari_dasl.reports import detection

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
RATES = (0.125, 0.25, 0.5, 1, 2, 4, 8)


def figures(cpm, *, lesions=4, classes=("nodule",)):
    """The figures of one round, as the guard record holds them."""
    return {
        "scans": 3,
        "lesions": lesions,
        "cpm": cpm,
        "interval": None if cpm is None else [cpm - 0.1, cpm + 0.1],
        "sensitivity": [
            {"false_positives": rate, "value": None if cpm is None else min(1.0, cpm + 0.01 * place), "interval": None}
            for place, rate in enumerate(RATES)
        ],
        "ap": None if cpm is None else cpm / 2,
        "iou": 0.1,
        "froc": {
            "thresholds": [0.9, 0.5, 0.1],
            "sensitivity": [None] * 3 if cpm is None else [0.25, 0.5, 0.75],
            "false_positives": [0.0, 1.0, 40.0],
        },
        "threshold": 0.4,
        "per_class": {name: {"lesions": 2, "cpm": cpm, "ap": None} for name in classes},
    }


@pytest.fixture
def make_project(tmp_path):
    """A project whose rounds have these figures; None is a round of an older version."""
    made = []

    def make(*rounds):
        project = Project.create(tmp_path / "study", ProjectConfig(name="nodules", modality="CT"))
        made.append(project)
        for number, found in enumerate(rounds, 1):
            project.new_round("al", {})
            guard = {"dice": 0.5} | ({"detection": found} if found else {})
            project.finish_round(number, "done", {"promoted": number > 1, "guard": guard})
        return project

    yield make
    for project in made:
        project.close()


def line(figure, label):
    (found,) = [one for axes in figure.axes for one in axes.get_lines() if one.get_label() == label]
    return list(found.get_xdata()), list(found.get_ydata())


def test_a_row_for_every_round_that_looked_for_lesions(make_project):
    found = detection.gather(make_project(None, figures(0.5), figures(0.7)))
    assert [(one.number, one.cpm, one.ap, one.threshold, one.promoted) for one in found] == [
        (2, 0.5, 0.25, 0.4, True),
        (3, 0.7, 0.35, 0.4, True),
    ]
    table = detection.rounds_table(found)
    assert [column.title for column in table.columns][5:12] == [f"at {rate:g}" for rate in RATES]
    assert table.rows[1][:5] == (3, 4, 0.7, "0.600 to 0.800", 0.35)
    assert table.rows[1][-2:] == (0.4, "promoted")


def test_the_curve_begins_at_nothing_and_goes_on_level(make_project):
    first, last = detection.gather(make_project(figures(0.5), figures(0.7)))
    figure = detection.froc_figure(last, first)
    assert line(figure, "round 2") == ([0.0, 0.0, 1.0, 16.0], [0.0, 0.25, 0.5, 0.5])
    assert line(figure, "where CPM reads it")[0] == list(RATES)
    assert line(figure, "round 1")[1] == line(figure, "round 2")[1]


def test_cpm_and_average_precision_go_over_the_rounds(make_project):
    figure = detection.course_figure(detection.gather(make_project(figures(0.5), figures(None), figures(0.7))))
    assert line(figure, "average precision") == ([1, 3], [0.25, 0.35])


def test_without_a_lesion_nothing_is_drawn(make_project):
    section = detection.section(make_project(figures(0.5), figures(None, lesions=0)))
    assert "holds no lesion" in section.blocks[0].text
    assert section.blocks[1].rows[1][2:5] == (None, "–", None)


def test_classes_have_a_table_where_there_are_several(make_project):
    section = detection.section(make_project(figures(0.5, classes=("nodule", "cyst"))))
    assert section.blocks[-1].rows == (("nodule", 2, 0.5, None), ("cyst", 2, 0.5, None))


def test_the_page_has_the_section_for_detectors_alone(make_project, lived):
    assert 'id="detection"' not in reports.build(lived, now=NOW)
    page = reports.build(make_project(figures(0.5), figures(0.7)), now=NOW)
    assert 'id="detection"' in page
    assert "CPM is 0.700" in page
