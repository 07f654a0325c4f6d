"""What a simulation is made of: the parent's scans by reference, their truth, and test cases no run ever sees.

The parent project is read and never written. Every run gets a project of its own, and the test cases are one more.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_dasl.errors import InputError, ProjectError
from napari_dasl.project import Project, cases, truth
from napari_dasl.project import config as configuration
from napari_dasl.project.store import Store
from napari_dasl.rounds.gather import current_revisions
from napari_dasl.rounds.planning import PLAN_FILE
from napari_dasl.rounds.simulation.spec import AUTHOR, Simulation

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from napari_dasl.project import Case, ProjectConfig
    from napari_dasl.project.records import Series
    from napari_dasl.volumes import Geometry

FOLDER = "simulations"
TEST = "test"


@dataclass(frozen=True)
class Source:
    """A case that runs may learn from: its scans, its grid, and the file that says what is true."""

    id: str
    series: tuple[Series, ...]
    geometry: Geometry
    truth: Path


@dataclass(frozen=True)
class Material:
    """Everything that the runs of one simulation share.

    Attributes
    ----------
    folder : Path
        ``PROJECT/simulations/<hash>``.
    config : ProjectConfig
        The parent's.
    plan : str or None
        Text of the parent's ``plan.toml``; without it every run derives its own.
    sources : tuple of Source
        By id.
    test : int
        How many cases are in the test project, ``<folder>/test``.
    left_out : tuple of (str, str)
        Cases that take no part, and why.
    """

    folder: Path
    config: ProjectConfig
    plan: str | None
    sources: tuple[Source, ...]
    test: int
    left_out: tuple[tuple[str, str], ...] = ()


def gather(project: Project, spec: Simulation) -> Material:
    """Find the truth of the project's cases, set the test apart, and make the test project.

    Parameters
    ----------
    project : Project
        The parent; only read.
    spec : Simulation

    Raises
    ------
    InputError
        A truth is missing or unclear where it is needed, there is no test, or there are too few cases.
    """
    if not spec.truth.is_dir():
        raise InputError(f"The truth {spec.truth} is no folder.", "Name a folder of masks with --truth.")
    found = [case for case in project.cases() if case.readable]
    scans = [series.path for case in found for series in case.series]
    masks, unclear = truth.match(spec.truth, [truth.Wanted(case.id, case.reference) for case in found], scans)
    held = _held_cases(project, spec, found)
    outside = _outside(spec, project.config)
    hidden = {source.series[0].stamp.sha256 for source in outside}
    sources, left_out = [], []
    for case in found:
        if case.id in held:
            continue
        if case.series[0].stamp.sha256 in hidden:
            left_out.append((case.id, "its scan is a test scan"))
        elif case.id in masks:
            sources.append(Source(case.id, case.series, case.geometry, masks[case.id]))
        else:
            left_out.append((case.id, unclear.get(case.id, f"{spec.truth} has no mask of that name")))
    test = outside or _inside(project, spec, [case for case in found if case.id in held], masks)
    sources.sort(key=lambda one: one.id)
    _check_size(spec, len(sources))
    plan_file = project.folder / PLAN_FILE
    plan = plan_file.read_text(encoding="utf-8") if plan_file.exists() else None
    mark = _mark(project.config, plan, sources, test)
    folder = project.folder / FOLDER / spec.setting(mark)
    _make_test(folder / TEST, project.config, test)
    return Material(folder, project.config, plan, tuple(sources), len(test), tuple(left_out))


def open_or_make(folder: Path, config: ProjectConfig, sources: Iterable[Source], plan: str | None = None) -> Project:
    """Open the project of a run, or make it with every source as an unlabelled case; half-made ones are made anew.

    Parameters
    ----------
    folder : Path
    config : ProjectConfig
        Of the project to be made.
    sources : iterable of Source
        In this order.
    plan : str, optional
        Text of its ``plan.toml``.
    """
    if not (folder / configuration.FILE_NAME).exists():
        shutil.rmtree(folder, ignore_errors=True)
        Project.create(folder, config).close()
    if plan is not None and not (folder / PLAN_FILE).exists():
        (folder / PLAN_FILE).write_text(plan, encoding="utf-8")
    project = Project.open(folder)
    if not project.cases():
        database = Store(folder)
        try:
            cases.insert(database, folder, [(one.id, one.series, one.geometry) for one in sources])
        finally:
            database.close()
    return project


def _held_cases(project: Project, spec: Simulation, found: Sequence[Case]) -> set[str]:
    """Ids of the parent's cases that are the test; none where the test is a folder."""
    if spec.test_images is not None:
        return set()
    if not spec.test_list:
        return {case.id for case in project.guard_cases()}
    known = {case.id for case in found}
    for name in spec.test_list:
        if name not in known:
            raise ProjectError(
                f"The test case {name} is not in {project.config.name}.", cases.near_miss(name, sorted(known), "cases")
            )
    return set(spec.test_list)


def _inside(project: Project, spec: Simulation, held: Sequence[Case], masks: dict[str, Path]) -> list[Source]:
    """The test cases of the parent: listed ones with the truth, or the guard set with its own human labels."""
    if not held:
        raise InputError(
            f"{project.config.name} has no guard set to test on.",
            "Name test scans with --test-images and --test-labels, or cases with --test-list.",
        )
    if spec.test_list:
        lacking = [case.id for case in held if case.id not in masks]
        if lacking:
            raise InputError(f"The test case {lacking[0]} has no mask in {spec.truth}.", "Add it, or drop the case.")
        paths = {case.id: masks[case.id] for case in held}
    else:
        numbers = current_revisions(project, held)
        paths = {
            name: revision.path
            for name, number in numbers.items()
            for revision in project.labels(name)
            if revision.number == number
        }
    return [Source(case.id, case.series, case.geometry, paths[case.id]) for case in held]


def _outside(spec: Simulation, config: ProjectConfig) -> list[Source]:
    """The test cases of a folder; none where the test is inside the project."""
    images, labels = spec.test_images, spec.test_labels
    if images is None or labels is None:
        return []
    for folder in (images, labels):
        if not folder.is_dir():
            raise InputError(f"{folder} is no folder.", "Name a folder of scans and one of masks.")
    # A throw-away project knows every layout of folders, and refuses what does not fit with the same words.
    scratch_config = config.model_copy(update={"database": "", "copy_scans": False})
    with (
        tempfile.TemporaryDirectory(prefix="napari-dasl-") as beside,
        Project.create(beside, scratch_config) as scratch,
    ):
        scratch.add_cases([images])
        found = scratch.cases()
    wanted = [truth.Wanted(case.id, case.reference) for case in found]
    masks, _ = truth.match(labels, wanted, [one.path for case in found for one in case.series])
    test = [Source(case.id, case.series, case.geometry, masks[case.id]) for case in found if case.id in masks]
    if not test:
        raise InputError(f"No scan of {images} has a mask in {labels}.", "A mask needs the name of its scan.")
    return test


def _check_size(spec: Simulation, available: int) -> None:
    wanted = spec.initial + spec.query * spec.rounds
    if wanted > available:
        raise InputError(
            f"{spec.initial} initial cases and {spec.rounds} queries of {spec.query} need {wanted} cases with a truth, "
            f"and there are {available}.",
            "Ask for fewer rounds or smaller queries.",
        )


def _make_test(folder: Path, config: ProjectConfig, test: Sequence[Source]) -> None:
    """Make the project of the test cases, each with its truth as label; what is there already is kept."""
    config = config.model_copy(update={"name": TEST, "database": "", "guard": 0.0, "copy_scans": False})
    masks = {source.id: source.truth for source in test}
    with open_or_make(folder, config, test) as project:
        for case in project.cases():
            if not case.labelled:
                project.record_label(case.id, masks[case.id], author=AUTHOR)


def _mark(config: ProjectConfig, plan: str | None, sources: Iterable[Source], test: Iterable[Source]) -> str:
    """Hash of what is learned from and how; only what ``project.toml`` says itself, so that new defaults change it not.

    Settings of the window, the name and the seed of the parent have no part in a simulation.
    """
    told = config.model_dump_json(
        exclude_unset=True, exclude={"name", "seed", "guard", "database", "copy_scans", "engine", "preset"}
    )
    parts = [told, plan or ""]
    parts += [f"{one.id} {one.series[0].stamp.sha256} {one.truth}" for one in sources]
    parts += [f"test {one.id} {one.series[0].stamp.sha256} {one.truth}" for one in test]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
