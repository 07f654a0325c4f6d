"""The sliding window, against one forward pass, against MONAI, and against everything that may go wrong."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from monai.inferers import sliding_window_inference
from torch import nn

from napari_dasl.errors import Cancelled, InputError, OutOfMemory, WorkError
from napari_dasl.inference import predict
from napari_dasl.inference.sliding import _Slab
from napari_dasl.inference.tiling import windows


def network(channels: int = 1, classes: int = 3, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv3d(channels, 4, 3, padding=1), nn.ReLU(), nn.Conv3d(4, classes, 3, padding=1)
    ).requires_grad_(False)


def image(shape: tuple[int, ...], channels: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(channels, *shape)).astype(np.float32)


def softmax(logits: torch.Tensor) -> np.ndarray:
    return torch.softmax(logits, dim=1)[0].numpy()


def run(net, scan, patch, **options):
    options.setdefault("out_channels", 3)
    options.setdefault("dtype", np.float32)
    return predict(net, scan, patch=patch, **options)


class Constant(nn.Module):
    def __init__(self, values=(0.3, -1.0, 2.0)):
        super().__init__()
        self.values = torch.tensor(values)

    def forward(self, x):
        return self.values.view(1, -1, 1, 1, 1).expand(x.shape[0], -1, *x.shape[2:])


class Where(nn.Module):
    """A network that answers differently at each place of its window: seams would show."""

    def forward(self, x):
        ramp = torch.linspace(-1, 1, x.shape[-1]).expand(x.shape[0], 1, *x.shape[2:])
        return torch.cat([x[:, :1] + ramp, x[:, :1] * ramp, -x[:, :1]], dim=1)


@pytest.mark.parametrize("shape", [(12, 14, 16), (8, 8, 8)])
def test_a_window_that_covers_all_is_one_forward_pass(shape):
    net, scan = network(), image(shape)
    expected = softmax(net(torch.from_numpy(scan)[None]))
    np.testing.assert_allclose(run(net, scan, shape), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "patch", "overlap"),
    [
        ((24, 32, 16), (8, 16, 8), 0.5),
        ((16, 16, 16), (8, 8, 8), 0.5),
        ((24, 24, 24), (16, 8, 16), 0.5),
        ((16, 24, 32), (8, 8, 8), 0.0),
    ],
)
@pytest.mark.parametrize("batch", [1, 4])
def test_it_equals_monai_where_the_windows_are_the_same(shape, patch, overlap, batch):
    net, scan = Where(), image(shape)
    expected = sliding_window_inference(
        torch.from_numpy(scan)[None], patch, batch, net, overlap=overlap, mode="gaussian", sigma_scale=0.125
    )
    np.testing.assert_allclose(run(net, scan, patch, overlap=overlap, batch=batch), softmax(expected), atol=2e-5)


@pytest.mark.parametrize(
    ("shape", "patch"),
    [
        ((13, 17, 19), (8, 8, 8)),
        ((9, 30, 21), (8, 16, 16)),
        ((40, 9, 9), (8, 8, 8)),
        ((5, 20, 7), (8, 8, 8)),
        ((1, 1, 1), (4, 4, 4)),
    ],
)
def test_a_constant_network_gives_constants_whatever_the_shape(shape, patch):
    expected = softmax(torch.tensor([[0.3, -1.0, 2.0]])[..., None, None, None])
    found = run(Constant(), image(shape), patch)
    assert found.shape == (3, *shape)
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), atol=1e-6)


def brute_force(net: nn.Module, scan: np.ndarray, patch, overlap: float) -> np.ndarray:
    """The definition: sum up all windows over the whole volume, divide, softmax."""
    from napari_dasl.inference.tiling import gaussian

    weights = torch.from_numpy(gaussian(patch))
    sums, totals = torch.zeros((1, 3, *scan.shape[1:])), torch.zeros(scan.shape[1:])
    for start in windows(scan.shape[1:], patch, overlap):
        here = tuple(slice(begin, begin + size) for begin, size in zip(start, patch, strict=True))
        sums[(..., *here)] += net(torch.from_numpy(scan[(slice(None), *here)])[None]) * weights
        totals[here] += weights
    return softmax(sums / totals)


@pytest.mark.parametrize(
    ("shape", "patch", "overlap"),
    [
        ((13, 17, 19), (8, 8, 8), 0.5),
        ((30, 9, 11), (8, 8, 8), 0.75),
        ((11, 23, 8), (4, 8, 8), 0.25),
        ((17, 16, 9), (16, 8, 8), 0.6),
    ],
)
def test_slab_by_slab_equals_the_whole_volume_at_once(shape, patch, overlap):
    scan = image(shape)
    np.testing.assert_allclose(
        run(Where(), scan, patch, overlap=overlap), brute_force(Where(), scan, patch, overlap), atol=1e-5
    )


def test_a_small_volume_is_predicted_with_its_border_repeated():
    net, scan = network(), image((5, 20, 7))
    padded = np.pad(scan, [(0, 0), (1, 2), (0, 0), (0, 1)], mode="edge")
    expected = brute_force(net, padded, (8, 8, 8), 0.5)[:, 1:6, :, :7]
    np.testing.assert_allclose(run(net, scan, (8, 8, 8)), expected, atol=1e-5)


def test_probabilities_add_up_to_one_in_half_precision_too():
    found = run(network(), image((20, 20, 20)), (8, 8, 8), dtype=np.float16)
    assert found.dtype == np.float16
    np.testing.assert_allclose(found.astype(np.float32).sum(axis=0), 1, atol=2e-3)


def test_the_batch_of_windows_changes_nothing():
    net, scan = network(), image((16, 24, 24))
    one = run(net, scan, (8, 8, 8), batch=1)
    for batch in (2, 5, 100):
        np.testing.assert_allclose(run(net, scan, (8, 8, 8), batch=batch), one, atol=1e-6)


def test_a_memory_mapped_half_precision_image_is_read_in_pieces(tmp_path):
    scan = image((12, 12, 12)).astype(np.float16)
    np.save(tmp_path / "scan.npy", scan)
    mapped = np.load(tmp_path / "scan.npy", mmap_mode="r")
    expected = run(network(), scan.astype(np.float32), (8, 8, 8))
    np.testing.assert_allclose(run(network(), mapped, (8, 8, 8)), expected, atol=1e-6)


def test_channels_last_and_bf16_stay_close():
    net, scan = network(), image((16, 16, 16))
    plain = run(net, scan, (8, 8, 8))
    np.testing.assert_allclose(run(net, scan, (8, 8, 8), channels_last=True), plain, atol=1e-5)
    np.testing.assert_allclose(run(net, scan, (8, 8, 8), precision="bf16"), plain, atol=0.03)


def test_of_several_outputs_the_first_counts():
    class Deep(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = network()

        def forward(self, x):
            return [self.net(x), None]

    scan = image((12, 12, 12))
    np.testing.assert_array_equal(run(Deep(), scan, (8, 8, 8)), run(network(), scan, (8, 8, 8)))


def test_mirroring_averages_over_all_flips():
    net, scan = network(), image((8, 8, 8))
    outputs = []
    for count in range(3):
        for axes in itertools.combinations((2, 4), count):
            turned = torch.flip(torch.from_numpy(scan)[None], axes)
            outputs.append(torch.flip(net(turned), axes))
    expected = softmax(torch.stack(outputs).mean(dim=0))
    np.testing.assert_allclose(run(net, scan, (8, 8, 8), mirror=(0, 2)), expected, atol=1e-6)


class TestOccupied:
    """Windows of nothing but air may be skipped."""

    def test_windows_without_an_occupied_voxel_are_not_looked_at(self):
        calls = []

        class Counting(Constant):
            def forward(self, x):
                calls.append(x.shape[0])
                return super().forward(x)

        occupied = np.zeros((16, 16, 16), dtype=bool)
        occupied[2, 2, 2] = True
        found = run(Counting(), image((16, 16, 16)), (8, 8, 8), occupied=occupied)
        assert sum(calls) == 1
        np.testing.assert_allclose(found[0, 8:], 1)
        np.testing.assert_allclose(found[1:, 8:], 0)
        np.testing.assert_allclose(found[2, :8, :8, :8], found[2, 0, 0, 0])
        assert found[2, 0, 0, 0] > 0.5
        np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-6)

    def test_where_all_is_occupied_nothing_changes(self):
        scan = image((13, 16, 9))
        occupied = np.ones(scan.shape[1:], dtype=bool)
        np.testing.assert_array_equal(run(Where(), scan, (8, 8, 8), occupied=occupied), run(Where(), scan, (8, 8, 8)))

    def test_an_empty_scan_is_background(self):
        found = run(Constant(), image((5, 16, 16)), (8, 8, 8), occupied=np.zeros((5, 16, 16), dtype=bool))
        assert (found[0] == 1).all()

    def test_the_mask_of_a_padded_volume_lies_where_the_volume_lies(self):
        occupied = np.zeros((4, 16, 4), dtype=bool)
        occupied[0, 15, 0] = True
        found = run(Constant(), image((4, 16, 4)), (8, 8, 8), occupied=occupied)
        assert (found[2, :, 8:] > 0.5).all()
        assert (found[0, :, :4] == 1).all()


class TestStopping:
    """Progress and cancel, between two windows."""

    def test_progress_counts_every_window_once(self):
        events = []
        run(Constant(), image((16, 16, 16)), (8, 8, 8), batch=4, report=events.append)
        assert [event.done for event in events] == sorted({event.done for event in events})
        assert events[-1].done == events[-1].total == len(windows((16, 16, 16), (8, 8, 8)))

    def test_cancel_stops_before_the_next_window(self):
        calls = []

        class Counting(Constant):
            def forward(self, x):
                calls.append(1)
                return super().forward(x)

        with pytest.raises(Cancelled):
            run(Counting(), image((16, 16, 16)), (8, 8, 8), cancelled=lambda: len(calls) >= 3)
        assert len(calls) == 3

    def test_the_network_comes_back_in_the_mode_it_came_in_even_so(self):
        net = nn.Sequential(network(), nn.Dropout(0.5), nn.BatchNorm3d(3))
        net.train()
        net[2].eval()
        with pytest.raises(Cancelled):
            run(net, image((8, 8, 8)), (8, 8, 8), cancelled=lambda: True)
        assert [net.training, net[1].training, net[2].training] == [True, True, False]

    def test_dropout_is_off_while_predicting(self):
        net = nn.Sequential(network(), nn.Dropout(0.5)).train()
        scan = image((8, 8, 8))
        np.testing.assert_array_equal(run(net, scan, (8, 8, 8)), run(network(), scan, (8, 8, 8)))


class TestTrouble:
    """What goes wrong is said in words."""

    class Failing(nn.Module):
        def __init__(self, error):
            super().__init__()
            self.error = error

        def forward(self, x):
            raise self.error

    @pytest.mark.parametrize(
        "error",
        [
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
            RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried"),
            RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 1 bytes."),
            MemoryError("Unable to allocate 9 GiB"),
        ],
    )
    def test_no_memory_is_out_of_memory(self, error):
        with pytest.raises(
            OutOfMemory, match="Memory ran out while predicting a volume of 8 × 9 × 10 voxels"
        ) as caught:
            run(self.Failing(error), image((8, 9, 10)), (8, 8, 8))
        assert "smaller patch" in caught.value.hint

    def test_another_error_of_torch_stays_what_it_is(self):
        with pytest.raises(RuntimeError, match="mat1 and mat2"):
            run(self.Failing(RuntimeError("mat1 and mat2 shapes cannot be multiplied")), image((8, 8, 8)), (8, 8, 8))

    def test_values_that_are_no_numbers_are_noticed(self):
        with pytest.raises(WorkError, match="no numbers"):
            run(Constant((float("nan"), 0.0, 0.0)), image((8, 8, 8)), (8, 8, 8))

    def test_a_network_with_other_classes_is_refused(self):
        with pytest.raises(InputError, match="The network answered"):
            run(network(classes=2), image((8, 8, 8)), (8, 8, 8))

    def test_shapes_that_do_not_fit_are_refused(self):
        with pytest.raises(InputError, match="shape"):
            run(network(), image((8, 8, 8))[0], (8, 8, 8))
        with pytest.raises(InputError, match="occupied"):
            run(network(), image((8, 8, 8)), (8, 8, 8), occupied=np.ones((8, 8, 9), dtype=bool))


def test_the_sums_need_one_window_of_height_whatever_the_volume():
    slab = _Slab(2, (8, 8, 8), (1000, 16, 24), torch.device("cpu"))
    assert slab.sums.shape == (2, 8, 16, 24)
    assert slab.totals.shape == (8, 16, 24)
