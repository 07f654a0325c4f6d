"""A real engine process with make-believe jobs: what it does is the last part of the project's path."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from napari_dasl.engine import jobs, memory, messages
from napari_dasl.engine.server import serve
from napari_dasl.errors import Cancelled, StorageError
from napari_dasl.events import Log, Metric, Phase


def round_job(params, report, cancelled):
    project = Path(params.project)
    report(Phase(name="train", text="Training."))
    match project.name:
        case "short":
            for step in range(3):
                report(Metric(name="loss", step=step, value=1 / (step + 1)))
            return {"round": 1, "steps": params.plan.steps}
        case "prints":
            sys.stdout.write("a library prints a line\n")
            sys.stdout.flush()
            os.write(1, b"and C code writes another\n")
            os.system("echo and a child process a third")
            return {}
        case "long" | "deaf":
            (project.parent / "engine.pid").write_text(str(os.getpid()))
            report(Log(text=f"pid {os.getpid()}"))
            for step in range(600):
                if cancelled() and project.name == "long":
                    (project.parent / "state").write_text(f"step {step}")
                    raise Cancelled("Cancelled; the state is saved.", "Go on with --resume.")
                report(Metric(name="loss", step=step, value=0.5))
                time.sleep(0.05)
            return {}
        case "full":
            raise StorageError("The disk of /study is full.", "Free 2 GB.")
        case "fault":
            return {"x": [][3]}
        case "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "exit":
            sys.stderr.write("ValueError: the very end\n")
            sys.stderr.flush()
            os._exit(3)
        case "hungry" | "greedy" | "insatiable":
            return _hungry(project.name, params.plan, report)
    raise AssertionError(project.name)


def _hungry(appetite, plan, report):
    """Run out of memory in the words of torch, CUDA and numpy unless the plan is small enough."""

    def run(now):
        batch, patch = now.batch or 4, now.patch or (64, 64, 64)
        if appetite == "hungry" and batch > 2:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory")
        if appetite == "greedy" and (batch > 1 or max(patch) > 32):
            raise type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory. Tried to allocate 2 GiB")
        if appetite == "insatiable":
            raise MemoryError("Unable to allocate 9 GiB for an array")
        return {"batch": batch, "patch": list(patch)}

    return jobs.with_one_retry(run, plan, plan.batch or 4, plan.patch or (64, 64, 64), report)


def predict_job(params, report, cancelled):
    return {"predicted": list(params.cases or ()), "all": params.all}


def rank_job(params, report, cancelled):
    raise memory.TooLarge("Too large.", "Try a batch of 1.", {"batch": 1})


def resume_job(params, report, cancelled):
    return {"resumed": (Path(params.project).parent / "state").read_text()}


def no_device():
    raise OSError("libtorch.so is broken")


if __name__ == "__main__":
    sys.exit(
        serve(
            {
                messages.RoundStart.method: round_job,
                messages.RoundResume.method: resume_job,
                messages.PredictStart.method: predict_job,
                messages.RankStart.method: rank_job,
            },
            device=no_device if "broken" in sys.argv else lambda: "cpu",
        )
    )
