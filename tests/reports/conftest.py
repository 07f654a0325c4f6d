"""A project with a past (rounds, pseudo-labels, reviews, effort, rankings), written through the project's API."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import nibabel
import numpy as np
import pytest

from napari_dasl.project import Effort, Project, ProjectConfig, PseudoLabel, Score

CLASSES = ("liver", "<b>tumour</b> & $x_1$")
REASON = "The guard set lost <script>alert(1)</script> 0.030."
NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
CASES = tuple(f"p{number:02d}" for number in range(1, 21))
DICE = (0.60, 0.68, 0.65, 0.73, 0.75)


@pytest.fixture(scope="session")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty scans of noise."""
    folder = tmp_path_factory.mktemp("scans")
    for seed, name in enumerate(CASES):
        values = np.random.default_rng(seed).integers(0, 100, (4, 5, 6), dtype=np.int16)
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), folder / f"{name}.nii.gz")
    return folder


@pytest.fixture(scope="session")
def empty(scans: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project of the scans in which nothing was done yet; only read."""
    project = Project.create(tmp_path_factory.mktemp("empty") / "study", ProjectConfig(name="empty", modality="CT"))
    project.add_cases([scans])
    yield project
    project.close()


@pytest.fixture(scope="session")
def lived(scans: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a past; only read."""
    config = ProjectConfig(name="liver <study> & more", modality="CT", classes=CLASSES)
    project = Project.create(tmp_path_factory.mktemp("lived") / "study", config)
    project.add_cases([scans])
    _label(project)
    for number in range(1, 6):
        _round(project, number)
    _pseudo_labels(project)
    _rank(project)
    project.skip("p20", "no contrast agent")
    yield project
    project.close()


def _label(project: Project) -> None:
    """Ten labels, three of them the guard set; one ordinary label is of an older version, which knew seconds only."""
    for place, case in enumerate(CASES[:10]):
        mask = np.zeros(project.case(case).shape, dtype=np.uint8)
        mask[1, 1, :2] = 1
        project.record_label(case, mask, author="ann" if place % 2 else "bob", seconds=60.0 * (10 - place))
    guard = project.choose_guard(0.3, seed=0)
    older = next(case for case in CASES if case not in guard)
    for place, case in enumerate(CASES[:10]):
        if case == older:
            continue
        (revision,) = project.labels(case)
        project.add_effort(
            Effort(
                case=case,
                revision=revision.number,
                author=revision.author,
                inspect_seconds=12.0 * (10 - place),
                edit_seconds=48.0 * (10 - place),
                strokes=20 - place,
                undos=1,
                voxels_changed=None if place < 4 else (0 if place == 9 else 30 - place),
                draft_model=None if place < 4 else "r0001-aaaaaa",
                draft_round=None if place < 4 else 1,
                drawn_from_nothing=place < 4,
                accepted_unchanged=place == 9,
                blind=case in guard,
                audit=False,
                opened=NOW + timedelta(minutes=10 * place),
                first_edit=NOW + timedelta(minutes=10 * place + 1),
                saved=NOW + timedelta(minutes=10 * place + 8),
            )
        )
    project.add_effort(
        Effort("p11", None, "ann", 90.0, 0.0, 0, 0, None, None, None, False, False, False, False, NOW, None, NOW)
    )


def _round(project: Project, number: int) -> None:
    guard_cases = [case.id for case in project.guard_cases()]
    active = project.active_model()
    dice, before = DICE[number - 1], active.guard["dice"] if active else None
    promoted, model = number != 3, f"r{number:04d}-" + "abcde"[number - 1] * 6
    spl = number in (2, 4)
    project.new_round("spl" if spl else "al", {"train": {}})
    guard = {
        "dice": dice,
        "before": before,
        "per_class": {CLASSES[0]: dice + 0.1, CLASSES[1]: dice - 0.1},
        "cases": {case: dice + 0.01 * place for place, case in enumerate(guard_cases, -1)},
        "before_cases": dict.fromkeys(guard_cases, before) if before else {},
        "interval": (dice - before - 0.01, dice - before + 0.01) if before else None,
    }
    project.add_model(model, round=number, promoted=promoted, guard=guard)
    if promoted:
        project.use(model)
    result = {
        "phase": "spl" if spl else "al",
        "promoted": promoted,
        "guard": guard,
        "trained_on": {"human": 2 * number, "pseudo": 6 if spl else 0},
        "lambda": 0.1 + 0.02 * number if spl else None,
        "quantile": 0.1 * number if spl else None,
        "accuracy": before if spl else None,
        "pseudo": _taken() if spl else {},
        "seconds": 90.0,
        "reason": "" if promoted else REASON,
        "advice": "More labels still help." if number == 5 else "",
    }
    project.finish_round(number, "done", result)
    project.log_event(
        "ranking",
        {
            "strategy": "dasl",
            "model": model,
            "diagnosis": {"agreement": 0.9 + 0.01 * number, "against": -0.2, "variation": 0.06, "sentence": ""},
        },
    )


def _taken() -> dict[str, object]:
    return {
        "candidates": 9,
        "taken": 6,
        "effective": 3.5,
        "mean_weight": 0.58,
        "regularizer": "rescaled",
        "view": "own",
    }


def _pseudo_labels(project: Project) -> None:
    model, classes = "r0004-dddddd", 1 + len(CLASSES)
    rows = []
    for place, case in enumerate(CASES[10:19]):
        probability = np.full((classes, *project.case(case).shape), 1 / classes, dtype=np.float32)
        project.save_prediction(case, model, probability, np.zeros(8, dtype=np.float32), {})
        weight = max(0.0, 1 - 0.15 * place)
        rows.append(PseudoLabel(case, 4, model, weight, 0.02 * place, 0.18, NOW))
    project.save_pseudo_labels(4, rows)
    project.accept_pseudo("p11", author="ann")
    project.reject_pseudo("p12", author="ann")
    for case, dice in (("p13", 0.8), ("p14", 0.9)):
        mask = np.ones(project.case(case).shape, dtype=np.uint8)
        revision = project.record_label(case, mask, author="ann")
        project.record_audit(case, revision=revision.number, dice=dice, author="ann")


def _rank(project: Project) -> None:
    pool = [case.id for case in project.pool()]
    scores = [
        Score(case, "r0005-eeeeee", rank, 1 / rank, 0.3 / rank, 0.8 - 0.01 * rank, words=f"unsure & <i>{rank}</i>")
        for rank, case in enumerate(pool, 1)
    ]
    project.save_scores("r0005-eeeeee", scores)
