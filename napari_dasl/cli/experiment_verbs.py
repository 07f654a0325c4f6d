"""The verb `experiment`: the comparisons of the papers, on one's own scans."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_dasl.cli.console import rows_table
from napari_dasl.cli.simulate_verbs import seeds_of
from napari_dasl.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_dasl.cli.console import Output


_WIDTH = 7
"""Columns of the table that a terminal shows; the files have all."""


def experiment(args: argparse.Namespace, output: Output) -> None:
    """Make the runs of an experiment that are missing, and show what all of them say."""
    from napari_dasl.experiments.conducting import Request, conduct
    from napari_dasl.experiments.data import PHANTOMS

    request = Request(
        name=args.name,
        data=None if args.data == PHANTOMS else Path(args.data),
        out=args.out,
        seeds=seeds_of(args.seeds) if args.seeds else (),
        steps=args.steps,
        minutes=args.minutes,
        jobs=args.jobs,
        threads=args.threads,
        network=args.network or "",
        arms=args.arms or (),
        modality=args.modality or "",
        separator=args.group or "",
        options=_settings(args.set),
        device=args.device,
        stop_after=args.stop_after,
    )
    with output.progress() as report:
        found = conduct(request, report)
    for one in found["failed"]:
        output.note(f"warning: the run {one['run']} failed: {one['reason']}")
    text = "\n".join([*found["words"], f"{found['complete']} of {found['runs']} runs; {request.out / 'report.html'}"])
    table = found["table"]
    output.answer(found, text, rows_table(tuple(table[0])[:_WIDTH], table) if table else None)


def _settings(words: list[str] | None) -> dict[str, str]:
    """Read ``order=2024 test=20``."""
    found: dict[str, str] = {}
    for word in words or ():
        key, sign, value = word.partition("=")
        if not sign:
            raise InputError(f"--set {word} is no key=value.", "Write, for example, --set test=20.")
        found[key] = value
    return found


class ShowSettings(argparse.Action):
    """``--settings``: print what each experiment can be told, and leave."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, **options)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        """Print and leave."""
        sys.stdout.write(settings_text() + "\n")
        parser.exit()


def settings_text() -> str:
    """Every experiment with its networks and settings."""
    from napari_dasl.experiments import NAMES, find

    lines: list[str] = []
    for name in NAMES:
        found = find(name)
        lines += [f"{name}: {found.sentence}", f"    --network {' | '.join(found.networks)}"]
        for option in found.options:
            default = "" if option.default is None else option.default
            lines.append(f"    --set {option.name}={default}  {option.sentence}")
    return "\n".join(lines)
