"""How long somebody actively worked on a case.

The rule is RootPainter's (Smith et al. 2022): the time between two events of the mouse or the keyboard counts, unless
it is longer than twenty seconds, which is a pause. The clock is plain Python; the window feeds it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PAUSE_S = 20.0
"""A gap between two events that is longer than this counts as a pause and is dropped."""


class EffortClock:
    """Sum of the short intervals between events.

    Parameters
    ----------
    now : callable
        Returns a monotonic time in seconds.
    pause : float
        Longest interval in seconds that still counts as work.

    Attributes
    ----------
    seconds : float
        Active time so far.
    strokes : int
        Number of strokes of brush, eraser, fill or polygon.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic, pause: float = PAUSE_S) -> None:
        self._now = now
        self._pause = pause
        self._last: float | None = None
        self.seconds = 0.0
        self.strokes = 0

    def start(self, seconds: float = 0.0, strokes: int = 0) -> None:
        """Begin a case, going on from what its draft already took."""
        self.seconds = float(seconds)
        self.strokes = int(strokes)
        self._last = self._now()

    def event(self) -> None:
        """Note that the annotator did something."""
        now = self._now()
        if self._last is not None and 0 <= now - self._last <= self._pause:
            self.seconds += now - self._last
        if self._last is not None:
            self._last = now

    def stroke(self) -> None:
        """Note a stroke, which is an event too."""
        self.strokes += 1
        self.event()

    def stop(self) -> None:
        """Count nothing until the next :meth:`start`."""
        self._last = None


def in_words(seconds: float) -> str:
    """Return a duration as the window writes it, such as ``2 min 05 s`` or ``1 h 04 min``."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
