"""Random changes of a patch: shape in millimetres, mirrors, brightness, contrast, gamma, noise; mixing with others.

One resampling at most, and numbers only from the generator that is given, so that a sample is a function of its seed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch.nn import functional

from napari_dasl.training.elastic import random_bend
from napari_dasl.training.mixup import mixed
from napari_dasl.training.patches import cut
from napari_dasl.training.topology import ANISOTROPIC

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_dasl.training.cases import Shape, Spacing
    from napari_dasl.training.mixup import Partner
    from napari_dasl.training.plan import Augmentation, TrainingPlan
    from napari_dasl.training.prepare import Prepared

Labels: TypeAlias = "NDArray[np.uint8] | NDArray[np.uint16]"

MARGIN = 0.25
"""What a turned patch may need beyond its own border, as a fraction of its side."""


def still(plan: TrainingPlan) -> TrainingPlan:
    """The plan without any change of shape and without mixing: patches show just what was cut."""
    rules = plan.augmentation.model_copy(update={"affine": 0.0, "elastic": 0.0, "mixup": 0.0})
    return plan.model_copy(update={"augmentation": rules})


def random_affine(
    rules: Augmentation, spacing: Spacing, rng: np.random.Generator, *, planar: bool = False
) -> NDArray[np.float64]:
    """A rotation and scaling, (3, 3) in millimetres and in the order (z, y, x), from the patch to the scan.

    Where slices are thick, the patch turns within its slices alone: a tilted thick slice shows what no scanner would.
    A patch that is a slice (*planar*) stays in it. Three angles of up to 25 degrees, one about each axis, turn it by up
    to 44; with the rotation ``one-axis`` one angle is all.
    """
    coarse = _flat(spacing, planar=planar)
    matrix = np.eye(3)
    if rules.rotation == "one-axis":
        axis_of = rng.standard_normal(3) if coarse is None else np.eye(3)[coarse]
        matrix = _about(axis_of / np.linalg.norm(axis_of), np.deg2rad(rng.uniform(-rules.degrees, rules.degrees)))
    for axis in range(3) if rules.rotation == "three-axes" else ():
        angle = np.deg2rad(rng.uniform(-rules.degrees, rules.degrees))
        if coarse is not None and axis != coarse:
            continue
        i, j = (a for a in range(3) if a != axis)
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    zoom = rng.uniform(1 - rules.zoom, 1 + rules.zoom, 3 if rng.random() < 0.5 else 1)
    scaled: NDArray[np.float64] = matrix * zoom
    return scaled


def _about(axis: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    """The rotation by *angle* about a unit vector (Rodrigues)."""
    cross = np.cross(np.eye(3), axis)
    turn: NDArray[np.float64] = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return turn


def _flat(spacing: Spacing, *, planar: bool) -> int | None:
    """The axis across thick slices, or across a patch that is a slice; None where voxels are much the same all ways."""
    if planar:
        return 0
    return int(np.argmax(spacing)) if max(spacing) > ANISOTROPIC * min(spacing) else None


def _turned(
    image: NDArray[np.float32],
    label: Labels,
    patch: Shape,
    spacing: Spacing,
    matrix: NDArray[np.float64],
    bend: NDArray[np.float32] | None = None,
) -> tuple[NDArray[np.float32], Labels]:
    """Resample a region (C, z, y, x) onto the patch at its centre, turned by *matrix*; labels by nearest neighbour.

    *bend* moves every voxel by as many millimetres, (3, z, y, x). Numbers of lesions up to 65535 pass through single
    precision unchanged. There may be several labels, (L, z, y, x).
    """
    region = np.asarray(image.shape[1:], float) * spacing
    scaled = np.diag(1 / region) @ matrix @ np.diag(np.asarray(patch, float) * spacing)
    theta = torch.zeros((1, 3, 4), dtype=torch.float32)
    theta[0, :, :3] = torch.from_numpy(np.ascontiguousarray(scaled[::-1, ::-1]))  # torch counts x, y, z
    grid = functional.affine_grid(theta, [1, 1, *patch], align_corners=False)
    if bend is not None:
        moves = bend * (2 / region).astype(np.float32)[:, None, None, None]
        grid = grid + torch.from_numpy(np.ascontiguousarray(np.moveaxis(moves[::-1], 0, -1)))[None]
    turned = functional.grid_sample(
        torch.from_numpy(image)[None], grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    turned_label = functional.grid_sample(
        torch.from_numpy(label.astype(np.float32)).reshape(1, -1, *label.shape[-3:]),
        grid,
        mode="nearest",
        padding_mode="border",
        align_corners=False,
    )
    labels = turned_label[0].numpy().astype(label.dtype)
    return turned[0].numpy(), labels if label.ndim == 4 else labels[0]


def _recoloured(image: NDArray[np.float32], rules: Augmentation, rng: np.random.Generator) -> NDArray[np.float32]:
    """Change brightness, contrast and gamma of each channel, and add noise; values are normalised ones."""
    for channel in image:
        change, noise, gamma = rng.random() < rules.intensity, rng.random() < rules.noise, rng.random() < 0.5
        contrast, brightness = rng.uniform(0.75, 1.3), rng.normal(0, 0.15)
        power = rng.uniform(rules.gamma[0], rules.gamma[1]) if rules.gamma else np.exp(rng.uniform(-0.4, 0.4))
        strength = rng.uniform(0, 0.2)
        if change:
            low, high = float(channel.min()), float(channel.max())
            if gamma and high > low:
                channel[...] = ((channel - low) / (high - low)) ** np.float32(power) * (high - low) + low
            mean = channel.mean()
            channel[...] = (channel - mean) * np.float32(contrast) + mean + np.float32(brightness)
        if noise:
            channel += rng.standard_normal(channel.shape, dtype=np.float32) * np.float32(strength)
    return image


def sample_patch(
    case: Prepared,
    start: Shape,
    patch: Shape,
    spacing: Spacing,
    rules: Augmentation,
    rng: np.random.Generator,
    *,
    outside: Sequence[float] | None = None,
    labels: Labels | None = None,
    planar: bool = False,
    partner: Partner | None = None,
) -> tuple[NDArray[np.float32], Labels]:
    """Cut a patch and change it at random.

    Parameters
    ----------
    case : Prepared
    start, patch : tuple of int
        First voxel and size.
    spacing : tuple of float
    rules : Augmentation
    rng : numpy.random.Generator
    outside : sequence of float, optional
        What stands for the world outside the scan, per channel, and no label there; where not given, border voxels and
        labels are repeated. With it, a patch of one slice is turned and scaled within its slice.
    labels : (z, y, x), optional
        Cut and turned in the place of the case's own label.
    planar : bool
        Turn and scale the patch, one slice thick, within its slice also without *outside*.
    partner : Partner, optional
        Another scan to mix it with, before everything else.

    Returns
    -------
    image : (C, z, y, x) float32
    label : (z, y, x) of the label's own type
        Of a mixture both labels, (2, z, y, x).
    """
    if labels is None:
        labels = case.label if case.label is not None else np.zeros(case.image.shape[1:], np.uint8)
    planar = planar or (outside is not None and patch[0] == 1)
    matrix = random_affine(rules, spacing, rng, planar=planar) if rng.random() < rules.affine else None
    bend = None
    if rules.elastic and rng.random() < rules.elastic:
        bend = random_bend(patch, spacing, rng, _flat(spacing, planar=planar))
    shaped = matrix is not None or bend is not None
    margin = [int(np.ceil(MARGIN * p)) if shaped else 0 for p in patch]
    first = (start[0] - margin[0], start[1] - margin[1], start[2] - margin[2])
    size = (patch[0] + 2 * margin[0], patch[1] + 2 * margin[1], patch[2] + 2 * margin[2])
    image = cut(case.image, first, size, outside).astype(np.float32)
    label: Any = np.array(cut(labels, first, size, None if outside is None else (0.0,)))
    if partner is not None:
        image, label = mixed(image, label, first, partner)
    if shaped:
        image, label = _turned(image, label, patch, spacing, np.eye(3) if matrix is None else matrix, bend)
    image = _recoloured(image, rules, rng)
    axes = tuple(axis for axis, name in enumerate("zyx") if name in rules.mirror and rng.random() < 0.5)
    if axes:
        image = np.flip(image, tuple(a - 3 for a in axes))
        label = np.flip(label, tuple(a - 3 for a in axes))
    return np.ascontiguousarray(image), np.ascontiguousarray(label)
