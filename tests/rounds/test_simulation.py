"""Simulations: paired runs from the same draw, test cases out of reach, resumable, and the parent left alone."""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from napari_dasl import volumes
from napari_dasl.errors import Cancelled, InputError
from napari_dasl.project import Project, setup
from napari_dasl.rounds import simulation
from napari_dasl.rounds.ranking import rank_pool
from napari_dasl.rounds.simulation import annotator, curves, material, result, run
from napari_dasl.rounds.simulation.curves import Curve, Point
from napari_dasl.rounds.simulation.spec import Careless, parse_arm


@pytest.fixture(scope="module")
def scans(balls):
    """Fourteen scans and their masks."""
    return balls


@pytest.fixture(scope="module")
def parent(scans, tmp_path_factory):
    """Eight of fourteen scans labelled, two of these the guard set; never written by what follows."""
    folder = tmp_path_factory.mktemp("parent") / "study"
    setup.make(folder, images=scans / "images", labels=scans / "labels", modality="MR", annotated=8, seed=0)
    return folder


def spec(scans: Path, **changes: object) -> simulation.Simulation:
    told = {"strategies": ["default", "random"], "initial": 3, "query": 2, "rounds": 2, "steps": 2, "device": "cpu"}
    return simulation.make(**told | {"truth": scans / "labels"} | changes)


def fingerprint(folder: Path) -> dict[str, str]:
    """Content of the files of a project that simulations must not touch."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "simulations" not in path.parts and "sqlite" not in path.name:
            found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
    with Project.open(folder) as project:
        for case in project.cases():
            found[case.id] = f"{case.state} {case.guard} {[one.sha256 for one in project.labels(case.id)]}"
        found["rounds"] = str((project.rounds(), project.models(), project.events()))
    return found


@pytest.fixture(scope="module")
def played(parent, scans):
    """Two strategies, one seed, two queries, in processes of their own; what was reported; the parent before."""
    before = fingerprint(parent)
    heard: list[object] = []
    with Project.open(parent) as project:
        found = simulation.simulate(project, spec(scans, jobs=2), heard.append)
    return found, heard, before


class TestARun:
    def test_annotates_the_initial_cases_and_then_a_query_per_round(self, played):
        found, _, _ = played
        for name in ("default", "random"):
            rows = [row for row in found["curves"] if row["strategy"] == name]
            assert [row["annotated"] for row in rows] == [3, 5, 7]
            assert [row["human"] for row in rows] == [3, 5, 7]
            assert [len(row["picked"]) for row in rows] == [0, 2, 2]
            assert all(0 <= row["dice"] <= 1 and row["steps"] == 2 for row in rows)

    def test_both_strategies_start_from_the_same_cases_and_the_same_model(self, played):
        found, _, _ = played
        first, second = (curves.read(Path(found["folder"], f"{name}-s0")) for name in ("default", "random"))
        assert first.initial == second.initial
        assert (first.points[0].model, first.points[0].cases) == (second.points[0].model, second.points[0].cases)

    def test_the_guard_of_the_parent_is_the_test_and_in_no_run(self, played, parent):
        found, _, _ = played
        with Project.open(parent) as project:
            test = {case.id for case in project.guard_cases()}
        assert found["test"] == len(test) == 2
        for name in ("default", "random"):
            folder = Path(found["folder"], f"{name}-s0")
            assert set(curves.read(folder).points[-1].cases) == test
            with Project.open(folder) as child:
                assert not test & {case.id for case in child.cases()}
                assert not test & {case for done in child.rounds() for case in done.plan["train"]}

    def test_leaves_the_parent_as_it_was(self, played, parent):
        assert fingerprint(parent) == played[2]

    def test_labels_are_the_truth_under_the_name_of_the_simulation(self, played, scans):
        with Project.open(Path(played[0]["folder"], "random-s0")) as child:
            case = child.training_cases()[0].id
            assert [one.author for one in child.labels(case)] == ["truth (simulated)"]
            truth = volumes.read_mask(scans / "labels" / f"{case}.nii.gz", child.case(case).geometry)
            np.testing.assert_array_equal(child.read_label(case), truth)

    def test_summarises_and_says_how_far_it_is(self, played):
        found, heard, _ = played
        assert set(found["aubc"]) == {"default", "random"}
        assert set(found["aubc"]["random"]) >= {"mean", "std"}
        assert set(found["paired"][0]) >= {"a", "b", "mean", "low", "high", "p_t", "p_wilcoxon", "n"}
        assert (found["complete"], found["runs"], found["failed"]) == (2, 2, [])
        assert [(e.done, e.total) for e in heard if getattr(e, "kind", "") == "progress"][-1] == (6, 6)
        written = json.loads(Path(found["folder"], "result.json").read_text())
        assert written["curves"] == found["curves"]
        assert len(Path(found["folder"], "curves.csv").read_text().splitlines()) == 7

    def test_the_same_call_again_does_nothing(self, played, parent, scans):
        path = Path(played[0]["folder"], "random-s0", "curve.json")
        before = path.stat().st_mtime_ns
        with Project.open(parent) as project:
            again = simulation.simulate(project, spec(scans))
        assert again["curves"] == played[0]["curves"]
        assert path.stat().st_mtime_ns == before


@pytest.fixture
def one_run(parent, scans, tmp_path):
    """Make a run of its own folder, performed in this process."""

    def build(**changes: object) -> run.Run:
        told = spec(scans, **{"strategies": ["uncertainty"], "rounds": 1} | changes)
        with Project.open(parent) as project:
            shared = material.gather(project, told)
        mine = tmp_path / "runs"
        shutil.copytree(shared.folder / "test", mine / "test", dirs_exist_ok=True)
        return run.Run(told.arms[0], told.seeds[0], told, material.Material(**vars(shared) | {"folder": mine}))

    return build


class TestResuming:
    def test_a_run_stopped_twice_ends_like_one_that_was_not(self, one_run, tmp_path):
        straight = run.perform(one_run())
        shutil.rmtree(tmp_path / "runs")
        for stop_after in (4, 9):
            asked = itertools.count()
            with pytest.raises(Cancelled):
                run.perform(one_run(), cancelled=lambda asked=asked, last=stop_after: next(asked) > last)
        resumed = run.perform(one_run())
        assert [p.picked for p in resumed.points] == [p.picked for p in straight.points]
        assert [p.cases for p in resumed.points] == [p.cases for p in straight.points]

    def test_a_query_answered_by_half_is_not_asked_anew(self, one_run):
        todo = one_run()
        run.perform(todo)
        with Project.open(todo.folder) as child:
            first = run.queries(child)[1]
        longer = one_run(rounds=2)
        with Project.open(longer.folder) as child:
            rest = [case.id for case in child.pool()]
            child.log_event(run.QUERY, {"query": 2, "picked": rest[:2], "strategy": "x"})
            child.record_label(rest[0], np.zeros(child.case(rest[0]).shape, np.uint8), author="somebody")
        curve = run.perform(longer)
        assert [point.picked for point in curve.points] == [(), first, tuple(rest[:2])]
        assert [point.annotated for point in curve.points] == [3, 5, 7]

    def test_replaying_the_ranking_gives_the_query(self, one_run):
        todo = one_run(keep=True)
        curve = run.perform(todo)
        with Project.open(todo.folder) as child:
            picked = curve.points[1].picked
            assert picked == tuple(one.case for one in child.scores(curve.points[0].model)[:2])
            assert not set(picked) & {case.id for case in child.pool()}
            child.use(curve.points[0].model)
            assert not {one.case for one in rank_pool(child).scores} & set(picked)


class TestWhatIsHeldBack:
    def test_part_of_the_initial_cases_judges_and_counts(self, one_run):
        todo = one_run(initial=4, guard=2)
        curve = run.perform(todo)
        assert len(curve.guard) == 2
        assert set(curve.guard) < set(curve.initial)
        assert [point.annotated for point in curve.points] == [4, 6]
        with Project.open(todo.folder) as child:
            assert all(not set(curve.guard) & set(done.plan["train"]) for done in child.rounds())
            assert len(child.rounds()[0].plan["train"]) == 2

    def test_a_list_of_cases_is_the_test(self, parent, scans):
        with Project.open(parent) as project:
            listed = tuple(case.id for case in project.pool()[:2])
            found = material.gather(project, spec(scans, test_list=listed))
        assert found.test == 2
        assert not set(listed) & {one.id for one in found.sources}
        assert len(found.sources) == 12

    def test_test_scans_that_are_in_the_project_leave_the_runs(self, parent, scans, tmp_path):
        for kind in ("images", "labels"):
            (tmp_path / kind).mkdir()
            shutil.copy(scans / kind / "p03.nii.gz", tmp_path / kind / "renamed.nii.gz")
        with Project.open(parent) as project:
            told = spec(scans, test_images=tmp_path / "images", test_labels=tmp_path / "labels")
            found = material.gather(project, told)
        assert found.test == 1
        assert "p03" not in {one.id for one in found.sources}
        assert ("p03", "its scan is a test scan") in found.left_out

    def test_says_when_there_are_too_few_cases(self, parent, scans):
        with Project.open(parent) as project, pytest.raises(InputError, match=r"need 13 cases.*there are 12"):
            material.gather(project, spec(scans, rounds=5))


class TestTheSpecification:
    def test_initial_cases_depend_on_the_seed_and_not_on_the_order(self):
        cases = [f"p{k:02d}" for k in range(30)]
        assert run.initial_cases(cases, 5, 1) == run.initial_cases(cases[::-1], 5, 1)
        assert run.initial_cases(cases, 5, 1) != run.initial_cases(cases, 5, 2)

    def test_reads_an_arm(self):
        arm = parse_arm("random@phases=spl-al-spl@control=steps@ranking.region=lesion@beta=0")
        assert (arm.strategy, arm.phases, arm.control) == ("random", ("spl", "al", "spl"), "steps")
        assert arm.settings == {"ranking.region": "lesion", "ranking.beta": 0.0}

    def test_one_pass_of_the_cycle_asks_once_and_the_control_takes_nothing(self, one_run):
        todo = one_run(strategies=["random@phases=spl-al-spl"], initial=4)
        assert [(s.turn, s.phase, s.asks) for s in todo.stages] == [
            (0, "al", False),
            (1, "spl", False),
            (1, "al", True),
            (1, "spl", False),
        ]
        control = one_run(strategies=["random@phases=spl-al-spl@control=steps"], initial=4)
        assert {stage.phase for stage in control.stages} == {"al"}
        assert len(control.stages) == len(todo.stages)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"strategies": ["magic"]},
            {"strategies": ["random@beta"]},
            {"strategies": ["random", "random"]},
            {"strategies": ["random@phases=spl-spl"]},
            {"guard": 3},
            {"phases": ["spl"]},
            {"careless": {"shifted": 0.8, "missing": 0.4}},
            {"test_images": Path("somewhere")},
        ],
    )
    def test_refuses_what_makes_no_sense(self, scans, wrong):
        with pytest.raises(InputError):
            spec(scans, **wrong)

    def test_more_seeds_or_arms_go_on_in_the_same_folder_and_another_query_does_not(self, scans):
        base = spec(scans)
        assert base.setting("m") == spec(scans, seeds=[0, 1], strategies=["dasl"], rounds=3, jobs=1).setting("m")
        assert base.setting("m") != spec(scans, query=1).setting("m")
        assert base.setting("m") != base.setting("other material")


class TestACarelessAnnotator:
    MASK = np.zeros((6, 6, 6), np.uint8)
    MASK[1:3, 1:3, 1:3] = 1
    MASK[3, 3, 3] = 2

    def test_moves_labels_and_loses_what_leaves_the_scan(self):
        moved = annotator.spoilt(self.MASK, "shifted", 2, 2)
        assert (moved[3:5, 3:5, 3:5] == 1).all()
        assert moved[5, 5, 5] == 2
        assert np.count_nonzero(moved) == 9
        assert np.count_nonzero(annotator.spoilt(self.MASK, "shifted", 4, 2)) == 1

    def test_leaves_labels_out_and_swaps_classes(self):
        assert not annotator.spoilt(self.MASK, "missing", 2, 2).any()
        swapped = annotator.spoilt(self.MASK, "swapped", 2, 2)
        assert (swapped[self.MASK == 1] == 2).all()
        assert (swapped[self.MASK == 2] == 1).all()
        assert (swapped[self.MASK == 0] == 0).all()

    def test_spoils_about_the_share_and_the_same_cases_each_time(self):
        careless = Careless(shifted=0.3, missing=0.2)
        kinds = [annotator.mistake_of(f"p{k}", 7, careless) for k in range(1000)]
        assert kinds == [annotator.mistake_of(f"p{k}", 7, careless) for k in range(1000)]
        assert kinds.count("shifted") == pytest.approx(300, abs=50)
        assert kinds.count("missing") == pytest.approx(200, abs=50)

    def test_the_first_labels_stay_right_and_the_curve_counts_the_mistakes(self, one_run):
        curve = run.perform(one_run(careless={"missing": 1.0}))
        assert [len(point.mistakes) for point in curve.points] == [0, 2]
        assert curve.points[0].foreground_voxels == curve.points[1].foreground_voxels > 0


class TestTheSummary:
    def test_pairs_only_seeds_that_both_completed(self, scans, tmp_path):
        def curve(name: str, seed: int, *dice: float) -> Curve:
            points = tuple(Point(round=k, annotated=3 + 2 * k, dice=d) for k, d in enumerate(dice))
            return Curve(strategy=name, seed=seed, points=points)

        told = spec(scans, seeds=[0, 1, 2])
        drawn = [
            curve("default", 0, 0.5, 0.7, 0.9),
            curve("default", 1, 0.4, 0.6, 0.8),
            curve("default", 2, 0.4, 0.6),
            curve("random", 0, 0.5, 0.6, 0.7),
            curve("random", 1, 0.4, 0.5, 0.6),
            curve("random", 2, 0.4, 0.5, 0.6),
        ]
        empty = material.Material(tmp_path, None, None, (), 2)
        found = result.document(told, empty, drawn, {}, 1.0)
        assert found["aubc"]["default"] == {"mean": pytest.approx(0.65), "std": pytest.approx(0.0707, abs=1e-4), "n": 2}
        assert found["aubc"]["random"]["n"] == 3
        (pair,) = found["paired"]
        assert (pair["n"], pair["mean"], pair["final"]["mean"]) == (2, pytest.approx(0.1), pytest.approx(0.2))
        assert len(found["curves"]) == 17
