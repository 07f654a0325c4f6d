"""A project small enough that a round takes seconds: bright balls in noise, drawn and read like any MR scan."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest

from napari_dasl.events import Event
from napari_dasl.project import Project, Score, setup
from napari_dasl.rounds.conductor import run
from napari_dasl.rounds.guarding import before_cases, summarise
from napari_dasl.rounds.models import WEIGHTS
from napari_dasl.rounds.plan import GuardResult, PredictResult, RoundPlan, RoundResult
from napari_dasl.rounds.ranking import Ranking
from napari_dasl.training.cases import CaseData


def write_balls(folder: Path, count: int, *, seed: int = 0, first: int = 0) -> None:
    """Write *count* scans of one bright ball each to ``images``, and their masks to ``labels``."""
    rng = np.random.default_rng(seed)
    z, y, x = np.mgrid[:20, :24, :28]
    for number in range(first, first + count):
        centre, radius = rng.uniform((7, 8, 8), (13, 16, 20)), rng.uniform(3.0, 5.0)
        ball = (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 < radius**2
        image = 100 + 20 * rng.standard_normal(ball.shape) + 120 * ball
        affine = np.diag((1.0, 1.2, 1.5, 1.0))
        for kind, array in (("images", image.astype(np.int16)), ("labels", ball.astype(np.uint8))):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(array.T, affine), folder / kind / f"p{number:02d}.nii.gz")


@pytest.fixture(scope="session")
def balls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fourteen scans and masks."""
    folder = tmp_path_factory.mktemp("balls")
    write_balls(folder, 14)
    return folder


@pytest.fixture(scope="session")
def fresh(balls: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of the fourteen scans, eight of them labelled, two of these held back; copy it to work in it."""
    folder = tmp_path_factory.mktemp("fresh") / "study"
    made = setup.make(folder, images=balls / "images", labels=balls / "labels", modality="MR", annotated=8, seed=0)
    assert (made.cases, made.annotated, made.guard) == (14, 8, 2)
    return made.folder


@dataclass(frozen=True)
class Played:
    """A project after a first round with a real network: read it, or copy it to go on.

    ``heard`` is what the round reported.
    """

    folder: Path
    result: RoundResult
    heard: tuple[Event, ...]

    def copy(self, tmp_path: Path) -> Path:
        """Return the project of its own that a test may change."""
        return Path(shutil.copytree(self.folder, tmp_path / "study"))


def play(fresh: Path, folder: Path, plan: RoundPlan) -> Played:
    """Run the first round of a copy of *fresh*."""
    heard: list[Event] = []
    shutil.copytree(fresh, folder)
    with Project.open(folder) as found:
        result = run(found, plan, report=heard.append)
    return Played(folder, result, tuple(heard))


@pytest.fixture(scope="session")
def short_round(fresh: Path, tmp_path_factory: pytest.TempPathFactory) -> Played:
    """A round of four steps, after which the network knows nothing."""
    return play(fresh, tmp_path_factory.mktemp("short") / "study", RoundPlan(steps=4, device="cpu"))


@pytest.fixture(scope="session")
def long_round(fresh: Path, tmp_path_factory: pytest.TempPathFactory) -> Played:
    """A round long enough that the balls are found."""
    return play(fresh, tmp_path_factory.mktemp("long") / "study", RoundPlan(steps=80, device="cpu"))


@pytest.fixture
def project_folder(fresh: Path, tmp_path: Path) -> Path:
    """A project of one's own: fourteen scans, eight of them labelled, two of these held back."""
    return Path(shutil.copytree(fresh, tmp_path / "study"))


@pytest.fixture
def project(project_folder: Path):
    """The same project, open."""
    with Project.open(project_folder) as found:
        yield found


@dataclass
class Script:
    """A network that learns nothing: it says the losses and the guard Dice that a test wrote down for it.

    ``losses`` are of the pool's cases; ``dice`` of the guard set, one entry for every model that is trained.
    """

    losses: dict[str, dict[str, float] | float] = field(default_factory=dict)
    dice: list[dict[str, float] | float] = field(default_factory=list)
    empty: set[str] = field(default_factory=set)
    trained: list[list[CaseData]] = field(default_factory=list)
    during: Callable[[], None] = lambda: None

    def train(self, plan, cases, folder, **kwargs):
        """Write weights that depend on everything that training is given."""
        self.trained.append(list(cases))
        self.during()
        said = repr([(case.id, case.weight, case.human, case.label_key) for case in cases]) + repr(plan.seed)
        (folder / WEIGHTS).write_bytes(said.encode())
        return SimpleNamespace(weights=folder / WEIGHTS)

    def judge(self, stage, folder, found=None):
        """Give the next guard Dice of the script, compared with the parent's."""
        if not stage.guard:
            return GuardResult(dice=None)
        found = self.dice[len(self.trained) - 1]
        guard = {case.id: found if isinstance(found, float) else found[case.id] for case in stage.guard}
        return summarise(guard, before_cases(stage), {}, seed=0)

    def predict_cases(self, project, cases=None, *, model=None, **kwargs):
        """Store predictions with the losses of the script."""
        chosen = project.model(model) if model else project.active_model()
        names = cases if cases is not None else [c.id for c in project.pool()]
        todo = [name for name in names if project.prediction(name, chosen.id) is None]
        for name in todo:
            self.store(project, name, chosen.id)
        return PredictResult(predicted=todo, seconds=0.0)

    def store(self, project, name, model):
        """Store one prediction: a box of foreground, or nothing where the script says so."""
        probability = np.zeros((2, *project.case(name).shape), np.float32)
        probability[1, 8:12, 8:14, 8:16] = 0.0 if name in self.empty else 0.9
        probability[0] = 1 - probability[1]
        found = self.losses.get(name, 1.0)
        scores = dict(found) if isinstance(found, dict) else {"self_loss": found}
        project.save_prediction(name, model, probability, np.ones(8), {"empty": name in self.empty, **scores})

    def rank_and_store(self, project):
        """Rank the pool by name."""
        active = project.active_model()
        rows = [Score(c.id, active.id, n, 1.0 / n, None, None) for n, c in enumerate(project.pool(), 1)]
        project.save_scores(active.id, rows)
        return Ranking(tuple(rows), "by name")


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    """Rounds without a network: everything around training is real."""
    from napari_dasl.rounds import conductor, crossfit, fitting, taking

    script = Script()
    monkeypatch.setattr(fitting, "train", script.train)
    monkeypatch.setattr(crossfit, "train", script.train)
    monkeypatch.setattr(conductor, "judge", script.judge)
    monkeypatch.setattr(conductor, "keep", lambda folder, weights, plan, device: None)
    monkeypatch.setattr(conductor, "predict_cases", script.predict_cases)
    monkeypatch.setattr(taking, "predict_cases", script.predict_cases)
    monkeypatch.setattr(conductor, "rank_and_store", script.rank_and_store)
    return script


@pytest.fixture
def pool(project: Project) -> list[str]:
    """Ids of the unlabelled cases, six of them."""
    return [case.id for case in project.pool()]
