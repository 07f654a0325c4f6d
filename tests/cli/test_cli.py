"""The command line as a contract: verbs, keys, exit codes, one line for every error, nothing but JSON on stdout."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from napari_dasl.cli import main
from napari_dasl.project import Project


def write_scans(folder: Path, count: int, *, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    z, y, x = np.mgrid[:16, :20, :24]
    for number in range(count):
        centre = rng.uniform((6, 7, 7), (10, 13, 16))
        ball = (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 < rng.uniform(3.0, 4.5) ** 2
        image = (100 + 20 * rng.standard_normal(ball.shape) + 120 * ball).astype(np.int16)
        for kind, array in (("images", image), ("labels", ball.astype(np.uint8))):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(array.T, np.eye(4)), folder / kind / f"p{number:02d}.nii.gz")


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    write_scans(folder, 12)
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
def study(scans, tmp_path, call):
    folder = tmp_path / "study"
    code, document, _ = call(
        *("init", folder, "--images", scans / "images", "--labels", scans / "labels", "--modality", "MR"),
        *("--annotated", 6, "--seed", 0),
    )
    assert code == 0
    assert {key: document[key] for key in ("cases", "annotated", "guard", "skipped")} == {
        "cases": 12,
        "annotated": 6,
        "guard": 2,
        "skipped": [],
    }
    return folder


class TestInit:
    def test_names_the_classes_as_asked(self, scans, tmp_path, call):
        words = (
            "init",
            tmp_path / "s",
            "--images",
            scans / "images",
            "--modality",
            "CT",
            "--classes",
            "nodule, vessel",
        )
        assert call(*words)[1]["classes"] == ["nodule", "vessel"]

    def test_reads_the_class_names_of_a_decathlon_data_set(self, scans, tmp_path, call):
        data = tmp_path / "Task04"
        data.mkdir()
        (data / "imagesTr").symlink_to(scans / "images", target_is_directory=True)
        (data / "labelsTr").symlink_to(scans / "labels", target_is_directory=True)
        described = {"labels": {"0": "background", "1": "Anterior", "2": "Posterior"}}
        (data / "dataset.json").write_text(json.dumps(described), encoding="utf-8")
        code, document, _ = call(
            *("init", tmp_path / "s", "--images", data / "imagesTr", "--labels", data / "labelsTr", "--modality", "MR")
        )
        assert code == 0
        assert document["classes"] == ["Anterior", "Posterior"]
        assert document["annotated"] == 12

    def test_imports_exactly_the_cases_of_a_list(self, scans, tmp_path, call):
        listed = tmp_path / "cases.txt"
        listed.write_text("p03\np07\n\np01\n", encoding="utf-8")
        call(
            *("init", tmp_path / "s", "--images", scans / "images", "--labels", scans / "labels", "--modality", "MR"),
            *("--annotated-list", listed),
        )
        with Project.open(tmp_path / "s") as project:
            assert {case.id for case in project.cases() if case.labelled} == {"p01", "p03", "p07"}

    def test_the_same_seed_draws_the_same_cases(self, scans, tmp_path, call):
        drawn = []
        for name, seed in (("one", 3), ("two", 3), ("other", 4)):
            call(
                *("init", tmp_path / name, "--images", scans / "images", "--labels", scans / "labels"),
                *("--modality", "MR", "--annotated", 5, "--seed", seed),
            )
            with Project.open(tmp_path / name) as project:
                drawn.append({case.id for case in project.cases() if case.labelled})
        assert drawn[0] == drawn[1] != drawn[2]

    def test_starts_from_a_preset(self, scans, tmp_path, call):
        words = ("--images", scans / "images", "--modality", "MR", "--preset", "dasl-paper")
        assert call("init", tmp_path / "s", *words)[0] == 0
        with Project.open(tmp_path / "s") as project:
            config = project.config
        assert (config.preset, config.ranking.strategy, config.selfpaced.pace) == ("dasl-paper", "dasl", "paper")
        assert config.network == "nodule-rcnn"

    def test_a_network_that_is_named_goes_before_that_of_the_preset(self, scans, tmp_path, call):
        words = ("--images", scans / "images", "--modality", "MR", "--preset", "stroke-contrast", "--network", "unet")
        assert call("init", tmp_path / "s", *words)[0] == 0
        with Project.open(tmp_path / "s") as project:
            config = project.config
        assert (config.network, config.curriculum.scorer, config.training.optimiser) == ("unet", "contrast", "rmsprop")

    def test_an_unknown_preset_is_refused_with_those_there_are(self, scans, tmp_path, capsys):
        words = ("--images", str(scans / "images"), "--modality", "MR", "--preset", "dasl")
        assert main(["init", str(tmp_path / "s"), *words]) == 2
        said = capsys.readouterr().err
        assert "dasl-paper" in said
        assert said.count("\n") == 1

    def test_reports_what_it_left_out(self, scans, tmp_path, call):
        mixed = tmp_path / "mixed"
        mixed.mkdir()
        (mixed / "good.nii.gz").write_bytes((scans / "images" / "p00.nii.gz").read_bytes())
        (mixed / "text.nii.gz").write_text("this is no scan", encoding="utf-8")
        code, document, _ = call("init", tmp_path / "s", "--images", mixed, "--modality", "MR")
        assert code == 0
        assert document["cases"] == 1
        assert [Path(row["path"]).name for row in document["skipped"]] == ["text.nii.gz"]
        assert document["skipped"][0]["reason"]

    @pytest.mark.parametrize("content", [None, "text"])
    def test_a_folder_without_a_scan_leaves_no_project(self, tmp_path, call, content):
        empty = tmp_path / "empty"
        empty.mkdir()
        if content:
            (empty / "notes.txt").write_text(content, encoding="utf-8")
        code, document, said = call("init", tmp_path / "s", "--images", empty, "--modality", "MR")
        assert (code, document) == (2, None)
        assert said.count("\n") == 1
        assert not (tmp_path / "s").exists()

    def test_labels_that_belong_to_no_scan_are_refused(self, scans, tmp_path, call):
        other = tmp_path / "other"
        other.mkdir()
        (other / "unknown.nii.gz").write_bytes((scans / "labels" / "p00.nii.gz").read_bytes())
        code, _, said = call(
            *("init", tmp_path / "s", "--images", scans / "images", "--labels", other, "--modality", "MR")
        )
        assert code == 2
        assert "unknown.nii.gz" in said
        assert not (tmp_path / "s").exists()


class TestLabels:
    def test_a_label_is_a_new_revision_and_an_old_one_comes_back(self, study, scans, call):
        with Project.open(study) as project:
            case = project.pool()[0].id
        mask = scans / "labels" / f"{case}.nii.gz"
        _, first, _ = call("label", study, case, mask, "--author", "ann", "--seconds", 90)
        assert (first["case"], first["revision"]) == (case, 1)
        assert len(first["sha256"]) == 64
        empty = study.parent / "empty.nii.gz"
        image = nibabel.load(mask)
        nibabel.save(nibabel.Nifti1Image(np.zeros(image.shape, np.uint8), image.affine), empty)
        assert call("label", study, case, empty)[1]["revision"] == 2
        history = call("restore", study, case, 1)[1]
        assert [row["revision"] for row in history] == [1, 2, 3]
        assert (history[0]["author"], history[0]["seconds"]) == ("ann", 90.0)
        with Project.open(study) as project:
            np.testing.assert_array_equal(project.read_label(case), project.read_label(case, 1))

    def test_a_mask_on_another_grid_is_refused_and_nothing_changes(self, study, tmp_path, call):
        other = tmp_path / "other.nii.gz"
        nibabel.save(nibabel.Nifti1Image(np.zeros((3, 3, 3), np.uint8), np.eye(4)), other)
        code, document, said = call("label", study, "p00", other)
        assert (code, document) == (2, None)
        assert "grid" in said
        assert said.count("\n") == 1

    def test_a_value_that_is_no_class_is_refused(self, study, scans, tmp_path, call):
        image = nibabel.load(scans / "labels" / "p00.nii.gz")
        wrong = tmp_path / "wrong.nii.gz"
        nibabel.save(nibabel.Nifti1Image(np.full(image.shape, 7, np.uint8), image.affine), wrong)
        code, _, said = call("label", study, "p00", wrong)
        assert code == 2
        assert "7" in said

    def test_an_unknown_case_names_a_near_one(self, study, scans, call):
        code, _, said = call("labels", study, "p0l")
        assert code == 2
        assert "p0" in said


class TestStatus:
    def test_says_whether_the_network_teaches_itself_and_what_labels_cost(self, study, scans, call):
        fresh = call("status", study)[1]
        assert fresh["selfpaced"] == {"enabled": True}
        assert fresh["minutes"] == 0
        assert fresh["effort"]["labels"] == 0
        assert {"median_seconds", "seconds_by_kind", "median_by_kind", "labels_by_kind"} <= set(fresh["effort"])
        with Project.open(study) as project:
            case = project.pool()[0].id
            project.update_config(selfpaced__enabled=False)
        call("label", study, case, scans / "labels" / f"{case}.nii.gz", "--seconds", 90)
        later = call("status", study)[1]
        assert later["selfpaced"] == {"enabled": False}
        assert later["minutes"] == pytest.approx(1.5)


class TestTheLoop:
    def test_round_rank_label_predict_evaluate_use_export(self, study, scans, tmp_path, call):
        code, first, _ = call("round", study, "--steps", 6, "--quiet")
        assert code == 0
        assert {"round", "phase", "state", "promoted", "guard", "trained_on", "lambda", "seconds", "model"} <= set(
            first
        )
        assert first["trained_on"] == {"human": 4, "pseudo": 0}
        assert {"dice", "per_class", "before"} <= set(first["guard"])

        ranked = call("rank", study, "--top", 3)[1]
        assert [row["rank"] for row in ranked] == [1, 2, 3]
        assert {"case", "rank", "score", "uncertainty", "similarity", "difficulty", "state"} <= set(ranked[0])
        scores = [row["score"] for row in ranked]
        assert scores == sorted(scores, reverse=True)
        assert call("rank", study, "--by", "dasl")[1][0]["similarity"] is not None

        case = ranked[0]["case"]
        assert call("label", study, case, scans / "labels" / f"{case}.nii.gz")[0] == 0
        status = call("status", study)[1]
        assert {key: status[key] for key in ("cases", "annotated", "guard", "pool", "pseudo", "model")} == {
            "cases": 12,
            "annotated": 7,
            "guard": 2,
            "pool": 5,
            "pseudo": 0,
            "model": first["model"],
        }

        second = call("round", study, "--steps", 6, "--curriculum", "patch-growth-resource", "--quiet")[1]
        assert second["trained_on"]["human"] == 5
        frozen = json.loads((study / "rounds" / "0002" / "plan.json").read_text(encoding="utf-8"))
        assert (frozen["preset"], frozen["curriculum"]["stages"]) == ("patch-growth-resource", "growth")
        assert len(json.loads((study / "rounds" / "0002" / "curriculum.json").read_text())["schedule"]["stages"]) > 1
        assert second["guard"]["before"] == pytest.approx(first["guard"]["dice"])
        models = call("models", study)[1]
        assert [row["model"] for row in models] == [first["model"], second["model"]]
        rolled = call("use", study, first["model"])[1]
        assert [row["active"] for row in rolled] == [True, False]

        predicted = call("predict", study, "--all", "--quiet")[1]
        assert predicted["predicted"] == 10
        assert predicted["failed"] == []
        for words in (
            ("--split", "guard"),
            ("--split", "pool", "--truth", scans / "labels"),
            ("--images", scans / "images", "--truth", scans / "labels"),
        ):
            code, document, said = call("evaluate", study, *words, "--quiet")
            assert code == 0, said
            assert {"cases", "mean", "misses", "n"} <= set(document)
            assert {"dice", "dice_global", "voe", "rvd", "assd", "msd", "rmsd", "hd95"} <= set(document["mean"])
            assert document["n"] == len(document["cases"])
        written = call("export", study, tmp_path / "out", "--what", "predictions")[1]["written"]
        assert len(written) == 10

    def test_a_round_without_labels_says_so(self, scans, tmp_path, call):
        call("init", tmp_path / "s", "--images", scans / "images", "--modality", "MR")
        code, document, said = call("round", tmp_path / "s", "--quiet")
        assert (code, document) == (2, None)
        assert "no labelled scan" in said
        assert said.count("\n") == 1

    def test_ranking_before_the_first_model_is_a_fair_sample(self, study, call):
        ranked = call("rank", study)[1]
        assert len(ranked) == 6
        assert all("model" in row["why"] for row in ranked)


class TestErrors:
    @pytest.mark.parametrize(
        "words",
        [
            ("rank",),
            ("frobnicate",),
            ("init", "x", "--images", "y", "--modality", "XX"),
            ("round", "x", "--steps", "0"),
            ("round", "x", "--steps", "3", "--minutes", "2"),
            ("round", "x", "--curriculum", "liver"),
            ("status", "does-not-exist"),
            ("evaluate", "does-not-exist"),
        ],
    )
    def test_a_wrong_call_is_one_line_and_exit_code_2(self, capsys, words):
        assert main(list(words)) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.startswith("napari-dasl: ")
        assert printed.err.count("\n") == 1

    def test_an_unknown_strategy_names_a_near_one(self, study, call):
        code, _, said = call("rank", study, "--by", "dals")
        assert code == 2
        assert "'dasl'" in said

    def test_no_traceback_without_debug(self, study, capsys, monkeypatch):
        monkeypatch.setattr(Project, "counts", lambda self: 1 / 0)
        assert main(["status", str(study)]) == 1
        assert "Traceback" not in capsys.readouterr().err
        assert main(["status", str(study), "--debug"]) == 1
        assert "Traceback" in capsys.readouterr().err

    def test_every_verb_helps_with_an_example(self, capsys):
        for verb in (
            *("init", "add", "status", "round", "predict", "rank", "label", "labels", "restore", "evaluate"),
            *("models", "use", "export", "doctor", "demo", "open", "engine"),
        ):
            assert main([verb, "--help"]) == 0
            assert f"napari-dasl {verb}" in capsys.readouterr().out


def test_help_and_status_start_without_torch(study):
    script = (
        "import sys\n"
        "from napari_dasl.cli import main\n"
        f"code = main(['status', {str(study)!r}])\n"
        "sys.exit(code or ('torch' in sys.modules) * 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
