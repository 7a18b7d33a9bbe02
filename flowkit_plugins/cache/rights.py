"""Once at a time: who computes a key, within this run and between runs, and who waits for them."""

from __future__ import annotations

from flowkit.clock import Clock
from flowkit.hookspecs import Later
from flowkit.scheduler import Node
from flowkit_plugins.cache.ranges import Right
from flowkit_plugins.cache.storage import Storage

#: Tasks known to take less than this are not worth a lock between runs, in seconds.
QUICK = 0.05


class Rights:
    """The keys that one run computes, each for one node.

    Args:
        storage: Where other runs' rights are seen, and how long nodes took the last time.
        clock: The run's clock.
    """

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock
        self._pending: dict[str, tuple[Node, Right | None]] = {}
        self._pauses: dict[Node, float] = {}

    def claim(self, node: Node, key: str) -> Later | None:
        """Take the right to compute a key, or say to wait for whoever has it."""
        holder = self._pending.get(key)
        if holder is not None:
            return self._wait(node, f"waits for `{holder[0].id}`") if holder[0] is not node else None
        right: Right | None = None
        if self._worth_a_lock(node):
            right, owner = self._storage.claim(key)
            if right is None and owner is not None:
                return self._wait(node, f"waits for {owner}")
        self._pending[key] = (node, right)
        self.got(node)
        return None

    def has(self, node: Node, key: str) -> bool:
        """Whether it is this node that computes a key."""
        holder = self._pending.get(key)
        return holder is not None and holder[0] is node

    def got(self, node: Node) -> None:
        """A node waits no longer."""
        if self._pauses:
            self._pauses.pop(node, None)

    def release(self, key: str) -> None:
        """Let other runs compute a key, too, though this one goes on doing so."""
        holder = self._pending.get(key)
        if holder is not None and holder[1] is not None:
            holder[1].release()

    def settle(self, key: str) -> None:
        """A result is on disk (or was given up): others may have it."""
        self.release(key)
        self._pending.pop(key, None)

    def close(self) -> None:
        """The run is over, and all that it stored is on disk: let go of what was not computed after all."""
        for key in list(self._pending):
            self.settle(key)

    def _worth_a_lock(self, node: Node) -> bool:
        last = self._storage.last(node)
        return last is None or last.took >= QUICK

    def _wait(self, node: Node, reason: str) -> Later:
        """Ask again soon, and then less often: 1 ms, doubling up to a second."""
        pause = self._pauses[node] = min(2 * self._pauses.get(node, 0.0005), 1.0)
        return Later(not_before=self._clock.now() + pause, reason=reason)
