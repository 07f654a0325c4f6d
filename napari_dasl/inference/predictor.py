"""A trained network that predicts scans as they come: any grid in, the same grid out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import ndimage
from torch import nn

from napari_dasl.errors import InputError
from napari_dasl.events import CancelCheck, Report, never, silent
from napari_dasl.inference.dropout import dropouts
from napari_dasl.inference.memory import memory_guard
from napari_dasl.inference.region.candidates import NMS, Candidates, Grid
from napari_dasl.inference.region.confidence import own_loss
from napari_dasl.inference.region.pasting import Assembled, assemble
from napari_dasl.inference.region.thresholds import Thresholds, findings
from napari_dasl.inference.region.windows import lay, look
from napari_dasl.inference.sliding import PrecisionName, predict
from napari_dasl.project.instances import MOST_FINDINGS, Instance, describe, number_lesions
from napari_dasl.training.device import Precision
from napari_dasl.training.effective import Box, effective_box, put_back
from napari_dasl.training.normalise import outside
from napari_dasl.training.prepare import from_network_grid, to_network_grid

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_dasl.training.plan import TrainingPlan

_AIR_HU = -500.0  # half way between air and water

CALL_VOXELS = {"cpu": 100_000, "cuda": 1_000_000}
"""A window of 6 × 48 × 48 alone costs a processor 3.2 µs a voxel, and 0.9 µs with a second one beside it; from 70,000
voxels on, one is as fast as many. The sums of a call may differ in their last bit."""


@dataclass(frozen=True)
class Predicted:
    """What a network says about a scan, on the scan's own grid.

    Attributes
    ----------
    probability : array, float32, (K + 1, z, y, x)
        Background first; adds up to 1.
    instances : tuple of Instance
        The findings one by one. Those that are kept make up the most probable classes.
    ids : array, uint16, (z, y, x)
        The finding that each voxel belongs to, 0 for none.
    self_loss : float or None
        Training loss against the network's own decision, where the network has one that the probability does not tell
        (:func:`napari_dasl.inference.region.confidence.own_loss`); None where it follows from the probability.
    """

    probability: NDArray[np.float32]
    instances: tuple[Instance, ...]
    ids: NDArray[np.uint16]
    self_loss: float | None


class Predictor:
    """A network with everything it needs to predict a scan.

    Both kinds look through overlapping windows of the size of the training patch. Those of a semantic network are
    averaged; what those of a detector find is clustered (see :mod:`napari_dasl.inference.region`).

    Parameters
    ----------
    network : torch module
        As :func:`napari_dasl.networks.build` makes it, weights loaded. Moved to *device*.
    plan : TrainingPlan
        The plan that it was trained with.
    device : torch.device or str
    precision : Precision or {"fp32", "bf16"}
        From :func:`napari_dasl.training.device.choose_precision`, or its name.
    overlap : float, optional
        Share of a window that the next one covers again. Half where not given; for a detector what its largest
        regions need.
    batch : int, optional
        Windows per call of a semantic network. Where not given, as many small ones as hold :data:`CALL_VOXELS`.
    mirror : bool
        Average over mirrorings along the axes that training mirrored, 2 to 8 times the work. Off by default.
    skip_air : bool, optional
        In CT, do not look into windows that hold nothing above −500 HU. Where not given, detectors do so: a window
        without a vessel, a wall or skin lies outside the body.
    thresholds : Thresholds, optional
        Of a detector: from which score a finding counts, and which boxes are one. 0.5 and 0.3 where not given.
    """

    def __init__(
        self,
        network: nn.Module,
        plan: TrainingPlan,
        device: torch.device | str = "cpu",
        precision: Precision | PrecisionName = "fp32",
        *,
        overlap: float | None = None,
        batch: int | None = None,
        mirror: bool = False,
        skip_air: bool | None = None,
        thresholds: Thresholds | None = None,
    ) -> None:
        self.plan = plan
        self.device = torch.device(device)
        self.precision = precision if isinstance(precision, Precision) else Precision(precision, channels_last=False)
        self.overlap = overlap
        self.batch = max(1, CALL_VOXELS[self.device.type] // math.prod(plan.patch)) if batch is None else batch
        self.mirror = tuple("zyx".index(axis) for axis in plan.augmentation.mirror) if mirror else ()
        self.skip_air = (plan.detector if skip_air is None else skip_air) and plan.modality == "CT"
        self.thresholds = thresholds or Thresholds()
        with memory_guard("moving the network to its device", "Close other programs, or predict on the processor."):
            self.network = network.to(self.device, memory_format=self.precision.layout(plan.spatial_dims))

    def case(
        self,
        image: NDArray[np.float32],
        spacing: Sequence[float],
        report: Report = silent,
        cancelled: CancelCheck = never,
    ) -> NDArray[np.float32]:
        """Class probabilities of a scan, on the scan's own grid.

        Parameters
        ----------
        image : array, (C, z, y, x)
            In stored units (HU, SUV, …), channels in the order of the plan.
        spacing : sequence of 3 floats
            Voxel size (z, y, x) in mm.
        report, cancelled
            Told and asked between two batches of windows.

        Returns
        -------
        array, float32, (K, z, y, x)
            Background first; adds up to 1 over the classes to about 0.001 (half precision on the way).

        Raises
        ------
        InputError
            When the scan does not have the channels of the plan, or an axis without voxels.
        Cancelled, OutOfMemory, WorkError
            See :func:`napari_dasl.inference.predict`.
        """
        if self.plan.detector:
            return self._assembled(self.candidates(image, spacing, report, cancelled, nms=self._own)).probability
        return self._semantic(image, spacing, None, report, cancelled)

    def predict(
        self,
        image: NDArray[np.float32],
        spacing: Sequence[float],
        report: Report = silent,
        cancelled: CancelCheck = never,
    ) -> Predicted:
        """Everything that the network says about a scan: class probabilities, and findings one by one.

        The findings of a semantic network are the connected components of its most probable classes (at most
        :data:`~napari_dasl.project.instances.MOST_FINDINGS`, the largest), each with the mean probability of its
        class as score.

        Parameters and errors are those of :meth:`case`.
        """
        voxel = (float(spacing[0]), float(spacing[1]), float(spacing[2]))
        if self.plan.detector:
            return self.finished(self.candidates(image, spacing, report, cancelled, nms=self._own))
        probability = self._semantic(image, spacing, None, report, cancelled)
        with memory_guard(_counting(image), "Close other programs and predict the scan again."):
            return _components(probability, voxel)

    def candidates(
        self,
        image: NDArray[np.float32],
        spacing: Sequence[float],
        report: Report = silent,
        cancelled: CancelCheck = never,
        *,
        dropout_seed: int | None = None,
        nms: Sequence[float] = NMS,
    ) -> Candidates:
        """What the windows of a detector find, before it is clustered: what thresholds are tuned on.

        Parameters and errors are those of :meth:`case`; with *dropout_seed* dropout stays on. Masks are drawn for
        clustering at the overlaps *nms*, by default those that tuning tries.

        Raises
        ------
        InputError
            When the network is no detector.
        """
        if not self.plan.detector:
            raise InputError(
                f"The network {self.plan.network} does not find lesions one by one.", "Choose a model of a detector."
            )
        network: Any = self.network
        values = self._grid(image, spacing)
        grid = Grid(_triple(values.shape[1:]), _triple(image.shape[1:]), (*map(float, spacing),))  # type: ignore[arg-type]
        windows = lay(
            grid.shape,
            self.plan.patch,
            overlap=self.overlap,
            largest=float(network.roi_scale) * max(network.anchor_sizes),
            occupied=_occupied(image[0], grid.shape) if self.skip_air else None,
        )
        return look(
            network,
            values,
            grid,
            windows,
            fill=[outside(rule) for rule in self.plan.normalisation],
            device=self.device,
            precision=self.precision,
            mirror=self.mirror,
            dropout_seed=dropout_seed,
            nms=nms,
            report=report,
            cancelled=cancelled,
        )

    @property
    def _own(self) -> tuple[float]:
        """The overlap that this predictor clusters at."""
        return (self.thresholds.nms,)

    def finished(self, candidates: Candidates) -> Predicted:
        """The prediction that *candidates* make with the thresholds of this predictor."""
        made = self._assembled(candidates)
        instances = describe(
            made.ids,
            {number: one.label for number, one in enumerate(made.findings, start=1)},
            {number: one.score for number, one in enumerate(made.findings, start=1)},
            candidates.grid.spacing,
            made.kept,
        )
        return Predicted(made.probability, instances, made.ids, own_loss(made, self.thresholds))

    def _assembled(self, candidates: Candidates) -> Assembled:
        scan = " × ".join(str(length) for length in candidates.grid.scan)
        with memory_guard(f"drawing the findings of a scan of {scan} voxels", "Close other programs."):
            found = findings(candidates, self.thresholds.nms)
            return assemble(found, candidates.grid, len(self.plan.classes), self.thresholds)

    def _semantic(
        self,
        image: NDArray[np.float32],
        spacing: Sequence[float],
        dropout_seed: int | None,
        report: Report,
        cancelled: CancelCheck,
    ) -> NDArray[np.float32]:
        part, box = self._part(image, spacing)
        grid = self._grid(part, spacing)
        probability = self._on_grid(grid, part, dropout_seed, report, cancelled)
        # Both grids at once are the peak of memory, and this one has done its work.
        del grid
        return _back(probability, part, box, image)

    def passes(
        self,
        image: NDArray[np.float32],
        spacing: Sequence[float],
        count: int,
        seed: int,
        cancelled: CancelCheck = never,
    ) -> Iterator[NDArray[np.float32]]:
        """Class probabilities of a scan with dropout left on, several times.

        Parameters
        ----------
        image, spacing, cancelled
            As for :meth:`case`.
        count : int
            Passes.
        seed : int
            The passes follow from it and from the scan alone.

        Yields
        ------
        array, float32, (K, z, y, x)
            One per pass.

        Raises
        ------
        InputError
            When the network has no dropout, or as :meth:`case` does.
        Cancelled, OutOfMemory, WorkError
            See :func:`napari_dasl.inference.predict`.
        """
        if not self.drops:
            raise InputError(
                "This model has no dropout, so several passes of it say the same.",
                "Older plans lack it: write dropout = 0.1 under [network_options] in plan.toml, and train anew.",
            )
        if self.plan.detector:
            for number in range(count):
                seen = self.candidates(image, spacing, cancelled=cancelled, dropout_seed=seed + number, nms=self._own)
                yield self._assembled(seen).probability
            return
        part, box = self._part(image, spacing)
        grid = self._grid(part, spacing)
        for number in range(count):
            yield _back(self._on_grid(grid, part, seed + number, silent, cancelled), part, box, image)

    @property
    def drops(self) -> bool:
        """Whether the network has dropout, so that passes of it differ."""
        return bool(dropouts(self.network))

    def _part(self, image: NDArray[np.float32], spacing: Sequence[float]) -> tuple[NDArray[np.float32], Box]:
        """What the network sees of a scan, by the plan's effective range, and where it lies in it."""
        _check(image)
        with memory_guard(_resampling(image), "Close other programs and predict the scan again."):
            box = effective_box(image, spacing, self.plan)
        return image[(slice(None), *box)], box

    def _grid(self, image: NDArray[np.float32], spacing: Sequence[float]) -> NDArray[np.float32]:
        """The scan on the network's grid, normalised."""
        _check(image)
        with memory_guard(_resampling(image), "Close other programs and predict the scan again."):
            return to_network_grid(image, (spacing[0], spacing[1], spacing[2]), self.plan)

    def _on_grid(
        self,
        grid: NDArray[np.float32],
        image: NDArray[np.float32],
        dropout_seed: int | None,
        report: Report,
        cancelled: CancelCheck,
    ) -> NDArray[np.floating]:
        """Probabilities on the network's grid."""
        return predict(
            self.network,
            grid,
            patch=self.plan.patch,
            out_channels=self.plan.out_channels,
            overlap=0.5 if self.overlap is None else self.overlap,
            batch=self.batch,
            device=self.device,
            precision=self.precision.dtype,
            channels_last=self.precision.channels_last,
            mirror=self.mirror,
            occupied=_occupied(image[0], grid.shape[1:]) if self.skip_air else None,
            dropout_seed=dropout_seed,
            planar=self.plan.spatial_dims == 2,
            report=report,
            cancelled=cancelled,
        )


def _check(image: NDArray[np.float32]) -> None:
    if image.ndim != 4 or 0 in image.shape:
        raise InputError(
            f"An image has shape (C, z, y, x), and this one has {tuple(image.shape)}.", "Add its channel axis."
        )


def _back(
    probability: NDArray[np.floating], part: NDArray[np.float32], box: Box, image: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Probabilities on the scan's grid, from those of the *part* of it in *box* on the network's."""
    with memory_guard(_resampling(image), "Close other programs and predict the scan again."):
        return put_back(from_network_grid(probability, _triple(part.shape[1:])), box, image.shape[1:])


def _components(probability: NDArray[np.float32], spacing: tuple[float, float, float]) -> Predicted:
    """A semantic prediction with its connected components as findings."""
    ids, labels = number_lesions(probability.argmax(axis=0).astype(np.uint8), most=MOST_FINDINGS)
    scores = {}
    for number, region in enumerate(ndimage.find_objects(ids), start=1):
        if region is not None:
            inside = ids[region] == number
            scores[number] = float(probability[(labels[number], *region)][inside].mean(dtype=np.float64))
    return Predicted(probability, describe(ids, labels, scores, spacing), ids.astype(np.uint16, copy=False), None)


def _triple(shape: Sequence[int]) -> tuple[int, int, int]:
    return int(shape[0]), int(shape[1]), int(shape[2])


def _counting(image: NDArray[np.float32]) -> str:
    return f"counting the findings of a scan of {' × '.join(str(length) for length in image.shape[1:])} voxels"


def _resampling(image: NDArray[np.float32]) -> str:
    return f"resampling a scan of {' × '.join(str(length) for length in image.shape[1:])} voxels"


def _occupied(scan: NDArray[np.float32], shape: Sequence[int]) -> NDArray[np.bool_]:
    """Voxels that are no air, from a CT in HU (z, y, x), at the nearest voxel of a grid of another *shape*."""
    nearest = [
        np.minimum((np.arange(new) + 0.5) * old // new, old - 1).astype(np.intp)
        for old, new in zip(scan.shape, shape, strict=True)
    ]
    # A slice at a time: the scan is large, and only what is above the threshold is kept.
    return np.stack([scan[z][np.ix_(nearest[1], nearest[2])] > _AIR_HU for z in nearest[0]])
