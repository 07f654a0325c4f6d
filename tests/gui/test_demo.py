"""The demo from its first command to its last picture, with the annotator played at the real window."""

from __future__ import annotations

import json
from functools import partial

import pytest

from napari_dasl import demo, phantoms
from napari_dasl.errors import Cancelled, ProjectError
from napari_dasl.project import Project


@pytest.fixture(scope="module", autouse=True)
def small_phantoms():
    """Phantoms of few voxels: what is tested is the way, not the network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phantoms, "write_study", partial(phantoms.write_study, size="small"))
        yield


@pytest.fixture(scope="module")
def small_demo(small_phantoms, tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "practice"
    return demo.make(folder, kind="pet", cases=7, labelled=4, steps=3)


def test_a_demo_is_a_project_with_a_trained_round_and_a_ranked_list(small_demo):
    with Project.open(small_demo) as project:
        counts = project.counts()
        assert (counts["cases"], counts["annotated"], counts["guard"], counts["pool"]) == (7, 4, 2, 3)
        assert project.active_model() is not None
        assert [one.rank for one in project.scores()] == [1, 2, 3]
        assert all(demo.truth_of(small_demo, case.id).exists() for case in project.cases())


def test_making_it_again_changes_nothing(small_demo):
    with Project.open(small_demo) as project:
        before = [model.id for model in project.models()]
    demo.make(small_demo)
    with Project.open(small_demo) as project:
        assert [model.id for model in project.models()] == before


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ProjectError, match="not empty"):
        demo.make(tmp_path)
    assert (tmp_path / "thesis.txt").read_text(encoding="utf-8") == "mine"


def test_a_demo_that_was_stopped_goes_on(tmp_path):
    asked = []

    def listen(event):
        asked.append(event)

    folder = tmp_path / "practice"
    with pytest.raises(Cancelled):
        demo.make(
            *(folder,),
            kind="pet",
            cases=4,
            labelled=3,
            steps=100_000,
            report=listen,
            cancelled=lambda: any(getattr(event, "name", "") == "train" for event in asked),
        )
    with Project.open(folder) as project:
        assert project.last_unfinished_round().state == "cancelled"


@pytest.mark.gui
def test_the_annotator_labels_and_trains_through_the_window(small_demo, tmp_path):
    said = []
    summary = demo.rehearse(small_demo, tmp_path / "report", said.append, rounds=1, cases=1)
    assert len(summary["rounds"]) == 1
    assert [row["strokes"] > 0 for row in summary["labelled"]] == [True]
    assert all((tmp_path / "report" / name).stat().st_size > 10_000 for name in summary["pictures"])
    assert json.loads((tmp_path / "report" / "summary.json").read_text(encoding="utf-8")) == summary
    assert "Dice" in (tmp_path / "report" / "summary.md").read_text(encoding="utf-8")
    case = summary["labelled"][0]["case"]
    with Project.open(small_demo) as project:
        revision = project.labels(case)[-1]
        assert revision.human
        assert case in project.rounds()[-1].plan["train"]
