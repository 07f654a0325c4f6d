"""Verbs around the window: doctor, demo, open, and the engine that both faces start."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from napari_dasl.cli.console import rows_table
from napari_dasl.project import Project

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from napari_dasl.cli.console import Output


def doctor(args: argparse.Namespace, output: Output) -> None:
    """Check this machine and say what is missing."""
    from napari_dasl.doctor import examine

    checks = examine()
    rows = [{"check": one.name, "ok": one.ok, "found": one.found, "hint": one.hint} for one in checks]
    output.answer(
        {"checks": rows, "ok": all(one.ok for one in checks)}, "", rows_table(("check", "ok", "found", "hint"), rows)
    )


def demo(args: argparse.Namespace, output: Output) -> None:
    """Make a phantom project, train its first round, and open it in napari."""
    from napari_dasl import demo as demonstration

    with output.progress() as report:
        folder = demonstration.make(args.folder, kind=args.kind, report=report)
    document = {"project": str(folder)}
    if args.make_only:
        output.answer(document, f"{folder} is ready: `napari-dasl open {folder}`.")
        return
    if args.headless or not has_screen():
        target = args.report or folder.with_name(f"{folder.name}-report")
        output.note(f"No screen: playing the annotator on a virtual one. Pictures and summary go to {target}.")
        summary = demonstration.rehearse(folder, target, output.note)
        output.answer(document | {"report": str(target), **summary}, summary["text"])
        return
    output.answer(document, f"{folder} is ready; opening napari.")
    _open_window(folder)


def open_(args: argparse.Namespace, output: Output) -> None:
    """Open napari on a project."""
    with Project.open(args.project) as project:
        folder = project.folder
    output.answer({"project": str(folder)}, f"Opening {folder}.")
    _open_window(folder)


def engine(args: argparse.Namespace, output: Output) -> None:
    """Serve rounds and predictions on standard streams, as JSON-RPC 2.0."""
    from napari_dasl.engine.server import main

    sys.exit(main())


def has_screen() -> bool:
    """Whether a window could be shown: always on Windows and macOS, elsewhere where X11 or Wayland runs."""
    if sys.platform in {"win32", "darwin"}:
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _open_window(folder: Path) -> None:
    from napari_dasl.widgets.window import run

    run(folder)
