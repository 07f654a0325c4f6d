"""Whether a round fits into memory, asked before it starts, and what to try when it did not.

Memory is counted in MB of 2**20 bytes. On Linux the limit of the control group counts as well as the machine's own
memory: in a container the kernel kills what exceeds the limit, however much the machine has.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from napari_dasl.errors import OutOfMemory

if TYPE_CHECKING:
    from collections.abc import Callable

MB = 2**20
Triple = tuple[int, int, int]
MULTIPLE: Triple = (16, 16, 16)
SHORTEST_SIDE = 16
_SIGNS = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")


class TooLarge(OutOfMemory):
    """Out of memory, with the fields of a plan that may fit: ``{"batch": 1}`` or ``{"patch": [32, 64, 64]}``."""

    def __init__(self, message: str, hint: str = "", retry: dict[str, Any] | None = None) -> None:
        super().__init__(message, hint)
        self.retry = retry


def is_out_of_memory(problem: BaseException) -> bool:
    """Tell whether *problem* means that memory ran out, in the words of Python, numpy, torch and CUDA."""
    if isinstance(problem, (MemoryError, OutOfMemory)) or type(problem).__name__ == "OutOfMemoryError":
        return True
    words = str(problem).lower()
    return isinstance(problem, RuntimeError) and any(sign in words for sign in _SIGNS)


def smaller(batch: int, patch: Triple, multiple: Triple = MULTIPLE) -> dict[str, Any] | None:
    """Return what to change first so that a training step needs less: half the batch, then half the longest patch side.

    Parameters
    ----------
    batch : int
        Patches per step now.
    patch : tuple of int
        Patch size (z, y, x) in voxels now.
    multiple : tuple of int
        What each side must be a multiple of, by the strides of the network.

    Returns
    -------
    dict or None
        ``{"batch": n}`` or ``{"patch": [z, y, x]}``; None where nothing smaller makes sense.
    """
    if batch > 1:
        return {"batch": batch // 2}
    for axis in sorted(range(3), key=lambda axis: -patch[axis]):
        half = patch[axis] // 2 // multiple[axis] * multiple[axis]
        if half >= SHORTEST_SIDE:
            return {"patch": [half if other == axis else side for other, side in enumerate(patch)]}
    return None


def in_words(retry: dict[str, Any] | None) -> str:
    """Return what *retry* asks for as the end of a sentence: ``a batch of 1`` or ``patches of 32 × 64 × 64 voxels``."""
    if not retry:
        return "a machine with more memory"
    words = []
    if "batch" in retry:
        words.append(f"a batch of {retry['batch']}")
    if "patch" in retry:
        words.append(f"patches of {' × '.join(str(side) for side in retry['patch'])} voxels")
    return " and ".join(words)


def available_mb(device: str = "cpu") -> float:
    """Return the memory that a new job may use on *device* now, in MB."""
    if device.startswith("cuda"):
        import torch

        free, _total = torch.cuda.mem_get_info(torch.device(device))
        return float(free) / MB
    machine = float(psutil.virtual_memory().available) / MB
    group = group_available_mb()
    return machine if group is None else min(machine, group)


def group_available_mb(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> float | None:
    """Return what the Linux control groups of this process leave free in MB; None where no group sets a limit.

    Version 2 nests: each folder from our own up to the root may set ``memory.max``, and the tightest counts. Version 1
    keeps the limit in ``memory/memory.limit_in_bytes``. File cache counts as free, because the kernel gives it up.
    """
    left: list[float] = []
    for folder, limit, usage, cache in _groups(root, own):
        bound = _number(folder / limit)
        if bound is not None and bound < 2**60:
            used = (_number(folder / usage) or 0) - _reclaimable(folder / "memory.stat", cache)
            left.append((bound - used) / MB)
    return max(min(left), 0.0) if left else None


def _groups(root: Path, own: Path) -> list[tuple[Path, str, str, str]]:
    v2 = ("memory.max", "memory.current", "inactive_file")
    v1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    found: list[tuple[Path, str, str, str]] = [(root, *v2), (root / "memory", *v1)]
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return found
    for line in lines:
        _hierarchy, controllers, path = line.split(":", 2)
        inner = Path(path.lstrip("/"))
        parts = [inner, *inner.parents][:-1]
        if not controllers:
            found += [(root / part, *v2) for part in parts]
        elif "memory" in controllers.split(","):
            found += [(root / "memory" / part, *v1) for part in parts]
    return found


def _number(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _reclaimable(path: Path, key: str) -> int:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{key} ")), 0)


def check(
    estimate: Callable[[int, Triple], float],
    batch: int,
    patch: Triple,
    *,
    available: float,
    device: str = "cpu",
    multiple: Triple = MULTIPLE,
) -> float:
    """Refuse training that will not fit, and name what would.

    Parameters
    ----------
    estimate : callable
        ``(batch, patch) -> MB`` that training needs.
    batch, patch
        What the plan asks for; *patch* is (z, y, x) in voxels.
    available : float
        MB that are free on *device*.
    multiple : tuple of int
        What each side of a patch must be a multiple of.

    Returns
    -------
    float
        The estimate in MB.

    Raises
    ------
    TooLarge
        With both numbers, and the first smaller batch or patch that fits.
    """
    needed = estimate(batch, patch)
    if needed <= available:
        return needed
    tried_batch, tried_patch = batch, patch
    retry: dict[str, Any] | None = None
    while (step := smaller(tried_batch, tried_patch, multiple)) is not None:
        tried_batch = step.get("batch", tried_batch)
        tried_patch = tuple(step.get("patch", tried_patch))
        changed = {"batch": tried_batch} if tried_batch != batch else {}
        retry = changed | ({"patch": list(tried_patch)} if tried_patch != patch else {})
        if estimate(tried_batch, tried_patch) <= available:
            break
    else:
        retry = None
    what = "memory" if device == "cpu" else f"memory of {device}"
    raise TooLarge(
        f"Training needs about {needed:,.0f} MB of {what}, and {max(available, 0):,.0f} MB are free.",
        f"Close other programs, or try {in_words(retry)}.",
        retry,
    )
