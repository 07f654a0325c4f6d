"""How well the default training learns the hippocampus of the Medical Segmentation Decathlon.

    NAPARI_DASL_DATA=... python benchmarks/hippocampus_learning.py --labels 24 --seed 0

The cases are shuffled by the seed; of the first ``--labels``, a sixth are the guard set and the others are trained on.
The figure is the mean Dice over the two classes and over all cases that no training saw and no guard holds, predicted
in one pass over the whole case. ``--set steps=600`` changes a value of the training plan.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from detector_trial import changed, say

from napari_dasl.experiments.data import read_study
from napari_dasl.training import Budget, Cache, CaseData, TrainingPlan, derive, load_network, measure, train
from napari_dasl.training.patches import cut
from napari_dasl.training.topology import divisor

CLASSES = ("anterior", "posterior")


def logits(network: torch.nn.Module, image: np.ndarray, plan: TrainingPlan) -> torch.Tensor:
    """Logits of a whole case, padded to what the network's strides divide."""
    multiple = divisor(plan.network_options["strides"])
    size = [-(-n // m) * m for n, m in zip(image.shape[1:], multiple, strict=True)]
    padded = cut(image, (0, 0, 0), tuple(size)).astype(np.float32)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        out = network(torch.from_numpy(padded)[None].contiguous(memory_format=torch.channels_last_3d)).float()
    return out[0, :, : image.shape[1], : image.shape[2], : image.shape[3]]


def dice(prediction: np.ndarray, truth: np.ndarray) -> list[float]:
    return [
        2 * float(((prediction == k) & (truth == k)).sum()) / max(1, int((prediction == k).sum() + (truth == k).sum()))
        for k in range(1, len(CLASSES) + 1)
    ]


def score(network: torch.nn.Module, cases: list[CaseData], cache: Cache, mirror: bool = False) -> np.ndarray:
    rows = []
    for item in cases:
        ready = cache.case(item)
        image = np.asarray(ready.image)
        out = logits(network, image, cache.plan)
        if mirror:
            out = out + logits(network, image[..., ::-1], cache.plan).flip(-1)
        rows.append(dice(out.argmax(0).numpy(), np.asarray(ready.label)))
    return np.asarray(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("NAPARI_DASL_DATA", ".")))
    parser.add_argument("--labels", type=int, default=24, help="labelled cases, the guard's sixth among them")
    parser.add_argument("--test", type=int, default=None, help="how many other cases are the test; all by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=None)
    parser.add_argument("--minutes", type=float, default=None)
    parser.add_argument("--cache", type=Path, default=None)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=JSON", help="change values of the plan")
    options = parser.parse_args()

    cases = [sample.data() for sample in read_study(options.data / "hippocampus", modality="MR").samples]
    order = np.random.default_rng(options.seed).permutation(len(cases))
    labelled = [cases[i] for i in order[: options.labels]]
    rest = [cases[i] for i in order[options.labels :]][: options.test]
    guard, learn = labelled[: options.labels // 6], labelled[options.labels // 6 :]
    begin = time.perf_counter()
    plan = derive(measure(learn, channels=("image",), classes=CLASSES), modality="MR", seed=options.seed)
    plan = changed(plan, options.set)
    with tempfile.TemporaryDirectory() as scratch:
        cache = Cache(options.cache or Path(scratch) / "cache", plan)

        def judge(network: torch.nn.Module) -> float:
            return float(score(network, guard, cache).mean())

        print(f"patch {plan.patch}, batch {plan.batch}, {len(learn)} to train, {len(guard)} guard, {len(rest)} test")
        cpu = time.process_time()
        budget = Budget(steps=options.steps, minutes=options.minutes)
        trained = train(plan, learn, Path(scratch) / "run", cache=cache, budget=budget, report=say, guard=judge)
        cpu = time.process_time() - cpu
        network = load_network(trained.weights, plan).to(memory_format=torch.channels_last_3d)
        result = {"settings": options.set, "labels": len(learn), "seed": options.seed, "steps": trained.steps}
        result |= {"seconds": round(trained.seconds, 1), "cpu_seconds": round(cpu, 1)}
        for name, mirror in (("dice", False), ("dice_mirrored", True)):
            rows = score(network, rest or guard, cache, mirror)
            result |= {name: round(float(rows.mean()), 4), f"{name}_classes": rows.mean(0).round(4).tolist()}
        result["total_seconds"] = round(time.perf_counter() - begin, 1)
        print(json.dumps(result))


if __name__ == "__main__":
    main()
