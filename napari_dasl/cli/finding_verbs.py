"""The findings of one case without a window: list them, accept or reject them, take a verdict back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from napari_dasl.cli.console import rows_table
from napari_dasl.cli.project_verbs import this_user
from napari_dasl.errors import ProjectError
from napari_dasl.project import Project
from napari_dasl.project.records import FindingVerdict

if TYPE_CHECKING:
    import argparse

    from napari_dasl.cli.console import Output

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
    classes = project.config.classes
    return [
        {
            "finding": found.instance.id,
            "class": classes[found.instance.label - 1],
            "score": found.instance.score,
            "diameter_mm": found.instance.diameter,
            "volume_ml": found.instance.volume_ml,
            "centre_mm": list(found.instance.centre),
            "box_mm": list(found.instance.box),
            "drawn": found.instance.kept,
            "state": found.state,
            "case": case,
            "model": model,
        }
        for found in project.findings(case, model)
    ]
