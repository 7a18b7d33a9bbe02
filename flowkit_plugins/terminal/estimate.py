"""How long a run will still take, going by how long its tasks took before.

What the open nodes of each task took the last time is shared among the slots, and one task comes
after another: the estimate is the longest way through the graph, and no less than all the work
shared among all the slots. What has been running for a while is taken off.
"""

from __future__ import annotations

from collections.abc import Sequence

from flowkit.graph import BoundTask
from flowkit.reports import Attempt
from flowkit.services import Before, Typical
from flowkit_plugins.terminal.progress import Progress

#: Seconds between two estimates: a graph may have many thousand tasks. Between them time passes.
PERIOD = 1.0


class Past:
    """What earlier runs say of this one.

    Args:
        progress: What is done and known of this run.
        slots: How many nodes run at once.
        before: Knows how long single nodes took, or None.
        typical: Knows how long the nodes of a task take, or None.
    """

    def __init__(
        self,
        progress: Progress,
        slots: int,
        *,
        before: Before | None = None,
        typical: Typical | None = None,
    ) -> None:
        self._progress = progress
        self._slots = max(1, slots)
        self._before = before
        self._typical = typical
        self._found: tuple[float, float | None] = (float("-inf"), None)

    def took(self, node: str) -> float | None:
        """Return the seconds a node (full id) took the last time; None if nobody knows."""
        return self._before.took(node) if self._before is not None else None

    def left(self, running: Sequence[Attempt], now: float) -> float | None:
        """Return about how many seconds the run will still take; None if nobody knows.

        Args:
            running: What runs.
            now: The run clock, seconds.
        """
        if self._typical is None:
            return None
        at, found = self._found
        if now - at >= PERIOD:
            at, found = self._found = now, self._estimate(self._typical, running, now)
        return None if found is None else max(0.0, found - (now - at))

    def _estimate(
        self, typical: Typical, running: Sequence[Attempt], now: float
    ) -> float | None:
        elapsed: dict[BoundTask, list[float]] = {}
        for attempt in running:
            elapsed.setdefault(attempt.task, []).append(now - attempt.started_at)
        ends: dict[BoundTask, float] = {}
        work, known = 0.0, False
        for task in self._progress.tasks:  # upstream first
            above = max([ends.get(up, 0.0) for up in task.upstream()], default=0.0)
            left = self._open(task)
            each = typical.typical(task.key) if left else None
            if each is None:
                ends[task] = above
                continue
            known = True
            passed = [min(each, seconds) for seconds in elapsed.get(task, ())][:left]
            own = left * each - sum(passed)
            longest = each - min(passed) if len(passed) == left else each
            work += own
            ends[task] = above + max(own / self._slots, longest)
        return max(work / self._slots, *ends.values()) if known else None

    def _open(self, task: BoundTask) -> int:
        """Return how many nodes of a task have not ended; as many as last time if that is not known yet."""
        if task.is_fallback:
            return 0
        total = self._progress.nodes_of(task)
        if not self._progress.is_complete(task):
            last = self._before.count(task.key) if task.axes and self._before is not None else 1
            total = max(total or 0, last)
        return max(0, (total or 0) - self._progress.of.get(task, 0))
