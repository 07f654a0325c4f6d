"""Tiny scans with a bright cube, and a network small enough to be trained in a moment."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from napari_dasl.training.cases import CaseData
from napari_dasl.training.normalise import Normalisation
from napari_dasl.training.plan import TrainingPlan


def as_case(name: str, image, label, **keys) -> CaseData:
    """A case whose arrays are in memory."""
    said = b"" if label is None else np.ascontiguousarray(label).tobytes()
    return CaseData(
        id=name,
        image=lambda: image,
        spacing=(1.0, 1.0, 1.0),
        label=lambda: label,
        key=hashlib.sha256(image.tobytes()).hexdigest(),
        label_key=hashlib.sha256(said).hexdigest() if label is not None else "",
        **keys,
    )


def cube(name: str, seed: int, shape=(8, 12, 12), **keys) -> CaseData:
    """A noisy scan (1, z, y, x) with a bright box of its own size."""
    rng = np.random.default_rng(seed)
    label = np.zeros(shape, np.uint8)
    label[:, 3 : 6 + seed % 3, 4:9] = 1
    image = (rng.normal(0, 20, shape) + 100 * label)[None].astype(np.float32)
    return as_case(name, image, label, **keys)


@pytest.fixture
def make_case():
    return as_case


@pytest.fixture
def make_cube():
    return cube


@pytest.fixture
def cases() -> list[CaseData]:
    return [cube(f"p{number}", number) for number in range(4)]


@pytest.fixture
def plan() -> TrainingPlan:
    return TrainingPlan(
        modality="CT",
        channels=("image",),
        classes=("lesion",),
        network_options={"channels": [4, 8], "strides": [[2, 2, 2], [2, 2, 2]], "res_units": 1, "dropout": 0.5},
        spacing=(1.0, 1.0, 1.0),
        patch=(8, 8, 8),
        batch=2,
        steps=3,
        learning_rate=1e-2,
        normalisation=(Normalisation(channel="image", rule="ct", lower=-100, upper=200, centre=0, scale=50),),
        precision="fp32",
    )
