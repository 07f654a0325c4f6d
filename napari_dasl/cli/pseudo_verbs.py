"""The review of pseudo-labels without a window: list them, accept or reject them, switch them on or off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_dasl.cli.console import rows_table
from napari_dasl.cli.project_verbs import this_user
from napari_dasl.project import Project
from napari_dasl.rounds import phases

if TYPE_CHECKING:
    import argparse

    from napari_dasl.cli.console import Output

_SHOWN = ("case", "weight", "loss", "lambda", "round", "model", "state", "verdict")


def pseudo(args: argparse.Namespace, output: Output) -> None:
    """Change what was asked for, then list the pseudo-labels of the newest round that took any."""
    with Project.open(args.project) as project:
        author = args.author or this_user()
        for case in args.accept or ():
            project.accept_pseudo(case, author=author)
        for case in args.reject or ():
            project.reject_pseudo(case, author=author)
        for case in args.allow or ():
            project.allow_pseudo(case, author=author)
        if args.switch is not None:
            phases.switch(project, args.switch)
        rows = listed(project)
        off = _off(project)
    if off:
        output.note(f"Pseudo-labels are off: {off}.")
    text = "" if rows else "No round has taken pseudo-labels yet."
    output.answer(rows, text, rows_table(_SHOWN, rows) if rows else None)


def listed(project: Project) -> list[dict[str, Any]]:
    """Return the candidates of the newest round that weighed any, the surest first, those of weight 0 too."""
    states = {case.id: case.state.value for case in project.cases()}
    return [
        {
            "case": one.case,
            "weight": one.weight,
            "loss": one.loss,
            "lambda": one.pace,
            "round": one.round,
            "model": one.model,
            "state": states[one.case],
            "verdict": one.verdict,
        }
        for one in project.pseudo_labels()
    ]


def _off(project: Project) -> str:
    if not project.config.selfpaced.enabled:
        return "project.toml says so"
    return phases.standing(project).off
