"""Synthetic CT, PET and MR cases with known truth: sample data, demo and tests.

``make`` gives one case, ``write_study`` a folder of them, graded from easy to hard, and
``python -m napari_dasl.phantoms OUT --kind ct --cases 5 --seed 1`` does the same from a shell. A seed gives the same
voxels on every machine.
"""

from __future__ import annotations

from napari_dasl.phantoms.phantom import KINDS, SIZES, Phantom, make
from napari_dasl.phantoms.study import StudyCase, write_study

__all__ = ["KINDS", "SIZES", "Phantom", "StudyCase", "make", "write_study"]
