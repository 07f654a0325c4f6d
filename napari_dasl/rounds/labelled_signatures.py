"""Signatures of the labelled scans under a model, to compare unlabelled ones with; never those of the guard set.

A labelled scan needs no stored prediction, only its signature: a few thousand numbers. It is taken from the stored
prediction where there is one, and from ``cache/signatures/<model>/<case>.npy`` otherwise; the cache may be deleted at
any time. No torch.
"""

from __future__ import annotations

import io
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from napari_dasl.active.strategies import chance

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_dasl.active.candidates import SignatureSource
    from napari_dasl.project import Case, Project

MOST = 200
"""Labelled scans that are compared with; of more, this many are drawn by lot, the same ones every time."""


def compared(project: Project) -> list[Case]:
    """Return the labelled scans that unlabelled ones are compared with, at most 200, by id."""
    cases = project.training_cases()
    if len(cases) > MOST:
        cases = sorted(cases, key=lambda case: chance(f"compared:{case.id}", project.config.seed))[:MOST]
    return sorted(cases, key=lambda case: case.id)


def lacking(project: Project, model: str) -> list[Case]:
    """Return the scans of :func:`compared` whose signature under *model* is not known."""
    known = sources(project, model)
    return [case for case in compared(project) if case.id not in known]


def sources(project: Project, model: str) -> dict[str, SignatureSource]:
    """Return where to read the known signatures of the scans of :func:`compared`, by case id."""
    predicted = project.predicted(model)
    found: dict[str, SignatureSource] = {}
    for case in compared(project):
        prediction = project.prediction(case.id, model) if case.id in predicted else None
        if prediction is not None:
            found[case.id] = prediction.signature
        elif (vector := _load(project, model, case.id)) is not None:
            found[case.id] = partial(np.asarray, vector)
    return found


def keep(project: Project, model: str, case: str, vector: NDArray[np.float32]) -> None:
    """Store the signature of a labelled scan; StorageError where that fails."""
    from napari_dasl.volumes.atomic import storage_error, write_bytes_atomic

    target = _path(project, model, case)
    content = io.BytesIO()
    np.save(content, vector, allow_pickle=False)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, target) from error
    write_bytes_atomic(target, content.getvalue())


def _load(project: Project, model: str, case: str) -> NDArray[np.float32] | None:
    """Read a cached signature; None where there is none, it is damaged, or it was made for another grid."""
    try:
        vector: NDArray[np.float32] = np.load(_path(project, model, case), allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    length = len(project.config.classes) * project.config.ranking.signature**3
    return vector if vector.shape == (length,) else None


def _path(project: Project, model: str, case: str) -> Path:
    return project.folder / "cache" / "signatures" / model / f"{case}.npy"
