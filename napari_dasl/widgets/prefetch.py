"""What is read for the screen, in workers: the picture, the label, the prediction, and the next case ahead of time.

The picture of a case (its scans, straightened and in display order) is kept uncompressed in ``cache/display`` of the
project, because unpacking a 512 × 512 × 134 scan takes seconds and reading it back takes a blink. Everything in that
folder can be deleted at any time.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dasl import volumes
from napari_dasl.errors import DaslError, VolumeError
from napari_dasl.widgets.display_cache import Channel, Picture, read_picture, scan_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from napari_dasl.project import Case, Project
    from napari_dasl.widgets.jobs import Jobs

__all__ = ["CaseReader", "Channel", "Maps", "OpenCase", "Picture", "Shown"]

Mask = Any  # (z, y, x) uint8 or uint16
_AHEAD = 3


@dataclass(frozen=True, eq=False)
class Shown:
    """A prediction as it is on the screen.

    Attributes
    ----------
    mask : (z, y, x) uint8 or uint16
        Predicted classes, or numbers of lesions where the project's labels number them, on the display grid.
    model, round, created
        Which model drew it, in which round it was trained, and when it was predicted.
    """

    mask: Mask
    model: str
    round: int | None
    created: datetime


@dataclass(frozen=True, eq=False)
class Maps:
    """*uncertainty* and *probability* (z, y, x) float32 of a prediction on the display grid, and where to look.

    ``regions`` are centres (z, y, x) of the uncertain regions, the largest first.
    """

    uncertainty: NDArray[np.float32]
    probability: NDArray[np.float32]
    regions: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, eq=False)
class OpenCase:
    """Everything that was read of a case when it was opened.

    Attributes
    ----------
    case : Case
        The record, with state and guard flag.
    picture : Picture
        The scans.
    saved_mask : (z, y, x) array or None
        Newest human label on the *scan* grid; None where there is none.
    mask : (z, y, x) array
        What the label layer starts with, on the *display* grid: the draft, else the saved label, else zeros.
    base : (z, y, x) array
        The saved label (or zeros) on the display grid: what *unsaved* is measured against.
    revision : int or None
        Number of the saved label.
    has_draft : bool
        Whether *mask* is unsaved work of an earlier time.
    draft_meta : dict
        What was kept with the draft: ``seconds``, ``strokes``, ``model`` …
    draft_saved : datetime or None
        When the draft that *mask* shows was written.
    shown : Shown or None
        The prediction; None where there is none and for guard cases, which are labelled blind.
    focus : (int, int, int)
        Voxel (z, y, x) of the display grid where the largest finding is; the middle where there is none.
    found : bool
        Whether *focus* lies on a finding.
    remarks : tuple of str
        What could not be read though the case could, such as a damaged draft.
    audit : bool
        Whether the case is drawn as a blind check: without its prediction, as guard cases are.
    """

    case: Case
    picture: Picture
    saved_mask: Mask | None
    mask: Mask
    base: Mask
    revision: int | None
    has_draft: bool
    draft_meta: dict[str, Any] = field(default_factory=dict)
    draft_saved: datetime | None = None
    shown: Shown | None = None
    focus: tuple[int, int, int] = (0, 0, 0)
    found: bool = False
    remarks: tuple[str, ...] = ()
    audit: bool = False

    @property
    def blind(self) -> bool:
        """Whether no prediction may be shown: a guard case, or a blind check."""
        return self.case.guard or self.audit

    def with_prediction(self, shown: Shown | None) -> OpenCase:
        """Return the case with another prediction."""
        return replace(self, shown=shown)

    def notices(self) -> list[str]:
        """Return what the annotator should know about the scan on the screen, in sentences."""
        lines = []
        if self.picture.oblique:
            lines.append("Oblique scan, shown on a straight grid. Your label is saved on the scan's own grid.")
        return [*lines, *self.picture.notes, *self.remarks]

    def to_scan_grid(self, mask: Mask) -> Mask:
        """Return a mask of the label layer on the grid of the scan; untouched voxels keep their saved value."""
        if not self.picture.oblique:
            return mask
        edited_from = self.saved_mask
        if edited_from is None:
            edited_from = np.zeros(self.case.geometry.canonical_shape, dtype=mask.dtype)
        return volumes.from_straight(mask, edited_from, self.case.geometry)


def to_display(mask: Mask, picture: Picture, case: Case) -> Mask:
    """Return a mask of the scan grid on the display grid, contiguous and writable."""
    if picture.oblique:
        mask = volumes.to_straight(mask, case.geometry, order=0)
    return np.array(mask, order="C")


def find_focus(*masks: Mask | None) -> tuple[tuple[int, int, int], bool]:
    """Return the voxel where the first non-empty mask has its largest cross-sections, per axis.

    Parameters
    ----------
    *masks : (z, y, x) array or None
        In order of preference.

    Returns
    -------
    ((int, int, int), bool)
        The voxel, and whether any mask held something; else the middle.
    """
    shape = (0, 0, 0)
    for mask in masks:
        if mask is None:
            continue
        shape = mask.shape
        slices = np.flatnonzero(mask.any(axis=(1, 2)))
        if not len(slices):
            continue
        slab = mask[slices[0] : slices[-1] + 1] != 0
        first = slices[0] + int(slab.sum(axis=(1, 2), dtype=np.int64).argmax())
        rows = int(slab.sum(axis=(0, 2), dtype=np.int64).argmax())
        columns = int(slab.sum(axis=(0, 1), dtype=np.int64).argmax())
        return (int(first), rows, columns), True
    return (shape[0] // 2, shape[1] // 2, shape[2] // 2), False


def uncertain_regions(
    uncertainty: NDArray[np.float32], threshold: float = 0.3, most: int = 50
) -> list[tuple[int, int, int]]:
    """Return centres of the connected uncertain regions, the largest volume first.

    Parameters
    ----------
    uncertainty : (z, y, x) float array
        1 - max_c p, so 0 where the model is sure and 0.5 where two classes are equally likely.
    threshold : float
        A voxel above it is uncertain; halved until something is found, down to 0.05.
    most : int
        Return at most so many.

    Returns
    -------
    list of (int, int, int)
        For each region its voxel nearest to the centre of mass, so that the jump always lands inside.
    """
    from scipy import ndimage

    unsure = uncertainty > threshold
    while threshold > 0.05 and not unsure.any():
        threshold /= 2
        unsure = uncertainty > threshold
    occupied = [np.flatnonzero(unsure.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    if not len(occupied[0]):
        return []
    # Labelling a whole CT takes seconds and a gigabyte; what is uncertain is a small part of it.
    corner = tuple(slice(int(places[0]), int(places[-1]) + 1) for places in occupied)
    labelled, count = ndimage.label(unsure[corner], structure=np.ones((3, 3, 3)))
    sizes = np.bincount(labelled[labelled > 0], minlength=count + 1)[1:]
    boxes = ndimage.find_objects(labelled)
    centres = []
    for index in np.argsort(-sizes, kind="stable")[:most]:
        box = boxes[index]
        inside = np.argwhere(labelled[box] == index + 1)
        nearest = inside[np.linalg.norm(inside - inside.mean(axis=0), axis=1).argmin()]
        centres.append(tuple(int(c.start + b.start + at) for c, b, at in zip(corner, box, nearest, strict=True)))
    return centres


def _read_shown(project: Project, case: Case, picture: Picture) -> Shown | None:
    if case.guard:
        return None
    prediction = project.prediction(case.id)
    if prediction is None:
        return None
    rounds = {model.id: model.round for model in project.models()}
    mask = to_display(project.label_from(prediction), picture, case)
    return Shown(mask, prediction.model, rounds.get(prediction.model), prediction.created)


def _read_maps(project: Project, opened: OpenCase) -> Maps | None:
    if opened.shown is None:
        return None
    prediction = project.prediction(opened.case.id, opened.shown.model)
    if prediction is None:
        return None
    probability = prediction.probability()
    foreground = probability.max(axis=0)
    # 1 - max_c p as Prediction.uncertainty has it, without reading the maps a second time
    uncertainty = 1 - np.maximum(foreground, 1 - probability.sum(axis=0))
    np.clip(uncertainty, 0, 1, out=uncertainty)
    if opened.picture.oblique:
        geometry = opened.case.geometry
        uncertainty = volumes.to_straight(uncertainty, geometry, order=1)
        foreground = volumes.to_straight(foreground, geometry, order=1)
    return Maps(uncertainty, foreground, tuple(uncertain_regions(uncertainty)))


class CaseReader:
    """Reads cases in workers and keeps the pictures and predictions of the last few, and of the next one.

    Parameters
    ----------
    jobs : Jobs
        Where the reading runs.
    """

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._project: Project | None = None
        self._pictures: OrderedDict[str, Picture] = OrderedDict()
        self._shown: OrderedDict[str, Shown | None] = OrderedDict()
        self._generation = 0

    def bind(self, project: Project | None) -> None:
        """Read from *project* from now on."""
        self._project = project
        self._pictures.clear()
        self.forget_predictions()

    def forget_predictions(self) -> None:
        """Read every prediction anew: a round is over."""
        self._generation += 1
        self._shown.clear()

    def open(
        self,
        case_id: str,
        unwritten: tuple[Mask, dict[str, Any]] | None,
        done: Callable[[OpenCase], object],
        failed: Callable[[DaslError], object],
        *,
        audit: bool = False,
    ) -> None:
        """Read *case_id* and hand it to *done*.

        Parameters
        ----------
        unwritten : (mask, meta) or None
            Unsaved work on the display grid that a worker has not yet written, which is newer than the disk.
        audit : bool
            Leave its prediction out; so does a draft that was begun this way.
        """
        project = self._project
        if project is None:
            return
        self._jobs.read(lambda: self._assemble(project, case_id, unwritten, audit), done, failed)

    def ahead(self, case_id: str) -> None:
        """Read picture and prediction of *case_id* into memory, if they are not there; errors wait until it opens."""
        project = self._project
        if project is None or (case_id in self._pictures and case_id in self._shown):
            return

        def read() -> None:
            case = project.case(case_id)
            if case.readable:
                self._prediction(project, case, self._picture(project, case))

        self._jobs.read(read, None, lambda _: None, urgent=False)

    def prediction(
        self, opened: OpenCase, done: Callable[[Shown | None], object], failed: Callable[[DaslError], object]
    ) -> None:
        """Read the newest prediction of the open case again."""
        project = self._project
        if project is not None:
            self._jobs.read(lambda: self._prediction(project, opened.case, opened.picture), done, failed)

    def maps(
        self, opened: OpenCase, done: Callable[[Maps | None], object], failed: Callable[[DaslError], object]
    ) -> None:
        """Read the uncertainty and probability of the prediction on the screen."""
        project = self._project
        if project is not None:
            self._jobs.read(lambda: _read_maps(project, opened), done, failed)

    # -- in the worker --------------------------------------------------------------------------------------------

    def _picture(self, project: Project, case: Case) -> Picture:
        picture = self._pictures.get(case.id)
        if picture is None or picture.key is None or picture.key != scan_key(case):
            picture = read_picture(project, case)
        self._keep(self._pictures, case.id, picture)
        return picture

    def _prediction(self, project: Project, case: Case, picture: Picture) -> Shown | None:
        if case.id in self._shown:
            return self._shown[case.id]
        generation = self._generation
        shown = _read_shown(project, case, picture)
        if generation == self._generation:
            self._keep(self._shown, case.id, shown)
        return shown

    @staticmethod
    def _keep(store: OrderedDict[str, Any], key: str, value: Any) -> None:
        store[key] = value
        store.move_to_end(key)
        while len(store) > _AHEAD:
            store.popitem(last=False)

    def _assemble(
        self, project: Project, case_id: str, unwritten: tuple[Mask, dict[str, Any]] | None, audit: bool
    ) -> OpenCase:
        case = project.case(case_id)
        try:
            picture = self._picture(project, case)
        except VolumeError as error:
            raise type(error)(f"{case_id} cannot be opened: {error.message}", error.hint) from error
        remarks: list[str] = []
        saved = project.read_label(case_id)
        numbers = [revision.number for revision in project.labels(case_id) if revision.human]
        shape = picture.channels[0].array.shape
        base = to_display(saved, picture, case) if saved is not None else np.zeros(shape, dtype=_dtype(project))
        mask, meta, has_draft, draft_saved = base, {}, False, None
        if unwritten is not None:
            (mask, meta), has_draft, draft_saved = unwritten, True, datetime.now(UTC)
        elif (draft := _or_remark(remarks, lambda: project.read_draft(case_id))) is not None:
            draft_saved = draft.saved
            mask, meta, has_draft = to_display(draft.mask, picture, case), dict(draft.meta), True
        audit = audit or bool(meta.get("audit"))
        shown = None if audit else _or_remark(remarks, lambda: self._prediction(project, case, picture))
        focus, found = find_focus(mask, shown.mask if shown is not None else None)
        return OpenCase(
            case=case,
            picture=picture,
            saved_mask=saved,
            mask=np.array(mask, dtype=_dtype(project)),
            base=base,
            revision=max(numbers, default=None),
            has_draft=has_draft,
            draft_meta=meta,
            draft_saved=draft_saved,
            shown=shown,
            focus=focus,
            found=found,
            remarks=tuple(remarks),
            audit=audit,
        )


def _or_remark(remarks: list[str], read: Callable[[], Any]) -> Any:
    """Return what *read* reads; where it fails, None and a remark, because the case can be labelled without it."""
    try:
        return read()
    except DaslError as error:
        remarks.append(str(error))
        return None


def _dtype(project: Project) -> type[np.unsignedinteger[Any]]:
    return np.uint16 if project.config.instances or len(project.config.classes) > 255 else np.uint8
