"""Which label file belongs to which case, in a folder of labels that somebody else made.

A label of case ``p07`` may be called ``p07.nii.gz``, ``p07_mask.nii.gz`` or ``p07_seg.nii.gz``, or lie in the folder
``p07/`` under any name; where several lie there, the one that is named after the reference series is taken
(``PET_mask`` for ``PET_image``).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_dasl.project import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Wanted:
    """A case that looks for its label: its *id* and the path of the scan that labels are drawn on."""

    id: str
    reference: Path


@dataclass(frozen=True)
class _Index:
    by_stem: Mapping[str, list[Path]]
    by_folder: Mapping[str, list[Path]]
    by_core: Mapping[str, list[Path]]
    every: Sequence[Path]


def label_root(folder: Path) -> Path:
    """Folder of the training labels in a data set's root (Decathlon, nnU-Net), or *folder* itself."""
    inner = folder / "labelsTr"
    return inner if inner.is_dir() else folder


def label_files(folder: Path) -> list[Path]:
    """Every volume file in a folder of labels and below it, by name."""
    return sorted(path for path in label_root(folder).rglob("*") if names.is_volume(path) and path.is_file())


def match(folder: Path, wanted: Iterable[Wanted], scans: Iterable[Path]) -> tuple[dict[str, Path], dict[str, str]]:
    """Find the label file of each case.

    Parameters
    ----------
    folder : Path
        Searched with everything below it.
    wanted : iterable of Wanted
        The cases.
    scans : iterable of Path
        Files that are scans, and so never labels.

    Returns
    -------
    (dict, dict)
        Case id to label file; and case id to the reason where several files fit. A case in neither has no label.
    """
    taken = set(scans)
    index = _index([path for path in label_files(folder) if path not in taken])
    matched: dict[str, Path] = {}
    unclear: dict[str, str] = {}
    for case in wanted:
        fits = _fitting(case, index)
        if len(fits) == 1:
            matched[case.id] = fits[0]
        elif fits:
            unclear[case.id] = "several files may be its label: " + ", ".join(path.name for path in fits)
    return matched, unclear


def _index(files: Sequence[Path]) -> _Index:
    by_stem: dict[str, list[Path]] = defaultdict(list)
    by_folder: dict[str, list[Path]] = defaultdict(list)
    by_core: dict[str, list[Path]] = defaultdict(list)
    for path in files:
        by_stem[names.case_id(names.stem(path))].append(path)
        by_core[names.channel(names.stem(path))].append(path)
        for folder in (path.parent, path.parent.parent):
            by_folder[names.case_id(folder.name)].append(path)
    return _Index(by_stem, by_folder, by_core, files)


def _fitting(case: Wanted, index: _Index) -> list[Path]:
    """Files that fit best: by the whole name, by name and a word for a label, by folder, by the name's core."""
    reference = names.stem(case.reference)
    keys = {case.id, names.case_id(reference), names.case_id(reference.removesuffix("_0000"))}
    per_folder = names.says_channel(names.without(reference, case.reference.parent.name)) or (
        names.case_id(case.reference.parent.name) == case.id
    )
    if per_folder:  # then the scan's own name, such as "PET_image", says nothing about the case
        keys = {case.id}
    exact = [path for key in sorted(keys) for path in index.by_stem.get(key, [])]
    if exact:
        return exact
    prefixed = [
        path
        for path in index.every
        for rest in [_rest(names.case_id(names.stem(path)), keys)]
        if rest and all(names.says_label(word) for word in names.words(rest))
    ]
    if prefixed:
        return prefixed
    inside = index.by_folder.get(case.id, [])
    if not inside and per_folder:
        inside = [path for path in index.every if path.parent == case.reference.parent]
    if inside:
        return _like_reference(inside, case)
    return [] if per_folder else index.by_core.get(names.channel(reference), [])


def _rest(stem: str, keys: Iterable[str]) -> str:
    """What follows the longest of *keys* in *stem* after a separator, or nothing."""
    fits = [key for key in keys if stem.startswith(key) and stem[len(key) :][:1] in ("_", "-", ".")]
    return stem[len(max(fits, key=len)) + 1 :] if fits else ""


def _like_reference(inside: list[Path], case: Wanted) -> list[Path]:
    labels = [path for path in inside if names.says_label(names.stem(path))] or inside
    channel = _channel(case.reference, case.id)
    return [path for path in labels if _channel(path, case.id) == channel] or labels


def _channel(path: Path, case_id: str) -> str:
    return names.channel(names.without(names.stem(path), case_id)).casefold()
