"""How good the active model is: on the project's own cases, or on scans outside of it."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_dasl.errors import InputError, ProjectError
from napari_dasl.events import Phase, silent
from napari_dasl.metrics.cases import summarise
from napari_dasl.project import Project
from napari_dasl.project import truth as truths
from napari_dasl.rounds.comparing import compare
from napari_dasl.rounds.detecting import Findings
from napari_dasl.rounds.gather import case_data, current_revisions, labelled_data
from napari_dasl.rounds.models import find_model, predictor

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_dasl.events import Report
    from napari_dasl.metrics.cases import CaseMetrics
    from napari_dasl.training.cases import CaseData
    from napari_dasl.volumes import Geometry

Split = Literal["guard", "all", "pool"]


def evaluate_split(
    project: Project,
    split: Split,
    *,
    truth: Path | None = None,
    model: str | None = None,
    device: str = "auto",
    report: Report = silent,
) -> dict[str, Any]:
    """Compare a model with the labels of the project, or with the truth of its unlabelled cases.

    Parameters
    ----------
    project : Project
    split : {"guard", "all", "pool"}
        The guard set; every labelled case, the ones it was trained on too; the unlabelled ones.
    truth : Path, optional
        Folder of masks for ``"pool"``.
    model : str, optional
        The active one when left out.

    Returns
    -------
    dict
        As :func:`evaluate_folder`.
    """
    missing = 0
    if split == "pool":
        if truth is None:
            raise InputError("Unlabelled cases have no truth in the project.", "Name the folder of masks with --truth.")
        cases, missing = _pool_with_truth(project, truth)
    else:
        chosen = project.guard_cases() if split == "guard" else [*project.training_cases(), *project.guard_cases()]
        cases = labelled_data(project, current_revisions(project, chosen))
    if not cases:
        raise ProjectError(
            f"There is no case to compare in the split {split!r}.",
            "Label cases, or name masks with --images and --truth.",
        )
    return _evaluate(project, cases, model, device, report) | {"split": split, "without_truth": missing}


def evaluate_folder(
    project: Project,
    images: Path,
    truth: Path,
    *,
    model: str | None = None,
    device: str = "auto",
    report: Report = silent,
) -> dict[str, Any]:
    """Compare a model with the truth on scans outside the project.

    Parameters
    ----------
    images, truth : Path
        Folders; a mask has the name of its scan.

    Returns
    -------
    dict
        ``cases`` with every figure per class, ``mean``, ``misses``, ``n``, ``per_class``, and in ``skipped`` what had
        no truth or could not be read. A case whose scan the model was trained on says so in ``trained_on``. A network
        that detects adds ``detection``, as :meth:`napari_dasl.rounds.detecting.Findings.document`.
    """
    for folder in (images, truth):
        if not folder.is_dir():
            raise InputError(f"{folder} is no folder.", "Name a folder of scans and one of masks.")
    # A throw-away project knows every layout of folders, and refuses what does not fit with the same words.
    config = project.config.model_copy(update={"database": ""})
    with tempfile.TemporaryDirectory(prefix="napari-dasl-") as beside, Project.create(beside, config) as outside:
        added = outside.add_cases([images])
        imported = outside.import_labels(truth)
        cases = labelled_data(outside, current_revisions(outside, outside.training_cases()))
        if not cases:
            raise InputError(
                f"No scan of {images} has a mask in {truth}.",
                "A mask needs the name of its scan, such as P-014.nii.gz.",
            )
        document = _evaluate(project, cases, model, device, report)
        lonely = {case.id: case.reference for case in outside.cases() if not case.labelled}
    reasons = [*added.skipped, *imported.skipped]
    reasons += [(path, f"{truth} has no mask of that name") for name, path in lonely.items()]
    return document | {"skipped": [{"path": str(path), "reason": reason} for path, reason in reasons]}


def _pool_with_truth(project: Project, folder: Path) -> tuple[list[CaseData], int]:
    """Return the unlabelled cases that have a mask in *folder*, and how many have none."""
    pool = project.pool()
    scans = [series.path for case in project.cases() for series in case.series]
    matched, unclear = truths.match(folder, [truths.Wanted(case.id, case.reference) for case in pool], scans)
    if unclear:
        name, reason = next(iter(unclear.items()))
        raise InputError(f"The truth of {name} is unclear: {reason}.", "Keep one mask per case in the folder.")
    cases = [
        replace(case_data(project, case), label=_mask_reader(project, matched[case.id], case.geometry))
        for case in pool
        if case.id in matched
    ]
    return cases, len(pool) - len(cases)


def _evaluate(
    project: Project, cases: Sequence[CaseData], model: str | None, device: str, report: Report
) -> dict[str, Any]:
    chosen = find_model(project, model)
    report(Phase(name="guard", text=f"Comparing model {chosen.id} with the truth of {len(cases)} scans."))
    network, classes = predictor(chosen.folder, device), project.config.classes
    findings = Findings() if network.plan.detector else None
    rows = compare(network, cases, classes, report=report, seen=findings)
    document = {"model": chosen.id, **as_document(rows, set(chosen.config.get("trained_on", ())))}
    if findings is not None:
        document["detection"] = findings.document(classes, project.config.seed)
    return document


def as_document(rows: Sequence[CaseMetrics], trained_on: set[str] = frozenset()) -> dict[str, Any]:  # type: ignore[assignment]
    """Return the figures as the JSON of ``napari-dasl evaluate``.

    ``mean["dice"]`` is the mean over cases of the mean over classes that count.
    """
    table = summarise(rows)
    dice = [row.dice for row in rows if row.dice is not None]
    table["mean"]["dice"] = float(np.mean(dice)) if dice else None
    table["mean"]["dice_std"] = float(np.std(dice, ddof=1)) if len(dice) > 1 else None
    for row in table["cases"]:
        row["trained_on"] = row["case"] in trained_on
    return table


def _mask_reader(project: Project, path: Path, geometry: Geometry) -> Any:
    return lambda: project.read_label_file(path, geometry)
