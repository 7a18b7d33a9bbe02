"""Calls that were told to stop: how long the run waits for them before it goes on without."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from flowkit.reports import Attempt

#: Seconds that a call gets to stop after it was told to.
GRACE = 1.0


class Grace:
    """The calls of a run that were told to stop, by when their time is up."""

    def __init__(self) -> None:
        self._told: list[tuple[float, int, Attempt]] = []

    def allow(self, attempt: Attempt, now: float) -> None:
        """Give a call that was just told to stop its time."""
        heapq.heappush(self._told, (now + GRACE, id(attempt), attempt))

    @property
    def until(self) -> float:
        """When the first one's time is up, by the run's clock; infinite if there is none."""
        return self._told[0][0] if self._told else float("inf")

    def over(self, now: float) -> Iterator[Attempt]:
        """Take out the calls whose time is up."""
        while self.until <= now:
            yield heapq.heappop(self._told)[2]
