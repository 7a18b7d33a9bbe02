"""What is known of a run before anything starts: each node whose result is kept, and all above it, too.

The keys and the conditions are those of a single look-up (``reuse``). Left to that one is whatever could
turn out otherwise when it is a node's turn: files may be written while the run goes on, and ``key`` and
``valid`` are the user's code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from flowkit.graph import BoundTask
from flowkit.hookspecs import Known as KnownNode
from flowkit.hookspecs import hookimpl
from flowkit.inputs import Inputs
from flowkit.scheduler import Node
from flowkit.values import Handle
from flowkit_plugins.cache.asking import Uncertain
from flowkit_plugins.cache.packs import row_of
from flowkit_plugins.cache.places import MIN_FILE_SIZE
from flowkit_plugins.cache.reuse import Reuse


class Ahead(Reuse):
    """Answers ``flowkit_nodes_known``, and what it leaves open as ``Reuse`` does."""

    @hookimpl
    def flowkit_nodes_known(
        self, nodes: Sequence[Node], inputs: Callable[[Node], Inputs]
    ) -> Mapping[Node, KnownNode] | None:
        """Say which nodes are known, by what was read when the run began."""
        if self._refresh is not None or self._failed is not None or self._continued.active:
            return None
        found: dict[Node, KnownNode] = {}
        digests: dict[BoundTask, str] = {}
        plain, missed, traces = self.keys.plain, self.keys.missed, self._storage.recorded
        rows = self._storage.rows if traces else frozenset()  # a first run opens nothing that is not there
        ahead, used, ages, begun, fetches = self.keys.ahead, self._used, self._ages, self._begun, self._fetches
        for node in nodes:
            task = node.task
            for edge in task.edges:
                if edge.source not in digests:
                    break
            else:
                key = plain(task, digests)
                if key is None:
                    answer = self._one(node, inputs)
                    if answer is not None:
                        found[node] = answer
                        digests[task] = ahead[node].digest
                    continue
                trace = traces.get(key)
                if trace is None:
                    missed(task, key)
                    continue
                blob = trace.blob
                if (
                    blob is not None
                    and trace.kind == "success"
                    and trace.files is None
                    and row_of(blob) in rows
                    and (trace.size < MIN_FILE_SIZE or self._there(task, trace))
                ):
                    digests[task] = trace.digest
                    ahead[node] = trace
                    if trace.body is not None:
                        found[node] = self._reused(node, trace)
                        continue
                    # The same, in place: there are ten thousand of them.
                    used.append(trace)
                    answer = found[node] = KnownNode()
                    answer.value = Handle(fetches, None, trace)
                    answer.reason = ages.get(int(begun - trace.created)) or self._age(trace)
                    answer.saved, answer.key = trace.took, key
        return found

    def _one(self, node: Node, inputs: Callable[[Node], Inputs]) -> KnownNode | None:
        """Return what is known of a node that more than values of others count for."""
        plan = self.keys.plan(node.task)
        policy = plan.policy
        if plan.never or plan.files or policy is None or policy.key is not None or policy.valid is not None:
            return None
        given = inputs(node)
        try:
            key, _ = self.keys.key(node, given, plan)
        except Uncertain:
            return None
        trace = self._storage.at_hand(key)
        if trace is None or trace.kind != "success" or trace.files is not None:
            return None
        if self._stale(node, node.task, plan, trace, given):
            return None
        self.keys.ahead[node] = trace
        return self._reused(node, trace)
