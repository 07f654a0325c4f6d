"""A project small enough that a round takes a second: bright balls in noise, drawn and read like any MR scan."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from napari_dasl.project import Project, setup


def write_balls(folder: Path, count: int, *, seed: int = 0, first: int = 0) -> None:
    """Write *count* scans of one bright ball each to ``images``, and their masks to ``labels``."""
    rng = np.random.default_rng(seed)
    z, y, x = np.mgrid[:20, :24, :28]
    for number in range(first, first + count):
        centre, radius = rng.uniform((7, 8, 8), (13, 16, 20)), rng.uniform(3.0, 5.0)
        ball = (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 < radius**2
        image = 100 + 20 * rng.standard_normal(ball.shape) + 120 * ball
        affine = np.diag((1.0, 1.2, 1.5, 1.0))
        for kind, array in (("images", image.astype(np.int16)), ("labels", ball.astype(np.uint8))):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(array.T, affine), folder / kind / f"p{number:02d}.nii.gz")


@pytest.fixture(scope="session")
def balls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fourteen scans and masks."""
    folder = tmp_path_factory.mktemp("balls")
    write_balls(folder, 14)
    return folder


@pytest.fixture
def project_folder(balls: Path, tmp_path: Path) -> Path:
    """A project of the fourteen scans, eight of them labelled, two of these held back."""
    made = setup.make(
        tmp_path / "study", images=balls / "images", labels=balls / "labels", modality="MR", annotated=8, seed=0
    )
    assert (made.cases, made.annotated, made.guard) == (14, 8, 2)
    return made.folder


@pytest.fixture
def project(project_folder: Path):
    """The same project, open."""
    with Project.open(project_folder) as found:
        yield found
