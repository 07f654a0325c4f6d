"""What region networks do with boxes: our suppression beside MONAI's, aligned regions beside pooled and looped ones.

    python benchmarks/region_operations.py --boxes 1000 5000

All rows of a table come from one run of one process, a round of each in turn, and the best of some rounds is printed:
the ratios hold on a busy machine, the times are that machine's. "looped" calls our RoI align for one region at a time.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

import torch
from monai.data.box_utils import non_max_suppression

from napari_dasl.networks.region.boxes import nms, to_corners
from napari_dasl.networks.region.roi import roi_align, roi_pool

if TYPE_CHECKING:
    from collections.abc import Callable


def best_of(rounds: int, device: str, sides: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Fewest milliseconds of each of *sides* over *rounds*, in turn, after one round that does not count."""
    fewest = dict.fromkeys(sides, float("inf"))
    for turn in range(rounds + 1):
        for side, work in sides.items():
            begin = time.perf_counter()
            work()
            if device == "cuda":
                torch.cuda.synchronize()
            if turn:
                fewest[side] = min(fewest[side], 1000 * (time.perf_counter() - begin))
    return fewest


def candidates(count: int, device: str, diameters: tuple[float, float], side: float) -> torch.Tensor:
    low, high = diameters
    cubes = torch.cat((torch.rand(count, 3) * side, torch.rand(count, 1) * (high - low) + low), dim=1)
    return to_corners(cubes).to(device)


def suppression(given: argparse.Namespace) -> None:
    """A patch of 128³, where boxes lie by chance, and one where they crowd around 20 lesions as a network's do."""
    print(f"{'suppression':34}{'kept':>8}{'MONAI ms':>11}{'ours ms':>10}{'MONAI / ours':>15}")
    for count in given.boxes:
        for kind in ("by chance", "crowded"):
            corners = candidates(count, given.device, (4, 24), 128)
            if kind == "crowded":
                lesions = candidates(20, given.device, (6, 30), 128)
                corners = lesions[torch.randint(20, (count,), device=given.device)] + torch.randn_like(
                    corners
                ).abs() * (torch.tensor([-1.0, -1, -1, 1, 1, 1], device=given.device))
            scores = torch.rand(count).to(given.device)
            sides = {
                "monai": lambda boxes=corners, values=scores: non_max_suppression(boxes, values, given.threshold),
                "ours": lambda boxes=corners, values=scores: nms(boxes, values, given.threshold),
            }
            kept = sides["ours"]()
            if not torch.equal(kept, sides["monai"]()):
                raise SystemExit(f"{count} boxes {kind}: ours and MONAI's do not keep the same boxes")
            took = best_of(given.rounds, given.device, sides)
            print(
                f"{f'{count} boxes, {kind}':34}{len(kept):8}{took['monai']:11.2f}{took['ours']:10.2f}"
                f"{took['monai'] / took['ours']:15.1f}"
            )


def regions(given: argparse.Namespace) -> None:
    """Features of full resolution to a small cube each, forward and backward as in a training step."""
    layout = torch.channels_last_3d
    features = torch.randn(1, given.features, *(given.patch,) * 3, device=given.device).to(memory_format=layout)
    corners = candidates(given.regions, given.device, (6, 30), given.patch)
    index = torch.zeros(given.regions, dtype=torch.long, device=given.device)

    def looped(image: torch.Tensor, size: int) -> torch.Tensor:
        return torch.cat([roi_align(image, corners[i : i + 1], index[i : i + 1], size) for i in range(len(corners))])

    ways = {
        "align": lambda image, size: roi_align(image, corners, index, size),
        "pool": lambda image, size: roi_pool(image, corners, index, size),
        "align, looped": looped,
    }

    def step(way: str, size: int) -> None:
        image = features.detach().requires_grad_()
        ways[way](image, size).sum().backward()

    def look(way: str, size: int) -> None:
        with torch.inference_mode():
            ways[way](features, size)

    print(f"\n{given.regions} regions of {given.features} × {given.patch}³ features")
    print(f"{'':34}{'forward ms':>11}{'× align':>9}{'with gradient ms':>18}{'× align':>9}")
    for size in given.sizes:
        forward = best_of(given.rounds, given.device, {w: lambda w=w, s=size: look(w, s) for w in ways})
        both = best_of(given.rounds, given.device, {w: lambda w=w, s=size: step(w, s) for w in ways})
        for way in ways:
            print(
                f"{f'{way}, to {size}³':34}{forward[way]:11.1f}{forward[way] / forward['align']:9.1f}"
                f"{both[way]:18.1f}{both[way] / both['align']:9.1f}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--boxes", type=int, nargs="+", default=[1000, 5000])
    parser.add_argument("--threshold", type=float, default=0.3, help="overlap above which a box goes")
    parser.add_argument("--regions", type=int, default=32)
    parser.add_argument("--features", type=int, default=16)
    parser.add_argument("--patch", type=int, default=96, help="voxels of a side")
    parser.add_argument("--sizes", type=int, nargs="+", default=[7, 16], help="cells of a region's side")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    given = parser.parse_args()
    torch.manual_seed(0)
    suppression(given)
    regions(given)


if __name__ == "__main__":
    main()
