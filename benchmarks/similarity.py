"""Eq. 3 over a large pool: the linear form on a memory-mapped file, beside the D × D matrix on a part of it.

    python benchmarks/similarity.py --cases 10000 --subset 2000

Each side runs in a process of its own. The matrix side is what a direct reading of the formula gives, written well: one
matrix product of the normalised signatures. Prints times, the memory that each takes beyond the mapped file, and the
ratio on the same subset.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil

from napari_dasl.active import mean_similarity


def write_pool(path: Path, cases: int, length: int) -> None:
    """Random signatures with a common part, float32, on disk."""
    rng = np.random.default_rng(0)
    pool = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(cases, length))
    common = rng.random(length, dtype=np.float32)
    for start in range(0, cases, 256):
        rows = min(256, cases - start)
        pool[start : start + rows] = common + rng.random((rows, length), dtype=np.float32)
    pool.flush()


def matrix(signatures: np.ndarray) -> np.ndarray:
    units = np.asarray(signatures, dtype=np.float64)
    units = units / np.linalg.norm(units, axis=1, keepdims=True)
    cosines = units @ units.T
    return (cosines.sum(axis=1) - 1) / (len(units) - 1)


class PeakMemory(threading.Thread):
    """Samples this process's own memory: pages of the mapped file, which the system may drop at any time, left out."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.process = psutil.Process()
        self.peak = self.now()
        self.stop = threading.Event()

    def now(self) -> int:
        """Bytes that no file stands behind."""
        info = self.process.memory_info()
        return info.rss - getattr(info, "shared", 0)

    def run(self) -> None:
        """Sample until told to stop."""
        while not self.stop.wait(0.005):
            self.peak = max(self.peak, self.now())


def child(side: str, path: Path, cases: int, out: Path) -> None:
    signatures = np.load(path, mmap_mode="r")[:cases]
    memory = PeakMemory()
    before = memory.peak
    memory.start()
    begin = time.perf_counter()
    result = mean_similarity(signatures) if side == "linear" else matrix(signatures)
    seconds = time.perf_counter() - begin
    memory.stop.set()
    memory.join()
    np.save(out, result)
    print(json.dumps({"seconds": seconds, "extra_mb": (memory.peak - before) / 2**20}))


def measure(side: str, path: Path, cases: int, out: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", side, "--file", str(path), "--cases", str(cases), "--out", str(out)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(answer.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--subset", type=int, default=2_000, help="cases of the pool that the matrix is made for")
    parser.add_argument("--grid", type=int, default=32)
    parser.add_argument("--folder", type=Path, default=None, help="where the pool is written (cases × grid³ × 4 bytes)")
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.child, given.file, given.cases, given.out)
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        path = Path(folder) / "signatures.npy"
        write_pool(path, given.cases, given.grid**3)
        subset = min(given.subset, given.cases)
        linear = measure("linear", path, subset, Path(folder) / "linear.npy")
        square = measure("matrix", path, subset, Path(folder) / "matrix.npy")
        difference = np.abs(np.load(Path(folder) / "linear.npy") - np.load(Path(folder) / "matrix.npy")).max()
        whole = measure("linear", path, given.cases, Path(folder) / "whole.npy")
    print(f"{'':34}{'seconds':>10}{'extra MB':>10}")
    for name, row in (
        (f"linear, {subset} cases", linear),
        (f"D × D matrix, {subset} cases", square),
        (f"linear, {given.cases} cases", whole),
    ):
        print(f"{name:34}{row['seconds']:10.2f}{row['extra_mb']:10.0f}")
    print(f"largest difference {difference:.1e}")
    time_ratio, memory_ratio = (linear[key] / square[key] for key in ("seconds", "extra_mb"))
    print(f"ratio (linear / matrix), {subset} cases: time {time_ratio:.3f}, extra memory {memory_ratio:.3f}")


if __name__ == "__main__":
    main()
