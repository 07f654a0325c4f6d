"""Devices, threads, precision and memory: what the machine is asked, and what wins."""

from __future__ import annotations

import pytest
import torch

from napari_dasl.errors import InputError
from napari_dasl.training import device
from napari_dasl.training.device import Precision, choose, choose_precision, choose_threads, measure_precision
from napari_dasl.training.memory import estimate_memory_mb
from napari_dasl.training.weights import build_network


@pytest.fixture(autouse=True)
def nothing_measured_yet(monkeypatch):
    """A process that has not measured anything."""
    monkeypatch.setattr(device, "_measured", {})


def test_the_processor_is_always_there():
    assert choose("cpu").type == "cpu"
    assert choose("auto").type in ("cpu", "cuda")


@pytest.mark.parametrize("name", ["cuda:99", "gpu", "mps", "meta"])
def test_a_device_that_is_not_here_is_refused(name):
    with pytest.raises(InputError, match="Choose auto"):
        choose(name)


def test_the_environment_decides_about_threads(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert choose_threads() == 3


@pytest.mark.parametrize(
    ("busy", "threads"), [([0, 0, 0, 0], 4), ([100, 100, 0, 5], 2), ([100] * 4, 1), ([45, 10, 0, 0], 3)]
)
def test_threads_are_the_physical_cores_that_others_leave_free(monkeypatch, busy, threads):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(device.psutil, "cpu_count", lambda logical=True: 8 if logical else 4)
    monkeypatch.setattr(device.psutil, "cpu_percent", lambda interval, percpu: busy)
    monkeypatch.setattr(device.psutil.Process, "cpu_affinity", lambda self: list(range(8)), raising=False)
    assert choose_threads() == threads


def test_a_precision_that_is_named_is_not_measured(plan, monkeypatch):
    monkeypatch.setattr(device, "_seconds", None)
    network = build_network(plan)
    for name in ("fp32", "bf16"):
        assert choose_precision(plan.model_copy(update={"precision": name}), network, torch.device("cpu")) == name


@pytest.mark.parametrize(
    ("fastest", "expected"),
    [
        (Precision("bf16", True), Precision("bf16", True)),
        (Precision("fp32", True), Precision("fp32", True)),
        (Precision("fp32", False), Precision("fp32", False)),
    ],
)
def test_the_fastest_wins(plan, monkeypatch, fastest, expected):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    monkeypatch.setattr(device, "_seconds", lambda n, p, d, precision, r: 1.0 if precision == fastest else 2.0)
    auto = plan.model_copy(update={"precision": "auto"})
    assert measure_precision(auto, build_network(plan), torch.device("cpu")) == expected


def test_a_plan_is_measured_once_in_a_process(plan, monkeypatch):
    asked = []
    monkeypatch.setattr(device, "_seconds", lambda n, p, d, precision, r: asked.append(precision) or 1.0)
    auto = plan.model_copy(update={"precision": "auto"})
    first = measure_precision(auto, build_network(plan), torch.device("cpu"))
    tried = len(asked)
    assert tried >= 2
    for same in (auto, auto.model_copy(update={"seed": 9, "steps": 500})):
        assert measure_precision(same, build_network(plan), torch.device("cpu")) == first
    assert len(asked) == tried
    measure_precision(auto.model_copy(update={"batch": 2 * plan.batch}), build_network(plan), torch.device("cpu"))
    assert len(asked) == 2 * tried  # another plan


def test_without_the_instructions_bf16_is_not_tried(plan, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    auto = plan.model_copy(update={"precision": "auto"})
    assert measure_precision(auto, build_network(plan), torch.device("cpu")).dtype == "fp32"


@pytest.mark.parametrize(
    ("patch", "tried"),
    [
        ((4, 208, 208), False),
        ((8, 96, 96), False),
        ((2, 64, 144), False),
        ((16, 256, 256), False),  # at its half
        ((12, 96, 96), True),
        ((6, 80, 80), True),
        ((32, 128, 128), True),
    ],
)
def test_bf16_is_not_tried_where_its_gradients_corrupt_memory(plan, monkeypatch, patch, tried):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    asked = []
    monkeypatch.setattr(device, "_seconds", lambda n, p, d, precision, r: asked.append(precision.dtype) or 1.0)
    auto = plan.model_copy(update={"precision": "auto", "patch": patch})
    measure_precision(auto, build_network(plan), torch.device("cpu"))
    assert ("bf16" in asked) == tried


def test_measuring_leaves_weights_and_gradients_as_they_were(plan):
    network = build_network(plan)
    before = [p.detach().clone() for p in network.parameters()]
    choose_precision(plan.model_copy(update={"precision": "auto"}), network, torch.device("cpu"))
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    assert all(p.grad is None for p in network.parameters())


def test_memory_grows_with_batch_and_patch_in_proportion(plan):
    base = estimate_memory_mb(plan.model_copy(update={"batch": 0 + 1}))
    one, two = (
        estimate_memory_mb(plan.model_copy(update={"batch": 2})),
        estimate_memory_mb(plan.model_copy(update={"batch": 3})),
    )
    assert two - one == pytest.approx(one - base)
    larger = estimate_memory_mb(plan.model_copy(update={"patch": (32, 32, 32), "batch": 1}))
    assert larger - base == pytest.approx(7 * (one - base), rel=0.01)
