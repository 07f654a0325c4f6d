"""Whole-scan prediction: our sliding window beside MONAI's, the same network, windows and overlap.

    python benchmarks/sliding_window.py --shape 134 512 512 --patch 64 128 128

Each side runs in a process of its own, and both end with class probabilities of the volume in memory: ours in half
precision as the program keeps them, MONAI's by softmax over its output. Prints time, processor time (the one to trust
on a busy machine), peak memory and their ratios.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


def make_network(channels: int, classes: int):
    import torch

    from napari_dasl import networks

    torch.manual_seed(0)
    return networks.build("unet", 1, classes, channels=(channels, 2 * channels, 4 * channels), strides=(2, 2, 2)).eval()


def ours(network, image: np.ndarray, given: argparse.Namespace) -> np.ndarray:
    from napari_dasl.inference import predict

    return predict(
        network,
        image,
        patch=given.patch,
        out_channels=given.classes,
        overlap=given.overlap,
        batch=given.batch,
        precision=given.precision,
    )


def monai(network, image: np.ndarray, given: argparse.Namespace) -> np.ndarray:
    import torch
    from monai.inferers import sliding_window_inference

    def forward(tiles):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=given.precision == "bf16"):
            return network(tiles).float()

    with torch.inference_mode():
        logits = sliding_window_inference(
            torch.from_numpy(image)[None],
            given.patch,
            given.batch,
            forward,
            overlap=given.overlap,
            mode="gaussian",
            sigma_scale=0.125,
        )
        return torch.softmax(logits, dim=1)[0].numpy()


def child(given: argparse.Namespace) -> None:
    rng = np.random.default_rng(0)
    image = rng.standard_normal((1, *given.shape), dtype=np.float32)
    network = make_network(given.channels, given.classes)
    (ours if given.child == "ours" else monai)(
        network, image[:, : given.patch[0], : given.patch[1], : given.patch[2]], given
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin, began = time.perf_counter(), time.process_time()
    result = (ours if given.child == "ours" else monai)(network, image, given)
    seconds, busy = time.perf_counter() - begin, time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    np.save(given.out, result[1, ::4, ::4, ::4].astype(np.float32))
    print(json.dumps({"seconds": seconds, "cpu": busy, "peak_mb": peak / 1024, "before_mb": before / 1024}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", type=int, nargs=3, default=[134, 512, 512], metavar=("Z", "Y", "X"))
    parser.add_argument("--patch", type=int, nargs=3, default=[64, 128, 128], metavar=("Z", "Y", "X"))
    parser.add_argument("--overlap", type=float, default=0.5)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--classes", type=int, default=2, help="channels of the output, background included")
    parser.add_argument("--channels", type=int, default=8, help="features of the network's first level")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given)
        return
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        for side in ("ours", "monai"):
            out = Path(folder) / f"{side}.npy"
            command = [sys.executable, __file__, *sys.argv[1:], "--child", side, "--out", str(out)]
            rows[side] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        first, second = (np.load(Path(folder) / f"{side}.npy") for side in rows)
    print(f"{'':8}{'seconds':>10}{'CPU s':>10}{'peak MB':>10}{'before MB':>11}")
    for side, row in rows.items():
        print(f"{side:8}{row['seconds']:10.1f}{row['cpu']:10.1f}{row['peak_mb']:10.0f}{row['before_mb']:11.0f}")
    time_ratio, cpu_ratio = (rows["ours"][key] / rows["monai"][key] for key in ("seconds", "cpu"))
    memory_ratio = rows["ours"]["peak_mb"] / rows["monai"]["peak_mb"]
    print(
        f"ratio (ours / MONAI): time {time_ratio:.2f}, processor time {cpu_ratio:.2f}, peak memory {memory_ratio:.2f}"
    )
    difference = float(np.abs(first - second).mean())
    print(f"mean difference of the probabilities (the windows lie a little apart): {difference:.4f}")


if __name__ == "__main__":
    main()
