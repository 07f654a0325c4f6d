"""From which score a finding counts, and from which overlap two boxes are one: tuned on scans that are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_dasl.errors import InputError, ProjectError
from napari_dasl.inference.region.candidates import NMS, overlaps
from napari_dasl.inference.region.clustering import cluster
from napari_dasl.inference.region.linking import link
from napari_dasl.volumes.atomic import write_bytes_atomic

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_dasl.inference.region.candidates import Candidates, Finding
    from napari_dasl.project.instances import Instance

FILE = "detection.json"
"""Where a model's thresholds lie, in its folder."""

HIT = 0.1
"""Overlap (IoU) of a finding's and a lesion's box from which the lesion is found: that of average precision here."""

_LOWEST, _HIGHEST = 1e-3, 1 - 1e-6
"""Between which a tuned score lies: so far from 0 and 1 that q has a slope on both sides, and no nearer.

A narrower span stores another score than the one that was found best: sure networks score false alarms 0.97.
"""


class Thresholds(BaseModel):
    """What decides which findings of a detector count."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    score: float = Field(default=0.5, gt=0, lt=1, description="A finding counts from this score on.")
    nms: float = Field(default=0.3, gt=0, lt=1, description="Boxes that overlap by more (IoU) are one finding.")

    def confidence(self, score: float) -> float:
        """A score as a probability q: linear from 0 to 1/2 at the threshold, and from there to 1 at 1."""
        if score < self.score:
            return 0.5 * score / self.score
        return 0.5 + 0.5 * (score - self.score) / (1 - self.score)

    def to_file(self, folder: Path) -> None:
        """Write them into the folder of a model.

        Raises
        ------
        StorageError
            Where the file cannot be written.
        """
        write_bytes_atomic(folder / FILE, self.model_dump_json(indent=1).encode())

    @classmethod
    def from_file(cls, folder: Path) -> Thresholds:
        """Those in the folder of a model; 0.5 and 0.3 where none were tuned.

        Raises
        ------
        ProjectError
            Where the file cannot be read, or holds something else.
        """
        path = folder / FILE
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return cls()
        except (OSError, UnicodeDecodeError, ValidationError) as error:
            raise ProjectError(
                f"The thresholds of the model, {path}, cannot be read.",
                "Delete the file to use a score of 0.5, or train the model again.",
            ) from error


def findings(candidates: Candidates, overlap: float) -> list[Finding]:
    """The lesions of a scan, by falling score: windows clustered and, for a network of slices, slices linked."""
    found = cluster(candidates, overlap)
    return link(found) if candidates.dims == 2 else found


def tune(candidates: Sequence[Candidates], truth: Sequence[Sequence[Instance]]) -> Thresholds:
    """Choose the thresholds with the highest F1 = 2 TP / (2 TP + FP + FN) over all scans.

    A finding is a true positive where its box overlaps a lesion of its class that no better finding has taken by an
    IoU of at least :data:`HIT`. The score lies half way between the worst finding that counts and the best that does
    not. Of equal choices the one that finds more lesions is taken, then the overlap nearest to the default.

    Parameters
    ----------
    candidates : sequence of Candidates
        One per scan.
    truth : sequence of sequence of Instance
        The lesions of each scan, boxes in mm.

    Raises
    ------
    InputError
        When the two are not of the same scans, or there is no lesion.
    """
    lesions = sum(len(one) for one in truth)
    if len(candidates) != len(truth) or not lesions:
        raise InputError(
            f"Thresholds are to be tuned on {len(candidates)} predicted and {len(truth)} known scans "
            f"with {lesions} lesions.",
            "Give scans of which the lesions are known, and at least one lesion.",
        )
    default = Thresholds()
    best: tuple[float, int, float] = (-1.0, 0, 0.0)
    chosen = default
    for nms in NMS:
        hits = [_hits(findings(one, nms), one, known) for one, known in zip(candidates, truth, strict=True)]
        scores = np.concatenate([scores for scores, _ in hits])
        right = np.concatenate([right for _, right in hits])
        f1, found, score = _cut_off(scores, right, lesions)
        rank = (f1, found, -abs(nms - default.nms))
        if rank > best:
            best, chosen = rank, Thresholds(score=score, nms=nms)
    # Where nothing was found at all there is nothing to choose by.
    return chosen if best[1] else default


def _hits(
    found: Sequence[Finding], candidates: Candidates, truth: Sequence[Instance]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Scores of findings, by falling score, and whether each is the first to hit a lesion."""
    scores = np.array([one.score for one in found], dtype=np.float64)
    right = np.zeros(len(found), dtype=np.bool_)
    boxes = np.array([one.box for one in truth], dtype=np.float64).reshape(-1, 6)
    labels = np.array([one.label for one in truth], dtype=np.intp)
    free = np.ones(len(truth), dtype=np.bool_)
    for index, one in enumerate(found):
        iou = overlaps(candidates.grid.to_mm(one.corners()), boxes)[0]
        iou = np.where(free & (labels == one.label), iou, 0)
        if iou.size and iou.max() >= HIT:
            right[index] = True
            free[int(iou.argmax())] = False
    return scores, right


def _cut_off(scores: NDArray[np.float64], right: NDArray[np.bool_], lesions: int) -> tuple[float, int, float]:
    """The best F1, how many lesions it finds, and the score that reaches it."""
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], np.cumsum(right[order])
    if not len(scores):
        return 0.0, 0, 0.5
    f1 = 2 * hits / (np.arange(1, len(scores) + 1) + lesions)
    # Equal scores cannot be told apart by a threshold.
    f1[:-1][scores[:-1] == scores[1:]] = -1
    index = int(np.flatnonzero(f1 == f1.max())[-1])
    below = scores[index + 1] if index + 1 < len(scores) else 0.0
    score = float(np.clip((scores[index] + below) / 2, _LOWEST, _HIGHEST))
    return float(f1[index]), int(hits[index]), score
