r"""How hard a scan, a slice or a case is to segment: what is measured, and which end of it is hard.

Sources: lesion size, contrast and gradient difficulty are those of Moreau et al., "Difficulty metrics study for
curriculum-based deep learning in the context of stroke lesion segmentation", ISBI 2023; bootstrapping and self-paced
scores, signal intensity and the agreement of readers those of the PET curriculum paper of this project. The measures
work on volumes (z, y, x) and on single slices (y, x) alike. "Lesion" is every voxel of a label above 0.

A measure is kept in its own unit; :func:`difficulty` turns it into a number that rises with hardness. NaN marks what
has no lesion, or is not known.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_dasl.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Mask = NDArray[np.bool_]

Need = Literal["label", "model", "losses", "readers"]
"""What a score is made from: a label (a prediction can stand in where it is all that is needed), a trained model, the
losses that were recorded while one was trained, the labels of several readers."""


@dataclass(frozen=True)
class Scorer:
    """One way to say how hard a sample is.

    Attributes
    ----------
    name : str
        What configuration files call it.
    title, sentence : str
        What a person reads: the head of a column, and what it says.
    unit : str
        Of the measure; empty for plain numbers.
    harder : {"low", "high"}
        Which end of the measure is hard.
    needs : frozenset of {"label", "model", "losses", "readers"}
        What it is made from.
    """

    name: str
    title: str
    sentence: str
    unit: str
    harder: Literal["low", "high"]
    needs: frozenset[Need]

    @property
    def on_prediction(self) -> bool:
        """Whether it can be measured on a prediction where there is no label; it must then be marked as such."""
        return self.needs == {"label"}

    def unit_of(self, slices: int) -> str:
        """The unit of the measure of a case of so many slices: one slice has an area, not a volume."""
        return "mm²" if self.name == "size" and slices == 1 else self.unit


SCORERS: dict[str, Scorer] = {
    each.name: each
    for each in (
        Scorer("size", "Lesion size", "Small lesions are hard.", "mm³", "low", frozenset({"label"})),
        Scorer(
            "contrast",
            "Contrast",
            "Lesions that look like the tissue around them are hard.",
            "",
            "low",
            frozenset({"label"}),
        ),
        Scorer(
            "gradient",
            "Learning gain",
            "Cases from which a trained network still learns little are hard.",
            "",
            "low",
            frozenset({"label", "model", "losses"}),
        ),
        Scorer(
            "bootstrapping",
            "Loss against the label",
            "Cases are hard where a network that has not seen them disagrees with the label.",
            "",
            "high",
            frozenset({"label", "model"}),
        ),
        Scorer(
            "self-paced",
            "Loss against itself",
            "Cases are hard where the network is far from its own answer, or finds nothing.",
            "",
            "high",
            frozenset({"model"}),
        ),
        Scorer(
            "intensity",
            "Signal in the lesion",
            "Faint lesions are hard.",
            "intensity",
            "low",
            frozenset({"label"}),
        ),
        Scorer(
            "agreement",
            "Agreement of readers",
            "Cases on which readers disagree are hard.",
            "Dice",
            "low",
            frozenset({"readers"}),
        ),
        Scorer(
            "uncertainty",
            "Uncertainty",
            "Cases of which the network is unsure are hard.",
            "",
            "high",
            frozenset({"model"}),
        ),
    )
}


def find_scorer(name: str) -> Scorer:
    """The scorer of that name.

    Raises
    ------
    InputError
        When there is none; the hint names the nearest.
    """
    if name in SCORERS:
        return SCORERS[name]
    near = difflib.get_close_matches(str(name), SCORERS, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"Choose one of {', '.join(SCORERS)}."
    raise InputError(f"There is no measure of difficulty named {name!r}.", hint)


def difficulty(values: ArrayLike, scorer: str | Scorer) -> NDArray[np.float64]:
    """The measure as a number that rises with hardness: itself where high is hard, its negative where low is.

    Parameters
    ----------
    values : array (n,)
        The measure of each sample, in its own unit. NaN: no lesion, or not known.
    scorer : str or Scorer
        A key of :data:`SCORERS`, or one of its values.

    Returns
    -------
    array (n,) float64
        NaN stays NaN; :func:`~napari_dasl.curriculum.orders.arrange` puts it last.

    Raises
    ------
    InputError
        When there is no such scorer, or the values are not one list of numbers.
    """
    chosen = scorer if isinstance(scorer, Scorer) else find_scorer(scorer)
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1:
        raise InputError(f"Difficulties come as one list, not as an array of {found.ndim} axes.", "Give one per case.")
    return -found if chosen.harder == "low" else found.copy()


def lesion_size(label: NDArray[Any], spacing: Sequence[float]) -> float:
    """How large the lesions are together.

    Parameters
    ----------
    label : array (z, y, x) or (y, x)
        0 is background.
    spacing : sequence of float
        Voxel size in mm, one per axis.

    Returns
    -------
    float
        mm³ of a volume, mm² of a slice; NaN without a lesion.

    Raises
    ------
    InputError
        When the spacing does not fit the array.
    """
    steps = _steps(label, spacing)
    voxels = int(np.count_nonzero(label > 0))
    return voxels * float(np.prod(steps)) if voxels else float("nan")


def slice_sizes(label: NDArray[Any], spacing: Sequence[float]) -> NDArray[np.float64]:
    """Area of the lesions on each axial slice.

    Parameters
    ----------
    label : array (z, y, x)
    spacing : (float, float, float)
        Voxel size in mm (z, y, x).

    Returns
    -------
    array (z,) float64
        mm²; NaN for slices without a lesion.

    Raises
    ------
    InputError
        When the label is no volume or the spacing does not fit it.
    """
    steps = _steps(label, spacing)
    if label.ndim != 3:
        raise InputError(f"A label of {label.ndim} axes has no slices.", "Give a volume (z, y, x).")
    voxels = np.count_nonzero(label > 0, axis=(1, 2))
    return np.where(voxels > 0, voxels * float(np.prod(steps[1:])), np.nan)


def fisher_contrast(
    image: NDArray[Any],
    label: NDArray[Any],
    spacing: Sequence[float],
    *,
    body: NDArray[Any] | None = None,
    shell_mm: float = 10.0,
    side: int | None = None,
) -> float:
    r"""How far the lesion stands out from healthy tissue: the Fisher ratio of Moreau et al.

    .. math:: F = \frac{(\mu_h - \mu_l)^2}{\sigma_h^2 + \sigma_l^2}

    with means and (population) variances of the lesion *l* and of healthy tissue *h*. With *side*, *h* is the body on
    the lesion's side of the middle, the lesion left out, as in the paper (one hemisphere). Without, it is a shell:
    voxels of the body outside the lesion whose centre is at most *shell_mm* from that of a lesion voxel.

    Parameters
    ----------
    image : array (z, y, x) or (y, x)
    label : array of the same shape
        0 is background.
    spacing : sequence of float
        Voxel size in mm, one per axis.
    body : array of the same shape, optional
        Non-zero inside the body (the brain, for a stroke); everything counts without it.
    shell_mm : float
        Thickness of the shell; thinner than one voxel, it is empty and the contrast unknown.
    side : int, optional
        The axis that runs from left to right. The middle is that of the body's extent along it; the lesion's side is
        the one with more of it; voxels on the middle belong to both.

    Returns
    -------
    float
        At least 0; infinite where both are constant and differ; NaN without a lesion or without healthy tissue.

    Raises
    ------
    InputError
        When the shapes differ, the spacing does not fit, or *shell_mm* or *side* is out of range.
    """
    steps = _steps(label, spacing)
    _same_shape(label, image, "image")
    if body is not None:
        _same_shape(label, body, "body mask")
    if not shell_mm > 0:
        raise InputError(f"A shell {shell_mm:g} mm thick holds no tissue.", "Give a thickness above 0 mm.")
    if side is not None and not -label.ndim <= side < label.ndim:
        raise InputError(f"Axis {side} does not exist in an array of {label.ndim} axes.", "Give the left-right axis.")
    lesion = np.asarray(label) > 0
    if not lesion.any():
        return float("nan")
    within = np.ones_like(lesion) if body is None else np.asarray(body) > 0
    healthy = _shell(lesion, steps, shell_mm) if side is None else _half(lesion, within, side % label.ndim)
    return _fisher(image[healthy & within & ~lesion], image[lesion])


def signal_intensity(image: NDArray[Any], label: NDArray[Any]) -> float:
    """Mean intensity within the lesions, in the unit of the image.

    Parameters
    ----------
    image, label : array of one shape
        0 is background in the label.

    Returns
    -------
    float
        NaN without a lesion.

    Raises
    ------
    InputError
        When the shapes differ.
    """
    _same_shape(label, image, "image")
    inside = image[np.asarray(label) > 0]
    return float(inside.mean(dtype=np.float64)) if inside.size else float("nan")


def reader_agreement(labels: Sequence[NDArray[Any]]) -> float:
    """Mean Dice over all pairs of readers, ``2 / (M (M − 1)) Σ_{i<j} 2|A_i ∩ A_j| / (|A_i| + |A_j|)``.

    Parameters
    ----------
    labels : sequence of M arrays of one shape
        What each reader drew; 0 is background. Two readers who drew nothing agree (Dice 1).

    Returns
    -------
    float
        In [0, 1]; NaN with fewer than two readers.

    Raises
    ------
    InputError
        When the shapes differ.
    """
    for one in labels:
        _same_shape(labels[0], one, "label of another reader")
    masks = [np.asarray(one) > 0 for one in labels]
    sizes = [int(np.count_nonzero(mask)) for mask in masks]
    if len(masks) < 2:
        return float("nan")
    dice = [
        2 * np.count_nonzero(masks[i] & masks[j]) / (sizes[i] + sizes[j]) if sizes[i] + sizes[j] else 1.0
        for i, j in combinations(range(len(masks)), 2)
    ]
    return float(np.mean(dice))


def gradient_difficulty(loss_changes: ArrayLike) -> NDArray[np.float64]:
    """The "gradient difficulty" of Moreau et al.: how much a trained network still gains from each sample.

    A converged model is trained on everything again (paper: 5 repeats of 100 epochs); the change of the loss that the
    update with each sample brings is averaged over epochs and repeats and scaled to [0, 1]. As in the paper a *large*
    value, a large decrease, is easy; the scorer ``gradient`` has ``harder="low"``.

    Parameters
    ----------
    loss_changes : array (repeats, epochs, samples)
        Loss after the update minus loss before it: negative is a decrease. NaN where a sample was not used.

    Returns
    -------
    array (samples,) float64
        1 for the largest mean decrease and 0 for the smallest; 0 for all where all are equal; NaN for a sample that
        was never used.

    Raises
    ------
    InputError
        When the array does not have three axes.
    """
    changes = np.asarray(loss_changes, dtype=np.float64)
    if changes.ndim != 3:
        raise InputError(
            f"Changes of the loss come as (repeats, epochs, samples), not with {changes.ndim} axes.",
            "Stack the repeats, and within them the epochs.",
        )
    used = ~np.isnan(changes)
    count = used.sum(axis=(0, 1))
    total = np.where(used, -changes, 0.0).sum(axis=(0, 1))
    decrease = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    if not count.any():
        return decrease
    low, high = np.nanmin(decrease), np.nanmax(decrease)
    return np.asarray((decrease - low) / (high - low if high > low else 1.0))


def _fisher(healthy: NDArray[Any], lesion: NDArray[Any]) -> float:
    if not healthy.size:
        return float("nan")
    h, l = healthy.astype(np.float64), lesion.astype(np.float64)  # noqa: E741 - the letters of the formula
    distance, spread = (h.mean() - l.mean()) ** 2, h.var() + l.var()
    if spread == 0:
        return float("inf") if distance > 0 else 0.0
    return float(distance / spread)


def _shell(lesion: Mask, steps: NDArray[np.float64], thickness: float) -> Mask:
    """Voxels at most *thickness* mm from the lesion, the lesion among them."""
    from scipy import ndimage  # loads slowly, and lists of names need none of it

    reach = np.floor(thickness / steps).astype(int) + 1

    def around(box: tuple[slice, ...]) -> tuple[slice, ...]:
        pairs = zip(box, reach, strict=True)
        return tuple(slice(max(0, along.start - int(more)), along.stop + int(more)) for along, more in pairs)

    def volume(box: tuple[slice, ...]) -> float:
        return math.prod(float(along.stop - along.start) for along in box)

    parts, _ = ndimage.label(lesion, structure=np.ones((3,) * lesion.ndim))
    boxes = [around(box) for box in ndimage.find_objects(parts)]
    del parts
    common = around(ndimage.find_objects(lesion.astype(np.int8))[0])
    shell = np.zeros_like(lesion)
    # Scattered lesions are measured one by one: what lies between them would cost most of the time.
    for box in boxes if sum(map(volume, boxes)) < volume(common) else [common]:
        # Distances are sums of squared steps; the last digit must not decide about a voxel at exactly the thickness.
        shell[box] |= ndimage.distance_transform_edt(~lesion[box], sampling=steps) <= thickness * (1 + 1e-9)
    return shell


def _half(lesion: Mask, body: Mask, axis: int) -> Mask:
    """The lesion's side of the middle of the body along *axis*."""
    others = tuple(k for k in range(lesion.ndim) if k != axis)
    extent = np.flatnonzero((body | lesion).any(axis=others))
    offset = np.arange(lesion.shape[axis]) - (extent[0] + extent[-1]) / 2
    profile = lesion.sum(axis=others)
    low = bool(profile[offset < 0].sum() >= profile[offset > 0].sum())
    keep = offset <= 0 if low else offset >= 0
    shape = [1] * lesion.ndim
    shape[axis] = -1
    return np.broadcast_to(keep.reshape(shape), lesion.shape)


def _steps(label: NDArray[Any], spacing: Sequence[float]) -> NDArray[np.float64]:
    steps = np.asarray(spacing, dtype=np.float64)
    if steps.shape != (label.ndim,) or not (np.isfinite(steps).all() and (steps > 0).all()):
        raise InputError(
            f"The spacing {tuple(spacing)} does not fit an array of {label.ndim} axes.",
            "Give one voxel size in mm, above 0, per axis.",
        )
    return steps


def _same_shape(label: NDArray[Any], other: NDArray[Any], what: str) -> None:
    if label.shape != other.shape:
        raise InputError(
            f"The {what} has shape {tuple(other.shape)}, the label {tuple(label.shape)}.",
            "Bring both to one grid first.",
        )
