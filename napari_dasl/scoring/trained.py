"""Difficulties that networks are trained for: the loss on cases that they have not seen, and what cases still teach."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dasl.errors import InputError
from napari_dasl.events import Phase, Progress, never, silent
from napari_dasl.inference import Predictor
from napari_dasl.scoring.gains import gradient
from napari_dasl.scoring.losses import case_loss
from napari_dasl.training import device as devices
from napari_dasl.training import train
from napari_dasl.training.state import run_identity
from napari_dasl.training.weights import load_network
from napari_dasl.volumes.atomic import write_bytes_atomic

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_dasl.events import CancelCheck, Event, Report
    from napari_dasl.scoring.losses import Against
    from napari_dasl.training import Budget, Cache
    from napari_dasl.training.cases import CaseData
    from napari_dasl.training.plan import TrainingPlan

FOLDS = 3
NOTE, WEIGHTS = "fold.json", "weights.safetensors"

__all__ = ["FOLDS", "bootstrapping", "deal", "gradient"]


def bootstrapping(
    plan: TrainingPlan,
    cases: Sequence[CaseData],
    folder: Path,
    *,
    cache: Cache,
    budget: Budget | None = None,
    folds: int = FOLDS,
    groups: Sequence[str] | None = None,
    against: Against = "target",
    device: str = "auto",
    report: Report = silent,
    cancelled: CancelCheck = never,
) -> NDArray[np.float64]:
    """How much a network that has not seen a case loses on it.

    The PET curriculum paper scores its training cases by the loss of a network trained before, against the target
    (bootstrapping) or against the network's own prediction (self-paced). It does not say that the network had not
    seen them; a network knows what it was trained on by heart, and all of that looks easy, so each case is scored here
    by the network of a fold that left it out. With *folds* = 1 one network learns from all cases and scores them, as
    published.

    Parameters
    ----------
    plan : TrainingPlan
        Of every fold's network; its seed deals the folds, too.
    cases : sequence of CaseData
        Labelled. Pseudo-labelled ones (``human=False``) teach no network here, and are scored by the first fold's.
    folder : Path
        Gets ``fold-0``, ``fold-1`` … with the weights, and the losses of each fold. An interrupted run goes on from
        there; what other cases, labels, plans or budgets left is made anew.
    cache : Cache
        Of the same plan.
    budget : Budget, optional
        Of each fold's training; the plan's own steps for as many cases where not given.
    folds : int
        How many networks, at least 1; no more than there are groups.
    groups : sequence of str, optional
        One per case: cases of one group (a patient) are left out together. Each case is its own where not given.
    against : {"target", "prediction"}
        See :func:`napari_dasl.scoring.losses.case_loss`.
    device : str
    report, cancelled
        Told and asked at every step.

    Returns
    -------
    array (n,) float64
        In the order of *cases*; NaN for a case without a label where it is compared with the target.

    Raises
    ------
    InputError
        When there are too few cases for two folds, or *groups* are not as many.
    Cancelled
        What was done is kept.
    DaslError
        As training and prediction raise.
    """
    held_out = deal(cases, folds, plan.seed, groups)
    found = np.full(len(cases), np.nan)
    for number, members in enumerate(held_out):
        out = set(members) if folds > 1 else set()
        learnt = [case for index, case in enumerate(cases) if index not in out and case.human]
        fold = _Fold(plan, learnt, [cases[i] for i in members], folder / f"fold-{number}", budget, against, device)
        text = f"Measuring how hard the cases are, part {number + 1} of {len(held_out)}."
        report(Phase(name="prepare", text=text))
        found[members] = fold.losses(cache, report, cancelled)
    return found


def deal(cases: Sequence[CaseData], folds: int, seed: int, groups: Sequence[str] | None = None) -> list[list[int]]:
    """Positions of the cases of each fold; the lot depends on the seed and on the names of groups or cases alone.

    Groups are dealt one by one to the fold that has fewest cases, and pseudo-labelled cases go to the first.

    Raises
    ------
    InputError
        See :func:`bootstrapping`.
    """
    if folds < 1:
        raise InputError(f"{folds} folds cannot be dealt.", "Give at least 1, or 2 to score unseen cases.")
    if groups is not None and len(groups) != len(cases):
        raise InputError(f"There are {len(groups)} groups for {len(cases)} cases.", "Name the group of every case.")
    names = [case.id for case in cases] if groups is None else [str(group) for group in groups]
    members: dict[str, list[int]] = {}
    for index, case in enumerate(cases):
        if case.human:
            members.setdefault(names[index], []).append(index)
    if not members or (folds > 1 and len(members) < 2):
        raise InputError(
            f"There are {len(members)} labelled cases to deal into {folds} folds.",
            "Label at least two cases of different patients.",
        )
    by_lot = sorted(members, key=lambda name: hashlib.sha256(f"difficulty {seed} {name}".encode()).digest())
    dealt: list[list[int]] = [[] for _ in range(min(folds, len(by_lot)))]
    for name in by_lot:
        min(dealt, key=len).extend(members[name])
    dealt[0].extend(index for index, case in enumerate(cases) if not case.human)
    return dealt


@dataclass(frozen=True)
class _Fold:
    """One network, the cases it learns from, and those it scores."""

    plan: TrainingPlan
    learnt: Sequence[CaseData]
    scored: Sequence[CaseData]
    folder: Path
    budget: Budget | None
    against: Against
    device: str

    def losses(self, cache: Cache, report: Report, cancelled: CancelCheck) -> list[float]:
        """Train where it is not done, and score what is not scored yet."""
        note = self._note()
        done: dict[str, float | None] = note["losses"]
        if any(self._key(case) not in done for case in self.scored):
            predictor = self._predictor(cache, report, cancelled)
            for number, case in enumerate(self.scored):
                if self._key(case) not in done:
                    value = case_loss(predictor, case, against=self.against, cancelled=cancelled)
                    done[self._key(case)] = None if math.isnan(value) else value
                    self._write(note)
                report(Progress(name="guard", done=number + 1, total=len(self.scored), text=case.id))
        found = (done[self._key(case)] for case in self.scored)
        return [math.nan if value is None else value for value in found]

    def _predictor(self, cache: Cache, report: Report, cancelled: CancelCheck) -> Predictor:
        weights = self.folder / WEIGHTS
        if not weights.exists():

            def only_progress(event: Event) -> None:
                # The curves and phases of a fold would look like those of the round.
                if isinstance(event, Progress):
                    report(event)

            train(
                self.plan,
                self.learnt,
                self.folder,
                cache=cache,
                resume=True,
                budget=self.budget,
                device=self.device,
                report=only_progress,
                cancelled=cancelled,
            )
        place = devices.choose(self.device)
        network = load_network(weights, self.plan, place)
        return Predictor(network, self.plan, place, devices.measure_precision(self.plan, network, place))

    def _note(self) -> dict[str, Any]:
        """What is known of this fold; its folder is emptied where that belongs to another one."""
        identity = hashlib.sha256(
            f"{run_identity(self.plan, self.learnt, self.plan.seed)} {self.plan.steps} {self.budget}".encode()
        ).hexdigest()
        try:
            note: dict[str, Any] = json.loads((self.folder / NOTE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            note = {}
        if note.get("network") != identity:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True, exist_ok=True)
            note = {"network": identity, "losses": {}}
            self._write(note)
        return note

    def _write(self, note: dict[str, Any]) -> None:
        write_bytes_atomic(self.folder / NOTE, json.dumps(note, indent=1).encode())

    def _key(self, case: CaseData) -> str:
        told = f"{case.id} {case.key} {case.label_key} {self.against}"
        return f"{case.id} {hashlib.sha256(told.encode()).hexdigest()[:12]}"
