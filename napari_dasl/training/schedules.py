r"""How the learning rate goes through a run: five schedules, by the part of the run that is done. No torch.

After a linear rise over the plan's ``warmup``, with :math:`q` the part of what is left, from 0 to 1, and
:math:`r` = ``restarts`` equal parts of it, of which the :math:`k`-th (from 0) has been gone through to :math:`u`:

``cosine``
    :math:`\tfrac12 (1 + \cos \pi q)`: down to zero.
``poly``
    :math:`(1 - q)^{0.9}`: down to zero, and higher than the cosine near the end; that of nnU-Net and of the papers
    on patch growth.
``warm-restarts``
    :math:`l + (1 - l) \tfrac12 (1 + \cos \pi u)` with :math:`l` = ``lowest``: down to it in every part, then at once
    up again (Loshchilov and Hutter, SGDR, ICLR 2017). The PET curriculum paper goes from 1e-3 to 1e-6 every 25 epochs.
``steps``
    ``factor`` to the power of :math:`k`.
``constant``
    1.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_dasl.training.plan import TrainingPlan

_ROUNDING = 1e-9  # a third of 30 steps must end before step 10, and not, by the last digit of a product, after it


def learning_rate(plan: TrainingPlan, progress: float) -> float:
    """The learning rate of the plan at *progress* of the run, from 0 to 1."""
    if progress < plan.warmup:
        return plan.learning_rate * (0.1 + 0.9 * progress / plan.warmup)
    done = (progress - plan.warmup) / (1 - plan.warmup)
    if plan.schedule == "cosine":
        return plan.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
    if plan.schedule == "poly":
        return plan.learning_rate * math.pow(1 - done, 0.9)
    if plan.schedule == "constant":
        return plan.learning_rate
    part = min(int(done * plan.restarts + _ROUNDING), plan.restarts - 1)
    if plan.schedule == "steps":
        return plan.learning_rate * plan.factor**part
    within = max(0.0, done * plan.restarts - part)
    return plan.learning_rate * (plan.lowest + (1 - plan.lowest) * 0.5 * (1 + math.cos(math.pi * within)))
