"""Fixtures of the window's tests: a screen, a small project, and a session on napari's viewer without a canvas."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import nibabel
import numpy as np
import pytest

from napari_dasl.project import Project, ProjectConfig, Score
from napari_dasl.project.instances import describe

if TYPE_CHECKING:
    from napari_dasl.widgets.session import Session

Template = tuple[Path, dict[str, np.ndarray]]
"""A project folder to copy, and the true label of each of its cases."""

MODEL = "r0001-test"
SHAPE = (12, 24, 20)
LESIONS = (
    (slice(2, 5), slice(3, 8), slice(3, 8)),
    (slice(6, 9), slice(12, 16), slice(10, 14)),
    (slice(9, 11), slice(18, 21), slice(2, 5)),
)
"""Where a network finds them in the projects of :func:`make_detected`."""


@pytest.fixture(scope="session", autouse=True)
def screen() -> Iterator[None]:
    """A screen with OpenGL. On Linux without one, a virtual one of our own; Qt's offscreen platform cannot do it."""
    os.environ.setdefault("LIBGL_ALWAYS_SOFTWARE", "1")
    if not sys.platform.startswith("linux"):
        yield
        return
    if os.environ.get("QT_QPA_PLATFORM") == "offscreen":
        del os.environ["QT_QPA_PLATFORM"]
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        yield
        return
    program = shutil.which("Xvfb")
    if program is None:
        pytest.fail("The window's tests need a screen: set DISPLAY, or install Xvfb (apt-get install xvfb).")
    command = [program, "-displayfd", "1", "-screen", "0", "1600x1000x24", "+extension", "GLX", "-nolisten", "tcp"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert server.stdout is not None
    number = server.stdout.readline().strip()
    if not number:
        server.kill()
        pytest.fail("Xvfb is installed but did not start.")
    os.environ["DISPLAY"] = f":{number}"
    atexit.register(server.terminate)  # Qt holds its connection until the process ends
    yield


@dataclass
class Study:
    """A project of phantom cubes with known truth."""

    project: Project
    folder: Path
    truth: dict[str, np.ndarray]

    def scan(self, case: str) -> Path:
        """Return the file of a scan, which a test may change."""
        return self.project.case(case).reference


def store_scan(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> None:
    """Write a canonical (z, y, x) array as NIfTI in the program's own orientation."""
    if affine is None:
        affine = np.diag([-1.0, -1.5, -2.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(array.transpose(2, 1, 0)), affine), path)


def phantom(seed: int, shape: tuple[int, int, int] = SHAPE) -> tuple[np.ndarray, np.ndarray]:
    """A noisy CT with one bright cube, and its label."""
    rng = np.random.default_rng(seed)
    scan = rng.normal(-60, 20, shape).astype(np.int16)
    label = np.zeros(shape, np.uint8)
    corner = [int(rng.integers(1, size - 6)) for size in shape]
    place = tuple(slice(at, at + 5) for at in corner)
    scan[place] = 90
    label[place] = 1
    return scan, label


def predict_all(project: Project, truth: dict[str, np.ndarray], model: str = MODEL, shift: int = 1) -> None:
    """Let a model predict every case a little wrongly, and rank the pool by name."""
    number = project.new_round("al", {}).number
    project.add_model(model, parent=None, round=number, guard={}, config={})
    project.finish_round(number, "done", {})
    project.use(model)
    for case, label in truth.items():
        foreground = np.roll(label > 0, shift, axis=1) * np.float32(0.9)
        foreground[label > 0] = np.maximum(foreground[label > 0], 0.4)
        probability = np.stack([1 - foreground, foreground, *[0 * foreground] * (len(project.config.classes) - 1)])
        project.save_prediction(case, model, probability.astype(np.float32), np.ones(4), {"uncertainty": 0.1})
    pool = [case.id for case in project.pool()]
    project.save_scores(
        model,
        [
            Score(case, model, rank, 0.5 - 0.01 * rank, 0.2, 0.6, words=f"unsure at one edge, number {rank}")
            for rank, case in enumerate(pool, 1)
        ],
    )


@pytest.fixture
def write_scan() -> Callable[..., None]:
    """Write a canonical array as NIfTI, with any affine."""
    return store_scan


@pytest.fixture
def cube_scan() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Make a phantom scan and its label from a seed."""
    return phantom


@pytest.fixture
def add_model() -> Callable[..., None]:
    """Let another model predict and rank every case."""
    return predict_all


def write_template(folder: Path, count: int, *, model: bool, classes: tuple[str, ...]) -> Template:
    """Make a project that holds its scans, so that it can be copied."""
    scans, truth = folder / "scans", {}
    scans.mkdir()
    for number in range(count):
        scan, label = phantom(number)
        truth[f"P-{number}"] = label
        store_scan(scans / f"P-{number}.nii.gz", scan)
    config = ProjectConfig(name="cubes", modality="CT", classes=classes, copy_scans=True)
    with Project.create(folder / "study", config) as project:
        project.add_cases([scans])
        for case in list(truth)[-2:]:
            project.record_label(case, truth[case], author="import", source="imported")
        if model:
            predict_all(project, truth)
    return folder / "study", truth


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Template]:
    """Projects that are made once and copied for every test that wants one like it."""
    made: dict[object, Template] = {}

    def template(count: int, *, model: bool, classes: tuple[str, ...]) -> Template:
        key = (count, model, classes)
        if key not in made:
            made[key] = write_template(tmp_path_factory.mktemp("template"), count, model=model, classes=classes)
        return made[key]

    return template


@pytest.fixture
def make_study(tmp_path: Path, templates: Callable[..., Template]) -> Iterator[Callable[..., Study]]:
    """Make a project of *count* phantom scans, two of them labelled, predicted and ranked unless *model* is False."""
    made: list[Study] = []

    def make(count: int = 5, *, model: bool = True, classes: tuple[str, ...] = ("nodule", "cyst")) -> Study:
        template, truth = templates(count, model=model, classes=classes)
        folder = Path(shutil.copytree(template, tmp_path / "study"))
        study = Study(Project.open(folder), folder, dict(truth))
        made.append(study)
        return study

    yield make
    for study in made:
        study.project.close()


@pytest.fixture
def study(make_study: Callable[..., Study]) -> Study:
    """Five cases: P-0, P-1, P-2 wait in this order, P-3 and P-4 are labelled."""
    return make_study()


@pytest.fixture
def make_session(qtbot) -> Iterator[Callable[..., Session]]:
    """Open a project in a session on a viewer without a canvas."""
    from napari.components import ViewerModel

    from napari_dasl.widgets.session import session_for

    made = []

    def make(folder: Path, viewer=None) -> Session:
        session = session_for(ViewerModel() if viewer is None else viewer)
        made.append(session)
        with qtbot.waitSignal(session.project_changed, timeout=10_000):
            session.open_project(folder)
        return session

    yield make
    for session in made:
        session.shutdown()


@pytest.fixture
def session(make_session, study: Study) -> Session:
    """A session with *study* open."""
    return make_session(study.folder)


@pytest.fixture
def messages(session: Session) -> list[tuple[str, str]]:
    """What the session said to the user, in order: (text, severity)."""
    said: list[tuple[str, str]] = []
    session.message.connect(lambda text, severity: said.append((text, severity)))
    return said


@pytest.fixture
def open_case(qtbot):
    """Open a case and wait until it is on the screen."""

    def open_case(session: Session, case_id: str) -> None:
        if session.case_id == case_id:
            return
        with qtbot.waitSignal(session.case_opened, timeout=10_000, check_params_cb=lambda shown: shown == case_id):
            session.open_case(case_id)

    return open_case


@pytest.fixture
def stroke():
    """Paint one voxel as napari's brush does; return its place."""

    def stroke(session: Session, corner: tuple[int, int, int] = (2, 3, 4), number: int = 1) -> tuple[int, int, int]:
        layer = session.layers["label"]
        layer.brush_size = 1
        layer.paint(corner, number)
        assert layer.data[corner] == number
        return corner

    return stroke


@pytest.fixture
def lesions() -> np.ndarray:
    """The lesions of :func:`make_detected` by their numbers (z, y, x)."""
    return lesion_ids()


def lesion_ids() -> np.ndarray:
    """Number the places of LESIONS from 1."""
    ids = np.zeros(SHAPE, np.uint16)
    for number, place in enumerate(LESIONS, 1):
        ids[place] = number
    return ids


def write_detected(folder: Path, config: ProjectConfig) -> Path:
    """Make a project of two scans in which a network found three lesions each, one of them below its threshold."""
    scans = folder / "scans"
    scans.mkdir()
    for name in ("P-0", "P-1"):
        store_scan(scans / f"{name}.nii.gz", np.full(SHAPE, -60, np.int16))
    with Project.create(folder / "study", config) as project:
        project.add_cases([scans])
        number = project.new_round("al", {}).number
        project.add_model(MODEL, parent=None, round=number, guard={}, config={})
        project.finish_round(number, "done", {})
        project.use(MODEL)
        ids = lesion_ids()
        found = describe(ids, {1: 1, 2: 1, 3: 1}, {1: 0.9, 2: 0.7, 3: 0.2}, (2.0, 1.5, 1.0), kept={1, 2})
        foreground = np.where((ids == 1) | (ids == 2), 0.9, 0.1).astype(np.float32)
        probability = np.stack([1 - foreground, foreground])
        for case in ("P-0", "P-1"):
            project.save_prediction(case, MODEL, probability, np.ones(4), {}, found, ids)
    return folder / "study"


@pytest.fixture(scope="session")
def detected_templates(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bool], Path]:
    """Such projects, made once: with labels that number lesions, or without."""

    @cache
    def template(instances: bool) -> Path:
        config = ProjectConfig(
            name="d",
            modality="CT",
            classes=("nodule",),
            instances=instances,
            network="nodule-rcnn",
            copy_scans=True,
        )
        return write_detected(tmp_path_factory.mktemp("detected"), config)

    return template


@pytest.fixture
def make_detected(tmp_path: Path, detected_templates: Callable[[bool], Path]) -> Iterator[Callable[..., Project]]:
    """Copy such a project."""
    made = []

    def make(*, instances: bool = False) -> Project:
        folder = shutil.copytree(detected_templates(instances), tmp_path / "detected")
        made.append(Project.open(folder))
        return made[-1]

    yield make
    for project in made:
        project.close()


@pytest.fixture
def detected(make_detected: Callable[..., Project]) -> Project:
    """A project whose labels hold classes."""
    return make_detected()


@pytest.fixture
def review_findings(qtbot, make_session, open_case):
    """The findings section on a project, with P-0 open and its findings read."""
    from napari_dasl.widgets.findings_panel import FindingsWidget

    def review(project: Project) -> FindingsWidget:
        session = make_session(project.folder)
        widget = FindingsWidget(session.viewer)
        qtbot.addWidget(widget)
        widget.show()
        open_case(session, "P-0")
        qtbot.waitUntil(lambda: widget.model.rowCount() == 2)
        return widget

    return review


@pytest.fixture
def panel(review_findings, detected: Project):
    """The findings section on *detected*."""
    return review_findings(detected)
