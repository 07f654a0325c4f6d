"""Predict a volume of any size window by window, holding one slab of it at a time.

Windows overlap by half and count by a Gaussian (Isensee et al., nnU-Net, 2021); the weighted mean is taken over the
network's outputs before the softmax. Windows go from the first slice to the last, and the slices that no later window
touches are finished at once: softmax, half precision, done. So the sums need one window's height of the volume, not
all of it, whatever the number of classes.
"""

from __future__ import annotations

from contextlib import contextmanager
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import nn

from napari_dasl.errors import Cancelled, InputError, WorkError
from napari_dasl.events import CancelCheck, Progress, Report, never, silent
from napari_dasl.inference.dropout import dropping
from napari_dasl.inference.memory import memory_guard
from napari_dasl.inference.tiling import Triple, gaussian, pad_to, windows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

PrecisionName = Literal["fp32", "bf16"]

_HINT = "Choose a smaller patch or fewer windows at a time, or close other programs."

__all__ = ["PrecisionName", "predict", "windows"]


def predict(
    network: nn.Module,
    image: NDArray[np.floating],
    *,
    patch: Sequence[int],
    out_channels: int,
    overlap: float = 0.5,
    batch: int = 1,
    device: torch.device | str = "cpu",
    precision: PrecisionName = "fp32",
    channels_last: bool = False,
    mirror: Sequence[int] = (),
    occupied: NDArray[np.bool_] | None = None,
    dtype: type[np.float16] | type[np.float32] = np.float16,
    dropout_seed: int | None = None,
    planar: bool = False,
    report: Report = silent,
    cancelled: CancelCheck = never,
) -> NDArray[np.floating]:
    """Class probabilities of a whole volume.

    Parameters
    ----------
    network : torch module
        From (batch, C, z, y, x) to (batch, K, z, y, x) before the softmax; of several outputs the first counts. Must be
        on *device*; comes back in the mode (training or not) it came in.
    image : array, (C, z, y, x)
        Normalised, on the network's grid; may be float16 or memory-mapped.
    patch : sequence of 3 ints
        Window (z, y, x) in voxels.
    out_channels : int
        K, with the background.
    overlap : float
        Of a window, covered again by the next one.
    batch : int
        Windows per call of the network. On a processor 1 is fastest.
    device : torch.device or str
    precision, channels_last
        bf16 runs the network under autocast, sums are always float32; windows lie in memory as the weights do.
    mirror : sequence of int
        Axes (0 z, 1 y, 2 x) to mirror; the mean over all 2^n mirrorings is taken. Costs as many times more.
    occupied : array, bool, (z, y, x), optional
        Windows without a true voxel are skipped; where no window looked, the background has probability 1.
    dtype
        Of the result.
    dropout_seed : int, optional
        Leave dropout on, and drop what follows from this seed; norm layers stay frozen.
    planar : bool
        The network takes single slices, (batch, C, y, x), and gives (batch, K, y, x); the patch is one slice thick.
    report, cancelled
        Told and asked between two batches.

    Returns
    -------
    array, (K, z, y, x)
        Adds up to 1 over the classes, up to the rounding of *dtype*.

    Raises
    ------
    InputError, Cancelled
        When shapes do not fit together; when asked to stop, nothing is kept.
    OutOfMemory, WorkError
        When a window or the sums do not fit into memory; when the network gives something that is no number.
    """
    _check(image, patch, occupied, planar=planar)
    window = (int(patch[0]), int(patch[1]), int(patch[2]))
    look = _looking(
        network, out_channels, torch.device(device), precision, mirror, channels_last=channels_last, planar=planar
    )
    with _asking(network, dropout_seed, image.shape[1:]):
        padded, before = pad_to(image, window)
        slab = _Slab(out_channels, window, padded.shape[1:], torch.device(device))
        levels = _levels(padded.shape[1:], window, overlap, occupied, before)
        result = np.empty((out_channels, *image.shape[1:]), dtype=dtype)
        for z, plane in _sweep(padded, levels, slab, look, batch, report, cancelled):
            _store(plane, result, z - before[0], before)
        return result


@contextmanager
def _asking(network: nn.Module, dropout_seed: int | None, shape: Sequence[int]) -> Iterator[None]:
    """Have the network answer about a volume of *shape*, and learn nothing."""
    size = " × ".join(str(length) for length in shape)
    with (
        memory_guard(f"predicting a volume of {size} voxels", _HINT),
        evaluating(network),
        dropping(network, dropout_seed),
        torch.inference_mode(),
    ):
        yield


def _looking(
    network: nn.Module,
    channels: int,
    device: torch.device,
    precision: PrecisionName,
    mirror: Sequence[int],
    *,
    channels_last: bool,
    planar: bool,
) -> Callable[[NDArray[np.floating]], torch.Tensor]:
    """What the network says of windows (windows, C, z, y, x), before the softmax, on *device*."""
    last = torch.channels_last if planar else torch.channels_last_3d
    layout = last if channels_last else torch.contiguous_format
    flips = tuple(axis for axis in mirror if axis) if planar else tuple(mirror)

    def look(tiles: NDArray[np.floating]) -> torch.Tensor:
        inputs = torch.from_numpy(tiles.astype(np.float32, copy=False))
        inputs = (inputs.squeeze(2) if planar else inputs).to(device, memory_format=layout)
        outputs = _outputs(network, inputs, channels, precision, flips)
        return outputs.unsqueeze(2) if planar else outputs

    return look


def _sweep(
    padded: NDArray[np.floating],
    levels: Sequence[tuple[int, list[tuple[int, int]]]],
    slab: _Slab,
    look: Callable[[NDArray[np.floating]], torch.Tensor],
    batch: int,
    report: Report,
    cancelled: CancelCheck,
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Go through the windows level by level; after each, give the slices that are finished, with their places."""
    total = sum(len(corners) for _, corners in levels)
    done = 0
    following = [z for z, _ in levels[1:]] + [padded.shape[1]]
    for (z, corners), end in zip(levels, following, strict=True):
        for start in range(0, len(corners), batch):
            if cancelled():
                raise Cancelled("The prediction was stopped.", "Nothing of this scan was kept.")
            group = corners[start : start + batch]
            slab.add(look(_cut(padded, z, group, slab.patch)), group)
            done += len(group)
            report(Progress(name="predict", done=done, total=total))
        yield from enumerate(slab.finish(end - z), start=z)


class _Slab:
    """The running sums over the slices that the windows of one level cover."""

    def __init__(self, channels: int, patch: Triple, shape: Sequence[int], device: torch.device) -> None:
        self.device = device
        self.patch = patch
        self.weights = torch.from_numpy(gaussian(patch)).to(device)
        self.sums = torch.zeros((channels, patch[0], shape[1], shape[2]), device=device)
        self.totals = torch.zeros((patch[0], shape[1], shape[2]), device=device)

    def add(self, outputs: torch.Tensor, corners: Sequence[tuple[int, int]]) -> None:
        """Add outputs (windows, K, z, y, x) of the windows that begin at *corners* (y, x)."""
        for output, (y, x) in zip(outputs, corners, strict=True):
            here = (..., slice(y, y + self.patch[1]), slice(x, x + self.patch[2]))
            self.sums[here].addcmul_(output, self.weights)
            self.totals[here].add_(self.weights)

    def finish(self, count: int) -> Iterator[NDArray[np.float32]]:
        """Probabilities (K, y, x) of the first *count* slices; then move on by as many."""
        for index in range(count):
            total = self.totals[index]
            seen = total > 0
            plane = torch.softmax(self.sums[:, index] / total.clamp_min(1e-6), dim=0)
            plane = torch.where(seen, plane, _background(plane.shape[0], plane.device))
            if not bool(torch.isfinite(plane).all()):
                raise WorkError(
                    "The network gave values that are no numbers.",
                    "Predict in single precision, or train the model again.",
                )
            yield plane.cpu().numpy()
        for sums in (self.sums, self.totals):
            kept = sums.shape[-3] - count
            if kept:
                sums[..., :kept, :, :] = sums[..., count:, :, :].clone()
            sums[..., kept:, :, :] = 0


def _background(channels: int, device: torch.device) -> torch.Tensor:
    """Probabilities (K, 1, 1) of a voxel that is background for sure."""
    certain = torch.zeros((channels, 1, 1), device=device)
    certain[0] = 1
    return certain


def _levels(
    shape: Sequence[int], patch: Triple, overlap: float, occupied: NDArray[np.bool_] | None, before: Triple
) -> list[tuple[int, list[tuple[int, int]]]]:
    """Windows by their first slice: ``(z, [(y, x), …])``, every level kept even when all its windows are skipped."""
    levels: dict[int, list[tuple[int, int]]] = {}
    for z, y, x in windows(shape, patch, overlap):
        corners = levels.setdefault(z, [])
        if occupied is not None:
            # The mask is not padded: the padding holds nothing to look at.
            box = tuple(
                slice(max(0, start - pad), start - pad + size)
                for start, pad, size in zip((z, y, x), before, patch, strict=True)
            )
            if not occupied[box].any():
                continue
        corners.append((y, x))
    return list(levels.items())


def _cut(
    image: NDArray[np.floating], z: int, corners: Sequence[tuple[int, int]], patch: Triple
) -> NDArray[np.floating]:
    """The windows (windows, C, z, y, x) of one level that begin at *corners* (y, x)."""
    return np.stack([image[:, z : z + patch[0], y : y + patch[1], x : x + patch[2]] for y, x in corners])


def _outputs(
    network: nn.Module, tiles: torch.Tensor, channels: int, precision: PrecisionName, mirror: Sequence[int]
) -> torch.Tensor:
    """The network's output before the softmax, (windows, K, …), in float32, the mean over mirrorings of (z, y, x)."""
    expected = (tiles.shape[0], channels, *tiles.shape[2:])

    def forward(axes: tuple[int, ...]) -> torch.Tensor:
        with torch.autocast(tiles.device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
            output = _first(network(torch.flip(tiles, axes) if axes else tiles))
        if tuple(output.shape) != expected:
            raise InputError(
                f"The network answered {tuple(tiles.shape)} with {tuple(output.shape)}, not {expected}.",
                "Check the patch and the number of classes in the training plan.",
            )
        return torch.flip(output.float(), axes) if axes else output.float()

    mean = forward(())
    flips = [
        tuple(axis + tiles.ndim - 3 for axis in some)
        for n in range(1, len(mirror) + 1)
        for some in combinations(mirror, n)
    ]
    for axes in flips:
        mean = mean + forward(axes)
    return mean / (len(flips) + 1) if flips else mean


def _first(output: Any) -> torch.Tensor:
    while isinstance(output, tuple | list):
        output = output[0]
    tensor: torch.Tensor = output
    return tensor


def _store(plane: NDArray[np.float32], result: NDArray[np.floating], z: int, before: Triple) -> None:
    """Put a slice (K, y, x) of the padded volume into the result, without the padding."""
    if 0 <= z < result.shape[1]:
        _, y, x = before
        result[:, z] = plane[:, y : y + result.shape[2], x : x + result.shape[3]]


def _check(
    image: NDArray[np.floating], patch: Sequence[int], occupied: NDArray[np.bool_] | None, *, planar: bool
) -> None:
    if planar and patch[0] != 1:
        raise InputError(f"A window of {patch[0]} slices was given to a network of slices.", "Make it 1 slice thick.")
    if image.ndim != 4 or len(patch) != 3 or 0 in image.shape:
        raise InputError(
            f"An image has shape (C, z, y, x), and this one has {tuple(image.shape)}.", "Add its channel axis."
        )
    if occupied is not None and occupied.shape != image.shape[1:]:
        raise InputError(
            f"The mask of occupied voxels has shape {occupied.shape} and the image {image.shape[1:]}.",
            "Give both on the network's grid.",
        )


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Run a network in evaluation mode, and leave every part of it in the mode it was in."""
    modes = [(part, part.training) for part in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode
