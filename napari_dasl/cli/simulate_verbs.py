"""The verb `simulate`: the loop of labelling and training, replayed with the truth as annotator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_dasl.cli.console import rows_table
from napari_dasl.errors import InputError, StorageError
from napari_dasl.project import Project

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from napari_dasl.cli.console import Output


def simulate(args: argparse.Namespace, output: Output) -> None:
    """Replay the loop for every strategy and seed, and compare the curves."""
    from napari_dasl.rounds import simulation

    spec = simulation.make(
        strategies=[name for word in args.strategy for name in word.split(",") if name],
        initial=args.initial,
        query=args.query,
        rounds=args.rounds,
        seeds=seeds_of(args.seeds),
        truth=args.truth.resolve(),
        phases=args.phases,
        network=args.network,
        steps=args.steps,
        batch=args.batch,
        beta=args.beta,
        guard=args.guard,
        start=args.start,
        device=args.device,
        jobs=args.jobs,
        test_images=args.test_images and args.test_images.resolve(),
        test_labels=args.test_labels and args.test_labels.resolve(),
        test_list=_lines(args.test_list),
        careless=_careless(args),
        keep=args.keep,
    )
    with output.progress() as report, Project.open(args.project) as project:
        found = simulation.simulate(project, spec, report)
    if args.out is not None:
        from napari_dasl.rounds.simulation import result

        result.write(args.out, found)
    for one in found["failed"]:
        output.note(f"warning: the run {one['run']} failed: {one['reason']}")
    output.answer(found, sentence(found), rows_table(("strategy", "AUBC", "SD", "last Dice", "n"), _rows(found)))


def sentence(found: dict[str, Any]) -> str:
    """Say what the comparison is made of, and how each strategy differs from each other one."""
    lines = [f"{found['complete']} of {found['runs']} runs complete, {found['test']} test cases; {found['folder']}"]
    for one in found["paired"]:
        line = f"{one['a']} − {one['b']}: AUBC {one['mean']:+.4f}"
        if one["low"] is not None:
            line += f" (95 % interval {one['low']:+.4f} to {one['high']:+.4f}; p {_p(one['p_t'])} by t,"
            line += f" {_p(one['p_wilcoxon'])} by Wilcoxon)"
        lines.append(f"{line}, {one['n']} {'pair' if one['n'] == 1 else 'pairs'}")
    return "\n".join(lines)


def _p(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "strategy": name,
            "AUBC": area["mean"],
            "SD": area["std"],
            "last Dice": found["final"][name]["mean"],
            "n": area["n"],
        }
        for name, area in found["aubc"].items()
    ]


def seeds_of(text: str) -> tuple[int, ...]:
    """Read ``5`` as the seeds 0 to 4, and ``3,7`` as these two."""
    try:
        numbers = [int(word) for word in text.split(",") if word.strip()]
    except ValueError as error:
        raise InputError(
            f"--seeds {text} is no number.", "Give how many, such as 5, or a list, such as 3,7."
        ) from error
    if "," in text:
        return tuple(numbers)
    if not numbers or numbers[0] < 1:
        raise InputError(f"--seeds {text} is no seed.", "Give how many, such as 5, or a list, such as 3,7.")
    return tuple(range(numbers[0]))


def _lines(path: Path | None) -> tuple[str, ...]:
    if path is None:
        return ()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(
            f"The list {path} cannot be read: {error}.", "Name a text file of one case a line."
        ) from error
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _careless(args: argparse.Namespace) -> dict[str, Any] | None:
    """Read ``--careless shifted=0.3,missing=0.1`` as the shares of spoilt answers."""
    if args.careless is None:
        return None
    told: dict[str, Any] = {}
    for word in args.careless:
        key, sign, value = word.partition("=")
        if not sign:
            raise InputError(f"--careless {word} is no key=value.", "Write, for example, --careless shifted=0.5.")
        told[key] = value
    return told
