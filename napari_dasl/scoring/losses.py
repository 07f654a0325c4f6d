"""The loss of whole cases: what a trained network loses on a scan, against its label or against its own answer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_dasl.errors import Cancelled, InputError
from napari_dasl.events import Progress, never, silent
from napari_dasl.selfpaced import self_loss

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from napari_dasl.events import CancelCheck, Report
    from napari_dasl.inference import Predictor
    from napari_dasl.training.cases import CaseData

Against = Literal["target", "prediction"]
"""What the network's answer is compared with: the label (bootstrapping), or the answer itself (self-paced)."""

_MISSED = 1.0
"""What an answer without any lesion has lost of its Dice: all of it."""


def case_losses(
    predictor: Predictor,
    cases: Sequence[CaseData],
    *,
    against: Against = "target",
    report: Report = silent,
    cancelled: CancelCheck = never,
) -> NDArray[np.float64]:
    """The loss of each case, its whole scan predicted; see :func:`case_loss`.

    Parameters
    ----------
    predictor : Predictor
        The network, ready to predict.
    cases : sequence of CaseData
        Their arrays are read one case at a time.
    against : {"target", "prediction"}
        The label, or the network's own most probable classes.
    report, cancelled
        Told after every case; asked between two cases and between two windows.

    Returns
    -------
    array (n,) float64
        NaN for a case without a label where it is compared with the target.

    Raises
    ------
    InputError
        When *against* is neither, or a label does not fit its scan or the classes.
    Cancelled
        Between two cases, or two windows.
    """
    losses = np.full(len(cases), np.nan)
    for done, case in enumerate(cases):
        if cancelled():
            raise Cancelled("Stopped between two scans.", "Start again.")
        losses[done] = case_loss(predictor, case, against=against, cancelled=cancelled)
        report(Progress(name="predict", done=done + 1, total=len(cases), text=case.id))
    return losses


def stored_own_loss(scores: Mapping[str, Any]) -> float | None:
    """The loss of a prediction against itself as a difficulty, from its stored scores; None where they do not say it.

    What pseudo-labels are chosen by is ``self_loss`` itself, without what :func:`case_loss` adds to an empty answer:
    whether a network may learn from those is settled in its own place.
    """
    loss = scores.get("self_loss")
    return None if loss is None else float(loss) + (_MISSED if scores.get("empty") else 0.0)


def case_loss(
    predictor: Predictor, case: CaseData, *, against: Against = "target", cancelled: CancelCheck = never
) -> float:
    r"""What the network loses on one case, over all voxels of the scan's own grid.

    .. math:: \ell = 1 - \frac1{|K|} \sum_{k \in K} \frac{2 \sum_v p_{kv} t_{kv} + \epsilon}
        {\sum_v p_{kv} + \sum_v t_{kv} + \epsilon} - \frac1V \sum_v \log p_{t_v v}

    with the assembled probability :math:`p`, the target :math:`t` and the foreground classes :math:`K` that it holds:
    soft Dice and cross-entropy (:func:`napari_dasl.selfpaced.self_loss`, in float64), the same whatever loss the plan
    trains with, so that the numbers of two networks can be compared. A target without any lesion has the cross-entropy
    alone. No region is left out.

    The PET curriculum paper scores by the difference from the target (bootstrapping) or from the network's own
    prediction (self-paced). An own answer without any lesion has lost the whole of its Dice, 1, as the soft Dice of
    any empty target has: by cross-entropy alone a lesion that was missed altogether would be the easiest case of all.
    A detector is compared with itself finding by finding
    (:func:`napari_dasl.inference.region.confidence.own_loss`).

    Parameters
    ----------
    predictor, case, against, cancelled
        See :func:`case_losses`.

    Returns
    -------
    float
        At least 0; NaN without a label where it is compared with the target.
    """
    if against == "prediction":
        if predictor.plan.detector:
            predicted = predictor.predict(case.image(), case.spacing, cancelled=cancelled)
            return _against_itself(predicted.probability, predicted.self_loss)
        return _against_itself(predictor.case(case.image(), case.spacing, cancelled=cancelled))
    if against != "target":
        raise InputError(f"A loss against {against!r} is not known.", "Choose target or prediction.")
    label = case.label()
    if label is None:
        return math.nan
    # Where the values number lesions, all of them are of the first class.
    truth = (label > 0).astype(np.uint8) if case.instances else label
    return self_loss(predictor.case(case.image(), case.spacing, cancelled=cancelled), truth)


def _against_itself(probability: NDArray[np.floating], loss: float | None = None) -> float:
    """The loss of an answer against itself, *loss* where the network has its own, and what an empty one has lost."""
    found = self_loss(probability) if loss is None else loss
    return found if np.any(np.argmax(probability, axis=0)) else found + _MISSED
