"""``difficulty`` and ``rank --by difficulty``: how hard the cases are, for a reader and as JSON."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest

from napari_dasl.cli import main
from napari_dasl.project import Project, setup
from napari_dasl.widgets.difficulty_rows import cell_words
from napari_dasl.widgets.snapshot import read_snapshot


@pytest.fixture
def study(tmp_path):
    """Six scans; boxes of 2, 3 and 4 voxels a side are labelled, and a model drew 5, 0 and 1 in the others."""
    rng = np.random.default_rng(0)
    for number in range(6):
        box = np.zeros((8, 12, 12), np.uint8)
        side = number + 2
        box[1 : 1 + side, 2 : 2 + side, 2 : 2 + side] = 1
        for kind, array in (("images", (rng.normal(100, 10, box.shape) + 50 * box).astype(np.int16)), ("labels", box)):
            (tmp_path / kind).mkdir(exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(array.T, np.eye(4)), tmp_path / kind / f"p{number}.nii.gz")
    folder = tmp_path / "study"
    setup.make(
        folder,
        images=tmp_path / "images",
        labels=tmp_path / "labels",
        modality="MR",
        annotated=("p0", "p1", "p2"),
        guard=0,
    )
    with Project.open(folder) as project:
        project.add_model("r0001-a", promoted=True, active=True)
        for case, side in (("p3", 5), ("p4", 0)):
            front = np.zeros(project.case(case).shape, np.float32)
            front[1 : 1 + side, 2 : 2 + side, 2 : 2 + side] = 0.9
            told = {"uncertainty_lesion": 0.1, "uncertainty_volume": 0.1, "uncertainty_body": 0.1, "self_loss": 0.2}
            project.save_prediction(case, "r0001-a", np.stack([1 - front, front]), np.ones(4), told)
    return folder


@pytest.fixture
def call(capsys):
    def run(*words):
        code = main([*map(str, words)])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def test_it_lists_the_hardest_first_with_what_was_measured(study, call):
    code, out, _ = call("difficulty", study, "--json", "--quiet")
    document = json.loads(out)
    assert code == 0
    assert [one["case"] for one in document["cases"]] == ["p0", "p1", "p2", "p3", "p4", "p5"]
    first = document["cases"][0]
    assert first["labelled"]
    assert first["scorers"]["size"] == {
        "value": 8.0,
        "unit": "mm³",
        "difficulty": -8.0,
        "source": "label",
        "model": None,
        "revision": 1,
    }
    drawn = document["cases"][3]["scorers"]
    assert (drawn["size"]["value"], drawn["size"]["source"], drawn["size"]["model"]) == (125.0, "prediction", "r0001-a")
    assert drawn["self-paced"]["value"] == 0.2
    assert document["cases"][4]["scorers"]["size"]["value"] is None
    assert document["cases"][5]["scorers"] == {}
    assert document["scorers"]["size"]["harder"] == "low"
    assert document["scorers"]["size"]["correlation"] is None


def test_a_reader_sees_a_table_with_the_mark_of_predictions(study, call):
    _, out, err = call("difficulty", study, "--scorer", "size")
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["case", "Lesion", "size"]
    assert lines[1:4] == [["p0", "8"], ["p1", "27"], ["p2", "64"]]
    assert lines[4:] == [["p3", "≈", "125"], ["p4", "≈", "none"], ["p5", "–"]]
    assert "≈ on the prediction" in err
    assert "1 cases have neither" in err


def test_the_unlabelled_scans_are_ranked_by_it(study, call):
    code, out, _ = call("rank", study, "--by", "difficulty", "--scorer", "size", "--json", "--quiet")
    assert code == 0
    ranked = json.loads(out)
    assert [(row["case"], row["rank"], row["difficulty"]) for row in ranked] == [
        ("p3", 1, -125.0),
        ("p4", 2, None),
        ("p5", 3, None),
    ]
    assert ranked[0]["why"] == "Lesion size 125 mm³, on the prediction."


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("rank", "--scorer", "size"), "--scorer belongs to --by difficulty"),
        (("rank", "--by", "difficulty", "--scorer", "gradient"), "known of labelled cases alone"),
        (("difficulty", "--scorer", "gradient"), "plan"),
    ],
)
def test_what_cannot_be_asked_is_one_line(study, call, words, said):
    code, out, err = call(words[0], study, *words[1:], "--quiet")
    assert code != 0
    assert (out, said in err, len(err.strip().splitlines())) == ("", True, 1)


def test_the_size_of_a_case_of_one_slice_is_an_area(tmp_path, call):
    for name, slices in (("flat", 1), ("thick", 4)):
        label = np.zeros((slices, 12, 12), np.uint8)
        label[0, 2:5, 2:6] = 1
        for kind, array in (("images", label * 50.0), ("labels", label)):
            (tmp_path / kind).mkdir(exist_ok=True)
            saved = nibabel.Nifti1Image(array.T.astype(np.float32), np.diag((1.0, 2.0, 5.0, 1.0)))
            nibabel.save(saved, tmp_path / kind / f"{name}.nii.gz")
    folder = tmp_path / "slices"
    setup.make(folder, images=tmp_path / "images", labels=tmp_path / "labels", modality="MR", guard=0)
    document = json.loads(call("difficulty", folder, "--scorer", "size", "--json", "--quiet")[1])
    told = {one["case"]: one["scorers"]["size"] for one in document["cases"]}
    assert {case: (one["value"], one["unit"]) for case, one in told.items()} == {
        "flat": (24.0, "mm²"),
        "thick": (120.0, "mm³"),
    }
    assert document["scorers"]["size"]["unit"] == "mm³"
    with Project.open(folder) as project:
        rows = {row.case: row for row in read_snapshot(project).rows}
        assert cell_words("size", rows["flat"].hardness["size"]) == "24 mm²"
