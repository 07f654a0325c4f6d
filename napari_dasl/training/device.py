"""Where training runs, on how many threads, and in which precision: chosen by asking the machine."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import psutil
import torch
from torch import nn

from napari_dasl.errors import InputError
from napari_dasl.training.objectives import objective

if TYPE_CHECKING:
    from napari_dasl.training.plan import TrainingPlan

PrecisionName = Literal["bf16", "fp32"]


@dataclass(frozen=True)
class Precision:
    """How the network computes: its autocast type, and the memory layout of its tensors."""

    dtype: PrecisionName
    channels_last: bool

    def layout(self, spatial_dims: int) -> torch.memory_format:
        """The memory format of images and weights with so many spatial axes."""
        if not self.channels_last:
            return torch.contiguous_format
        return torch.channels_last_3d if spatial_dims == 3 else torch.channels_last

    def autocast(self, device: torch.device) -> torch.autocast:
        """The context in which the network runs."""
        return torch.autocast(device.type, torch.bfloat16, enabled=self.dtype == "bf16")


def choose(name: str = "auto") -> torch.device:
    """The device called *name*; ``auto`` is the first GPU where torch sees one, else the processor.

    Raises
    ------
    InputError
        Where there is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"There is no device called {name!r}.", "Choose auto, cpu, cuda or cuda:1.") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"The device {name} is not here: torch sees {torch.cuda.device_count()} GPU(s).", "Choose auto or cpu."
        )
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"Training on {name} is not supported.", "Choose auto, cpu, cuda or cuda:1.")
    return device


def choose_threads(interval: float = 0.2) -> int:
    """How many threads to compute with: the physical cores that others leave free, at least one.

    The environment variable ``OMP_NUM_THREADS`` goes before it. Hyper-threads are not counted: two on one core share
    the units that convolutions need.
    """
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    physical = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    process = psutil.Process()
    if hasattr(process, "cpu_affinity"):
        physical = min(physical, len(process.cpu_affinity()))
    busy = sum(psutil.cpu_percent(interval, percpu=True)) / 100
    return max(1, physical - int(busy + 0.5))


def _seconds(network: nn.Module, plan: TrainingPlan, device: torch.device, precision: Precision, repeat: int) -> float:
    """Time of the fastest of *repeat* training steps on one patch."""
    task = objective(plan)
    batch = task.moved(task.trial(plan), device)
    network.to(memory_format=precision.layout(plan.spatial_dims))
    best = float("inf")
    for _ in range(repeat + 1):  # the first one also chooses algorithms
        begin = time.perf_counter()
        task.loss(network, batch, precision).backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - begin)
        network.zero_grad(set_to_none=True)
    return best


def corrupts_in_bf16(plan: TrainingPlan, device: torch.device) -> bool:
    """Whether torch's gradients of bf16 convolutions write past their memory with patches of this shape.

    Measured with torch 2.13 on a processor with AMX, under glibc's MALLOC_CHECK_=3, for 3D convolutions of 3x3x3 with
    16 to 64 channels: it happens with at most 8 slices of at least 9216 voxels (96x96, 64x144), and not with 12 slices,
    nor with slices of up to 8064. What a patch is at the deeper resolutions of a network counts as well (8x256x256 of
    16x512x512); the limits keep a distance.
    """
    slices, plane = float(plan.patch[0]), float(plan.patch[1] * plan.patch[2])
    while device.type == "cpu" and plan.spatial_dims == 3 and plane > WIDEST_SAFE:
        if slices < FEWEST_SAFE:
            return True
        slices, plane = slices / 2, plane / 4
    return False


WIDEST_SAFE, FEWEST_SAFE = 7500, 12
"""Voxels of a slice, and slices, of :func:`corrupts_in_bf16`."""


_measured: dict[tuple[str, str, int], Precision] = {}
"""What was the fastest on this machine, by plan, device and threads: measured once in the life of a process."""


def measure_precision(plan: TrainingPlan, network: nn.Module, device: torch.device, repeat: int = 2) -> Precision:
    """The precision that the plan asks for, or the one that a short measurement on this machine finds fastest.

    A plan that names its precision gives the same numbers on every run; ``auto`` may choose otherwise another day, but
    not within a process, which measures a plan once: on a processor a measurement takes as long as a dozen steps. bf16
    is tried there only where it has the instructions for it (AVX-512 BF16 or AMX; without them it is slower than fp32)
    and the patch is not thin and wide, and channels-last for both, because which layout wins depends on the processor.
    The network is left in the layout that won; its weights stay as they were.
    """
    if device.type == "cuda":
        # Channels-last helps a GPU only where every layer has a kernel for it; the plain layout is the safe choice.
        able = torch.cuda.is_bf16_supported(including_emulation=False)
        return Precision("bf16" if able and plan.precision != "fp32" else "fp32", channels_last=False)
    if plan.precision != "auto":
        asked = Precision(plan.precision, channels_last=True)
        network.to(memory_format=asked.layout(plan.spatial_dims))
        return asked
    # Every round has a seed of its own, and may have its own length: neither makes a step faster.
    asked_for = (plan.model_dump_json(exclude={"seed", "steps"}), str(device), torch.get_num_threads())
    if asked_for not in _measured:
        _measured[asked_for] = _fastest(plan, network, device, repeat)
    best = _measured[asked_for]
    network.to(memory_format=best.layout(plan.spatial_dims))
    return best


def _fastest(plan: TrainingPlan, network: nn.Module, device: torch.device, repeat: int) -> Precision:
    """Measure on a processor which precision and layout trains the fastest; weights and buffers stay as they were."""
    able = bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    able = able and not corrupts_in_bf16(plan, device)
    kinds: tuple[PrecisionName, ...] = ("bf16", "fp32") if able else ("fp32",)
    candidates = [Precision(kind, last) for kind in kinds for last in (True, False)]
    # Batch normalisation counts what it sees, and the trial is nothing to learn from.
    saved = network.state_dict()
    buffers = {name: (b, b.detach().clone()) for name, b in network.named_buffers() if name in saved}
    times = [_seconds(network, plan, device, candidate, repeat) for candidate in candidates]
    for buffer, before in buffers.values():
        buffer.copy_(before)
    # A machine at work measures unevenly: the usual winner, which comes first, must be beaten by a margin.
    return candidates[int(np.argmin([t * (1 if i == 0 else 1.15) for i, t in enumerate(times)]))]


def choose_precision(plan: TrainingPlan, network: nn.Module, device: torch.device) -> PrecisionName:
    """The number type of :func:`measure_precision`; the network is left in the memory layout that goes with it."""
    return measure_precision(plan, network, device).dtype


def available_memory_mb(device: torch.device) -> float:
    """What a new job may use of the device's memory, in MB of 2**20 bytes: what is free, less a reserve of a fifth."""
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
    return 0.8 * float(free) / 2**20
