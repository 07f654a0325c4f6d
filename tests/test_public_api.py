"""The Python interface: a small surface, the nouns of the command line, and nothing heavy until it is used."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import napari_dasl as nd
from napari_dasl import active, metrics, networks, rounds, volumes


def test_the_surface_is_exactly_this():
    assert set(nd.__all__) == {
        *("Project", "ProjectConfig", "RoundPlan", "RoundResult"),
        *("CurriculumConfig", "Recipe"),
        *("Geometry", "Volume", "read_volume"),
        *("active", "metrics", "networks", "rounds", "volumes"),
        *("DaslError", "InputError", "WorkError", "Cancelled"),
    }
    assert all(getattr(nd, name) is not None for name in nd.__all__)


def test_the_fixed_names_are_where_others_look_for_them():
    assert nd.read_volume is volumes.read
    assert nd.rounds.run is rounds.run
    assert callable(volumes.write_mask)
    assert active.least_confident(np.array([0.5, 0.9])) == pytest.approx(0.3)
    assert active.mean_similarity(np.eye(2)).tolist() == [0, 0]
    assert active.similarity_weighted(np.array([0.2]), np.ones((1, 3)), beta=1.0).tolist() == [0.2]
    assert {"overlap", "surface", "lesions"} <= set(dir(metrics))
    network = networks.build("unet", 1, 2, spatial_dims=3)
    assert sum(p.numel() for p in network.parameters()) > 0


def test_a_wrong_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="frobnicate"):
        nd.frobnicate  # noqa: B018


@pytest.mark.parametrize(
    "module",
    ["napari_dasl", "napari_dasl.project", "napari_dasl.widgets", "napari_dasl.cli", "napari_dasl.engine.client"],
)
def test_importing_the_faces_loads_no_torch(module):
    script = f"import sys, {module}; sys.exit('torch' in sys.modules or 'monai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=120).returncode == 0
