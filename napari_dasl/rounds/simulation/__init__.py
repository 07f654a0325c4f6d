"""Replays of the annotation loop with the truth as annotator: the same rounds as in the window, compared fairly.

:func:`simulate` gives every strategy and seed a project of its own below ``PROJECT/simulations``, where all strategies
of a seed start from the same labels, and tests every model on cases that no run ever sees. What is finished is not
done again, so the same call goes on after an interruption, and more seeds or strategies add to what is there.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from napari_dasl.errors import Cancelled, WorkError
from napari_dasl.events import Log, Phase, never, silent
from napari_dasl.rounds.simulation.spec import Arm, Careless, Simulation, make

if TYPE_CHECKING:
    from napari_dasl.events import CancelCheck, Report
    from napari_dasl.project import Project

__all__ = ["Arm", "Careless", "Simulation", "make", "simulate"]


def simulate(
    project: Project, spec: Simulation, report: Report = silent, cancelled: CancelCheck = never
) -> dict[str, Any]:
    """Run a simulation, or what is left of it.

    Parameters
    ----------
    project : Project
        Its scans are referred to; its labels and states are only read. With a ``plan.toml`` every run uses that plan.
    spec : Simulation
    report, cancelled
        As for a round.

    Returns
    -------
    dict
        As :func:`napari_dasl.rounds.simulation.result.document`; also written to ``simulations/<hash>``.

    Raises
    ------
    InputError
        The truth, the test or the number of cases does not do.
    Cancelled
        What was reached is saved and summarised in the folder; the same call goes on.
    WorkError
        Every run failed.
    """
    # Here, so that the command line can read a specification without torch.
    from napari_dasl.rounds.simulation import curves, material, result, run, workers

    started = time.monotonic()
    shared = material.gather(project, spec)
    for case, reason in shared.left_out:
        report(Log(text=f"{case} takes no part: {reason}."))
    runs = [run.Run(arm, seed, spec, shared) for seed in spec.seeds for arm in spec.arms]
    there = {one.name: len(found.points) for one in runs if (found := curves.read(one.folder)) is not None}
    todo = [one for one in runs if there.get(one.name, 0) <= spec.rounds]
    jobs = min(spec.jobs or workers.free_cores(), max(1, len(todo)))
    text = f"{len(todo)} of {len(runs)} runs are to be done, {jobs} at a time; {shared.test} test cases."
    report(Phase(name="train", text=text))
    wanted = spec.rounds + 1
    progress = (sum(min(count, wanted) for count in there.values()), wanted * len(runs))
    failed, stopped = workers.run_all(todo, jobs, progress, report, cancelled)
    drawn = [curve.cut(wanted) for one in runs if (curve := curves.read(one.folder)) is not None]
    answer = result.document(spec, shared, drawn, failed, time.monotonic() - started)
    result.write(shared.folder, answer)
    if stopped:
        raise Cancelled(
            f"The simulation was stopped with {answer['complete']} of {len(runs)} runs complete.",
            f"The same call goes on; what is there is in {shared.folder}.",
        )
    if failed and len(failed) == len(todo):
        raise WorkError(f"Every run failed; the first one: {next(iter(failed.values()))}")
    return answer
