"""A detector over a whole scan: overlapping windows, or slices, one after the other."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_dasl.errors import Cancelled, WorkError
from napari_dasl.events import CancelCheck, Progress, Report, never, silent
from napari_dasl.inference.dropout import dropping
from napari_dasl.inference.memory import memory_guard
from napari_dasl.inference.region.candidates import FLOOR, NMS, Candidates
from napari_dasl.inference.region.clustering import wanted
from napari_dasl.inference.sliding import evaluating
from napari_dasl.inference.tiling import axis_starts
from napari_dasl.training.patches import cut

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_dasl.inference.region.candidates import Grid
    from napari_dasl.training.device import Precision

Triple = tuple[int, int, int]

CALL_VOXELS = {"cpu": 600_000, "cuda": 4_000_000}
"""Voxels of a call of the network. A window of 48³ alone costs a processor 1.0 µs a voxel, two together 0.4 µs."""

_TWICE = 0.5
_MOST = 100
"""Candidates of a window: more than a window of lung or brain has lesions, for what is cut here is lost in silence. A
network that finds a hundred everywhere takes twice the time that it takes with 32, and the same memory."""

_KEPT = 4000
"""Candidates of a scan: a network that is hardly trained finds something everywhere, and masks fill memory."""


@dataclass(frozen=True)
class Windows:
    """Where a detector looks.

    Attributes
    ----------
    size : (z, y, x)
        Of a window, in voxels; (1, y, x) for slices.
    starts : tuple of (z, y, x)
        First voxel of each window, which lies outside the scan where the scan is smaller than the window.
    """

    size: Triple
    starts: tuple[Triple, ...]


def lay(
    shape: Sequence[int],
    patch: Sequence[int],
    *,
    overlap: float | None,
    largest: float,
    occupied: NDArray[np.bool_] | None = None,
) -> Windows:
    """Lay windows over a scan, each as large as the training patch.

    No larger: convolutions would take any size, but the networks normalise over what they see and fill its border with
    zeros. One that was trained on 32 × 48 × 48 scored nodules 0.5 to 0.96 in windows of that size, and the same nodules
    0 to 0.4 in windows of 64³ and more.

    Parameters
    ----------
    shape : (z, y, x)
        Voxels of the scan on the network's grid.
    patch : (z, y, x)
        Of the training plan; (1, y, x) for slices.
    overlap : float, optional
        Share of a window that the next one covers again, in [0, 1). Without it, what the largest region needs to lie
        whole in one window: a quarter to a half.
    largest : float
        Side of the largest region that is common, in voxels.
    occupied : array, bool, (z, y, x), optional
        Windows without a true voxel are left out, and they are laid over the part of the scan that has any.

    Raises
    ------
    InputError
        When the overlap is out of range.
    """
    size = (int(patch[0]), int(patch[1]), int(patch[2]))
    starts = []
    for axis, (length, side) in enumerate(zip(shape, size, strict=True)):
        first, last = _span(int(length), side, occupied, axis)
        if last <= first:
            return Windows(size, ())
        share = overlap if overlap is not None else min(0.5, max(0.25, largest / side))
        shift = first - max(0, side - (last - first)) // 2
        steps = axis_starts(max(last - first, side), side, 0.0 if side == 1 else share)
        starts.append([shift + step for step in steps])
    corners = [(z, y, x) for z in starts[0] for y in starts[1] for x in starts[2]]
    if occupied is not None:
        corners = [corner for corner in corners if _touches(occupied, corner, size)]
    return Windows(size, tuple(corners))


def _span(length: int, side: int, occupied: NDArray[np.bool_] | None, axis: int) -> tuple[int, int]:
    """First voxel and last, plus one, of what has to be looked at along an axis; at least a window, if there is any."""
    if occupied is None:
        return 0, length
    held = np.flatnonzero(occupied.any(axis=tuple(other for other in range(3) if other != axis)))
    if not held.size:
        return 0, 0
    first, last = int(held[0]), int(held[-1]) + 1
    missing = max(0, side - (last - first))
    first = max(0, min(first - missing // 2, length - side))
    return first, min(length, max(last, first + side))


def _touches(occupied: NDArray[np.bool_], corner: Triple, size: Triple) -> bool:
    box = tuple(slice(max(0, first), max(0, first + side)) for first, side in zip(corner, size, strict=True))
    return bool(occupied[box].any())


def look(
    network: Any,
    image: NDArray[np.floating],
    grid: Grid,
    windows: Windows,
    *,
    fill: Sequence[float],
    device: torch.device,
    precision: Precision,
    mirror: Sequence[int] = (),
    dropout_seed: int | None = None,
    nms: Sequence[float] = NMS,
    report: Report = silent,
    cancelled: CancelCheck = never,
) -> Candidates:
    """Let a detector look at every window of a scan.

    In a volume a mask costs as much as a tenth of a window, and nine of ten candidates make no finding. So it is
    looked at for boxes first, and windows that hold what :func:`.clustering.wanted` asks for once more for masks. On
    slices the network costs more than the masks, and all are drawn at once.

    Parameters
    ----------
    network : RegionNetwork
        On *device*; comes back in the mode (training or not) it came in.
    image : array, (C, z, y, x)
        Normalised, on the network's grid.
    grid : Grid
    windows : Windows
    fill : sequence of float
        What stands for the world outside the scan, per channel, as in training.
    device, precision
    mirror : sequence of int
        Axes (0 z, 1 y, 2 x) to mirror; each of the 2^n mirrored views counts as a window of its own.
    dropout_seed : int, optional
        Leave dropout on, and drop what follows from this seed. The masks of a volume then come from another draw than
        the boxes.
    nms : sequence of float
        The overlaps at which the candidates may be clustered: masks are drawn for these.
    report, cancelled
        Told and asked between two calls of the network.

    Raises
    ------
    Cancelled
        When asked to stop; nothing is kept.
    OutOfMemory
        When a window does not fit into memory.
    WorkError
        When the network gives something that is no number.
    """
    size = " × ".join(str(length) for length in image.shape[1:])
    with (
        memory_guard(f"predicting a volume of {size} voxels", "Close other programs, or predict on the processor."),
        evaluating(network),
        dropping(network, dropout_seed),
        torch.inference_mode(),
    ):
        eye = _Eye(network, image, windows, fill, device, precision, cancelled)
        rows = _boxes(eye, _flips(mirror, eye.dims), grid.shape, report)
        found = rows.candidates(float(network.roi_scale), grid)
        return found if eye.dims == 2 else _with_masks(eye, found, rows.views, wanted(found, nms))


@dataclass(frozen=True)
class _Eye:
    """A network and what it looks at, window by window."""

    network: Any
    image: NDArray[np.floating]
    windows: Windows
    fill: Sequence[float]
    device: torch.device
    precision: Precision
    cancelled: CancelCheck

    @property
    def dims(self) -> int:
        return int(self.network.spatial_dims)

    @property
    def sides(self) -> tuple[int, ...]:
        return self.windows.size[-self.dims :]

    @property
    def batch(self) -> int:
        """Windows of a call."""
        return max(1, CALL_VOXELS[self.device.type] // math.prod(self.windows.size))

    def tiles(self, starts: Sequence[Triple]) -> torch.Tensor:
        """The windows that begin at *starts*."""
        if self.cancelled():
            raise Cancelled("The prediction was stopped.", "Nothing of this scan was kept.")
        tiles = np.stack([cut(self.image, start, self.windows.size, self.fill) for start in starts])
        tensor = torch.from_numpy(tiles.astype(np.float32, copy=False))
        tensor = (tensor if self.dims == 3 else tensor[:, :, 0]).to(self.device)
        return tensor.contiguous(memory_format=self.precision.layout(self.dims))

    def sees(self, tensor: torch.Tensor, axes: Sequence[int]) -> Any:
        """What the network says of windows that are turned round along *axes*."""
        return self.network(torch.flip(tensor, [axis + 2 for axis in axes]) if axes else tensor)


def _boxes(eye: _Eye, flips: Sequence[tuple[int, ...]], shape: Triple, report: Report) -> _Rows:
    """What every window finds, on slices with masks."""
    rows = _Rows(eye.dims, int(eye.network.mask_size))
    starts = eye.windows.starts
    for first in range(0, len(starts), eye.batch):
        group = starts[first : first + eye.batch]
        tensor = eye.tiles(group)
        for axes in flips:
            with eye.precision.autocast(eye.device):
                found = eye.network.detect(
                    eye.sees(tensor, axes), eye.sides, score=rows.floor, nms=_TWICE, limit=_MOST, masks=eye.dims == 2
                )
            for start, one in zip(group, found, strict=True):
                rows.add(start, eye.sides, one, shape, axes)
        rows.prune()
        report(Progress(name="predict", done=first + len(group), total=len(starts)))
    return rows


def _with_masks(
    eye: _Eye, found: Candidates, views: Sequence[tuple[Triple, tuple[int, ...]]], rows: NDArray[np.intp]
) -> Candidates:
    """The candidates with the masks of some *rows*; *views* tells how the window of each number was looked at."""
    size = int(eye.network.mask_size)
    masks = np.zeros((len(rows), *(size,) * eye.dims), dtype=np.float16)
    drawn = np.full(len(found.scores), -1, dtype=np.intp)
    drawn[rows] = np.arange(len(rows))
    asked: dict[tuple[int, ...], list[int]] = {}
    for number in np.unique(found.window[rows]):
        asked.setdefault(views[number][1], []).append(int(number))
    for axes, numbers in asked.items():
        for first in range(0, len(numbers), eye.batch):
            group = numbers[first : first + eye.batch]
            tensor = eye.tiles([views[number][0] for number in group])
            with eye.precision.autocast(eye.device):
                output = eye.sees(tensor, axes)
                for place, number in enumerate(group):
                    mine = rows[found.window[rows] == number]
                    cubes = found.cubes[mine].copy()
                    cubes[:, :-1] -= found.windows[number, : eye.dims]
                    for axis in axes:
                        cubes[:, axis] = eye.sides[axis] - cubes[:, axis]
                    boxes = torch.from_numpy(cubes.astype(np.float32)).to(eye.device)
                    classes = torch.from_numpy(found.classes[mine]).to(eye.device)
                    some = eye.network.draw(output, place, boxes, classes).float().cpu().numpy()
                    masks[drawn[mine]] = np.flip(some, tuple(axis + 1 for axis in axes))
    return replace(found, masks=masks, drawn=drawn)


def _flips(mirror: Sequence[int], dims: int) -> list[tuple[int, ...]]:
    """The sets of axes of a window to turn round, the empty one first."""
    axes = [axis - (3 - dims) for axis in mirror if axis >= 3 - dims]
    return [some for count in range(len(axes) + 1) for some in combinations(axes, count)]


class _Rows:
    """Collects what windows found."""

    def __init__(self, dims: int, mask_size: int) -> None:
        self.dims = dims
        self.cubes = [np.zeros((0, dims + 1))]
        self.scores = [np.zeros(0)]
        self.classes = [np.zeros(0, dtype=np.intp)]
        self.masks = [np.zeros((0, *(mask_size,) * dims), dtype=np.float16)]
        self.window = [np.zeros(0, dtype=np.intp)]
        self.windows: list[list[float]] = []
        self.views: list[tuple[Triple, tuple[int, ...]]] = []
        self.slices: list[int] = []
        self.floor = FLOOR

    def add(self, start: Triple, sides: Sequence[int], found: Any, shape: Triple, turned: Sequence[int]) -> None:
        """Add the detections of the window that begins at *start*; what is centred outside the scan is none.

        The window was seen with the axes *turned* the other way round.
        """
        shift = np.asarray(start[-self.dims :], dtype=np.float64)
        cubes = found.cubes.double().cpu().numpy()
        scores = found.scores.double().cpu().numpy()
        if not (np.isfinite(cubes).all() and np.isfinite(scores).all()):
            raise WorkError(
                "The network gave values that are no numbers.",
                "Predict in single precision, or train the model again.",
            )
        for axis in turned:
            cubes[:, axis] = sides[axis] - cubes[:, axis]
        cubes[:, :-1] += shift
        inside = ((cubes[:, :-1] >= 0) & (cubes[:, :-1] < shape[-self.dims :])).all(axis=1) & (cubes[:, -1] > 0)
        self.cubes.append(cubes[inside])
        self.scores.append(scores[inside])
        self.classes.append(found.classes.cpu().numpy().astype(np.intp)[inside])
        if self.dims == 2:
            masks = found.masks.float().cpu().numpy().astype(np.float16)
            masks = np.flip(masks, tuple(axis + 1 for axis in turned))
            self.masks.append(masks[inside])
        self.window.append(np.full(int(inside.sum()), len(self.windows), dtype=np.intp))
        self.views.append((start, tuple(turned)))
        self.windows.append([*shift, *(shift + np.asarray(sides, dtype=np.float64))])
        self.slices.append(0 if self.dims == 3 else start[0])

    def prune(self) -> None:
        """Keep the best :data:`_KEPT` candidates once there are twice as many; what follows must be better."""
        scores = np.concatenate(self.scores)
        if len(scores) <= 2 * _KEPT:
            return
        best = np.sort(np.argsort(-scores, kind="stable")[:_KEPT])
        self.cubes, self.scores = [np.concatenate(self.cubes)[best]], [scores[best]]
        self.classes, self.window = [np.concatenate(self.classes)[best]], [np.concatenate(self.window)[best]]
        if self.dims == 2:
            self.masks = [np.concatenate(self.masks)[best]]
        self.floor = float(self.scores[0].min())

    def candidates(self, roi_scale: float, grid: Grid) -> Candidates:
        """Everything that was kept."""
        masks, scores = np.concatenate(self.masks), np.concatenate(self.scores)
        return Candidates(
            cubes=np.concatenate(self.cubes),
            scores=scores,
            classes=np.concatenate(self.classes),
            masks=masks,
            drawn=np.arange(len(scores)) if self.dims == 2 else np.full(len(scores), -1, dtype=np.intp),
            window=np.concatenate(self.window),
            windows=np.array(self.windows, dtype=np.float64).reshape(-1, 2 * self.dims),
            slices=np.array(self.slices, dtype=np.intp),
            roi_scale=roi_scale,
            grid=grid,
        )
