"""How labels drawn by people and pseudo-labels share the batches of a training run. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from napari_dasl.errors import InputError

_ROUNDING = 1e-9  # 0.3 · 10 must ask for 3 samples and not, by the last digit of a product, for 4


@dataclass(frozen=True)
class Mixing:
    """The part of people's labels where there are pseudo-labels too; without pseudo-labels it has no effect.

    Pseudo-labels are many and may be wrong in the same way, so they never get more than their part of a batch, and what
    is learnt last is what people drew.

    Parameters
    ----------
    human_share : float
        At least this part of the samples of every batch comes from cases that a person labelled, from 0 to 1.
    human_tail : float
        In this last part of the training budget every sample does, from 0 to 1.

    Raises
    ------
    InputError
        Where one of them is not between 0 and 1.
    """

    human_share: float = 0.5
    human_tail: float = 0.15

    def __post_init__(self) -> None:
        for name, value in (("human_share", self.human_share), ("human_tail", self.human_tail)):
            if not 0 <= value <= 1:
                raise InputError(f"{name} is {value}, and must be between 0 and 1.", "Give a part, such as 0.5.")

    def human_samples(self, step: int, batch: int) -> int:
        """How many samples of the batch of *step* come from people's labels, before the tail.

        A batch of one alternates: over the steps, its share is kept.
        """
        if batch > 1:
            return min(batch, math.ceil(self.human_share * batch - _ROUNDING))
        return self.human_before(step + 1, batch) - self.human_before(step, batch)

    def human_before(self, step: int, batch: int) -> int:
        """How many samples of the batches before *step* came from people's labels, where none lay in the tail."""
        if batch > 1:
            return step * self.human_samples(step, batch)
        return math.ceil(self.human_share * step - _ROUNDING)

    def in_tail(self, progress: float) -> bool:
        """Whether a step that begins at *progress* of the budget, 0 to 1, learns from people's labels alone."""
        return self.human_tail > 0 and progress >= 1 - self.human_tail - _ROUNDING
