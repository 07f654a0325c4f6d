"""How long somebody actively worked on a case, and how much of it was looking and how much drawing.

The rule is RootPainter's (Smith et al. 2022): the time between two events of mouse or keyboard counts, unless it is
longer than twenty seconds and does not begin with a press of the mouse; then it was a pause and is dropped.

Each stretch of time that counts is either *editing* or *inspection*:

- from the press to the end of a stroke is editing;
- from one edit (stroke, undo, Accept) to the next is editing, while the picture stands still in between;
- everything else is inspection: the time before the first edit, and around scrolling and zooming.

The clock is plain Python; the window feeds it (:mod:`napari_dasl.widgets.hand_watch`).
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PAUSE_S = 20.0
"""A gap between two events that is longer than this, and did not begin with a press, is a pause and is dropped."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class EffortClock:
    """Sum of the stretches between events, as inspection and as editing.

    Parameters
    ----------
    now : callable
        Returns a monotonic time in seconds.
    today : callable
        Returns the date and time (UTC).
    pause : float
        Longest interval in seconds that still counts as work.

    Attributes
    ----------
    edit_seconds : float
        Active time of strokes, undo and the moments between them.
    strokes, undos : int
        Strokes of brush, eraser, fill or polygon; steps of undo and redo.
    opened, first_edit : datetime or None
        When the case was opened and first edited (UTC).
    pressed : bool
        Whether the mouse is down.
    """

    def __init__(
        self,
        now: Callable[[], float] = time.monotonic,
        pause: float = PAUSE_S,
        *,
        today: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._now = now
        self._today = today
        self._pause = pause
        self._last: float | None = None
        self._earlier = 0.0
        self.pressed = False
        self._set({})

    def _set(self, kept: Mapping[str, Any]) -> None:
        """Take the numbers of a draft; one of an older version has only the sum, which came with strokes."""
        self._inspected = float(kept.get("inspect", 0.0))
        self.edit_seconds = float(kept.get("edit", kept.get("seconds", 0.0)))
        self._undecided = 0.0
        self._editing = False
        self._just_pressed = False
        self.strokes = int(kept.get("strokes", 0))
        self.undos = int(kept.get("undos", 0))
        self.opened = _moment(kept.get("opened"))
        self.first_edit = _moment(kept.get("first_edit"))

    @property
    def inspect_seconds(self) -> float:
        """Active time of looking, so far."""
        return self._inspected + self._undecided

    @property
    def seconds(self) -> float:
        """Active time that no revision holds yet."""
        return self.inspect_seconds + self.edit_seconds

    @property
    def total(self) -> float:
        """Active time since the case was opened, with what was saved since."""
        return self._earlier + self.seconds

    # -- a case -----------------------------------------------------------------------------------------------------

    def start(self, kept: Mapping[str, Any] | None = None) -> None:
        """Begin a case, going on from what its draft already took (*kept*, made by :meth:`kept`)."""
        self._earlier = 0.0
        self.pressed = False
        self._set(kept or {})
        self.opened = self.opened or self._today()
        self._last = self._now()

    def kept(self) -> dict[str, Any]:
        """Return everything as plain values for a draft: seconds, counts, and times as ISO text."""
        return {
            "seconds": round(self.seconds, 1),
            "inspect": round(self.inspect_seconds, 1),
            "edit": round(self.edit_seconds, 1),
            "strokes": self.strokes,
            "undos": self.undos,
            "opened": None if self.opened is None else self.opened.isoformat(),
            "first_edit": None if self.first_edit is None else self.first_edit.isoformat(),
        }

    def hand_over(self) -> dict[str, Any]:
        """Return what :meth:`kept` returns and count from zero again: it goes with a label that is saved now."""
        taken = self.kept()
        self._earlier += self.seconds
        self._set({})
        self.opened = self._today()
        return taken

    def take_back(self, taken: Mapping[str, Any]) -> None:
        """Count again what :meth:`hand_over` returned, because saving failed."""
        self._inspected += float(taken["inspect"])
        self.edit_seconds += float(taken["edit"])
        self._earlier = max(0.0, self._earlier - float(taken["seconds"]))
        self.strokes += int(taken["strokes"])
        self.undos += int(taken["undos"])
        self.opened = _moment(taken.get("opened")) or self.opened
        self.first_edit = _moment(taken.get("first_edit")) or self.first_edit

    def stop(self) -> None:
        """Count nothing until the next :meth:`start`."""
        self._last = None

    # -- what the annotator does --------------------------------------------------------------------------------------

    def event(self) -> None:
        """Note that the pointer moved; whether that was looking or drawing is decided by what comes next."""
        self._step()

    def look(self) -> None:
        """Note that the picture was scrolled, zoomed or turned."""
        self._step()
        self._decide(editing=self.pressed and self._editing)
        self._editing = self.pressed and self._editing

    def press(self, *, drawing: bool) -> None:
        """Note that the mouse went down, to draw or to move the picture."""
        self._step()
        self._decide(editing=self._editing and drawing)
        self._editing = drawing
        self.pressed = self._just_pressed = True

    def release(self) -> None:
        """Note that the mouse went up."""
        self._step()
        self._decide(editing=self._editing)
        self.pressed = False

    def stroke(self) -> None:
        """Note that a stroke is in the label."""
        self.strokes += 1
        self.edit()

    def undo(self) -> None:
        """Note a step of undo or redo."""
        self.undos += 1
        self.edit()

    def edit(self) -> None:
        """Note any other change of the label, such as Accept."""
        self._step()
        self._decide(editing=self._editing)
        self._editing = True
        if self._last is not None and self.first_edit is None:
            self.first_edit = self._today()

    def _step(self) -> None:
        now, pressed = self._now(), self._just_pressed
        self._just_pressed = False
        if self._last is None:
            return
        gap = now - self._last
        if 0 <= gap <= self._pause or (pressed and gap > 0):
            self._undecided += gap
        self._last = now

    def _decide(self, *, editing: bool) -> None:
        if editing:
            self.edit_seconds += self._undecided
        else:
            self._inspected += self._undecided
        self._undecided = 0.0


def _moment(text: object) -> datetime | None:
    """Read a time of a draft; what is no time was never known."""
    try:
        return datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None


def in_words(seconds: float) -> str:
    """Return a duration as the window writes it, such as ``2 min 05 s`` or ``1 h 04 min``."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
