"""The half of a project that pseudo-labels, findings, their review and the annotators' work go through."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from napari_dasl.errors import ProjectError
from napari_dasl.project import cases, efforts, findings, instances, labels, ledger, predictions, pseudo, scans, store
from napari_dasl.project.learning import Learning
from napari_dasl.project.records import FindingReview

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_dasl.project.findings import Finding
    from napari_dasl.project.instances import Box, IdMap
    from napari_dasl.project.predictions import Prediction
    from napari_dasl.project.records import (
        Case,
        Effort,
        FindingVerdict,
        PseudoLabel,
        PseudoReview,
        Revision,
    )

    Mask = NDArray[np.uint8] | NDArray[np.uint16]


class Reviewing(Learning):
    """Pseudo-labels and findings with their review, and annotation effort; the fields are those of `Learning`."""

    def save_pseudo_labels(self, round: int, rows: Sequence[PseudoLabel]) -> None:
        """Store all candidates of a round, weight 0 too, in place of those it had.

        A case that is labelled or rejected may be among them; it does not count (`Case.pseudo`).

        Raises
        ------
        ProjectError
            A case of the guard set, or a row that is wrong; see `pseudo.save`. Nothing has changed.
        """
        wanted = {row.model for row in rows}
        known = {model.id for model in ledger.models(self._store, self.folder)}
        predicted = {
            name: predictions.predicted(self.folder, name) if name in wanted else frozenset[str]() for name in known
        }
        pseudo.save(self._store, round, rows, predicted)

    def pseudo_labels(self, round: int | None = None) -> list[PseudoLabel]:
        """Candidates of a round by falling weight; with None of the newest round that has any."""
        return pseudo.every(self._store, round)

    def pseudo_mask(self, case_id: str) -> Mask:
        """Read the mask (z, y, x) of a case's newest pseudo-label, of whatever round: `label_from` its prediction.

        Raises
        ------
        ProjectError
            The case is unknown or never had a pseudo-label.
        StorageError
            The prediction is gone or damaged.
        """
        case = self.case(case_id)
        return self._pseudo_mask(_there(pseudo.newest(self._store, case.id), case.id))

    def accept_pseudo(
        self, case_id: str, *, author: str, seconds: float = 0.0, mask: NDArray[Any] | None = None
    ) -> Revision:
        """Make a case's newest pseudo-label a human label: a ``corrected`` revision, with its model and round.

        The revision and the review are stored together: after a killed process both are there or neither. Accepting
        again what is the case's label already adds nothing and returns the revision that is there.

        Parameters
        ----------
        case_id : str
            The case.
        author, seconds
            As in `Revision`.
        mask : array (z, y, x), optional
            The pseudo-label as the author corrected it; left out, as it is.

        Raises
        ------
        ProjectError
            The case is in the guard set, has another human label, was rejected (`allow_pseudo` takes that back), or
            is no candidate in the newest round that has pseudo-labels.
        GridMismatch, LabelError
            *mask* is no label of the case.
        StorageError
            The prediction is gone, or the label could not be stored. Nothing has changed.
        """
        case = self.case(case_id)
        if case.guard:
            raise pseudo.refused(case.id, "accepted", guard=True)
        label = _there(pseudo.candidate(self._store, case.id), case.id)
        given = self._pseudo_mask(label) if mask is None else np.asarray(mask)
        array = labels.checked(given, case, self.config.classes, instances=self.config.instances)
        if case.labelled:
            return self._accepted_before(case, label, array)
        origin = labels.Origin(
            author, "corrected", seconds, label.model, label.round, scans.current_sha256(case.series[0])
        )
        return labels.record(
            self._store,
            self.folder,
            case,
            array,
            origin,
            also=lambda connection, revision: pseudo.accept(connection, label, revision),
        )

    def reject_pseudo(self, case_id: str, *, author: str) -> None:
        """Never pseudo-label a case again; it stays in the pool. Rejecting again adds nothing.

        Raises
        ------
        ProjectError
            The case is in the guard set, has a human label, or is no candidate in the newest round that has
            pseudo-labels.
        """
        case = self.case(case_id)
        if case.guard or case.labelled:
            raise pseudo.refused(case.id, "rejected", guard=case.guard)
        pseudo.reject(self._store, _there(pseudo.candidate(self._store, case.id), case.id), author)

    def allow_pseudo(self, case_id: str, *, author: str) -> None:
        """Take the rejection of a case back; ProjectError where it is not rejected."""
        pseudo.allow(self._store, self.case(case_id).id, author)

    def rejected(self) -> frozenset[str]:
        """Ids of the cases that are never to be pseudo-labelled."""
        return pseudo.rejected(self._store)

    def record_audit(self, case_id: str, *, revision: int, dice: float, author: str) -> None:
        """Keep the Dice of a case's pseudo-label against *revision*, which was drawn without seeing it.

        The pseudo-label is the one that was accepted last, or else weighed last.

        Raises
        ------
        ProjectError
            The case never had a pseudo-label, or *dice* is not in [0, 1].
        LabelError
            The case has no such revision.
        """
        case = self.case(case_id)
        labels.chosen(labels.history(self._store, self.folder, case.id), case.id, revision)
        pseudo.audit(self._store, case.id, revision, dice, author)

    def pseudo_reviews(self) -> list[PseudoReview]:
        """Every verdict on a pseudo-label, oldest first."""
        return pseudo.reviews(self._store)

    # -- lesions one by one -----------------------------------------------------------------------------------------

    def class_map(self, label: NDArray[Any]) -> NDArray[Any]:
        """Class of each voxel of a label (z, y, x) of this project, whose values may number the lesions instead."""
        return (label > 0).astype(np.uint8) if self.config.instances else label

    def lesion_map(self, label: NDArray[Any]) -> tuple[IdMap, dict[int, int]]:
        """Id map (z, y, x) of a label of this project, and the class of each id.

        Labels that name classes have one lesion per connected component, see `instances.number_lesions`.
        """
        if not self.config.instances:
            return instances.number_lesions(label)
        ids = label.astype(np.uint16)
        return ids, dict.fromkeys(np.unique(ids[ids > 0]).tolist(), 1)

    def label_from(self, prediction: Prediction, rejected: Sequence[Box] = ()) -> Mask:
        """What a prediction is as a label (z, y, x) of this project: its label map, or the ids of what is in it.

        Findings at the *rejected* places (boxes in mm) are no part of it, whichever model the verdicts were on.
        """
        label = prediction.instance_map(kept=True) if self.config.instances else prediction.label()
        if not rejected:
            return label
        gone = [one.id for one in prediction.instances() if any(instances.same_place(one.box, b) for b in rejected)]
        return cast("Mask", np.where(np.isin(prediction.instance_map(), gone), 0, label).astype(label.dtype))

    def findings(self, case_id: str, model_id: str | None = None) -> tuple[Finding, ...]:
        """What a model (the active one) found in a case and where each finding stands, the surest first.

        Empty where it has not predicted the case.

        Raises
        ------
        ProjectError
            The case is unknown.
        StorageError
            The prediction is damaged.
        """
        case = self.case(case_id)
        found = self.prediction(case.id, model_id)
        if found is None:
            return ()
        rows = found.instances()
        overlapping = frozenset[int]()
        revision = labels.chosen(labels.history(self._store, self.folder, case.id), case.id, None)
        if revision is not None and rows:
            drawn = self.class_map(labels.load(revision, case))
            overlapping = findings.overlapping(found.instance_map(), {one.id: one.label for one in rows}, drawn)
        return findings.states(case.id, found.model, rows, findings.standing(self._store, case.id), overlapping)

    def review_finding(
        self, case_id: str, instance: int, verdict: FindingVerdict, *, author: str, model: str | None = None
    ) -> FindingReview:
        """Note what an annotator says about a finding of a model (the active one); its box is remembered.

        Parameters
        ----------
        case_id : str
            The case.
        instance : int
            Id of the finding.
        verdict : {"accepted", "rejected", "cleared"}
            ``cleared`` takes back what was said before about this place.
        author : str
            Who.
        model : str, optional
            Whose finding.

        Raises
        ------
        ProjectError
            There is no such case, prediction or finding, or *verdict* is none.
        """
        case = self.case(case_id)
        found = self.prediction(case.id, model)
        if found is None:
            raise ProjectError(f"Case {case.id} has no findings{f' by {model}' if model else ''}.", "Predict it first.")
        rows = {one.id: one for one in found.instances()}
        if instance not in rows:
            known = ", ".join(str(number) for number in list(rows)[:20]) or "none"
            raise ProjectError(f"Case {case.id} has no finding {instance}.", f"Findings of {found.model}: {known}.")
        one = rows[instance]
        review = FindingReview(case.id, found.model, instance, verdict, one.box, author, store.now(), one.label)
        findings.add(self._store, review)
        return review

    def finding_reviews(self, case: str | None = None) -> list[FindingReview]:
        """Verdicts on findings that count, of one case or all, oldest first; see `findings.standing`."""
        return findings.standing(self._store, case if case is None else self.case(case).id)

    def rejected_boxes(self, case_id: str) -> tuple[Box, ...]:
        """Where annotators said that there is no lesion: the boxes of a case's rejected findings, in mm.

        One that was accepted as another class is not among them, see `findings.rejected`.
        """
        return findings.rejected(self.finding_reviews(case_id))

    # -- the annotators' work ---------------------------------------------------------------------------------------

    def add_effort(self, effort: Effort) -> None:
        """Store the work that went into a label; ProjectError for an impossible one, see `efforts.add`."""
        efforts.add(self._store, effort)

    def efforts(self, case: str | None = None) -> list[Effort]:
        """All work, or that on one case, in the order it was stored."""
        return efforts.every(self._store, case if case is None else self.case(case).id)

    def annotation_seconds(self) -> float:
        """Active time of all annotators, in seconds; counts the time of labels that came without effort too."""
        return efforts.active_seconds(self._store)

    def case(self, case_id: str) -> Case:
        """One case; ProjectError for an unknown id."""
        return cases.one(self._store, self.folder, case_id)

    def _pseudo_mask(self, label: PseudoLabel) -> Mask:
        found = predictions.find(self.folder, label.case, label.model)
        if found is None:
            raise predictions.lost(self.folder, label.case, label.model)
        return self.label_from(found, self.rejected_boxes(label.case))

    def _accepted_before(self, case: Case, label: PseudoLabel, mask: Mask) -> Revision:
        """Return the revision that this pseudo-label became, where the case still has exactly this label."""
        newest = labels.chosen(labels.history(self._store, self.folder, case.id), case.id, None)
        assert newest is not None
        origin = (newest.source, newest.model, newest.round)
        if origin == ("corrected", label.model, label.round) and np.array_equal(labels.load(newest, case), mask):
            return newest
        raise pseudo.refused(case.id, "accepted", guard=False)


def _there(label: PseudoLabel | None, case_id: str) -> PseudoLabel:
    if label is None:
        raise ProjectError(f"Case {case_id} has no pseudo-label.", "Run a self-paced round, or label the case.")
    return label
