"""What several passes over one scan say together: their mean, and two maps of where they differ.

A pass is one prediction with dropout left on (Gal and Ghahramani, "Dropout as a Bayesian approximation", 2016), or that
of another model. Passes are added one at a time, so that memory holds one of them and the sums.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_dasl.active.agreement import pairwise_dice
from napari_dasl.active.uncertainty import entropy_map
from napari_dasl.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Passes:
    """Running sums over passes of one scan.

    Attributes
    ----------
    count : int
        Passes added so far.
    """

    def __init__(self) -> None:
        self.count = 0
        self._total: NDArray[np.float32] = np.zeros(0, dtype=np.float32)
        self._entropy: NDArray[np.float32] = np.zeros(0, dtype=np.float32)
        self._labels: list[NDArray[np.uint8] | NDArray[np.uint16]] = []

    def add(self, probability: NDArray[np.floating]) -> None:
        """Add one pass.

        Parameters
        ----------
        probability : array, (K, z, y, x)
            Background first; adds up to 1 at every voxel.

        Raises
        ------
        InputError
            When it is no probability, or its shape is not that of the passes before.
        """
        if probability.ndim != 4 or probability.shape[0] < 2:
            raise InputError(
                f"A pass has shape (K, z, y, x), K at least 2, and this one has {tuple(probability.shape)}.",
                "Give all channels of the softmax, the background first.",
            )
        entropy = entropy_map(probability)
        if self.count == 0:
            self._total = np.array(probability, dtype=np.float32)
            self._entropy = entropy
        elif probability.shape != self._total.shape:
            raise InputError(
                f"A pass has shape {tuple(probability.shape)} and the one before {self._total.shape}.",
                "Give passes over one scan.",
            )
        else:
            self._total += probability
            self._entropy += entropy
        label = np.argmax(probability, axis=0)
        self._labels.append(label.astype(np.uint8 if probability.shape[0] <= 256 else np.uint16))
        self.count += 1

    def mean(self) -> NDArray[np.float32]:
        """Mean probability of the passes, (K, z, y, x)."""
        self._need(1)
        return self._total / np.float32(self.count)

    def mutual_information(self) -> NDArray[np.float32]:
        """``H(p̄) − mean_m H(p_m)`` at every voxel, in nats: BALD (Houlsby et al., 2011), (z, y, x).

        0 where all passes say the same, however unsure each is; at most ln K.
        """
        self._need(2)
        found = entropy_map(self.mean()) - self._entropy / np.float32(self.count)
        return np.asarray(np.maximum(found, np.float32(0)))

    def disagreement(self) -> NDArray[np.float32]:
        """Share of the passes whose label is not the one that most passes give, at every voxel, (z, y, x)."""
        self._need(2)
        most: NDArray[np.intp] = np.zeros(self._labels[0].shape, dtype=np.intp)
        for value in range(self._total.shape[0]):
            votes: NDArray[np.intp] = np.zeros(most.shape, dtype=np.intp)
            for label in self._labels:
                votes += label == value
            np.maximum(most, votes, out=most)
        return (1 - most / self.count).astype(np.float32)

    def pairwise_dice(self) -> float:
        """Mean Dice over all pairs of passes; see :func:`napari_dasl.active.agreement.pairwise_dice`."""
        return pairwise_dice(self._labels)

    def _need(self, fewest: int) -> None:
        if self.count < fewest:
            raise InputError(f"{self.count} passes say nothing together.", f"Add at least {fewest}.")
