"""A folder of tiny scans, each with a bright ball, two of every patient."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest

from napari_dasl.experiments.arms import Row


def write_nifti(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(array.T), np.eye(4)), path)


@pytest.fixture(scope="session")
def scans(tmp_path_factory):
    """Eight scans of four patients, 16 x 18 x 16 voxels of 1 mm, in HU."""
    folder = tmp_path_factory.mktemp("scans")
    for number in range(8):
        rng = np.random.default_rng(number)
        shape = (16, 18, 16)
        away = sum((axis - n * rng.uniform(0.2, 0.3)) ** 2 for axis, n in zip(np.indices(shape), shape, strict=True))
        label = (away < 3.0**2).astype(np.uint8)
        image = (rng.normal(-300, 20, shape) + 300.0 * label).astype(np.int16)
        name = f"P{number // 2}_{number % 2}.nii.gz"
        write_nifti(folder / "images" / name, image)
        write_nifti(folder / "labels" / name, label)
    return folder


def row(arm, seed, dice, seconds=10.0, **more):
    return Row(
        experiment="x",
        arm=arm,
        seed=seed,
        dice=dict(zip("abcdef", dice, strict=False)),
        steps=10,
        seconds=seconds,
        cpu_seconds=more.pop("cpu", seconds / 2),
        device=more.pop("device", "processor of 2 cores"),
        **more,
    )


@pytest.fixture
def make_row():
    return row
