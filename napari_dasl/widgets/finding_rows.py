"""What the network found in the open case, as plain values: rows of the table and the voxels of each. No Qt here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dasl.errors import DaslError
from napari_dasl.widgets.pieces import Piece, pieces_of
from napari_dasl.widgets.prefetch import to_display

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from numpy.typing import NDArray

    from napari_dasl.inference.region.thresholds import Thresholds
    from napari_dasl.project import FindingReview, Project
    from napari_dasl.project.findings import FindingState
    from napari_dasl.project.instances import Instance
    from napari_dasl.widgets.prefetch import OpenCase

DECIDABLE: tuple[FindingState, ...] = ("proposed", "below", "labelled")
"""States in which nobody has said anything about a finding."""


@dataclass(frozen=True)
class FindingRow:
    """One finding.

    Attributes
    ----------
    id : int
        Its number in the prediction.
    label : int
        Value of its class, from 1.
    name : str
        Name of its class.
    score : float
        0 to 1.
    kept : bool
        Whether it is part of the prediction's outline.
    diameter : float
        Longest diameter in an axial slice, in mm.
    volume_ml : float
    state : str
        As in :class:`napari_dasl.project.findings.Finding`; but here a verdict comes before ``labelled``, and what is
        drawn on the screen counts, saved or not.
    """

    id: int
    label: int
    name: str
    score: float
    kept: bool
    diameter: float
    volume_ml: float
    state: FindingState


@dataclass(frozen=True)
class Findings:
    """The findings of the case on the screen.

    Attributes
    ----------
    case, model : str
        Whose they are; "" where nothing can be shown.
    created : datetime or None
        When they were predicted.
    classes : tuple of str
        Names of the classes.
    instances : tuple of Instance
        What was found.
    verdicts : dict of int to str
        Verdicts that count.
    pieces : dict of int to Piece
        Voxels of each on the display grid.
    thresholds : Thresholds or None
        From which score on a finding counts, and from which overlap two are one; None of a network that draws regions.
    """

    case: str = ""
    model: str = ""
    created: datetime | None = None
    classes: tuple[str, ...] = ()
    instances: tuple[Instance, ...] = ()
    verdicts: dict[int, FindingState] = field(default_factory=dict)
    pieces: dict[int, Piece] = field(default_factory=dict, compare=False, repr=False)
    thresholds: Thresholds | None = None

    def rows(self, drawn: frozenset[int] = frozenset()) -> tuple[FindingRow, ...]:
        """Return the rows, the surest first; *drawn* are the ids of those that the label on the screen holds."""
        return tuple(
            FindingRow(
                one.id,
                one.label,
                self.classes[one.label - 1] if one.label <= len(self.classes) else str(one.label),
                one.score,
                one.kept,
                one.diameter,
                one.volume_ml,
                self._state(one, drawn),
            )
            for one in sorted(self.instances, key=lambda one: (-one.score, one.id))
        )

    def _state(self, one: Instance, drawn: frozenset[int]) -> FindingState:
        if one.id in self.verdicts:
            return self.verdicts[one.id]
        if one.id in drawn:
            return "labelled"
        return "proposed" if one.kept else "below"

    def drawn(self, label: NDArray[Any], *, numbered: bool) -> frozenset[int]:
        """Return the ids of those that share a voxel with a lesion of their class in *label*.

        Parameters
        ----------
        label : (z, y, x) array
            What is on the screen.
        numbered : bool
            Whether its values number the lesions of the one class.
        """
        found = set()
        for one in self.instances:
            piece = self.pieces.get(one.id)
            if piece is not None:
                values = label[piece.region][piece.mask]
                if (values > 0).any() if numbered else (values == one.label).any():
                    found.add(one.id)
        return frozenset(found)

    def without(self, mask: NDArray[Any], refused: Collection[int]) -> NDArray[Any]:
        """Return a prediction (z, y, x) without the voxels of the *refused* findings; *mask* itself without any."""
        gone = [self.pieces[number] for number in refused if number in self.pieces]
        if not gone:
            return mask
        left = np.array(mask)
        for piece in gone:
            left[piece.region][piece.mask] = 0
        return left


def read_findings(project: Project, opened: OpenCase, earlier: Findings) -> Findings:
    """Read what was found in the open case, and what was said about it; called in a worker.

    Parameters
    ----------
    earlier : Findings
        Those before: what was found is taken from them where it is the same prediction, for measuring takes a moment.
    """
    shown, case = opened.shown, opened.case
    if shown is None or opened.blind:
        return Findings()
    same = (earlier.case, earlier.model, earlier.created) == (case.id, shown.model, shown.created)
    if same:
        instances, pieces, thresholds = earlier.instances, earlier.pieces, earlier.thresholds
    else:
        prediction = project.prediction(case.id, shown.model)
        if prediction is None:
            return Findings()
        instances = prediction.instances()
        pieces = pieces_of(to_display(prediction.instance_map(), opened.picture, case))
        thresholds = thresholds_of(project, shown.model)
    verdicts = verdicts_of(case.id, shown.model, instances, project.finding_reviews(case.id))
    classes = project.config.classes
    return Findings(case.id, shown.model, shown.created, classes, instances, verdicts, pieces, thresholds)


def thresholds_of(project: Project, model: str) -> Thresholds | None:
    """Return what decides which findings of a model count; None of one that draws regions, or that cannot be read."""
    from napari_dasl.inference.region.thresholds import FILE, Thresholds
    from napari_dasl.training.plan import TrainingPlan

    try:
        folder = project.model(model).folder
        if (folder / FILE).exists() or TrainingPlan.from_file(folder / "plan.toml").detector:
            return Thresholds.from_file(folder)
    except DaslError:  # the table is of use without it
        pass
    return None


def reject_words(*, learns: bool) -> str:
    """Return what rejecting a finding does; *learns*: whether the project's network learns from it as such."""
    if learns:
        return "There is no lesion: it is struck through, and the next round learns from it."
    return (
        "There is no lesion: it is struck through, and stays out of pseudo-labels. This kind of network learns "
        "nothing else from it; where you save a label, that teaches it."
    )


def unsure_words(faint: int, thresholds: Thresholds | None) -> tuple[str, str]:
    """Return the words beside the tick that lists *faint* findings, and its tooltip."""
    if thresholds is None:
        return f"Unsure ({faint})", "List what the network is too unsure of to draw it."
    least = f"{thresholds.score:.2f}" if 0.01 <= thresholds.score < 0.995 else f"{thresholds.score:.6g}"
    overlap = f"{thresholds.nms:g}"
    listed = f"List the {faint} that" if faint else "There is nothing that"
    # The count is in the tooltip alone: with it the line would be wider than the dock.
    return (
        f"Unsure < {least}",
        f"<qt>{listed} the network is too unsure of to draw: findings count from a score of {least}. "
        f"Boxes that overlap by more than {overlap} (IoU) are one finding. Both belong to this network.</qt>",
    )


def verdicts_of(
    case: str, model: str, instances: Sequence[Instance], reviews: Sequence[FindingReview]
) -> dict[int, FindingState]:
    """Return what was said about each finding that something was said about."""
    from napari_dasl.project.findings import states

    return {
        found.instance.id: found.state
        for found in states(case, model, instances, reviews)
        if found.state in ("accepted", "rejected")
    }


def summary_words(rows: Sequence[FindingRow]) -> str:
    """Return how many findings there are and how many were looked at, in a sentence."""
    drawn = [row for row in rows if row.kept]
    if not rows:
        return "The network found nothing here."
    counts = {state: sum(row.state == state for row in rows) for state in ("accepted", "rejected", "labelled")}
    parts = [
        f"{counts['accepted']} accepted" if counts["accepted"] else "",
        f"{counts['labelled']} in your label" if counts["labelled"] else "",
        f"{counts['rejected']} rejected" if counts["rejected"] else "",
    ]
    faint = len(rows) - len(drawn)
    words = f"{len(drawn)} finding{'' if len(drawn) == 1 else 's'}"
    told = ", ".join(part for part in parts if part)
    more = f" {faint} more {'is' if faint == 1 else 'are'} too unsure to be drawn." if faint else ""
    return f"{words}{f': {told}' if told else ''}.{more}"


def diameter_words(millimetres: float) -> str:
    """Return a diameter as a radiologist writes it."""
    return f"{millimetres:.1f} mm" if millimetres < 10 else f"{millimetres:.0f} mm"
