"""Which case comes next: the worklist's order, what was passed over, and the way back. Plain Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


class Agenda:
    """The order of one person's afternoon.

    Attributes
    ----------
    waiting : list of str
        Cases that wait for a human label, in the order of the ranking.
    wish : list of str or None
        The worklist's visible order; None follows the ranking.
    """

    def __init__(self) -> None:
        self.waiting: list[str] = []
        self.wish: list[str] | None = None
        self._passed: list[str] = []
        self._visited: list[str] = []

    def queue(self, without: Collection[str] = ()) -> list[str]:
        """Return the waiting cases in the order in force.

        A case that was opened and left without saving goes to the end, so that *next* never jumps back and forth
        between the two cases on top. Cases that the worklist's filter hides are left out.

        Parameters
        ----------
        without : collection of str
            Cases to leave out, such as those whose label is just being written.
        """
        ordered = self.waiting
        if self.wish is not None:
            waiting = set(self.waiting)
            ordered = [case for case in self.wish if case in waiting]
        ordered = [case for case in ordered if case not in without]
        later = [case for case in self._passed if case in ordered]
        return [case for case in ordered if case not in later] + later

    def next(self, current: str | None, without: Collection[str] = ()) -> str | None:
        """Return the first waiting case that is not the *current* one."""
        return next((case for case in self.queue(without) if case != current), None)

    def done(self, case: str) -> None:
        """Note that *case* no longer waits: it was saved or skipped."""
        self.waiting = [other for other in self.waiting if other != case]

    def passed(self, case: str) -> None:
        """Note that *case* was left by *next*."""
        if case in self._passed:
            self._passed.remove(case)
        self._passed.append(case)

    def visited(self, case: str) -> None:
        """Note that *case* was on the screen."""
        self._visited.append(case)

    def back(self) -> str | None:
        """Return, and forget, the case that was on the screen before; None at the first one."""
        return self._visited.pop() if self._visited else None
