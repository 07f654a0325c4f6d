"""A built wheel, away from the checkout, finds its manifest, its widgets and its sample data."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LOOK = """
import sys
sys.path.insert(0, sys.argv[1])
from importlib.metadata import distribution
from importlib.resources import files
import napari_dasl
assert napari_dasl.__file__.startswith(sys.argv[1]), napari_dasl.__file__
from npe2 import PluginManifest
manifest = PluginManifest.from_file(str(files("napari_dasl") / "napari.yaml"))
manifest.validate_imports()
widgets = [widget.display_name for widget in manifest.contributions.widgets]
assert widgets == ["DASL", "Worklist", "This case", "Findings", "Learning", "Pseudo-labels"], widgets
for sample in manifest.contributions.sample_data:
    command = next(c for c in manifest.contributions.commands if c.id == sample.command)
    module, name = command.python_name.split(":")
    layers = getattr(__import__(module, fromlist=[name]), name)()
    assert [kind for _, _, kind in layers] == ["image", "labels"], layers
points = distribution("napari-dasl").entry_points
assert {(p.group, p.name) for p in points} >= {("napari.manifest", "napari-dasl"), ("console_scripts", "napari-dasl")}
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(out.glob("*.whl"))


def test_holds_the_package_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"napari_dasl"}
    assert "napari_dasl/napari.yaml" in names
    presets = {f"napari_dasl/project/presets/{path.name}" for path in (ROOT / "napari_dasl").rglob("presets/*.toml")}
    assert len(presets) >= 2
    assert presets <= set(names)


def test_works_away_from_the_checkout(wheel, tmp_path):
    home = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(home)
    done = subprocess.run(
        [sys.executable, "-c", LOOK, str(home)], cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_manifest_at_the_top_is_the_one_that_ships():
    assert (ROOT / "napari.yaml").read_bytes() == (ROOT / "napari_dasl" / "napari.yaml").read_bytes()
