"""Importing labels that somebody made elsewhere, as human labels."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from napari_dasl.errors import Cancelled, InputError, ProjectError
from napari_dasl.events import Progress, never, silent
from napari_dasl.project import names, truth
from napari_dasl.project.records import ImportResult

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from napari_dasl.events import CancelCheck, Report
    from napari_dasl.project.records import Case


def import_labels(
    folder: Path,
    every: Sequence[Case],
    chosen: Sequence[str] | int | None,
    seed: int,
    record: Callable[[str, Path], object],
    report: Report = silent,
    cancelled: CancelCheck = never,
) -> ImportResult:
    """Find the labels of cases in *folder* and hand them to *record*, one by one.

    Parameters
    ----------
    folder : Path
        Searched with everything below it.
    every : sequence of Case
        All cases of the project.
    chosen : sequence of str, int or None
        Ids of the cases to import; or how many, drawn by lot from those that have a label in *folder*; or None for all.
    seed : int
        Decides the lot.
    record : callable
        Takes case id and label file, and raises InputError for a label that does not fit.

    Raises
    ------
    ProjectError
        *folder* is missing, holds no label of any case, or *chosen* names a case that the project does not have.
    Cancelled
        The labels imported until then stay.
    """
    matched, left = _matched(folder, every)
    wanted, most = _wanted(chosen, every, matched, seed)
    labelled = {case.id for case in every if case.labelled}
    imported: list[str] = []
    for number, case_id in enumerate(wanted):
        if len(imported) >= most:
            break
        if cancelled():
            raise Cancelled(f"Importing labels was stopped after {len(imported)}.", "Import the rest later.")
        report(Progress(name="prepare", done=number, total=min(most, len(wanted)), text=f"Importing {case_id}"))
        if case_id not in matched:
            left.setdefault(case_id, "the folder has no label for it")
        elif case_id in labelled:
            left[case_id] = "the case has a human label already"
        else:
            try:
                record(case_id, matched[case_id])
                imported.append(case_id)
            except InputError as error:
                left[case_id] = str(error)
    skipped = tuple((matched.get(case_id, folder / case_id), reason) for case_id, reason in left.items())
    order = {case.id: position for position, case in enumerate(every)}
    return ImportResult(tuple(sorted(imported, key=order.__getitem__)), skipped)


def _matched(folder: Path, every: Sequence[Case]) -> tuple[dict[str, Path], dict[str, str]]:
    if not folder.is_dir():
        raise ProjectError(f"{folder} is no folder.", "Name the folder that holds the labels.")
    wanted = [truth.Wanted(case.id, case.reference) for case in every]
    scans = [series.path for case in every for series in case.series]
    matched, unclear = truth.match(folder, wanted, scans)
    if not matched and not unclear:
        example = next((path.name for path in folder.rglob("*") if names.is_volume(path)), None)
        found = f"it holds for example {example}" if example else "it holds no NIfTI, NRRD or MetaImage file"
        case = f", and a case is called {every[0].id}" if every else ", and the project has no case"
        raise ProjectError(
            f"No label in {folder} belongs to a case: {found}{case}.", "Name label files after their cases."
        )
    return matched, unclear


def _wanted(
    chosen: Sequence[str] | int | None, every: Sequence[Case], matched: dict[str, Path], seed: int
) -> tuple[list[str], int]:
    """Case ids to try, in order, and how many of them to import at most."""
    ids = [case.id for case in every]
    if chosen is None:
        return [case_id for case_id in ids if case_id in matched], len(ids)
    if isinstance(chosen, int):
        if chosen < 0:
            raise ProjectError(f"{chosen} labels cannot be imported.", "Give a number from 0 up.")
        free = [case.id for case in every if case.id in matched and not case.labelled]
        return sorted(free, key=lambda name: hashlib.sha256(f"import {seed} {name}".encode()).digest()), chosen
    unknown = [case_id for case_id in chosen if case_id not in set(ids)]
    if unknown:
        raise ProjectError(f"The project has no case {', '.join(unknown)}.", "Look at its cases with `status`.")
    return list(dict.fromkeys(chosen)), len(ids)
