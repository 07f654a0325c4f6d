"""The engine's jobs: a round, a resumed round, predictions and a ranking, each on a project folder.

Torch, MONAI and everything that needs them is imported inside the functions: the engine answers its client and beats
its heart before the seconds that torch takes to load.
"""

from __future__ import annotations

import gc
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from napari_dasl.engine import memory
from napari_dasl.engine import messages as wire
from napari_dasl.errors import EngineError, ProjectError
from napari_dasl.events import CancelCheck, Log, Report
from napari_dasl.rounds.plan import RoundPlan

if TYPE_CHECKING:
    from collections.abc import Callable


def device() -> str:
    """Return the device that ``auto`` means on this machine.

    Raises
    ------
    EngineError
        If torch is missing or cannot be loaded.
    """
    try:
        import_module("torch")
    except ImportError as problem:
        raise EngineError(
            f"PyTorch cannot be loaded by {sys.executable}: {problem}.",
            'Install what training needs: pip install "napari-dasl[train]".',
        ) from problem
    return str(import_module("napari_dasl.training.device").choose("auto"))


def run_round(params: wire.RoundStart, report: Report, cancelled: CancelCheck) -> dict[str, Any]:
    """Run one round: gather, train, guard, promote, predict, rank."""
    with _open(params.project) as project:
        return _round(project, params.plan, report, cancelled)


def resume_round(params: wire.RoundResume, report: Report, cancelled: CancelCheck) -> dict[str, Any]:
    """Go on with the last round that did not end, from its saved state."""
    with _open(params.project) as project:
        last = project.last_unfinished_round()
        if last is None:
            raise ProjectError(
                f"There is no unfinished round in {params.project}.", "Start a new round instead of resuming one."
            )
        plan = RoundPlan.model_validate({key: last.plan[key] for key in RoundPlan.model_fields if key in last.plan})
        return _round(project, plan, report, cancelled, resume=True)


def predict(params: wire.PredictStart, report: Report, cancelled: CancelCheck) -> dict[str, Any]:
    """Predict cases with the active model, and rank the unlabelled ones anew."""
    rounds = import_module("napari_dasl.rounds")
    _use_free_cores()
    cases = None if params.cases is None else list(params.cases)
    with _open(params.project) as project:
        # Without a device of its own, the request leaves the choice to the project.
        own = {} if params.device == "auto" else {"device": params.device}
        own |= {} if params.strategy is None else {"strategy": params.strategy}
        return as_result(rounds.predict(project, cases, all=params.all, report=report, cancelled=cancelled, **own))


def rank(params: wire.RankStart, report: Report, cancelled: CancelCheck) -> dict[str, Any]:
    """Rank the predicted cases anew; the list itself is in the project."""
    rounds = import_module("napari_dasl.rounds")
    with _open(params.project) as project:
        return as_result(rounds.rank(project))


JOBS: dict[str, Callable[[Any, Report, CancelCheck], dict[str, Any]]] = {
    wire.RoundStart.method: run_round,
    wire.RoundResume.method: resume_round,
    wire.PredictStart.method: predict,
    wire.RankStart.method: rank,
}


def _use_free_cores() -> None:
    """Compute with as many threads as cores are free: with more, each step takes many times as long."""
    import_module("torch").set_num_threads(import_module("napari_dasl.training.device").choose_threads())


def _open(folder: str) -> Any:
    return import_module("napari_dasl.project").Project.open(Path(folder))


def _round(
    project: Any, plan: RoundPlan, report: Report, cancelled: CancelCheck, *, resume: bool = False
) -> dict[str, Any]:
    rounds, training = import_module("napari_dasl.rounds"), import_module("napari_dasl.training")
    _use_free_cores()
    if not resume:
        # First, because the training plan is derived from the scans that are not in the guard set.
        import_module("napari_dasl.rounds.planning").choose_guard_if_missing(project, report)
    detailed = rounds.training_plan(project, plan, report=report)
    wanted = plan.device if plan.device != "auto" else project.config.training.device
    chosen = str(import_module("napari_dasl.training.device").choose(wanted))
    strides = detailed.network_options.get("strides")
    multiple = import_module("napari_dasl.training.topology").divisor(strides) if strides else memory.MULTIPLE

    def estimate(batch: int, patch: memory.Triple) -> float:
        return float(training.estimate_memory_mb(detailed.model_copy(update={"batch": batch, "patch": patch}), chosen))

    available = memory.available_mb(chosen)
    memory.check(estimate, detailed.batch, detailed.patch, available=available, device=chosen, multiple=multiple)
    return with_one_retry(
        lambda now: as_result(
            rounds.run(project, now, report=report, cancelled=cancelled, resume=resume and now is plan)
        ),
        plan,
        detailed.batch,
        detailed.patch,
        report,
        multiple,
    )


def with_one_retry(
    run: Callable[[RoundPlan], dict[str, Any]],
    plan: RoundPlan,
    batch: int,
    patch: memory.Triple,
    report: Report,
    multiple: memory.Triple = memory.MULTIPLE,
) -> dict[str, Any]:
    """Run *plan*; when memory runs out, run it once more with half the batch, or with a smaller patch.

    Parameters
    ----------
    run : callable
        Does the work for a plan.
    batch, patch
        What *plan* comes to with the defaults of the project filled in; *patch* is (z, y, x) in voxels.
    multiple : tuple of int
        What each side of a patch must be a multiple of.

    Raises
    ------
    TooLarge
        If memory runs out again, with the next smaller sizes as its ``retry``.
    """
    first = memory.smaller(batch, patch, multiple)
    said = _out_of_memory(run, plan)
    if isinstance(said, dict):
        return said
    if first is None:
        raise memory.TooLarge(f"Memory ran out ({said}).", f"Use {memory.in_words(None)}, or close other programs.")
    _free()
    report(Log(level="warning", text=f"Memory ran out; the round starts again with {memory.in_words(first)}."))
    retried = RoundPlan.model_validate(plan.model_dump() | first)
    again = _out_of_memory(run, retried)
    if isinstance(again, dict):
        return again
    second = memory.smaller(first.get("batch", batch), tuple(first.get("patch", patch)), multiple)
    retry = None if second is None else first | second
    raise memory.TooLarge(
        f"Memory ran out twice, the second time with {memory.in_words(first)} ({again}).",
        f"Close other programs, or try {memory.in_words(retry)}.",
        retry,
    )


def _out_of_memory(run: Callable[[RoundPlan], dict[str, Any]], plan: RoundPlan) -> dict[str, Any] | str:
    """Return the result of *run*, or what it said when memory ran out.

    Only words leave this function: the exception's traceback would keep alive the very arrays that did not fit.
    """
    try:
        return run(plan)
    except Exception as problem:
        if not memory.is_out_of_memory(problem):
            raise
        return " ".join(str(problem).split())[:200].rstrip(". ") or type(problem).__name__


def _free() -> None:
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def as_result(value: Any) -> dict[str, Any]:
    """Return what a job made as a JSON object, with the keys of the command line; of a ranking its length and notes."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True)
    if isinstance(value, dict):
        return value
    return {"ranked": len(value.scores), "notes": list(value.notes)}
