"""Verbs that read and write the project folder and need no network, such as init, label, use and export."""

from __future__ import annotations

import getpass
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from napari_dasl.cli.console import rows_table
from napari_dasl.errors import InputError, ProjectError, StorageError
from napari_dasl.project import Project, efforts, setup
from napari_dasl.project.export import export_project

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable
    from pathlib import Path

    from napari_dasl.cli.console import Output
    from napari_dasl.project import Model, Revision


def init(args: argparse.Namespace, output: Output) -> None:
    """Make a project from a folder of scans."""
    annotated: int | tuple[str, ...] | None = args.annotated
    if args.annotated_list is not None:
        annotated = _listed_cases(args.annotated_list)
    made = setup.make(
        args.project,
        images=args.images,
        labels=args.labels,
        modality=args.modality,
        classes=args.classes,
        instances=args.instances,
        network=args.network,
        preset=args.preset,
        annotated=annotated,
        guard=args.guard,
        seed=args.seed,
        copy_scans=args.copy,
    )
    document = {
        "project": str(made.folder),
        "cases": made.cases,
        "annotated": made.annotated,
        "guard": made.guard,
        "classes": list(made.classes),
        "skipped": _skipped(made.skipped),
    }
    output.answer(
        document,
        f"{made.folder}: {made.cases} cases, {made.annotated} labelled, {made.guard} of them the guard set.",
    )
    _note_skipped(made.skipped, output)


def add(args: argparse.Namespace, output: Output) -> None:
    """Add scans to a project."""
    with Project.open(args.project) as project:
        result = project.add_cases(args.paths)
    output.answer(
        {"added": len(result.added), "cases": list(result.added), "skipped": _skipped(result.skipped)},
        f"Added {len(result.added)} cases.",
    )
    _note_skipped(result.skipped, output)


def status(args: argparse.Namespace, output: Output) -> None:
    """Show cases by state, the active model and the rounds."""
    with Project.open(args.project) as project:
        active = project.active_model()
        rounds = [
            {
                "round": one.number,
                "phase": one.phase,
                "state": one.state,
                "promoted": one.result.get("promoted"),
                "dice": (one.result.get("guard") or {}).get("dice"),
            }
            for one in project.rounds()
        ]
        document: dict[str, Any] = {
            **project.counts(),
            "model": active.id if active else None,
            "rounds": rounds,
            "name": project.config.name,
            "selfpaced": {"enabled": project.config.selfpaced.enabled},
            "minutes": project.annotation_seconds() / 60,
            "effort": asdict(efforts.summary(project.efforts())),
            "changed": {case.id: found for case in project.cases() if (found := project.check_scan(case.id))},
        }
    text = (
        f"{document['name']}: {document['cases']} cases, {document['annotated']} labelled "
        f"({document['guard']} in the guard set), {document['pool']} to label. "
        f"Active model: {document['model'] or 'none yet'}. {document['minutes']:.0f} minutes of annotation."
    )
    output.answer(
        document, text, rows_table(("round", "phase", "state", "promoted", "dice"), rounds) if rounds else None
    )
    for case, found in document["changed"].items():
        output.note(f"warning: {case}: {found}")


def label(args: argparse.Namespace, output: Output) -> None:
    """Record a mask as the human label of a case."""
    with Project.open(args.project) as project:
        revision = project.record_label(
            args.case, args.mask, author=args.author or this_user(), source="human", seconds=args.seconds
        )
    output.answer(
        {"case": revision.case, "revision": revision.number, "sha256": revision.sha256},
        f"{revision.case}: revision {revision.number} recorded.",
    )


def labels(args: argparse.Namespace, output: Output) -> None:
    """List the label revisions of a case."""
    with Project.open(args.project) as project:
        _answer_revisions(project.labels(args.case), output)


def restore(args: argparse.Namespace, output: Output) -> None:
    """Bring a label revision back, as a new one."""
    with Project.open(args.project) as project:
        project.restore(args.case, args.revision, author=args.author or this_user())
        _answer_revisions(project.labels(args.case), output)


def models(args: argparse.Namespace, output: Output) -> None:
    """List the models with their lineage and guard figures."""
    with Project.open(args.project) as project:
        _answer_models(project.models(), output)


def use(args: argparse.Namespace, output: Output) -> None:
    """Make a model active again."""
    with Project.open(args.project) as project:
        project.use(args.model)
        _answer_models(project.models(), output)


def export(args: argparse.Namespace, output: Output) -> None:
    """Hand labels or predictions on, on the grid of each scan."""
    with Project.open(args.project) as project:
        done = export_project(project, args.out, what=args.what, form=args.format)
    if not done.written and done.skipped:
        raise StorageError(
            f"Nothing could be exported: {done.skipped[0][0]}: {done.skipped[0][1]}", "See `napari-dasl status`."
        )
    output.answer(
        {
            "written": [str(path) for path in done.written],
            "skipped": [{"case": c, "reason": r} for c, r in done.skipped],
        },
        f"Wrote {len(done.written)} files to {args.out}.",
    )
    for case, reason in done.skipped:
        output.note(f"warning: {case} was skipped: {reason}")


def _listed_cases(path: Path) -> tuple[str, ...]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"The list of cases {path} cannot be read: {error}.", "Give a text file, one case a line."
        ) from None
    names = tuple(line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#"))
    if not names:
        raise ProjectError(f"The list of cases {path} is empty.", "Write one case a line.")
    return names


def this_user() -> str:
    """Return the name under which this machine knows its user."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no entry for this user, as in some containers
        return "annotator"


def _skipped(rows: Iterable[tuple[Path, str]]) -> list[dict[str, str]]:
    return [{"path": str(path), "reason": reason} for path, reason in rows]


def _note_skipped(rows: Iterable[tuple[Path, str]], output: Output) -> None:
    for path, reason in rows:
        output.note(f"warning: {path} was skipped: {reason}")


def _answer_revisions(revisions: Iterable[Revision], output: Output) -> None:
    rows = [
        {
            "revision": one.number,
            "author": one.author,
            "source": one.source,
            "seconds": one.seconds,
            "model": one.model,
            "round": one.round,
            "created": one.created.isoformat(timespec="seconds"),
            "voxels_changed": one.voxels_changed,
            "sha256": one.sha256,
            "path": str(one.path),
        }
        for one in revisions
    ]
    shown = ("revision", "author", "source", "seconds", "created", "voxels_changed")
    output.answer(rows, "" if rows else "No label yet.", rows_table(shown, rows) if rows else None)


def _answer_models(found: Iterable[Model], output: Output) -> None:
    rows = [
        {
            "model": one.id,
            "parent": one.parent,
            "round": one.round,
            "active": one.active,
            "promoted": one.promoted,
            "dice": one.guard.get("dice"),
            "guard": one.guard,
            "created": one.created.isoformat(timespec="seconds"),
        }
        for one in found
    ]
    shown = ("model", "round", "active", "promoted", "dice", "created")
    output.answer(
        rows, "" if rows else "No model yet: run `napari-dasl round`.", rows_table(shown, rows) if rows else None
    )
