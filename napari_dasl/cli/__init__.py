"""``napari-dasl``: a verb for everything the window can do.

Every verb prints a readable answer, or one JSON document with ``--json``. Exit codes: 0 done; 1 the work failed; 2 the
call or the input was wrong; 3 cancelled, with the state saved.
"""

from __future__ import annotations

import logging
import sys
import traceback
from typing import TYPE_CHECKING

from napari_dasl.cli.console import Output, one_line
from napari_dasl.cli.parser import UsageError, build_parser
from napari_dasl.errors import Cancelled, DaslError, StorageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        The words after ``napari-dasl``; those of the process when left out.
    """
    try:
        args = build_parser().parse_args(argv)
    except UsageError as error:
        sys.stderr.write(f"{one_line(error)}\n")
        return error.exit_code
    except SystemExit as leave:  # --help and --version have printed what was asked for
        return int(leave.code or 0)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s: %(message)s")
    return _run(args)


def _run(args: argparse.Namespace) -> int:
    output = Output(as_json=args.json, quiet=args.quiet)
    try:
        args.run(args, output)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 a user never sees a traceback
        if args.debug:
            traceback.print_exc(file=sys.stderr)
        problem = _in_words(error)
        sys.stderr.write(f"{one_line(problem)}\n")
        return problem.exit_code
    return 0


def _in_words(error: BaseException) -> DaslError:
    """Return *error* as one that has a sentence for the user."""
    if isinstance(error, DaslError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return Cancelled("Stopped by the keyboard.", "What was saved before is kept.")
    if isinstance(error, OSError):
        return StorageError(
            f"{error.filename or 'A file'} could not be read or written: {error.strerror or error}.",
            "Check that the disk has space and that you may write there.",
        )
    return DaslError(f"Something unexpected went wrong: {error!r}.", "Run it again with --debug and report it.")
