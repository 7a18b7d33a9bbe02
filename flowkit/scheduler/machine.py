"""``Scheduler.handle(event) → commands``: what an event changes, and all that follows from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flowkit.graph import Edge
from flowkit.scheduler.again import Again
from flowkit.scheduler.books import definition, wait_for
from flowkit.scheduler.commands import (
    Command,
    Finish,
    Start,
    Take,
)
from flowkit.scheduler.events import (
    AttemptStarted,
    Event,
    Expanded,
    InputsMissing,
    NodeCancelled,
    NodeFailed,
    NodePutBack,
    NodeSkipped,
    NodeSucceeded,
    Recalled,
    RunStarted,
    StopRequested,
    Tick,
    Unread,
    ValueLost,
)
from flowkit.scheduler.expansion import (
    project,
)
from flowkit.scheduler.states import (
    FAILED,
    NOT_RUN,
    READY,
    RUNNING,
    SKIPPED,
    SUCCEEDED,
    WAITING,
    Node,
)
from flowkit.scheduler.triggers import Verdict, judge


class Scheduler(Again):
    """Decides what runs next.

    Args:
        graph: What to run.
        slots: How many nodes may run at once.
        limits: Named capacities: amount, or (amount, seconds) for a rate.
        maxfail: After so many failures nothing new starts; None for no such bound.
    """

    def handle(self, event: Event) -> list[Command]:
        """Take in one event and return what follows from it, in order."""
        self._now = event.at
        out = self._out = []
        if type(event) is NodeSucceeded:
            self._on_succeeded(event)
        else:
            _HANDLERS[type(event)](self, event)
        while True:
            if self._ended or self._completing or self._unlocked:
                self._propagate()
            if self._stopping:
                self._stop_after_failures()
                continue
            if self._held:
                return out  # what is ready is judged together with what follows from what will be said
            if self.capacity.free > 0:
                self._start_ready()
            if not self._ended:  # else instead of starting, having lost what they were to be called with
                break
        if self._parked or self._deadlines or self.capacity.returns:
            self._set_alarm()
        if not self.open and not self.finished:
            self.finished = True
            out.append(Finish())
        return out

    def _on_run_started(self, event: RunStarted) -> None:
        self._held = int(event.held)
        for flow in self.graph.flows:
            if flow.deadline is not None:
                self._alarm(event.at + flow.deadline, flow, 0)
        for state in self.states.values():
            if not state.sources:
                self._create(state, (), state.task.name)
                self._complete(state)

    @property
    def recallable(self) -> list[Node]:
        """The nodes whose end concerns nobody but those that wait for it, upstream first.

        Not those of mapped tasks, fallbacks and who has one, given values, and what asks for more of its
        upstreams than that they succeed.
        """
        return [
            state.nodes[()]
            for state in self.states.values()
            if state.simple
            and state.fallback is None
            and not state.sources
            and () in state.nodes
            and state.task.given is None
            and not state.task.is_fallback
        ]

    def _on_recalled(self, event: Recalled) -> None:
        """Take in what is known, without a step for each node: it is most of a run that has little to do.

        Nothing starts before the lists among it are read: their elements are ready as soon as all else is.
        """
        taken: list[Node] = []
        states = self.states
        for node in event.nodes:
            if node.waiting or (node.state is not WAITING and node.state is not READY):
                continue  # something above it is not known, or the run was stopped meanwhile
            node.state = SUCCEEDED  # by way of ready and running, at one go
            node.settled = node.told = True
            taken.append(node)
            state = states[node.task]
            for link in state.links:
                if link.holds:
                    link.up.nodes[()].holders -= 1
            if state.expands:
                self._expand(state, node)
            waiters, node.waiters = node.waiters, None
            if waiters is None:
                continue
            for waiter in [waiters] if isinstance(waiters, Node) else waiters:
                waiter.waiting -= 1
                if not waiter.waiting and waiter.state is WAITING:
                    self._unlocked.append(waiter)
        self.open -= len(taken)
        self._held -= 1
        if taken:
            self._out.insert(0, Take(taken))

    def _on_succeeded(self, event: NodeSucceeded) -> None:
        node = event.node
        node.become(SUCCEEDED)
        node.hollow = event.hollow
        node.forced = False
        self._leave(node)
        self._settle(node)

    def _on_skipped(self, event: NodeSkipped) -> None:
        node = event.node
        node.become(SKIPPED)
        node.reason = event.reason
        self._leave(node)
        self._settle(node)

    def _on_failed(self, event: NodeFailed) -> None:
        node = event.node
        node.become(FAILED)
        node.error = event.error
        self._leave(node)
        state = self.states[node.task]
        if state.fallback is None:
            self._fail(node)
            return
        other = state.fallback.nodes[project(node.coords, state.fallback_pick)]
        if node.told:
            other.holders += 1  # it had succeeded at first, and let go of it
        if other.settled:
            self._fallen_back(node, other)
            return
        wait_for(other, node)
        if not other.called:
            other.called = True
            other.waiting -= 1
            if not other.waiting:
                self._unlocked.append(other)

    def _on_cancelled(self, event: NodeCancelled) -> None:
        node = event.node
        node.become(NOT_RUN)
        node.reason = node.reason or self.stopped.get(node.task.flow, "interrupted")
        self._leave(node)
        self._settle(node)

    def _propagate(self) -> None:
        """Tell everybody who waits, until nothing follows any more; no recursion, however deep."""
        ended, completing = self._ended, self._completing
        while True:
            if ended:
                self._tell(ended.popleft())
            elif completing:
                self._completed(completing.popleft())
            elif self._unlocked and not self._held:
                self._judge_unlocked()
            else:
                return

    def _tell(self, node: Node) -> None:
        waiters = node.waiters
        if waiters is not None:
            node.waiters = None
            trouble = node.state is not SUCCEEDED
            for waiter in [waiters] if isinstance(waiters, Node) else waiters:
                if waiter.state is FAILED:
                    if not waiter.settled:
                        self._fallen_back(waiter, node)
                    continue
                if trouble:
                    waiter.trouble = True
                waiter.waiting -= 1
                if not waiter.waiting and waiter.state is WAITING:
                    self._unlocked.append(waiter)
        state = self.states[node.task]
        if not state.bare:
            if state.expands:
                self._expand(state, node)
            if state.fallback is not None and not node.told and node.state is not FAILED and self.has_inputs(node):
                self._not_called(state.fallback.nodes[project(node.coords, state.fallback_pick)])
        node.told = True
        free = self._let_go(state, node) if (state.links or state.sources) and not node.hollow else []
        if not node.holders:
            free.insert(0, node)
        if free:
            self._release(free)

    def _judge_unlocked(self) -> None:
        """Decide what becomes of the nodes that wait for nothing any more."""
        unlocked, self._unlocked = [node for node in self._unlocked if node.state is WAITING], []
        if len(unlocked) > 1:
            unlocked.sort(key=definition)
        if unlocked and unlocked[0].task.given is not None:  # these stand before all that is defined
            self._give(unlocked)
            return
        ready: list[Node] = []
        for node in unlocked:
            if node.state is not WAITING:
                continue  # one judged before it stopped the run
            if self.stopped and self._held_back(node.task):
                self._cut_off(node)
                continue
            if self._again and self._awaits(node):
                continue
            state = self.states[node.task]
            if node.trouble or not state.simple:
                verdict = self._verdict(node)
                if verdict.state is not READY:
                    self._end_judged(node, verdict)
                    continue
            node.become(READY)
            ready.append(node)
        self.capacity.push(*reversed(ready))

    def _give(self, unlocked: Sequence[Node]) -> None:
        """Have given values said. They need no worker, and who takes them is ready together with the others here."""
        for node in unlocked:
            if node.task.given is None:
                self._unlocked.append(node)
                continue
            node.become(READY)
            node.become(RUNNING)
            node.serial += 1
            self._held += 1
            self._out.append(Start(node))

    def _verdict(self, node: Node) -> Verdict:
        ups = self.upstreams(node)
        if node.trouble and node.task.trigger is None:
            ups = [(edge, self._origins(edge, nodes)) for edge, nodes in ups]
        verdict = judge(node.task.trigger, ups)
        if verdict.state is READY and node.trouble and node.coords:
            # A list it takes an element of may have been computed again, and failed.
            taken = {element.axis for element in node.task.elements}
            lists = zip(node.task.axes, self.element_sources(node), strict=False)
            return judge(None, [(Edge(up.task), (up,)) for axis, (up, _) in lists if axis in taken])
        return verdict

    def _still_may(self, node: Node) -> bool:
        """Whether a ready node may start, though something above it was computed again since it was judged."""
        if self._awaits(node):
            node.become(WAITING)
            return False
        node.trouble = node.trouble or self._relapsed
        verdict = self._verdict(node)
        if verdict.state is not READY:
            node.become(WAITING)
            self._end_judged(node, verdict)
        return verdict.state is READY

    def _awaits(self, node: Node) -> bool:
        """Whether something above it is being computed again; the node waits for that as at first."""
        ups = [up for _, nodes in self.upstreams(node) for up in nodes]
        ups += [source for source, _ in self.element_sources(node)]
        for each in ups:
            up = each.stand_in or each
            if not up.settled:
                node.waiting += 1
                wait_for(up, node)
        return node.waiting > 0

    def _start_ready(self) -> None:
        capacity, out, running = self.capacity, self._out, self._running
        ready, now = capacity.ready, self._now
        while capacity.free > 0:
            if ready and not ready[-1].task.demands and not capacity.aside:
                node = ready.pop()  # the ordinary case, without asking
                if node.state is not READY:
                    continue  # it was stopped while it waited here
                capacity.free -= 1
            else:
                taken = capacity.take(now)
                if taken is None:
                    return
                node = taken
            if (self._again or self._relapsed) and not self._still_may(node):
                capacity.give_back(node)
                if self._ended:
                    return  # what follows from its end comes first
                continue
            node.state = RUNNING  # from READY, as was looked at above
            node.serial += 1
            running[node] = None
            out.append(Start(node))


#: Event → what takes it in.
_HANDLERS: dict[type, Callable[[Any, Any], None]] = {
    RunStarted: Scheduler._on_run_started,
    Recalled: Scheduler._on_recalled,
    AttemptStarted: Scheduler._on_attempt_started,
    NodeSucceeded: Scheduler._on_succeeded,
    NodeFailed: Scheduler._on_failed,
    NodeSkipped: Scheduler._on_skipped,
    NodePutBack: Scheduler._on_put_back,
    NodeCancelled: Scheduler._on_cancelled,
    InputsMissing: Scheduler._on_inputs_missing,
    ValueLost: Scheduler._on_value_lost,
    Unread: Scheduler._on_unread,
    Expanded: Scheduler._on_expanded,
    StopRequested: Scheduler._on_stop,
    Tick: Scheduler._on_tick,
}
