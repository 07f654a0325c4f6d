"""An experiment from the words of the command line to its files: what was asked for, the runs, and what they say."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from napari_dasl import __version__
from napari_dasl.errors import Cancelled, InputError, WorkError
from napari_dasl.events import CancelCheck, Report, never, silent
from napari_dasl.experiments import find
from napari_dasl.experiments.arms import Protocol
from napari_dasl.experiments.data import PHANTOMS, make_phantoms, read_study
from napari_dasl.experiments.experiment import as_json, runs_of
from napari_dasl.experiments.running import run_all, threads
from napari_dasl.experiments.writing import need_matplotlib, write

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from napari_dasl.experiments.data import Study
    from napari_dasl.experiments.experiment import Experiment

PHANTOM_COUNT = 32


@dataclass(frozen=True)
class Request:
    """What a person asks for.

    Attributes
    ----------
    name : str
        Of the experiment.
    data : Path or None
        Folder of scans and labels; None to have phantoms made.
    out : Path
        Where the result goes; ``work`` in it keeps what a later call goes on with.
    seeds : tuple of int
        Empty: the experiment's own number.
    steps, minutes : int, float or None
        Of each training; the experiment's own steps where neither is given.
    jobs, threads : int
    network : str
        Empty: the experiment's own.
    arms : tuple of str
        Only these; all where it is empty.
    modality, separator : str
        See :func:`napari_dasl.experiments.data.read_study`.
    options : mapping
        See :class:`~napari_dasl.experiments.experiment.Option`; as text.
    device : str
    stop_after : float or None
        Minutes after which it stops and tells what is there.
    """

    name: str
    data: Path | None
    out: Path
    seeds: tuple[int, ...] = ()
    steps: int | None = None
    minutes: float | None = None
    jobs: int = 1
    threads: int = 1
    network: str = ""
    arms: tuple[str, ...] = ()
    modality: str = ""
    separator: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    device: str = "auto"
    stop_after: float | None = None


def conduct(request: Request, report: Report = silent, cancelled: CancelCheck = never) -> dict[str, Any]:
    """Make the runs that are missing, and write what all of them say.

    Returns
    -------
    dict
        What ``result.json`` holds.

    Raises
    ------
    InputError
        Something that was asked for cannot be done.
    Cancelled
        It was stopped before any run was finished.
    WorkError
        Every run failed.
    """
    need_matplotlib()
    started = time.monotonic()
    experiment = find(request.name)
    protocol = protocol_of(experiment, request)
    protocol.work.mkdir(parents=True, exist_ok=True)

    def late() -> bool:
        over = request.stop_after is not None and time.monotonic() - started > 60 * request.stop_after
        return over or cancelled()

    with threads(protocol.threads):
        protocol = experiment.prepare(protocol)
    arms = experiment.arms(protocol)
    unknown = sorted(set(request.arms) - {arm.name for arm in arms})
    if unknown:
        raise InputError(f"There is no arm {unknown[0]!r}.", f"Choose from {', '.join(arm.name for arm in arms)}.")
    chosen = [arm for arm in arms if not request.arms or arm.name in request.arms]
    seeds = request.seeds or tuple(range(experiment.seeds))
    runs = runs_of(chosen, seeds, int(protocol.options.get("folds", 1)))
    rows, failed, stopped = run_all(experiment, protocol, runs, jobs=request.jobs, report=report, cancelled=late)
    if not rows:
        if stopped:
            raise Cancelled("The experiment was stopped before a run was finished.", "The same call goes on with it.")
        name, reason = next(iter(failed.items()))
        raise WorkError(f"Every run failed; {name}: {reason}", "Correct it, and start again.")
    result = {
        "experiment": experiment.name,
        "title": experiment.title,
        "sentence": experiment.sentence,
        "paper": experiment.paper,
        "data": protocol.study.folder.name,
        "cases": len(protocol.study.samples),
        "patients": len(protocol.study.groups),
        "network": protocol.network,
        "steps": protocol.steps,
        "minutes": protocol.minutes,
        "options": as_json(dict(protocol.options)),
        "precision": protocol.precision,
        "threads": protocol.threads,
        "jobs": request.jobs,
        "seeds": list(seeds),
        "arms": {arm.name: arm.sentence for arm in chosen},
        "left_out": [arm.name for arm in arms if arm not in chosen],
        "runs": len(runs),
        "complete": len(rows),
        "failed": [{"run": name, "reason": reason} for name, reason in failed.items()],
        "stopped": stopped,
        "version": __version__,
        "work": f"work/{protocol.work.name}",
    }
    findings = experiment.tell(protocol, rows)
    return write(request.out, experiment, result, rows, findings)


def protocol_of(experiment: Experiment, request: Request) -> Protocol:
    """What all runs share, by what was asked for.

    Raises
    ------
    InputError
    """
    network = request.network or experiment.networks[0]
    if network not in experiment.networks:
        raise InputError(
            f"The experiment {experiment.name} is not made with the network {network!r}.",
            f"Choose one of {', '.join(experiment.networks)}.",
        )
    if request.steps is not None and request.minutes is not None:
        raise InputError("A training is as long as its steps or its minutes say.", "Give one of them.")
    steps = request.steps if request.minutes is not None else request.steps or experiment.steps
    protocol = Protocol(
        experiment=experiment.name,
        study=_study(experiment, request),
        work=request.out,
        steps=steps,
        minutes=request.minutes,
        network=network,
        options=experiment.parsed(request.options),
        device=request.device,
        threads=request.threads,
    )
    return replace(protocol, work=request.out.expanduser().resolve() / "work" / protocol.identity)


def _study(experiment: Experiment, request: Request) -> Study:
    if request.data is not None:
        return read_study(request.data, modality=request.modality or None, separator=request.separator)
    if not experiment.phantoms:
        raise InputError(f"The experiment {experiment.name} needs real scans.", "Name a folder with --data.")
    options = experiment.parsed(request.options)
    number, size = options.get("phantoms", PHANTOM_COUNT), options.get("size", "standard")
    folder = request.out.expanduser().resolve() / f"{PHANTOMS}-{number}-{size}"
    return make_phantoms(folder, experiment.phantoms, number, size=size)
