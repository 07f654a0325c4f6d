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

    from napari_dasl.project.instances import Box
    from napari_dasl.volumes import FileStamp, Geometry

LabelSource = Literal["human", "imported", "pseudo", "corrected", "restored"]
RoundState = Literal["running", "done", "cancelled", "failed"]
PseudoVerdict = Literal["", "accepted", "rejected"]
ReviewVerdict = Literal["accepted", "rejected", "allowed", "audited"]
FindingVerdict = Literal["accepted", "rejected", "cleared"]

LABEL_SOURCES: tuple[LabelSource, ...] = get_args(LabelSource)
ROUND_STATES: tuple[RoundState, ...] = get_args(RoundState)


class CaseState(StrEnum):
    """What a case is waiting for.

    A case has one state. The first of these that holds is it: its scan cannot be read; an edit is open (a draft
    exists); it is labelled and held back to judge models (guard); a human labelled it; it has a pseudo-label that
    counts; the annotator skipped it; nobody labelled it.
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
        Whether the network learns from its own label of this case: it has a weight above 0 in the newest round that
        has pseudo-labels, was not rejected, and no human labelled the case.
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
        Where it comes from; ``pseudo`` is the only one that is not a human label. It is read from old projects and
        never written: pseudo-labels are kept apart from labels (`PseudoLabel`).
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
    similar : tuple of (str, float, bool)
        The most similar cases: case, cosine of the signatures, and whether that case is labelled.
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
    similar: tuple[tuple[str, float, bool], ...] = ()


@dataclass(frozen=True)
class PseudoLabel:
    """A prediction that a self-paced phase may learn from, and how much it counts.

    Attributes
    ----------
    case : str
        Case id.
    round : int
        The round that weighed it.
    model : str
        The model whose stored prediction of the case is the mask.
    weight : float
        In [0, 1]; multiplies the case's loss in training. 0 for a candidate that was not taken.
    loss : float
        What the weight was made from.
    pace : float
        λ, in units of the loss.
    created : datetime
        UTC.
    verdict : {"", "accepted", "rejected"}
        What the annotator last said about the case's pseudo-labels.
    """

    case: str
    round: int
    model: str
    weight: float
    loss: float
    pace: float
    created: datetime
    verdict: PseudoVerdict = ""


@dataclass(frozen=True)
class PseudoReview:
    """What an annotator said about a pseudo-label; reviews are added, never changed.

    Attributes
    ----------
    case : str
        Case id.
    verdict : {"accepted", "rejected", "allowed", "audited"}
        ``allowed`` takes a rejection back; ``audited`` is a blind check.
    author : str
        Who.
    created : datetime
        UTC.
    round, model : int, str
        Of the pseudo-label.
    revision : int or None
        The label that was recorded with it, where there is one.
    dice : float or None
        Of a blind check: mean foreground Dice of the pseudo-label against what the annotator drew.
    """

    case: str
    verdict: ReviewVerdict
    author: str
    created: datetime
    round: int
    model: str
    revision: int | None = None
    dice: float | None = None


@dataclass(frozen=True)
class FindingReview:
    """What an annotator said about one finding; reviews are added, never changed.

    Attributes
    ----------
    case, model : str
        Whose finding it is.
    instance : int
        Its id in that model's prediction.
    verdict : {"accepted", "rejected", "cleared"}
        ``cleared`` takes the verdict before it back.
    box : Box
        Where it is, (z0, y0, x0, z1, y1, x1) in mm in the frame of `instances`: what later models are compared with.
    author : str
        Who.
    created : datetime
        UTC.
    label : int or None
        Value of its class; None for a verdict of an earlier version, which did not keep it.
    """

    case: str
    model: str
    instance: int
    verdict: FindingVerdict
    box: Box
    author: str
    created: datetime
    label: int | None = None


@dataclass(frozen=True)
class Effort:
    """The work that went into one label; pauses are no work.

    Attributes
    ----------
    case : str
        Case id.
    revision : int or None
        The label it ended in; None where none was recorded.
    author : str
        Who worked.
    inspect_seconds, edit_seconds : float
        Active time spent looking, and drawing.
    strokes, undos : int
        Edits made and taken back.
    voxels_changed : int or None
        Voxels that differ from the draft that was shown; None where none was shown.
    draft_model, draft_round : str or None, int or None
        Whose prediction the draft was.
    drawn_from_nothing : bool
        No draft was shown.
    accepted_unchanged : bool
        The draft became the label as it was.
    blind : bool
        Drafts were hidden on purpose, as for the guard set.
    audit : bool
        A blind check of a pseudo-label.
    opened, first_edit, saved : datetime, datetime or None, datetime
        UTC.
    """

    case: str
    revision: int | None
    author: str
    inspect_seconds: float
    edit_seconds: float
    strokes: int
    undos: int
    voxels_changed: int | None
    draft_model: str | None
    draft_round: int | None
    drawn_from_nothing: bool
    accepted_unchanged: bool
    blind: bool
    audit: bool
    opened: datetime
    first_edit: datetime | None
    saved: datetime

    @property
    def seconds(self) -> float:
        """Active time, looking and drawing."""
        return self.inspect_seconds + self.edit_seconds


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
