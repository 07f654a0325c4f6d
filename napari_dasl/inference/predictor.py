"""A trained network that predicts scans as they come: any grid in, the same grid out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from napari_dasl.errors import InputError
from napari_dasl.events import CancelCheck, Report, never, silent
from napari_dasl.inference.dropout import dropouts
from napari_dasl.inference.memory import memory_guard
from napari_dasl.inference.sliding import PrecisionName, predict
from napari_dasl.training.device import Precision
from napari_dasl.training.prepare import from_network_grid, to_network_grid

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_dasl.training.plan import TrainingPlan

_AIR_HU = -500.0  # half way between air and water


class Predictor:
    """A network with everything it needs to predict a scan.

    Parameters
    ----------
    network : torch module
        As :func:`napari_dasl.networks.build` makes it, weights loaded. Moved to *device*.
    plan : TrainingPlan
        The plan that it was trained with.
    device : torch.device or str
    precision : Precision or {"fp32", "bf16"}
        From :func:`napari_dasl.training.device.choose_precision`, or its name.
    overlap : float
        Share of a window that the next one covers again.
    batch : int
        Windows per call of the network.
    mirror : bool
        Average over mirrorings along the axes that training mirrored, 2 to 8 times the work. Off by default.
    skip_air : bool
        In CT, do not look into windows that hold nothing above −500 HU. Off by default.
    """

    def __init__(
        self,
        network: nn.Module,
        plan: TrainingPlan,
        device: torch.device | str = "cpu",
        precision: Precision | PrecisionName = "fp32",
        *,
        overlap: float = 0.5,
        batch: int = 1,
        mirror: bool = False,
        skip_air: bool = False,
    ) -> None:
        self.plan = plan
        self.device = torch.device(device)
        self.precision = precision if isinstance(precision, Precision) else Precision(precision, channels_last=False)
        self.overlap = overlap
        self.batch = batch
        self.mirror = tuple("zyx".index(axis) for axis in plan.augmentation.mirror) if mirror else ()
        self.skip_air = skip_air and plan.modality == "CT"
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
        grid = self._grid(image, spacing)
        probability = self._on_grid(grid, image, None, report, cancelled)
        # Both grids at once are the peak of memory, and this one has done its work.
        del grid
        return _back(probability, image)

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
        grid = self._grid(image, spacing)
        for number in range(count):
            yield _back(self._on_grid(grid, image, seed + number, silent, cancelled), image)

    @property
    def drops(self) -> bool:
        """Whether the network has dropout, so that passes of it differ."""
        return bool(dropouts(self.network))

    def _grid(self, image: NDArray[np.float32], spacing: Sequence[float]) -> NDArray[np.float32]:
        """The scan on the network's grid, normalised."""
        if image.ndim != 4 or 0 in image.shape:
            raise InputError(
                f"An image has shape (C, z, y, x), and this one has {tuple(image.shape)}.", "Add its channel axis."
            )
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
            overlap=self.overlap,
            batch=self.batch,
            device=self.device,
            precision=self.precision.dtype,
            channels_last=self.precision.channels_last,
            mirror=self.mirror,
            occupied=_occupied(image[0], grid.shape[1:]) if self.skip_air else None,
            dropout_seed=dropout_seed,
            report=report,
            cancelled=cancelled,
        )


def _back(probability: NDArray[np.floating], image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities on the scan's grid, from the network's."""
    with memory_guard(_resampling(image), "Close other programs and predict the scan again."):
        return from_network_grid(probability, image.shape[1:])


def _resampling(image: NDArray[np.float32]) -> str:
    return f"resampling a scan of {' × '.join(str(length) for length in image.shape[1:])} voxels"


def _occupied(scan: NDArray[np.float32], shape: Sequence[int]) -> NDArray[np.bool_]:
    """Voxels that are no air, from a CT in HU (z, y, x), at the nearest voxel of a grid of another *shape*."""
    nearest = [
        np.minimum((np.arange(new) + 0.5) * old // new, old - 1).astype(np.intp)
        for old, new in zip(scan.shape, shape, strict=True)
    ]
    return np.asarray(scan[np.ix_(*nearest)] > _AIR_HU)
