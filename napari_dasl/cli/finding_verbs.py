"""The findings of one case without a window: list them, accept or reject them, take a verdict back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_dasl.cli.console import rows_table
from napari_dasl.cli.project_verbs import this_user
from napari_dasl.errors import ProjectError
from napari_dasl.project import Project

if TYPE_CHECKING:
    import argparse

    from napari_dasl.cli.console import Output
    from napari_dasl.project import Prediction

_SHOWN = ("finding", "class", "score", "diameter_mm", "volume_ml", "drawn", "state")


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
        for word, verdict in (("accept", "accepted"), ("reject", "rejected"), ("clear", "cleared")):
            for number in getattr(args, word) or ():
                project.review_finding(case.id, number, verdict, author=author, model=stored.model)
        rows = listed(project, stored)
    shown = rows if args.all else [row for row in rows if row["drawn"]]
    text = f"{case.id}, model {stored.model}: {len(shown)} finding{'s' * (len(shown) != 1)}"
    left = len(rows) - len(shown)
    text += f", {left} more below the threshold (--all)." if left else "."
    output.answer(rows, text, rows_table(_SHOWN, shown) if shown else None)


def listed(project: Project, stored: Prediction) -> list[dict[str, Any]]:
    """Return the findings of a prediction by falling score; those that are not drawn in the label map too."""
    states = {one.instance: one.verdict for one in project.finding_reviews(stored.case) if one.model == stored.model}
    classes = project.config.classes
    return [
        {
            "finding": one.id,
            "class": classes[one.label - 1],
            "score": one.score,
            "diameter_mm": one.diameter,
            "volume_ml": one.volume_ml,
            "centre_mm": list(one.centre),
            "box_mm": list(one.box),
            "drawn": one.kept,
            "state": state if (state := states.get(one.id, "")) != "cleared" else "",
            "case": stored.case,
            "model": stored.model,
        }
        for one in sorted(stored.instances(), key=lambda found: (-found.score, found.id))
    ]
