"""Ask an installed napari-dasl, far from its checkout, for everything that its manifest promises.

Called by ``nox -s wheel`` in an environment that has a Qt binding but no torch.
"""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module, metadata
from pathlib import Path

from npe2 import PluginManifest


def main() -> int:
    """Return 0 when every command, widget and sample of the manifest is there."""
    import napari_dasl

    home = Path(napari_dasl.__file__).parent
    if "site-packages" not in home.parts:
        sys.stderr.write(f"napari_dasl comes from {home}, which is no installation.\n")
        return 1
    manifest = PluginManifest.from_distribution("napari-dasl")
    contributions = manifest.contributions
    for command in contributions.commands or []:
        module, name = str(command.python_name).split(":")
        found = getattr(import_module(module), name)
        sys.stdout.write(f"{command.id}: {found.__module__}.{name}\n")
    for sample in contributions.sample_data or []:
        made = _make(contributions, sample.command)
        sys.stdout.write(f"sample {sample.key}: {len(made)} layers of shape {made[0][0].shape}\n")
    if "torch" in sys.modules:
        sys.stderr.write("The window imported torch.\n")
        return 1
    script = Path(sys.executable).parent / "napari-dasl"
    told = subprocess.run([script, "--version"], capture_output=True, text=True, check=False)
    sys.stdout.write(f"napari-dasl --version: {told.stdout.strip() or told.stderr.strip()}\n")
    return 0 if told.returncode == 0 and metadata.version("napari-dasl") in told.stdout else 1


def _make(contributions: object, command: str) -> list[tuple[object, ...]]:
    (found,) = (one for one in contributions.commands if one.id == command)  # type: ignore[attr-defined]
    module, name = str(found.python_name).split(":")
    made: list[tuple[object, ...]] = getattr(import_module(module), name)()
    return made


if __name__ == "__main__":
    sys.exit(main())
