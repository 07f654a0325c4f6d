"""Training step of the region networks beside the U-Net's, on the same patch: time and memory as ratios.

    OMP_NUM_THREADS=1 python benchmarks/region_network.py --patch 32 48 48 --batch 2
    python benchmarks/region_network.py --device cuda --patch 128 128 128 --batch 2

A step is a forward pass, the loss of the network's family and a backward pass, on patches that hold ``--lesions`` balls
each. Each network keeps its best of ``--repeat`` steps after one to warm up: on a processor counted
in processor time, the figure to trust on a busy machine, on a GPU by the clock after everything has ended. Peak memory
is the GPU's; on a processor it is what the outside of the process saw, each network in one of its own. Prints one JSON.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import time
from concurrent.futures import ProcessPoolExecutor

NETWORKS = ("unet", "nodule-rcnn", "mask-rcnn")


def truths(shape: tuple[int, ...], lesions: int, batch: int):
    """The same balls in each patch: their boxes and their map."""
    import torch

    from napari_dasl.networks.region.loss import Targets

    grid = torch.stack(torch.meshgrid(*(torch.arange(side) + 0.5 for side in shape), indexing="ij"), dim=-1)
    draw, ids, cubes = torch.Generator().manual_seed(0), torch.zeros(shape, dtype=torch.int64), []
    for number in range(1, lesions + 1):
        radius = 4 + 4 * float(torch.rand(1, generator=draw))
        centre = torch.rand(len(shape), generator=draw) * torch.tensor(shape)
        ids[(grid - centre).square().sum(-1) < radius**2] = number
        cubes.append([*centre.tolist(), 2 * radius])
    return [
        Targets(
            torch.tensor(cubes).reshape(-1, len(shape) + 1),
            torch.zeros(lesions, dtype=torch.int64),
            torch.arange(1, lesions + 1),
            ids,
        )
    ] * batch


def measure(name: str, given: argparse.Namespace) -> dict[str, float]:
    """Best seconds of a whole step, of its forward pass alone, and peak memory."""
    import torch

    from napari_dasl import networks
    from napari_dasl.losses import dice_ce
    from napari_dasl.networks.families import family
    from napari_dasl.networks.region.loss import region_loss

    torch.manual_seed(0)
    device, cuda = torch.device(given.device), given.device.startswith("cuda")
    planar = family(name).spatial_dims == 2
    shape = tuple(given.patch[1:] if planar else given.patch)
    # A network of slices sees as many voxels as one of volumes: the patch's slices, one by one.
    batch = given.batch * (given.patch[0] if planar else 1)
    network = networks.build(name, 1, 2).to(device).train()
    image, targets = torch.randn((batch, 1, *shape), device=device), truths(shape, given.lesions, batch)
    label = torch.stack([(one.id_map > 0).long() for one in targets]).to(device)
    if not cuda:
        layout = torch.channels_last if planar else torch.channels_last_3d
        network, image = network.to(memory_format=layout), image.contiguous(memory_format=layout)

    def now() -> float:
        if cuda:
            torch.cuda.synchronize()
            return time.perf_counter()
        return time.process_time()

    best = {"step_s": float("inf"), "forward_s": float("inf")}
    for turn in range(given.repeat + 1):
        begin = now()
        with torch.autocast(device.type, torch.bfloat16, enabled=given.precision == "bf16"):
            output = network(image)
            forward = now() - begin
            loss = region_loss(network, output, targets)[0] if family(name).detector else dice_ce(output, label)
        loss.backward()
        step = now() - begin
        network.zero_grad(set_to_none=True)
        if turn:
            best = {"step_s": min(best["step_s"], step), "forward_s": min(best["forward_s"], forward)}
    peak = torch.cuda.max_memory_allocated() if cuda else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        **best,
        "patches_per_s": given.batch / best["step_s"],
        "peak_mb": peak / 2**20,
        "parameters": float(sum(value.numel() for value in network.parameters())),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS[:2]))
    parser.add_argument("--patch", type=int, nargs=3, default=(32, 48, 48), help="z y x, multiples of 16")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--lesions", type=int, default=1, help="in each patch (default %(default)s)")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16")
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    found = {}
    # A process each, so that memory is its own and no network profits from what another has warmed up.
    for name in given.networks:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            found[name] = pool.submit(measure, name, given).result()
    first = found[given.networks[0]]
    ratios = {
        name: {key: round(value / first[key], 2) for key, value in values.items()} for name, values in found.items()
    }
    print(json.dumps({"measured": found, f"ratio to {given.networks[0]}": ratios}, indent=1))


if __name__ == "__main__":
    main()
