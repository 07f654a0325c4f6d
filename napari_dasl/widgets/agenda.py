"""Which case comes next: the worklist's order, what was passed over, and the way back. Plain Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Agenda:
    """The order of one person's afternoon.

    Attributes
    ----------
    wish : list of str or None
        The worklist's visible order; None follows the ranking.
    """

    def __init__(self) -> None:
        self.wish: list[str] | None = None
        self._passed: list[str] = []
        self._visited: list[str] = []

    def clear(self) -> None:
        """Forget everything: another project is open."""
        self.__init__()  # type: ignore[misc]

    def order(self, pool: Sequence[str]) -> list[str]:
        """Return *pool* in the order in force.

        A case that was opened and left without saving goes to the end, so that *next* never jumps back and forth
        between the two cases on top. Cases that the worklist's filter hides are left out.

        Parameters
        ----------
        pool : sequence of str
            Cases still to be labelled, best first.
        """
        ordered = list(pool)
        if self.wish is not None:
            waiting = set(pool)
            ordered = [case for case in self.wish if case in waiting]
        later = [case for case in self._passed if case in set(ordered)]
        return [case for case in ordered if case not in later] + later

    def next(self, queue: Iterable[str], current: str | None) -> str | None:
        """Return the first of *queue* that is not on the screen."""
        return next((case for case in queue if case != current), None)

    def passed(self, case: str) -> None:
        """Note that *case* was left by *next*."""
        if case in self._passed:
            self._passed.remove(case)
        self._passed.append(case)

    def visited(self, case: str) -> None:
        """Note that *case* was on the screen."""
        self._visited.append(case)

    def back(self) -> str | None:
        """Return, and forget, the case that was on the screen before."""
        return self._visited.pop() if self._visited else None
