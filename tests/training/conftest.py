"""Small cases that a small network learns in a few steps."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from napari_dasl.training.cases import CaseData
from napari_dasl.training.normalise import Normalisation
from napari_dasl.training.plan import Augmentation, TrainingPlan


def ball(seed: int, shape=(18, 20, 16)):
    """A noisy scan (1, z, y, x) with a bright ball, and its label."""
    rng = np.random.default_rng(seed)
    place = [rng.uniform(0.35, 0.65) * n for n in shape]
    distance = sum((axis - p) ** 2 for axis, p in zip(np.indices(shape), place, strict=True)) ** 0.5
    label = (distance < rng.uniform(3, 5)).astype(np.uint8)
    image = rng.normal(0, 20, shape) + 100 * label
    return image[None].astype(np.float32), label


def as_case(name: str, image, label, weight=1.0, spacing=(1.0, 1.0, 1.0)) -> CaseData:
    return CaseData(
        id=name,
        image=lambda: image,
        spacing=spacing,
        label=lambda: label,
        key=hashlib.sha256(image.tobytes()).hexdigest(),
        weight=weight,
        label_key="" if label is None else hashlib.sha256(np.ascontiguousarray(label).tobytes()).hexdigest(),
    )


@pytest.fixture
def make_case():
    return as_case


@pytest.fixture
def make_ball():
    return ball


@pytest.fixture
def balls() -> list[CaseData]:
    return [as_case(f"case{seed}", *ball(seed)) for seed in range(4)]


@pytest.fixture
def plan() -> TrainingPlan:
    return TrainingPlan(
        modality="CT",
        channels=("image",),
        classes=("lesion",),
        network_options={"channels": [8, 16], "strides": [[2, 2, 2], [2, 2, 2]], "res_units": 1},
        spacing=(1.0, 1.0, 1.0),
        patch=(16, 16, 16),
        batch=2,
        steps=12,
        learning_rate=2e-2,
        augmentation=Augmentation(mirror=("x",)),
        normalisation=(Normalisation(channel="image", rule="ct", lower=-100, upper=200, centre=0, scale=50),),
        precision="fp32",
    )
