"""`napari-dasl simulate`: its keys, its words, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from napari_dasl.cli import main, simulate_verbs


def write_scans(folder: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    z, y, x = np.mgrid[:16, :20, :24]
    for number in range(count):
        centre = rng.uniform((6, 7, 7), (10, 13, 16))
        ball = (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 < 16
        image = (100 + 20 * rng.standard_normal(ball.shape) + 120 * ball).astype(np.int16)
        for kind, array in (("images", image), ("labels", ball.astype(np.uint8))):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(array.T, np.eye(4)), folder / kind / f"p{number:02d}.nii.gz")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulate")
    write_scans(folder, 7)
    words = ("init", folder / "study", "--images", folder / "images", "--labels", folder / "labels")
    assert main([*map(str, words), "--modality", "MR", "--guard", "0.3"]) == 0
    return folder / "study"


def words(study: Path, *more: object) -> list[str]:
    told = ("simulate", study, "--truth", study.parent / "labels", "--initial", 2, "--query", 1, "--rounds", 1, *more)
    return [str(word) for word in told]


class TestSimulate:
    def test_answers_with_the_curves_and_writes_them(self, study, tmp_path, capsys):
        capsys.readouterr()
        more = ("--strategy", "random", "--steps", 2, "--device", "cpu", "--jobs", 1, "--out", tmp_path / "out")
        assert main([*words(study, *more), "--json", "--quiet"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert [(row["strategy"], row["seed"], row["annotated"]) for row in found["curves"]] == [
            ("random", 0, 2),
            ("random", 0, 3),
        ]
        assert set(found["aubc"]["random"]) >= {"mean", "std"}
        assert found["paired"] == []
        assert json.loads((tmp_path / "out" / "result.json").read_text())["curves"] == found["curves"]
        assert (tmp_path / "out" / "curves.csv").read_text().startswith("strategy,seed,round,annotated,dice")

    @pytest.mark.parametrize(
        ("more", "says"),
        [
            (("--strategy", "magic"), "magic"),
            (("--strategy", "random", "--seeds", "x"), "--seeds"),
            (("--strategy", "random", "--phases", "spl"), "al phase"),
            (("--strategy", "random", "--careless", "shifted"), "key=value"),
            (("--strategy", "random", "--test-list", "nowhere.txt"), "nowhere.txt"),
            (("--strategy", "random", "--seeds", "2", "--guard", "2"), "guard set"),
        ],
    )
    def test_refuses_a_wrong_call_in_one_line(self, study, capsys, more, says):
        capsys.readouterr()
        assert main([*words(study, *more), "--json"]) in (1, 2)
        printed = capsys.readouterr()
        assert printed.out == ""
        assert len(printed.err.strip().splitlines()) == 1
        assert says in printed.err

    def test_says_the_differences_in_words(self):
        pair = {"a": "dasl", "b": "random", "mean": 0.0123, "low": 0.001, "high": 0.02, "p_t": 0.04, "p_wilcoxon": None}
        found = {"complete": 4, "runs": 4, "test": 9, "folder": "f", "paired": [pair | {"n": 2}]}
        assert simulate_verbs.sentence(found).splitlines()[1] == (
            "dasl − random: AUBC +0.0123 (95 % interval +0.0010 to +0.0200; p 0.040 by t, – by Wilcoxon), 2 pairs"
        )
