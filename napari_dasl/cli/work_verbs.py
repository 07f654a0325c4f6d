"""Verbs that need a network: round, predict, rank, evaluate. Rounds and predictions run in the engine's process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_dasl.cli.console import rows_table
from napari_dasl.engine.client import EngineProcess
from napari_dasl.errors import InputError
from napari_dasl.project import Project
from napari_dasl.rounds.plan import RoundPlan

if TYPE_CHECKING:
    import argparse

    from napari_dasl.cli.console import Output


def round_(args: argparse.Namespace, output: Output) -> None:
    """Train, compare on the guard set, promote or not, predict and rank."""
    with Project.open(args.project) as project:
        command = project.config.engine.command
        folder = project.folder
    plan = RoundPlan(
        phase=args.phase,
        steps=args.steps,
        epochs=args.epochs,
        minutes=args.minutes,
        start=args.start,
        device=args.device,
        predict=not args.no_predict,
        seed=args.seed,
        preset=args.curriculum,
    )
    with output.progress() as report, EngineProcess.start(command) as engine:
        if args.resume:
            result = engine.resume_round(folder, on_event=report)
        else:
            result = engine.run_round(folder, plan, on_event=report)
    output.answer(result, str(result.get("sentence", "")))


def predict(args: argparse.Namespace, output: Output) -> None:
    """Predict the unlabelled scans with the active model."""
    with Project.open(args.project) as project:
        command = project.config.engine.command
        folder = project.folder
    cases = _split(args.cases)
    with output.progress() as report, EngineProcess.start(command) as engine:
        result = engine.run_predict(
            folder, cases, all=args.all, device=args.device, strategy=args.strategy, on_event=report
        )
    failed = [{"case": case, "reason": reason} for case, reason in result["failed"].items()]
    document = {
        "predicted": len(result["predicted"]),
        "cases": result["predicted"],
        "seconds": result["seconds"],
        "failed": failed,
    }
    output.answer(document, f"Predicted {document['predicted']} cases in {document['seconds']:.0f} s.")
    for row in failed:
        output.note(f"warning: {row['case']} was not predicted: {row['reason']}")


def rank(args: argparse.Namespace, output: Output) -> None:
    """List the unlabelled scans, the one worth labelling next first."""
    from napari_dasl.rounds.difficulty import CHEAP, measure_difficulties, rank_by_difficulty
    from napari_dasl.rounds.ranking import Ranking, rank_pool

    if args.scorer is not None and args.by != "difficulty":
        raise InputError("--scorer belongs to --by difficulty.", "Add --by difficulty, or leave --scorer out.")
    with output.progress() as report, Project.open(args.project) as project:
        if args.by == "difficulty":
            named = args.scorer or project.config.curriculum.scorer
            if named in CHEAP:
                measure_difficulties(project, (named,), report=report)
            ranking = Ranking(rank_by_difficulty(project, args.scorer), args.by)
        else:
            ranking = rank_pool(project, strategy=args.by)
        states = {case.id: case.state.value for case in project.cases()}
    rows: list[dict[str, Any]] = [
        {
            "case": one.case,
            "rank": one.rank,
            "score": one.score,
            "uncertainty": one.uncertainty,
            "similarity": one.similarity,
            "difficulty": one.difficulty,
            "state": states[one.case],
            "why": one.words,
            "parts": one.parts,
            "similar": [
                {"case": case, "cosine": cosine, "labelled": labelled} for case, cosine, labelled in one.similar
            ],
        }
        for one in ranking.scores[: args.top]
    ]
    for line in ranking.notes:
        output.note(line)
    others = () if args.by == "difficulty" else ("uncertainty", "similarity")
    shown = ("rank", "case", "score", *others, "state", "why")
    output.answer(rows, "" if rows else "Nothing is left to label.", rows_table(shown, rows) if rows else None)


def evaluate(args: argparse.Namespace, output: Output) -> None:
    """Compare the active model with the truth."""
    if args.images is not None and args.truth is None:
        raise InputError("--images needs --truth.", "Give the folder of masks with the names of the scans.")
    if args.images is not None and args.split is not None:
        raise InputError("--images and --split exclude each other.", "--split chooses among the project's own cases.")
    if args.split == "pool" and args.truth is None:
        raise InputError("--split pool needs --truth.", "Unlabelled cases have no truth of their own in the project.")
    from napari_dasl.rounds import evaluating

    with output.progress() as report, Project.open(args.project) as project:
        if args.images is not None:
            document = evaluating.evaluate_folder(
                project, args.images, args.truth, model=args.model, device=args.device, report=report
            )
        else:
            document = evaluating.evaluate_split(
                project, args.split or "guard", truth=args.truth, model=args.model, device=args.device, report=report
            )
    rows = [
        {"case": one["case"], **{f"Dice {name}": found["dice"] for name, found in one["classes"].items()}}
        for one in document["cases"]
    ]
    mean = document["mean"]
    text = f"{document['n']} cases, mean Dice {mean['dice']:.4f}" if mean.get("dice") is not None else "No comparison."
    text += f", {document['misses']} misses."
    if (detection := document.get("detection")) is not None:
        text += f" {_detection_words(detection)}"
    output.answer(document, text, rows_table(tuple(rows[0]), rows) if rows else None)


def _detection_words(found: dict[str, Any]) -> str:
    """Say how many lesions there are, and how well they are found at how many false positives."""
    if found["cpm"] is None:
        return "There is no lesion to find."
    rates = {one["false_positives"]: one["value"] for one in found["sensitivity"]}
    low, high = found["interval"] or (None, None)
    interval = "" if low is None else f" (95 % interval {low:.3f} to {high:.3f})"
    return (
        f"{found['lesions']} lesions: CPM {found['cpm']:.3f}{interval}, {100 * rates[1.0]:.0f} % found at 1 false "
        f"positive a scan, AP {found['ap']:.3f} at IoU {found['iou']:g}."
    )


def _split(cases: list[str] | None) -> list[str] | None:
    """Accept ``--cases a b`` and ``--cases a,b``."""
    if cases is None:
        return None
    return [name for word in cases for name in word.split(",") if name]
