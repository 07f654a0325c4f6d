"""What long work says while it runs: the words that training, prediction and rounds use to report.

A worker takes ``report: Report`` and ``cancelled: CancelCheck``. It calls ``report(event)`` often, and asks
``cancelled()`` between two steps (a training step, a sliding window, a case); when that is true it saves its state
and raises :class:`napari_dasl.errors.Cancelled`. The engine sends the same events over its pipe unchanged, the command
line draws them as a progress bar, and the window shows them in *Learning*.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

PhaseName = Literal["prepare", "train", "guard", "predict", "rank", "save"]


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Phase(_Event):
    """A new part of the work begins; *text* is one sentence in the words of the window."""

    kind: Literal["phase"] = "phase"
    name: PhaseName
    text: str


class Progress(_Event):
    """*done* of *total* units of the phase are finished; *eta* is the time left for the whole job in seconds."""

    kind: Literal["progress"] = "progress"
    name: PhaseName
    done: int
    total: int
    eta: float | None = None
    text: str = ""


class Metric(_Event):
    """One point of a curve, such as ``loss`` or ``guard_dice``, at an optimiser step."""

    kind: Literal["metric"] = "metric"
    name: str
    step: int
    value: float


class Log(_Event):
    """A line for the log; warnings are also shown to the user."""

    kind: Literal["log"] = "log"
    level: Literal["info", "warning"] = "info"
    text: str


Event = Annotated[Phase | Progress | Metric | Log, Field(discriminator="kind")]
Report = Callable[[Phase | Progress | Metric | Log], None]
CancelCheck = Callable[[], bool]


def silent(event: Phase | Progress | Metric | Log) -> None:
    """Report to nobody."""


def never() -> bool:
    """Tell that nobody asked to stop."""
    return False
