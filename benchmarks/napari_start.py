"""How long napari takes to open with the DASL dock, against bare napari: alternating fresh processes on a real canvas.

    python benchmarks/napari_start.py --repeat 5

Each process imports napari, opens a window (with or without the dock on its empty page) and ends once the window was
drawn. Needs a screen; where there is none it starts a virtual one.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from contextlib import nullcontext

from napari_dasl.demo import virtual_screen

BARE = "viewer = napari.Viewer(title='bare')"
DOCK = "viewer = napari.Viewer(title='dasl'); viewer.window.add_plugin_dock_widget('napari-dasl', 'DASL')"
SCRIPT = """
import napari
from qtpy.QtWidgets import QApplication
{make}
for _ in range(20):
    QApplication.processEvents()
import os, sys
sys.stdout.write('torch' if 'torch' in sys.modules else 'light')
sys.stdout.flush()
os._exit(0)
"""


def seconds(make: str, display: str) -> float:
    """Time one fresh process from its start to its drawn window."""
    environment = {**os.environ, "DISPLAY": display, "LIBGL_ALWAYS_SOFTWARE": "1"}
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(make=make)], env=environment, capture_output=True, text=True, check=False
    )
    took = time.perf_counter() - begun
    if done.returncode or done.stdout != "light":
        raise SystemExit(f"the window did not open, or loaded torch: {done.stdout} {done.stderr[-500:]}")
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5)
    args = parser.parse_args()
    with nullcontext(os.environ["DISPLAY"]) if "DISPLAY" in os.environ else virtual_screen() as display:
        seconds(BARE, display), seconds(DOCK, display)  # the first ones also compile and fill the disk cache
        times: dict[str, list[float]] = {BARE: [], DOCK: []}
        for _ in range(args.repeat):
            for make, found in times.items():
                found.append(seconds(make, display))
    bare, dock = (statistics.median(found) for found in times.values())
    print(f"bare napari {bare:.2f} s, with the dock {dock:.2f} s: ratio {dock / bare:.2f}")


if __name__ == "__main__":
    main()
