"""Lesions one by one in a whole scan: windows together and clustering beside two plainer ways, the same network.

    python benchmarks/whole_scan_instances.py --shape 300 512 512 --spacing 1 0.7 0.7 --patch 48 48 48

The scan is noise in an ellipse of tissue with balls in it. The network is Nodule R-CNN with random weights whose scores
are raised until every window finds as many candidates as it may: the worst case for what comes after the network. Each
way runs in a process of its own and ends with the probability, the numbered map and the findings of the scan:

``ours``       several windows a call, air skipped, what overlaps clustered, each finding's mask pasted once
``plain``      the same one window at a time and everywhere, as a semantic network was predicted
``paste all``  the windows of ``ours``, every candidate's mask drawn as a map of the whole scan, the maximum taken and
               connected components numbered (``--maps`` of them; the time of all is computed from theirs)

Prints time, processor time (the one to trust on a busy machine), peak memory and what was found, and the ratios.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np

WAYS = ("ours", "plain", "paste all")


def make_scan(shape: tuple[int, ...], balls: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    image = rng.normal(-1000, 20, shape).astype(np.float32)
    _, y, x = np.ogrid[tuple(slice(-1, 1, n * 1j) for n in shape)]
    image[:, ((y / 0.7) ** 2 + (x / 0.95) ** 2 <= 1)[0]] += 1030
    for centre in rng.uniform(0.3, 0.7, (balls, 3)) * shape:
        box = tuple(slice(max(0, int(c) - 6), int(c) + 6) for c in centre)
        image[box] += 60
    return image[None]


def make_predictor(given: argparse.Namespace):
    import torch

    from napari_dasl.inference import Predictor
    from napari_dasl.training.device import Precision
    from napari_dasl.training.normalise import Normalisation
    from napari_dasl.training.plan import TrainingPlan
    from napari_dasl.training.weights import build_network

    plan = TrainingPlan(
        modality="CT",
        channels=("image",),
        classes=("lesion",),
        network="nodule-rcnn",
        network_options={"spatial_dims": 3, "anchor_sizes": [5.0, 9.0, 16.0]},
        spacing=(given.grid,) * 3,
        patch=tuple(given.patch),
        batch=1,
        normalisation=(Normalisation(channel="image", rule="ct", lower=-1000, upper=400, centre=-400, scale=400),),
    )
    network = build_network(plan)
    with torch.no_grad():
        network.head.score.bias.fill_(-3.0)
    precision = Precision(given.precision, channels_last=given.device == "cpu")
    return Predictor(network, plan, given.device, precision, skip_air=given.child != "plain")


def paste_all(predictor, image: np.ndarray, given: argparse.Namespace) -> tuple[int, float]:
    """Draw every candidate as a map; how many findings there are, and the seconds that the rest would take."""
    from napari_dasl.inference.region.candidates import FLOOR, Finding, Part
    from napari_dasl.inference.region.pasting import paste
    from napari_dasl.project.instances import number_lesions

    seen = predictor.candidates(image, given.spacing)
    probability = np.zeros(image.shape[1:], dtype=np.float32)
    begin = time.process_time()
    for row in np.flatnonzero(seen.drawn >= 0)[: given.maps]:
        cube, score, mask = seen.cubes[row], seen.scores[row], seen.masks[seen.drawn[row]]
        side = cube[-1] * seen.roi_scale
        part = Part(cube[:-1] - side / 2, side, mask.astype(np.float32))
        whole = np.zeros(image.shape[1:], dtype=np.float32)
        place = paste(Finding(1, float(score), (part,)), seen.grid)
        if place is not None:
            whole[place[0]] = np.minimum(place[1], score)
        np.maximum(probability, whole, out=probability)
    spent = time.process_time() - begin
    drawn = min(given.maps, len(seen.masks))
    _, labels = number_lesions(probability >= FLOOR, most=1000)
    _ = np.stack([1 - probability, probability])
    return len(labels), spent * (len(seen.scores) - drawn) / max(drawn, 1)


def child(given: argparse.Namespace) -> None:
    import torch

    from napari_dasl.inference.region import windows

    torch.set_num_threads(given.threads)
    predictor = make_predictor(given)
    if given.child == "plain":
        windows.CALL_VOXELS = {"cpu": 1, "cuda": 1}
    predictor.predict(make_scan((32, 32, 32), 1), (given.grid,) * 3)  # the first call also chooses algorithms
    image = make_scan(tuple(given.shape), 12)
    seen = []
    begin, began = time.perf_counter(), time.process_time()
    extra = 0.0
    if given.child == "paste all":
        found, extra = paste_all(predictor, image, given)
    else:
        candidates = predictor.candidates(image, given.spacing)
        seen = [len(candidates.windows), len(candidates.scores), time.process_time() - began]
        found = len(predictor.finished(candidates).instances)
    seconds, busy = time.perf_counter() - begin, time.process_time() - began
    row = {"seconds": seconds + extra, "cpu": busy + extra, "found": found, "seen": seen}
    row["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if given.device != "cpu":
        row["gpu_mb"] = torch.cuda.max_memory_allocated() / 2**20
    print(json.dumps(row))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", type=int, nargs=3, default=[300, 512, 512], metavar=("Z", "Y", "X"))
    parser.add_argument("--spacing", type=float, nargs=3, default=[1.0, 0.7, 0.7], metavar=("Z", "Y", "X"))
    parser.add_argument("--grid", type=float, default=1.0, help="voxel size of the network's grid in mm")
    parser.add_argument("--patch", type=int, nargs=3, default=[48, 48, 48], metavar=("Z", "Y", "X"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--maps", type=int, default=40, help="maps of the whole scan that paste all draws")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given)
        return
    rows = {}
    print(f"{'':10}{'seconds':>10}{'CPU s':>10}{'peak MB':>10}{'findings':>10}", flush=True)
    for way in given.ways:
        command = [sys.executable, __file__, *sys.argv[1:], "--child", way]
        rows[way] = row = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
        more = "".join(f"  {n} {word}" for n, word in zip(row["seen"], ("windows", "candidates"), strict=False))
        more += f"  network {row['seen'][2]:.1f} CPU s" if row["seen"] else ""
        more += f"  GPU {row['gpu_mb']:.0f} MB" if "gpu_mb" in row else ""
        print(
            f"{way:10}{row['seconds']:10.1f}{row['cpu']:10.1f}{row['peak_mb']:10.0f}{row['found']:10d}{more}",
            flush=True,
        )
    for way in given.ways[1:]:
        first, second = rows[given.ways[0]], rows[way]
        print(
            f"ratio ({given.ways[0]} / {way}): processor time {first['cpu'] / second['cpu']:.2f}, "
            f"peak memory {first['peak_mb'] / second['peak_mb']:.2f}"
        )


if __name__ == "__main__":
    main()
