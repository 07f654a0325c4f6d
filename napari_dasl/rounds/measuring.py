"""What is measured on a prediction while its probabilities are in memory at full precision; no torch.

Everything a ranking, a self-paced phase or the window may ask of a prediction is a number here, so that it can be asked
later without the voxels.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dasl.active import (
    Passes,
    RegionKind,
    aggregations,
    entropy_map,
    least_confident_map,
    mean_dice,
    region_mask,
)
from napari_dasl.inference import facts
from napari_dasl.rounds.comparing import label_map
from napari_dasl.scoring.measured import measure_label
from napari_dasl.selfpaced import self_loss

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

REGIONS: tuple[RegionKind, ...] = ("volume", "body", "lesion")
DRAWN = {"size": "lesion_size", "contrast": "lesion_contrast", "intensity": "lesion_intensity"}
"""Names of the measures of difficulty on what the network drew, by scorer."""
MAPS = {"uncertainty": least_confident_map, "entropy": entropy_map}
Spacing = tuple[float, float, float]


def measure(
    probability: NDArray[np.floating],
    image: NDArray[np.floating],
    spacing: Spacing,
    *,
    own_loss: float | None = None,
) -> dict[str, Any]:
    """Return everything that one pass tells.

    Parameters
    ----------
    probability : (K, z, y, x)
    image : (C, z, y, x)
    spacing : (sz, sy, sx) in mm
    own_loss : float, optional
        The loss of a network that detects against its own findings, which takes the place of the voxels' loss.

    Returns
    -------
    dict
        ``uncertainty_volume`` (Eq. 2 of Wang et al., MICCAI 2018), ``uncertainty_body``, ``uncertainty_lesion``,
        ``uncertainty_topq``, ``uncertainty_per_foreground``, the same five of the entropy in nats (``entropy_…``),
        ``class_scores`` (entropy per foreground class, a list), ``foreground_ml`` (expected foreground),
        ``self_loss`` (l_i of Eqs. 4 to 8), ``lesion_size``, ``lesion_contrast`` and ``lesion_intensity`` of what was
        drawn (:func:`napari_dasl.scoring.measure_label`; None where it is nothing), and the facts in which the window
        says why a case is where it is.
    """
    label = label_map(probability)
    drawn = int(np.count_nonzero(label))
    masks = {kind: region_mask(probability, image, kind, spacing) for kind in REGIONS if kind != "volume"}
    found: dict[str, Any] = {}
    for name, voxel_map in MAPS.items():
        values = voxel_map(probability)
        found[f"{name}_volume"] = aggregations.whole(values)
        found |= {f"{name}_{kind}": aggregations.within(values, mask) for kind, mask in masks.items()}
        found[f"{name}_topq"] = aggregations.top_q(values, drawn)
        found[f"{name}_per_foreground"] = aggregations.per_foreground(values, probability)
        if name == "entropy":
            found["class_scores"] = aggregations.per_class(values, probability).tolist()
    sizes = measure_label(DRAWN, image, label, spacing, body=masks["body"])
    voxel_ml = float(np.prod(np.asarray(spacing, dtype=np.float64))) / 1000
    return {
        **found,
        "foreground_ml": aggregations.foreground_mass(probability) * voxel_ml,
        "self_loss": self_loss(probability) if own_loss is None else own_loss,
        **{DRAWN[name]: value if math.isfinite(value) else None for name, value in sizes.items()},
        **dataclasses.asdict(facts(probability, label, spacing)),
    }


def measure_passes(probabilities: Iterable[NDArray[np.floating]]) -> dict[str, Any]:
    """Return what several passes with dropout tell: how far they differ.

    Parameters
    ----------
    probabilities : iterable of M arrays (K, z, y, x)
        At least two; taken one at a time.

    Returns
    -------
    dict
        ``mutual_information`` (BALD, per voxel of expected foreground), ``disagreement`` (share of passes against the
        majority, per voxel of expected foreground), ``pairwise_dice`` (mean over the pairs), and ``passes`` (M).
    """
    passes = Passes()
    for probability in probabilities:
        passes.add(probability)
    mean = passes.mean()
    return {
        "mutual_information": aggregations.per_foreground(passes.mutual_information(), mean),
        "disagreement": aggregations.per_foreground(passes.disagreement(), mean),
        "pairwise_dice": passes.pairwise_dice(),
        "passes": passes.count,
    }


def measure_previous(probability: NDArray[np.floating], before: NDArray[np.integer]) -> dict[str, Any]:
    """Return how a prediction stands to what the model before it drew in the same scan.

    Parameters
    ----------
    probability : (K, z, y, x)
    before : (z, y, x)
        The label map of the model before.

    Returns
    -------
    dict
        ``loss_previous``, the training loss of this prediction against that label, and ``agreement_previous``, the mean
        foreground Dice of the two labels.
    """
    return {
        "loss_previous": self_loss(probability, before),
        "agreement_previous": mean_dice(label_map(probability), before),
    }


def measure_teacher(probability: NDArray[np.floating], student: NDArray[np.floating]) -> dict[str, Any]:
    """Return ``loss_teacher``: the training loss of the last weights against the label that their average draws.

    Parameters
    ----------
    probability : (K, z, y, x)
        Of the averaged weights, the model's own.
    student : (K, z, y, x)
        Of the last weights.
    """
    return {"loss_teacher": self_loss(student, label_map(probability))}
