"""How nodes end, what their end lets go of, and how everything is stopped."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from flowkit.graph import BoundFlow, BoundTask, Edge
from flowkit.scheduler.books import (
    Books,
    ignore,
)
from flowkit.scheduler.commands import (
    Announce,
    Cancel,
    Release,
)
from flowkit.scheduler.events import (
    StopRequested,
)
from flowkit.scheduler.expansion import (
    TaskState,
    project,
)
from flowkit.scheduler.states import (
    NOT_RUN,
    PARKED,
    READY,
    SKIPPED,
    SUCCEEDED,
    WAITING,
    Node,
    State,
)
from flowkit.scheduler.triggers import ALWAYS, RUN, Verdict, judge, stands_for_all


class Endings(Books):
    """Settles nodes, releases values, and holds back what must not start any more."""

    def _leave(self, node: Node) -> None:
        """A running node is not running any more."""
        if node in self._running:
            del self._running[node]
            self.capacity.give_back(node)
        else:
            self._held -= 1  # a given value: it took no slot

    def _settle(self, node: Node) -> None:
        node.settled = True
        self.open -= 1
        if node.told:
            self._again -= 1
            self._relapsed = self._relapsed or node.state is not SUCCEEDED
        self._ended.append(node)

    def _fail(self, node: Node) -> None:
        if not node.task.allow_failure:
            self.failures += 1
            if self.maxfail is not None and self.failures == self.maxfail:
                self._stopping = True
        self._settle(node)

    def _stop_after_failures(self) -> None:
        """Start nothing new; what follows from the failures has been told by now."""
        self._stopping = False
        some = "a failure" if self.maxfail == 1 else f"{self.maxfail} failures"
        self._stop(None, f"the run stopped after {some}", final=False)

    def _fallen_back(self, node: Node, other: Node) -> None:
        """The fallback of a failed node ended: its value stands in, or the failure stands."""
        if other.succeeded:
            node.stand_in = other.stand_in or other
            if node.stand_in is not other:  # the fallback has fallen back itself
                node.stand_in.holders += 1
                other.holders -= 1
                if not other.holders and other.told:
                    self._release([other])
            self._settle(node)
        else:
            node.stand_in = None  # it may have had one, whose value was lost
            self._fail(node)

    def _end_unrun(self, node: Node, state: State, reason: str) -> None:
        node.become(state)
        node.reason = reason
        self._out.append(Announce(node))
        self._settle(node)

    def _end_judged(self, node: Node, verdict: Verdict) -> None:
        node.verdict = verdict
        self._end_unrun(node, verdict.state, verdict.reason)

    def _not_called(self, node: Node) -> None:
        """One caller less; with none left the fallback is not needed."""
        node.callers -= 1
        node.holders -= 1
        if not node.holders and node.settled:
            self._release([node])
        if not node.callers and not node.called and node.state is WAITING:
            self._end_unrun(node, SKIPPED, "not needed")

    def _let_go(self, state: TaskState, node: Node) -> list[Node]:
        """The node needs its inputs no longer; return those that nobody else needs."""
        free: list[Node] = []
        coords = node.coords
        if len(coords) < len(state.sources) and not self._fed(state, coords):
            return free
        for link in state.links:
            if not link.holds:
                continue
            if link.gathers:
                for up in self._ups(link, node, ignore):  # it may have been stopped before all were known
                    up.holders -= 1
                    if not up.holders:
                        free.append(up)
                continue
            pick = link.pick
            up = link.up.nodes[coords if pick is None else project(coords, pick)]
            up.holders -= 1
            if not up.holders:
                free.append(up)
        for axis_state, pick, takes in state.sources:
            if takes:
                up = self.states[axis_state.axis.source].nodes[project(node.coords, pick)]
                up.holders -= 1
                if not up.holders:
                    free.append(up)
        return free

    def _release(self, free: list[Node]) -> None:
        """Release values that nobody needs, and what was kept for their sake alone."""
        while free:
            node = free.pop()
            other = node.stand_in
            if other is not None:
                other.holders -= 1
                if not other.holders:
                    free.append(other)
            if node.state is SUCCEEDED:
                self._out.append(Release(node))
                if node.hollow:
                    node.hollow = False
                    free += self._let_go(self.states[node.task], node)

    def _on_stop(self, event: StopRequested) -> None:
        if event.cancel:
            for node in self._running:
                if event.flow is None or node.task.flow is event.flow:
                    self._out.append(Cancel(node, timeout=False, reason=event.reason))
        self._stop(event.flow, event.reason, final=event.final)

    def _stop(self, flow: BoundFlow | None, reason: str, *, final: bool) -> None:
        """End everything that has not started, but for ``always`` tasks unless it is final."""
        self.final = self.final or final
        for each in self.graph.flows if flow is None else (flow,):
            if each in self.stopped and not final:
                continue
            self.stopped[each] = reason
        for state in self.states.values():
            if not self._held_back(state.task):
                continue
            for node in state.nodes.values():
                if node.state in (WAITING, READY, PARKED) and not node.settled:
                    self._cut_off(node)

    def _cut_off(self, node: Node) -> None:
        """End a node that must not start: as what is above it has decided by now, else as not run."""
        verdict = self._decided(node) if node.state is WAITING else RUN
        if verdict.state is READY:
            self._end_unrun(node, NOT_RUN, self.stopped[node.task.flow])
        else:
            self._end_judged(node, verdict)

    def _decided(self, node: Node) -> Verdict:
        """Return the verdict on a node that is the same however those upstreams would have ended that did not."""
        task = node.task
        if task.is_fallback and not node.called:
            return RUN
        ended: list[tuple[Edge, Sequence[Node]]] = []
        for link in self.states[task].links:
            nodes = self._ups(link, node, ignore) if link.up.complete or not link.gathers else ()
            if nodes and all(up.settled and up.state is not NOT_RUN for up in nodes):
                ended.append((link.edge, nodes if task.trigger else self._origins(link.edge, nodes)))
            elif task.trigger is not None:
                return RUN
        return judge(task.trigger, ended) if ended else RUN

    def _origins(self, edge: Edge, nodes: Sequence[Node]) -> Sequence[Node]:
        """Return the nodes behind an edge; for a node in the place of all that is to be collected, its origin.

        That is the one which was to take the elements of the missing list: what became of those that
        follow it is no element.
        """
        if not edge.collected or not stands_for_all(edge, nodes):
            return nodes
        node = nodes[0]
        while self.has_inputs(node):
            ups = [self._ups(link, node)[0] for link in self.states[node.task].links if not link.gathers]
            node = next(up for up in ups if len(up.coords) < len(up.task.axes))
        return (node,)

    def _held_back(self, task: BoundTask) -> bool:
        return task.flow in self.stopped and (self.final or task.trigger != ALWAYS) and task.given is None

    def _alarm(self, at: float, whom: Node | BoundFlow, serial: int) -> None:
        self._count += 1
        heapq.heappush(self._deadlines, (at, self._count, whom, serial))
