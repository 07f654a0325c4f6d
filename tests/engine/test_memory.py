"""A plan that does not fit is refused with both numbers and the first smaller plan that does."""

from __future__ import annotations

import numpy as np
import psutil
import pytest

from napari_dasl.engine import memory
from napari_dasl.errors import OutOfMemory


def voxels(batch, patch):
    """One MB for a thousand voxels."""
    return batch * np.prod(patch) / 1000


def test_half_the_batch_first_then_the_longest_side():
    steps, batch, patch = [], 4, (48, 96, 96)
    while (step := memory.smaller(batch, patch)) is not None:
        steps.append(step)
        batch, patch = step.get("batch", batch), tuple(step.get("patch", patch))
    assert steps == [
        {"batch": 2},
        {"batch": 1},
        {"patch": [48, 48, 96]},
        {"patch": [48, 48, 48]},
        {"patch": [16, 48, 48]},
        {"patch": [16, 16, 48]},
        {"patch": [16, 16, 16]},
    ]
    assert memory.smaller(1, (16, 16, 16)) is None


def test_a_side_stays_a_multiple_of_the_strides_of_the_network():
    assert memory.smaller(1, (12, 40, 40), (1, 8, 8)) == {"patch": [12, 16, 40]}
    assert memory.smaller(1, (40, 16, 16), (32, 16, 16)) is None


def test_what_fits_passes_with_its_estimate():
    assert memory.check(voxels, 2, (10, 10, 10), available=2.0) == 2.0


@pytest.mark.parametrize(
    ("available", "retry"),
    [(600.0, {"batch": 2}), (300.0, {"batch": 1}), (200.0, {"batch": 1, "patch": [32, 64, 64]}), (1.0, None)],
)
def test_what_does_not_fit_is_refused_with_what_would(available, retry):
    with pytest.raises(OutOfMemory) as caught:
        memory.check(voxels, 4, (64, 64, 64), available=available)
    assert caught.value.message == f"Training needs about 1,049 MB of memory, and {available:,.0f} MB are free."
    assert caught.value.retry == retry
    if retry:
        assert voxels(retry.get("batch", 4), retry.get("patch", (64, 64, 64))) <= available
    else:
        assert caught.value.hint == "Close other programs, or try a machine with more memory."


def test_a_retry_is_said_in_words():
    assert memory.in_words({"batch": 1}) == "a batch of 1"
    assert memory.in_words({"patch": [16, 32, 32]}) == "patches of 16 × 32 × 32 voxels"
    assert memory.in_words({"batch": 1, "patch": [16, 32, 32]}) == "a batch of 1 and patches of 16 × 32 × 32 voxels"


@pytest.mark.parametrize(
    ("problem", "yes"),
    [
        (MemoryError(), True),
        (OutOfMemory("x"), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 20 MiB"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 40 bytes"), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 40 bytes"), True),
        (type("OutOfMemoryError", (RuntimeError,), {})("HIP"), True),
        (RuntimeError("shape mismatch"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_running_out_of_memory_has_many_words(problem, yes):
    assert memory.is_out_of_memory(problem) is yes


def test_torch_and_numpy_say_it_in_these_words():
    torch = pytest.importorskip("torch")
    with pytest.raises(RuntimeError) as from_torch:
        torch.empty(2**60, dtype=torch.uint8)
    with pytest.raises(MemoryError) as from_numpy:
        np.empty(2**60, dtype=np.uint8)
    assert memory.is_out_of_memory(from_torch.value)
    assert memory.is_out_of_memory(from_numpy.value)


def group(folder, limit, usage, cache=0):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{usage}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {cache}\n")


def test_the_tightest_control_group_counts_and_cache_is_free(tmp_path):
    root, own = tmp_path / "cgroup", tmp_path / "self"
    own.write_text("0::/pod/container\n")
    group(root, "max", 0)
    group(root / "pod", 1000 * memory.MB, 900 * memory.MB, cache=50 * memory.MB)
    group(root / "pod" / "container", 800 * memory.MB, 100 * memory.MB)
    assert memory.group_available_mb(root, own) == pytest.approx(150)


def test_the_older_control_groups_are_read_too(tmp_path):
    root, own = tmp_path / "cgroup", tmp_path / "self"
    own.write_text("11:cpu,cpuacct:/x\n4:memory:/x\n")
    inner = root / "memory" / "x"
    inner.mkdir(parents=True)
    (inner / "memory.limit_in_bytes").write_text(str(500 * memory.MB))
    (inner / "memory.usage_in_bytes").write_text(str(600 * memory.MB))
    assert memory.group_available_mb(root, own) == 0.0


def test_without_a_limit_the_machine_decides(tmp_path):
    assert memory.group_available_mb(tmp_path, tmp_path / "none") is None
    assert 0 < memory.available_mb() <= psutil.virtual_memory().total / memory.MB
