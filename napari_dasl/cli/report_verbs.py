"""The verb that writes the report of a project."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from napari_dasl.project import Project

if TYPE_CHECKING:
    import argparse

    from napari_dasl.cli.console import Output


def report(args: argparse.Namespace, output: Output) -> None:
    """Write one HTML page about a project, with every figure in it."""
    from napari_dasl import reports  # only this verb needs it

    now = datetime.now().astimezone()
    with Project.open(args.project) as project:
        path = reports.write(project, args.out, now=now, simulations=args.simulation)
    output.answer({"path": str(path)}, f"The report is in {path}.")
