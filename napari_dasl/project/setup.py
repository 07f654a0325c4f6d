"""A new project from a folder of scans, in one call: what the command line's ``init`` and the window's dialog do."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_dasl import volumes
from napari_dasl.errors import DaslError, InputError, ProjectError
from napari_dasl.project import presets, truth
from napari_dasl.project.config import ProjectConfig, check
from napari_dasl.project.folder import Project

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_LOOKED_AT = 20
"""Masks read to find out which label values there are, where nobody has named the classes."""


@dataclass(frozen=True)
class Made:
    """What a new project holds.

    Attributes
    ----------
    folder : Path
    cases, annotated, guard : int
        Readable and unreadable cases; those with a label; those of the labelled that are the guard set.
    classes : tuple of str
        As given, named by ``dataset.json``, or counted in the masks.
    skipped : tuple of (Path, str)
        What was left out and why: files, and masks that do not fit.
    """

    folder: Path
    cases: int
    annotated: int
    guard: int
    classes: tuple[str, ...]
    skipped: tuple[tuple[Path, str], ...]


def make(
    folder: Path,
    *,
    images: Path,
    labels: Path | None = None,
    modality: str,
    classes: Sequence[str] | None = None,
    instances: bool = False,
    network: str | None = None,
    preset: str = "default",
    annotated: int | Sequence[str] | None = None,
    guard: float = 0.15,
    seed: int = 0,
    copy_scans: bool = False,
) -> Made:
    """Make a project, add its scans, import labels and choose the guard set; all of it or nothing.

    Parameters
    ----------
    folder : Path
        Must not exist, or be empty.
    images : Path
        Folder of scans in any layout of :mod:`napari_dasl.project.discovery`.
    labels : Path, optional
        Folder of masks.
    modality : {"CT", "PET", "MR"}
    classes : sequence of str, optional
        Names of the labels 1, 2, …. Without it, those of a ``dataset.json`` beside the images, else one per value.
    instances : bool
        The values of the masks number the lesions of the one class.
    network : str, optional
        The network to train; when left out, the one that the preset names, or the U-Net.
    preset : str
        One of `presets.names`; its settings are written into ``project.toml``.
    annotated : int or sequence of str, optional
        Import the labels of so many cases, drawn with *seed*, or of these; all when left out.
    guard : float
        Share of the labelled cases that is held back, at least 2.
    seed : int
    copy_scans : bool
        Copy the scans into the project instead of referring to them.

    Raises
    ------
    InputError
        There is no scan, a choice is unknown, or a label does not fit; nothing is left behind.
    """
    for name, path in (("images", images), ("labels", labels)):
        if path is not None and not path.exists():
            raise InputError(f"The {name} folder {path} does not exist.", "Check the path.")
    if labels is None and annotated is not None:
        raise InputError("There are no labels to choose from.", "Name the folder of masks with --labels.")
    # Values that number lesions say nothing about classes.
    named = tuple(classes) if classes else _class_names(images, None if instances else labels)
    config = _checked(
        folder,
        modality=modality,
        classes=named,
        instances=instances,
        network=network or presets.network(preset) or "unet",
        preset=preset,
        guard=guard,
        seed=seed,
    )
    existed = folder.exists()
    try:
        return _fill(folder, config, images, labels, annotated, copy_scans)
    except BaseException:
        # Only what this call made: Project.create refuses a folder with anything in it.
        if existed and folder.is_dir():
            for inner in folder.iterdir():
                shutil.rmtree(inner, ignore_errors=True) if inner.is_dir() else inner.unlink(missing_ok=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _checked(folder: Path, **values: object) -> ProjectConfig:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ProjectError(f"{folder} is not empty.", "Name a new folder, or open the project that is there.")
    return check({"name": folder.resolve().name, **values}, folder / "project.toml")


def _fill(
    folder: Path,
    config: ProjectConfig,
    images: Path,
    labels: Path | None,
    annotated: int | Sequence[str] | None,
    copy_scans: bool,
) -> Made:
    with Project.create(folder, config, copy_scans=copy_scans) as project:
        added = project.add_cases([images])
        skipped = list(added.skipped)
        if labels is not None:
            imported = project.import_labels(labels, annotated)
            skipped += imported.skipped
            if config.guard > 0 and len(imported.imported) >= 2:
                project.choose_guard(config.guard, config.seed)
        counts = project.counts()
    return Made(
        folder=folder,
        cases=counts["cases"],
        annotated=counts["annotated"],
        guard=counts["guard"],
        classes=config.classes,
        skipped=tuple(skipped),
    )


def _class_names(images: Path, labels: Path | None) -> tuple[str, ...]:
    named = _dataset_json(images)
    if named:
        return named
    if labels is None:
        return ("lesion",)
    highest = 0
    masks = truth.label_files(labels)
    for path in masks[:: max(1, len(masks) // _LOOKED_AT)]:
        try:
            highest = max(highest, int(np.max(volumes.read_mask(path), initial=0)))
        except DaslError:
            continue  # a mask that cannot be read is named when it is imported
    return ("lesion",) if highest <= 1 else tuple(f"class {k}" for k in range(1, highest + 1))


def _dataset_json(images: Path) -> tuple[str, ...]:
    """Names of the labels in the ``dataset.json`` of a Decathlon or nnU-Net data set, in the order of their values."""
    for path in (images / "dataset.json", images.parent / "dataset.json"):
        try:
            labels = json.loads(path.read_text(encoding="utf-8"))["labels"]
            # Decathlon has {"1": "anterior"}, nnU-Net {"anterior": 1}.
            pairs = [
                (int(key), str(value)) if str(key).isdecimal() else (int(value), str(key))
                for key, value in labels.items()
            ]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        values = dict(pairs)
        if sorted(values) == list(range(len(values))):
            return tuple(values[k] for k in range(1, len(values)))
    return ()
