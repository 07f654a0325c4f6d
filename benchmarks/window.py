"""The window on a whole chest CT: opening it, and scrolling it with and without a round training beside it.

    python benchmarks/window.py --image ct.nii.gz --train-images DIR --train-labels DIR

Without them it takes the whole chest and the nodules below NAPARI_DASL_DATA.

Opens a project that holds the CT and the training scans, opens the CT twice (the second time from the display cache),
then sets slices through the viewer and draws each, first with an idle engine and then while a round trains. Needs a
screen; where there is none it starts a virtual one. Prints medians of seconds, and the ratio of the two scrolls.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SLICES = 60


def play(folder: Path, whole: str, other: str) -> None:
    """Open, scroll, start a round, scroll again; runs in a process of its own on the right screen."""
    from qtpy.QtWidgets import QApplication

    from napari_dasl.rounds.plan import RoundPlan
    from napari_dasl.widgets.window import open_window

    viewer, dock = open_window(folder)
    viewer.window.resize(1500, 950)
    session, application = dock.session, QApplication.instance()

    def until(done, limit: float = 300.0) -> None:
        end = time.monotonic() + limit
        while not done():
            if time.monotonic() > end:
                raise SystemExit("waited in vain")
            application.processEvents()

    def opened(case: str) -> float:
        begun = time.perf_counter()
        session.open_case(case)
        until(lambda: session.case_id == case)
        application.processEvents()
        return time.perf_counter() - begun

    def scroll() -> list[float]:
        times = []
        for place in range(30, 30 + SLICES):
            begun = time.perf_counter()
            viewer.dims.set_current_step(0, place)
            viewer.window._qt_viewer.canvas.native.repaint()  # draws at once instead of when idle
            application.processEvents()
            times.append(time.perf_counter() - begun)
        return times

    until(lambda: session.case_id is not None)
    opened(other)
    first = opened(whole)
    opened(other)
    again = opened(whole)
    print(f"open: from the file {first:.2f} s, from the cache {again:.2f} s", flush=True)
    scroll()
    idle = statistics.median(scroll())
    dock.runner.start_round(RoundPlan(steps=100_000, device="cpu"))
    until(lambda: "loss" in dock.runner.curves)
    busy = statistics.median(scroll() + scroll())
    print(f"scroll a slice: idle {idle * 1e3:.0f} ms, while training {busy * 1e3:.0f} ms: ratio {busy / idle:.2f}")
    dock.runner.stop_now()
    sys.stdout.flush()
    os._exit(0)


def main() -> None:
    from napari_dasl.demo import virtual_screen
    from napari_dasl.project import Project, setup

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    data = Path(os.environ.get("NAPARI_DASL_DATA", "."))
    parser.add_argument("--image", type=Path, default=data / "lung_ct/LUNG1-001/ct.nii.gz", help="a whole CT")
    parser.add_argument("--train-images", type=Path, default=data / "lidc_nodules/image")
    parser.add_argument("--train-labels", type=Path, default=data / "lidc_nodules/nodule_mask")
    parser.add_argument("--modality", default="CT")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="napari-dasl-window-") as scratch:
        folder = Path(scratch) / "study"
        setup.make(
            folder, images=args.train_images, labels=args.train_labels, modality=args.modality, annotated=20, seed=0
        )
        with Project.open(folder) as project:
            whole = project.add_cases([args.image]).added[0]
            other = project.pool()[0].id
        command = [sys.executable, __file__, "--play", str(folder), whole, other]
        with virtual_screen() as display:
            environment = {**os.environ, "DISPLAY": display, "LIBGL_ALWAYS_SOFTWARE": "1"}
            done = subprocess.run(command, env=environment, check=False)
        raise SystemExit(done.returncode)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--play"]:
        play(Path(sys.argv[2]), sys.argv[3], sys.argv[4])
    else:
        main()
