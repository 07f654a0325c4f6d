"""The verb `findings`, and `init` and `simulate` with a choice of network, as contracts."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest

from napari_dasl.cli import main
from napari_dasl.cli.finding_verbs import places
from napari_dasl.errors import InputError, ProjectError
from napari_dasl.project import Project
from napari_dasl.project.instances import describe
from napari_dasl.rounds import simulation
from napari_dasl.volumes import Geometry

SHAPE = (16, 20, 24)


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    rng = np.random.default_rng(0)
    for number in range(3):
        ids = np.zeros(SHAPE, np.uint8)
        ids[3:7, 4:9, 4:9], ids[9:14, 12:17, 13:19] = 4, 9
        image = (100 + 20 * rng.standard_normal(SHAPE) + 120 * (ids > 0)).astype(np.int16)
        for kind, array in (("images", image), ("labels", ids)):
            (folder / kind).mkdir(exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(array.T, np.eye(4)), folder / kind / f"p{number:02d}.nii.gz")
    return folder


@pytest.fixture
def call(capsys):
    """Run a verb with --json and return (exit code, document or None, stderr)."""

    def run(*words: object) -> tuple[int, object, str]:
        code = main([*map(str, words), "--json"])
        printed = capsys.readouterr()
        return code, json.loads(printed.out) if printed.out else None, printed.err

    return run


@pytest.fixture
def study(scans, tmp_path):
    """A project in which the active model found two lesions in p02, and a third one below its threshold."""
    folder = tmp_path / "study"
    words = ("--images", scans / "images", "--modality", "CT", "--classes", "nodule", "--network", "nodule-rcnn")
    assert main([str(word) for word in ("init", folder, *words, "--quiet")]) == 0
    ids = np.zeros(SHAPE, np.uint16)
    ids[3:7, 4:9, 4:9], ids[9:14, 12:17, 13:19], ids[1:3, 1:3, 1:3] = 1, 2, 3
    found = describe(ids, dict.fromkeys((1, 2, 3), 1), {1: 0.7, 2: 0.9, 3: 0.2}, (1.0, 1.0, 1.0), kept={1, 2})
    probability = np.zeros((2, *SHAPE), np.float32)
    probability[1] = np.isin(ids, (1, 2))
    probability[0] = 1 - probability[1]
    with Project.open(folder) as project:
        project.model_folder("m1")
        project.add_model("m1", parent=None, round=None, promoted=True, guard={}, config={})
        project.use("m1")
        project.save_prediction("p02", "m1", probability, np.ones(8), {}, instances=found, ids=ids)
    return folder


class TestFindings:
    def test_are_listed_with_score_diameter_volume_and_state_the_surest_first(self, study, call):
        code, rows, _ = call("findings", study, "p02")
        assert code == 0
        assert [(row["finding"], row["state"]) for row in rows] == [(2, "proposed"), (1, "proposed"), (3, "below")]
        assert rows[0]["score"] == pytest.approx(0.9)
        assert rows[0]["volume_ml"] == pytest.approx(5 * 5 * 6 / 1000)
        assert rows[0]["class"] == "nodule"
        assert rows[0]["model"] == "m1"
        assert len(rows[0]["centre_mm"]) == 3
        assert rows[1]["box_voxel"] == [3, 4, 4, 7, 9, 9]
        assert (rows[1]["centre_world"], rows[1]["world_frame"]) == (pytest.approx([17, 13, 10.5]), "RAS")

    def test_a_verdict_is_kept_and_can_be_taken_back(self, study, call):
        _, rows, _ = call("findings", study, "p02", "--reject", 2, 3, "--author", "ann")
        assert {row["finding"]: row["state"] for row in rows} == {1: "proposed", 2: "rejected", 3: "rejected"}
        _, rows, _ = call("findings", study, "p02", "--clear", 2)
        assert {row["finding"]: row["state"] for row in rows} == {1: "proposed", 2: "proposed", 3: "rejected"}
        _, rows, _ = call("findings", study, "p02", "--accept", 1)
        assert {row["finding"]: row["state"] for row in rows} == {1: "accepted", 2: "proposed", 3: "rejected"}
        with Project.open(study) as project:
            assert {one.author for one in project.finding_reviews("p02") if one.instance == 3} == {"ann"}

    def test_a_reader_sees_those_below_the_threshold_only_when_asked(self, study, capsys):
        main(["findings", str(study), "p02"])
        assert "2 findings, 1 more below the threshold" in capsys.readouterr().out
        main(["findings", str(study), "p02", "--all"])
        assert "below" in capsys.readouterr().out

    def test_of_an_unpredicted_case_are_asked_for_with_the_command_that_helps(self, study, call):
        code, document, said = call("findings", study, "p00")
        assert (code, document) == (2, None)
        assert f"napari-dasl predict {study} --cases p00" in said

    def test_an_unknown_finding_changes_nothing(self, study, call):
        code, document, said = call("findings", study, "p02", "--reject", 7)
        assert (code, document) == (2, None)
        assert "no finding 7" in said
        with Project.open(study) as project:
            assert project.finding_reviews() == []


@pytest.mark.parametrize("sheared", [0.0, 0.3])
def test_a_finding_is_where_the_file_says_whatever_its_axes_and_origin(sheared):
    affine = np.array([[0, 0, 2.5, -40], [-0.8, 0, 0, 55], [0, -1.2, sheared, 910], [0, 0, 0, 1.0]])
    native = np.zeros((9, 11, 13), np.uint16)
    native[2, 7, 10] = 1
    geometry = Geometry(native.shape, affine)
    (lesion,) = describe(geometry.to_canonical(native), {1: 1}, None, geometry.spacing)
    told = places(lesion, geometry)
    assert told["centre_file_voxel"] == [2, 7, 10]
    assert told["centre_world"] == pytest.approx((affine @ [2, 7, 10, 1])[:3])
    z, y, x = told["centre_voxel"]
    assert geometry.to_canonical(native)[z, y, x] == 1
    assert told["box_voxel"] == [z, y, x, z + 1, y + 1, x + 1]


def test_the_help_says_in_which_frame_positions_are(capsys):
    main(["findings", "--help"])
    assert "frame RAS as in NIfTI" in capsys.readouterr().out


class TestInit:
    def test_takes_a_network_by_name(self, study):
        with Project.open(study) as project:
            assert project.config.network == "nodule-rcnn"

    def test_refuses_another_with_those_there_are(self, scans, tmp_path, call):
        code, _, said = call(
            *("init", tmp_path / "s", "--images", scans / "images", "--modality", "CT", "--network", "rcnn")
        )
        assert code == 2
        assert "nodule-rcnn" in said
        assert not (tmp_path / "s").exists()

    def test_keeps_the_numbers_of_lesions(self, scans, tmp_path, call):
        words = ("--images", scans / "images", "--labels", scans / "labels", "--modality", "CT", "--instances")
        code, document, _ = call("init", tmp_path / "s", *words)
        assert (code, document["annotated"], document["classes"]) == (0, 3, ["lesion"])
        with Project.open(tmp_path / "s") as project:
            assert project.config.instances
            assert set(np.unique(project.read_label("p00"))) == {0, 4, 9}

    def test_numbers_of_lesions_and_several_classes_exclude_each_other(self, scans, tmp_path, call):
        words = ("--images", scans / "images", "--modality", "CT", "--instances", "--classes", "nodule,vessel")
        code, _, said = call("init", tmp_path / "s", *words)
        assert code == 2
        assert said.count("\n") == 1


class TestSimulatedNetworks:
    def spec(self, *strategies, **values):
        return simulation.make(strategies=strategies, initial=4, query=1, rounds=1, truth="labels", **values)

    def test_are_an_arm_or_hold_for_every_arm(self):
        told = self.spec("default", "default@network=mask-rcnn", network="nodule-rcnn")
        assert [arm.settings["network"] for arm in told.arms] == ["nodule-rcnn", "mask-rcnn"]

    def test_an_unknown_one_is_refused_with_those_there_are(self):
        with pytest.raises((InputError, ProjectError), match="rcnn"):
            _ = self.spec("default@network=rcnn").arms

    def test_none_leaves_the_folder_of_a_simulation_where_it_was(self):
        # The hash of a specification from before networks could be chosen.
        assert self.spec("default").setting("m") == "ef8a9d0fd8f0"
        assert self.spec("default", network="unet").setting("m") != "ef8a9d0fd8f0"
