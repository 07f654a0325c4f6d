"""Write a study of phantoms: ``python -m napari_dasl.phantoms OUT --kind ct --cases 5 --seed 1``."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from napari_dasl.errors import DaslError
from napari_dasl.phantoms import KINDS, SIZES, write_study

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Write what the arguments ask for; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m napari_dasl.phantoms",
        description="Write synthetic scans with known truth: OUT/images, OUT/labels and OUT/truth.csv.",
        epilog="example: python -m napari_dasl.phantoms my-phantoms --kind ct --cases 5 --seed 1",
    )
    parser.add_argument("out", metavar="OUT", help="the folder to write")
    parser.add_argument("--kind", choices=KINDS, required=True, help="chest CT, head PET or FLAIR brain")
    parser.add_argument("--cases", type=int, default=5, help="number of cases, graded from easy to hard (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same voxels (%(default)s)")
    parser.add_argument("--size", choices=tuple(SIZES), default="standard", help="number of voxels (%(default)s)")
    given = parser.parse_args(argv)
    try:
        written = write_study(given.out, given.kind, given.cases, given.seed, size=given.size)
    except DaslError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    for case in written:
        sys.stdout.write(f"{case.case}  difficulty {case.difficulty:.2f}  {case.notes}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
