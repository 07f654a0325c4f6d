"""``pseudo``: the list, the review, and switching pseudo-labels on and off; and the phases of ``round``."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest

from napari_dasl.cli import main
from napari_dasl.project import Project, setup
from napari_dasl.project.records import PseudoLabel
from napari_dasl.project.store import now
from napari_dasl.rounds import phases

KEYS = {"case", "weight", "loss", "lambda", "round", "model", "state", "verdict"}


@pytest.fixture
def study(tmp_path):
    """Four scans, one labelled; a model that predicted two of the others, and both taken in round 1."""
    for number in range(4):
        for kind in ("images", "labels"):
            (tmp_path / kind).mkdir(exist_ok=True)
            array = np.full((6, 7, 8), number, np.int16) if kind == "images" else np.ones((6, 7, 8), np.uint8)
            nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / kind / f"p{number}.nii.gz")
    setup.make(tmp_path / "s", images=tmp_path / "images", labels=tmp_path / "labels", modality="MR", annotated=("p0",))
    with Project.open(tmp_path / "s") as project:
        project.model_folder("m1")
        project.add_model("m1", promoted=True, active=True, guard={"dice": 0.8})
        probability = np.zeros((2, *project.case("p1").shape), np.float32)
        probability[1, 2:4], probability[0] = 0.9, 1 - probability[1]
        rows = []
        for case, weight in (("p1", 0.25), ("p2", 0.75)):
            project.save_prediction(case, "m1", probability, np.ones(8), {"self_loss": 0.1, "empty": False})
            rows.append(PseudoLabel(case, 1, "m1", weight, 0.1, 0.4, now(), ""))
        project.new_round("spl", {})
        project.save_pseudo_labels(1, rows)
    return tmp_path / "s"


@pytest.fixture
def call(capsys):
    def run(*words: object) -> tuple[int, list, str]:
        code = main([*map(str, words), "--json"])
        printed = capsys.readouterr()
        return code, json.loads(printed.out) if printed.out else None, printed.err

    return run


class TestPseudo:
    def test_lists_the_surest_first(self, study, call):
        code, rows, _ = call("pseudo", study)
        assert code == 0
        assert set(rows[0]) >= KEYS
        assert [(row["case"], row["weight"], row["lambda"]) for row in rows] == [("p2", 0.75, 0.4), ("p1", 0.25, 0.4)]
        assert {row["state"] for row in rows} == {"pseudo"}

    def test_an_accepted_one_is_a_label_of_the_author(self, study, call):
        _, rows, _ = call("pseudo", study, "--accept", "p1", "--author", "ann")
        assert {row["case"]: row["state"] for row in rows}["p1"] == "labelled"
        with Project.open(study) as project:
            revision = project.labels("p1")[-1]
            assert (revision.source, revision.author, revision.model, revision.round) == ("corrected", "ann", "m1", 1)
            np.testing.assert_array_equal(project.read_label("p1"), project.prediction("p1", "m1").label())

    def test_a_rejected_one_can_be_allowed_again(self, study, call):
        _, rows, _ = call("pseudo", study, "--reject", "p1", "p2")
        assert {row["verdict"] for row in rows} == {"rejected"}
        with Project.open(study) as project:
            assert project.rejected() == {"p1", "p2"}
        _, rows, _ = call("pseudo", study, "--allow", "p2")
        assert {row["case"]: row["verdict"] for row in rows} == {"p1": "rejected", "p2": ""}

    def test_off_and_on_last(self, study, call):
        said = call("pseudo", study, "--off")[2]
        assert "Pseudo-labels are off" in said
        with Project.open(study) as project:
            assert phases.standing(project).off
        assert call("pseudo", study, "--on")[2] == ""
        with Project.open(study) as project:
            assert not phases.standing(project).off

    @pytest.mark.parametrize("words", [("--accept", "p0"), ("--reject", "p9"), ("--allow", "p1"), ("--on", "--off")])
    def test_what_cannot_be_done_is_one_line_and_exit_code_2(self, study, call, words):
        code, document, said = call("pseudo", study, *words)
        assert (code, document) == (2, None)
        assert said.count("\n") == 1

    def test_helps_with_an_example(self, capsys):
        assert main(["pseudo", "--help"]) == 0
        assert "napari-dasl pseudo my-study" in capsys.readouterr().out


class TestRound:
    def test_waits_for_the_cases_that_were_asked_for(self, study, capsys):
        with Project.open(study) as project:
            project.finish_round(1, "done", {"phase": "spl", "promoted": True, "asked": ["p2", "p3"]})
            project.update_config(selfpaced__phases=("al",))
        assert main(["round", str(study), "--quiet"]) == 2
        said = capsys.readouterr().err
        assert "2 of the 2 cases that were asked for are still open: p2, p3." in said
        assert "--phase al" in said
        assert said.count("\n") == 1
