"""The nouns of a project as frozen values: what the window, the command line, rounds and the engine read from it.

Nothing here touches the disk. Paths are absolute, times are aware and in UTC, shapes are (z, y, x), spacings are
(sz, sy, sx) in mm.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from napari_dasl.volumes import FileStamp, Geometry

LabelSource = Literal["human", "imported", "pseudo", "corrected", "restored"]
RoundState = Literal["running", "done", "cancelled", "failed"]

LABEL_SOURCES: tuple[LabelSource, ...] = get_args(LabelSource)
ROUND_STATES: tuple[RoundState, ...] = get_args(RoundState)


class CaseState(StrEnum):
    """What a case is waiting for.

    A case has one state. The first of these that holds is it: its scan cannot be read; an edit is open (a draft
    exists); it is labelled and held back to judge models (guard); a human labelled it; it has a pseudo-label only;
    the annotator skipped it; nobody labelled it.
    """

    UNLABELLED = "unlabelled"
    DRAFT = "draft"
    LABELLED = "labelled"
    PSEUDO = "pseudo"
    GUARD = "guard"
    SKIPPED = "skipped"
    UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Series:
    """One scan of a case.

    Attributes
    ----------
    channel : str
        Name of the channel, such as ``image``, ``PET`` or ``CT``.
    path : Path
        The file, or the folder of a DICOM series.
    stamp : FileStamp
        Size, time of change and content hash when the scan was added.
    series_uid : str or None
        SeriesInstanceUID where the folder holds several DICOM series.
    """

    channel: str
    path: Path
    stamp: FileStamp
    series_uid: str | None = None


@dataclass(frozen=True)
class Case:
    """One patient or examination: its series, its grid and its state.

    Attributes
    ----------
    id : str
        ``[A-Za-z0-9._-]``, unique in the project.
    series : tuple of Series
        The reference first: labels and predictions lie on its grid.
    shape : (int, int, int)
        Voxels (z, y, x) of the reference.
    spacing : (float, float, float)
        (sz, sy, sx) in mm.
    guard : bool
        Whether the case is held back to judge models.
    state : CaseState
        See there.
    reason : str
        Why the case is unreadable or skipped; empty otherwise.
    geometry : Geometry
        Of the reference, on whose grid labels and predictions lie.
    labelled : bool
        Whether a human label exists, whatever the state says (a draft may lie over it).
    pseudo : bool
        Whether a pseudo-label exists.
    skipped : bool
        Whether the annotator skipped the case.
    """

    id: str
    series: tuple[Series, ...]
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    guard: bool
    state: CaseState
    reason: str
    geometry: Geometry
    labelled: bool = False
    pseudo: bool = False
    skipped: bool = False

    @property
    def reference(self) -> Path:
        """Path of the first series, on whose grid labels are drawn."""
        return self.series[0].path

    @property
    def readable(self) -> bool:
        """Whether the scan could be read when it was last tried."""
        return self.state is not CaseState.UNREADABLE


@dataclass(frozen=True)
class Revision:
    """One state of a case's label; revisions are never changed or deleted.

    Attributes
    ----------
    case : str
        Case id.
    number : int
        1, 2, 3 … per case; numbers may have gaps after a crash.
    sha256 : str
        Hash of the label file.
    author : str
        Who drew, imported or restored it.
    source : LabelSource
        Where it comes from; ``pseudo`` is the only one that is not a human label.
    model, round : str or None, int or None
        The model and round whose prediction it grew from.
    seconds : float
        Active time the annotator spent.
    created : datetime
        UTC.
    image_sha256 : str
        Hash of the scan it was drawn on.
    voxels_changed : int or None
        Voxels that differ from the revision before; None for a first revision.
    path : Path
        ``labels/<case>/0003.nii.gz``.
    """

    case: str
    number: int
    sha256: str
    author: str
    source: LabelSource
    model: str | None
    round: int | None
    seconds: float
    created: datetime
    image_sha256: str
    voxels_changed: int | None
    path: Path

    @property
    def human(self) -> bool:
        """Whether a person stands behind it."""
        return self.source != "pseudo"


@dataclass(frozen=True)
class Model:
    """One trained network and how it came to be.

    Attributes
    ----------
    id : str
        Such as ``r0001-3f2a``.
    parent : str or None
        The model its weights started from.
    round : int or None
        The round that trained it.
    created : datetime
        UTC.
    active : bool
        Whether predictions come from it now.
    promoted : bool
        Whether the guard set let it take over.
    guard : dict
        ``dice``, ``per_class``, ``cases`` on the guard set.
    config : dict
        What it was trained with.
    folder : Path
        Holds weights and plan.
    """

    id: str
    parent: str | None
    round: int | None
    created: datetime
    active: bool
    promoted: bool
    guard: dict[str, Any]
    config: dict[str, Any]
    folder: Path


@dataclass(frozen=True)
class Score:
    """Where a case stands in the list to label, and why.

    Attributes
    ----------
    case, model : str
        Case and the model whose prediction was scored; "" before there is a model.
    rank : int
        1 is labelled next.
    score : float or None
        What the rank was made from; larger is sooner.
    uncertainty, similarity, difficulty : float or None
        Eq. 2, the mean similarity of Eq. 3, and a difficulty measure; None where the strategy has none.
    parts : dict
        Every number that went into the score.
    words : str
        The reason in one sentence.
    """

    case: str
    model: str
    rank: int
    score: float | None
    uncertainty: float | None
    similarity: float | None
    difficulty: float | None = None
    parts: dict[str, float] = field(default_factory=dict)
    words: str = ""


@dataclass(frozen=True)
class Round:
    """One fine-tuning round; *finished* is None while it runs or after its process died."""

    number: int
    phase: str
    state: RoundState
    plan: dict[str, Any]
    result: dict[str, Any]
    started: datetime
    finished: datetime | None
    folder: Path


@dataclass(frozen=True, eq=False)
class Draft:
    """An edit that was not recorded yet: *mask* (z, y, x) uint8 or uint16, free *meta*, and when it was saved (UTC)."""

    mask: NDArray[np.uint8] | NDArray[np.uint16]
    meta: dict[str, Any]
    saved: datetime


@dataclass(frozen=True)
class LoggedEvent:
    """A line of the project's diary: *kind* with a free *payload*."""

    kind: str
    payload: dict[str, Any]
    created: datetime


class AddResult(NamedTuple):
    """Ids of the cases that were added, and (path, reason) of what was left out."""

    added: tuple[str, ...]
    skipped: tuple[tuple[Path, str], ...]


class ImportResult(NamedTuple):
    """Ids of the cases whose labels were imported, and (path, reason) of what was left out."""

    imported: tuple[str, ...]
    skipped: tuple[tuple[Path, str], ...]
