"""A curriculum as a function of progress: what to draw from, how large, how many, how fast to learn."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dasl.curriculum.growth import random_patch
from napari_dasl.curriculum.orders import Order, arrange
from napari_dasl.curriculum.pacing import Pacing, available
from napari_dasl.curriculum.stages import Sampling, Stage
from napari_dasl.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from napari_dasl.curriculum.growth import Triple

_NEARLY = 1e-9  # i/total and sums of shares are not exact, and a stage must begin at its very step


@dataclass(frozen=True, eq=False)
class Setting:
    """What holds at one moment of a run.

    Attributes
    ----------
    stage : int
        Index of the stage.
    patch : (int, int, int)
    batch : int
    sampling : {"usual", "whole", "tumour-patches"}
    rate : float
        Factor of the learning rate.
    available : array (m,) int
        Samples to draw from, each with the same chance.
    """

    stage: int
    patch: Triple
    batch: int
    sampling: Sampling
    rate: float
    available: NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Schedule:
    """One curriculum for one run: order, pacing and stages. Plain values, so that a run can be frozen and resumed.

    Attributes
    ----------
    order : tuple of int
        The samples, the first to learn from first.
    pacing : Pacing
        ``equal-steps`` must have been fitted.
    stages : tuple of Stage
    drawn : bool
        Draw a stage at every moment instead of going through them.
    seed : int
        Of what is drawn.
    minimum : int
        At least so many samples are available.
    """

    order: tuple[int, ...]
    pacing: Pacing
    stages: tuple[Stage, ...]
    drawn: bool = False
    seed: int = 0
    minimum: int = 1

    def __post_init__(self) -> None:
        if sorted(self.order) != list(range(len(self.order))) or not self.order:
            raise InputError(
                "The order of a curriculum does not name every sample once.", "Arrange the samples by difficulty again."
            )
        shares = [stage.share for stage in self.stages]
        if not shares or min(shares) < 0 or shares[-1] <= 0 or abs(sum(shares) - 1) > 1e-6:
            raise InputError(
                f"The stages of a curriculum take {shares} of the run.",
                "Give shares that add up to 1, the last above 0.",
            )

    def at(self, progress: float, step: int | None = None) -> Setting:
        """What holds at *progress*; the same whenever it is asked.

        Parameters
        ----------
        progress : float
            In [0, 1]: optimiser steps done, or minutes gone, as a part of the run. Beyond it, as at its end.
        step : int, optional
            Number of the optimiser step, by which stages in random order are drawn: by the clock the progress of a
            step is not known before it is made. Without it they are drawn by the progress.

        Returns
        -------
        Setting

        Raises
        ------
        InputError
            When progress is no number.
        """
        if math.isnan(progress):
            raise InputError("The progress of a run is not a number.", "Give the part of the run that is done, 0 to 1.")
        p = min(max(float(progress), 0.0), 1.0)
        index = self._drawn(p, step) if self.drawn else self._stage(p)
        stage = self.stages[index]
        chosen = available(np.asarray(self.order, dtype=np.intp), self.pacing, p, self.minimum)
        return Setting(index, stage.patch, stage.batch, stage.sampling, stage.rate, chosen)

    def as_dict(self) -> dict[str, Any]:
        """Give plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Schedule:
        """Read what :meth:`as_dict` gave, also by way of JSON; KeyError, TypeError or InputError for anything else."""
        pacing: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values["pacing"].items()
        }
        z_y_x = [tuple(stage["patch"]) for stage in values["stages"]]
        stages = tuple(Stage(**{**stage, "patch": patch}) for stage, patch in zip(values["stages"], z_y_x, strict=True))
        return cls(**{**values, "order": tuple(values["order"]), "pacing": Pacing(**pacing), "stages": stages})

    def _stage(self, progress: float) -> int:
        ends = np.cumsum([stage.share for stage in self.stages])
        return min(int(np.searchsorted(ends, progress + _NEARLY, side="right")), len(self.stages) - 1)

    def _drawn(self, progress: float, step: int | None) -> int:
        # Of the number of the step, or the very bits of the progress: a resumed run comes to the same ones.
        bits = int(np.float64(progress).view(np.uint64)) if step is None else step
        return random_patch(range(len(self.stages)), np.random.default_rng((self.seed, bits)))


def make_schedule(
    difficulty: ArrayLike,
    order: Order,
    pacing: Pacing,
    stages: Sequence[Stage],
    *,
    seed: int = 0,
    drawn: bool = False,
    minimum: int = 1,
) -> Schedule:
    """The schedule of a run over samples of known difficulty.

    Parameters
    ----------
    difficulty : array (n,)
        Rises with hardness; NaN where it is not known. See :func:`napari_dasl.curriculum.difficulty.difficulty`.
    order : {"easy", "hard", "random"}
    pacing : Pacing
    stages : sequence of Stage
    seed : int
        Of the random order and of drawn stages.
    drawn : bool
        :attr:`StageChoice.drawn`.
    minimum : int
        At least so many samples are available.

    Returns
    -------
    Schedule

    Raises
    ------
    InputError
        When there is no sample, or a choice is not known.
    """
    arranged = tuple(int(index) for index in arrange(difficulty, order, seed))
    return Schedule(arranged, pacing.fitted(difficulty, order), tuple(stages), drawn, seed, minimum)
