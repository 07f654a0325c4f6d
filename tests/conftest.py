"""Fixtures that every folder of tests shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real volumes that NAPARI_DASL_DATA names; the test is skipped where it is unset."""
    folder = os.environ.get("NAPARI_DASL_DATA")
    if not folder:
        pytest.skip("NAPARI_DASL_DATA is unset: this test reads real volumes from that folder")
    path = Path(folder).resolve()
    if not path.is_dir():
        pytest.fail(f"NAPARI_DASL_DATA names {path}, which is no folder")
    return path
