"""What may start now: slots and named limits, depth first, then in definition order.

A ready node that finds one of its limits taken is set aside under that limit and looked at again
only when some of it is given back, so that each start and each end costs the same however many
nodes wait.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping

from flowkit.records import field, record
from flowkit.scheduler.states import READY, Node

#: The limit that every node takes one of: the workers.
SLOTS = "slots"


@record()
class Limit:
    """A named amount.

    Attributes:
        free: How much is left.
        period: None for a limit that is given back when the node ends. Seconds for a rate: what
            a start takes comes back that long after the start, whatever the node does.
        aside: Ready nodes that found too little of it, the next one first.
    """

    free: int
    period: float | None = None
    aside: list[tuple[int, Node]] = field(factory=list)


class Capacity:
    """The ready nodes, and what they may take.

    Args:
        slots: How many nodes may run at once.
        limits: Name → amount, or (amount, period in seconds) for a rate.
    """

    def __init__(self, slots: int, limits: Mapping[str, int | tuple[int, float]]) -> None:
        self.free = slots
        self.limits = {
            name: Limit(amount) if isinstance(amount, int) else Limit(amount[0], amount[1])
            for name, amount in limits.items()
        }
        self.ready: list[Node] = []
        self._rank = 0
        self.returns: list[tuple[float, str, int]] = []
        self.aside: set[str] = set()

    def push(self, *nodes: Node) -> None:
        """Add ready nodes; the last one pushed is the first to start."""
        for rank, node in enumerate(nodes, self._rank + 1):
            node.rank = rank
        self._rank += len(nodes)
        self.ready += nodes

    def take(self, now: float) -> Node | None:
        """Return the next node that may start, with what it demands taken; None if none may."""
        if self.free <= 0:
            return None
        if self.returns and self.returns[0][0] <= now:
            self.tick(now)
        while True:
            node = self._next()
            if node is None:
                return None
            if node.state is not READY:
                continue  # it was stopped while it waited here
            if not node.task.demands or self._grant(node, now):
                self.free -= 1
                return node

    def _next(self) -> Node | None:
        """Pop the ready node of the highest rank, among those set aside under a limit with room, too."""
        best = self.ready[-1].rank if self.ready else -1
        where: Limit | None = None
        for name in self.aside:
            limit = self.limits[name]
            if limit.free >= limit.aside[0][1].task.demands[name] and -limit.aside[0][0] > best:
                best, where = -limit.aside[0][0], limit
        if where is not None:
            _, node = heapq.heappop(where.aside)
            self.aside = {name for name in self.aside if self.limits[name].aside}
            return node
        return self.ready.pop() if self.ready else None

    def _grant(self, node: Node, now: float) -> bool:
        demands = node.task.demands
        for name, amount in demands.items():
            limit = self.limits[name]
            if limit.free < amount:
                heapq.heappush(limit.aside, (-node.rank, node))
                self.aside.add(name)
                return False
        for name, amount in demands.items():
            limit = self.limits[name]
            limit.free -= amount
            if limit.period is not None:
                heapq.heappush(self.returns, (now + limit.period, name, amount))
        return True

    def give_back(self, node: Node) -> None:
        """Return what a node took, when it ends or is put back."""
        self.free += 1
        if node.task.demands:
            for name, amount in node.task.demands.items():
                limit = self.limits[name]
                if limit.period is None:
                    limit.free += amount

    def tick(self, now: float) -> None:
        """Return what rates give back by ``now``."""
        while self.returns and self.returns[0][0] <= now:
            _, name, amount = heapq.heappop(self.returns)
            self.limits[name].free += amount

    @property
    def next_return(self) -> float | None:
        """When a rate gives something back that somebody waits for; None if nobody does."""
        return self.returns[0][0] if self.returns and self.aside else None
