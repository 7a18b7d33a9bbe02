"""What happens again, or later: nodes put back, values computed anew, deadlines, and the next alarm."""

from __future__ import annotations

import heapq

from flowkit.graph import BoundFlow
from flowkit.scheduler.books import NEVER, wait_for
from flowkit.scheduler.commands import (
    Announce,
    Cancel,
    WakeAt,
)
from flowkit.scheduler.events import (
    AttemptStarted,
    InputsMissing,
    NodePutBack,
    Tick,
    ValueLost,
)
from flowkit.scheduler.expansion import (
    project,
)
from flowkit.scheduler.growth import Growth
from flowkit.scheduler.states import (
    NOT_RUN,
    PARKED,
    READY,
    RUNNING,
    SUCCEEDED,
    WAITING,
    Node,
)


class Again(Growth):
    """Brings nodes back, and knows what time matters next."""

    def _on_put_back(self, event: NodePutBack) -> None:
        node = event.node
        self._leave(node)
        if self._held_back(node.task):
            node.become(NOT_RUN)
            node.reason = self.stopped[node.task.flow]
            self._settle(node)
            self._out.append(Announce(node))
            return
        node.become(PARKED)
        if event.not_before <= event.at:
            self._ready_again(node)
        else:
            self._count += 1
            heapq.heappush(self._parked, (event.not_before, self._count, node))

    def _ready_again(self, node: Node) -> None:
        node.become(READY)
        self.capacity.push(node)

    def _on_inputs_missing(self, event: InputsMissing) -> None:
        """Have the values computed again that a node needs; it waits for them as at first."""
        node = event.node
        self._leave(node)
        node.become(WAITING)
        if any(self._held_back(each.task) for each in (node, *event.missing)):
            self._end_unrun(node, NOT_RUN, self.stopped[node.task.flow])
            return
        node.forced = True  # it was found out already that it must be called
        for up in event.missing:
            if up.stand_in is not None:
                up = up.stand_in  # noqa: PLW2901 - the value that is missing is the fallback's
            if up.state is SUCCEEDED:
                self._compute_again(up)
            if not up.settled:
                node.waiting += 1
                wait_for(up, node)
        if not node.waiting:
            self._unlocked.append(node)

    def _on_value_lost(self, event: ValueLost) -> None:
        """A list cannot be read: have it computed again, upon which it is asked for again."""
        node, other = event.node, event.node.stand_in
        self._held -= self._held > 0
        if not node.settled or all(a.piece(node.coords).known for a in self.states[node.task].expands):
            return  # it is, or was, computed again for somebody else
        if self._held_back(node.task) or (other is not None and other.settled and not node.succeeded):
            self._block(node)
        elif other is None:
            self._compute_again(node)
        else:
            self._hold_again(node)
            self.open += 1
            self._again += 1
            node.settled = False
            wait_for(other, node)
            if other.settled:
                self._compute_again(other)

    def _block(self, node: Node) -> None:
        """The lists of a node that succeeded will not be read any more."""
        for axis_state in self.states[node.task].expands:
            piece = axis_state.piece(node.coords)
            if not piece.known:
                piece.blocked = node
                self._known(axis_state, node.coords, piece)

    def _compute_again(self, node: Node) -> None:
        if not node.hollow:
            self._hold_again(node)
        self.open += 1
        self._again += 1
        node.settled = False
        node.hollow = False
        node.forced = True
        self._ready_again(node)

    def _hold_again(self, node: Node) -> None:
        state = self.states[node.task]
        ups = [up for link in state.links if link.holds for up in self._ups(link, node)]
        ups += [
            self.states[axis_state.axis.source].nodes[project(node.coords, pick)]
            for axis_state, pick, takes in state.sources
            if takes
        ]
        for up in ups:
            if not up.holders and up.stand_in is not None:
                up.stand_in.holders += 1
            up.holders += 1

    def _on_attempt_started(self, event: AttemptStarted) -> None:
        deadline = event.node.task.deadline
        if deadline is not None and event.node.state is RUNNING:
            self._alarm(event.at + deadline, event.node, event.node.serial)

    def _on_tick(self, event: Tick) -> None:
        now = event.at
        self._wake = NEVER
        self.capacity.tick(now)
        while self._parked and self._parked[0][0] <= now:
            node = heapq.heappop(self._parked)[2]
            if node.state is PARKED:
                self._ready_again(node)
        while self._deadlines and self._deadlines[0][0] <= now:
            _, _, whom, serial = heapq.heappop(self._deadlines)
            if isinstance(whom, BoundFlow):
                self._stop_flow_late(whom)
            elif whom.state is RUNNING and whom.serial == serial:
                self._out.append(Cancel(whom, timeout=True))

    def _stop_flow_late(self, flow: BoundFlow) -> None:
        reason = "the run took longer than its timeout"
        for node in self._running:
            if node.task.flow is flow:
                self._out.append(Cancel(node, timeout=True, reason=reason))
        self._stop(flow, reason, final=False)

    def _set_alarm(self) -> None:
        while self._deadlines and not self._due(self._deadlines[0]):
            heapq.heappop(self._deadlines)
        at = min(
            self._parked[0][0] if self._parked else NEVER,
            self._deadlines[0][0] if self._deadlines else NEVER,
            NEVER if (back := self.capacity.next_return) is None else back,
        )
        if at < self._wake:
            self._wake = at
            self._out.append(WakeAt(at))

    @staticmethod
    def _due(entry: tuple[float, int, Node | BoundFlow, int]) -> bool:
        whom = entry[2]
        return isinstance(whom, BoundFlow) or (whom.state is RUNNING and whom.serial == entry[3])
