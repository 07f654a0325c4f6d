"""The findings of one case without a window: list them, accept or reject them, take a verdict back.

:data:`FRAMES` says in which frames their positions are told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from napari_dasl.cli.console import rows_table
from napari_dasl.cli.project_verbs import this_user
from napari_dasl.errors import ProjectError
from napari_dasl.project import Project
from napari_dasl.project.records import FindingVerdict

if TYPE_CHECKING:
    import argparse

    from numpy.typing import NDArray

    from napari_dasl.cli.console import Output
    from napari_dasl.project.instances import Instance
    from napari_dasl.volumes import Geometry

FRAMES = """\
Positions in --json: centre_world is in mm in the patient, frame RAS as in NIfTI (change the signs of x and y for
DICOM's LPS). centre_file_voxel is the voxel (i, j, k) as the file stores them. centre_voxel and box_voxel are indices
(z, y, x) of the program's arrays: z to inferior, y to posterior, x to the patient's left. centre_mm and box_mm are
these times the voxel size, from the centre of the first voxel: without the scan's origin and direction."""

_SHOWN = ("finding", "class", "score", "diameter_mm", "volume_ml", "state")


def findings(args: argparse.Namespace, output: Output) -> None:
    """Note the verdicts that were asked for, then list the findings of the case, the surest first."""
    with Project.open(args.project) as project:
        case = project.case(args.case)
        stored = project.prediction(case.id, args.model)
        if stored is None:
            raise ProjectError(
                f"Case {case.id} has no prediction{f' by model {args.model}' if args.model else ''} yet.",
                f"Run `napari-dasl predict {project.folder} --cases {case.id}` first.",
            )
        author = args.author or this_user()
        for verdict in get_args(FindingVerdict):
            for number in getattr(args, verdict) or ():
                project.review_finding(case.id, number, verdict, author=author, model=stored.model)
        rows = listed(project, case.id, stored.model)
    shown = rows if args.all else [row for row in rows if row["state"] != "below"]
    text = f"{case.id}, model {stored.model}: {len(shown)} finding{'s' * (len(shown) != 1)}"
    left = len(rows) - len(shown)
    text += f", {left} more below the threshold (--all)." if left else "."
    output.answer(rows, text, rows_table(_SHOWN, shown) if shown else None)


def listed(project: Project, case: str, model: str) -> list[dict[str, Any]]:
    """Return the findings of a model in a case, the surest first; those below its threshold too."""
    classes, geometry = project.config.classes, project.case(case).geometry
    return [
        {
            "finding": found.instance.id,
            "class": classes[found.instance.label - 1],
            "score": found.instance.score,
            "diameter_mm": found.instance.diameter,
            "volume_ml": found.instance.volume_ml,
            "centre_mm": list(found.instance.centre),
            "box_mm": list(found.instance.box),
            **places(found.instance, geometry),
            "drawn": found.instance.kept,
            "state": found.state,
            "case": case,
            "model": model,
        }
        for found in project.findings(case, model)
    ]


def places(instance: Instance, geometry: Geometry) -> dict[str, Any]:
    """Return where a finding is on the scan and in the patient.

    Returns
    -------
    dict
        ``centre_voxel``, the voxel (z, y, x) that holds its centre, and ``box_voxel``, its box (z0, y0, x0, z1, y1, x1)
        with the ends outside, on the program's arrays; ``centre_file_voxel``, the voxel (i, j, k) as the file stores
        them; ``centre_world``, its centre (x, y, z) in mm of the ``world_frame``, RAS: x grows to the patient's right,
        y to anterior, z to superior, as in `napari_dasl.volumes.geometry`.
    """
    index = np.divide(instance.centre, geometry.spacing)
    world = geometry.canonical_affine @ [*index, 1.0]
    stored = np.linalg.solve(geometry.affine, geometry.canonical_affine @ [*np.rint(index), 1.0])[:3]
    ends = np.divide(instance.box, geometry.spacing * 2) + 0.5  # a box reaches half a voxel to each side
    return {
        "centre_voxel": _whole(index),
        "box_voxel": _whole(ends),
        "centre_file_voxel": _whole(stored),
        "centre_world": [float(mm) for mm in world[:3]],
        "world_frame": "RAS",
    }


def _whole(numbers: NDArray[np.floating]) -> list[int]:
    return [int(number) for number in np.rint(numbers)]
