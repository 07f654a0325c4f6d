"""Small scans on disk, and projects of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_dasl.project import Project, ProjectConfig

SHAPE = (5, 6, 7)  # (x, y, z) as stored
AFFINE = np.diag([1.5, 1.5, 3.0, 1.0])


def _write_scan(path: Path, shape=SHAPE, seed=0, affine=AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(-100, 100, shape, dtype=np.int16)
    nib.save(nib.Nifti1Image(values, affine), path)
    return path


def _write_mask(path: Path, shape=SHAPE, value=1, affine=AFFINE, dtype=np.uint8) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.zeros(shape, dtype=dtype)
    values[1:3, 2:4, 3:5] = value
    nib.save(nib.Nifti1Image(values, affine), path)
    return path


@pytest.fixture
def scans(tmp_path) -> Path:
    """A flat folder of twelve scans, p1 … p12."""
    for number in range(1, 13):
        _write_scan(tmp_path / "images" / f"p{number}.nii.gz", seed=number)
    return tmp_path / "images"


@pytest.fixture
def make(tmp_path) -> Iterator[Callable[..., Project]]:
    """Make projects that are closed at the end."""
    made = []

    def one(name="study", images=None, **keys) -> Project:
        copy = keys.pop("copy_scans", False)
        config = ProjectConfig(**{"name": name, "modality": "CT", **keys})
        made.append(Project.create(tmp_path / name, config, copy_scans=copy))
        if images is not None:
            made[-1].add_cases([images])
        return made[-1]

    yield one
    for project in made:
        project.close()


@pytest.fixture
def project(make, scans) -> Project:
    """A project of the twelve scans, with the classes liver and tumour, nothing labelled."""
    return make(images=scans, classes=("liver", "tumour"))


@pytest.fixture
def write_scan() -> Callable[..., Path]:
    """Write a NIfTI scan of noise: ``write_scan(path, shape=(5, 6, 7), seed=0, affine=…)``."""
    return _write_scan


@pytest.fixture
def write_mask() -> Callable[..., Path]:
    """Write a NIfTI mask of eight voxels: ``write_mask(path, shape=(5, 6, 7), value=1, affine=…)``."""
    return _write_mask


@pytest.fixture
def mask_of() -> Callable[..., np.ndarray]:
    """A label map (z, y, x), another one for each value from 1 to 5: ``mask_of(project, case_id, value=1)``."""

    def make(project: Project, case_id: str, value: int = 1) -> np.ndarray:
        mask = np.zeros(project.case(case_id).shape, dtype=np.uint8)
        mask[0, 0, :value] = 1
        mask[-1].flat[value] = 2
        return mask

    return make
